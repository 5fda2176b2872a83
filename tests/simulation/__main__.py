"""`make simulate SEED=… ROTATIONS=… STORE=memory|sql PROFILE=…`: a run of any length, with its figures."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.faults import PROFILES
from tests.simulation.simulate import FoundError, Report, simulate
from tests.simulation.stores import STORES

EVERY = 10.0
"""Seconds between two lines of progress."""


def main() -> int:
    """Run as the arguments say; 1 where a violation was found."""
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rotations", type=int, default=20_000)
    parser.add_argument("--store", choices=sorted(STORES), default="memory")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="everything")
    given = parser.parse_args()
    last = time.monotonic()

    def told(report: Report) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            print(report.line(), file=sys.stderr, flush=True)

    try:
        report = simulate(given.seed, given.rotations, given.store, given.profile, told=told)
    except FoundError as found:
        print(found)
        return 1
    print(report.coverage.table())
    print(report.line())
    return 0


if __name__ == "__main__":
    sys.exit(main())
