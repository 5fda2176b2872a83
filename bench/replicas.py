"""One, two and four engine processes on one PostgreSQL, given the same list of credentials that are all due.

The services are slow and the workers few, so that the cores are not what is measured: whoever waits for another
replica does so for a lease, a lock or a head of the trail.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bench import fleet
from bench.measure import Goal, Goals, Results, parser
from bench.stubs import Stub
from rotator import wiring
from rotator.config import load
from rotator.testbed.postgres import Postgres

THROUGHPUT, FAIRNESS = "throughput of replicas, of linear", "share of the replica that did least"
ONE, EVEN = "one process, times their number", "an even share"

GOALS: Goals = {THROUGHPUT: Goal(at_least=0.8), FAIRNESS: Goal(at_least=0.8)}
TINY = ("--credentials", "4", "--workers", "1", "--latency", "0.002", "--rounds", "1", "--replicas", "2")

WORKER = """
import sys
from datetime import timedelta
from pathlib import Path
from rotator import wiring
from rotator.config import load

around = wiring.surroundings()
with wiring.opened(load(Path(sys.argv[1])), around) as service:
    engine = service.running()
    print(flush=True)
    sys.stdin.readline()
    engine.run(engine.due(), None, timedelta(minutes=10))
"""
"""A pass, as the daemon makes it: ready first, and then all of them at once."""


@dataclass(frozen=True)
class Run:
    """What became of one list."""

    per_second: float
    by_replica: list[int]


def run(folder: Path, stub: Stub, url: str, names: Sequence[str], replicas: int, workers: int) -> Run:
    """Rotate them all with so many processes."""
    file = fleet.write(folder, {"aws": names}, {"aws": stub.url}, store=url, workers=workers)
    with wiring.opened(load(file), wiring.surroundings()):
        pass  # the credentials are on record before anybody is timed
    processes = [_start(file, number) for number in range(replicas)]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        assert not any(process.wait(600) for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    with wiring.opened(load(file), wiring.surroundings(), unlock=False) as service:
        events = [json.loads(event.body) for event in service.store.events()]
    done = Counter(event["actor"] for event in events if event["event"] == "rotation.succeeded")
    assert done.total() == len(names), done
    times = [datetime.fromisoformat(event["at"]) for event in events if event["event"].startswith("rotation.")]
    return Run(len(names) / ((max(times) - min(times)) / timedelta(seconds=1)), [done[str(n)] for n in range(replicas)])


def _start(file: Path, number: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"ROTATOR_ACTOR": str(number)},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if a goal is missed."""
    options = parser(__doc__)
    options.add_argument("--credentials", type=int, default=48)
    options.add_argument("--workers", type=int, default=4, help="of each process")
    options.add_argument("--latency", type=float, default=0.1, help="of a call to a service, in seconds")
    options.add_argument("--replicas", type=int, nargs="*", default=[2, 4], help="besides one")
    options.add_argument("--rounds", type=int, default=3)
    asked = options.parse_args(arguments)
    results, names = Results("replicas", GOALS, asked.results), fleet.names(asked.credentials)
    found: dict[int, list[Run]] = {number: [] for number in (1, *asked.replicas)}
    with Postgres() as postgres:
        for _ in range(asked.rounds):
            for number, runs in found.items():
                with tempfile.TemporaryDirectory() as folder, Stub(asked.latency) as stub:
                    runs.append(run(Path(folder), stub, postgres.fresh_url(), names, number, asked.workers))
    case = f"{asked.credentials} credentials, {asked.workers} workers each, {asked.latency * 1000:g} ms a call"
    for number in asked.replicas:
        ratios = [k.per_second / number / one.per_second for k, one in zip(found[number], found[1], strict=True)]
        several, one = (statistics.median(r.per_second for r in found[n]) for n in (number, 1))
        detail = f"{several:.2f} rotations/s against {one:.2f} of one"
        results.add(THROUGHPUT, f"{number} replicas, {case}", ONE, ratios, detail)
        shares = [min(r.by_replica) * number / len(names) for r in found[number]]
        detail = "; ".join(" + ".join(map(str, r.by_replica)) for r in found[number])
        results.add(FAIRNESS, f"{number} replicas", EVEN, shares, detail)
    return results.end()


if __name__ == "__main__":
    sys.exit(main())
