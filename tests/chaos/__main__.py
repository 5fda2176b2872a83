"""`python -m tests.chaos`: a long run of chaos on real servers, and its figures."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.chaos import run
from tests.chaos.faults import KINDS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="chooses the faults")
    parser.add_argument("--seconds", type=float, default=1200, help="ends then at the latest (default: 1200)")
    parser.add_argument("--daemons", type=int, default=3)
    parser.add_argument("--takeovers", type=int, default=0, help="ends after so many, and so many rotations")
    parser.add_argument("--rotations", type=int, default=0)
    parser.add_argument("--only", choices=KINDS, action="append", dest="kinds", help="what makes trouble; repeatable")
    parser.add_argument("--folder", type=Path, help="where logs and configuration are left (default: nowhere)")
    asked = vars(parser.parse_args())
    folder: Path | None = asked.pop("folder")
    asked["kinds"] = asked["kinds"] or tuple(KINDS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended as well
    print(f"seed {asked['seed']}", flush=True)  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        figures = run(folder or Path(temporary), **asked)
    print("\n".join(figures.lines()))  # noqa: T201
    return 1 if figures.violations or figures.dead else 0


if __name__ == "__main__":
    sys.exit(main())
