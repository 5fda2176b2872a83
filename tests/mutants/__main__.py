"""`make mutants`: take each guard out, and print who noticed. Exit status 1 where one survives."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.mutants.killers import Verdict
from tests.mutants.table import MUTANTS

HEADS = ("guard", "killed by", "after", "seconds")


def main() -> int:
    """Run those that are named, or all."""
    options = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    options.add_argument("names", nargs="*", metavar="GUARD", help="one of: " + ", ".join(MUTANTS))
    names = options.parse_args().names or list(MUTANTS)
    began, survived = time.monotonic(), 0
    _say(HEADS)
    _say(["---"] * len(HEADS))
    for name in names:
        verdict = MUTANTS[name].killer.kill(name, MUTANTS[name].take_out)
        survived += verdict.problem is not None
        _say((name, *_told(verdict)))
        if verdict.problem is not None:
            sys.stderr.write(f"{name}: {verdict.problem}\n")
    sys.stdout.write(f"\n{len(names)} mutants, {survived} survived; {time.monotonic() - began:.0f} s\n")
    return 1 if survived else 0


def _told(verdict: Verdict) -> Sequence[str]:
    by = f"NOBODY, not even {verdict.by}" if verdict.problem else verdict.by
    return by, verdict.after, f"{verdict.seconds:.1f}"


def _say(cells: Sequence[str]) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
