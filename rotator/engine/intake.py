"""Which credentials are due, and the rows that open a rotation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from rotator.domain.errors import (
    Crowded,
    PermanentError,
    RotatorError,
    StaleLease,
    StoreUnavailable,
    TemporaryError,
)
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import (
    LAST_WAVE,
    Cause,
    Delivery,
    DeliveryId,
    DeliveryState,
    Finding,
    Rotation,
    RotationId,
    RotationState,
    Version,
    VersionState,
)
from rotator.domain.policy import Decision, Due, NotDue, Question, wait_for_a_key, why_due
from rotator.engine import deadlines
from rotator.engine.places import Standing, look
from rotator.engine.reactivation import free_slots
from rotator.engine.work import Target, Work
from rotator.ports.provider import Key, Verdict
from rotator.ports.store import Insert, Room, Update


@dataclass(frozen=True)
class Taken:
    """What intake decided, and why."""

    decision: Decision
    opened: bool = False


def question(work: Work, wanted: Cause | None = None) -> Question:
    """What the policy's checks look at."""
    return Question(
        name=work.managed.name,
        situation=work.situation,
        policy=work.managed.policy,
        now=work.now(),
        living=_slots(work, wanted),
        settle=work.managed.settle,
        can_disable=work.provider.capabilities.can_disable,
        unplaced=_unplaced(work),
        wanted=wanted,
        named=not work.managed.removed,
    )


def _slots(work: Work, wanted: Cause | None) -> int | None:
    """How many keys may live at once; None where that is no hindrance.

    A person who asks is not refused by rows alone: they count a key that somebody has deleted at the provider, and
    where that is the current one, no retirement would ever end. `create` looks again before it sends anything.
    """
    living = work.provider.capabilities.slots
    if living is None or wanted is None:
        return living
    try:
        present = work.ask(work.provider.keys)
    except TemporaryError:
        return living
    return living if len(present) >= living and not no_slot_comes_free(work, present) else None


def no_slot_comes_free(work: Work, keys: Sequence[Key]) -> bool:
    """Whether nothing is taken away before there is a new key: by what the rows wait for, or since the current is dead.

    `keys`: what the provider lists. A key that is younger than its settle time may be missing there.
    """
    current = work.situation.current
    if wait_for_a_key(work.situation):
        return True
    if current is None or current.key_id is None or work.may_be_unlisted(current):
        return False
    return not any(key.id == current.key_id and key.enabled for key in keys)


def _unplaced(work: Work) -> bool:
    """Whether a configured destination waits for the current key without anybody bringing it."""
    return any(work.situation.lacks_current(t.destination.identity) for t in work.managed.targets)


def take_in(
    work: Work, wanted: Cause | None = None, *, without: Collection[str] = (), because: str | None = None
) -> Taken:
    """Open a rotation if one is due. The account is the current key's; a first rotation pins it before it creates.

    A wanted one does not wait for the places whose identities are `without`.
    """
    asked = question(work, wanted)
    decision = why_due(asked)
    if isinstance(decision, Due) and decision.cause is Cause.ADDED:
        decision = _if_it_can_be_given(work, decision, asked)
    if isinstance(decision, NotDue):
        if decision.reason == "slot_in_retirement" and isinstance(why_due(replace(asked, living=None)), Due):
            free_slots(work)
        return Taken(decision)
    if work.situation.current is None and not _may_issue(work):
        message = "a destination holds a value already, and no key of this credential is on record"
        return Taken(NotDue(reason="not_adopted", message=message, until=None))
    deadlines.break_hours(work, decision)
    account = work.situation.current.account if work.situation.current else ""
    detail: dict[str, Any] = {"message": decision.message}
    if decision.breaks is not None:
        detail["breaks"] = decision.breaks
    if decision.cause is wanted:
        detail |= {"because": because, "without": sorted(without)}
    rows = open_rotation(work, decision.cause, account, without=detail.get("without", ()))
    told = work.event(Subject.ROTATION, Outcome.STARTED, reason=decision.cause.value, **detail)
    guard = [] if decision.cause is Cause.COMPROMISED else [Room(work.managed.provider_name, work.limits.in_flight)]
    try:
        work.record([*guard, *rows], [told])
    except Crowded as crowd:
        again = work.now() + timedelta(seconds=2 + 6 * work.around.chance())
        return Taken(NotDue(reason=crowd.reason, message=crowd.message, until=again))
    return Taken(decision, opened=True)


def _if_it_can_be_given(work: Work, decision: Due, asked: Question) -> Decision:
    """A destination waits for the current key. Where that cannot be given out, the schedule alone decides."""
    current = work.situation.current
    if current is not None and can_be_written(work, current):
        return decision
    scheduled = why_due(replace(asked, unplaced=False))
    if isinstance(scheduled, Due):
        return scheduled
    message = "a destination waits for the current key, whose value is not on record, or refused by the provider"
    return replace(scheduled, reason="no_material", message=message)


