"""The pace of one provider account beside another whose every call takes half a minute.

The slow one's credentials come first and are as many as there are workers, which is the worst case. Times
are scaled down; so are the budget of a call, which the slow ones exceed, and the lease.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from bench import fleet
from bench.measure import Goal, Goals, Results, parser
from bench.stubs import Stub
from rotator import wiring
from rotator.config import load
from rotator.ports.store import StoredEvent

PACE = "pace of the others beside a slow account"
ALONE = "without it"

GOALS: Goals = {PACE: Goal(at_least=0.9)}
TINY = ("--credentials", "2", "--slow", "1", "--scale", "0.02", "--latency", "0.001", "--rounds", "1")


def seconds(quick: Sequence[str], slow: Sequence[str], *, workers: int, latency: float, call: float) -> float:
    """Until all the quick ones have been rotated, in one pass over everything."""
    stop, left, end = threading.Event(), set(quick), time.perf_counter()

    def observe(event: StoredEvent) -> None:
        nonlocal end
        body = json.loads(event.body)
        if body["event"] == "rotation.succeeded":
            left.discard(body["credential"])
            if not left and not stop.is_set():
                end = time.perf_counter()
                stop.set()

    with Stub(latency) as near, Stub(call) as far, tempfile.TemporaryDirectory() as folder:
        accounts = {"far": slow, "near": quick} if slow else {"near": quick}
        budget = max(call * 2 / 3, 0.5)  # as 20 s are to 30 s
        file = fleet.write(
            Path(folder),
            accounts,
            {"far": far.url, "near": near.url},
            workers=workers,
            budget=timedelta(seconds=budget),
        )
        with wiring.opened(load(file), wiring.surroundings(stop=stop, observe=observe)) as service:
            began = time.perf_counter()
            service.running().run([*slow, *quick], None, timedelta(minutes=10))
    assert not left, left
    return end - began


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if a goal is missed."""
    options = parser(__doc__)
    options.add_argument("--credentials", type=int, default=32, help="of the account that is quick")
    options.add_argument("--slow", type=int, default=8, help="credentials of the one that is slow")
    options.add_argument("--scale", type=float, default=0.1, help="of its 30 s a call")
    options.add_argument("--latency", type=float, default=0.05, help="of a call to the quick one, in seconds")
    options.add_argument("--workers", type=int, default=8)
    options.add_argument("--rounds", type=int, default=3)
    asked = options.parse_args(arguments)
    results, call = Results("slow", GOALS, asked.results), 30 * asked.scale
    quick, slow = fleet.names(asked.credentials), [f"slow-{number}" for number in range(asked.slow)]
    seconds(quick[:1], [], workers=1, latency=0, call=call)  # what is read and imported once
    found = []
    for _ in range(asked.rounds):
        alone, beside = (
            seconds(quick, names, workers=asked.workers, latency=asked.latency, call=call) for names in ([], slow)
        )
        found.append((alone, beside))
    case = f"{len(quick)} credentials, {len(slow)} of {call:g} s a call, {asked.workers} workers"
    before, after = map(statistics.median, zip(*found, strict=True))
    detail = f"{len(quick) / after:.2f} rotations/s against {len(quick) / before:.2f}"
    results.add(PACE, case, ALONE, [alone / beside for alone, beside in found], detail)
    return results.end()


if __name__ == "__main__":
    sys.exit(main())
