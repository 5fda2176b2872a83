"""The engine in worlds full of faults: no invariant is ever violated, and every step meets every fault.

The shares have fixed seeds, so that this says the same of the same code. Other seeds: `make simulate SEED=…`. All
together they are 20,000 rotations, 2,000 of them on SQL. SIMULATION_SCALE=10 makes them ten times as long.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import deque
from random import Random

import pytest

from tests.simulation.episode import BugError, Episode
from tests.simulation.faults import PROFILES, Coverage
from tests.simulation.simulate import FoundError, ViolationError, simulate
from tests.simulation.stores import STORES
from tests.simulation.world import World

SCALE = int(os.environ.get("SIMULATION_SCALE", "1"))
MIXES = ("everything", "everything", "crashes", "stale", "people", "clocks", "restores")
SELDOM = ("seldom",)
ASSISTED = ("assisted",)
READERS = ("readers",)
BROWNOUTS = ("brownouts",)
REHEARSALS = ("rehearsals",)
PAIRS = ("pairs",)
SHARES = [
    (store, mix, share, rotations)
    for store, mixes, shares, rotations in (
        ("sql", MIXES, 7, 10),
        ("sql", SELDOM, 8, 236),
        ("memory", MIXES, 14, 250),
        ("memory", SELDOM, 8, 1626),
        ("sql", ASSISTED, 1, 30),
        ("memory", ASSISTED, 2, 400),
        ("sql", READERS, 1, 6),
        ("memory", READERS, 1, 200),
        ("sql", BROWNOUTS, 1, 20),
        ("memory", BROWNOUTS, 1, 150),
        ("memory", REHEARSALS, 1, 120),
        ("sql", PAIRS, 1, 15),
        ("memory", PAIRS, 1, 200),
    )
    for share in range(shares)
    for mix in (mixes[share % len(mixes)],)
]


SHORT = (1_000_033, 2_000_036, 3_000_029, 4_000_000, 5_000_022, 6_000_006, 7_000_016, 8_000_001)
"""Where shares of `seldom` begin on SQL: plays that wait for days take as many turns as a hundred rotations, and are
left to the store in memory, which plays all of them from 1,000,000, 2,000,000 … on."""


@pytest.mark.parametrize(("store", "mix", "share", "rotations"), SHARES)
def test_nothing_is_violated(store: str, mix: str, share: int, rotations: int) -> None:
    seed = SHORT[share] if (store, mix) == ("sql", "seldom") else 1_000_000 * (share + 1)
    report = simulate(seed, rotations * SCALE, store, mix)
    print(report.line())  # noqa: T201 - the figure of this share
    assert report.rotations >= rotations * SCALE


def test_the_shares_are_as_many_as_is_said() -> None:
    assert sum(rotations for *_, rotations in SHARES) >= 20_000
    assert sum(rotations for store, *_, rotations in SHARES if store == "sql") >= 2_000


def test_every_step_meets_every_fault() -> None:
    report = simulate(77, 400, profile="dense")
    print(report.coverage.table())  # noqa: T201 - the table of this run
    assert report.coverage.share >= 0.95, sorted(report.coverage.missing)


def test_brownouts_meet_faults_and_end() -> None:
    play = Episode("1", PROFILES["brownouts"], coverage := Coverage(), STORES["memory"])
    play.run(40)
    assert play.oracle.told["restore.succeeded"] > 20
    assert {step for step, _ in coverage.reached} >= {"brownout", "restore"}


@pytest.mark.parametrize("problem", [ViolationError("I1", "a dead key"), BugError(KeyError("odd"))], ids=repr)
def test_what_is_found_comes_back_whole_from_another_process(problem: BaseException) -> None:
    found = FoundError(1, "memory", "calm", problem, "the story", 3, 40)
    back = pickle.loads(pickle.dumps(found))
    assert (str(back), str(back.problem)) == (str(found), str(problem))
    assert "replay: make simulate SEED=1 ROTATIONS=40" in str(back)


def story() -> str:
    """Everything that happens in a few plays."""
    told = []
    for store, profile, seed, rotations in PLAYS:
        play = Episode(seed, PROFILES[profile], Coverage(), STORES[store])
        play.oracle.log = deque()
        play.run(rotations)
        told.append(play.oracle.story())
    return "\n".join(told)


PLAYS = (
    *(("memory", profile, seed, 40) for profile in ("everything", "people") for seed in ("1", "3")),
    ("sql", "everything", "5", 6),
)


def test_a_seed_replays_exactly_in_another_process() -> None:
    script = "from tests.simulation.test_simulation import story; print(story())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "4711"}
    other = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    mine = story()
    assert mine.count("\n") > 1000
    assert other.stdout.rstrip("\n").split("\n") == mine.split("\n")


@pytest.mark.parametrize("store", sorted(STORES))
def test_ids_are_drawn_in_the_order_of_the_names(store: str) -> None:
    drawn: list[str] = []

    class Counting(World):
        def new_id(self) -> str:
            drawn.append(super().new_id())
            return drawn[-1]

    opened = STORES[store](Counting(Random(1), PROFILES["calm"], Coverage()))
    drawn.clear()
    enrolled = opened.enroll({f"c{number * 7 % 10}": "sim" for number in range(10)}, "me")  # given back by name
    positions = [drawn.index(row.id) for row in enrolled]
    assert positions == sorted(positions)
