"""The operator's verbs: what a person may tell the service, each safe in every state and audited. `adopt` is apart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from rotator.domain.errors import SetupError
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import (
    Delivery,
    Finding,
    Placement,
    Retirement,
    RetirementReason,
    RetirementState,
    Rotation,
    Version,
    VersionId,
    VersionState,
)
from rotator.engine import rehearsal, waves
from rotator.engine import rotation as rotation_steps
from rotator.engine.findings import clear_all_but
from rotator.engine.grace import pace_of
from rotator.engine.reactivation import REPLACED, retired_again
from rotator.engine.retirement import REVOKED, deleted
from rotator.engine.shadows import shadow_at
from rotator.engine.work import AWAITING, MOVING, Work
from rotator.ports.store import Unplace, Update, Write


def resume(
    work: Work,
    *,
    delete: str | None = None,
    keep: Sequence[str] = (),
    gone: str | None = None,
    because: str | None = None,
) -> list[str]:
    """Clear blocks and waits so that the next step is tried at once; say what was cleared.

    `delete` and `keep` answer `ambiguous_keys`: which of the named keys is the lost one, or is somebody's. `gone`
    answers a retirement that is `awaiting_human`: the person has taken this key away.
    """
    if delete is not None or keep:
        _settle_ambiguity(work, delete, keep)
    if gone is not None:
        _taken_away(work, gone)
    rows: list[Rotation | Retirement | Delivery] = [*work.situation.retirements, *work.situation.deliveries]
    if work.situation.rotation is not None:
        rows.append(work.situation.rotation)
    stuck = [row for row in rows if row.blocked and row.reason != REVOKED]
    stuck += [row for row in rows if not row.blocked and row.attempt and row.not_before]
    told = work.event(Subject.RESUME, Outcome.SUCCEEDED, because=because, cleared=[row.reason or "" for row in stuck])
    work.record([Update(row, dict(MOVING)) for row in stuck], [told])
    return [f"{row.reason}: {row.message}" for row in stuck]


def _settle_ambiguity(work: Work, delete: str | None, keep: Sequence[str]) -> None:
    row = next((r for r in work.situation.retirements if r.reason == "ambiguous_keys"), None)
    if row is None:
        message = f"{work.managed.name} has no ambiguous key to settle"
        raise SetupError(message, reason="nothing_to_do")
    version = work.situation.version(row.version_id)
    if version is not None and version.key_id is not None and version.key_id in (delete, *keep):
        _settle_used_key(work, row, version, keep=version.key_id in keep)
        return
    if keep:
        work.record([Update(row, {"keep": (*row.keep, *keep)})], [])
    if delete is None:
        return
    if delete in work.store.known_keys(row_account(work, row), [delete]):
        message = f"{delete} is on record already; only the lost key is named here"
        raise SetupError(message, reason="known_key")
    if delete not in {key.id for key in work.ask(work.provider.keys)}:
        message = f"the provider does not list {delete}"
        raise SetupError(message, reason="unknown_key")
    if version is not None and version.key_id is None:
        told = work.event(Subject.CONDEMN, Outcome.SUCCEEDED, version=version.id, reason="operator", key=delete)
        work.record([Update(version, {"key_id": delete}), Update(row, dict(MOVING))], [told])


def _settle_used_key(work: Work, row: Retirement, version: Version, *, keep: bool) -> None:
    """The located key has been used, so it was not taken away: it is somebody's, or may go all the same."""
    if keep:
        told = work.event(Subject.RETIREMENT, Outcome.FAILED, version=version.id, reason="kept")
        now = work.now()
        closed = Update(row, {"state": RetirementState.CANCELLED, "closed_at": now, **MOVING})
        work.record([closed, Update(version, {"state": VersionState.RETIRED, "retired_at": now})], [told])
        return
    told = work.event(Subject.CONDEMN, Outcome.SUCCEEDED, version=version.id, reason="operator", key=version.key_id)
    work.record([Update(row, {"why": RetirementReason.ABANDONED, **MOVING})], [told])


def _taken_away(work: Work, key: str) -> None:
    rows = ((row, work.situation.version(row.version_id)) for row in work.situation.retirements)
    for row, version in rows:
        if version is not None and version.key_id == key and row.blocked and row.reason == AWAITING:
            deleted(work, row, version, "a person says that it is gone")
            return
    message = f"no retirement of {work.managed.name} waits for a person to take {key} away"
    raise SetupError(message, reason="nothing_to_do")


def row_account(work: Work, row: Retirement) -> str:
    """The account of a retirement's version."""
    version = work.situation.version(row.version_id)
    return version.account if version else work.ask(work.provider.account)


def abandon(work: Work, because: str | None = None) -> None:
    """Give the open rotation up: its new key is condemned, what was pushed is put back. Possible in every state."""
    rotation = work.situation.rotation
    if rotation is None:
        message = f"{work.managed.name} has no open rotation"
        raise SetupError(message, reason="nothing_to_do")
    rotation_steps.abandon(work, rotation, reason="abandoned", why="a person gave it up", because=because)


def end_rehearsal(work: Work, because: str | None) -> None:
    """A person wants a real rotation: a rehearsal that is open makes way for it."""
    if rehearsal.is_open(work.situation):
        why = "a person wants a real rotation"
        give_up_rehearsal(work, reason="made_way", why=why, because=because)


