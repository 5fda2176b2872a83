"""A service of systemd on this machine, asked by `systemctl show`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from rotator import settings
from rotator.domain.errors import Refused, Unavailable
from rotator.ports.consumer import Process

_PROPERTIES = ("LoadState", "ActiveState", "MainPID", "ExecMainStartTimestamp")
_AT_REST = ("inactive", "failed")


class UnitSettings(settings.Settings):
    """`consumers: [{systemd: web.service}]`."""

    systemd: Annotated[str, Field(pattern=r"^[A-Za-z0-9:_.][A-Za-z0-9:_.\\@-]{0,200}\.service$")]


class SystemdUnit:
    """One unit. A reload is no start: what reads its key at a reload is no consumer of this kind."""

    Settings: ClassVar[type[Any]] = UnitSettings

    def __init__(self, settings: UnitSettings, timeout: timedelta) -> None:
        self._unit = settings.systemd
        self._timeout = timeout.total_seconds()

    @property
    def name(self) -> str:
        """The unit."""
        return self._unit

    def processes(self) -> Sequence[Process]:
        """Its main process; none where the unit is at rest. One without a main process cannot be told."""
        shown = self._show()
        if shown.get("LoadState") != "loaded":
            message = f"systemd has no unit {self._unit} loaded ({shown.get('LoadState', 'no answer')})"
            raise Refused(message, remedy="correct `consumers`, or take it out")
        pid, state = shown.get("MainPID", ""), shown.get("ActiveState")
        if pid == "0" and state in _AT_REST:
            return []
        if not pid.isdigit() or pid == "0":
            message = f"{self._unit} is {state} and has no main process"
            raise Unavailable(message, remedy="name what runs its processes, or let them report by `rotator seen`")
        return [Process(name=f"pid {pid}", started_at=self._time(shown.get("ExecMainStartTimestamp", "")))]

    def close(self) -> None:
        """There is no connection."""

    def _show(self) -> Mapping[str, str]:
        program = shutil.which("systemctl")
        if program is None:
            message = "there is no program `systemctl` here"
            raise Refused(message, remedy="run the service where systemd is, or take the unit out of `consumers`")
        command = [program, "show", *(f"--property={name}" for name in _PROPERTIES), "--", self._unit]
        # Nothing of our environment but the path: it may hold secrets. Times in UTC, words in English.
        environment = {"PATH": os.environ.get("PATH", os.defpath), "TZ": "UTC", "LC_ALL": "C", "SYSTEMD_COLORS": "0"}
        try:
            ran = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=self._timeout / 2,  # so that the call's budget is not used up
            )
        except subprocess.TimeoutExpired:
            message = f"systemctl did not answer for {self._unit}"
            raise Unavailable(message) from None
        except OSError as problem:
            message = f"{program} cannot be run: {problem.strerror}"
            raise Unavailable(message) from None
        if ran.returncode:
            message = f"systemctl ended with {ran.returncode} for {self._unit}"
            raise Unavailable(message, remedy="see whether the service's user may ask systemd")
        lines = (line.partition("=") for line in ran.stdout.decode(errors="replace").splitlines())
        return {name: value for name, _, value in lines}

    def _time(self, text: str) -> datetime:
        """`Thu 2026-11-26 09:12:00 UTC`: the second in which it began, so never later than it was."""
        try:
            return datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
        except ValueError:
            message = f"systemd does not say since when {self._unit} runs"
            raise Unavailable(message) from None
