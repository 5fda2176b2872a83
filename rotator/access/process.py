"""A program of the user's: no shell, little of our environment, an end in time, and no secret in what it says."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rotator.domain.errors import TemporaryError
from rotator.domain.redaction import redacted
from rotator.domain.secret import Secret

PASSED_ON = ("PATH", "HOME", "LANG")
"""All that a program gets of our own environment unasked."""

_MOST_SAID = 8192  # bytes of its stderr that are kept, from the end
_PIPE = 65536  # bytes that may wait there when it has ended
_LONGEST = 200  # characters of a message
_POLL = 0.05  # seconds


@dataclass(frozen=True, kw_only=True)
class Program:
    """One way to start a program. `passed_on` names further variables of our environment."""

    arguments: Sequence[str]
    limit: float  # seconds
    passed_on: Sequence[str] = ()

    def run(self, stdin: Secret | None, secrets: Iterable[Secret]) -> None:
        """Run it to its end. Raises TemporaryError with its exit status and the last line that it wrote to stderr.

        Where it takes longer than the limit, it and whatever it started in its process group is killed. `secrets` are
        taken out of that line, and so are the values of the variables passed on.
        """
        environment = self._environment()
        try:
            process = subprocess.Popen(
                list(self.arguments),
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd="/",
                env=environment,
                start_new_session=True,
            )
        except OSError as problem:
            message = f"{self.arguments[0]} cannot be started: {problem.strerror or type(problem).__name__}"
            raise TemporaryError(message) from None
        with process:
            said = self._outlived(process, stdin)
        if process.returncode == 0:
            return
        named = [environment[name] for name in self.passed_on if name in environment]
        line = _last_line(said, [*(secret.reveal() for secret in secrets), *named])
        raise TemporaryError(f"{_ended(process.returncode)}: {line}" if line else _ended(process.returncode))

    def missing(self) -> str | None:
        """Why it could not be started as things are now."""
        program = self.arguments[0]
        if shutil.which(program, path=os.environ.get("PATH")) is not None:
            return None
        return f"{program} is not executable" if Path(program).is_file() else f"there is no program {program}"

    def _environment(self) -> dict[str, str]:
        return {name: os.environ[name] for name in (*PASSED_ON, *self.passed_on) if name in os.environ}

    def _outlived(self, process: subprocess.Popen[bytes], stdin: Secret | None) -> bytes:
        """The end of what it wrote to stderr, once it has ended. What it left in the background is not waited for."""
        assert process.stderr is not None
        end = time.monotonic() + self.limit
        try:
            if stdin is not None and process.stdin is not None:
                with suppress(BrokenPipeError):  # it has ended, or does not read; its status says what that means
                    _write(process.stdin.fileno(), stdin.reveal().encode(), end)
                process.stdin.close()
            said = _Said()
            while process.poll() is None:
                if time.monotonic() > end:
                    message = f"it took longer than {self.limit:g} s and was killed"
                    raise TemporaryError(message)
                said.hear(process.stderr.fileno(), _POLL)
            for _ in range(_PIPE // _MOST_SAID):  # whoever it left in the background may go on writing
                said.hear(process.stderr.fileno(), 0)
            return said.lines
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # a group of its own: it began a session


def _write(pipe: int, content: bytes, end: float) -> None:
    """Write all of it, as long as there is time: a program that does not read must not keep us."""
    os.set_blocking(pipe, False)
    while content and time.monotonic() < end:
        if _ready(pipe, select.POLLOUT, _POLL):
            content = content[os.write(pipe, content) :]


def _ready(pipe: int, event: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(pipe, event)
    return bool(poll.poll(seconds * 1000))


@dataclass
class _Said:
    """The end of what a program wrote to stderr."""

    content: bytes = b""
    cut: bool = False

    def hear(self, pipe: int, seconds: float) -> None:
        """Wait so long for more, and take in a part of it."""
        if not _ready(pipe, select.POLLIN, seconds):
            return
        read = os.read(pipe, _MOST_SAID)
        if not read:
            time.sleep(seconds)  # it has closed its stderr and goes on
        self.content += read
        self.cut = self.cut or len(self.content) > _MOST_SAID
        self.content = self.content[-_MOST_SAID:]

    @property
    def lines(self) -> bytes:
        """Whole lines: one without its beginning could begin with half a secret."""
        return self.content.partition(b"\n")[2] if self.cut else self.content


def _ended(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"killed by {_signal_name(-status)}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(said: bytes, secrets: Iterable[str]) -> str:
    text = redacted(said.decode(errors="replace"), secrets)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = "".join(c if c.isprintable() else "?" for c in lines[-1]) if lines else ""
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
