"""A program of this machine that writes its process id into a file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from rotator import settings
from rotator.access.pids import age_of, read_pidfile
from rotator.domain.errors import Refused, Unavailable
from rotator.ports.consumer import Process


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
        try:
            age = age_of(pid)
        except OSError:
            message = "this system has no /proc to look at processes"
            raise Refused(message) from None
        return (
            [] if age is None else [Process(name=f"pid {pid}", started_at=datetime.now(UTC) - timedelta(seconds=age))]
        )

    def close(self) -> None:
        """There is no connection."""

    def _pid(self) -> int:
        try:
            return read_pidfile(self._path)[0]
        except FileNotFoundError:
            message = f"there is no file {self._path}"
            remedy = f"start what writes {self._path}, or take it out of `consumers`"
            raise Unavailable(message, remedy=remedy) from None
        except OSError as problem:
            message = f"cannot read {self._path}: {problem.strerror}"
            raise Refused(message, remedy="let the service's user read it; it must be no link") from None
        except ValueError as problem:
            raise Unavailable(str(problem), remedy="see what writes it") from None
