"""`python -m tests.soak.hurried BEGAN SPEED TICKS …`: `rotator daemon …` whose clocks go SPEED times as fast.

From the moment BEGAN (seconds since 1970), so that a daemon started later agrees with the one before. Everything else
is real: the process, its threads, the scheduler, signals, sockets and files. A line `begin end` for each tick goes to
the file TICKS.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rotator import wiring
from rotator.cli import rotator
from rotator.daemon import Daemon
from rotator.engine.work import Surroundings
from rotator.store.database import Database


@contextmanager
def clocks(began: float, speed: float) -> Iterator[None]:
    """The clocks of engine and store go so fast in this process while the block lasts."""
    surroundings = wiring.surroundings

    def now() -> datetime:
        return datetime.fromtimestamp(began + (time.time() - began) * speed, UTC)

    def hurried(**given: Any) -> Surroundings:
        around = surroundings(**given)
        return replace(
            around,
            monotonic=lambda: time.monotonic() * speed,
            host_time=now,
            pause=lambda seconds: around.pause(seconds / speed),
        )

    with patch.object(wiring, "surroundings", hurried), patch.object(Database, "time", lambda _: now()):
        yield


@contextmanager
def ticks_noted(file: Path) -> Iterator[None]:
    """When each tick of a daemon in this process began and ended, in seconds of the machine's monotonic clock."""
    tick = Daemon._tick

    def noted(daemon: Daemon) -> None:
        begin = time.monotonic()
        tick(daemon)
        with file.open("a") as ticks:
            ticks.write(f"{begin} {time.monotonic()}\n")

    with patch.object(Daemon, "_tick", noted):
        yield


if __name__ == "__main__":
    began, speed, file, *options = sys.argv[1:]
    sys.argv[:] = ["rotator", "daemon", *options]
    with clocks(float(began), float(speed)), ticks_noted(Path(file)):
        rotator()
