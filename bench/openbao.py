"""PostgreSQL roles that are rotated on demand, through OpenBao's static database roles and by ours, on one server.

OpenBao, in memory as its development server is, makes a password, runs ALTER ROLE with it in clear as its default is,
and keeps it for whoever asks: it tries no login, writes to no place of a consumer and has no chained audit trail. Ours
sends a verifier, writes the password to an env file, logs in before and after, and records each step in a durable store
with a chained trail: another database of the same PostgreSQL, whose work counts. The floor is ALTER ROLE alone.
"""

from __future__ import annotations

import secrets
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from psycopg import sql

from bench import fleet
from bench.measure import Goals, Results, cost, parser, spread, used
from bench.roles import Peer, Roles, installed
from bench.scripts import ours
from rotator import wiring
from rotator.config import load
from rotator.testbed.openbao import OpenBao
from rotator.testbed.postgres import Postgres
from rotator.testbed.process import Server

RATE, CPU = "rotations per second", "processor time of one rotation"
ONE, TWO, PEER = "ours, one role", "ours, two roles in turn", "OpenBao"
CLEAR, HASHED = "ALTER ROLE alone", "ALTER ROLE alone, with a verifier"

GOALS: Goals = {RATE: None, CPU: None}
TINY = ("--rounds", "1", "--roles", "2", "--workers", "2")

WARM = 8
"""Rotations before anything is measured: connections are opened, and every side has a first password."""

FLOOR_UP_TO = 8
"""Connections: more of them than cores tell nothing new."""

Rotate = Callable[[Sequence[str]], object]


@dataclass(frozen=True)
class Spent:
    """What one rotation took, of many: seconds of the clock, and of the processor on each side."""

    wall: float
    cpu: Mapping[str, float]

    @property
    def all_cpu(self) -> float:
        """Of all sides."""
        return sum(self.cpu.values())


@contextmanager
def altering(roles: Roles, connections: int, *, hashes: bool) -> Iterator[Rotate]:
    """Nothing but the statement, on so many connections."""
    with ExitStack() as stack, ThreadPoolExecutor(connections) as pool:
        opened = [stack.enter_context(roles.connect()) for _ in range(connections)]

        def some(number: int, names: Sequence[str]) -> None:
            connection = opened[number]
            for name in names[number::connections]:
                password = secrets.token_urlsafe(32)
                if hashes:
                    sent = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
                    password = sent.decode()
                statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(password))
                connection.execute(statement)

        yield lambda names: list(pool.map(partial(some, names=names), range(connections)))


@contextmanager
def asking(peer: Peer, clients: int) -> Iterator[Rotate]:
    """So many who ask OpenBao at once."""
    with ThreadPoolExecutor(clients) as pool:
        yield lambda names: list(pool.map(peer.rotate, names))


@dataclass(frozen=True)
class Side:
    """One of those that are compared."""

    rotate: Rotate
    names: Sequence[str]
    servers: Sequence[Server]


