"""The steps of a retirement and its gates: nothing is taken away that something may still use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from rotator.domain.errors import (
    PermanentError,
    StaleLease,
    StoreUnavailable,
    TemporaryError,
    Unavailable,
    WrongAccount,
)
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import (
    Cause,
    Finding,
    Observed,
    Placement,
    Retirement,
    RetirementId,
    RetirementReason,
    RetirementState,
    Version,
    VersionState,
)
from rotator.domain.plans import GATES, TRIED, drain_from
from rotator.domain.secret import Material, Secret
from rotator.engine import evidence, own, pairs, regress, shadows, stopwatch
from rotator.engine.grace import outwait_readers, pace_of
from rotator.engine.labels import labelled
from rotator.engine.places import Standing, Survey, observed, survey
from rotator.engine.work import MOVING, Work
from rotator.ports.provider import Answer, Disables, Key, Verdict
from rotator.ports.store import DropSealed, Insert, Update, Write

UNPAIRING = "unpairing"
"""Why a retirement waits: the version stands beside the current one somewhere, which is rewritten first."""

SOAK = "soak"
"""Why a retirement waits: its key is disabled, and is deleted when it has been so for long enough."""

UNCONFIRMED = "not_confirmed"
"""Why it is tried again: the key should work no more, and the provider has not been seen to refuse it."""

NEVER_USED = (RetirementReason.ABANDONED, RetirementReason.LOST_ANSWER, RetirementReason.REHEARSED)
"""Why keys are taken away that were never current."""

CLOCK_APART = timedelta(minutes=5)
"""Beyond this difference between the database's clock and the host's, nothing is taken away."""


def open_retirement(
    work: Work,
    version: Version,
    why: RetirementReason,
    *,
    grace: timedelta | None = None,
    soak: timedelta | None = None,
    without: Sequence[str] = (),
) -> Insert:
    """The row that begins the taking-away of a version, with its times pinned."""
    capabilities, policy, now = work.provider.capabilities, work.managed.policy, work.now()
    grace, soak = pace_of(work, why, grace, soak)
    first_look = drain_from(now, grace, soak, can_disable=capabilities.can_disable)
    trial = policy.brownout if why in TRIED and capabilities.can_disable and version.key_id is not None else None
    if trial is not None:
        first_look = min(first_look, now + trial.after)
    if why is RetirementReason.LOST_ANSWER:
        # The request may be under way for its budget's time, and lists may lag for a settle time after that.
        first_look = _made_by(work, version) + grace
    why_later = ("grace", "the old key keeps working until then")
    if why is RetirementReason.ABANDONED and _may_be_written_again(work):
        first_look = now + work.limits.call_budget
        why_later = ("fenced", "a write of it may be delivered once more until then")
    reason, message = why_later if first_look > now else (None, None)
    return Insert(
        Retirement(
            id=RetirementId(work.around.new_id()),
            credential_id=work.credential.id,
            version_id=version.id,
            state=RetirementState.PLANNED,
            why=why,
            opened_at=now,
            grace=grace,
            soak=soak,
            without=without,
            brownout_after=trial.after if trial is not None else None,
            brownout_for=trial.lasts if trial is not None else None,
            not_before=first_look,
            reason=reason,
            message=message,
            since=now,
        )
    )


def _may_be_written_again(work: Work) -> bool:
    """Whether a write of what is given up may come once more, to a place where nothing but time keeps it out."""
    sent = [work.managed.target_at(d.identity) for d in work.situation.deliveries if d.started]
    return any(target is not None and not target.destination.capabilities.conditional for target in sent)


def _made_by(work: Work, version: Version) -> datetime:
    """The latest moment at which the request of a version can have made its key."""
    return (version.sent_at or version.created_at) + work.limits.call_budget + timedelta(seconds=1)


def replaced(
    work: Work,
    version: Version,
    why: RetirementReason,
    *,
    grace: timedelta,
    soak: timedelta,
    without: Sequence[str] = (),
) -> list[Write]:
    """The rows of a version that is current no more. One that was revoked is on its way already, and goes on."""
    row = work.situation.retirement_of(version.id)
    if row is None:
        rows: list[Write] = [open_retirement(work, version, why, grace=grace, soak=soak, without=without)]
        steps_back = version.state is VersionState.CURRENT  # what a person had reactivated has done so before
        return [Update(version, {"state": VersionState.PREVIOUS}), *rows] if steps_back else rows
    if row.state is not RetirementState.DISABLED:
        return [Update(version, {"state": VersionState.PREVIOUS})]
    changes = {**MOVING, **soaking(work, row, "revoked")}
    return [Update(version, {"state": VersionState.DISABLED}), Update(row, changes)]


REVOKED = "revoked"
"""Why the row of a revoked current version is blocked: only its successor ends that."""


def revoked_and_read(work: Work, version: Version) -> PermanentError:
    """Why nothing more becomes of a current version that was revoked, until it is replaced."""
    message = f"OUTAGE: version {version.number} ({version.key_id}) is revoked, and the destinations serve it"
    return PermanentError(message, reason=REVOKED, remedy=f"`rotate --now {work.managed.name}` makes a new key")


def version_of(work: Work, retirement: Retirement) -> Version:
    """The version that a retirement takes away."""
    version = work.situation.version(retirement.version_id)
    if version is None:
        message = "the retirement's version is not on record"
        raise PermanentError(message, reason="bug")
    return version


# drain


def drain(work: Work, retirement: Retirement) -> None:
    """planned → drained: every gate holds, freshly checked. A key whose id was lost is located first.

    What a rehearsal has put beside places goes before its key does.
    """
    version = version_of(work, retirement)
    shadows.remove(work, version)
    if version.key_id is None:
        locate(work, retirement, version)
        return
    seen = gates(work, retirement, version, beside=True)
    if seen.beside:
        raise StandsBeside(version, seen.beside)
    reason = retirement.why.value
    told = work.event(Subject.DRAIN, Outcome.SUCCEEDED, version=version.id, reason=reason, **seen.evidence)
    work.record([Update(retirement, {"state": RetirementState.DRAINED, **MOVING})], [told])


class StandsBeside(TemporaryError):
    """All else would let a version go, but these places hold it beside the current one (`mode: pair`)."""

    def __init__(self, version: Version, addresses: Sequence[str]) -> None:
        places = ", ".join(addresses)
        message = f"version {version.number} stands beside the current one at {places}, which is rewritten first"
        super().__init__(message, reason=UNPAIRING)
        self.addresses = addresses


def gates(work: Work, retirement: Retirement, version: Version, *, beside: bool = False) -> Guarded:
    """Every gate, freshly checked: raises where one does not hold, returns what was seen. `beside`: as of `guard`."""
    guarded = guard(work, retirement, version, beside=beside)
    known = {**_evidence(work, retirement, version, guarded.keys), **guarded.evidence}
    return replace(guarded, evidence=known)


def _evidence(work: Work, retirement: Retirement, version: Version, keys: Sequence[Key]) -> dict[str, Any]:
    """What speaks for its being in use still. Raises where that holds the retirement, unless a person goes past it."""
    try:
        return evidence.weigh(work, retirement, version, keys)
    except (StaleLease, StoreUnavailable):
        raise
    except (TemporaryError, PermanentError) as hold:
        if not retirement.forced:
            raise
        return {"usage": hold.message, "forced": hold.reason}


@dataclass(frozen=True)
class Guarded:
    """What the guard saw."""

    keys: Sequence[Key]
    evidence: dict[str, Any]
    beside: Sequence[str] = ()  # addresses of places that hold the version beside another one


def guard(work: Work, retirement: Retirement, version: Version, *, beside: bool = False) -> Guarded:
    """What must be true at the very moment a key is taken away; read anew before each step that does.

    `beside`: places may hold it beside another one; the caller sees to that.
    """
    _clock_is_sane(work)
    right_account(work, version)
    own.guard(work, version)
    if version.state is VersionState.CURRENT:
        raise revoked_and_read(work, version)
    if retirement.revoked:  # it works no more: there is nobody who could lose it
        regress.refuse(work)
        return Guarded((), {"revoked": True})
    seen = survey(work)
    paired = _served_elsewhere(work, retirement, version, seen, beside=beside)
    _another_key_works(work, retirement, version, seen)
    numbers = {v.id: v.number for v in work.situation.versions}
    serving = {at: sorted(numbers[i] for i in look.holders if i in numbers) for at, look in seen.looks.items()}
    keys = work.ask(work.provider.keys)
    regress.look_at_labels(work, version.account, keys)
    regress.refuse(work)
    return Guarded(keys, {"destinations": serving}, paired)


def right_account(work: Work, version: Version) -> None:
    """What the provider says of a key counts only where it is the key's own account that says so."""
    account = work.ask(work.provider.account)
    if account != version.account:
        message = f"the provider says {account}, the key is of {version.account}"
        raise WrongAccount(message, remedy="check the provider's credentials in the configuration")


