"""Real servers behind gates, real daemons, and the credentials that they rotate without a pause."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy.engine import make_url

from rotator.testbed.aws import Aws
from rotator.testbed.gate import Gate
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.testbed.openbao import OpenBao
from rotator.testbed.postgres import Postgres
from rotator.testbed.tcp_gate import TcpGate
from tests.crash.worlds import (
    SIBLING,
    EnvFile,
    GeneratedValues,
    IamKeys,
    Manager,
    OpenAIKeys,
    Tenant,
    Vault,
    configured,
)
from tests.engine.place import Place

ROOT = Path(__file__).parents[2]
LEASE = 2.0
"""Seconds."""

BY_HAND = "deployer"
"""Rotated by `rotate --now` alone: the configuration refuses so short a period for IAM's two slots."""

_ALWAYS = {"rotate_every": "2s"}
_NEVER = {"rotate_every": "30d"}


class Daemon:
    """One `rotator daemon`, which may be frozen, killed and started anew."""

    def __init__(self, place: Place, number: int) -> None:
        self._place = place
        self._log = place.folder / f"daemon-{number}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ("--interval", "500ms", "--grace", "20s", "--config", str(self._place.file))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rotator", "daemon", *options],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self._place.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def reload(self) -> None:
        """SIGHUP, as soon as it is listened to: one that has just been started would end by it."""
        end = time.monotonic() + 10
        while self.is_running() and not self._listens() and time.monotonic() < end:
            time.sleep(0.05)
        self.send(signal.SIGHUP)

    def _listens(self) -> bool:
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        return bool(caught >> (signal.SIGHUP - 1) & 1)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """SIGTERM; returns its exit status."""
        assert self._process is not None
        self.send(signal.SIGTERM)
        return self._process.wait(60)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")


class Stage:
    """A context manager: all of it is started in order, and ended whatever happened."""

    def __init__(self, folder: Path, daemons: int) -> None:
        self.place = Place(folder)
        self.postgres, self.openbao, self.aws = Postgres(), OpenBao(), Aws(authentication=True)
        self.emulators = [OpenAIEmulator(mark="CANARY-") for _ in range(3)]
        self.daemons = [Daemon(self.place, number) for number in range(daemons)]
        self.tenants: list[Tenant] = []
        self.iam_creates = 0
        """How many access keys were asked for, until everything was mended."""
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            for server in (self.postgres, self.openbao, self.aws):
                opening.enter_context(server)
            for emulator in self.emulators:
                opening.enter_context(emulator)
            self.database = opening.enter_context(TcpGate(self.postgres.port))
            self.vault_gate = opening.enter_context(Gate(self.openbao.url))
            self.aws_gate = opening.enter_context(Gate(self.aws.url))
            targets = [emulator.url.removesuffix("/v1") for emulator in self.emulators]
            self.openai_gates = [opening.enter_context(Gate(target)) for target in targets]
            self.direct_url = self.postgres.fresh_url("chaos")
            through_gate = make_url(self.direct_url).set(port=self.database.port)
            (self.place.folder / "database-url").write_text(through_gate.render_as_string(hide_password=False))
            self.place.store_url = "file:database-url"
            self.tenants = self._tenants()
            for tenant in self.tenants:
                for shelf in tenant.shelves:
                    shelf.put(tenant.name, SIBLING)
            self.write(always=True)
            for daemon in self.daemons:
                opening.callback(daemon.kill)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _tenants(self) -> list[Tenant]:
        folder = self.place.folder
        vault = Vault(self.openbao, folder, self.vault_gate.url)
        manager = Manager(self.aws, folder, self.aws_gate.url)
        file = EnvFile(folder)
        first, second, third = (
            OpenAIKeys(emulator, folder, gate.url + "/v1")
            for emulator, gate in zip(self.emulators, self.openai_gates, strict=True)
        )
        return [
            Tenant("web", first, [vault, file]),
            Tenant("batch", second, [manager, vault]),
            Tenant("search", third, [file]),
            *(Tenant(f"session-{n}", GeneratedValues(), [vault, manager, file]) for n in range(2)),
            *(Tenant(f"cookie-{n}", GeneratedValues(), [vault]) for n in range(3)),
            *(Tenant(f"csrf-{n}", GeneratedValues(), [file]) for n in range(3)),
            *(Tenant(f"hook-{n}", GeneratedValues(), [manager]) for n in range(2)),
            Tenant(BY_HAND, IamKeys(self.aws, folder, self.aws_gate.url), [manager, vault]),
        ]

    def write(self, *, always: bool) -> None:
        """The configuration: everything rotates all the time, or what is under way comes to its end."""
        self.place.engine = {"lease": f"{LEASE:g}s", "call_budget": "1s", "workers": 8, "brake": {"pause": "20s"}}
        self.place.policy["max_creates_per_day"] = 1000
        sections = configured(self.tenants, lambda tenant: f"of-{tenant.name}")
        for name, entry in sections["credentials"].items():
            entry["policy"] = _ALWAYS if always and name != BY_HAND else _NEVER
        self.place.write(**sections)

    @contextmanager
    def serving(self) -> Iterator[Sequence[Daemon]]:
        """The daemons run while the block lasts."""
        for daemon in self.daemons:
            daemon.start()
        try:
            yield self.daemons
        finally:
            for daemon in self.daemons:
                daemon.send(signal.SIGCONT)
                daemon.kill()

    def mend(self) -> None:
        """Everything that was broken works again."""
        self.postgres.stop()  # it ends with the thread that started it last, which was one that made trouble
        self.postgres.start()
        self.openbao.unseal()
        self.database.delay = 0
        self.iam_creates = sum(b"Action=CreateAccessKey" in request.body for request in self.aws_gate.requests)
        for gate in (self.vault_gate, self.aws_gate, *self.openai_gates):
            gate.clear()
        for daemon in self.daemons:
            daemon.send(signal.SIGCONT)
            if not daemon.is_running():
                daemon.start()
