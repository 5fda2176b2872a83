"""Leases: one short transaction each, decided under the lease row's lock and by the store's clock alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    CompoundSelect,
    Connection,
    Select,
    bindparam,
    case,
    exists,
    func,
    null,
    select,
    text,
    union_all,
    update,
)

from rotator.domain.errors import StaleLease
from rotator.domain.model import CredentialId, Lease
from rotator.ports.store import Count, Held, Idle
from rotator.store import tallies
from rotator.store.columns import Moment
from rotator.store.database import Database
from rotator.store.holder import provably_dead
from rotator.store.tables import REQUEST_STANDS
from rotator.store.tables import credential as named
from rotator.store.tables import lease as table
from rotator.store.tables import request as asked

_ROW = select(*(table.c[field.name] for field in fields(Lease))).where(table.c.credential_id == bindparam("credential"))
_ROW_TO_LOCK = _ROW.with_for_update()
_LOCKED = _ROW_TO_LOCK.cte("locked").prefix_with("MATERIALIZED")  # so that the clock is asked with the lock in hand
_ROW_TO_LOCK_AND_TIME = select(_LOCKED, func.clock_timestamp(type_=Moment()).label("now"))
_WRITE = update(table).where(table.c.credential_id == bindparam("credential"))
_RELEASE = _WRITE.where(table.c.epoch == bindparam("of_epoch"))
_ASKED = exists().where(asked.c.credential_id == table.c.credential_id, text(f"request.{REQUEST_STANDS}"))
_LEAVE_IDLE = _RELEASE.values(  # what was asked for while the lease was held is due: that has woken nobody
    idle_until=case((_ASKED, null()), else_=bindparam("idle", type_=table.c.idle_until.type))
)
_IDLE = (
    select(named.c.name, table.c.credential_id, table.c.edition)
    .join_from(table, named)
    .where(table.c.idle_until.is_not(None))
)


def _due() -> CompoundSelect[Any]:
    """One search of the index for each way to be due: SQLite reads all of it for one condition with ORs."""
    idle_until = table.c.idle_until
    now, impossible = (bindparam(name, type_=idle_until.type) for name in ("now", "impossible"))
    ways = (idle_until.is_(None), idle_until <= now, idle_until > impossible)
    return union_all(*(select(idle_until, named.c.name).join_from(table, named).where(way) for way in ways))


_DUE = _due()

IMPOSSIBLE = 100
"""A lease with so many times its length left is of a clock that has been set back since: it must not last for years."""


def find(connection: Connection, credential_id: CredentialId) -> Lease | None:
    """The row as it stands; None where it was never held."""
    return _lease(_asked(connection, _ROW, credential_id))


def lock(database: Database, connection: Connection, credential_id: CredentialId) -> tuple[Lease | None, datetime]:
    """The row, which nobody else changes until the transaction ends, and the time.

    The time is read after the lock: waiting for the lock may have taken as long as the lease had left.
    """
    if database.time() is None:  # the database's own clock, without another journey
        row = dict(_asked(connection, _ROW_TO_LOCK_AND_TIME, credential_id))
        now: datetime = row.pop("now")
        return _lease(row), now
    return _lease(_asked(connection, _ROW_TO_LOCK, credential_id)), database.now(connection)


def _asked(connection: Connection, query: Select[Any], credential_id: CredentialId) -> Mapping[str, Any]:
    row = connection.execute(query, {"credential": credential_id}).mappings().one_or_none()
    if row is None:
        message = f"there is no credential {credential_id}"
        raise LookupError(message)
    return row  # type: ignore[return-value]  # its keys are texts


def _lease(row: Mapping[str, Any]) -> Lease | None:
    return Lease(**row) if row["epoch"] else None


def claim(database: Database, credential_id: CredentialId, holder: str, ttl: timedelta) -> Lease | Held:
    """Take the lease, unless a holder that may be alive has it."""
    with database.write() as connection:
        last, now = lock(database, connection, credential_id)
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
        if last is not None and not last.released:
            tallies.add(connection, [Count("lease_takeovers")])
    return mine


def renew(database: Database, lease: Lease, ttl: timedelta) -> Lease:
    """Extend the lease from now on."""
    with database.write() as connection:
        now = hold(database, connection, lease)
        longer = replace(lease, until=now + ttl)
        _write(connection, longer)
    return longer


def release(database: Database, lease: Lease, idle: Idle | None) -> None:
    """Mark the lease as released, with its `fenced_at` and until when it is idle, if it is still of this epoch."""
    values: dict[str, Any] = {"released": True, "fenced_at": lease.fenced_at}
    statement = _RELEASE
    if idle is not None:
        statement, values = _LEAVE_IDLE, {**values, "idle": idle.until, "edition": idle.edition}
    with database.write() as connection:
        mine = {"credential": lease.credential_id, "of_epoch": lease.epoch}
        connection.execute(statement, {**mine, **values})


def due(connection: Connection, now: datetime, within: timedelta) -> list[str]:
    """The names of the credentials that are not idle, who waits longest first."""
    found = connection.execute(_DUE, {"now": now, "impossible": now + within}).all()
    return [name for _, name in sorted(found, key=lambda row: (row[0] is not None, *row))]


def wake(connection: Connection, credential_id: CredentialId) -> None:
    """It is due: something about it was told."""
    connection.execute(_WRITE, {"credential": credential_id, "idle_until": None})


def stir(database: Database, editions: Mapping[str, str]) -> None:
    """Wake those that another edition of their configuration has left idle."""
    with database.read() as connection:
        idle = connection.execute(_IDLE).all()
    changed = [row.credential_id for row in idle if row.name in editions and editions[row.name] != row.edition]
    if not changed:
        return
    with database.write() as connection:
        connection.execute(_WRITE, [{"credential": of, "idle_until": None} for of in sorted(changed)])


def hold(database: Database, connection: Connection, lease: Lease) -> datetime:
    """Lock the lease row for the rest of the transaction and return the time. Raises StaleLease unless it is ours."""
    taken_over = f"the lease of epoch {lease.epoch} was taken over"
    try:
        row, now = lock(database, connection, lease.credential_id)
    except LookupError:  # it has given way to another one that has its name now
        raise StaleLease(taken_over) from None
    if row is None or row.epoch != lease.epoch:
        raise StaleLease(taken_over)
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
    # Whatever its holder is about to do, and however it ends, the credential is due from now on.
    values = {name: getattr(lease, name) for name in ("holder", "epoch", "until", "released", "fenced_at")}
    connection.execute(_WRITE, {"credential": lease.credential_id, **values, "idle_until": None})