def _clock_is_sane(work: Work) -> None:
    """Nothing is taken away by a clock that may be wrong. Records or clears the finding `clock`."""
    last = work.store.last_event_at()  # before the time: others append meanwhile, and are not of a time to come
    now = work.now()
    apart = abs(now - work.around.host_time())
    message = ""
    if apart > CLOCK_APART:
        message = f"the clocks of the database and of this host are {apart} apart"
    elif last is not None and now < last:
        message = "the database's clock is behind its last event"
    if not message:
        if work.store.standing("clock", "clock") is not None:
            work.store.clear("clock", "clock", work.event(Subject.CLOCK, Outcome.CLEARED))
        return
    remedy = "set the clocks; nothing is taken away until then"
    finding = Finding(
        id=work.around.new_id(),
        kind="clock",
        subject="clock",
        credential_id=None,
        account=None,
        message=message,
        remedy=remedy,
        found_at=now,
    )
    work.store.find(finding, work.event(Subject.CLOCK, Outcome.FOUND, reason="clock", message=message))
    raise TemporaryError(message, reason="clock", remedy=remedy)


def _served_elsewhere(
    work: Work, retirement: Retirement, version: Version, seen: Survey, *, beside: bool = False
) -> list[str]:
    """Every destination positively serves another version; anything else holds the retirement, with the reason.

    Where it may stand `beside` another one, gives the addresses of the places where it does.
    """
    _no_write_may_arrive(work)
    _no_place_was_removed(work, retirement, version)
    condemned = {v.id for v in work.situation.versions if v.state is VersionState.CONDEMNED}
    never_used = retirement.why in NEVER_USED
    without = {t.destination.address for t in work.managed.targets if t.destination.identity in retirement.without}
    unacknowledged = {d.identity for d in work.situation.unacknowledged.get(version.id, ())}
    given = {t.destination.address for t in work.managed.targets if t.destination.identity in unacknowledged}
    if retirement.forced:  # a person goes past what is not known, never past what is
        without |= _not_known_to_serve(work, version, seen)
    seen.require_all(but=without)
    outwait_readers(work, retirement)
    for address, look in seen.looks.items():
        if address in without:
            continue  # a person said that what is read there does not matter
        if look.standing is Standing.EMPTY and never_used and address not in given:
            continue  # nothing was ever put there, and no late write can come, so nobody can hold this key from there
        if look.standing in (Standing.EMPTY, Standing.MISSING):
            message = f"{address} is empty, so it is not known what its readers hold"
            raise TemporaryError(message, reason="destination_missing", remedy="see `rotator explain`")
        if look.standing is Standing.FOREIGN:
            message = f"{address} holds a value that is not ours, so it is not known what its readers hold"
            raise TemporaryError(message, reason="destination_foreign", remedy="see `rotator explain`")
        if version.id in look.serving or (version.id in look.beside and not beside):
            _remember(work, address, version)
            message = f"{address} still serves version {version.number}"
            raise TemporaryError(message, reason="destination_serves_it", remedy="see `rotator explain`")
        if not look.serving or look.holders & condemned:
            message = f"{address} does not serve a key that stays"
            raise TemporaryError(message, reason="destination_serves_condemned")
    return [at for at, look in seen.looks.items() if version.id in look.beside and at not in without]


