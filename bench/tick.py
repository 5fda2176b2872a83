"""A tick with nothing due, by the number of credentials: what a daemon costs while there is nothing to do.

`python bench/tick.py [MOST]`: from 1,000 credentials to MOST (default 100,000) in steps of ten.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

from sqlalchemy import insert, text

from rotator import wiring
from rotator.domain.policy import Policy
from rotator.engine.engine import Engine
from rotator.engine.work import Limits, Managed
from rotator.providers.generated import Form, FormOptions, Generated
from rotator.store import schema, tables
from rotator.store.store import SqlStore, open_store
from rotator.testbed.postgres import Postgres

ROUNDS = 30
TICK = timedelta(seconds=60)
BATCH = 20_000


def fill(store: SqlStore, names: list[str]) -> None:
    """Credentials that were all looked at just now."""
    now = store.now()
    later = now + timedelta(hours=1)
    for begin in range(0, len(names), BATCH):
        rows = [(str(uuid.uuid4()), name) for name in names[begin : begin + BATCH]]
        with store.database.engine.begin() as connection:
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


def measure(url: str, most: int) -> Iterator[tuple[int, list[float]]]:
    """The ticks of each size; the database grows from one to the next."""
    schema.upgrade(url, "bench", wiring.new_id)
    provider = Generated(Form(), timedelta(seconds=20)).bind(FormOptions())
    managed: dict[str, Managed] = {}
    store = open_store(url, new_id=wiring.new_id)
    size = 1000
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


def main() -> None:
    """Print medians, and the ratio to the smallest."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with databases() as urls:
        for kind, url in urls.items():
            first = 0.0
            for size, found in measure(url, most):
                median = statistics.median(found)
                first = first or median
                print(f"{kind}: {size} credentials, a tick {median:.2f} ms, {median / first:.2f} of the first")


if __name__ == "__main__":
    main()
