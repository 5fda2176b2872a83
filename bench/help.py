"""`rotate --help` against a bare Python with a bare click command: what our own imports cost a user who only asks."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from bench.measure import Goal, Goals, Results, parser

WHAT = "time of `--help`"
GOALS: Goals = {WHAT: Goal(at_most=1.5)}
TINY = ("--rounds", "1")

BARE = """
import click

@click.command()
@click.option("--now", is_flag=True, help="Now.")
def rotate(now):
    "Rotate."

rotate()
"""
OURS = "from rotator.cli import rotate; rotate()"


def seconds(program: str) -> float:
    """How long one process takes from start to end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program, "--help"], check=True, stdout=subprocess.DEVNULL, env=os.environ)
    return time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if the goal is missed."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=25)
    asked = options.parse_args(arguments)
    results = Results("help", GOALS, asked.results)
    seconds(BARE), seconds(OURS)  # files are in the cache from here on
    rounds = [(seconds(BARE), seconds(OURS)) for _ in range(asked.rounds)]
    bare, ours = (statistics.median(column) * 1000 for column in zip(*rounds, strict=True))
    detail = f"{ours:.0f} ms against {bare:.0f} ms"
    results.add(WHAT, "`rotate --help`", "a bare click command", [one / other for other, one in rounds], detail)
    return results.end()


if __name__ == "__main__":
    sys.exit(main())