def _remember(work: Work, address: str, version: Version) -> None:
    """A place serves what it was not given: that outlives its entry in the configuration, as what it was given does."""
    (target,) = (t for t in work.managed.targets if t.destination.address == address)
    placed = work.situation.placements_at(target.destination.identity).values()
    if not any(_may_serve(p, version) for p in placed):
        work.record(observed(work, target.destination, Observed.PREVIOUS, work.now()), [])


def _may_serve(placement: Placement, version: Version) -> bool:
    """Whether a place may serve a version, by what was last put there and by what was last seen there."""
    return placement.version_id == version.id or placement.observed is Observed.PREVIOUS


def _not_known_to_serve(work: Work, version: Version, seen: Survey) -> set[str]:
    """Addresses of which nobody can tell what they serve. One that may serve this very version is none of them."""
    last = {p.address for p in work.situation.placements if _may_serve(p, version)}
    unread = {target.destination.address for target, _ in seen.problems}
    ours = (Standing.OURS, Standing.WANTED)
    unclear = {a for a, at in seen.looks.items() if at.standing not in ours and version.id not in at.holders}
    return (unread - last) | unclear


def _no_write_may_arrive(work: Work) -> None:
    """What was sent and not read back yet may bring the key to a place that has been looked at."""
    if (rotation := work.situation.rotation) is not None and rotation.cause is Cause.PUT_BACK:
        message = "until the current key is put back everywhere, a late write of another may still arrive"
        raise TemporaryError(message, reason="put_back_first")
    if pairs.unconfirmed(work):
        message = "a write that puts one key beside another is not confirmed yet, and may still arrive"
        raise TemporaryError(message, reason=UNPAIRING)


