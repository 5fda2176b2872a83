"""What each route has to say, or has said and that still holds: one row for each notice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from rotator.domain.notices import Notice, Outgoing, Rows, Severity
from rotator.store import audit
from rotator.store.columns import moment_text
from rotator.store.database import Database
from rotator.store.tables import follower
from rotator.store.tables import notice as table

_OF_ROUTE = select(table).where(table.c.route == bindparam("route")).order_by(table.c.key)
_OURS = follower.c.name == bindparam("follower"), follower.c.taken_by == bindparam("turn")
_TURN = select(follower.c.name).where(*_OURS)
_MOVE = update(follower).where(*_OURS)
_DROP = delete(table).where(table.c.route == bindparam("of_route"), table.c.key == bindparam("of_key"))


def of_route(connection: Connection, route: str) -> Rows:
    """All rows of a route, by key."""
    rows = (dict(row) for row in connection.execute(_OF_ROUTE, {"route": route}).mappings())
    return {row["key"]: _outgoing(row) for row in rows}


def keep(
    database: Database, name: str, turn: str, route: str, put: Sequence[Outgoing], drop: Sequence[str], seq: int
) -> bool:
    """Replace rows and move the cursor, if it is this turn that sends; say whether it is."""
    keys = [*drop, *(row.key for row in put)]
    with database.write() as connection:
        audit.lock(connection)  # whoever takes a turn holds it too
        if connection.execute(_TURN, {"follower": name, "turn": turn}).one_or_none() is None:
            return False
        if keys:
            connection.execute(_DROP, [{"of_route": route, "of_key": key} for key in keys])
        if put:
            connection.execute(insert(table), [_values(row) for row in put])
        connection.execute(_MOVE, {"follower": name, "turn": turn, "seq": seq})
    return True


def _values(row: Outgoing) -> dict[str, Any]:
    values = {column: getattr(row, column) for column in ("route", "key", "state", "changed_at", "times", "told_at")}
    return values | {"body": asdict(row.notice) | {"since": moment_text(row.notice.since)}}


def _outgoing(row: Mapping[str, Any]) -> Outgoing:
    body = row["body"]
    since, severity = datetime.fromisoformat(body["since"]), Severity(body["severity"])
    return Outgoing(
        route=row["route"],
        notice=Notice(**(body | {"since": since, "severity": severity})),
        state=row["state"],
        changed_at=row["changed_at"],
        times=row["times"],
        told_at=row["told_at"],
    )
