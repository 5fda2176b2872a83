"""What every process of ours gives up before a secret is in its memory."""

from __future__ import annotations

import os
import sys
import threading

_PR_SET_DUMPABLE = 4  # prctl(2)


def harden() -> None:
    """Make files for ourselves alone, and show what is in memory to nobody: no dump, process, key log or traceback."""
    os.umask(0o077)
    os.environ.pop("SSLKEYLOGFILE", None)  # Python's ssl would write there what opens a recorded TLS connection
    _tell_by_place()
    try:
        import ctypes
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # No core dump, also not by a pipe, and no other process of this user may look into ours.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (ImportError, OSError, ValueError, AttributeError):  # another system, or a Python built without them
        from rotator import logs

        logs.log.info("core dumps could not be switched off")


def _tell_by_place() -> None:
    """What ends the process, a thread or an object's life is told as any bug: by its place, without its text."""
    sys.excepthook = lambda _kind, problem, _calls: _uncaught("the process", problem)
    threading.excepthook = lambda ended: _uncaught(ended.thread.name if ended.thread else "a thread", ended.exc_value)
    sys.unraisablehook = lambda ended: _uncaught(f"the end of a {type(ended.object).__name__}", ended.exc_value)


def _uncaught(where: str, problem: BaseException | None) -> None:
    from rotator import logs  # when there is one: `--help` needs no logging

    if problem is not None and not isinstance(problem, SystemExit):
        logs.bug(where, problem)
