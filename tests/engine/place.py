"""One installation of the service in a folder, on real servers, driven in this process; and a consumer that watches."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import yaml

from rotator import wiring
from rotator.config import load
from rotator.domain.model import Cause
from rotator.engine.engine import Progress, Wish
from rotator.engine.explain import explain
from rotator.engine.work import Surroundings
from rotator.sealers.local import new_key
from rotator.store import schema
from rotator.verifier.trail import verify_store

QUICK = {"grace": "0s", "soak": "0s", "settle": "0s", "require_idle": "0s", "min_interval": "0s", "rotate_every": "30d"}
"""A policy without waits."""

LONG = 30.0
"""Seconds that a machine may take for what does happen, however busy it is."""

EMPTY: list[bytes] = []
"""A database that was just set up: a copy for each test saves it a third of a second."""


@dataclass
class Place:
    """A folder with configuration, key and database. `write` may be called again: an edited configuration."""

    folder: Path
    store_url: str = "sqlite:///rotator.db"
    engine: dict[str, Any] = field(default_factory=lambda: {"lease": "5s", "call_budget": "2s", "workers": 4})
    policy: dict[str, str | int] = field(default_factory=lambda: dict(QUICK))
    events: list[dict[str, Any]] = field(default_factory=list)
    bugs: list[Exception] = field(default_factory=list)
    over: Callable[[], bool] = lambda: False  # a run ends early where this is so

    @property
    def file(self) -> Path:
        return self.folder / "rotator.yaml"

    def write(self, *, providers: Any, destinations: Any, credentials: Any, audit: Any = None) -> None:
        """Write the configuration; the first time also the sealing key and the database."""
        content = {
            "environment": "test",
            "store": {"url": self.store_url},
            "engine": {**self.engine, "retry": {"first": "100ms", "most": "400ms"}},
            "defaults": {"policy": self.policy},
            "audit": audit,
            "providers": providers,
            "destinations": destinations,
            "credentials": credentials,
        }
        self.file.write_text(yaml.safe_dump(content, sort_keys=False))
        key = self.folder / "rotator.key"
        if not key.exists():
            key.write_text(new_key() + "\n")
            key.chmod(0o600)
            self._set_up()

    def _set_up(self) -> None:
        file = self.folder / "rotator.db"
        embedded = self.store_url == "sqlite:///rotator.db"
        if not (embedded and EMPTY):
            schema.upgrade(load(self.file).store.resolve(), "test", wiring.new_id)
        if embedded and not EMPTY:
            EMPTY.append(file.read_bytes())
        elif embedded:
            file.write_bytes(EMPTY[0])
            file.chmod(0o600)

    def surroundings(self) -> Surroundings:
        around = wiring.surroundings(
            observe=lambda event: self.events.append(json.loads(event.body)),
            bug=lambda _name, problem: self.bugs.append(problem),
        )
        return replace(around, stopping=lambda: around.stopping() or self.over())

    @contextmanager
    def service(self, seam: wiring.Seam | None = None, *, unlock: bool = True) -> Iterator[wiring.Service]:
        with wiring.opened(load(self.file), self.surroundings(), unlock=unlock, seam=seam) as service:
            yield service

    def rotate(
        self,
        *names: str,
        now: bool = False,
        cause: Cause = Cause.MANUAL,
        key: str | None = None,
        patience: float = 5,
        until: str | None = None,
        seam: wiring.Seam | None = None,
        **wished: Any,
    ) -> dict[str, Progress]:
        """One run, as `rotate` makes it; `wished` is what else a Wish has. Unexpected exceptions fail the test.

        `until`: it ends once this event is told, which a machine may take its time for; if it never is, that fails.
        """
        before = len(self.events)

        def told() -> bool:
            return any(event["event"] == until for event in self.events[before:])

        with self.service(seam) as service:
            wish = Wish(cause=cause, key=key, **wished) if now else None
            self.over = told if until is not None else self.over
            try:
                allowed = timedelta(seconds=patience if until is None else LONG)
                results = service.running().run(names or service.names, wish, allowed)
            finally:
                self.over = lambda: False
        assert until is None or told(), f"{until} was never told"
        if self.bugs:
            raise self.bugs[0]
        return results

    def status(self, name: str) -> dict[str, Any]:
        with self.service(unlock=False) as service:
            found: dict[str, Any] = service.report().status([name])["credentials"][0]
            return found

    def statuses(self) -> list[dict[str, Any]]:
        """Of all credentials, by name."""
        with self.service(unlock=False) as service:
            found: list[dict[str, Any]] = service.report().status()["credentials"]
            return found

    def explain(self, name: str) -> str:
        with self.service(unlock=False) as service:
            return "\n".join(explain(service.report(), name))

    def verified(self) -> None:
        """The audit trail is whole."""
        with self.service(unlock=False) as service:
            assert verify_store(service.store).problem is None

    def told(self, *names: str) -> list[str]:
        """The names of this process's events, in order; limited to some where given."""
        return [e["event"] for e in self.events if not names or e["event"] in names]


class Consumer:
    """Reads a place over and over and uses what it finds, as an application would; counts the dead keys it meets."""

    def __init__(self, looks: Sequence[Callable[[], bool | None]], every: float = 0.005) -> None:
        """Each look says whether the value works; None where nothing stands there yet. `every` is in seconds."""
        self._looks = looks
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._problem: Exception | None = None
        self.seen = 0
        self.dead = 0

    def _run(self) -> None:
        try:
            self._read()
        except Exception as problem:  # noqa: BLE001 - it is raised where the consumer is waited for
            self._problem = problem

    def _read(self) -> None:
        while not self._stop.is_set():
            for look in self._looks:
                works = look()
                self.seen += works is not None
                self.dead += works is False
            self._stop.wait(self._every)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        if self._problem is not None and kind is None:  # it looked no more from then on, which proves nothing
            raise self._problem


def dotenv_value(path: Path, name: str) -> str | None:
    """What a consumer reads from an env file."""
    if not path.exists():
        return None
    for line in path.read_text().splitlines():
        if line.startswith(f"{name}="):
            return line.partition("=")[2].strip("'\"")
    return None
