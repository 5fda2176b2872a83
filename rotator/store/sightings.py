"""What consumers report of themselves: one row each, the newest word. Most say again what they said before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from rotator.domain.model import CredentialId, Sighting
from rotator.ports.store import NewEvent
from rotator.store import audit, leases, reading
from rotator.store.database import Database
from rotator.store.tables import sighting as table

_MINE = (table.c.credential_id == bindparam("of_credential"), table.c.consumer == bindparam("of_consumer"))
_WORD = select(table).where(*_MINE)
_SAME_AGAIN = update(table).where(*_MINE, table.c.fingerprint == bindparam("same"), table.c.seen_at < bindparam("at"))
_WORDS = select(table).where(table.c.credential_id == bindparam("credential")).order_by(table.c.consumer)


def note(database: Database, sighting: Sighting, event: NewEvent) -> bool:
    """Keep the newest word; with its event, and True, where it says something else than the one before."""
    who = {"of_credential": sighting.credential_id, "of_consumer": sighting.consumer}
    with database.write() as connection:
        same = {"same": sighting.fingerprint, "at": sighting.seen_at, "seen_at": sighting.seen_at}
        if connection.execute(_SAME_AGAIN, {**who, **same}).rowcount:
            return False  # a heart-beat: it locks no more than its own row
        audit.lock(connection)
        before = reading.one(connection, Sighting, _WORD, **who)
        if before is not None and before.seen_at >= sighting.seen_at:
            return False
        connection.execute(delete(table).where(*_MINE), who)
        connection.execute(insert(table).values(asdict(sighting)))
        if before is not None and before.fingerprint == sighting.fingerprint:
            return False
        leases.wake(connection, sighting.credential_id)
        audit.append(connection, database.now(connection), [event])
        return True


def of(connection: Connection, credential_id: CredentialId) -> Sequence[Sighting]:
    """The last word of each consumer, by name."""
    return reading.many(connection, Sighting, _WORDS, credential=credential_id)
