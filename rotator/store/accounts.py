"""How provider accounts fare: one row each, for all workers; and how many of their rotations are moving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, text

from rotator.domain.errors import Crowded
from rotator.domain.model import Account
from rotator.ports.store import LONG_WAIT, STUCK_AFTER, Room
from rotator.store import audit, reading, tables
from rotator.store.database import Database
from rotator.store.tables import account as table

_ROW = select(table).where(table.c.provider == bindparam("provider"))


def find(connection: Connection, provider: str) -> Account:
    """The row, or what stands for one that was never written."""
    found = reading.one(connection, Account, _ROW, provider=provider)
    return found or Account(provider=provider)


def note(database: Database, provider: str, change: Callable[[Account], Account]) -> Account:
    """Read, change and write the row; the lock of the trail's head keeps all others waiting."""
    with database.write() as connection:
        audit.lock(connection)
        before = find(connection, provider)
        after = change(before)
        if after != before:
            connection.execute(delete(table).where(table.c.provider == provider))
            connection.execute(insert(table).values(asdict(after)))
    return after


def require_room(connection: Connection, room: Room, now: datetime) -> None:
    """Raise Crowded unless fewer rotations than that are moving. Until the transaction ends, nobody else counts."""
    audit.lock(connection)
    moving = _moving(connection, room.provider, now)
    if moving >= room.most:
        message = f"{moving} rotations of {room.provider} are under way"
        raise Crowded(message)


def _moving(connection: Connection, provider: str, now: datetime) -> int:
    rotation, delivery, credential = tables.rotation, tables.delivery, tables.credential
    stuck = (
        select(delivery.c.id)
        .where(delivery.c.rotation_id == rotation.c.id, or_(delivery.c.blocked, delivery.c.attempt >= STUCK_AFTER))
        .exists()
    )
    soon = or_(rotation.c.not_before.is_(None), rotation.c.not_before <= now + LONG_WAIT)
    query = (
        select(func.count())
        .select_from(rotation.join(credential))
        .where(
            text(f"rotation.{tables.ROTATION_IS_OPEN}"),
            credential.c.provider == provider,
            ~rotation.c.blocked,
            rotation.c.attempt < STUCK_AFTER,
            rotation.c.wave_until.is_(None),
            soon,
            ~stuck,
        )
    )
    return connection.scalar(query) or 0
