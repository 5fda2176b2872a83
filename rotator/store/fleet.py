"""Reading every credential: a few queries for some hundred of them, where `reading` asks a few for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Select, and_, bindparam, func, or_, select, text

from rotator.domain.model import (
    REUSES,
    Credential,
    CredentialId,
    Delivery,
    Placement,
    Retirement,
    RetirementReason,
    RetirementState,
    Rotation,
    RotationState,
    Situation,
    Version,
    VersionState,
    creates_of_a_day,
)
from rotator.store import tables
from rotator.store.database import Database
from rotator.store.reading import last_completed_at, many

T = TypeVar("T", Version, Rotation, Retirement, Delivery, Placement)

_PAGE = 500
_TWO_DAYS = timedelta(days=2)


def _among(column: Column[Any]) -> Any:
    return column.in_(bindparam("ids", expanding=True))


_CREDENTIALS = (
    select(tables.credential)
    .where(tables.credential.c.name > bindparam("after"))
    .order_by(tables.credential.c.name)
    .limit(_PAGE)
)
_ROTATIONS = select(tables.rotation).where(
    _among(tables.rotation.c.credential_id), text(f"rotation.{tables.ROTATION_IS_OPEN}")
)
_DELIVERIES = (
    select(tables.delivery)
    .join(tables.rotation, tables.rotation.c.id == tables.delivery.c.rotation_id)
    .where(_among(tables.rotation.c.credential_id), text(f"rotation.{tables.ROTATION_IS_OPEN}"))
    .order_by(tables.delivery.c.position, tables.delivery.c.id)
)
_RETIREMENTS = (
    select(tables.retirement)
    .where(_among(tables.retirement.c.credential_id), text(tables.RETIREMENT_IS_OPEN))
    .order_by(tables.retirement.c.opened_at, tables.retirement.c.id)
)
_DRILLED = (
    select(tables.retirement.c.credential_id, func.max(tables.retirement.c.closed_at))
    .where(
        _among(tables.retirement.c.credential_id),
        tables.retirement.c.why == RetirementReason.REHEARSED,
        tables.retirement.c.state == RetirementState.DELETED,
    )
    .group_by(tables.retirement.c.credential_id)
)
_PLACEMENTS = (
    select(tables.placement)
    .where(_among(tables.placement.c.credential_id))
    .order_by(tables.placement.c.identity, tables.placement.c.field)
)
_other = tables.version.alias("other")
_NEWEST_RETIRED = (
    select(func.max(_other.c.number))
    .where(_other.c.credential_id == tables.version.c.credential_id, _other.c.state == VersionState.RETIRED)
    .scalar_subquery()
)
_VERSIONS = (  # the living, the newest that is not, and those that something open names
    select(tables.version)
    .where(
        _among(tables.version.c.credential_id),
        or_(
            tables.version.c.state != VersionState.RETIRED,
            tables.version.c.number == _NEWEST_RETIRED,
            tables.version.c.id.in_(bindparam("named", expanding=True)),
        ),
    )
    .order_by(tables.version.c.number)
)
_COMPLETED = (
    select(tables.rotation.c.credential_id, func.max(tables.rotation.c.closed_at))
    .where(
        _among(tables.rotation.c.credential_id),
        and_(
            tables.rotation.c.state == RotationState.COMPLETED,
            tables.rotation.c.cause.not_in(REUSES),
            tables.rotation.c.closed_at <= bindparam("now"),
        ),
    )
    .group_by(tables.rotation.c.credential_id)
)
_CREATES = (
    select(tables.version.c.credential_id, tables.version.c.sent_at)
    .where(_among(tables.version.c.credential_id), tables.version.c.sent_at > bindparam("since"))
    .order_by(tables.version.c.number)
)


def situations(database: Database) -> Iterator[Situation]:
    """Every credential, by name."""
    after = ""
    while True:
        with database.read() as connection:
            page = many(connection, Credential, _CREDENTIALS, after=after)
            found = _page(connection, page, database.now(connection)) if page else []
        yield from found
        if len(page) < _PAGE:
            return
        after = page[-1].name


def _page(connection: Connection, page: Sequence[Credential], now: datetime) -> list[Situation]:
    ids = [credential.id for credential in page]
    rotations = {row.credential_id: row for row in many(connection, Rotation, _ROTATIONS, ids=ids)}
    retirements = _by_credential(connection, Retirement, _RETIREMENTS, ids=ids)
    deliveries = _by_credential(connection, Delivery, _DELIVERIES, ids=ids)
    placements = _by_credential(connection, Placement, _PLACEMENTS, ids=ids)
    named = [row.version_id for rows in retirements.values() for row in rows]
    named += [row.target_id for row in rotations.values() if row.target_id is not None]
    versions = _by_credential(connection, Version, _VERSIONS, ids=ids, named=named)
    completed = {row[0]: row[1] for row in connection.execute(_COMPLETED, {"ids": ids, "now": now})}
    sent: defaultdict[CredentialId, list[datetime]] = defaultdict(list)
    for credential_id, moment in connection.execute(_CREATES, {"ids": ids, "since": now - _TWO_DAYS}):
        sent[credential_id].append(moment)
    return [
        Situation(
            credential=credential,
            versions=versions[credential.id],
            rotation=rotations.get(credential.id),
            deliveries=deliveries[credential.id] if credential.id in rotations else (),
            retirements=retirements[credential.id],
            placements=placements[credential.id],
            last_completed_at=last_completed_at(versions[credential.id], completed.get(credential.id)),
            creates=creates_of_a_day(sent[credential.id], now),
        )
        for credential in page
    ]


def _by_credential(
    connection: Connection, kind: type[T], query: Select[Any], **given: Any
) -> defaultdict[CredentialId, list[T]]:
    found: defaultdict[CredentialId, list[T]] = defaultdict(list)
    for row in many(connection, kind, query, **given):
        found[row.credential_id].append(row)
    return found


def drilled(database: Database, credential_ids: Sequence[CredentialId]) -> dict[CredentialId, datetime]:
    """When each of these was last rehearsed to the end."""
    found: dict[CredentialId, datetime] = {}
    with database.read() as connection:
        for begin in range(0, len(credential_ids), _PAGE):
            rows = connection.execute(_DRILLED, {"ids": credential_ids[begin : begin + _PAGE]})
            found |= {credential: at for credential, at in rows if at is not None}
    return found