def _no_place_was_removed(work: Work, retirement: Retirement, version: Version) -> None:
    """A place that the configuration names no more may still serve this key, and we cannot look."""
    configured = {*retirement.without, *(t.destination.identity for t in work.managed.targets)}
    placements = work.situation.placements
    _no_field_was_removed(work, retirement, version)
    given = [(p.to, p.address, p.identity) for p in placements if _may_serve(p, version)]
    given += [(d.to, d.address, d.identity) for d in work.situation.unacknowledged.get(version.id, ())]
    for to, address, identity in given:
        if identity not in configured:
            name = work.managed.name
            message = f"{address} is not in the configuration any more and may still serve version {version.number}"
            remedy = f"put it back until the next rotation, or `rotator forget {name} --destination {to}`"
            raise PermanentError(message, reason="destination_removed", remedy=remedy)


def _no_field_was_removed(work: Work, retirement: Retirement, version: Version) -> None:
    """The same for a field of a place that is still configured; one beside it, where `mode: pair` was taken out."""
    configured = {t.destination.identity: t.to for t in work.managed.targets}
    for p in work.situation.placements:
        waited_for = _may_serve(p, version) and p.identity in configured and p.identity not in retirement.without
        if waited_for and work.managed.left_out(p):
            name = work.managed.name
            what = f"the field {p.field} of {p.address}"
            message = f"{what} is not in the configuration any more and may still serve version {version.number}"
            to = configured[p.identity]
            remedy = f"put it back until the next rotation, or `rotator forget {name} --destination {to}`"
            raise PermanentError(message, reason="field_removed", remedy=remedy)


def _another_key_works(work: Work, retirement: Retirement, version: Version, seen: Survey) -> None:
    current = work.situation.current
    if current is None or current.id == version.id:
        if not GATES[retirement.why].other_key:
            return
        message = "no other key of this credential is current"
        raise TemporaryError(message, reason="no_other_key")
    material = work.kept(current) or material_at_places(work, current, seen)
    if material is None:
        message = f"the value of the current version {current.number} is neither on record nor at a destination"
        raise PermanentError(message, reason="no_material", remedy="rotate once more, so that its successor is known")
    answer = work.authenticate(current, material)
    if answer.verdict is Verdict.INCONCLUSIVE:
        raise Unavailable(answer.why or "the provider did not say", retry_after=answer.retry_after)
    if not answer.alive:
        message = f"the provider refuses the current key ({answer.why or 'refused'}); the old one is all that may work"
        raise TemporaryError(message, reason="current_refused", remedy=f"`rotate --now {work.managed.name}`")


def material_at_places(work: Work, version: Version, seen: Survey) -> Material | None:
    """The value of a key that is not on record (adopted by its id, or dropped at rest), as its consumers read it."""
    wanted = set(work.provider.capabilities.material)
    found: dict[str, Secret] = {}
    for target in work.managed.targets:
        look = seen.looks.get(target.destination.address)
        if look is None or version.id not in look.serving:
            continue
        for field, template in target.main.items():
            if field in look.reading.fields:
                found |= template.extract(look.reading.fields[field])
    return Material({n: found[n] for n in wanted}) if wanted <= found.keys() else None


# a key whose id was lost with the answer


def locate(work: Work, retirement: Retirement, version: Version) -> None:
    """Find the key that an unanswered request may have made. By label; else as the only unknown one of that moment."""
    right_account(work, version)
    keys = work.ask(work.provider.keys)
    if work.provider.capabilities.labels:
        found = [key for key in keys if labelled(key) == version.id]
    else:
        found = _unknown_keys_of_that_moment(work, retirement, version, keys)
    if not found:
        now = work.now()
        told = work.event(Subject.RETIREMENT, Outcome.SUCCEEDED, version=version.id, reason="never_created")
        work.record(
            [
                Update(version, {"state": VersionState.RETIRED, "retired_at": now}),
                Update(retirement, {"state": RetirementState.DELETED, "closed_at": now, **MOVING}),
            ],
            [told],
        )
        return
    key = found[0]
    told = work.event(Subject.CONDEMN, Outcome.SUCCEEDED, version=version.id, key=key.id)
    changes = {"key_id": key.id, "issued_at": key.created_at}
    work.record([Update(version, changes), Update(retirement, dict(MOVING))], [told])