def can_be_written(work: Work, version: Version) -> bool:
    """Whether the value of a version is on record, and not known to be refused. Asks the provider."""
    if version.state is VersionState.CURRENT and work.situation.revoked:
        return False
    material = work.kept(version)
    if material is None:
        return False
    try:
        return work.authenticate(version, material).verdict is not Verdict.REFUSED
    except StoreUnavailable:
        raise
    except (TemporaryError, PermanentError):
        return True  # nobody knows; the rotation shows the trouble on its row


def _may_issue(work: Work) -> bool:
    """First contact: a value that stands there is never replaced unasked. Records or clears `not_adopted`."""
    name, first = work.managed.name, work.managed.policy.first
    holding = []
    if first != "issue":
        for target in work.managed.targets:
            try:
                seen = look(work, target.destination, target.templates)
            except (StaleLease, StoreUnavailable):
                raise
            except RotatorError:
                return True  # the rotation shows the trouble on its row, and creates nothing before it has looked
            if seen.standing is Standing.FOREIGN:
                holding.append(target)
    if not holding:
        work.store.clear("not_adopted", name, work.event(Subject.NOT_ADOPTED, Outcome.CLEARED))
        return True
    addresses = ", ".join(t.destination.address for t in holding)
    message = f"{addresses} holds a value already; nothing is overwritten"
    remedy = (
        f"`rotator adopt {name}` takes the living key over without changing it; "
        f"`rotator adopt {name} --replace {holding[0].to}` allows it to be overwritten"
    )
    finding = Finding(
        id=work.around.new_id(),
        kind="not_adopted",
        subject=name,
        credential_id=work.credential.id,
        account=None,
        message=message,
        remedy=remedy,
        found_at=work.now(),
    )
    work.store.find(finding, work.event(Subject.NOT_ADOPTED, Outcome.FOUND, reason="not_adopted", message=message))
    return False


def open_rotation(
    work: Work,
    cause: Cause,
    account: str,
    target: Version | None = None,
    *,
    places: Sequence[Target] | None = None,
    without: Collection[str] = (),
) -> list[Insert]:
    """The rows of a new rotation: what is pinned is account, places (all, unless named), fields, grace and soak."""
    policy = work.managed.policy
    if target is None and cause is Cause.ADDED:
        target = work.situation.current
    rotation = Rotation(
        id=RotationId(work.around.new_id()),
        credential_id=work.credential.id,
        state=RotationState.PLANNED,
        cause=cause,
        account=account,
        opened_at=work.now(),
        grace=policy.grace,
        soak=policy.soak,
        target_id=target.id if target else None,
        actor=work.around.actor,
        urgent=cause is Cause.COMPROMISED,
    )
    chosen = work.managed.targets if places is None else places
    return [Insert(rotation), *(Insert(d) for d in deliveries(work, rotation, chosen, without))]


def deliveries(
    work: Work, rotation: Rotation, places: Sequence[Target], without: Collection[str]
) -> Sequence[Delivery]:
    """One row for each place, in their order."""
    return [
        Delivery(
            id=DeliveryId(work.around.new_id()),
            rotation_id=rotation.id,
            credential_id=work.credential.id,
            position=position,
            to=target.to,
            address=target.destination.address,
            identity=target.destination.identity,
            templates={field: template.text for field, template in target.templates.items()},
            state=DeliveryState.PLANNED,
            without=target.destination.identity in without,
            wave=target.wave if rotation.gentle else LAST_WAVE,
        )
        for position, target in enumerate(places)
    ]


def put_back(work: Work, abandoned: Rotation, current: Version) -> list[Insert]:
    """The rows of the rotation that writes the current key everywhere once more."""
    return open_rotation(work, Cause.PUT_BACK, abandoned.account, current)


def hasten(work: Work) -> None:
    """`--now` joins what is open: back-off is cleared, Retry-After is not, a block is tried once more."""
    rotation = work.situation.rotation
    rows: list[Rotation | Delivery] = [*([rotation] if rotation else []), *work.situation.deliveries]
    clear = {"not_before": None, "blocked": False}
    waiting = [r for r in rows if r.blocked or (r.not_before and r.reason not in UNHURRIED)]
    if waiting:
        work.record([Update(row, clear) for row in waiting], [])


UNHURRIED = (
    "fenced",
    "lost_answer",
    "max_creates",
    "not_accepted_yet",
    "rate_limited",
    "settling",
    "slot_in_retirement",
    "wave_soak",
)
"""Reasons to wait that a person in a hurry does not shorten: another side, safety or the policy has set the time."""
