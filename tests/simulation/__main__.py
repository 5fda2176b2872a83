"""`make simulate SEED=… ROTATIONS=… STORE=memory|sql PROFILE=… KEEP=…`: a run of any length, with its figures.

It is played in parts on all cores: the part number n of a run begins with the seed SEED + 1000 n. With KEEP, a folder,
what has come of each part is kept there, and a run that was interrupted goes on, with the same code only.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import pickle
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

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
    parser.add_argument("--keep", type=Path, help="a folder: what was played is kept there, and not played again")
    given = parser.parse_args()
    report, last, wrong = Report(), time.monotonic(), 0
    parts = [min(PART, given.rotations - done) for done in range(0, given.rotations, PART)]
    kept = Kept(given.keep, f"{_code()} {given.seed} {given.store} {given.profile}") if given.keep else None
    if kept is not None and not kept.ours:
        print(f"{given.keep} is of another run, or of other code: name another folder", file=sys.stderr)
        return 2
    with ProcessPoolExecutor(given.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = {}
        for number, rotations in enumerate(parts):
            before = kept.part(number, rotations) if kept is not None else None
            if before is not None:
                report.add(before)
                continue
            seed = given.seed + number * PART
            running[pool.submit(simulate, seed, rotations, given.store, given.profile)] = (number, rotations)
        for part in as_completed(running):
            try:
                report.add(part.result())
                if kept is not None:
                    kept.add(*running[part], part.result())
            except FoundError as found:
                wrong += 1
                print(found, flush=True)
            if time.monotonic() - last >= EVERY:
                last = time.monotonic()
                print(_line(report, wrong), file=sys.stderr, flush=True)
    print(report.coverage.table())
    print(_line(report, wrong))
    return 1 if wrong else 0


class Kept:
    """What has come of the parts of one run, a file for each. A part that found something is played again."""

    def __init__(self, folder: Path, run: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        file = folder / "run"
        if not file.exists():
            file.write_text(run)
        self.ours = file.read_text() == run

    def part(self, number: int, rotations: int) -> Report | None:
        """What came of one, if it was played."""
        file = self._file(number, rotations)
        if not file.exists():
            return None
        report = pickle.loads(file.read_bytes())
        assert isinstance(report, Report)
        return report

    def add(self, number: int, rotations: int, report: Report) -> None:
        """Keep one."""
        new = self._file(number, rotations).with_suffix(".new")
        new.write_bytes(pickle.dumps(report))
        new.rename(self._file(number, rotations))

    def _file(self, number: int, rotations: int) -> Path:
        return self.folder / f"{number}-{rotations}.part"


def _code() -> str:
    """A hash of the engine and of the simulator: other code would play another run."""
    root = Path(__file__).parents[2]
    files = sorted(f for folder in ("rotator", "tests/simulation") for f in (root / folder).rglob("*.py"))
    return hashlib.sha256(b"\0".join(f.read_bytes() for f in files)).hexdigest()


def _line(report: Report, wrong: int) -> str:
    return f"{report.line()}, {wrong} violations"


if __name__ == "__main__":
    sys.exit(main())
