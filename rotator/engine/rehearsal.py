"""`rotate --rehearse`: a rotation that does everything but the switch, and takes back what it made.

It is a rotation like any other, on the same rows, whose places are shadows. So whoever comes after a crash goes on with
it. It always ends `abandoned`: its key is condemned, and goes through a retirement of its own. No consumer's place is
written, so there is never anything to put back.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from rotator.domain.errors import PermanentError, SetupError
from rotator.domain.events import Outcome, Subject, name
from rotator.domain.model import (
    Cause,
    RetirementReason,
    Rotation,
    RotationState,
    Situation,
    VersionState,
)
from rotator.domain.policy import NotDue, next_rotation_at, why_due
from rotator.engine import pausing, regress, shadows
from rotator.engine.intake import deliveries, open_rotation, question
from rotator.engine.places import look, refuse_foreign
from rotator.engine.retirement import open_retirement
from rotator.engine.work import MOVING, Work
from rotator.ports.store import Insert, NewEvent, Room, Update, Write

LIMIT = timedelta(minutes=5)
"""A rehearsal that has not come to its end by then has failed: a real rotation would be stuck as well."""


def is_open(situation: Situation) -> bool:
    """Whether the open rotation is a rehearsal."""
    return situation.rotation is not None and situation.rotation.cause is Cause.REHEARSAL


# begin


def begin(work: Work, because: str | None = None, *, drill: bool = False) -> Rotation:
    """Open the rehearsal; what it does is done by the steps after. Returns its rotation, also one that is open already.

    `drill` is put on record: it was done to know how long a leaked key would work.
    Raises PermanentError or TemporaryError where this is not the moment, and SetupError where there never is one.
    """
    if is_open(work.situation):
        return work.rotation()
    _refuse_by_provider(work)
    _refuse_by_moment(work)
    current = work.situation.current
    assert current is not None
    rotation = open_rotation(work, Cause.REHEARSAL, current.account, places=())[0].row
    assert isinstance(rotation, Rotation)
    rows = [Insert(d) for d in deliveries(work, rotation, shadows.targets(work.managed, rotation.id), ())]
    told = NewEvent(
        event=name(Subject.REHEARSAL, Outcome.STARTED),
        actor=work.around.actor,
        credential=work.managed.name,
        rotation=rotation.id,
        detail={"because": because, "drill": drill, "not_rehearsed": shadows.without_shadow(work.managed)},
    )
    room = Room(work.managed.provider_name, work.limits.in_flight)
    work.record([room, Insert(rotation), *rows], [told])
    return work.rotation()


def _refuse_by_provider(work: Work) -> None:
    """Kinds of keys for which there is no rehearsal. Raises SetupError."""
    called, capabilities = work.managed.name, work.provider.capabilities
    if capabilities.origin == "supplied":
        message = f"the key of {called} is made by a person, so there is nothing to rehearse"
        raise SetupError(message, reason="cannot_rehearse", remedy=f"`rotate --now {called}` says what the person does")
    if capabilities.origin == "chosen" and capabilities.living == 1 and capabilities.can_tell:
        message = f"{called} has one key at a time: a new one would end the one that is in use"
        raise SetupError(message, reason="cannot_rehearse")


def _refuse_by_moment(work: Work) -> None:
    """Only a credential at rest is rehearsed: one key is current, and nothing else is under way that it could meet."""
    called, situation, now = work.managed.name, work.situation, work.now()
    pausing.refuse(work)
    regress.refuse(work)
    if situation.current is None:
        message = f"{called} has no key yet"
        raise PermanentError(message, reason="never_rotated", remedy=f"`rotate {called}` makes the first one")
    leftover = next((v for v in situation.versions if v.state is VersionState.CONDEMNED), None)
    if leftover is not None:
        message = f"version {leftover.number} ({leftover.key_id or 'id not known'}) is still being taken away"
        raise PermanentError(message, reason="taking_away", remedy=f"`rotator explain {called}` says what it waits for")
    account = work.store.account(work.managed.provider_name)
    if account.failures >= work.limits.brake_failures:
        message = f"{account.provider} has failed {account.failures} times in a row: {account.message}"
        raise PermanentError(message, reason="account_braked", remedy="see to the provider first")
    asked = question(work, Cause.REHEARSAL)
    decision = why_due(asked)
    if isinstance(decision, NotDue):
        until = f", until {decision.until:%Y-%m-%d %H:%M} UTC" if decision.until else ""
        message, remedy = f"{decision.message}{until}", f"rehearse later; `rotator explain {called}` says more"
        raise PermanentError(message, reason=decision.reason, remedy=remedy)
    soon = next_rotation_at(asked)
    if soon is not None and soon <= now + work.managed.policy.min_interval:
        message = f"the next rotation is due {soon:%Y-%m-%d %H:%M} UTC, and a key made now would put it off"
        raise PermanentError(message, reason="due_soon", remedy=f"`rotate --now {called}` rotates it instead")


# steps


def preflight(work: Work) -> None:
    """The real places are looked at as by any rotation. A shadow that could not be removed would be no rehearsal."""
    for target in work.managed.targets:
        refuse_foreign(work, target.to, target.destination, look(work, target.destination, target.templates))
        work.call(target.destination.preflight, target.templates)
    for _, shadow in shadows.shadows_of(work.managed, work.rotation().id):
        work.call(shadow.remove)  # nothing stands there yet: this asks for the permission


def conclude(work: Work) -> None:
    """verified → abandoned, in the place of `promote`: the key is condemned, and goes the way of an old one."""
    rotation, target, now = work.rotation(), work.target(), work.now()
    closed = {"state": RotationState.ABANDONED, "closed_at": now, **MOVING, "reason": "rehearsed"}
    why = RetirementReason.REHEARSED
    writes: list[Write] = [
        Update(target, {"state": VersionState.CONDEMNED}),
        open_retirement(work, target, why),
        Update(rotation, closed),
    ]
    work.record(writes, [work.event(Subject.RETIREMENT, Outcome.STARTED, version=target.id, reason=why.value)])


def failure(situation: Situation, now: datetime) -> tuple[str, str] | None:
    """Why the open rehearsal has failed, as a reason and a message; None while it has not, or there is none.

    Whatever would make a rotation wait for a person ends it: the person is told, and nothing stays behind.
    """
    row = situation.rotation
    if row is None or row.cause is not Cause.REHEARSAL:
        return None
    rows = [(row, ""), *((d, f"{d.address}: ") for d in situation.deliveries)]
    for waiter, where in rows:
        if waiter.blocked:
            return waiter.reason or "blocked", f"{where}{waiter.message}"
    if now < row.opened_at + LIMIT:
        return None
    reason = "too_slow"
    why = next((f": {where}{w.message} ({w.reason})" for w, where in rows if w.reason), "")
    return reason, f"it did not come to its end within {LIMIT}{why}"


def ends_at(rotation: Rotation) -> datetime | None:
    """When a rotation is given up at the latest; None for one that is no rehearsal."""
    return rotation.opened_at + LIMIT if rotation.cause is Cause.REHEARSAL else None
