"""Findings: each is found once and cleared once, with the event that tells it in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, insert, or_, select, text, update

from rotator.domain.events import Subject
from rotator.domain.model import CredentialId, Finding
from rotator.ports.store import NewEvent
from rotator.store import audit, reading
from rotator.store.database import Database
from rotator.store.tables import FINDING_STANDS
from rotator.store.tables import finding as table

_ABOUT = (table.c.kind == bindparam("of_kind"), table.c.subject == bindparam("of_subject"))
_UNCLEARED = select(table).where(text(FINDING_STANDS)).order_by(table.c.found_at, table.c.id)
_OF_ONE = _UNCLEARED.where(or_(table.c.credential_id == bindparam("credential"), table.c.kind == Subject.RECONCILE))
_OF_KIND = _UNCLEARED.where(_ABOUT[0]).limit(1)
_OF_SUBJECT = _UNCLEARED.where(*_ABOUT)
_FOUND_SINCE = select(func.count()).select_from(table).where(*_ABOUT, table.c.found_at >= bindparam("since"))


def find(database: Database, finding: Finding, event: NewEvent) -> bool:
    """Record a finding and its event, unless it stands already; say whether it is new."""
    with database.ask() as connection:  # most findings stand for long, and a look locks nothing
        if standing(connection, finding.kind, finding.subject) is not None:
            return False
    with database.write() as connection:
        audit.lock(connection)
        if standing(connection, finding.kind, finding.subject) is not None:
            return False
        connection.execute(insert(table).values(asdict(finding)))
        audit.append(connection, database.now(connection), [event])
    return True


def clear(database: Database, kind: str, subject: str, event: NewEvent) -> bool:
    """Clear a finding and append its event; say whether one stood."""
    with database.ask() as connection:
        if standing(connection, kind, subject) is None:
            return False
    with database.write() as connection:
        audit.lock(connection)
        now = database.now(connection)
        cleared = update(table).where(*_ABOUT, table.c.cleared_at.is_(None))
        if connection.execute(cleared, {"of_kind": kind, "of_subject": subject, "cleared_at": now}).rowcount == 0:
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


def uncleared(connection: Connection, of: CredentialId | None) -> Sequence[Finding]:
    """All that stand, oldest first; or those of one credential, with those that stop all."""
    if of is None:
        return reading.many(connection, Finding, _UNCLEARED)
    return reading.many(connection, Finding, _OF_ONE, credential=of)


def standing(connection: Connection, kind: str, subject: str | None) -> Finding | None:
    """The one of this kind and subject that stands; without a subject, the oldest of the kind."""
    if subject is None:
        return reading.one(connection, Finding, _OF_KIND, of_kind=kind)
    return reading.one(connection, Finding, _OF_SUBJECT, of_kind=kind, of_subject=subject)
