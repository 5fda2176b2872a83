"""What a running `rotate` shows: nothing, its events as lines or as JSON, or a live table."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, TypeVar

import click

from rotator import logs
from rotator.cli import words
from rotator.cli.headway import Headway
from rotator.cli.say import clean
from rotator.cli.stopping import Stop
from rotator.domain.errors import StoreUnavailable
from rotator.engine.report import Report
from rotator.engine.work import Managed
from rotator.ports.store import StoredEvent

T = TypeVar("T")
Body = Mapping[str, Any]

MANY = 20
"""Credentials of a run; fewer are seen at a glance."""

_TOLD_EVERY = 30.0  # seconds
_HAS_ITS_KEY = "promote.succeeded"


class Screen:
    """Takes the events of a run, from any thread, and the main thread's time between them. Shows nothing itself."""

    interval: float | None = None
    """Seconds between two `draw`; None: never."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self.managed: Mapping[str, Managed] = {}
        self.names: Sequence[str] = ()
        self.headway = Headway(0, monotonic())
        self._asked: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._touched: set[str] = set()
        self._numbers: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self._reader_left = False

    def begin(self, managed: Mapping[str, Managed], names: Sequence[str]) -> None:
        """What the run is about."""
        self.managed, self.names, self._asked = managed, names, frozenset(names)
        self.headway = Headway(len(names), self.monotonic())

    def asked(self, name: str | None) -> bool:
        """Whether the run is about this credential."""
        return name in self._asked

    def observe(self, event: StoredEvent) -> None:
        """Take an event. Never raises: a reader of stdout that goes away does not stop a rotation."""
        body = json.loads(event.body)
        with self._lock:
            self._note(body)
            logs.tell(body, self.address(body))
            self._while_read(lambda: self.show(event, body))

    def _while_read(self, show: Callable[[], None]) -> None:
        if not self._reader_left:
            try:
                show()
            except OSError:
                self._reader_left = True

    def _note(self, body: Body) -> None:
        name, event = body["credential"], body["event"]
        if not name:
            return
        self._touched.add(name)
        if body["version"] is not None:
            self._numbers[name, event].append(body["version"])
        if event == _HAS_ITS_KEY and name in self._asked:
            self.headway.one_more(self.monotonic())

    def show(self, event: StoredEvent, body: Body) -> None:
        """Show an event, besides its line in the log."""

    def draw(self, report: Report, *, stopping: bool = False, last: bool = False) -> None:
        """Show where everything stands; called in the main thread."""

    def glance(self) -> None:
        """Called in the main thread about once a second."""

    def close(self) -> None:
        """Nothing more will be drawn."""

    def address(self, body: Body) -> str | None:
        """Where an event's destination is, where that is clear."""
        told: str | None = body["detail"].get("address")
        if told is not None:
            return told
        managed = self.managed.get(body["credential"] or "")
        places = [t.destination.address for t in managed.targets if t.to == body["destination"]] if managed else []
        return places[0] if len(places) == 1 else None

    def touched(self) -> set[str]:
        """The credentials that something happened to."""
        with self._lock:
            return set(self._touched)

    def numbers(self, name: str, event: str) -> list[int]:
        """The versions of a credential that this happened to, in this run."""
        with self._lock:
            return list(self._numbers.get((name, event), ()))

    def watch(self, work: Callable[[], T], report: Callable[[], Report], stop: Stop) -> T:
        """Run `work` in another thread, so that signals and the screen have the main one, and return its result."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="run") as pool:
            running = pool.submit(work)
            try:
                while not running.done():
                    # Without an end, as on some systems, a wait for a lock would keep signals from their handlers.
                    wait([running], timeout=self.interval or 1)
                    self._look(report, stop, last=running.done())
                    self.glance()
            except BaseException:
                stop.event.set()
                raise
            finally:
                wait([running])
                self.close()
            return running.result()

    def _look(self, report: Callable[[], Report], stop: Stop, *, last: bool) -> None:
        if self.interval is not None:
            with suppress(StoreUnavailable):  # a look that fails is no reason to stop
                self.draw(report(), stopping=stop.signal is not None, last=last)


class EventLines(Screen):
    """Each event as a line of text on stdout; of many credentials also how far they have come, now and then."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(monotonic)
        self._next = monotonic() + _TOLD_EVERY

    def glance(self) -> None:
        """Print how far they have come, if it is time."""
        now = self.monotonic()
        if len(self.names) >= MANY and now >= self._next:
            self._next = now + _TOLD_EVERY
            with self._lock:
                self._while_read(lambda: click.echo(self.headway.said(now)))

    def show(self, event: StoredEvent, body: Body) -> None:  # noqa: ARG002 - the line is made of the body alone
        """Print the line, if it is of a credential that was asked for."""
        if self.asked(body["credential"]):
            click.echo(clean(words.event_line(body, self.address(body))))


class JsonLines(Screen):
    """Each event as a line of JSON on stdout, in the shape of `audit export`."""

    def show(self, event: StoredEvent, body: Body) -> None:  # noqa: ARG002 - the stored bytes are what is shown
        """Print the line."""
        from rotator.store.audit import exported

        for line in exported([event]):
            click.echo(line)


def choose(*, now: bool, as_json: bool, quiet: bool, on_terminal: bool) -> Screen:
    """The screen for a run."""
    if as_json:
        return JsonLines()
    if quiet or not now:
        return Screen()
    if not on_terminal:
        return EventLines()
    from rotator.cli.live import LiveTable

    return LiveTable()
