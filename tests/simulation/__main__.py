"""`make simulate SEED=… ROTATIONS=… STORE=memory|sql PROFILE=…`: a run of any length, with its figures.

It is played in parts on all cores: the part number n of a run begins with the seed SEED + 1000 n.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.simulation.faults import PROFILES
from tests.simulation.simulate import FoundError, Report, simulate
from tests.simulation.stores import STORES

EVERY = 10.0
"""Seconds between two lines of progress."""

PART = 1000
"""Rotations of one part, and seeds that it may use."""


def main() -> int:
    """Run as the arguments say; 1 where a violation was found."""
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rotations", type=int, default=20_000)
    parser.add_argument("--store", choices=sorted(STORES), default="memory")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="everything")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once (default: as cores)")
    given = parser.parse_args()
    report, last, wrong = Report(), time.monotonic(), 0
    parts = [min(PART, given.rotations - done) for done in range(0, given.rotations, PART)]
    with ProcessPoolExecutor(given.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = [
            pool.submit(simulate, given.seed + number * PART, rotations, given.store, given.profile)
            for number, rotations in enumerate(parts)
        ]
        for part in as_completed(running):
            try:
                report.add(part.result())
            except FoundError as found:
                wrong += 1
                print(found, flush=True)
            if time.monotonic() - last >= EVERY:
                last = time.monotonic()
                print(_line(report, wrong), file=sys.stderr, flush=True)
    print(report.coverage.table())
    print(_line(report, wrong))
    return 1 if wrong else 0


def _line(report: Report, wrong: int) -> str:
    return f"{report.line()}, {wrong} violations"


if __name__ == "__main__":
    sys.exit(main())
