"""Findings: each is found once and cleared once, with the event that tells it in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, insert, select, text, update

from rotator.domain.model import Finding
from rotator.ports.store import NewEvent
from rotator.store import audit, reading
from rotator.store.database import Database
from rotator.store.tables import FINDING_STANDS
from rotator.store.tables import finding as table

_ABOUT = (table.c.kind == bindparam("of_kind"), table.c.subject == bindparam("of_subject"))
_STANDS = select(table.c.id).where(*_ABOUT, text(FINDING_STANDS))
_STANDING = select(table).where(text(FINDING_STANDS)).order_by(table.c.found_at, table.c.id)
_FOUND_SINCE = select(func.count()).select_from(table).where(*_ABOUT, table.c.found_at >= bindparam("since"))


def find(database: Database, finding: Finding, event: NewEvent) -> bool:
    """Record a finding and its event, unless it stands already; say whether it is new."""
    with database.read() as connection:  # most findings stand for long, and a look locks nothing
        if _stands(connection, finding.kind, finding.subject):
            return False
    with database.write() as connection:
        audit.lock(connection)
        if _stands(connection, finding.kind, finding.subject):
            return False
        connection.execute(insert(table).values(asdict(finding)))
        audit.append(connection, database.now(connection), [event])
    return True


def clear(database: Database, kind: str, subject: str, event: NewEvent) -> bool:
    """Clear a finding and append its event; say whether one stood."""
    with database.read() as connection:
        if not _stands(connection, kind, subject):
            return False
    with database.write() as connection:
        audit.lock(connection)
        now = database.now(connection)
        standing = update(table).where(*_ABOUT, table.c.cleared_at.is_(None))
        if connection.execute(standing, {"of_kind": kind, "of_subject": subject, "cleared_at": now}).rowcount == 0:
            return False
        audit.append(connection, now, [event])
    return True


def ignore(database: Database, kind: str, subject: str, event: NewEvent) -> bool:
    """Note that a person wants to hear no more of it; say whether it stood unignored."""
    with database.write() as connection:
        audit.lock(connection)
        now = database.now(connection)
        heard = update(table).where(*_ABOUT, table.c.cleared_at.is_(None), table.c.ignored_at.is_(None))
        if connection.execute(heard, {"of_kind": kind, "of_subject": subject, "ignored_at": now}).rowcount == 0:
            return False
        audit.append(connection, now, [event])
    return True


def found_since(connection: Connection, kind: str, subject: str, since: datetime) -> int:
    """How often it was found since then, cleared or not."""
    return connection.scalar(_FOUND_SINCE, {"of_kind": kind, "of_subject": subject, "since": since}) or 0


def standing(connection: Connection) -> Sequence[Finding]:
    """The uncleared ones, oldest first."""
    return reading.many(connection, Finding, _STANDING)


def _stands(connection: Connection, kind: str, subject: str) -> bool:
    return connection.scalar(_STANDS, {"of_kind": kind, "of_subject": subject}) is not None
