"""Bringing a key back of which only the id is known: what the provider lists is all that can be seen of it."""

from __future__ import annotations

from datetime import timedelta

from rotator.engine import adoption, reactivation
from tests.simulation.months import NAME, SLOTS, Made, Months
from tests.simulation.test_when import read

MINUTE = timedelta(minutes=1)


def test_a_key_that_is_never_listed_as_enabled_again_is_for_a_person() -> None:
    policy = read({"rotate_every": "30d", "grace": "0s", "soak": "20d", "require_idle": "0s"}, SLOTS)
    assert policy is not None
    world = Months(SLOTS, policy)
    world.step(MINUTE)
    world.keys["key-by-hand"] = Made("key-by-hand", "", world.now)
    with world._engine().hold(NAME) as work:
        adoption.adopt_previous(work, adoption.extra_key(work, "key-by-hand"))
    world.step(MINUTE)
    assert not world.keys["key-by-hand"].enabled
    del world.keys["key-by-hand"]  # by a person, at the console
    with world._engine().hold(NAME) as work:
        reactivation.reactivate(work, key="key-by-hand")
    world.step(MINUTE)
    (row,) = world.situation.retirements
    assert (row.blocked, row.reason) == (False, "not_confirmed"), "a list may be late"
    for _ in range(20):
        world.step(MINUTE)
    (row,) = world.situation.retirements
    assert (row.blocked, row.reason) == (True, "key_refused")
    assert "does not list key-by-hand as enabled yet" in (row.message or "")
    assert "`rotator retire web --key key-by-hand` gives it up" in (row.remedy or "")
