"""Reading: from rows to the things of `domain.model`. Queries are built once: building costs more than asking."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, exists, func, or_, select, text

from rotator.domain.model import (
    REUSES,
    Cause,
    Credential,
    CredentialId,
    Delivery,
    DeliveryState,
    Placement,
    Retirement,
    Rotation,
    RotationState,
    Situation,
    Version,
    VersionId,
    VersionState,
    creates_of_a_day,
)
from rotator.ports.store import StoredEvent
from rotator.store import tables
from rotator.store.columns import Moment

T = TypeVar("T")

_OF_CREDENTIAL = {
    table: table.c.credential_id == bindparam("credential")
    for table in (tables.version, tables.rotation, tables.retirement, tables.placement)
}
_VERSION = select(tables.version).where(tables.version.c.id == bindparam("version"))
_DELIVERIES = (
    select(tables.delivery)
    .where(tables.delivery.c.rotation_id == bindparam("rotation"))
    .order_by(tables.delivery.c.position, tables.delivery.c.id)
)
_WRITTEN_SINCE = exists().where(
    _OF_CREDENTIAL[tables.placement],
    tables.placement.c.identity == tables.delivery.c.identity,
    tables.placement.c.placed_at >= tables.rotation.c.closed_at,
)
_LEFT_BEHIND = (  # by abandoned rotations: writes that may still arrive, and the shadows of rehearsals
    select(tables.rotation.c.target_id, tables.rotation.c.cause, tables.delivery)
    .join_from(tables.rotation, tables.delivery, tables.delivery.c.rotation_id == tables.rotation.c.id)
    .join(tables.version, tables.version.c.id == tables.rotation.c.target_id)
    .where(
        _OF_CREDENTIAL[tables.rotation],
        tables.version.c.state != VersionState.RETIRED,
        tables.rotation.c.state == RotationState.ABANDONED,
        tables.delivery.c.started,
        or_(
            tables.rotation.c.cause == Cause.REHEARSAL,
            and_(tables.delivery.c.state == DeliveryState.PLANNED, ~_WRITTEN_SINCE),
        ),
    )
    .order_by(tables.delivery.c.position, tables.delivery.c.id)
)
_OPEN_RETIREMENTS = (
    select(tables.retirement)
    .where(_OF_CREDENTIAL[tables.retirement], text(tables.RETIREMENT_IS_OPEN))
    .order_by(tables.retirement.c.opened_at, tables.retirement.c.id)
)
_PLACEMENTS = (
    select(tables.placement)
    .where(_OF_CREDENTIAL[tables.placement])
    .order_by(tables.placement.c.identity, tables.placement.c.field)
)
_RETIRED = tables.version.c.state == VersionState.RETIRED
_NEWEST_RETIRED = select(func.max(tables.version.c.number)).where(_OF_CREDENTIAL[tables.version], _RETIRED)
_VERSIONS = (
    select(tables.version)
    .where(
        _OF_CREDENTIAL[tables.version],
        or_(
            ~_RETIRED,
            tables.version.c.number == _NEWEST_RETIRED.scalar_subquery(),
            tables.version.c.id.in_(bindparam("named", expanding=True)),
        ),
    )
    .order_by(tables.version.c.number)
)
_ROTATION_IS_OPEN = text(f"rotation.{tables.ROTATION_IS_OPEN}")
_OPENED = [column.label(f"rotation_{column.key}") for column in tables.rotation.c]


def _credential(now: ColumnElement[Any]) -> Select[Any]:
    """With what there is at most one of: every question is a journey to the database."""
    last_completed_at = select(func.max(tables.rotation.c.closed_at)).where(
        _OF_CREDENTIAL[tables.rotation],
        tables.rotation.c.state == RotationState.COMPLETED,
        tables.rotation.c.cause.not_in(REUSES),
        tables.rotation.c.closed_at <= now,  # later ones are of a clock that has been set back since
    )
    return (
        select(
            tables.credential,
            *_OPENED,
            last_completed_at.scalar_subquery().label("last_completed_at"),
            tables.lease.c.epoch.label("lease_epoch"),
            now.label("now"),
        )
        .outerjoin_from(
            tables.credential,
            tables.rotation,
            and_(tables.rotation.c.credential_id == tables.credential.c.id, _ROTATION_IS_OPEN),
        )
        .join(tables.lease, tables.lease.c.credential_id == tables.credential.c.id)
        .where(tables.credential.c.id == bindparam("credential"))
    )


_CREDENTIAL = _credential(bindparam("now", type_=Moment()))
_CREDENTIAL_BY_ITS_CLOCK = _credential(func.clock_timestamp(type_=Moment()))
_CREATES = (  # newest first; more than any limit of a day
    select(tables.version.c.sent_at)
    .where(_OF_CREDENTIAL[tables.version], tables.version.c.sent_at.is_not(None))
    .order_by(tables.version.c.number.desc())
    .limit(1010)
)
_KNOWN_KEYS = (
    select(tables.version.c.key_id, tables.credential.c.name)
    .join_from(tables.version, tables.credential)
    .where(tables.version.c.account == bindparam("account"), tables.version.c.key_id.is_not(None))
)
_KNOWN_AMONG = _KNOWN_KEYS.where(tables.version.c.key_id.in_(bindparam("among", expanding=True)))
_AMONG_AT_MOST = 500
"""Longer lists are looked up by ourselves: there are databases that take no more."""
_FINGERPRINTS = (
    select(tables.credential.c.name.label("credential"), tables.version)
    .join_from(tables.version, tables.credential)
    .where(tables.version.c.fingerprint.is_not(None))
    .order_by(tables.version.c.number)
)
_PLACED = select(tables.placement).where(tables.placement.c.identity == bindparam("identity"))
_KINDS = frozenset({Version, Rotation, Delivery, Retirement, Placement})
_EVENTS = select(tables.event.c.seq, tables.event.c.body, tables.event.c.hash).order_by(tables.event.c.seq)


def many(connection: Connection, kind: type[T], query: Select[Any], **given: Any) -> list[T]:
    """The rows of a query as dataclasses of this kind."""
    return [kind(**row) for row in connection.execute(query, given).mappings()]


def one(connection: Connection, kind: type[T], query: Select[Any], **given: Any) -> T | None:
    """The only row, if there is one."""
    row = connection.execute(query, given).mappings().one_or_none()
    return None if row is None else kind(**row)


@dataclass(frozen=True)
class Known:
    """What is on record, under which lease; but for rows of some kinds, which are to be read."""

    situation: Situation
    unsure: AbstractSet[type]
    epoch: int


def situation(connection: Connection, credential_id: CredentialId, now: datetime | None) -> Situation:
    """Everything on record about one credential. The connection must show one snapshot.

    `now`: None is the database's own clock, which only PostgreSQL has.
    """
    row = _row(connection, credential_id, now)
    return _completed(connection, row, Known(_empty(_parts(row)[0]), _KINDS, row.lease_epoch))


def again(connection: Connection, credential_id: CredentialId, now: datetime | None, known: Known) -> Situation | None:
    """The same, of which most is known; None where another has had the lease since. One statement if all is."""
    row = _row(connection, credential_id, now)
    return _completed(connection, row, known) if row.lease_epoch == known.epoch else None


def _row(connection: Connection, credential_id: CredentialId, now: datetime | None) -> Row[Any]:
    query = _CREDENTIAL_BY_ITS_CLOCK if now is None else _CREDENTIAL
    row = connection.execute(query, {"credential": credential_id, "now": now}).one_or_none()
    if row is None:
        message = f"there is no credential {credential_id}"
        raise LookupError(message)
    return row


def _completed(connection: Connection, row: Row[Any], known: Known) -> Situation:
    credential, rotation, completed_at = _parts(row)
    before, unsure, of_it = known.situation, known.unsure, {"credential": credential.id}
    retirements, versions, placements, creates = before.retirements, before.versions, before.placements, before.creates
    if Retirement in unsure:
        retirements = many(connection, Retirement, _OPEN_RETIREMENTS, **of_it)
    named = _named(rotation, retirements)
    if Version in unsure or named != _named(before.rotation, before.retirements):
        versions = many(connection, Version, _VERSIONS, **of_it, named=named)
    if Version in unsure:
        creates = list(connection.scalars(_CREATES, of_it))[::-1]
    if Placement in unsure:
        placements = many(connection, Placement, _PLACEMENTS, **of_it)
    deliveries = before.deliveries if rotation is not None else ()
    if rotation is not None and (Delivery in unsure or before.rotation is None or rotation.id != before.rotation.id):
        deliveries = many(connection, Delivery, _DELIVERIES, rotation=rotation.id)
    unacknowledged, shadows = (before.unacknowledged, before.shadows) if retirements else ({}, {})
    if retirements and unsure:
        unacknowledged, shadows = _left_behind(connection, credential.id)
    return Situation(
        credential=credential,
        versions=versions,
        rotation=rotation,
        deliveries=deliveries,
        retirements=retirements,
        placements=placements,
        last_completed_at=last_completed_at(versions, completed_at),
        creates=creates_of_a_day(creates, row.now),
        unacknowledged=unacknowledged,
        shadows=shadows,
    )


def _empty(credential: Credential) -> Situation:
    return Situation(
        credential=credential,
        versions=(),
        rotation=None,
        deliveries=(),
        retirements=(),
        placements=(),
        last_completed_at=None,
    )


def _named(rotation: Rotation | None, retirements: Sequence[Retirement]) -> list[VersionId]:
    """Versions that are loaded in any case, however retired."""
    target = [] if rotation is None or rotation.target_id is None else [rotation.target_id]
    return [*(retirement.version_id for retirement in retirements), *target]


def _left_behind(
    connection: Connection, credential_id: CredentialId
) -> tuple[dict[VersionId, list[Delivery]], dict[VersionId, list[Delivery]]]:
    """Writes that nobody has acknowledged, and shadows that may still stand, by living version."""
    unacknowledged: dict[VersionId, list[Delivery]] = {}
    shadows: dict[VersionId, list[Delivery]] = {}
    for row in connection.execute(_LEFT_BEHIND, {"credential": credential_id}).mappings():
        values = dict(row)
        kind = shadows if values.pop("cause") is Cause.REHEARSAL else unacknowledged
        kind.setdefault(values.pop("target_id"), []).append(Delivery(**values))
    return unacknowledged, shadows


def _parts(row: Row[Any]) -> tuple[Credential, Rotation | None, datetime | None]:
    """A row of `_CREDENTIAL`: the credential, its open rotation, and when the last one was completed."""
    own, opened = len(tables.credential.c), len(tables.credential.c) + len(_OPENED)
    credential = Credential(**dict(zip(tables.credential.c.keys(), row[:own], strict=True)))
    if row[own] is None:  # the id of a rotation
        return credential, None, row[opened]
    return credential, Rotation(**dict(zip(tables.rotation.c.keys(), row[own:opened], strict=True))), row[opened]


def last_completed_at(versions: Sequence[Version], completed_at: datetime | None) -> datetime | None:
    """Of a rotation or an adoption: the later of the last completed rotation and the current version's own time."""
    moments = [version.current_at for version in versions if version.state is VersionState.CURRENT]
    return max((moment for moment in (*moments, completed_at) if moment is not None), default=None)


