"""PostgreSQL roles that are rotated by themselves every few seconds: by OpenBao, and by our daemon with its own proofs.

A role is on time if, all the while that it is watched, each password came at most one period after it was due (and one
second, as both look at their clocks in seconds); it is due one period after the one before. Both are watched in the
server's own catalogue. OpenBao takes no period below 5 s, and looks every 5 s for what is due; ours looks every second,
and takes so short a period for a single role only: two in turn need more than an hour. OpenBao keeps all in
memory, tries no login and writes to no place of a consumer; ours does both, and its trail is durable.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from bench.measure import Goals, Results, parser, used
from bench.memory import daemon
from bench.roles import POLICY, Peer, Roles, installed
from bench.scripts import ours
from rotator import wiring
from rotator.config import load
from rotator.testbed.openbao import OpenBao
from rotator.testbed.postgres import Postgres

ON_TIME, DONE = "roles that are on time", "rotations that were done"
OURS, PEER = "our daemon", "OpenBao"
LOOK_EVERY = 0.1  # seconds
SLACK = 1.0  # seconds

Keeper = Callable[[Roles, Sequence[str], str], AbstractContextManager[Sequence[int]]]

GOALS: Goals = {ON_TIME: None, DONE: None}
TINY = ("--roles", "2", "--periods", "0.5", "--settles", "0")


@dataclass(frozen=True)
class Watched:
    """When the roles were given passwords, in seconds since the watch began, and for how long it went on."""

    given: Sequence[Sequence[float]]
    lasted: float
    period: float
    cpu: float  # seconds, of all sides

    @property
    def on_time(self) -> float:
        """The share of roles whose every password came in time."""
        most = 2 * self.period + SLACK
        waits = [pairwise([0, *times, self.lasted]) for times in self.given]
        return statistics.mean(all(later - earlier <= most for earlier, later in of) for of in waits)

    @property
    def rotations(self) -> int:
        """Of all roles."""
        return sum(map(len, self.given))

    def __str__(self) -> str:
        between = [later - earlier for times in self.given for earlier, later in pairwise(times)]
        usual = f"every {statistics.median(between):.1f} s, {max(between):.1f} s at most" if between else "none twice"
        cores = self.cpu / self.lasted
        return f"{self.rotations / self.lasted:.1f} rotations/s, {usual}; {cores:.2f} cores busy"


def watch(roles: Roles, pids: Sequence[int], names: Sequence[str], period: float, seconds: float) -> Watched:
    """Look at the catalogue again and again: a role with a new password has a new row."""
    given: dict[str, list[float]] = {name: [] for name in names}
    question = "SELECT rolname, xmin::text FROM pg_authid WHERE rolname = ANY(%s)"
    with roles.connect(superuser=True) as connection:
        rows = dict(connection.execute(question, [list(names)]).fetchall())
        began, before = time.monotonic(), used([*pids, *roles.server.processes()])
        while (now := time.monotonic() - began) < seconds:
            for name, row in connection.execute(question, [list(names)]).fetchall():
                if rows[name] != row:
                    rows[name] = row
                    given[name].append(now)
            time.sleep(LOOK_EVERY)
        return Watched(list(given.values()), now, period, used([*pids, *roles.server.processes()]) - before)


@contextmanager
def kept_by_openbao(roles: Roles, names: Sequence[str], every: str) -> Iterator[Sequence[int]]:
    """These roles are its own while the block lasts; yields its processes."""
    with OpenBao() as openbao:
        peer = Peer(openbao, roles)
        for name in names:
            peer.manage(name, every)
        yield openbao.processes()


@contextmanager
def kept_by_us(roles: Roles, names: Sequence[str], every: str, workers: int) -> Iterator[Sequence[int]]:
    """A daemon keeps them while the block lasts; each has its first password before."""
    with tempfile.TemporaryDirectory() as folder:
        file = installed(
            Path(folder),
            roles,
            {name: [name] for name in names},
            store=roles.server.fresh_url(),
            workers=workers,
            policy={**POLICY, "rotate_every": every},
        )
        with wiring.opened(load(file), wiring.surroundings()) as service:
            ours(service.running(), names)
        with daemon(file) as (process, _):
            yield [process.pid]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if a goal is missed."""
    options = parser(__doc__)
    options.add_argument("--roles", type=int, nargs="*", default=[10, 50, 200, 400])
    options.add_argument("--period", type=int, default=5, help="seconds; OpenBao takes no less")
    options.add_argument("--periods", type=float, default=6, help="for how many each is watched")
    options.add_argument("--settles", type=float, default=2, help="periods before that")
    options.add_argument("--workers", type=int, default=8, help="of ours")
    asked = options.parse_args(arguments)
    results, every = Results("schedule", GOALS, asked.results), f"{asked.period}s"
    keepers: dict[str, Keeper] = {PEER: kept_by_openbao, OURS: partial(kept_by_us, workers=asked.workers)}
    for count in asked.roles:
        names = [f"role-{number}" for number in range(count)]
        for who, kept in keepers.items():
            with Postgres() as postgres:
                roles = Roles(postgres)
                roles.make(*((names, []) if who == PEER else ([], names)))
                with kept(roles, names, every) as pids:
                    time.sleep(asked.settles * asked.period)
                    found = watch(roles, pids, names, asked.period, asked.periods * asked.period)
            case, asked_for = f"{who}, {count} roles every {every}", count * found.lasted / asked.period
            results.add(ON_TIME, case, "all of them", [found.on_time], str(found))
            detail = f"{found.rotations} of {asked_for:.0f}"
            results.add(DONE, case, "one in each period", [found.rotations / asked_for], detail)
    return results.end()


if __name__ == "__main__":
    sys.exit(main())
