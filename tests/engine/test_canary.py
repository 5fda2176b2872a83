"""No secret is anywhere but at its destinations and, sealed, in the database: searched for in six spellings."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from rotator.testbed.gate import Gate, Refuse
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.testbed.openbao import OpenBao
from tests.conftest import Canaries
from tests.engine.conftest import Fleet
from tests.engine.place import Place, dotenv_value
from tests.engine.test_rotation import is_write
from tests.notifiers.receiver import KEY, receiving


@pytest.fixture
def fleet(embedded: Place, openai: OpenAIEmulator, openbao: OpenBao, gate_to: Callable[[str], Gate]) -> Iterator[Fleet]:
    found = Fleet(embedded, openai, openbao, gate_to)
    yield found
    found.client.adapter.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


class Overheard:
    """Everything that commands print and what /proc shows of them while they run."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.text = b""

    def run(self, *arguments: str) -> int:
        command = [sys.executable, "-X", "dev", "-m", "rotator", *arguments, "--config", str(self.place.file)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        about = Path("/proc") / str(process.pid)
        while process.poll() is None:
            for name in ("cmdline", "environ"):
                try:
                    self.text += (about / name).read_bytes()
                except OSError:
                    break
            time.sleep(0.05)
        assert process.stdout is not None
        with process.stdout:
            self.text += process.stdout.read()
        return process.wait()


def test_no_secret_is_printed_logged_or_left_in_a_file(
    fleet: Fleet, canary: Canaries, gate_to: Callable[[str], Gate], stack: ExitStack
) -> None:
    heard, folder = Overheard(fleet.place), fleet.place.folder
    told = stack.enter_context(
        receiving(folder)
    )  # what it is told stands in a file there, and is searched with the rest
    (folder / "sign").write_text(KEY)
    routes = {"ops": {"webhook": told.url, "sign": "file:sign", "events": ["*"], "group_interval": "1ms"}}
    content = yaml.safe_load(fleet.place.file.read_text())
    fleet.place.file.write_text(yaml.safe_dump({**content, "notify": {"routes": routes}}, sort_keys=False))
    assert heard.run("rotate", "-vv") == 0
    assert heard.run("rotate", "--now", "--all", "-vv", "--json") == 0
    first = dotenv_value(fleet.env, "SESSION")
    gate = gate_to(fleet.bao.url)
    gate.on(is_write, Refuse(), times=None)
    text = fleet.place.file.read_text()
    fleet.place.file.write_text(text.replace(fleet.bao.url, gate.url))
    assert heard.run("rotate", "--now", "web", "-vv", "--timeout", "1s") == 1
    fleet.emulator.admin_key_state = "expired"
    heard.run("rotate", "--now", "web", "-vv", "--timeout", "1s")
    heard.run("rotate", "-vv", "--log-format", "json")
    for verb in (["status", "--json"], ["explain", "web"], ["audit", "export"], ["check", "-vv"], ["resume", "web"]):
        heard.run(*verb)
    heard.run("metrics", "write", str(folder / "keyturn.prom"))  # it stands in the folder that is searched below
    heard.run("health", "--json", "--pass-within", "1s")
    made = fleet.emulator.keys()
    secrets = [key.secret for key in made]
    secrets += [fleet.emulator.admin_key, dotenv_value(fleet.env, "SESSION") or "", first or ""]
    secrets.append((fleet.place.folder / "rotator.key").read_text().strip())
    for secret in secrets:
        assert secret
        canary.watch(secret)
    assert len(secrets) > 5
    assert len(heard.text) > 10_000, "there was something to overhear"
    assert not canary.found_in(heard.text)
    assert len(told.notices) > 20, "it was told every step"
    canary.watch(KEY)
    kept = {fleet.env.name, "admin", "token", "rotator.key", "sign"}
    files = [path for path in fleet.place.folder.rglob("*") if path.is_file() and path.name not in kept]
    assert {"rotator.db", "keyturn.prom"} <= {path.name for path in files}
    for path in files:
        assert not canary.found_in(path.read_bytes()), path
    assert canary.found_in(fleet.env.read_bytes()), "the search finds what is there"
