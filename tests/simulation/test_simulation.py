"""The engine in worlds full of faults: no invariant is ever violated, and every step meets every fault.

The shares have fixed seeds, so that this says the same of the same code. Other seeds: `make simulate SEED=…`.
SIMULATION_SCALE=20 makes it 36,000 rotations in memory and 2,040 on SQL.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque

import pytest

from tests.simulation.episode import Episode
from tests.simulation.faults import PROFILES, Coverage
from tests.simulation.simulate import simulate
from tests.simulation.stores import STORES

SHARES = [("sql", share) for share in range(6)] + [("memory", share) for share in range(12)]
SCALE = int(os.environ.get("SIMULATION_SCALE", "1"))
ROTATIONS = {"memory": 150 * SCALE, "sql": 17 * SCALE}  # of one share
MIXES = ("everything", "everything", "crashes", "stale", "people", "clocks", "restores")


@pytest.mark.parametrize(("store", "share"), SHARES)
def test_nothing_is_violated(store: str, share: int) -> None:
    rotations = ROTATIONS[store]
    report = simulate(1_000_000 * (share + 1), rotations, store, MIXES[share % len(MIXES)])
    print(report.line())  # noqa: T201 - the figure of this share
    assert report.rotations >= rotations


def test_every_step_meets_every_fault() -> None:
    report = simulate(77, 400, profile="dense")
    print(report.coverage.table())  # noqa: T201 - the table of this run
    assert report.coverage.share >= 0.95, sorted(report.coverage.missing)


def story(*profiles: str) -> str:
    """Everything that happens in a few plays."""
    told = []
    for profile in profiles:
        for seed in ("1", "3"):
            play = Episode(seed, PROFILES[profile], Coverage(), STORES["memory"])
            play.oracle.log = deque()
            play.run(40)
            told.append(play.oracle.story())
    return "\n".join(told)


def test_a_seed_replays_exactly_in_another_process() -> None:
    script = "from tests.simulation.test_simulation import story; print(story('everything', 'people'))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "4711"}
    other = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    mine = story("everything", "people")
    assert mine.count("\n") > 1000
    assert other.stdout.rstrip("\n").split("\n") == mine.split("\n")
