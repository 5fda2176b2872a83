"""`rotate --help` against a bare Python with a bare click command: what our own imports cost a user who only asks."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

AT_MOST = 1.5
ROUNDS = 25

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


def ratio() -> tuple[float, float, float]:
    """Median seconds of both, measured in turn, and the median of the ratios of each round."""
    seconds(BARE), seconds(OURS)  # files are in the cache from here on
    rounds = [(seconds(BARE), seconds(OURS)) for _ in range(ROUNDS)]
    bare, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    return bare, ours, statistics.median(one / other for other, one in rounds)


def main() -> int:
    """Print the three numbers; 1 if the ratio is too high."""
    bare, ours, found = ratio()
    print(f"bare click --help {bare * 1000:.0f} ms, rotate --help {ours * 1000:.0f} ms")
    print(f"ratio {found:.2f}, at most {AT_MOST}")
    return 0 if found <= AT_MOST else 1


if __name__ == "__main__":
    sys.exit(main())
