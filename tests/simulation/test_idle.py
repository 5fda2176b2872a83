"""Looking only at what is due loses no time: it does the same things in the same ticks as looking at everything."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rotator.ports.provider import Capabilities
from rotator.ports.store import NewEvent, Pause
from tests.simulation.months import NAME, PLAIN, SLOTS, Months
from tests.simulation.test_when import read

MINUTE, TICK, DAY = timedelta(minutes=1), timedelta(minutes=5), timedelta(days=1)

# fmt: off
POLICIES: dict[str, tuple[Capabilities, dict[str, Any]]] = {
    "every day": (PLAIN, {"rotate_every": "1d", "jitter": "2h", "grace": "3h", "soak": "1h"}),
    "windows": (PLAIN, {"rotate_every": "12h", "windows": ["02:00-04:00"], "timezone": "Europe/London", "grace": "1h",
                        "soak": "0s"}),
    "two slots": (SLOTS, {"rotate_every": "1d12h", "grace": "6h", "soak": "12h"}),
    "a brownout": (SLOTS, {"rotate_every": "1d12h", "grace": "8h", "soak": "2h",
                           "brownout": {"after": "1h", "for": "10m"}}),
}
# fmt: on


def played(capabilities: Capabilities, keys: dict[str, Any], *, everything: bool) -> tuple[Any, int]:
    """Three days, tick by tick: what was told when, and how many times a credential was looked at."""
    policy = read(keys, capabilities)
    assert policy is not None
    world = Months(capabilities, policy, watch=DAY)
    looks = 0
    for _ in range(3 * DAY // TICK):
        if everything:
            world.now += TICK
            world._turn()
            looks += 1
        else:
            looks += world.tick(TICK)
    return [(told.event, at) for told, at in world.store.tables.events], looks


@pytest.mark.parametrize("called", POLICIES)
def test_what_is_idle_is_due_in_the_very_tick_in_which_something_can_go_on(called: str) -> None:
    always, _ = played(*POLICIES[called], everything=True)
    when_due, looks = played(*POLICIES[called], everything=False)
    assert when_due == always
    assert sum(told == "promote.succeeded" for told, _ in always) >= 2
    assert looks < 150  # of 864 ticks


def quiet() -> Months:
    """A credential with a key, and nothing to do for a while."""
    policy = read({"rotate_every": "30d", "grace": "0s", "soak": "0s", "require_idle": "0s"}, PLAIN)
    assert policy is not None
    world = Months(PLAIN, policy, watch=DAY)
    for _ in range(30):
        world.tick(MINUTE)
    assert not world.tick(MINUTE)
    return world


def test_a_clock_that_was_set_back_hides_nobody() -> None:
    world = quiet()
    world.now -= 400 * DAY
    assert world.tick(MINUTE)


def test_who_is_paused_is_looked_at_and_again_when_the_pause_is_over() -> None:
    world = quiet()
    event = NewEvent(event="pause.succeeded", actor="ann", credential=NAME)
    (credential,) = world.store.credentials()
    world.store.pause(credential.id, Pause(by="ann", lasts=5 * MINUTE, why="w"), event)
    assert [world.tick(MINUTE) for _ in range(7)] == [True, False, False, False, True, False, False]


def test_another_configuration_is_looked_at_and_the_same_is_not() -> None:
    world = quiet()
    engine = world._engine()
    engine.take_over()
    assert engine.due() == []
    changed = read({"rotate_every": "20d", "grace": "0s", "soak": "0s", "require_idle": "0s"}, PLAIN)
    assert changed is not None
    world.policy = changed
    engine = world._engine()
    engine.take_over()
    assert engine.due() == [NAME]
