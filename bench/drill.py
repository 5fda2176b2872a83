"""The leak drill: every key has leaked, and `rotate --compromised --all` replaces them at the provider's limit.

Half-way it is interrupted by Ctrl-C, and the same command is given again, as a person would. 10,000 credentials take
an hour and a half; try 200.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from bench import fleet
from bench.measure import Goal, Goals, Results, cpu, parser
from bench.stubs import Stub
from rotator import wiring
from rotator.config import load

REACHED, KEPT = "calls per second to the provider", "the provider's limit is kept"
MADE, TIME = "keys that were made", "time of the whole drill"
LIMIT, EACH, FEWEST = "the limit", "one for each credential", "five provider calls each at the limit"

TOLD, TRUE = "time left, as it is told", "what it took from there"

GOALS: Goals = {
    REACHED: Goal(at_least=0.9),
    KEPT: Goal(at_most=1.05),
    MADE: Goal(at_most=1),
    TIME: None,
    TOLD: None,
}
TINY = ("--credentials", "4", "--latency", "0.001", "--limit", "200")

_STEPS_OF_A_SCRIPT = 5  # create, prove twice, disable, delete
_LOOK_EVERY = 0.1  # seconds
_LEFT = re.compile(r"the rest takes (\d+)([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True)
class Leg:
    """One command from start to end."""

    seconds: float
    cpu: float
    calls: Counter[str]
    times: Sequence[float]  # of the provider's calls
    said: str
    told: Sequence[float]  # the time left as it was told, against what it took from there

    @property
    def per_second(self) -> float:
        """The provider's calls, from the first to the last."""
        return (len(self.times) - 1) / max(self.times[-1] - self.times[0], 1e-9)


def leg(file: Path, stub: Stub, since: datetime, stop_after: int | None = None) -> Leg:
    """Rotate all keys of before `since` as compromised; SIGINT once so many have been made."""
    options = ("--compromised", "--all", "--yes", "--timeout", "7d", "--made-before", since.isoformat())
    command = [sys.executable, "-m", "rotator", "rotate", *options, "--config", str(file)]
    calls: Counter[str] = Counter()
    times: list[float] = []
    began, used = time.monotonic(), 0.0
    estimates: list[tuple[float, float]] = []  # when, and of how many seconds
    with tempfile.NamedTemporaryFile("w+") as said, Path(said.name).open(encoding="utf-8") as reading:
        process = subprocess.Popen(command, stdout=said, stderr=said, stdin=subprocess.DEVNULL)
        try:
            while process.poll() is None:
                time.sleep(_LOOK_EVERY)
                more, later = stub.calls()
                calls, times = calls + more, times + later
                if found := _LEFT.findall(reading.read()):
                    count, unit = found[-1]
                    estimates.append((time.monotonic(), int(count) * _UNITS[unit]))
                if process.poll() is None:
                    used = cpu(process.pid)
                if stop_after is not None and calls["CreateAccessKey"] >= stop_after:
                    process.send_signal(signal.SIGINT)
                    stop_after = None
        finally:
            process.kill()
            process.wait()
        more, later = stub.calls()
        end = time.monotonic()
        reading.seek(0)
        told = [seconds / max(end - at, 1) for at, seconds in estimates]
        return Leg(end - began, used, calls + more, times + later, reading.read(), told)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if a goal is missed."""
    options = parser(__doc__)
    options.add_argument("--credentials", type=int, default=10_000)
    options.add_argument("--latency", type=float, default=0.05, help="of a call to a service, in seconds")
    options.add_argument("--limit", type=float, default=50, help="calls to the provider in a second")
    options.add_argument("--workers", type=int, default=16)
    asked = options.parse_args(arguments)
    results, names = Results("drill", GOALS, asked.results), fleet.names(asked.credentials)
    with Stub() as stub, tempfile.TemporaryDirectory() as folder:
        write = partial(fleet.write, Path(folder), {"aws": names}, {"aws": stub.url}, workers=asked.workers)
        file = write()
        with wiring.opened(load(file), wiring.surroundings()) as service:
            service.running().run(names, None, timedelta(days=1))
        write(per_second=asked.limit)
        stub.calls()
        stub.answer_after(asked.latency)
        since = datetime.now(UTC)
        legs = [leg(file, stub, since, len(names) // 2), leg(file, stub, since)]
        with wiring.opened(load(file), wiring.surroundings()) as service:
            service.running().run(names, None, timedelta(minutes=1))  # `rotate` goes on with what was parked
            events = [json.loads(event.body)["event"] for event in service.store.events()]
    assert events.count("retirement.succeeded") >= len(names), legs[1].said[-2000:]
    case = f"{len(names):,} credentials, {asked.latency * 1000:g} ms a call, {asked.limit:g} calls/s at most"
    rates = [one.per_second / asked.limit for one in legs]
    detail = " and ".join(f"{one.per_second:.1f}/s" for one in legs) + ", before and after the interruption"
    results.add(REACHED, case, LIMIT, rates, detail)
    results.add(KEPT, case, LIMIT, rates, detail)
    made = [one.calls["CreateAccessKey"] for one in legs]
    results.add(MADE, case, EACH, [sum(made) / len(names)], f"{made[0]} before the interruption, {made[1]} after it")
    seconds = sum(one.seconds for one in legs)
    least = len(names) * _STEPS_OF_A_SCRIPT / asked.limit
    per_key = sum(len(one.times) for one in legs) / sum(made)
    used = sum(one.cpu for one in legs) / sum(made)
    detail = f"{seconds:.0f} s, {per_key:.0f} calls to the provider and {used * 1000:.0f} ms of processor time a key"
    results.add(TIME, case, FEWEST, [seconds / least], detail)
    if legs[1].told:  # the first was interrupted
        results.add(TOLD, case, TRUE, legs[1].told, f"told {len(legs[1].told)} times, after the interruption")
    return results.end()


if __name__ == "__main__":
    sys.exit(main())