def _unknown_keys_of_that_moment(
    work: Work, retirement: Retirement, version: Version, keys: Sequence[Key]
) -> list[Key]:
    sent = (version.sent_at or version.created_at).replace(microsecond=0)  # providers date keys in whole seconds
    until = _made_by(work, version)
    known = work.store.known_keys(version.account, [key.id for key in keys])
    unknown = [k for k in keys if k.id not in known and k.id not in retirement.keep]
    near = [k for k in unknown if k.created_at is None or sent <= k.created_at <= until]
    if not near:
        return []
    named = [k.id for k in near if _named_somewhere(work, k.id)]
    unused = [k for k in near if k.created_at is not None and work.with_use(k).last_used_at is None]
    if len(near) == 1 and unused and not named:
        return near
    name, ids = work.managed.name, ", ".join(k.id for k in near)
    message = f"one of these keys may be ours and it cannot be told which: {ids}"
    remedy = f"`rotator resume {name} --delete KEY` for the one to delete, `--keep KEY` for one that is somebody's"
    raise PermanentError(message, reason="ambiguous_keys", remedy=remedy)


def _named_somewhere(work: Work, key_id: str) -> bool:
    """Whether a destination names this key id: then somebody uses it."""
    seen = survey(work)
    seen.require_all()
    return any(value == Secret(key_id) for look in seen.looks.values() for value in look.reading.fields.values())


# disable, delete


def disable(work: Work, retirement: Retirement) -> None:
    """drained → disabled: reversible; then the soak."""
    version, provider = version_of(work, retirement), work.provider
    if not isinstance(provider, Disables) or version.key_id is None:
        message = "the provider cannot disable a key"
        raise PermanentError(message, reason="bug")
    if retirement.browned_out:
        work.outwait_late_calls()  # an enable that is still on its way would undo this
    guard(work, retirement, version)
    told = work.event(Subject.DISABLE, Outcome.STARTED, version=version.id, attempt=retirement.attempt + 1)
    work.record([Update(retirement, {"disable_started": True})], [told])
    with work.noting_late_calls(answered=True):
        work.ask(provider.disable, version.key_id)
    changes = {"state": RetirementState.DISABLED, **MOVING, **soaking(work, retirement, "disabled")}
    writes = [Update(retirement, changes)]
    if version.state is not VersionState.CONDEMNED:
        writes.append(Update(version, {"state": VersionState.DISABLED}))
    known = evidence.of_incident(work, retirement)
    work.record(writes, [work.event(Subject.DISABLE, Outcome.SUCCEEDED, version=version.id, **known)])


def soaking(work: Work, retirement: Retirement, how: str) -> dict[str, Any]:
    """The waiting of a row whose key works no more, until it is deleted. A leaked key is tried until it is refused."""
    now = work.now()
    until = now + retirement.soak
    if not retirement.soak:
        return {"not_before": until}
    if retirement.leaked and work.provider.capabilities.can_tell:
        message = f"{how}; whether the provider refuses it is not known yet"
        return {"unconfirmed_until": until, "not_before": None, "reason": UNCONFIRMED, "message": message, "since": now}
    return {"not_before": until, "reason": SOAK, "message": f"{how}; deleted after the soak", "since": now}


def confirm(work: Work, retirement: Retirement) -> None:
    """Try a leaked key that was disabled; over once it is refused, or with its soak. Takes nothing away."""
    version, now, until = version_of(work, retirement), work.now(), retirement.unconfirmed_until
    assert until is not None
    material = work.kept(version)
    over = {**MOVING, "unconfirmed_until": None, "not_before": until, "reason": SOAK, "since": now}
    if material is None or now >= until:
        message = "its value is not on record" if material is None else "its soak is over"
        told = work.event(Subject.CONFIRM, Outcome.FAILED, version=version.id, reason=UNCONFIRMED, message=message)
        work.record([Update(retirement, {**over, "message": f"deleted after the soak; {message}"})], [told])
        return
    answer = work.ask(work.provider.authenticate, material)
    if answer.verdict is not Verdict.REFUSED:
        raise _not_refused(version, "disabled", answer)
    told = work.event(Subject.CONFIRM, Outcome.SUCCEEDED, version=version.id)
    work.record([Update(retirement, {**over, "message": "refused by the provider; deleted after the soak"})], [told])


