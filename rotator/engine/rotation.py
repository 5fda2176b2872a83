"""The steps of a rotation. Each is safe to run again after a crash at any point in it."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from rotator.domain.errors import (
    PermanentError,
    RotatorError,
    StaleLease,
    StoreUnavailable,
    TemporaryError,
    Unavailable,
    WrongAccount,
)
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import (
    Cause,
    Delivery,
    DeliveryState,
    RetirementReason,
    RetirementState,
    Rotation,
    RotationState,
    Version,
    VersionState,
)
from rotator.domain.plans import SPREAD, SUCCESSES, trial
from rotator.domain.secret import Material, Secret
from rotator.engine import hooks, intake, permissions, rehearsal, waves
from rotator.engine.creation import create
from rotator.engine.pairs import holders, pin, rewritten
from rotator.engine.places import (
    Standing,
    look,
    observed,
    placements,
    reach,
    refuse_foreign,
    render,
    templates_of,
    unchanged,
)
from rotator.engine.reactivation import given_up, kept_versions, retirement_opened, why_replaced
from rotator.engine.retirement import UNPAIRING, open_retirement, replaced
from rotator.engine.work import MOVING, Work
from rotator.ports.provider import Answer, Issues, Verdict
from rotator.ports.store import Place, Update, Write

# authenticate


def authenticate(work: Work) -> None:
    """created → authenticated: the provider accepts it, several times over its settle time, as the right identity."""
    version = work.target()
    answer = work.authenticate(version, work.material(version))
    if not _accepted(work, work.rotation(), version, answer):
        return
    rotation, now = work.rotation(), work.now()
    spread = trial(rotation.cause, work.managed.settle, can_tell=work.provider.capabilities.can_tell)
    needed = SUCCESSES if spread else 1
    first = rotation.first_success_at or now
    if rotation.successes + 1 >= needed and (needed == 1 or now - first >= spread):
        detail: dict[str, Any] = {"answers": rotation.successes + 1, "verdict": answer.verdict.value}
        if answer.why:
            detail["why"] = answer.why
        may = permissions.require(work) if version.state is VersionState.PENDING else None
        able = [Update(version, {"permissions": may.text})] if may is not None else []
        told = work.event(Subject.AUTHENTICATE, Outcome.SUCCEEDED, version=version.id, **detail)
        moved = Update(rotation, {"state": RotationState.AUTHENTICATED, **MOVING})
        work.record([*able, moved], [told])
        return
    changes = {
        **MOVING,
        "successes": rotation.successes + 1,
        "first_success_at": first,
        "not_before": now + spread / (SUCCESSES - 1),
        "reason": "settling",
        "message": "accepted; asking again until it has settled",
        "since": first,
    }
    work.record([Update(rotation, changes)], [])


def _accepted(work: Work, rotation: Rotation, version: Version, answer: Answer) -> bool:
    """True: go on. False: the rotation was abandoned. Raises where it must wait or a person is needed.

    `rotation` is the row as the step found it: deliveries run side by side, and a neighbour may have abandoned it.
    """
    current = work.situation.current
    if answer.verdict is Verdict.INCONCLUSIVE:
        raise Unavailable(answer.why or "the provider did not say", retry_after=answer.retry_after)
    if answer.verdict is Verdict.REFUSED:
        _refused(work, rotation, version, answer)
        return False
    expected = current.identity if current else None
    if expected is not None and answer.identity is not None and answer.identity != expected:
        message = f"the new key is {answer.identity}, the current one is {expected}"
        raise WrongAccount(message, reason="wrong_identity", remedy=f"`rotator abandon {work.managed.name}`")
    return True


def _refused(work: Work, rotation: Rotation, version: Version, answer: Answer) -> None:
    """Definitive only after settle; then abandoned, if the current key still works."""
    now = work.now()
    since = rotation.opened_at if rotation.cause is Cause.ROLLBACK else version.sent_at or version.created_at
    settled = since + work.managed.settle
    if rotation.successes:
        work.record([Update(rotation, {"successes": 0, "first_success_at": None})], [])
    if now < settled:
        again = min(SPREAD / 2, max(settled - now, timedelta(milliseconds=200)), work.managed.settle / 4)
        message = f"not accepted yet ({answer.why or 'refused'}); new keys may need until {settled:%H:%M:%S} UTC"
        raise TemporaryError(message, reason="not_accepted_yet", retry_after=again.total_seconds())
    current = work.situation.current
    if current is not None and current.id != version.id:
        other = work.authenticate(current, work.material(current))
        if other.alive:
            work.blamed = TemporaryError(f"a new key is refused ({answer.why or 'refused'})", reason="key_refused")
            abandon(work, rotation, reason="key_refused", why=answer.why or "refused")
            return
    message = (
        f"the provider refuses version {version.number} ({answer.why or 'refused'}); no other key is known to work"
    )
    remedy = (
        f"look at the key in the provider's console; then `rotator abandon {work.managed.name}` or `rotator resume`"
    )
    raise PermanentError(message, reason="key_refused", remedy=remedy)


# push


def push(work: Work) -> None:
    """authenticated → pushed: every destination of the wave is given it; each has its own state and its own retries."""
    version = work.target()
    material = work.material(version)
    if not _accepted(work, work.rotation(), version, work.authenticate(version, material)):
        return  # it died since: nothing more is given out
    if not waves.soaked(work, version):
        _give_up(work, [work.rotation()])
        return
    pin(work)
    each(work, DeliveryState.PLANNED, Subject.PUSH, lambda d: push_one(work, d, version))
    if all(d.state is not DeliveryState.PLANNED or d.without for d in waves.at_hand(work.situation)):
        told = work.event(Subject.PUSH, Outcome.SUCCEEDED, version=version.id)
        work.record([Update(work.rotation(), {"state": RotationState.PUSHED, **MOVING})], [told])


def push_one(work: Work, delivery: Delivery, version: Version) -> None:
    """Read, commit the revision seen, write on condition of *that* revision, record what we put."""
    destination, templates = reach(work, delivery), templates_of(delivery)
    held = holders(work, templates, version)
    fields = render(work, templates, held)
    seen = look(work, destination, templates, wanted=held)
    # Writes also where the value is right: it fences late writes.
    fences = work.rotation().cause is Cause.PUT_BACK or rewritten(work.rotation(), delivery)
    base, since = seen.reading.revision, {} if fences else unchanged(work, delivery, held, fields, seen)
    if seen.standing is Standing.WANTED and not fences:
        _pushed(work, delivery, version, held, fields, base, since, reason="already_there")
        return
    refuse_foreign(work, delivery.to, destination, seen)
    if not destination.capabilities.conditional:
        work.outwait_late_calls()  # all that protects such a place from a late write
    told = work.event(
        Subject.PUSH,
        Outcome.STARTED,
        version=version.id,
        destination=delivery.to,
        attempt=delivery.attempt + 1,
        address=delivery.address,
        base_revision=base,
    )
    work.record([Update(delivery, {"base_revision": base, "started": True})], [told])
    token = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{_named(version, held)} {delivery.identity} {base}"))
    with work.noting_late_calls():
        revision = work.call(destination.write, fields, base, token)
    _pushed(work, delivery, version, held, fields, revision, since)


def _named(version: Version, held: Mapping[str, Version]) -> str:
    """All versions that a write is about: with another one beside the same, it is another write."""
    return " ".join([version.id, *sorted({v.id for v in held.values()} - {version.id})])


def _pushed(
    work: Work,
    delivery: Delivery,
    version: Version,
    held: Mapping[str, Version],
    fields: dict[str, Secret],
    revision: str,
    since: Mapping[str, datetime],
    reason: str | None = None,
) -> None:
    told = work.event(
        Subject.PUSH,
        Outcome.SUCCEEDED,
        version=version.id,
        destination=delivery.to,
        attempt=delivery.attempt + 1,
        reason=reason,
        address=delivery.address,
        revision=revision,
    )
    row = Update(delivery, {"state": DeliveryState.PUSHED, "revision": revision, **MOVING})
    placed = placements(work, delivery.to, reach(work, delivery), fields, held, revision, since)
    work.record([row, *([] if rehearsal.is_open(work.situation) else placed)], [told])  # a shadow serves nobody


def each(work: Work, state: DeliveryState, verb: Subject, do: Callable[[Delivery], None]) -> None:
    """Run `do` for every ready delivery in a state: places side by side, one place's deliveries one after the other.

    A delivery's failure is its own: noted on its row. A lost lease ends the step.
    """
    now = work.now()
    ready = [
        d
        for d in waves.at_hand(work.situation)
        if d.state is state and not d.blocked and (d.not_before is None or d.not_before <= now)
    ]

    def run(deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            try:
                do(delivery)
            except StaleLease:
                raise
            except RotatorError as error:
                if work.situation.rotation is None or work.situation.rotation.id != delivery.rotation_id:
                    return  # abandoned by a neighbour
                row = next((d for d in work.situation.deliveries if d.id == delivery.id), delivery)
                work.failed(row, verb, error)

    def place(delivery: Delivery) -> str:
        return delivery.identity

    groups = [list(group) for _, group in groupby(sorted(ready, key=place), key=place)]
    work.around.threads.side_by_side([functools.partial(run, group) for group in groups])


# verify


def verify(work: Work) -> None:
    """pushed → verified: the value is read back from each destination, *that* value authenticates, its readers work.

    Where there are more waves, the next one follows once this one has soaked.
    """
    version = work.target()
    material = work.material(version)
    rotation = work.rotation()
    attempts = {d.id: d.attempt for d in work.situation.deliveries}
    each(work, DeliveryState.PUSHED, Subject.VERIFY, lambda d: verify_one(work, rotation, d, version, material))
    found = work.situation.rotation
    if found is None or found.id != rotation.id:
        return
    failed = [d for d in work.situation.deliveries if d.attempt > attempts[d.id] and not d.without]
    if _give_up(work, failed):
        return
    left = waves.left(work.situation)
    if waves.ended(work.situation):
        waves.begin_soak(work)
    elif any(d.state is DeliveryState.PLANNED for d in left):
        work.record([Update(rotation, {"state": RotationState.AUTHENTICATED})], [])
    elif not left:
        told = work.event(Subject.VERIFY, Outcome.SUCCEEDED, version=version.id)
        work.record([Update(rotation, {"state": RotationState.VERIFIED, **MOVING})], [told])


def verify_one(work: Work, rotation: Rotation, delivery: Delivery, version: Version, material: Material) -> None:
    """Acks are not believed: what stands at the place must be ours, and must be a key that works."""
    destination, templates = reach(work, delivery), templates_of(delivery)
    seen = look(work, destination, templates, wanted=holders(work, templates, version))
    fences = destination.capabilities.conditional
    fences = fences and (rotation.cause is Cause.PUT_BACK or rewritten(rotation, delivery))
    unmoved = fences and seen.reading.revision == delivery.base_revision  # the right value, but no write of ours
    if seen.standing is not Standing.WANTED or unmoved:
        refuse_foreign(work, delivery.to, destination, seen)
        told = work.event(
            Subject.VERIFY, Outcome.FAILED, version=version.id, destination=delivery.to, reason="not_there"
        )
        again = {"state": DeliveryState.PLANNED, "attempt": delivery.attempt + 1, "hooks_done": {}}
        work.record([Update(delivery, again)], [told])
        return
    found: dict[str, Secret] = dict(material)
    for field, template in templates.items():
        found |= {n: v for n, v in template.extract(seen.reading.fields[field]).items() if n in material}
    answer = work.authenticate(version, Material(found))
    if not _accepted(work, rotation, version, answer):
        return
    hooks.run(work, rotation, delivery, version)
    told = work.event(
        Subject.VERIFY,
        Outcome.SUCCEEDED,
        version=version.id,
        destination=delivery.to,
        address=delivery.address,
        revision=seen.reading.revision,
        verdict=answer.verdict.value,
        asked=work.provider.capabilities.can_tell,
    )
    row = Update(delivery, {"state": DeliveryState.VERIFIED, "revision": seen.reading.revision, **MOVING})
    work.record([row, *observed(work, destination, seen.observed, work.now())], [told])


# promote


def promote(work: Work) -> None:
    """verified → completed: the target is current, what it replaces gets its retirement. Cutover is this commit.

    So does what a person had reactivated: nothing lives for ever without one.
    """
    if rehearsal.is_open(work.situation):
        rehearsal.conclude(work)
        return
    rotation, target, current = work.rotation(), work.target(), work.situation.current
    now = work.now()
    writes: list[Write] = []
    left = [d.identity for d in work.situation.deliveries if d.without and d.state is not DeliveryState.VERIFIED]
    gone = [current, *kept_versions(work)] if current is not None and current.id != target.id else []
    for version in gone:
        why = why_replaced(version)
        writes += replaced(work, version, why, grace=rotation.grace, soak=rotation.soak, without=left)
    writes += [Place(replace(p, owed=True)) for p in work.situation.placements if p.identity in left]
    if target.state is not VersionState.CURRENT:
        writes.append(Update(target, {"state": VersionState.CURRENT, "current_at": target.current_at or now}))
    retirement = work.situation.retirement_of(target.id)
    if retirement is not None:
        writes.append(Update(retirement, {"state": RetirementState.CANCELLED, "closed_at": now, **MOVING}))
    paired = (r for r in work.situation.retirements if r.reason == UNPAIRING and r.version_id != target.id)
    writes += [Update(row, dict(MOVING)) for row in paired]  # what it waited for is written
    writes.append(Update(rotation, {"state": RotationState.COMPLETED, "closed_at": now, **MOVING}))
    told = [
        work.event(Subject.PROMOTE, Outcome.SUCCEEDED, version=target.id),
        work.event(Subject.ROTATION, Outcome.SUCCEEDED, version=target.id, cause=rotation.cause.value, without=left),
    ]
    told += [work.event(Subject.RETIREMENT, Outcome.STARTED, version=version.id) for version in gone]
    work.record(writes, told)
    hooks.clear(work, work.findings())


# abandon


def abandon(work: Work, rotation: Rotation, *, reason: str, why: str, because: str | None = None) -> None:
    """One transaction: the rotation is given up, its new key condemned, and what was pushed is put back."""
    impossible = _cannot_be_put_back(work, rotation)
    rehearsed = rotation.cause is Cause.REHEARSAL  # nothing of a consumer's was written
    target, current, now = work.situation.target, work.situation.current, work.now()
    writes: list[Write] = [
        Update(rotation, {"state": RotationState.ABANDONED, "closed_at": now, **MOVING, "reason": reason})
    ]
    told = [
        work.event(
            Subject.ABANDON,
            Outcome.SUCCEEDED,
            version=target.id if target else None,
            reason=reason,
            message=why,
            because=because,
        ),
        work.event(
            Subject.REHEARSAL if rehearsed else Subject.ROTATION,
            Outcome.FAILED,
            version=target.id if target else None,
            reason=reason,
            message=why,
        ),
    ]
    if target is not None and target.awaited:
        writes.append(Update(target, {"state": VersionState.RETIRED, "retired_at": now}))
    elif target is not None and target.state is VersionState.PENDING:
        lost_it = target.key_id is None and isinstance(work.provider, Issues)
        cause = RetirementReason.LOST_ANSWER if lost_it else RetirementReason.ABANDONED
        writes += [Update(target, {"state": VersionState.CONDEMNED}), open_retirement(work, target, cause)]
        told.append(work.event(Subject.RETIREMENT, Outcome.STARTED, version=target.id, reason=cause.value))
    if target is not None:
        again = given_up(work, rotation.cause, target, rotation.grace, rotation.soak)
        writes += again
        told += [retirement_opened(work, target)] if again else []
    unfenced = rotation.cause is Cause.PUT_BACK or any(d.started for d in work.situation.deliveries)
    if current is not None and unfenced and not impossible and not rehearsed:
        writes += intake.put_back(work, rotation, current)
        told.append(work.event(Subject.ROTATION, Outcome.STARTED, version=current.id, reason=Cause.PUT_BACK.value))
    work.record(writes, told)


def _give_up(work: Work, failed: Sequence[Rotation | Delivery]) -> bool:
    """Abandon the new key where a probe goes on failing and the policy says so; say whether that was done."""
    why = hooks.hopeless(work, failed)
    if why is None:
        return False
    hooks.tell_given_up(work, why)
    abandon(work, work.rotation(), reason=hooks.PROBE_FAILED, why=why)
    return True


def _cannot_be_put_back(work: Work, rotation: Rotation) -> bool:
    """Whether the current key is dead, so that this put-back would only be followed by one that is blocked like it.

    Without a put-back nothing fences late writes until the next new key is written everywhere. Nothing is taken away
    meanwhile, since that needs a current key that is accepted.
    """
    current = work.situation.current
    if work.situation.revoked:
        return True
    if rotation.cause is not Cause.PUT_BACK or rotation.reason != "key_refused" or current is None:
        return False
    try:
        return work.authenticate(current, work.material(current)).verdict is Verdict.REFUSED
    except (TemporaryError, PermanentError) as problem:
        if isinstance(problem, StaleLease | StoreUnavailable):
            raise
        return False


STEPS: dict[RotationState, tuple[Subject, Callable[[Work], None]]] = {
    RotationState.PLANNED: (Subject.CREATE, create),
    RotationState.CREATED: (Subject.AUTHENTICATE, authenticate),
    RotationState.AUTHENTICATED: (Subject.PUSH, push),
    RotationState.PUSHED: (Subject.VERIFY, verify),
    RotationState.VERIFIED: (Subject.PROMOTE, promote),
}
"""What leads on from each state: the table `domain.plans.ROTATION`, with the functions that do it."""
