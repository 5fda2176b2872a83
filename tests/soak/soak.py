"""A daemon that works for long, and is then stopped over and over: what it takes, and what it leaves."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Self
from urllib.request import urlopen

from rotator.testbed.aws import Aws
from rotator.testbed.openbao import OpenBao
from rotator.testbed.postgres import Postgres
from rotator.testbed.process import HOST, NotReady, free_port, wait_until
from rotator.verifier.trail import verify_store
from tests.crash.worlds import SIBLING, EnvFile, GeneratedValues, IamKeys, Manager, Shelf, Tenant, Vault, configured
from tests.engine.place import Consumer, Place
from tests.soak import hurried

ROOT = Path(__file__).parents[2]
GRACE = 20.0
"""Seconds, by the real clock, that a daemon has after SIGTERM."""

_DAY = 86_400.0
_LATE = 1.0  # seconds that a busy machine may be late
_TICK = 60.0  # seconds of the hurried clock
_SETTLES_WITHIN = 600.0  # seconds; far more than retirement needs at any speed in use
_DAILY = {"rotate_every": "1d", "grace": "2h", "soak": "1h", "settle": "0s", "require_idle": "0s", "min_interval": "0s"}


@dataclass(frozen=True)
class Sample:
    """What the process held at a moment, in seconds since it was started."""

    at: float
    memory: float  # MB that are resident
    descriptors: int
    threads: int


@dataclass
class Figures:
    """What a run measured."""

    credentials: int
    speed: float
    seconds: float = 0.0
    samples: list[Sample] = field(default_factory=list)
    ticks: int = 0
    idle: float = 0.0  # seconds: the longest time between two ticks
    rotations: int = 0
    overdue: int = 0
    scrapes: int = 0
    stops: list[float] = field(default_factory=list)  # seconds from SIGTERM to the end
    looks: int = 0
    dead: int = 0
    violations: list[str] = field(default_factory=list)

    @property
    def interval(self) -> float:
        """Seconds from tick to tick, by the real clock."""
        return _TICK / self.speed

    @property
    def days(self) -> float:
        return self.seconds * self.speed / _DAY

    def of_day(self, first: float, last: float) -> list[Sample]:
        """The samples between two shares of the time."""
        return [sample for sample in self.samples if first <= sample.at / self.seconds <= last]

    def growth(self, of: Callable[[Sample], float]) -> float:
        """From the second seventh of the time to the last, as a share: the first is for warming up."""
        before, after = (median(map(of, self.of_day(*part))) for part in ((1 / 7, 2 / 7), (6 / 7, 1)))
        return after / before - 1

    def lines(self) -> list[str]:
        """For people."""
        memory = [f"{median(s.memory for s in self.of_day(n / 7, (n + 1) / 7)):.1f}" for n in range(7)]
        return [
            f"{self.credentials:,} credentials, {self.seconds:,.0f} s, in which the clock went {self.days:.1f} days",
            f"{self.ticks:,} ticks, one each {self.interval:.2f} s; never longer than {self.idle:.2f} s without one",
            f"{self.rotations:,} rotations, {self.overdue:,} times overdue; {self.scrapes:,} scrapes",
            f"memory by sevenths of the time, MB: {', '.join(memory)}; {self.growth(lambda s: s.memory):+.1%}",
            f"descriptors: {_range(s.descriptors for s in self.samples)}, {self.growth(lambda s: s.descriptors):+.1%}",
            f"threads: {_range(s.threads for s in self.samples)}, as many as are at work",
            f"{len(self.stops):,} times SIGTERM at any moment: ended after {max(self.stops, default=0):.1f} s at most",
            f"{self.looks:,} looks of the consumer, {self.dead:,} dead keys",
            f"{len(self.violations):,} violations",
            *self.violations,
        ]


def _range(counts: Iterable[int]) -> str:
    found = list(counts)
    return f"{min(found)} to {max(found)}"


class Stage:
    """A context manager: servers, an installation on them, and its daemon with hurried clocks."""

    def __init__(self, folder: Path, credentials: int, speed: float) -> None:
        self.place = Place(folder)
        self.began = time.time()
        self.speed = speed
        self.ticks = folder / "ticks"
        self.log = folder / "daemon.log"
        self.url = f"{HOST}:{free_port()}"
        self.tenants: list[Tenant] = []
        self._credentials = credentials
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            postgres = opening.enter_context(Postgres())
            openbao = opening.enter_context(OpenBao())
            aws = opening.enter_context(Aws(authentication=True))
            opening.enter_context(hurried.clocks(self.began, self.speed))
            self.place.store_url = "file:database-url"
            (self.place.folder / "database-url").write_text(postgres.fresh_url("soak"))
            self._settle_in(openbao, aws)
            self.write(_DAILY)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _settle_in(self, openbao: OpenBao, aws: Aws) -> None:
        folder = self.place.folder
        vault, manager, file = Vault(openbao, folder), Manager(aws, folder), EnvFile(folder)
        kinds: list[tuple[str, list[Shelf]]] = [
            ("session", [file]),
            ("cookie", [file]),
            ("csrf", [file, vault]),
            ("hook", [vault]),
            ("mail", [vault, manager]),
        ]
        iam = min(10, self._credentials // 5)  # users of IAM, with two slots each
        self.tenants = [Tenant(f"deployer-{n}", IamKeys(aws, folder), [manager, file]) for n in range(iam)]
        for number in range(self._credentials - iam):
            name, shelves = kinds[number % len(kinds)]
            self.tenants.append(Tenant(f"{name}-{number}", GeneratedValues(), shelves))
        for tenant in self.tenants:
            for shelf in tenant.shelves:
                shelf.put(tenant.name, SIBLING)

    def write(self, policy: dict[str, str]) -> None:
        """The configuration: budgets are long by the hurried clock, so that they are seconds by the real one."""
        self.place.policy = {**policy, "max_creates_per_day": 1000}
        seconds = max(2, round(5 * self.speed))
        self.place.engine = {"lease": f"{2 * seconds}s", "call_budget": f"{seconds}s", "workers": 8, "watch": "6h"}
        self.place.write(**configured(self.tenants, lambda tenant: str(tenant.issuer.settings["type"])))

    def start(self) -> subprocess.Popen[bytes]:
        """Start the daemon."""
        options = ["--interval", f"{_TICK / self.speed * 1000:.0f}ms", "--grace", f"{GRACE:g}s", "--listen", self.url]
        clocks = [str(self.began), str(self.speed), str(self.ticks)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.soak.hurried", *clocks, *options, "--config", str(self.place.file)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )


def run(
    folder: Path,
    *,
    credentials: int,
    seconds: float,
    speed: float,
    stops: int,
    seed: int,
    tell: Callable[[str], None] = lambda _: None,
) -> Figures:
    """Let one process work for so long; then stop and start daemons at any moment, so many times; then judge."""
    figures = Figures(credentials, speed)
    with Stage(folder, credentials, speed) as stage:
        looks = [partial(tenant.look, shelf) for tenant in stage.tenants for shelf in tenant.shelves]
        with Consumer(looks, 0.05) as consumer:
            process = stage.start()
            try:
                _watch(stage, process, figures, seconds, tell)
                process = _stop_over_and_over(stage, process, figures, stops, random.Random(seed), tell)
                _settle(stage, process, figures)
            finally:
                process.kill()
                process.wait()
        figures.looks, figures.dead = consumer.seen, consumer.dead
        _judge(stage, figures)
    return figures


def _watch(
    stage: Stage, process: subprocess.Popen[bytes], figures: Figures, seconds: float, tell: Callable[[str], None]
) -> None:
    """Samples of one process while it works, and scrapes of its metrics."""
    # All credentials are new: the first tick takes its time.
    wait_until(lambda: stage.ticks.exists() or process.poll() is not None, within=_SETTLES_WITHIN)
    if not stage.ticks.exists():
        message = f"no tick ended: {stage.log.read_text(errors='replace')[-2000:]}"
        raise NotReady(message)
    began, every = time.monotonic(), min(5.0, seconds / 70)
    scraped = told = began
    while (now := time.monotonic()) < began + seconds:
        figures.samples.append(_sample(process.pid, now - began))
        if now >= scraped:
            with urlopen(f"http://{stage.url}/metrics", timeout=60) as answer:
                assert b"keyturn_" in answer.read()
            figures.scrapes, scraped = figures.scrapes + 1, now + 15
        if now >= told:
            sample = figures.samples[-1]
            tell(
                f"{sample.at:.0f} s: {sample.memory:.1f} MB, {sample.descriptors} descriptors, {sample.threads} threads"
            )
            told = now + 60
        time.sleep(every)
    figures.seconds = time.monotonic() - began
    figures.ticks, figures.idle = _idle(stage, began)


def _sample(pid: int, at: float) -> Sample:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Sample(at, int(status["VmRSS"].split()[0]) / 1024, descriptors, int(status["Threads"]))


def _idle(stage: Stage, since: float) -> tuple[int, float]:
    """How many ticks there were, and the longest time in seconds between two of them."""
    ticks = [[float(word) for word in line.split()] for line in stage.ticks.read_text().splitlines()]
    ticks = [tick for tick in ticks if tick[1] >= since]
    return len(ticks), max((begin - end for (_, end), (begin, _) in pairwise(ticks)), default=0.0)


def _stop_over_and_over(
    stage: Stage,
    process: subprocess.Popen[bytes],
    figures: Figures,
    stops: int,
    chance: random.Random,
    tell: Callable[[str], None],
) -> subprocess.Popen[bytes]:
    """SIGTERM at any moment, and another daemon; returns the one that runs at last."""
    for number in range(stops):
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        status = process.wait(GRACE + 20)
        figures.stops.append(time.monotonic() - asked)
        if status != 0:
            figures.violations.append(f"stop {number + 1} ended with {status}")
        tell(f"stop {number + 1}: status {status} after {figures.stops[-1]:.2f} s")
        ticked = stage.ticks.stat().st_size
        process = stage.start()
        wait_until(lambda before=ticked: stage.ticks.stat().st_size > before, within=60)  # type: ignore[misc]
        time.sleep(chance.uniform(0, 3))
    return process


def _settle(stage: Stage, process: subprocess.Popen[bytes], figures: Figures) -> None:
    """Nothing new: what is under way comes to its end."""
    stage.write({**_DAILY, "rotate_every": "60d"})
    process.send_signal(signal.SIGHUP)

    def quiet() -> bool:
        return all(one["rotation"] is None and not one["previous"] for one in stage.place.statuses())

    if not wait_until(quiet, within=_SETTLES_WITHIN):
        figures.violations.append("it does not settle")
    process.send_signal(signal.SIGTERM)
    if process.wait(GRACE + 20) != 0:
        figures.violations.append("the last stop did not end with 0")


def _judge(stage: Stage, figures: Figures) -> None:
    """What must be true of the events, the world and the process."""
    with stage.place.service(unlock=True) as service:
        events = [json.loads(event.body) for event in service.store.events()]
        for tenant in stage.tenants:
            figures.violations += [f"{tenant.name}: {problem}" for problem in tenant.violations(service)]
        if (problem := verify_store(service.store).problem) is not None:
            figures.violations.append(f"the audit trail: {problem}")
    names = Counter(event["event"] for event in events)
    figures.rotations = names["rotation.succeeded"]
    figures.overdue = names["rotation.overdue"]
    creates = Counter((event["credential"], event["version"]) for event in events if event["event"] == "create.started")
    figures.violations += [f"{name} version {n}: {times} creates" for (name, n), times in creates.items() if times > 1]
    if figures.idle > 1.5 * figures.interval + _LATE:
        figures.violations.append(f"a tick was lost: {figures.idle:.2f} s without one")
    if "Traceback" in (said := stage.log.read_text(errors="replace")) or "this is a bug" in said:
        figures.violations.append("the daemon met a bug; its log says which")
