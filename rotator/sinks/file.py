"""A file of lines that grows. Whoever rotates it renames it: it is opened anew for every batch."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from rotator.access.formats import FORMATS, Origin
from rotator.access.sinks import SinkSettings
from rotator.domain.errors import Refused, RotatorError, Unavailable
from rotator.ports.store import StoredEvent
from rotator.settings import FilePath

_BLOCK = 64 * 1024


class FileSettings(SinkSettings):
    """`{type: file, path: /var/log/rotator/audit.jsonl}`."""

    path: FilePath


class FileSink:
    """Appends lines and has them on the disk before it says that it did."""

    Settings: ClassVar[type[FileSettings]] = FileSettings

    most = 1000

    def __init__(self, settings: FileSettings, origin: Origin, timeout: timedelta) -> None:  # noqa: ARG002
        self._path = settings.path
        self._line, self._origin = FORMATS[settings.format], origin

    def take(self, events: Sequence[StoredEvent]) -> None:
        """Append them. A line that a crash has cut off is taken away first; it comes again."""
        lines = "".join(f"{self._line(event, self._origin)}\n" for event in events).encode()
        try:
            # Through a link one would write elsewhere, and a pipe that nobody reads would hang.
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            handle = os.open(self._path, flags, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                os.ftruncate(handle, _whole(handle))
                _write(handle, lines)
                os.fsync(handle)
            finally:
                os.close(handle)
            self._keep_name()
        except OSError as problem:
            raise _trouble(self._path, problem) from None

    def look(self) -> None:
        """Whether the file, or its folder where there is none yet, could be written."""
        path = self._path
        try:
            os.close(os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
        except FileNotFoundError:
            if not os.access(path.parent, os.W_OK | os.X_OK):
                message = f"cannot make {path}: there is no folder {path.parent}, or we may not write there"
                raise Unavailable(message) from None
        except OSError as problem:
            raise _trouble(path, problem) from None

    def _keep_name(self) -> None:
        """A new file is there after a crash only when its folder is on the disk as well."""
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Nothing is kept open."""


def _trouble(path: Path, problem: OSError) -> RotatorError:
    why = "it is a link" if problem.errno == errno.ELOOP else problem.strerror
    message = f"cannot write {path}: {why}"
    return (Refused if problem.errno == errno.ELOOP else Unavailable)(message)


def _whole(handle: int) -> int:
    """How long the file is up to the end of its last whole line."""
    end = os.fstat(handle).st_size
    while end:
        start = max(end - _BLOCK, 0)
        at = os.pread(handle, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def _write(handle: int, content: bytes) -> None:
    while content:
        content = content[os.write(handle, content) :]
