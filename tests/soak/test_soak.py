"""A short run of `make soak`, so that it is known to work; and what the daemon's memory owes to the C library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.soak.soak import run


def test_a_short_soak_loses_no_tick_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    figures = run(tmp_path, credentials=10, seconds=4, speed=3000, stops=1, seed=1)
    assert figures.violations == []
    assert figures.dead == 0
    assert figures.looks > 0
    assert figures.ticks > 0
    assert figures.scrapes > 0
    assert len(figures.stops) == 1
    assert figures.rotations >= 10
    assert len(figures.samples) > 7
    assert figures.lines()


TURNS = """
import sys, threading
from pathlib import Path
from rotator.daemon import memory

def resident():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) // 1024

if sys.argv[1] == "shared":
    memory.shared()
together, turn, left = threading.Barrier(8), threading.Lock(), []

def work():
    left.append(bytearray(600))
    together.wait()
    with turn:
        taken = [bytearray(600) for _ in range(40_000)]
        left.append(taken[-1])
        del taken
    together.wait()

before = resident()
workers = [threading.Thread(target=work) for _ in range(8)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(resident() - before)
"""


def held(how: str) -> int:
    """MB that a process holds after eight threads took 25 MB in turn, and gave all but a bit back."""
    ran = subprocess.run(
        [sys.executable, "-c", TURNS, how], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    return int(ran.stdout)


def test_what_one_thread_has_given_back_another_takes() -> None:
    assert held("shared") < held("apart") / 2
