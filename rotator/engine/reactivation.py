"""The taking-away of a version, begun or called off by a person: `retire`, `reactivate`, and the step that brings back.

A version that was reactivated stays `previous`, and has no retirement until another key becomes current, or a new
key needs its slot, or a person retires it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from rotator.domain.errors import PermanentError, SetupError, TemporaryError, Unavailable
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import (
    Cause,
    Retirement,
    RetirementReason,
    RetirementState,
    Situation,
    Version,
    VersionState,
)
from rotator.engine.pausing import refuse as refuse_while_paused
from rotator.engine.retirement import open_retirement, right_account, version_of
from rotator.engine.work import MOVING, Work
from rotator.ports.provider import Disables, Verdict
from rotator.ports.store import Insert, NewEvent, Update, Write

REPLACED = (VersionState.PREVIOUS, VersionState.DISABLED)
"""The living states of a version that was current, or could be."""

# verbs


def reactivate(work: Work, *, key: str | None = None, number: int | None = None, because: str | None = None) -> Version:
    """Call the taking-away of a version off, until `delete.started` is committed. Returns the version.

    Rows only: what may be disabled is enabled and tried by the next step. Nothing changes where it is on its way
    back, or not being taken away. Raises SetupError where it cannot come back, or where a person has to choose.
    """
    refuse_while_paused(work)
    version = replaced_version(work, key=key, number=number)
    refuse_reuse(work, version)
    row = work.situation.retirement_of(version.id)
    if row is not None and not row.wanted_back:
        told = work.event(Subject.REACTIVATE, Outcome.SUCCEEDED, version=version.id, because=because)
        work.record([wanted_back(row)], [told])
    return version


def retire(work: Work, *, key: str, force: bool = False, because: str | None = None) -> Version:
    """Begin the taking-away of a living version that is not current. Returns the version; may be repeated.

    With `force` neither its grace nor what speaks for its being in use holds it any more, nor a destination of which
    nobody knows what it serves. One that is known to serve it does, and so does the want of another key that works.
    """
    version = replaced_version(work, key=key)
    rotation = work.situation.rotation
    if rotation is not None and rotation.target_id == version.id:
        message = f"version {version.number} is about to be current again"
        raise SetupError(message, reason="rotating", remedy=f"`rotator abandon {work.managed.name}`")
    rows = retired_again(work, version, why_replaced(version))
    opened = [retirement_opened(work, version)] if rows else []
    past = None
    if force:
        past, rows = gone_past(work.situation, version), _forced(work.situation.retirement_of(version.id), rows)
    if rows:
        told = work.event(Subject.RETIRE, Outcome.SUCCEEDED, version=version.id, because=because, past=past)
        work.record(rows, [told, *opened])
    return version


def gone_past(situation: Situation, version: Version) -> str:
    """What holds a retirement now, as its row says; what `--force` goes past."""
    row = situation.retirement_of(version.id)
    until = f", until {row.not_before:%Y-%m-%d %H:%M} UTC" if row is not None and row.not_before else ""
    return f"{row.reason}: {row.message}{until}" if row is not None and row.reason else "its grace"


def _forced(row: Retirement | None, rows: Sequence[Write]) -> list[Write]:
    """The same rows without the waits; one that is disabled already keeps its soak."""
    if rows:
        opened = [write.row for write in rows if isinstance(write, Insert)]
        waits = {**MOVING, "forced": True}
        kept = [write for write in rows if not isinstance(write, Insert)]
        return [*kept, *(Insert(replace(new, **waits)) for new in opened if isinstance(new, Retirement))]
    if row is None or row.forced or row.state is RetirementState.DISABLED:
        return []
    return [Update(row, {**MOVING, "forced": True})]


def replaced_version(work: Work, *, key: str | None = None, number: int | None = None) -> Version:
    """The living version that a person named; without a name the only one that is neither current nor new.

    Raises SetupError with reason `nothing_to_do`, `unknown_key`, `current_key`, `not_adopted` or `condemned`.
    """
    name = work.managed.name
    living = [v for v in work.situation.versions if v.state.living]
    named = [v for v in living if (key is not None and v.key_id == key) or (number is not None and v.number == number)]
    if key is None and number is None:
        named = [v for v in living if v.state in REPLACED]
    found = ", ".join(f"version {v.number} ({v.key_id})" for v in living if v.state in REPLACED) or "none"
    if not named and key is None and number is None:
        message = f"{name} has no living key beside the current one"
        raise SetupError(message, reason="no_previous", remedy=f"`rotate --now {name}` makes a new one")
    if not named:
        message = f"{key or f'version {number}'} is not a living key of {name}; previous ones: {found}"
        raise SetupError(message, reason="unknown_key")
    if len(named) > 1:
        message = f"{name} has several previous keys: {found}"
        raise SetupError(message, reason="which_key", remedy="name one of them")
    version = named[0]
    if version.state is VersionState.CURRENT:
        message = f"version {version.number} ({version.key_id}) is the current key of {name}"
        raise SetupError(message, reason="current_key", remedy=f"`rotate --now {name}` replaces it")
    if version.state not in REPLACED:
        message = f"version {version.number} of {name} is {version.state}: it was never in use"
        raise SetupError(message, reason="never_current", remedy=f"`rotator explain {name}` says what becomes of it")
    return version


def refuse_reuse(work: Work, version: Version) -> None:
    """Nothing brings back what has leaked, or what is being deleted. Raises SetupError."""
    name, row = work.managed.name, work.situation.retirement_of(version.id)
    remedy = f"`rotate --now {name}` makes a new key"
    if version.compromised_at is not None or (row is not None and row.why is RetirementReason.COMPROMISED):
        message = f"version {version.number} ({version.key_id}) has leaked, and is never used again"
        raise SetupError(message, reason="compromised", remedy=remedy)
    if row is not None and row.delete_started:
        message = f"version {version.number} ({version.key_id}) is being deleted: that cannot be called off"
        raise SetupError(message, reason="too_late", remedy=remedy)


# rows


def wanted_back(row: Retirement) -> Update:
    """From here on nothing more is taken away by this retirement."""
    return Update(row, {"wanted_back": True, **MOVING})


def why_replaced(version: Version) -> RetirementReason:
    """Why a version that is current no more is taken away."""
    return RetirementReason.COMPROMISED if version.compromised_at is not None else RetirementReason.SUPERSEDED


def retired_again(
    work: Work,
    version: Version,
    why: RetirementReason,
    *,
    grace: timedelta | None = None,
    soak: timedelta | None = None,
) -> list[Write]:
    """The rows that take a version away from the beginning; none where that is under way already."""
    row = work.situation.retirement_of(version.id)
    if row is not None and not row.wanted_back:
        return []
    if row is not None and row.state is RetirementState.BROWNED_OUT and why is not RetirementReason.COMPROMISED:
        return [Update(row, {"wanted_back": False, **MOVING})]  # what the brownout has disabled comes back first
    opened = open_retirement(work, version, why, grace=grace, soak=soak)
    if row is None:
        return [opened]
    assert isinstance(opened.row, Retirement)
    ended = Update(row, {"state": RetirementState.CANCELLED, "closed_at": work.now(), **MOVING})
    return [ended, Insert(replace(opened.row, disable_started=row.disable_started))]


def retirement_opened(work: Work, version: Version) -> NewEvent:
    """Tells that the taking-away of a version has begun."""
    return work.event(Subject.RETIREMENT, Outcome.STARTED, version=version.id, reason=why_replaced(version).value)


def kept_versions(work: Work) -> Sequence[Version]:
    """Living versions that nothing takes away: a person has reactivated them."""
    versions, target = work.situation.versions, work.situation.target
    return [
        v
        for v in versions
        if v.state in REPLACED and work.situation.retirement_of(v.id) is None and (target is None or v.id != target.id)
    ]


def free_slots(work: Work) -> None:
    """A new key is due and every slot is taken: what a person had kept is taken away after all."""
    kept = kept_versions(work)
    writes = [open_retirement(work, version, why_replaced(version)) for version in kept]
    if writes:
        work.record(writes, [retirement_opened(work, version) for version in kept])


# the step


def enable(work: Work, retirement: Retirement) -> None:
    """Any open state → cancelled: what may be disabled is enabled, and believed when the provider accepts it."""
    version = version_of(work, retirement)
    told = [work.event(Subject.RETIREMENT, Outcome.FAILED, version=version.id, reason="reactivated")]
    if retirement.disable_started or version.state is VersionState.DISABLED:
        enabled(work, retirement, version)
        told.insert(0, work.event(Subject.ENABLE, Outcome.SUCCEEDED, version=version.id))
        version = version_of(work, retirement)
    changes = {"state": RetirementState.CANCELLED, "closed_at": work.now(), **MOVING}
    work.record([Update(retirement, changes), Update(version, {"state": VersionState.PREVIOUS})], told)


def enabled(work: Work, retirement: Retirement, version: Version) -> None:
    """Enable a key, announced, and believe it when the provider accepts it. Raises where it does not yet."""
    provider = work.provider
    if not isinstance(provider, Disables) or version.key_id is None:
        message = "the provider cannot enable a key"
        raise PermanentError(message, reason="bug")
    work.outwait_late_calls()  # a disable that is still on its way would undo this
    right_account(work, version)
    told = work.event(Subject.ENABLE, Outcome.STARTED, version=version.id, attempt=retirement.attempt + 1)
    work.record([Update(retirement, {})], [told])
    with work.noting_late_calls():
        work.ask(provider.enable, version.key_id)
    material = work.kept(version)
    if material is None:  # adopted by its id alone: all that can be seen is the list
        if not any(key.id == version.key_id and key.enabled for key in work.ask(provider.keys)):
            message = f"the provider does not list {version.key_id} as enabled yet"
            _not_back_yet(work, retirement, version, "not_confirmed", message)
        return
    answer = work.authenticate(version, material)
    if answer.verdict is Verdict.INCONCLUSIVE:
        raise Unavailable(answer.why or "the provider did not say", retry_after=answer.retry_after)
    if answer.verdict is Verdict.REFUSED:
        message = f"enabled, but the provider does not accept {version.key_id} yet ({answer.why or 'refused'})"
        _not_back_yet(work, retirement, version, "not_accepted_yet", message)


def _not_back_yet(work: Work, retirement: Retirement, version: Version, reason: str, message: str) -> None:
    """An enabled key may be refused, or not be listed, for a settle time, as a new one may. Then it is for a person."""
    since = retirement.since if retirement.reason == reason else None
    if since is None or work.now() - since <= work.managed.settle:
        raise TemporaryError(message, reason=reason)
    name = work.managed.name
    remedy = f"look at the key in the provider's console; `rotator retire {name} --key {version.key_id}` gives it up"
    if not retirement.wanted_back:
        remedy = "look at the key in the provider's console"
    raise PermanentError(message, reason="key_refused", remedy=remedy)


def given_up(work: Work, cause: Cause, version: Version, grace: timedelta, soak: timedelta) -> list[Write]:
    """The rows for the target of a rotation that was abandoned: a roll-back's goes where it was going before."""
    if cause is not Cause.ROLLBACK or version.state not in REPLACED:
        return []
    return retired_again(work, version, why_replaced(version), grace=grace, soak=soak)
