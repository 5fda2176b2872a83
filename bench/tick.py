"""A tick with nothing due, by the number of credentials: what a daemon costs while there is nothing to do.

From `--least` credentials to `--most` in steps of ten, on both databases.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

from sqlalchemy import insert, text

from bench.measure import Goal, Goals, Results, parser
from rotator import wiring
from rotator.domain.policy import Policy
from rotator.engine.engine import Engine
from rotator.engine.work import Limits, Managed
from rotator.providers.generated import Form, FormOptions, Generated
from rotator.store import schema, tables
from rotator.store.store import SqlStore, open_store
from rotator.testbed.postgres import Postgres

FLAT, QUICK = "time of a tick with nothing due, by size", "time of a tick with nothing due"
GOALS: Goals = {FLAT: Goal(at_most=1.5), QUICK: Goal(at_most=1)}
TINY = ("--least", "10", "--most", "100")

AT_MOST = 5  # ms
ROUNDS = 30
TICK = timedelta(seconds=60)
BATCH = 20_000


def fill(store: SqlStore, names: list[str]) -> None:
    """Credentials that were all looked at just now."""
    now = store.now()
    later = now + timedelta(hours=1)
    for begin in range(0, len(names), BATCH):
        rows = [(str(uuid.uuid4()), name) for name in names[begin : begin + BATCH]]
        with store.database.write() as connection:
            connection.execute(
                insert(tables.credential),
                [{"id": i, "name": n, "provider": "local", "managed": True, "created_at": now} for i, n in rows],
            )
            given = {"holder": "", "epoch": 0, "until": now, "released": True, "idle_until": later, "edition": ""}
            connection.execute(insert(tables.lease), [{"credential_id": i, **given} for i, _ in rows])
    with store.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def ticks(engine: Engine) -> list[float]:
    """Milliseconds of each, and nothing was looked at in any."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        looked_at = engine.run(engine.due(), None, TICK)
        found.append((time.perf_counter() - began) * 1000)
        assert not looked_at
    return found


def measure(url: str, least: int, most: int) -> Iterator[tuple[int, list[float]]]:
    """The ticks of each size; the database grows from one to the next."""
    schema.upgrade(url, "bench", wiring.new_id)
    provider = Generated(Form(), timedelta(seconds=20)).bind(FormOptions())
    managed: dict[str, Managed] = {}
    store = open_store(url, new_id=wiring.new_id)
    size = least
    while size <= most:
        names = [f"key-{number}" for number in range(len(managed), size)]
        fill(store, names)
        one = Managed(name="", provider_name="local", provider=provider, policy=Policy(), targets=[])
        managed |= dict.fromkeys(names, one)
        limits = Limits(watch=timedelta(hours=2))
        engine = Engine(
            store=store, fingerprint=lambda _: "", managed=managed, limits=limits, around=wiring.surroundings()
        )
        yield size, ticks(engine)
        size *= 10
    store.close()


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """The URLs of one of each kind."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        postgres = stack.enter_context(Postgres())
        yield {"SQLite": f"sqlite:///{Path(folder) / 'bench.db'}", "PostgreSQL": postgres.fresh_url()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if a goal is missed."""
    options = parser(__doc__)
    options.add_argument("--least", type=int, default=1000)
    options.add_argument("--most", type=int, default=100_000, help="1000000 takes some minutes")
    asked = options.parse_args(arguments)
    results = Results("tick", GOALS, asked.results)
    with databases() as urls:
        for kind, url in urls.items():
            first = 0.0
            for size, found in measure(url, asked.least, asked.most):
                median = statistics.median(found)
                case, detail = f"{kind}, {size:,} credentials", f"{median:.2f} ms"
                results.add(QUICK, case, f"{AT_MOST} ms", [one / AT_MOST for one in found], detail)
                if first:
                    results.add(FLAT, case, f"{asked.least:,} credentials", [one / first for one in found], detail)
                first = first or median
    return results.end()


if __name__ == "__main__":
    sys.exit(main())