class Stage:
    """Both servers, and for everybody roles of their own. `below`: a folder for our installations."""

    def __init__(self, postgres: Postgres, openbao: OpenBao, below: Path, count: int, *, hashes: bool) -> None:
        self._postgres, self._openbao, self._below = postgres, openbao, below
        self._roles = Roles(postgres)
        self._bare, self._kept = ([f"{kind}-{name}" for name in fleet.names(count)] for kind in ("bare", "kept"))
        self._ours = {
            ONE: {name: [f"one-{name}"] for name in fleet.names(count)},
            TWO: {name: [f"two-{name}-a", f"two-{name}-b"] for name in fleet.names(count)},
        }
        mine = [role for credentials in self._ours.values() for named in credentials.values() for role in named]
        self._roles.make([*self._bare, *self._kept], mine)
        self._peer = Peer(openbao, self._roles, hashes=hashes)
        for name in self._kept:
            self._peer.manage(name, "24h")
        self._stores = {kind: postgres.fresh_url() for kind in self._ours}

    def measure(self, workers: int, rounds: int) -> dict[str, list[Spent]]:
        """What each of them spent, in rounds, one after the other in each."""
        with ExitStack() as stack:
            sides = dict(self._sides(stack, workers))
            for side in sides.values():
                side.rotate(side.names[:WARM])
            found: dict[str, list[Spent]] = {kind: [] for kind in sides}
            for _ in range(rounds):
                for kind, side in sides.items():
                    found[kind].append(spent(side))
            return found

    def _sides(self, stack: ExitStack, workers: int) -> Iterator[tuple[str, Side]]:
        if workers <= FLOOR_UP_TO:
            for kind, hashes in ((CLEAR, False), (HASHED, True)):
                altered = stack.enter_context(altering(self._roles, workers, hashes=hashes))
                yield kind, Side(altered, self._bare, [self._postgres])
        asked = stack.enter_context(asking(self._peer, workers))
        yield PEER, Side(asked, self._kept, [self._openbao, self._postgres])
        for kind, credentials in self._ours.items():
            folder = self._below / kind
            folder.mkdir(exist_ok=True)
            file = installed(folder, self._roles, credentials, store=self._stores[kind], workers=workers)
            service = stack.enter_context(wiring.opened(load(file), wiring.surroundings()))
            yield kind, Side(partial(ours, service.running()), list(credentials), [self._postgres])


def spent(side: Side) -> Spent:
    """Rotate them all, once."""
    before = [used(server.processes()) for server in side.servers]
    client = cost(lambda: side.rotate(side.names))
    after = [used(server.processes()) for server in side.servers]
    cpu = {"client": client.cpu}
    for server, earlier, later in zip(side.servers, before, after, strict=True):
        cpu[type(server).__name__] = later - earlier
    count = len(side.names)
    return Spent(client.wall / count, {of: seconds / count for of, seconds in cpu.items()})


def compare(results: Results, workers: int, found: Mapping[str, Sequence[Spent]], one: str, other: str) -> None:
    """Both rows of two that were measured in turn."""
    sides = found[one], found[other]
    case, against = f"{one}, {workers} at once", f"{other}, {workers} at once"
    pairs = list(zip(*sides, strict=True))
    detail = " against ".join(spread([1 / each.wall for each in side], "/s") for side in sides)
    results.add(RATE, case, against, [theirs.wall / mine.wall for mine, theirs in pairs], detail)
    detail = " against ".join(f"{_ms(each.all_cpu for each in side)} ({_shares(side)})" for side in sides)
    results.add(CPU, case, against, [mine.all_cpu / theirs.all_cpu for mine, theirs in pairs], detail)


def _shares(side: Sequence[Spent]) -> str:
    return ", ".join(f"{of} {_ms(each.cpu[of] for each in side)}" for of in side[0].cpu)


def _ms(seconds: Iterable[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.1f} ms"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if a goal is missed."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--roles", type=int, default=64, help="that everybody rotates in each round")
    options.add_argument("--workers", type=int, nargs="*", default=[1, 8, 32, 64], help="of ours, clients of OpenBao")
    options.add_argument("--hashes", action="store_true", help="OpenBao sends verifiers, too")
    asked = options.parse_args(arguments)
    results = Results("openbao", GOALS, asked.results)
    with Postgres() as postgres, OpenBao() as openbao, tempfile.TemporaryDirectory() as below:
        stage = Stage(postgres, openbao, Path(below), asked.roles, hashes=asked.hashes)
        for workers in asked.workers:
            found = stage.measure(workers, asked.rounds)
            if CLEAR in found:
                compare(results, workers, found, PEER, CLEAR)
                compare(results, workers, found, ONE, HASHED)
            compare(results, workers, found, ONE, PEER)
            compare(results, workers, found, TWO, PEER)
    return results.end()


if __name__ == "__main__":
    sys.exit(main())
