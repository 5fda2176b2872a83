"""What the test servers share: a free port, a child process that ends with us, and the wait until it is ready."""

from __future__ import annotations

import atexit
import ctypes
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"
_PORTS = range(20_000, 32_768)  # Linux hands out ephemeral ports from 32768 on; below it nobody takes ours by chance
_READY_WITHIN = 60.0  # seconds; all of them need less than one, unless the machine is very busy
_STOPPED_WITHIN = 15.0  # seconds
_PR_SET_PDEATHSIG = 1  # prctl(2)
_LOG_SHOWN = 3000  # characters


class NotReady(Exception):
    """A test server did not start; the message holds the end of its log."""


@dataclass(frozen=True)
class Account:
    """The operating system user that a server runs as."""

    uid: int
    gid: int


def free_port(*, width: int = 1) -> int:
    """Return the first of `width` consecutive loopback ports below 32768 that nobody listens on."""
    while True:
        first = random.choice(_PORTS[: len(_PORTS) - width])
        if all(_is_free(first + n) for n in range(width)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def http_status(port: int, path: str, headers: Mapping[str, str] | None = None) -> int | None:
    """GET `path` from the loopback port and return the status, or None where nobody answers."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def wait_until(condition: Callable[[], bool], *, within: float) -> bool:
    """Ask every 20 ms until `condition` holds; False when it did not within that many seconds."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _dies_with_us(stop_signal: int) -> Callable[[], None] | None:
    """Return what a child runs before it becomes the server, so that not even our SIGKILL leaves it behind (Linux)."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: afterwards only the call itself is safe
    parent = os.getpid()

    def leash() -> None:
        prctl(_PR_SET_PDEATHSIG, stop_signal)
        if os.getppid() != parent:  # we were gone before the line above
            os._exit(1)

    return leash


def _has_ended(pid: int) -> bool:
    """Whether a child of ours is dead, without letting go of its process id."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _children(pid: int) -> list[int]:
    """The children of a process, as Linux tells them; none elsewhere."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _is_gone(pid: int) -> bool:
    """Whether a process of any parent has ended, though it may not have been waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class Server(ABC):
    """A server in a process group of its own, on a free loopback port, with its files in a temporary folder.

    As a context manager it is started, then stopped and its folder removed. `stop` and `start` in between keep port and
    folder. It ends with this program in any case; on Linux that means with the thread that called `start`.
    """

    runs_as: Account | None = None
    """Whom it runs as; None is whoever we are."""

    stop_signal = signal.SIGTERM
    ports = 1
    """How many consecutive ports it listens on."""

    def __init__(self) -> None:
        self.port = free_port(width=self.ports)
        self.folder = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._has_run = False

    @abstractmethod
    def command(self) -> list[str]:
        """Return the program and its arguments."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether it already answers everything that its users may ask first."""

    def prepare(self) -> None:  # noqa: B027  # most need nothing
        """Make what the command needs in the empty `folder`; called once."""

    def environment(self) -> dict[str, str]:
        """Return all environment variables it gets: none of ours but PATH, so that no setting leaks in."""
        return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder), "LANG": "C.UTF-8", "TZ": "UTC"}

    @property
    def log(self) -> str:
        """Everything it has printed so far."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def processes(self) -> list[int]:
        """Its process and those that it has started itself, as Linux tells them; none while it does not run."""
        return [self._process.pid, *_children(self._process.pid)] if self._process is not None else []

    def is_running(self) -> bool:
        """Whether its process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and return once it is ready; nothing is done when it runs. Raises NotReady."""
        if self.is_running():
            return
        try:
            if self.folder == Path():
                self._make_folder()
            self._start()
        except OSError as problem:
            self.close()
            message = f"{type(self).__name__} cannot be started: {problem}"
            raise NotReady(message) from problem

    def _start(self) -> None:
        while True:
            self._launch()
            wait_until(lambda: not self.is_running() or self.ready(), within=_READY_WITHIN)
            if self.is_running() and self.ready():
                self._has_run = True
                return
            self.stop()
            if self._has_run or _is_free(self.port):  # else somebody was quicker: try another port
                break
            self.port = free_port(width=self.ports)
        message = (
            f"{type(self).__name__} did not get ready on port {self.port}; its log ends with:\n{self.log[-_LOG_SHOWN:]}"
        )
        self.close()
        raise NotReady(message)

    def stop(self) -> None:
        """End the process and every child of it; repeatable."""
        if self._process is None or os.getpid() != self._owner:  # a fork of ours must not end our servers
            return
        process, self._process = self._process, None
        if process.poll() is None:
            process.send_signal(self.stop_signal)
            wait_until(lambda: _has_ended(process.pid), within=_STOPPED_WITHIN)
            os.killpg(process.pid, signal.SIGKILL)  # what is left of it; its number is not reused before the next line
        process.wait()

    def kill(self) -> None:
        """End the process and every child of it at once, as a power failure would; `start` brings it back."""
        if self._process is None or os.getpid() != self._owner:
            return
        process, self._process = self._process, None
        if process.poll() is None:
            children = _children(process.pid)
            os.killpg(process.pid, signal.SIGKILL)
            for child in children:  # PostgreSQL's are groups of their own, and hold its memory until they have gone
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            wait_until(lambda: all(map(_is_gone, children)), within=_STOPPED_WITHIN)
        process.wait()

    def close(self) -> None:
        """Stop it and remove its folder; repeatable. It may be started again, empty."""
        if os.getpid() != self._owner:
            return
        self.stop()
        if self.folder != Path():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = Path()
        self._has_run = False
        atexit.unregister(self.close)

    def run(self, command: list[str]) -> None:
        """Run a program to its end as the server's user. Raises NotReady with what it printed."""
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            check=False,
            cwd=self.folder,
            env=self.environment(),
            **self._identity(),
        )
        if done.returncode:
            printed = done.stdout.decode(errors="replace")[-_LOG_SHOWN:]
            message = f"{Path(command[0]).name} ended with status {done.returncode}:\n{printed}"
            raise NotReady(message)

    def give(self, path: Path) -> None:
        """Let the server's user own this file or folder."""
        if self.runs_as:
            os.chown(path, self.runs_as.uid, self.runs_as.gid)

    def _identity(self) -> dict[str, Any]:
        if self.runs_as is None:
            return {}
        return {"user": self.runs_as.uid, "group": self.runs_as.gid, "extra_groups": []}

    def _make_folder(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__.lower()}-"))
        atexit.register(self.close)
        try:
            self.give(self.folder)
            self.prepare()
        except BaseException:
            self.close()
            raise

    def _launch(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environment(),
                start_new_session=True,  # Ctrl-C in our terminal is for us; we end it in order
                preexec_fn=_dies_with_us(self.stop_signal),  # noqa: PLW1509  # the one call in it is safe after a fork
                **self._identity(),
            )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
