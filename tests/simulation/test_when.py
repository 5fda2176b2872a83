"""Over months: no key outlives `max_age` and no hours are broken in silence, and no promised grace gets shorter."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as some

from rotator.config.document import Document
from rotator.config.merging import Layer
from rotator.config.part import Part
from rotator.config.policies import read_policy
from rotator.domain.deadlines import room
from rotator.domain.policy import Due, Policy, Question, why_due
from rotator.ports.provider import Capabilities
from rotator.settings import format_duration
from tests.simulation.months import NAME, PLAIN, SLOTS, Months

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def read(keys: dict[str, Any], capabilities: Capabilities) -> Policy | None:
    """The policy as the file would give it; None where the file would be refused."""
    document = Document("rotator.yaml", None, keys, {})  # type: ignore[arg-type]  # no path is read
    part = Part.whole(document, [], ())
    found = read_policy(part, [Layer.of("credential", part)], capabilities)
    return found[0] if found else None


FOUND_AS_IT_IS = (Phase.explicit, Phase.generate)
"""A month takes too long to be shrunk."""

HOURS = some.lists(
    some.sampled_from(["MON-FRI 09:00-17:00", "SAT 02:00-04:00", "SUN", "WED 22:00-04:00", "2027-01-10/2027-01-20"]),
    max_size=2,
)
BLACKOUTS = some.lists(some.sampled_from(["FRI", "2026-12-18/2027-01-03", "MON 00:00-12:00"]), max_size=2)


@some.composite
def policies(draw: some.DrawFn) -> dict[str, Any]:
    """Some that are impossible are among them."""
    hours = some.integers(0, 72).map(lambda n: f"{n}h")
    limit = draw(some.integers(2, 40))
    keys: dict[str, Any] = {
        "max_age": f"{limit}d",
        "grace": draw(hours),
        "soak": draw(hours),
        "require_idle": "0s",
        "windows": draw(HOURS),
        "blackouts": draw(BLACKOUTS),
        "timezone": "Europe/London",
        "jitter": draw(some.sampled_from(["0s", "6h"])),
    }
    if not (keys["windows"] or keys["blackouts"]):
        del keys["timezone"]
    if draw(some.booleans()):
        keys["rotate_every"] = f"{draw(some.integers(1, limit))}d"
    return keys


@given(keys=policies(), slots=some.booleans(), data=some.data())
@settings(max_examples=30, deadline=None, phases=FOUND_AS_IT_IS, derandomize=True)
def test_no_key_outlives_max_age_and_no_hours_are_broken_unless_a_finding_says_so_first(
    keys: dict[str, Any], slots: bool, data: some.DataObject
) -> None:
    capabilities = SLOTS if slots else PLAIN
    policy = read(keys, capabilities)
    if policy is None or policy.max_age is None:
        return
    world = Months(capabilities, policy)
    watcher = Watcher(world)
    world.step(HOUR)
    often = min(room(policy.max_age) / 2 - SLACK, 12 * HOUR)
    end = world.now + min(3 * policy.max_age, 70 * DAY)
    while world.now < end:
        if data.draw(some.integers(0, 19)) == 0:
            world.down = data.draw(some.sampled_from([{"provider"}, {"destination"}, set()]))
        world.step(often * data.draw(some.sampled_from([0.3, 1.0])))
        watcher.look()


SLACK = 10 * MINUTE
"""What a pass itself may take."""


class Watcher:
    """Compares what really is with what was said."""

    def __init__(self, world: Months) -> None:
        self.world = world
        self.seen = 0

    def look(self) -> None:
        self._ages()
        self._hours()

    def _ages(self) -> None:
        limit = self.world.policy.max_age
        assert limit is not None
        for key in self.world.alive():
            if self.world.now - key.made_at > limit:
                said = [f.found_at for f in self.world.findings("max_age") if f.subject == key.id]
                assert said, f"{key.id} is {self.world.now - key.made_at} old, and nobody says so"
                assert min(said) < key.made_at + limit

    def _hours(self) -> None:
        events = self.world.store.tables.events
        for position in range(self.seen, len(events)):
            told, at = events[position]
            if told.event != "rotation.started" or told.reason != "schedule":
                continue
            closed = self.world.policy.hours.closed(at)
            said = [f.found_at for f in self.world.findings("hours_broken") if f.found_at <= at]
            standing = [f for f in self.world.findings("hours_broken") if f.found_at <= at <= (f.cleared_at or at)]
            assert (closed is None) == (told.detail.get("breaks") is None)
            assert closed is None or (said and standing), f"broken at {at}, and nobody says so"
        self.seen = len(events)


GRACES = some.integers(0, 48).map(lambda hours: timedelta(hours=hours))


@given(before=GRACES, after=GRACES, at=some.integers(0, 20), slots=some.booleans(), data=some.data())
@settings(max_examples=40, deadline=None, phases=FOUND_AS_IT_IS, derandomize=True)
def test_an_edit_never_shortens_the_grace_of_what_is_open(
    before: timedelta, after: timedelta, at: int, slots: bool, data: some.DataObject
) -> None:
    capabilities = SLOTS if slots else PLAIN
    policy = Policy(rotate_every=7 * DAY, grace=before, soak=HOUR, require_idle=timedelta(0))
    world = Months(capabilities, policy)
    world.step(HOUR)
    if at == 0:  # while the rotation is open
        world.down = {"destination"}
    world.step(7 * DAY)
    world.policy = replace(policy, grace=after if at == 0 else before)
    world.step(MINUTE)
    world.down = set()
    for number in range(80):
        if number == at:
            world.policy = replace(policy, grace=after, rotate_every=data.draw(some.sampled_from([DAY, 7 * DAY, None])))
        world.step(HOUR)
    cutover = world.told("promote.succeeded")[1]
    old = world.keys["key-1"]
    assert old.stopped_at is not None
    assert old.stopped_at >= cutover + before
    assert old.stopped_at <= cutover + max(before, after) + 2 * HOUR + (timedelta(0) if slots else HOUR)


def test_an_edit_holds_from_the_next_pass_on() -> None:
    world = Months(PLAIN, Policy(rotate_every=30 * DAY, grace=HOUR, soak=HOUR))
    world.step(HOUR)
    world.step(10 * DAY)
    assert len(world.keys) == 1
    world.policy = replace(world.policy, rotate_every=10 * DAY)
    world.step(MINUTE)
    assert len(world.keys) == 2
    assert world.told("rotation.started")[-1] == world.now or len(world.told("rotation.started")) == 2


def test_a_paused_credential_is_said_to_outlive_max_age_before_it_does() -> None:
    from rotator.ports.store import NewEvent, Pause

    world = Months(SLOTS, Policy(max_age=20 * DAY, grace=HOUR, soak=HOUR))
    world.step(HOUR)
    event = NewEvent(event="pause.succeeded", actor="ann")
    world.store.pause(world.situation.credential.id, Pause(by="ann", lasts=None, why="freeze"), event)
    while world.now < world.keys["key-1"].made_at + 21 * DAY:
        world.step(6 * HOUR)
    (found,) = world.findings("max_age")
    assert found.subject == "key-1"
    assert found.found_at < world.keys["key-1"].made_at + 20 * DAY
    assert len(world.keys) == 1
    world.store.pause(world.situation.credential.id, None, event)
    world.step(MINUTE)
    world.step(2 * HOUR)
    assert [f.cleared_at is not None for f in world.findings("max_age")] == [True]
    assert world.keys["key-1"].stopped_at is not None


@pytest.mark.parametrize("capabilities", [PLAIN, SLOTS], ids=["plain", "slots"])
def test_a_key_that_its_provider_ends_is_replaced_in_time(capabilities: Capabilities) -> None:
    world = Months(capabilities, Policy(rotate_every=90 * DAY, grace=DAY, soak=DAY), life=20 * DAY)
    world.step(HOUR)
    while world.now < world.keys["key-1"].made_at + 60 * DAY:
        world.step(6 * HOUR)
        assert all(world.now < key.made_at + 20 * DAY for key in world.alive())
    assert len(world.keys) == 4
    assert world.findings("expires") == []


def test_a_key_that_expires_while_its_provider_is_down_is_said_to_before_it_does() -> None:
    world = Months(PLAIN, Policy(grace=HOUR, soak=HOUR), life=20 * DAY)
    world.step(HOUR)
    world.step(18 * DAY)
    world.down = {"destination"}
    while world.now < world.keys["key-1"].made_at + 19 * DAY + 23 * HOUR:
        world.step(HOUR)
    (found,) = world.findings("expires")
    assert found.subject == "key-1"


def test_hours_are_broken_with_a_finding_that_stands_until_they_are_over() -> None:
    keys = {"max_age": "20d", "grace": "1h", "soak": "1h", "blackouts": ["2026-11-24/2026-12-18"]}
    policy = read(keys, PLAIN)
    assert policy is not None
    world = Months(PLAIN, policy)
    world.step(HOUR)
    while world.now.strftime("%m-%d") < "12-18":
        world.step(6 * HOUR)
    (found,) = world.findings("hours_broken")
    assert found.message.startswith("web is rotated although a blackout lasts; version 1 reaches its max_age at")
    assert len(world.keys) == 2
    assert found.cleared_at is None
    started = world.told("rotation.started")[-1]
    assert world.told("hours_broken.found") == [started]
    world.step(DAY)
    assert [f.cleared_at is not None for f in world.findings("hours_broken")] == [True]


def test_what_the_chain_says_is_what_the_engine_does() -> None:
    policy = read({"rotate_every": "9d", "windows": ["SAT 02:00-04:00"], "timezone": "Europe/London"}, PLAIN)
    assert policy is not None
    world = Months(PLAIN, policy)
    world.step(HOUR)
    for _ in range(40 * 24):
        asked = Question(name=NAME, situation=world.situation, policy=policy, now=world.now + HOUR)
        due, made = isinstance(why_due(asked), Due), len(world.keys)
        world.step(HOUR)
        assert (len(world.keys) > made) == due
    assert [f"{key.made_at:%a %H}" for key in list(world.keys.values())[1:]] == ["Sat 02", "Sat 02", "Sat 02"]


def test_the_room_for_retries_is_a_part_of_max_age_and_never_less_than_an_hour() -> None:
    assert format_duration(room(90 * DAY)) == "4d12h"
    assert room(2 * HOUR) == HOUR
