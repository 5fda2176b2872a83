"""How keys are used: one row for each bucket of time, and one for how far a credential's use is on record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select

from rotator.domain.model import CredentialId
from rotator.domain.usage import Sample, Sampling, rolled_before, rolled_up
from rotator.store import reading
from rotator.store.database import Database
from rotator.store.tables import sample as table
from rotator.store.tables import sampling

_LOOK = select(sampling.c.since, sampling.c.at).where(sampling.c.credential_id == bindparam("credential"))
_SAMPLES = (
    select(*(column for column in table.c if column.name != "credential_id"))
    .where(table.c.credential_id == bindparam("credential"))
    .order_by(table.c.key_id, table.c.at, table.c.width)
)
_OLD = _SAMPLES.where(table.c.at < bindparam("before"))
_BUCKET = [column.name for column in table.primary_key]
_FORGET = delete(table).where(*(table.c[name] == bindparam(f"of_{name}") for name in _BUCKET))


def look(connection: Connection, credential_id: CredentialId) -> Sampling | None:
    """How far use is on record."""
    return reading.one(connection, Sampling, _LOOK, credential=credential_id)


def of(connection: Connection, credential_id: CredentialId) -> Sequence[Sample]:
    """All, by key and then by time."""
    return reading.many(connection, Sample, _SAMPLES, credential=credential_id)


def keep(database: Database, credential_id: CredentialId, samples: Sequence[Sample], since: datetime) -> None:
    """Put them in the place of those of the same buckets; roll up what is old."""
    with database.write() as connection:
        now = database.now(connection)
        before = look(connection, credential_id)
        connection.execute(delete(sampling).where(sampling.c.credential_id == credential_id))
        row = Sampling(since=since if before is None else before.since, at=now)
        connection.execute(insert(sampling).values(credential_id=credential_id, **asdict(row)))
        _put(connection, credential_id, samples)
        old = reading.many(connection, Sample, _OLD, credential=credential_id, before=rolled_before(now))
        days, gone = rolled_up(old, now)
        _forget(connection, credential_id, gone)
        _put(connection, credential_id, days)


def _put(connection: Connection, credential_id: CredentialId, samples: Sequence[Sample]) -> None:
    if samples:
        _forget(connection, credential_id, samples)
        connection.execute(insert(table), [_row(credential_id, sample) for sample in samples])


def _forget(connection: Connection, credential_id: CredentialId, samples: Iterable[Sample]) -> None:
    rows = [_row(credential_id, sample) for sample in samples]
    if rows:
        connection.execute(_FORGET, [{f"of_{name}": row[name] for name in _BUCKET} for row in rows])


def _row(credential_id: CredentialId, sample: Sample) -> dict[str, Any]:
    return {"credential_id": credential_id, **asdict(sample)}
