"""A clock around `Engine.run`, signals, and the configuration in force.

It keeps nothing in memory that matters: any number of daemons, CronJobs and people share the rows, by leases.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Any

from rotator import logs, wiring
from rotator.config import Config, load
from rotator.daemon import memory
from rotator.daemon.systemd import Systemd
from rotator.daemon.words import complain, many
from rotator.domain.errors import RotatorError, SetupError, StaleLease, StoreUnavailable
from rotator.ports.store import StoredEvent
from rotator.settings import format_duration
from rotator.store import schema

if TYPE_CHECKING:
    from rotator.engine.report import Report
    from rotator.web.health import Check
    from rotator.web.server import Address

log = logs.log

_STOPPING = (signal.SIGTERM, signal.SIGINT)
_STANDSTILL = 600.0
"""Seconds (or three intervals) without a new tick after which the watchdog is left to bark."""


class Daemon:
    """One tick at once and one at each interval, until SIGTERM or SIGINT. To be run once, in the main thread."""

    def __init__(
        self,
        path: Path,
        interval: timedelta,
        grace: timedelta,
        environ: Mapping[str, str],
        listen: Address | None = None,
    ) -> None:
        self._path = path
        self._interval = interval
        self._grace = grace
        self._listen = listen
        self._systemd = Systemd(environ)
        self._stop = threading.Event()
        around = wiring.surroundings(stop=self._stop, observe=self._observe, bug=logs.bug)
        if not environ.get("ROTATOR_ACTOR"):
            around = replace(around, actor=around.actor.replace("cli:", "daemon:", 1))
        self._around = around
        self._heard: SimpleQueue[signal.Signals | SetupError] = SimpleQueue()  # its `put` may interrupt itself
        self._wanted: Config | None = None  # valid, and not in force yet
        self._service: wiring.Service | None = None  # only the thread of ticks changes it once they run
        self._idle = threading.Event()
        self._idle.set()
        self._late = False  # a tick's time came while the one before was running
        self._began = time.monotonic()
        self._patted = self._began
        self._events: list[dict[str, Any]] = []  # of this tick
        self._rotating: set[str] = set()  # names of credentials whose rotation was open when last looked at
        self._troubles: dict[tuple[str, str], RotatorError] = {}  # those that were told

    def run(self) -> int:
        """Serve. 0 when stopped in time; ends the process with 1 where the grace was not enough.

        Raises SetupError where configuration, sealing key or database cannot work. A database that does not answer,
        or waits for `rotator db upgrade`, is waited for.
        """
        memory.shared()
        with self._listening():
            self._wanted = load(self._path)
            self._tell(self._take_over())
            with self._watched(), self._ticking() as job:
                self._systemd.tell("READY=1", self._status())
                number = self._serve(job)
                log.info("%s: stopping after the step in hand", number.name)
                self._systemd.tell("STOPPING=1", "STATUS=stopping after the step in hand")
                self._wind_down()
            if self._service is not None:
                self._service.close()
        log.info("stopped by %s; %s", number.name, self._parked())
        return 0

    # who looks on

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Metrics and health over HTTP while the block lasts, where that is wanted."""
        if self._listen is None:
            yield
            return
        from prometheus_client import CollectorRegistry, ProcessCollector

        from rotator.web.metrics import Installation
        from rotator.web.server import Pages, serving

        registry = CollectorRegistry()
        registry.register(Installation(self._report))
        ProcessCollector(registry=registry)
        with serving(self._listen, Pages(registry, self._standstill, self._ready)) as where:
            log.info("listening at http://%s/metrics", where)
            yield

    def _report(self) -> Report:
        service = self._service
        if service is None:
            message = "the database does not answer yet"
            raise StoreUnavailable(message)
        return service.report()

    def _ready(self) -> Sequence[Check]:
        from rotator.web import health

        service = self._service
        if service is not None:
            return health.checks(service, unlocked=True)
        problem = next(iter(self._troubles.values()), StoreUnavailable("the database does not answer yet"))
        return [health.failed("migrations" if problem.reason == "schema_outdated" else "database", problem)]

    def _standstill(self) -> str | None:
        """What is wrong where ticks have stopped coming; None as long as they come."""
        quiet = time.monotonic() - self._began
        if quiet < max(3 * self._interval.total_seconds(), _STANDSTILL):
            return None
        return f"no tick has begun for {quiet:.0f} s"

    # the main thread

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Signals are only noted by their handler; the main thread acts on them."""

        def note(number: int, _frame: FrameType | None) -> None:
            self._heard.put(signal.Signals(number))

        before = {number: signal.signal(number, note) for number in (*_STOPPING, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def _ticking(self) -> Iterator[Any]:
        """The clock runs while the block lasts; yields its job. No tick begins after it."""
        from apscheduler.events import EVENT_JOB_MAX_INSTANCES
        from apscheduler.schedulers.background import BackgroundScheduler

        logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a tick that takes long is no reason to warn
        scheduler: Any = BackgroundScheduler  # no types are published for it
        clock = scheduler(timezone=UTC)
        clock.add_listener(self._came_too_early, EVENT_JOB_MAX_INSTANCES)
        job = clock.add_job(
            self._ticks,
            "interval",
            seconds=self._interval.total_seconds(),
            next_run_time=datetime.now(UTC),
            coalesce=True,
            misfire_grace_time=None,
            max_instances=1,
        )
        clock.start()
        try:
            yield job
        finally:
            self._stop.set()
            clock.shutdown(wait=False)

    def _serve(self, job: Any) -> signal.Signals:
        """Until a signal to stop comes, which is returned. Raises the SetupError that a tick met."""
        while True:
            heard = self._hear(1)
            if isinstance(heard, SetupError):
                raise heard
            if heard in _STOPPING:
                assert heard is not None
                return heard
            # The clock goes by wall time: where that was put back, the next tick would be far away.
            forgotten = self._idle.is_set() and time.monotonic() - self._began > 2 * self._interval.total_seconds()
            if heard is signal.SIGHUP:
                self._reload()
            if heard is signal.SIGHUP or forgotten:
                job.modify(next_run_time=datetime.now(UTC))

    def _hear(self, seconds: float) -> signal.Signals | SetupError | None:
        """What came within this time, or None. Shows systemd signs of life while ticks begin."""
        every = self._systemd.every
        now = time.monotonic()
        if every is not None:
            if now - self._patted >= every and self._standstill() is None:
                self._systemd.tell("WATCHDOG=1")
                self._patted = now
            seconds = min(seconds, every / 4)
        try:
            return self._heard.get(timeout=seconds)
        except Empty:
            return None

    def _reload(self) -> None:
        """Read the configuration again; the next tick puts it in force, or what is wrong with it is logged."""
        self._systemd.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self._wanted = load(self._path)
        except RotatorError as problem:
            complain("SIGHUP: the configuration before stays in force", problem)
        except Exception as problem:  # noqa: BLE001 - a bug in reading a file does not end the service
            logs.bug("SIGHUP", problem)
        self._systemd.tell("READY=1")

    def _wind_down(self) -> None:
        """Wait for the tick in hand; when the grace is over, or at a second signal, end the process with 1."""
        self._stop.set()
        end = time.monotonic() + self._grace.total_seconds()
        while not self._idle.is_set():
            if time.monotonic() >= end or self._hear(0.05) in _STOPPING:
                log.error("ended before the step in hand was; %s; leases expire, and `rotate` goes on", self._at_work())
                logging.shutdown()
                os._exit(1)

    # ticks

    def _ticks(self) -> None:
        """The clock's job: a tick, and at once another where its time has come in the meantime."""
        self._idle.clear()
        try:
            while not self._stop.is_set():
                self._late = False
                self._tick()
                if not self._late:
                    break
        finally:
            self._idle.set()

    def _came_too_early(self, _event: object) -> None:
        self._late = True

    def _tick(self) -> None:
        """Work on whatever is due or unfinished, following short waits. Never raises."""
        self._began = time.monotonic()
        self._events = []
        try:
            self._tell(self._take_over() | self._work())
        except SetupError as problem:
            if self._service is None:  # it never began to work
                self._heard.put(problem)
            else:
                self._tell({"this tick": problem})
        except RotatorError as problem:
            self._tell({"this tick": problem})
        except Exception as problem:  # noqa: BLE001 - a bug is logged, and the next tick comes
            logs.bug("this tick", problem)
        self._systemd.tell(self._status())

    def _work(self) -> dict[str, RotatorError]:
        """One run of the engine; returns what stopped turns, other than workers that went on with a credential."""
        if self._service is None:
            return {}
        schema.check(self._service.store.database)  # a newer release may have taken away what this one needs
        engine = self._service.running()
        progress = engine.run(engine.due(), None, self._interval)
        self._service.keep_cards(progress)
        self._rotating -= progress.keys()
        self._rotating |= {name for name, p in progress.items() if p.rotation is not None}
        found = {name: p.trouble for name, p in progress.items() if p.trouble is not None}
        return {name: trouble for name, trouble in found.items() if not isinstance(trouble, StaleLease)}

    def _take_over(self) -> dict[str, RotatorError]:
        """Put the wanted configuration in force, if there is one; returns what that has to wait for.

        The one before stays where it does not work. Raises SetupError where there is none before.
        """
        config = self._wanted
        if config is None:
            return {}
        try:
            service = wiring.open_service(config, self._around)
        except StoreUnavailable as problem:
            return {"waiting": problem}
        except SetupError as problem:
            if problem.reason == "schema_outdated":
                return {"waiting": problem}
            if self._service is None:
                raise
            self._forget(config)
            complain("the configuration before stays in force", problem)
            return {}
        self._forget(config)
        before, self._service = self._service, service
        if before is not None:
            before.close()
        where, every = service.store.database.where, format_duration(self._interval)
        credentials = many(len(service.managed), "credential")
        log.info("%s: %s, database %s, a tick every %s", config.environment, credentials, where, every)
        return {}

    def _forget(self, config: Config) -> None:
        if self._wanted is config:  # else a newer one came in the meantime
            self._wanted = None

    def _observe(self, event: StoredEvent) -> None:
        body = json.loads(event.body)
        self._events.append(body)
        logs.tell(body)

    # words

    def _tell(self, troubles: Mapping[str, RotatorError]) -> None:
        """Log what went wrong, once for as long as it lasts; and that it does no more."""
        names: dict[tuple[str, str], list[str]] = {}
        found: dict[tuple[str, str], RotatorError] = {}
        for name, problem in troubles.items():
            key = (problem.reason, problem.message)
            names.setdefault(key, []).append(name)
            found[key] = problem
        for key, problem in found.items():
            if key not in self._troubles:
                complain(", ".join(names[key]), problem)
        if self._troubles and not found:
            log.info("what was in the way is gone: %s", ", ".join(sorted({reason for reason, _ in self._troubles})))
        self._troubles = found

    def _status(self) -> str:
        """One line for `systemctl status`."""
        if self._service is None:
            return "STATUS=waiting for the database"
        parts = [many(len(self._service.managed), "credential")]
        parts += [f"{len(self._rotating)} rotating"] if self._rotating else []
        parts += [f"trouble: {', '.join(sorted({reason for reason, _ in self._troubles}))}"] if self._troubles else []
        moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"STATUS={self._service.config.environment}: {', '.join(parts)}; {moment}"

    def _parked(self) -> str:
        parked = sorted(self._rotating)
        return f"parked: {', '.join(parked)}; the next pass goes on" if parked else "nothing is half done"

    def _at_work(self) -> str:
        """By the events of this tick: which step of which credential has begun and not ended."""
        last = {event["credential"]: event["event"] for event in list(self._events) if event["credential"]}
        begun = [f"{name} at {event}" for name, event in last.items() if event.endswith(".started")]
        return f"under way: {', '.join(begun) or 'a tick'}"