def give_up_rehearsal(work: Work, *, reason: str, why: str, because: str | None = None) -> None:
    """The rehearsal has failed, and why; its key and its shadows are taken away."""
    rotation_steps.abandon(work, work.rotation(), reason=reason, why=why, because=because)


def compromised(work: Work, key: str | None, because: str | None) -> bool:
    """A key has leaked: hurry what is being retired; say whether a new key is needed.

    Without `key`, the current version and every previous one count as leaked. Raises SetupError for an unknown key.
    """
    leaked, target = _leaked(work, key), work.situation.target
    if target is not None and target.id in leaked and target.state is not VersionState.CURRENT:
        why = "the key that it would make current has leaked"
        rotation_steps.abandon(work, work.rotation(), reason="compromised", why=why, because=because)
    situation, now = work.situation, work.now()
    versions = [v for v in situation.versions if v.id in leaked]
    writes: list[Write] = [Update(v, {"compromised_at": v.compromised_at or now}) for v in versions]
    for version in versions:
        writes += _hurried(work, version)
    new_key_needed = needs_new_key(work, key)
    if situation.rotation is not None and new_key_needed:
        writes.append(Update(situation.rotation, {"urgent": True, **waves.hurried(situation.rotation)}))
    version_id = versions[0].id if key is not None else None
    told = work.event(Subject.COMPROMISED, Outcome.SUCCEEDED, version=version_id, because=because, key=key)
    work.record(writes, [told])
    clear_leaks(work, work.findings())
    return new_key_needed


def clear_leaks(work: Work, standing: Sequence[Finding]) -> None:
    """What is said of keys that work no more, or are being replaced as compromised, holds no more."""
    still = [v.key_id for v in work.situation.versions if v.state.living and v.compromised_at is None]
    told = work.event(Subject.LEAK, Outcome.CLEARED)
    clear_all_but(work.store, standing, Subject.LEAK, [key for key in still if key is not None], told)


def needs_new_key(work: Work, key: str | None) -> bool:
    """Whether what has leaked is the current key, or among all of them."""
    current = work.situation.current
    return key is None or (current is not None and current.key_id == key)


def _leaked(work: Work, key: str | None) -> set[VersionId]:
    versions = work.situation.versions
    if key is None:
        return {v.id for v in versions if v.state in (VersionState.CURRENT, *REPLACED)}
    living = [v for v in versions if v.state.living and v.key_id is not None]
    leaked = {v.id for v in living if v.key_id == key}
    if not leaked:
        ids = ", ".join(str(v.key_id) for v in living) or "none"
        message = f"{key} is not a living key of {work.managed.name}; living: {ids}"
        raise SetupError(message, reason="unknown_key")
    return leaked


def _hurried(work: Work, version: Version) -> list[Write]:
    """What takes a leaked version away sooner. A current one goes when another is; a condemned one is going anyway."""
    row = work.situation.retirement_of(version.id)
    if version.state not in REPLACED:
        return []
    if row is None or row.wanted_back:
        return retired_again(work, version, RetirementReason.COMPROMISED)
    capabilities = work.provider.capabilities
    grace, soak = pace_of(work, RetirementReason.COMPROMISED, row.grace, row.soak)
    full = capabilities.slots is not None and _living_keys(work) >= capabilities.slots
    if full:
        soak = timedelta(0)  # its slot is needed for the new key
    soaking = row.state is RetirementState.DISABLED and not full
    changes: dict[str, Any] = {"why": RetirementReason.COMPROMISED, "grace": grace, "soak": soak}
    if row.state is RetirementState.BROWNED_OUT:  # disabled already, and stays so
        changes |= {"state": RetirementState.PLANNED, "restore_at": None}
    return [Update(row, changes if soaking else {**MOVING, "unconfirmed_until": None, **changes})]


def _living_keys(work: Work) -> int:
    return sum(1 for v in work.situation.versions if v.state.living and v.key_id is not None)


def forget_destination(work: Work, to: str, because: str | None = None) -> list[str]:
    """Stop waiting for a place, or a field of one, that the configuration names no more; say which were forgotten.

    Whoever still reads there may hold an old key: that is what the person says is not so.
    """
    configured = {t.destination.identity for t in work.managed.targets}
    given: list[Placement | Delivery] = [*work.situation.placements]
    given += [delivery for rows in work.situation.unacknowledged.values() for delivery in rows]
    standing = [delivery for rows in work.situation.shadows.values() for delivery in rows]
    given += [delivery for delivery in standing if shadow_at(work.managed, delivery) is None]
    removed = [
        g for g in given if g.identity not in configured or (isinstance(g, Placement) and work.managed.left_out(g))
    ]
    gone = [g for g in removed if to in (g.address, g.to)]
    if not gone:
        known = ", ".join(sorted({g.address for g in removed}))
        message = f"{work.managed.name} has no removed destination {to}; removed: {known or 'none'}"
        raise SetupError(message, reason="unknown_destination", remedy="take it out of the configuration first")
    told = work.event(Subject.FORGET, Outcome.SUCCEEDED, destination=to, because=because)
    work.record([_forgotten(g) for g in gone], [told])
    return sorted({g.address for g in gone})


def _forgotten(given: Placement | Delivery) -> Write:
    if isinstance(given, Placement):
        return Unplace(given.identity, given.field)
    return Update(given, {"started": False})  # whether the write arrived does not matter any more
