"""Pairs (`mode: pair`): beside the key that a place serves stands the one before it, for consumers that try both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from rotator.domain.errors import TemporaryError, Unavailable
from rotator.domain.model import (
    Cause,
    Delivery,
    DeliveryState,
    RetirementReason,
    RetirementState,
    Rotation,
    Version,
    VersionState,
)
from rotator.domain.template import Template
from rotator.engine.work import Work
from rotator.ports.provider import Verdict
from rotator.ports.store import Update


def holders(work: Work, templates: Mapping[str, Template], version: Version) -> dict[str, Version]:
    """Field → the version whose value stands there while a place serves `version`; a companion holds the one before."""
    if not any(template.companion for template in templates.values()):
        return dict.fromkeys(templates, version)
    before = beside(work, version)
    return {field: before if template.companion else version for field, template in templates.items()}


def beside(work: Work, version: Version) -> Version:
    """The version that stands beside this one; itself where readers may rely on no other.

    A rotation has pinned it, for as long as that one has not leaked and is not being taken away.
    """
    rotation, before = work.situation.rotation, None
    if rotation is None or rotation.target_id != version.id:
        before = next(_before(work, version), None)
    elif rotation.beside_id is not None:
        before = work.situation.version(rotation.beside_id)
    return before if before is not None and _relied_on(work, before) else version


def pin(work: Work) -> None:
    """Choose what the open rotation writes beside its target: never what the provider refuses. May be repeated.

    Nothing where it is to stand alone, nor in a rehearsal, where no key in use is written.
    """
    rotation, version = work.rotation(), work.target()
    pairs = rotation.cause not in (Cause.UNPAIR, Cause.REHEARSAL) and any(paired(d) for d in work.situation.deliveries)
    found = next((v for v in _before(work, version) if _works(work, v)), None) if pairs else None
    chosen = found.id if found is not None else None
    if rotation.beside_id != chosen:
        sent = any(paired(d) and d.started for d in work.situation.deliveries)
        work.record([Update(rotation, {"beside_id": chosen, "rewrites": rotation.rewrites or sent})], [])


def paired(delivery: Delivery) -> bool:
    """Whether its place holds two keys."""
    return any(Template(text).companion for text in delivery.templates.values())


def rewritten(rotation: Rotation, delivery: Delivery) -> bool:
    """Whether a write with another key beside the target may still arrive, which only another write keeps out."""
    return rotation.rewrites and delivery.started and paired(delivery)


def unconfirmed(work: Work) -> bool:
    """Whether a write that puts a key beside another may still arrive: it was sent, and not read back yet."""
    return any(
        d.started and d.state is not DeliveryState.VERIFIED and not d.without and paired(d)
        for d in work.situation.deliveries
    )


def _before(work: Work, version: Version) -> Iterator[Version]:
    """Those that could stand beside it: the one that it replaces, then what was replaced last."""
    others = [v for v in work.situation.versions if v.id != version.id and _relied_on(work, v)]
    others.sort(key=lambda v: (v.state is VersionState.CURRENT, _replaced_at(work, v), v.number), reverse=True)
    return (v for v in others if work.kept(v) is not None)


def _relied_on(work: Work, version: Version) -> bool:
    """Whether readers may rely on it: it is or was current, has not leaked, and is not being taken away yet."""
    row = work.situation.retirement_of(version.id)
    if version.state not in (VersionState.CURRENT, VersionState.PREVIOUS) or version.compromised_at is not None:
        return False
    planned = row is None or row.state is RetirementState.PLANNED
    return planned and (row is None or row.why is RetirementReason.SUPERSEDED)


def _replaced_at(work: Work, version: Version) -> float:
    row = work.situation.retirement_of(version.id)
    return row.opened_at.timestamp() if row is not None else 0.0


def _works(work: Work, version: Version) -> bool:
    """Whether the provider accepts it. Raises TemporaryError where that cannot be told yet."""
    answer = work.authenticate(version, work.material(version))
    if answer.verdict is Verdict.INCONCLUSIVE:
        raise Unavailable(answer.why or "the provider did not say", retry_after=answer.retry_after)
    wait = (version.sent_at or version.created_at) + work.managed.settle - work.now()
    if answer.verdict is Verdict.REFUSED and wait > timedelta(0):
        message = f"version {version.number}, which goes beside the new one, is not accepted yet"
        raise TemporaryError(message, reason="not_accepted_yet", retry_after=wait.total_seconds())
    return answer.alive