def version(connection: Connection, version_id: VersionId) -> Version | None:
    """One version row of any credential."""
    return one(connection, Version, _VERSION, version=version_id)


def known_keys(connection: Connection, account: str, among: Collection[str] | None) -> dict[str, str]:
    """Key id → credential name, of every version of the account, or of those with these key ids."""
    if among is not None and len(among) <= _AMONG_AT_MOST:
        rows = connection.execute(_KNOWN_AMONG, {"account": account, "among": list(among)})
    else:
        rows = connection.execute(_KNOWN_KEYS, {"account": account})
    wanted = None if among is None else frozenset(among)
    return {row.key_id: row.name for row in rows if wanted is None or row.key_id in wanted}


def fingerprints(connection: Connection) -> dict[str, tuple[str, Version]]:
    """Fingerprint → credential name and version, retired ones included; of two the newer one."""
    rows = (dict(row) for row in connection.execute(_FINGERPRINTS).mappings())
    return {row["fingerprint"]: (row.pop("credential"), Version(**row)) for row in rows}


def placed(connection: Connection, identity: str) -> dict[str, Placement]:
    """Field → placement, for one destination."""
    return {placement.field: placement for placement in many(connection, Placement, _PLACED, identity=identity)}


def events(connection: Connection, after: int, credential: str | None, limit: int) -> list[StoredEvent]:
    """One page of the trail."""
    query = _EVENTS.where(tables.event.c.seq > after).limit(limit)
    if credential is not None:
        query = query.where(tables.event.c.credential == credential)
    return many(connection, StoredEvent, query)
