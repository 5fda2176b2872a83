"""Leases: one short transaction each, decided under the lease row's lock and by the store's clock alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, select, update

from rotator.domain.errors import StaleLease
from rotator.domain.model import CredentialId, Lease
from rotator.ports.store import Held
from rotator.store.database import Database
from rotator.store.holder import provably_dead
from rotator.store.tables import lease as table

_ROW = select(table).where(table.c.credential_id == bindparam("credential"))
_ROW_TO_LOCK = _ROW.with_for_update()
_WRITE = update(table).where(table.c.credential_id == bindparam("credential"))
_RELEASE = _WRITE.where(table.c.epoch == bindparam("of_epoch"))


IMPOSSIBLE = 100
"""A lease with so many times its length left is of a clock that has been set back since: it must not last for years."""


def find(connection: Connection, credential_id: CredentialId, *, lock: bool = False) -> Lease | None:
    """The row as it stands; None where it was never held. With `lock`, nobody else changes it meanwhile."""
    query = _ROW_TO_LOCK if lock else _ROW
    row = connection.execute(query, {"credential": credential_id}).mappings().one_or_none()
    if row is None:
        message = f"there is no credential {credential_id}"
        raise LookupError(message)
    return Lease(**row) if row["epoch"] else None


def claim(database: Database, credential_id: CredentialId, holder: str, ttl: timedelta) -> Lease | Held:
    """Take the lease, unless a holder that may be alive has it."""
    with database.write() as connection:
        last = find(connection, credential_id, lock=True)
        now = database.now(connection)
        in_force = last is not None and not last.released and now < last.until <= now + IMPOSSIBLE * ttl
        if last and in_force and not provably_dead(last.holder):
            return Held(last)
        mine = Lease(
            credential_id=credential_id,
            holder=holder,
            epoch=last.epoch + 1 if last else 1,
            until=now + ttl,
            released=False,
            fenced_at=_fenced_at(last, now),
        )
        _write(connection, mine)
    return mine


def renew(database: Database, lease: Lease, ttl: timedelta) -> Lease:
    """Extend the lease from now on."""
    with database.write() as connection:
        now = hold(database, connection, lease)
        longer = replace(lease, until=now + ttl)
        _write(connection, longer)
    return longer


def release(database: Database, lease: Lease) -> None:
    """Mark the lease as released, with its `fenced_at`, if it is still of this epoch."""
    with database.write() as connection:
        mine = {"credential": lease.credential_id, "of_epoch": lease.epoch}
        connection.execute(_RELEASE, {**mine, "released": True, "fenced_at": lease.fenced_at})


def hold(database: Database, connection: Connection, lease: Lease) -> datetime:
    """Lock the lease row for the rest of the transaction and return the time. Raises StaleLease unless it is ours.

    The time is read after the lock: waiting for the lock may have taken as long as the lease had left.
    """
    try:
        row = find(connection, lease.credential_id, lock=True)
    except LookupError:  # it has given way to another one that has its name now
        row = None
    now = database.now(connection)
    if row is None or row.epoch != lease.epoch:
        message = f"the lease of epoch {lease.epoch} was taken over"
        raise StaleLease(message)
    if row.released or row.until <= now:
        message = f"the lease of epoch {lease.epoch} has {'been released' if row.released else 'expired'}"
        raise StaleLease(message)
    return now


def _fenced_at(last: Lease | None, now: datetime) -> datetime | None:
    """An unreleased lease may have calls on their way still; a released one has none."""
    if last is None:
        return None
    return last.fenced_at if last.released else now


def _write(connection: Connection, lease: Lease) -> None:
    # The row is locked, so nothing needs to be checked again here.
    values = {name: getattr(lease, name) for name in ("holder", "epoch", "until", "released", "fenced_at")}
    connection.execute(_WRITE, {"credential": lease.credential_id, **values})
