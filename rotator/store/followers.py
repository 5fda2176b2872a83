"""Followers of the trail: one row each, for all workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

from sqlalchemy import Connection, bindparam, delete, insert, select

from rotator.domain.model import Follower
from rotator.ports.store import NewEvent
from rotator.store import audit, reading
from rotator.store.database import Database
from rotator.store.tables import follower as table

_ALL = select(table).order_by(table.c.name)
_ROW = select(table).where(table.c.name == bindparam("follower"))


def known(connection: Connection) -> Mapping[str, Follower]:
    """All rows, by name."""
    return {row.name: row for row in reading.many(connection, Follower, _ALL)}


def note(database: Database, name: str, change: Callable[[Follower], Follower]) -> Follower:
    """Read, change and write the row; the lock of the trail's head keeps all others waiting."""
    with database.write() as connection:
        audit.lock(connection)
        before = reading.one(connection, Follower, _ROW, follower=name)
        after = change(before or Follower(name=name))
        if after != before:
            connection.execute(delete(table).where(table.c.name == name))
            connection.execute(insert(table).values(asdict(after)))
    return after


def forget(database: Database, name: str, event: NewEvent) -> bool:
    """Delete the row and append the event; say whether there was one."""
    with database.write() as connection:
        audit.lock(connection)
        if connection.execute(delete(table).where(table.c.name == name)).rowcount == 0:
            return False
        audit.append(connection, database.now(connection), [event])
    return True