def delete(work: Work, retirement: Retirement) -> None:
    """disabled (or drained) → deleted: then the provider lists it no more and refuses it; the value is forgotten."""
    version = version_of(work, retirement)
    if version.key_id is None:
        message = "the id of the key is not known"
        raise PermanentError(message, reason="no_key_id", remedy="delete it in the provider's console")
    guard(work, retirement, version)
    if not work.provider.capabilities.can_delete:
        supplied = f"supplied {version.sent_at or version.created_at:%Y-%m-%d %H:%M} UTC"
        message = f"a person has to take version {version.number} ({version.key_id}, {supplied}) away where it was made"
        remedy = f"`rotator resume {work.managed.name} --gone {version.key_id}` once it is gone"
        work.await_person(retirement, Subject.DELETE, message, remedy)
        return
    told = work.event(Subject.DELETE, Outcome.STARTED, version=version.id, attempt=retirement.attempt + 1)
    work.record([Update(retirement, {"delete_started": True})], [told])
    work.ask(work.provider.delete, version.key_id)
    deleted(work, retirement, version, _gone(work, version))


def deleted(work: Work, retirement: Retirement, version: Version, confirmed: str) -> None:
    """The end of a retirement. `confirmed` says how it is known that the key is gone."""
    known = {} if retirement.state is RetirementState.DISABLED else evidence.of_incident(work, retirement)
    now = work.now()
    if version.state is VersionState.CURRENT:  # revoked, and a person has ended it: the destinations serve it still
        problem = revoked_and_read(work, version)
        why = {"reason": problem.reason, "message": problem.message, "remedy": problem.remedy, "since": now}
        changes = {**MOVING, "state": RetirementState.DISABLED, "soak": timedelta(0), "blocked": True, **why}
        told = work.event(Subject.REVOKE, Outcome.SUCCEEDED, version=version.id, how=confirmed)
        work.record([Update(retirement, {**changes, "delete_started": True})], [told])
        return
    told = work.event(Subject.DELETE, Outcome.SUCCEEDED, version=version.id, confirmed=confirmed, **known)
    done = work.event(Subject.RETIREMENT, Outcome.SUCCEEDED, version=version.id, reason=retirement.why.value)
    end = []
    if retirement.why is RetirementReason.REHEARSED:
        took = stopwatch.summary(work.store.events(credential=work.managed.name), version.number, now, confirmed)
        end = [work.event(Subject.REHEARSAL, Outcome.SUCCEEDED, version=version.id, **took)]
    work.record(
        [
            Update(retirement, {"state": RetirementState.DELETED, "closed_at": now, **MOVING}),
            Update(version, {"state": VersionState.RETIRED, "retired_at": now}),
            DropSealed(version.id),
        ],
        [told, done, *end],
    )


def _gone(work: Work, version: Version) -> str:
    """Believe a deletion when the key is listed no more and refused; say how it was confirmed."""
    if not work.provider.capabilities.can_tell:
        return "the value was ours alone"
    key = next((k for k in work.ask(work.provider.keys) if k.id == version.key_id), None)
    disables = work.provider.capabilities.can_disable  # then a key that is not enabled may just be disabled still
    if key is not None and (key.enabled or disables):
        message = f"the provider still lists {version.key_id}"
        raise TemporaryError(message, reason=UNCONFIRMED)
    material = work.kept(version)
    if material is None:
        return "not listed"
    answer = work.ask(work.provider.authenticate, material)
    if answer.verdict is not Verdict.REFUSED:
        raise _not_refused(version, "deleted", answer)
    return stopwatch.REFUSED_AND_GONE


def _not_refused(version: Version, how: str, answer: Answer) -> TemporaryError:
    message = f"{version.key_id} is {how}, but the provider does not refuse it yet ({answer.why or answer.verdict})"
    return TemporaryError(message, reason=UNCONFIRMED, retry_after=answer.retry_after)


STEPS: dict[Subject, Callable[[Work, Retirement], None]] = {
    Subject.DRAIN: drain,
    Subject.DISABLE: disable,
    Subject.CONFIRM: confirm,
    Subject.DELETE: delete,
}
"""The functions behind `domain.plans.RETIREMENT`."""
