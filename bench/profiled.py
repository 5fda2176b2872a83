"""Where our side's processor time goes while it rotates PostgreSQL roles: a profile of all its threads, as a text."""

from __future__ import annotations

import cProfile
import functools
import pstats
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any

from bench import fleet
from bench.measure import parser
from bench.roles import Roles, installed
from bench.scripts import ours
from rotator import wiring
from rotator.config import load
from rotator.testbed.postgres import Postgres

FILE = "postgres-profile.txt"
LINES = 40

_ROOTS = (sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"), str(Path(__file__).parents[1]))


@contextmanager
def profiling() -> Iterator[list[cProfile.Profile]]:
    """Of this thread and of all that begin in the block, by the processor time of each."""
    found: list[cProfile.Profile] = []

    def begin(*_: object) -> None:
        found.append(cProfile.Profile(time.thread_time))
        found[-1].enable()

    threading.setprofile(begin)
    begin()
    try:
        yield found
    finally:
        threading.setprofile(None)
        found[0].disable()


def table(profiles: Sequence[cProfile.Profile], rotations: int) -> str:
    """The functions that took most, by themselves and with all that they called, for each rotation."""
    stats: Any = pstats.Stats(profiles[0])
    for profile in profiles[1:]:
        stats.add(profile)
    rows = [(own, total, calls, _named(*function)) for function, (_, calls, own, total, _) in stats.stats.items()]
    each = sum(own for own, *_ in rows) / rotations * 1000
    parts = [f"{rotations} rotations, {each:.1f} ms of processor time each, the profiler's own included"]
    for title, most in (("by themselves", itemgetter(0)), ("with what they called", itemgetter(1))):
        parts += ["", title, "", "      ms   with calls     calls  function"]
        for own, total, calls, name in sorted(rows, key=most, reverse=True)[:LINES]:
            parts.append(
                f"{own / rotations * 1000:8.3f}   {total / rotations * 1000:10.3f}  {calls / rotations:8.1f}  {name}"
            )
    return "\n".join(parts) + "\n"


def _named(file: str, line: int, function: str) -> str:
    for root in _ROOTS:
        file = file.removeprefix(f"{root}/")
    return function if file == "~" else f"{file}:{line} {function}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Rotate and write the text."""
    options = parser(__doc__)
    options.add_argument("--roles", type=int, default=64)
    options.add_argument("--workers", type=int, default=8)
    options.add_argument("--two", action="store_true", help="two roles in turn for each")
    asked = options.parse_args(arguments)
    names = fleet.names(asked.roles)
    of = {name: [f"{name}-a", f"{name}-b"][: 2 if asked.two else 1] for name in names}
    with Postgres() as postgres, tempfile.TemporaryDirectory() as folder:
        roles = Roles(postgres)
        roles.make([], [role for named in of.values() for role in named])
        file = installed(Path(folder), roles, of, store=postgres.fresh_url(), workers=asked.workers)
        with wiring.opened(load(file), wiring.surroundings()) as service:
            rotate = functools.partial(ours, service.running(), names)
            rotate()
            with profiling() as profiles:
                rotate()
    (asked.results / FILE).write_text(table(profiles, len(names)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
