"""`plan` says what the engine then does: every rotation and the end of every old key, to the second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from rotator.domain.forecast import Forecast, forecast
from rotator.domain.model import Cause, RotationState
from rotator.domain.policy import NotDue, Question, next_rotation_at
from rotator.engine import reactivation, rehearsal, rollback
from rotator.engine.engine import Wish
from rotator.engine.plan import course
from rotator.engine.report import question_of
from rotator.ports.provider import Capabilities
from rotator.ports.store import NewEvent, Pause
from tests.simulation.months import NAME, PLAIN, SLOTS, Months
from tests.simulation.test_when import DAY, FOUND_AS_IT_IS, HOUR, MINUTE, policies, read

HORIZON = 90 * DAY
MANUAL = replace(PLAIN, can_tell=False, settle=timedelta(0))

# fmt: off
POLICIES: dict[str, tuple[Capabilities, dict[str, Any]]] = {
    "every week, with jitter": (PLAIN, {"rotate_every": "7d", "jitter": "1d", "grace": "12h", "soak": "6h"}),
    "every day, at a provider that takes any value": (MANUAL, {"rotate_every": "1d", "grace": "1h", "soak": "0s"}),
    "nine o'clock in London, over the end of its summer time":
        (PLAIN, {"cron": "0 9 * * MON", "timezone": "Europe/London", "grace": "2h", "soak": "2d"}),
    "two hours that a clock change skips and repeats":
        (PLAIN, {"cron": "30 1,2 * * *", "timezone": "America/New_York", "grace": "5m", "soak": "0s",
                 "settle": "10s", "max_creates_per_day": 2}),
    "windows and blackouts, and no max_age":
        (PLAIN, {"rotate_every": "9d", "windows": ["SAT 02:00-04:00", "WED 22:00-01:00"],
                 "blackouts": ["2026-12-18/2027-01-03"], "timezone": "Europe/London", "jitter": "6h"}),
    "max_age breaks a blackout":
        (SLOTS, {"max_age": "20d", "blackouts": ["2026-12-01/2027-01-15"], "grace": "1d", "soak": "1d"}),
    "max_age in the last window before it":
        (PLAIN, {"max_age": "25d", "windows": ["SUN 03:00-05:00"], "timezone": "Australia/Sydney", "grace": "6h"}),
    "two slots, and little time between": (SLOTS, {"rotate_every": "3d", "grace": "1d", "soak": "1d22h"}),
    "only by hand": (SLOTS, {"grace": "1d", "soak": "1d"}),
    "leap day": (PLAIN, {"cron": "0 0 29 2 *", "grace": "1h"}),
}
# fmt: on


def asked(world: Months) -> Question:
    return question_of(world.managed(), world.situation, world.now)


def ahead(world: Months, until: datetime) -> Forecast:
    return forecast(asked(world), course(world.managed(), world.situation), until)


def live(world: Months, until: datetime) -> None:
    """Passes run whenever something is ready or due, and once a day in any case."""
    while world.now < until:
        progress = world._turn()
        moments = [progress.ready_at, next_rotation_at(asked(world))]
        if isinstance(progress.decision, NotDue):
            moments.append(progress.decision.until)
        later = [moment for moment in moments if moment is not None and moment > world.now]
        world.now = min(*later, world.now + DAY, until) if later else min(world.now + DAY, until)
    world._turn()


def happened(world: Months, event: str, since: datetime, until: datetime) -> list[tuple[datetime, int]]:
    """(moment, version) of an event."""
    events = world.store.tables.events
    return sorted((at, told.version or 0) for told, at in events if told.event == event and since < at <= until)


def agrees(world: Months, plan: Forecast, since: datetime, until: datetime) -> None:
    """Everything that was to happen until then has, at that very moment, and nothing else."""
    begun = [at for at, _ in happened(world, "rotation.started", since, until)]
    assert [c.begins_at for c in plan.rotations if not c.open] == begun
    completed = [(c.completes_at, c.version) for c in plan.rotations if c.completes_at and c.completes_at <= until]
    assert completed == happened(world, "rotation.succeeded", since, until)
    for event, moments in (
        ("disable.succeeded", [(g.disabled_at, g.version.number) for g in plan.leaving]),
        ("delete.succeeded", [(g.deleted_at, g.version.number) for g in plan.leaving]),
    ):
        planned = sorted((at, number) for at, number in moments if at is not None and at <= until)
        assert planned == happened(world, event, since, until)


STARTS = ("2026-10-20T09:00:00+00:00", "2027-02-20T17:31:07.250000+00:00")
"""Each before two of the three zones change their clocks."""


@pytest.mark.parametrize("case", POLICIES)
@pytest.mark.parametrize("start", STARTS, ids=["autumn", "spring"])
def test_what_the_plan_says_is_what_the_engine_does_over_90_days(case: str, start: str) -> None:
    capabilities, keys = POLICIES[case]
    policy = read(keys, capabilities)
    assert policy is not None
    world = Months(capabilities, policy, now=datetime.fromisoformat(start))
    live(world, world.now + HOUR)
    since, until = world.now, world.now + HORIZON
    plan = ahead(world, until)
    live(world, until)
    agrees(world, plan, since, until)
    assert (case in ("only by hand", "leap day")) == (len(plan.rotations) == 0)


def test_a_plan_that_begins_in_the_middle_of_a_rotation_and_of_retirements_agrees_as_well() -> None:
    policy = read({"rotate_every": "2d", "grace": "1d12h", "soak": "1d"}, PLAIN)
    assert policy is not None
    world = Months(replace(PLAIN, can_disable=True), policy)
    live(world, world.now + 4 * DAY + MINUTE + timedelta(seconds=20))
    assert world.situation.rotation is not None
    assert world.situation.rotation.state is RotationState.CREATED
    assert len(world.situation.retirements) == 1
    plans = []
    for _ in range(8):
        plans.append((world.now, ahead(world, world.now + HORIZON)))
        live(world, world.now + 7 * HOUR)
    live(world, world.now + 8 * DAY)
    for since, plan in plans:
        plan.rotations = [coming for coming in plan.rotations if coming.begins_at <= world.now]
        agrees(world, plan, since, world.now)
    assert {len(plan.leaving) > 40 for _, plan in plans} == {True}


@given(keys=policies(), slots=some.booleans(), after=some.integers(0, 20 * 24 * 60))
@settings(max_examples=12, deadline=None, phases=FOUND_AS_IT_IS, derandomize=True)
def test_the_plan_of_any_policy_agrees_with_the_engine_from_any_moment_on(
    keys: dict[str, Any], slots: bool, after: int
) -> None:
    capabilities = SLOTS if slots else PLAIN
    policy = read(keys, capabilities)
    if policy is None:
        return
    world = Months(capabilities, policy)
    live(world, world.now + HOUR + after * MINUTE)
    since, until = world.now, world.now + 50 * DAY
    plan = ahead(world, until)
    live(world, until)
    agrees(world, plan, since, until)


def pause(world: Months) -> None:
    event = NewEvent(event="pause.succeeded", actor="ann")
    world.store.pause(world.situation.credential.id, Pause(by="ann", lasts=20 * DAY, why="freeze"), event)


def reactivate(world: Months) -> None:
    with world._engine().hold(NAME) as work:
        reactivation.reactivate(work)


def roll_back(world: Months) -> None:
    with world._engine().hold(NAME) as work:
        rollback.rollback(work)


def leak(world: Months) -> None:
    world._engine().turn(NAME, Wish(cause=Cause.COMPROMISED), world.now)


def down(world: Months) -> None:
    """A key is made and cannot be placed: its rotation goes on when the place answers."""
    world.down = {"destination"}
    world._engine().turn(NAME, Wish(cause=Cause.MANUAL), world.now)
    world.down = set()


ACTS: dict[str, Callable[[Months], None]] = {
    "it is paused": pause,
    "the old key is kept": reactivate,
    "the old key is current again": roll_back,
    "the key has leaked": leak,
    "a rotation was held up": down,
}


@pytest.mark.parametrize("slots", [False, True], ids=["plain", "slots"])
@pytest.mark.parametrize("hours", [3, 30], ids=["in grace", "in soak"])
@pytest.mark.parametrize("act", ACTS)
def test_the_plan_goes_on_from_what_a_person_did(act: str, hours: int, slots: bool) -> None:
    capabilities = SLOTS if slots else PLAIN
    policy = read({"rotate_every": "5d", "grace": "1d", "soak": "2d"}, capabilities)
    assert policy is not None
    world = Months(capabilities, policy)
    live(world, world.now + 5 * DAY + hours * HOUR)
    ACTS[act](world)
    until = world.now + 40 * DAY
    at_once = (world.now, ahead(world, until))
    live(world, world.now + 7 * HOUR)
    later = (world.now, ahead(world, until))
    live(world, until)
    for since, plan in (at_once, later):
        agrees(world, plan, since, until)


def test_a_rehearsal_that_is_open_is_no_rotation_ahead() -> None:
    policy = read({"rotate_every": "30d", "settle": "1m"}, PLAIN)
    assert policy is not None
    world = Months(PLAIN, policy)
    live(world, world.now + 7 * DAY)
    until = world.now + HORIZON
    planned = ahead(world, until).rotations
    with world._engine().hold(NAME) as work:
        rehearsal.begin(work)
    for _ in range(2):
        assert ahead(world, until).rotations == planned
        world._engine().turn(NAME, Wish(cause=Cause.REHEARSAL), world.now)
    assert world.situation.target is not None, "it waits until its key has settled"


def test_keys_that_their_provider_ends_are_planned_as_they_are_replaced() -> None:
    policy = read({"rotate_every": "90d", "grace": "1d", "soak": "1d"}, PLAIN)
    assert policy is not None
    world = Months(replace(PLAIN, life=20 * DAY), policy, life=20 * DAY)
    live(world, world.now + HOUR)
    since, until = world.now, world.now + HORIZON
    plan = ahead(world, until)
    assert len(plan.rotations) == 5
    live(world, until)
    agrees(world, plan, since, until)


def test_a_slot_that_is_not_free_holds_the_plan_as_it_holds_the_engine() -> None:
    policy = read({"cron": "0 9 * * MON", "grace": "1d", "soak": "4d"}, SLOTS)
    assert policy is not None
    world = Months(SLOTS, policy)
    live(world, world.now + 6 * DAY)  # the Sunday before its slot
    world._engine().turn(NAME, Wish(cause=Cause.MANUAL), world.now)
    live(world, world.now + HOUR)
    since, until = world.now, world.now + HORIZON
    plan = ahead(world, until)
    first = plan.rotations[0]
    (hold,) = first.holds
    assert (hold.reason, hold.since, hold.until) == ("slot_in_retirement", first.due_at, first.begins_at)
    assert first.begins_at - first.due_at > 3 * DAY
    live(world, until)
    agrees(world, plan, since, until)


def test_the_interval_between_two_keys_holds_for_longer_than_a_day() -> None:
    policy = read({"cron": "0 9 1 * *", "grace": "1h", "soak": "0s", "min_interval": "3d"}, PLAIN)
    assert policy is not None
    world = Months(PLAIN, policy)
    live(world, world.now + 7 * DAY)  # the day before its slot
    world._engine().turn(NAME, Wish(cause=Cause.MANUAL), world.now)
    live(world, world.now + HOUR)
    since, until = world.now, world.now + HORIZON
    plan = ahead(world, until)
    (hold,) = plan.rotations[0].holds
    assert hold.reason == "min_interval"
    live(world, until)
    agrees(world, plan, since, until)
    made = [key.made_at for key in world.keys.values()]
    assert all(later - earlier >= 3 * DAY for earlier, later in pairwise(made[1:]))
