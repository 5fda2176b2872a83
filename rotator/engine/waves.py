"""Waves of destinations: a new key is given to a few first, and to the rest once their readers have fared well."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rotator.domain.events import Outcome, Subject
from rotator.domain.model import LAST_WAVE, Delivery, DeliveryState, Rotation, RotationState, Situation, Version
from rotator.engine import hooks
from rotator.engine.hooks import LOOKS, PROBE, HookFailed
from rotator.engine.work import MOVING, Work
from rotator.ports.store import Update

WAVE_SOAK = "wave_soak"


def at_hand(situation: Situation) -> Sequence[Delivery]:
    """The deliveries that the open rotation is at: those of the lowest wave that is not verified, and of waves before.

    All of them, where a leak makes it urgent. One that a person said not to wait for keeps no wave back.
    """
    rotation, rows = situation.rotation, situation.deliveries
    if rotation is None or rotation.urgent:
        return rows
    wave = min((d.wave for d in rows if _awaited(d)), default=LAST_WAVE)
    return [d for d in rows if d.wave <= wave]


def left(situation: Situation) -> Sequence[Delivery]:
    """Those of them that keep the rotation from going on; none at the end of the last wave."""
    return [d for d in at_hand(situation) if _awaited(d)]


def _awaited(delivery: Delivery) -> bool:
    return delivery.state is not DeliveryState.VERIFIED and not delivery.without


def ended(situation: Situation) -> bool:
    """Whether one wave is verified and nothing of the next was pushed: it soaks, before the next begins."""
    rows, verified = left(situation), _verified(situation)
    if not rows or not verified or (situation.rotation is not None and situation.rotation.urgent):
        return False
    untouched = all(d.state is DeliveryState.PLANNED and d.revision is None for d in rows)
    return untouched and max(d.wave for d in verified) < min(d.wave for d in rows)


def _verified(situation: Situation) -> Sequence[Delivery]:
    return [d for d in situation.deliveries if d.state is DeliveryState.VERIFIED]


def begin_soak(work: Work) -> None:
    """pushed → authenticated: the next wave is pushed once this one has soaked."""
    rotation, now = work.rotation(), work.now()
    soak = work.managed.policy.wave_soak
    until = now + soak
    changes = {"state": RotationState.AUTHENTICATED, **_waits(work, now + soak / LOOKS, until, now)}
    told = work.event(
        Subject.WAVE,
        Outcome.DELAYED,
        version=rotation.target_id,
        reason=WAVE_SOAK,
        message=changes["message"],
        wave=_last(work.situation),
    )
    work.record([Update(rotation, changes)], [told])


def soaked(work: Work, version: Version) -> bool:
    """Whether nothing keeps the wave at hand from being pushed. While another soaks, its readers are asked once more.

    What they say is on record: when to look again, or that one fares badly and since when.
    """
    rotation = work.rotation()
    if rotation.wave_until is None or not left(work.situation):
        return True
    try:
        _look(work, rotation, version)
    except HookFailed as problem:
        work.failed(work.rotation(), Subject.WAVE, problem)
        return False
    rotation, now, soak = work.rotation(), work.now(), work.managed.policy.wave_soak
    if rotation.wave_until is None:  # we were stopped meanwhile, and another worker has gone on with it
        return False
    until = min(rotation.wave_until, now + soak)  # no longer than today's policy says, whatever the clock did
    if rotation.reason == hooks.PROBE_FAILED:  # one good answer after a bad one is not enough
        until = max(until, now + soak / LOOKS)
    if now >= until:
        told = work.event(Subject.WAVE, Outcome.SUCCEEDED, version=version.id, wave=_last(work.situation))
        work.record([Update(rotation, {"wave_until": None, **MOVING})], [told])
        return True
    since = rotation.since if rotation.reason == WAVE_SOAK and rotation.since else now
    work.record([Update(rotation, _waits(work, min(now + soak / LOOKS, until), until, since))], [])
    return False


def _last(situation: Situation) -> int:
    return max(d.wave for d in _verified(situation))


def _waits(work: Work, again: datetime, until: datetime, since: datetime) -> dict[str, Any]:
    wave, following = _last(work.situation), min(d.wave for d in left(work.situation))
    named = "the rest" if following == LAST_WAVE else f"wave {following}"
    return {
        **MOVING,
        "wave_until": until,
        "not_before": again,
        "reason": WAVE_SOAK,
        "message": f"wave {wave} is verified; {named} follows at {until:%Y-%m-%d %H:%M:%S} UTC if all goes well there",
        "since": since,
    }


def _look(work: Work, rotation: Rotation, version: Version) -> None:
    """Ask the readers of what is verified once more. Raises HookFailed for the first that says no."""
    if rotation.attempt and rotation.reason != hooks.PROBE_FAILED:  # whatever it waited for before is over
        work.record([Update(rotation, dict(MOVING))], [])
    problems: list[HookFailed] = []
    asks = [functools.partial(_ask, work, d, version, problems) for d in _verified(work.situation)]
    work.around.threads.side_by_side(asks)
    if problems:
        raise min(problems, key=lambda problem: problem.message)


def _ask(work: Work, delivery: Delivery, version: Version, problems: list[HookFailed]) -> None:
    target = work.managed.entry_of(delivery)
    if target is None or target.probe is None:
        return
    problem = None
    try:
        hooks.ask(work, target, target.probe, version)
    except HookFailed as said:
        problem = HookFailed(f"{delivery.address}: {said.message}", reason=said.reason, remedy=said.remedy)
        problems.append(problem)
    if hooks.done(delivery, PROBE, version) != (problem is None):
        hooks.note(work, delivery, PROBE, version, done=problem is None)


def hurried(rotation: Rotation) -> dict[str, Any]:
    """What changes in a rotation whose haste ends the soak of a wave."""
    return {"wave_until": None, **MOVING} if rotation.wave_until is not None else {}
