"""Processes of this machine: the file that a program writes its id into, and since when a process runs (Linux)."""

from __future__ import annotations

import os
import re
import stat
import time
from pathlib import Path

_LARGEST = 64  # bytes: an id and white space
_STARTED = 19  # field 22 of proc_pid_stat(5), counted from the state on
_GONE = ("Z", "X", "x")  # states of what is no process any more: nothing of it reads anything


def read_pidfile(path: Path) -> tuple[int, float]:
    """The id in a file, and when that was written (seconds since 1970).

    Raises OSError where it cannot be read, and ValueError with the reason where it cannot be believed: a link, no
    regular file, one that everybody may write, or one that holds something else.
    """
    # Non-blocking, since a named pipe would keep us waiting for its writer.
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & stat.S_IWOTH:
            message = f"{path} is no file, or one that everybody may write"
            raise ValueError(message)
        content = os.pread(file, _LARGEST, 0)
    finally:
        os.close(file)
    found = re.fullmatch(rb"\s*(\d{1,10})\s*", content)
    if found is None or not 0 < int(found[1]) < 2**31:
        message = f"{path} holds no number of a process"
        raise ValueError(message)
    return int(found[1]), status.st_mtime


def age_of(pid: int) -> float | None:
    """For how many seconds a process has run; None: there is none. Both its parts count from the boot.

    Raises OSError where this system has no `/proc`.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        os.stat("/proc/self/stat")  # noqa: PTH116 - its error is the answer
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    if fields[0] in _GONE:
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_STARTED]) / os.sysconf("SC_CLK_TCK")
