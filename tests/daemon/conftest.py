"""Daemons as real processes, in the installations of the command tests."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Self

import pytest

from tests.cli.conftest import house, template
from tests.cli.house import House, until

__all__ = ["house", "template"]

SHORT = """\
environment: test
store: {{url: "{url}"}}
engine: {{lease: 6s, call_budget: 2s, retry: {{first: 100ms, most: 500ms}}}}
providers: {{local: {{type: generated}}}}
destinations: {{app: {{type: env-file, path: app.env}}}}
defaults:
  policy: {{grace: 0s, soak: 0s, settle: 0s, min_interval: 0s, rotate_every: 2s, max_creates_per_day: 1000}}
credentials:
  web: {{provider: local, destinations: [{{to: app, fields: {{WEB: "{{secret}}"}}}}]}}
"""
"""Rotates every two seconds."""


class Running:
    """A daemon, and what it has said so far."""

    def __init__(self, home: House, log: Path, *options: str, env: Mapping[str, str] | None = None) -> None:
        self.house = home
        self.log = log
        with log.open("w") as stderr:
            self.process: subprocess.Popen[str] = home.start("daemon", *options, env=env, stderr=stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=20)
        self.house.said.append(self.said)
        assert "Traceback" not in self.said
        assert "this is a bug" not in self.said

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def says(self, words: str) -> None:
        """Wait until it has said this."""
        until(lambda: words in self.said or self.process.poll() is not None)
        assert words in self.said

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait for its end."""
        status = self.process.wait(timeout=30)
        assert self.process.stdout is not None
        assert self.process.stdout.read() == ""
        return status

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.send(number)
        return self.ended()


Start = Callable[..., Running]


@pytest.fixture
def start(house: House, tmp_path: Path) -> Iterator[Start]:
    """`start("--interval", "1s")` is a daemon in the house; killed at the end of the test if it still runs."""
    with ExitStack() as running:
        logs = (tmp_path / f"daemon-{number}.log" for number in range(100))
        yield lambda *options, env=None: running.enter_context(Running(house, next(logs), *options, env=env))


def last_pass(home: House) -> datetime | None:
    """When the last tick or pass ended."""
    with home.opened() as service:
        return service.store.installation().last_pass_at


def another_pass(home: House) -> None:
    """Wait until another tick has ended."""
    before = last_pass(home)
    until(lambda: last_pass(home) != before)
