"""One installation in a folder of its own, and its commands as real processes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rotator.access.dotenv import read as read_env
from rotator.config import load
from rotator.store.audit import export
from rotator.wiring import Service, opened, surroundings
from tests.conftest import Canaries
from tests.processes import run_command

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-W", "error", "-m", "rotator"]

SHORT = 20  # what is no longer than this is not a secret but a mistake of a test

CONFIGURATION = """\
environment: test
engine: {lease: 6s, call_budget: 2s, retry: {first: 1s, most: 2s}}
providers: {local: {type: generated}}
destinations:
  app: {type: env-file, path: app.env}
  other: {type: env-file, path: other/other.env}
defaults: {policy: {grace: 1h, soak: 1h, min_interval: 0s, rotate_every: 30d}}
credentials:
  web:
    provider: local
    labels: {team: web}
    destinations: [{to: app, fields: {WEB: "{secret}"}}]
  mail:
    provider: local
    labels: {team: mail}
    destinations: [{to: other, fields: {MAIL: "{secret}"}}]
"""


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err

    @property
    def lines(self) -> list[dict[str, Any]]:
        """stdout as lines of JSON."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def json(self) -> dict[str, Any]:
        """stdout as one JSON document."""
        document: dict[str, Any] = json.loads(self.out)
        return document


class House:
    """A folder with a configuration, a key and a database."""

    def __init__(self, folder: Path, canaries: Canaries) -> None:
        self.folder = folder
        self.canaries = canaries
        self.said: list[str] = []

    def write(self, text: str) -> None:
        """Replace the configuration."""
        (self.folder / "rotator.yaml").write_text(text, encoding="utf-8")

    def change(self, old: str, new: str) -> None:
        """Change the configuration in one place."""
        text = (self.folder / "rotator.yaml").read_text(encoding="utf-8")
        assert old in text
        self.write(text.replace(old, new))

    def values(self, file: str = "app.env") -> dict[str, str]:
        """What consumers read."""
        path = self.folder / file
        return dict(read_env(path.read_text(encoding="utf-8"))) if path.exists() else {}

    def environ(self, changes: Mapping[str, str] | None = None) -> dict[str, str]:
        """Of the processes that are started here."""
        return {**os.environ, "PYTHONPATH": str(ROOT), "ROTATOR_ACTOR": "cli:ann@test", **(changes or {})}

    def start(self, *command: str, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        """Start `rotator …`."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [*COMMAND, *command], cwd=self.folder, env=self.environ(env), text=True, **{**pipes, **options}
        )

    def end(self, process: subprocess.Popen[str], stdin: str | None = None) -> Ran:
        """Wait for its end."""
        self.see()
        out, err = process.communicate(stdin, timeout=60)
        self.see()
        self.said += [out or "", err or ""]
        assert "Traceback" not in (err or "")
        return Ran(process.returncode, out or "", err or "")

    def run(self, *command: str, stdin: str | None = None, env: Mapping[str, str] | None = None) -> Ran:
        """Run `rotator …` to its end."""
        self.see()
        with TemporaryDirectory() as name:
            streams = Path(name)
            (streams / "in").write_text(stdin or "", encoding="utf-8")
            status = run_command(command, self.folder, self.environ(env), streams)
            out, err = (_said(streams / name) for name in ("out", "err"))
        self.see()
        self.said += [out, err]
        assert "Traceback" not in err
        return Ran(status, out, err)

    def rotate(self, *options: str, stdin: str | None = None) -> Ran:
        """Run `rotate …`."""
        return self.run("rotate", *options, stdin=stdin)

    def on_terminal(self, *command: str, typed: str = "", env: Mapping[str, str] | None = None) -> Ran:
        """Run a command on a terminal; `typed` is what a person types at its questions, one line each."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.execve(sys.executable, [*COMMAND, *command], self.environ({"TERM": "xterm", **(env or {})}))
        said, left = b"", typed.splitlines(keepends=True)
        while True:
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # its end was closed
                break
            if not piece:
                break
            said += piece
            if left and said.rstrip().endswith((b":", b"]")):
                os.write(terminal, left.pop(0).encode())
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(terminal)
        self.see()
        self.said.append(said.decode())
        return Ran(status, said.decode(), "")

    @contextmanager
    def opened(self) -> Iterator[Service]:
        """The same installation in this process: a quick look beside the commands."""
        with opened(load(self.folder / "rotator.yaml"), surroundings(), unlock=False) as service:
            yield service

    def status(self, name: str = "web") -> dict[str, Any]:
        """One credential in the shape of `status --json`."""
        with self.opened() as service:
            entry: dict[str, Any] = service.report().status([name])["credentials"][0]
        return entry

    def events(self) -> list[dict[str, Any]]:
        """The whole trail, as it is exported."""
        with self.opened() as service:
            return [json.loads(line) for line in export(service.store)]

    def happened(self, event: str) -> int:
        """How often it is in the trail."""
        return sum(1 for line in self.events() if line["event"] == event)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that writers of app.env take: a push waits, as for a slow place."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def see(self) -> None:
        """Note every secret there is now: none of them may ever be said."""
        values = [v for path in self.folder.rglob("*.env") for v in read_env(path.read_text(encoding="utf-8")).values()]
        with suppress(FileNotFoundError):
            values.append((self.folder / "rotator.key").read_text(encoding="utf-8").strip())
        for value in values:
            if len(value) > SHORT:
                self.canaries.watch(value)

    def prove_silence(self) -> None:
        """No command has ever said a secret."""
        self.see()
        for text in self.said:
            assert not self.canaries.found_in(text)


def _said(stream: Path) -> str:
    return stream.read_text(encoding="utf-8") if stream.exists() else ""


def new_house(folder: Path, template: Path, canaries: Canaries) -> House:
    """A copy of a set-up installation, with the configuration above."""
    shutil.copytree(template, folder, dirs_exist_ok=True)
    house = House(folder, canaries)
    house.write(CONFIGURATION)
    (folder / "other").mkdir(exist_ok=True)
    return house


def until(true: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)
