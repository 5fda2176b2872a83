"""`python -m tests.soak`: one daemon for an hour, in which its clock goes a week; then many stops. And the figures."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.soak.soak import run

FLAT = 0.05
"""The growth of memory and descriptors that is still called none."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--credentials", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=3600, help="of one process (default: 3600)")
    parser.add_argument("--speed", type=float, default=168, help="of its clock (default: 168, a week in an hour)")
    parser.add_argument("--stops", type=int, default=60, help="SIGTERM at any moment, afterwards")
    parser.add_argument("--seed", type=int, default=1, help="chooses those moments")
    parser.add_argument("--folder", type=Path, help="where logs and configuration are left (default: nowhere)")
    asked = vars(parser.parse_args())
    folder: Path | None = asked.pop("folder")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended as well
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        figures = run(folder or Path(temporary), **asked, tell=partial(print, flush=True))
    print("\n".join(figures.lines()))  # noqa: T201
    grown = max(figures.growth(lambda s: s.memory), figures.growth(lambda s: s.descriptors))
    return 1 if figures.violations or figures.dead or grown > FLAT else 0


if __name__ == "__main__":
    sys.exit(main())
