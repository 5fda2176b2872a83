"""A program of this machine that writes its process id into a file."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from rotator import settings
from rotator.domain.errors import Refused, Unavailable
from rotator.ports.consumer import Process

_LONGEST = 64  # bytes; a process id and white space
_STARTED = 19  # field 22 of proc_pid_stat(5), counted from the state on
_GONE = ("Z", "X", "x")  # states of what is no process any more: nothing of it reads anything


class PidFileSettings(settings.Settings):
    """`consumers: [{pidfile: /run/web.pid}]`."""

    pidfile: settings.FilePath


class PidFile:
    """Reads the file and Linux's `/proc`. Both must be those of the machine, or container, that the program runs in."""

    Settings: ClassVar[type[Any]] = PidFileSettings

    def __init__(self, settings: PidFileSettings, timeout: timedelta) -> None:  # noqa: ARG002 - nothing here waits
        self._path = settings.pidfile

    @property
    def name(self) -> str:
        """The path."""
        return str(self._path)

    def processes(self) -> Sequence[Process]:
        """The process; none where its id is nobody's. A file that is not there says nothing: Unavailable."""
        pid = self._pid()
        started_at = _started(pid)
        return [] if started_at is None else [Process(name=f"pid {pid}", started_at=started_at)]

    def close(self) -> None:
        """There is no connection."""

    def _pid(self) -> int:
        try:
            with closing(_Descriptor(self._path)) as file:
                text = file.read()
        except FileNotFoundError:
            message = f"there is no file {self._path}"
            remedy = f"start what writes {self._path}, or take it out of `consumers`"
            raise Unavailable(message, remedy=remedy) from None
        except OSError as problem:
            message = f"cannot read {self._path}: {problem.strerror}"
            raise Refused(message, remedy="let the service's user read it") from None
        word = text.strip()
        if not word.isdigit() or not 0 < int(word) < 2**31:
            message = f"{self._path} does not hold a process id"
            raise Unavailable(message, remedy="see what writes it")
        return int(word)


class _Descriptor:
    """The file, opened so that a pipe or a device in its place keeps nobody waiting."""

    def __init__(self, path: Path) -> None:
        self._number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def read(self) -> str:
        return os.read(self._number, _LONGEST).decode("ascii", errors="replace")

    def close(self) -> None:
        os.close(self._number)


def _started(pid: int) -> datetime | None:
    """When a process began, by this host's clock; None: there is none. Both its parts count from the boot."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        if not Path("/proc/self/stat").exists():
            message = "this system has no /proc to look at processes"
            raise Refused(message) from None
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    if fields[0] in _GONE:
        return None
    since_boot = int(fields[_STARTED]) / os.sysconf("SC_CLK_TCK")
    return datetime.now(UTC) - timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot)
