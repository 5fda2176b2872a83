"""A signal, to the process that a pid file names or to the main process of a systemd unit."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from rotator.access.pids import age_of, read_pidfile
from rotator.access.process import Program
from rotator.domain.errors import TemporaryError
from rotator.ports.hook import Occasion
from rotator.settings import FilePath, Settings

_UNIT = r"^[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]*$"
_NOT_SENT = ("KILL", "STOP")  # nobody reads anew by these
_SLACK = 2.0  # seconds by which a process may seem younger than the file that names it


def _signal(value: object) -> str:
    name = value.upper().removeprefix("SIG") if isinstance(value, str) else ""
    if name in _NOT_SENT or not hasattr(signal.Signals, f"SIG{name}"):
        message = "is not the name of a signal that makes a process read anew, such as HUP or USR1"
        raise ValueError(message)
    return name


class SignalSettings(Settings):
    """`{signal: HUP, pidfile: /run/web.pid}`, or `{signal: HUP, systemd: web.service}`."""

    signal: Annotated[str, BeforeValidator(_signal), WithJsonSchema({"type": "string", "examples": ["HUP", "USR1"]})]
    pidfile: FilePath | None = None
    systemd: str | None = Field(default=None, pattern=_UNIT, max_length=255)

    @model_validator(mode="after")
    def _one_receiver(self) -> Self:
        if (self.pidfile is None) == (self.systemd is None):
            message = "needs a receiver: either `pidfile` or `systemd`"
            raise ValueError(message)
        return self


class Signal:
    """Sends it."""

    Settings: ClassVar[type[SignalSettings]] = SignalSettings

    def __init__(self, settings: SignalSettings, limit: timedelta) -> None:
        self._settings = settings
        self._limit = limit.total_seconds()

    @property
    def name(self) -> str:
        """The signal and who gets it."""
        return f"signal {self._settings.signal} to {self._settings.systemd or self._settings.pidfile}"

    def trouble(self) -> str | None:
        """Whether the pid file's folder, or systemctl, is there."""
        pidfile = self._settings.pidfile
        if pidfile is None:
            return self._systemctl().missing()
        return None if pidfile.parent.is_dir() else f"there is no folder {pidfile.parent}"

    def run(self, occasion: Occasion) -> None:  # noqa: ARG002 - a signal says nothing but itself
        """Send it once."""
        if self._settings.pidfile is None:
            self._systemctl().run(None, ())
        else:
            _send_to(self._settings.pidfile, signal.Signals[f"SIG{self._settings.signal}"])

    def _systemctl(self) -> Program:
        unit = self._settings.systemd or ""
        arguments = ["systemctl", "kill", "--kill-who=main", f"--signal=SIG{self._settings.signal}", "--", unit]
        return Program(arguments=arguments, limit=self._limit)


def _send_to(pidfile: Path, number: signal.Signals) -> None:
    pid, written_at = _read(pidfile)
    if pid == 1:
        message = f"{pidfile} names process 1, whose signals mean something else"
        raise TemporaryError(message)
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        message = f"{pidfile} names process {pid}, which is not running"
        raise TemporaryError(message) from None
    except OSError as problem:
        message = f"process {pid} of {pidfile} cannot be reached: {problem.strerror}"
        raise TemporaryError(message) from None
    try:  # from here on it is this one process, or none
        age = age_of(pid)
        if age is None or time.time() - age > written_at + _SLACK:
            message = f"{pidfile} is older than process {pid}: the one that it names has ended"
            raise TemporaryError(message)
        signal.pidfd_send_signal(process, number)
    except OSError as problem:
        message = f"process {pid} of {pidfile} does not take the signal: {problem.strerror}"
        raise TemporaryError(message) from None
    finally:
        os.close(process)


def _read(pidfile: Path) -> tuple[int, float]:
    try:
        return read_pidfile(pidfile)
    except OSError as problem:
        message = f"{pidfile} cannot be read: {problem.strerror}"
        raise TemporaryError(message) from None
    except ValueError as problem:
        raise TemporaryError(str(problem)) from None
