"""Records, each with an event, from many threads of one process at once: one chain is the end of all of them.

On SQLite those that meet share a commit; beside it stands what each with a commit of its own would do, which wait for
each other by SQLite's own lock. On PostgreSQL the head of the trail is locked until the commit.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from bench import fleet
from bench.measure import Goals, Results, parser
from rotator import wiring
from rotator.config import load
from rotator.domain.model import Lease
from rotator.ports.store import Held, NewEvent
from rotator.store.holder import this_process
from rotator.store.store import SqlStore
from rotator.testbed.postgres import Postgres

PACE, WAIT = "transactions per second", "longest wait for a transaction"
ONE, APART, OWN = "one thread", "a commit for each", "a commit for each, the longest wait"

GOALS: Goals = {PACE: None, WAIT: None}
TINY = ("--events", "8", "--threads", "1", "2", "--rounds", "1")


LEASED = timedelta(hours=1)


def written(store: SqlStore, threads: int, events: int) -> tuple[float, float]:
    """How many records a second, each of an event, and how long the slowest took, in seconds."""
    leases = [store.claim(credential.id, this_process("bench"), LEASED) for credential in store.credentials()[:threads]]

    assert len(leases) == threads

    def some(lease: Lease | Held) -> float:
        assert isinstance(lease, Lease)
        event = NewEvent(event="push.succeeded", actor="bench", credential="key-0", detail={"message": "read back"})
        longest = 0.0
        for _ in range(events // threads):
            began = time.perf_counter()
            store.record(lease, [], [event])
            longest = max(longest, time.perf_counter() - began)
        store.release(lease)
        return longest

    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        longest = max(pool.map(some, leases))
        return events // threads * threads / (time.perf_counter() - began), longest


def measure(results: Results, name: str, store: SqlStore, asked: Sequence[int], events: int, rounds: int) -> None:
    """With so many threads, against one; on SQLite also against commits of their own."""
    group = store.database._group  # noqa: SLF001 - what it would be without is no way to open a store
    alone: list[float] = []
    for threads in asked:
        found, apart = [], []
        for _ in range(rounds):
            store.database._group = group  # noqa: SLF001
            found.append(written(store, threads, events))
            store.database._group = None  # noqa: SLF001
            apart.append(written(store, threads, events))
        pace = [pace for pace, _ in found]
        alone = alone or pace
        case = f"{name}, {threads} {'thread' if threads == 1 else 'threads'}"
        pairs = list(zip(found, apart, strict=True))
        middle = statistics.median(pace)
        detail = f"{middle:.0f}/s against {statistics.median(alone):.0f}/s"
        if threads > 1:
            results.add(PACE, case, ONE, [each / one for each, one in zip(pace, alone, strict=True)], detail)
        if group is not None:
            own = statistics.median(pace for pace, _ in apart)
            detail = f"{middle:.0f}/s against {own:.0f}/s"
            results.add(PACE, case, APART, [mine / theirs for (mine, _), (theirs, _) in pairs], detail)
            longest, own = (max(wait for _, wait in waits) * 1000 for waits in (found, apart))
            detail = f"{longest:.0f} ms against {own:.0f} ms"
            results.add(WAIT, case, OWN, [mine / theirs for (_, mine), (_, theirs) in pairs], detail)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure."""
    options = parser(__doc__)
    options.add_argument("--events", type=int, default=1600, help="of a round")
    options.add_argument("--threads", type=int, nargs="*", default=[1, 8, 32])
    options.add_argument("--rounds", type=int, default=3)
    asked = options.parse_args(arguments)
    results = Results("commits", GOALS, asked.results)
    with Postgres() as postgres, tempfile.TemporaryDirectory() as folder:
        for name, url in (("SQLite", fleet.EMBEDDED), ("PostgreSQL", postgres.fresh_url())):
            place = Path(folder) / name
            place.mkdir()
            file = fleet.write(place, {"aws": fleet.names(max(asked.threads))}, {"aws": "http://localhost"}, store=url)
            with wiring.opened(load(file), wiring.surroundings()) as service:
                assert isinstance(service.store, SqlStore)
                measure(results, name, service.store, asked.threads, asked.events, asked.rounds)
    return results.end()


if __name__ == "__main__":
    sys.exit(main())
