"""What people asked for that a worker does: written without a lease, closed under one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, bindparam, insert, select, text

from rotator.domain.model import CredentialId, Request, RequestId
from rotator.domain.reactions import ACTOR, Caps
from rotator.ports.store import NewEvent
from rotator.store import audit, leases, reading
from rotator.store.database import Database
from rotator.store.tables import REQUEST_STANDS
from rotator.store.tables import request as table

_ONE = select(table).where(table.c.id == bindparam("request"))
_STANDING = (
    select(table)
    .where(table.c.credential_id == bindparam("credential"), text(REQUEST_STANDS))
    .order_by(table.c.asked_at, table.c.id)
)

_REACTIONS = select(table).where(table.c.actor.startswith(ACTOR), table.c.asked_at > bindparam("since"))


def ask(database: Database, request: Request, event: NewEvent) -> None:
    """Insert it and append its event."""
    with database.write() as connection:
        _insert(database, connection, request, event)


def react(database: Database, request: Request, event: NewEvent, caps: Caps) -> str | None:
    """The same for a reaction, unless the caps hold it: then say why."""
    with database.write() as connection:
        audit.lock(connection)  # whoever reacts to something else waits, and counts this one
        since = request.asked_at - caps.looks_back
        held = caps.why_held(request, reading.many(connection, Request, _REACTIONS, since=since))
        if held is None:
            _insert(database, connection, request, event)
        return held


def _insert(database: Database, connection: Connection, request: Request, event: NewEvent) -> None:
    connection.execute(insert(table).values(asdict(request)))
    leases.wake(connection, request.credential_id)
    audit.append(connection, database.now(connection), [event])


def standing(connection: Connection, credential_id: CredentialId) -> Sequence[Request]:
    """Those of a credential, oldest first."""
    return reading.many(connection, Request, _STANDING, credential=credential_id)


def find(connection: Connection, request_id: RequestId) -> Request | None:
    """One of them."""
    return reading.one(connection, Request, _ONE, request=request_id)
