"""SIGKILL at a hundred moments of `rotate --now`; `rotate` goes on until quiet, and nothing is lost or left."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from rotator.testbed.gate import Gate
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.testbed.openbao import OpenBao
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import Consumer, Place, dotenv_value
from tests.processes import forked

KILLS = 100
SHARES = 4
"""The hundred moments are shared out, so that workers of the test run take turns with them."""


def run_rotate(file: str, log: str) -> None:
    """`rotate --now --all`, in a process of its own."""
    from rotator import cli

    with Path(log).open("a") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.argv = ["rotate", "--config", file, "--now", "--all", "--timeout", "20s"]
    cli.rotate()


class Fleet(OpenAIWeb):
    """`web`, and `session`: a generated secret in an env file beside the OpenAI key."""

    def write(self, policy: dict[str, object] | None = None, paths: list[str] | None = None) -> None:
        vault = {"type": "vault-kv", "auth": {"method": "token", "token": "file:token"}, "address": self.bao.url}
        self.place.engine = {"lease": "1s", "call_budget": "500ms", "workers": 4}
        self.place.policy["max_creates_per_day"] = 1000
        self.env = self.place.folder / "web.env"
        self.place.write(
            providers={
                "openai": {"type": "openai", "admin_key": "file:admin", "base_url": self.emulator.url},
                "local": {"type": "generated", "prefix": "CANARY-"},
            },
            destinations={"vault": vault, "env": {"type": "env-file", "path": str(self.env)}},
            credentials={
                "web": {
                    "provider": "openai",
                    "options": {
                        "project": self.emulator.project,
                        "service_account": self.emulator.service_account,
                    },
                    "destinations": [{"to": "vault", "path": self.paths[0]}, {"to": "env"}],
                },
                "session": {"provider": "local", "destinations": [{"to": "env"}]},
            },
        )

    def env_works(self) -> bool | None:
        value = dotenv_value(self.env, "OPENAI_API_KEY")
        return None if value is None else self.emulator.accepts(value)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", range(SHARES))
def test_a_hundred_kills_lose_nothing(
    share: int, place: Place, openai: OpenAIEmulator, openbao: OpenBao, gate_to: Callable[[str], Gate]
) -> None:
    fleet = Fleet(place, openai, openbao, gate_to)
    place.rotate()
    log = place.folder / "log"
    duration = _untouched(place, log)
    with Consumer([fleet.works, fleet.env_works]) as consumer:
        interrupted = 0
        for number in range(share, KILLS, SHARES):
            _killed_after(place, log, duration * (number + 0.5) / KILLS)
            openai.drain()  # what a dead client sent takes effect within its budget: the protocol relies on it
            interrupted += any(status["rotation"] for status in place.statuses())
            until_quiet(fleet, number)
    assert interrupted > 3, "the kills meet rotations under way"
    assert consumer.dead == 0
    assert consumer.seen > KILLS
    place.verified()
    assert not list(place.folder.glob(".*rotator*")), "nothing that holds a secret is left beside a file"
    fleet.client.adapter.close()


def _start(place: Place, log: Path) -> BaseProcess:
    process = forked.Process(target=run_rotate, args=(str(place.file), str(log)))
    process.start()
    return process


def _untouched(place: Place, log: Path) -> float:
    """How long a run takes that nobody disturbs, in seconds."""
    _start(place, log).join(60)  # the first one also starts the server that forks
    process = _start(place, log)
    began = time.monotonic()
    process.join(60)
    assert process.exitcode == 0, log.read_text()
    return time.monotonic() - began


def _killed_after(place: Place, log: Path, seconds: float) -> None:
    process = _start(place, log)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid or 0, signal.SIGKILL)
    process.join(10)


def until_quiet(fleet: Fleet, number: int) -> None:
    """`rotate` until nothing is left to do; then one key lives, everywhere, and nothing else does."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        fleet.place.rotate(patience=3)
        states = fleet.place.statuses()
        if all(s["status"] == "ok" and not s["previous"] for s in states):
            break
    assert [s["status"] for s in states] == ["ok", "ok"], (number, states, fleet.place.explain("web"))
    live = fleet.live()
    assert live == [states[1]["current"]["key_id"]], (number, fleet.place.explain("web"))
    assert fleet.value() == dotenv_value(fleet.env, "OPENAI_API_KEY")
    assert fleet.works() is True
    assert dotenv_value(fleet.env, "SESSION")
