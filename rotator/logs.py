"""Log lines on stderr: ours by choice, other libraries' from WARNING on, and never the text of an unknown error."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any, TextIO

log = logging.getLogger("rotator")

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class _Floor(logging.Filter):
    """Lets our own lines through, and those of others from WARNING on, whatever level their loggers have.

    boto3, httpx and their like log requests, headers and bodies below that.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or record.name.partition(".")[0] == log.name


class _StandardError(logging.StreamHandler[Any]):
    """Writes to whatever stderr is at the moment: the live table puts its own there for a while."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.addFilter(_Floor())
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _stream: object) -> None:
        """It is looked up at each line."""


def set_up(verbosity: int) -> None:
    """Log to stderr: 0 warnings, 1 what happens, 2 everything of ours. May be repeated."""
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _StandardError)]:
        root.removeHandler(handler)
    root.addHandler(_StandardError())
    root.setLevel(logging.WARNING)
    log.setLevel(_LEVELS[min(verbosity, len(_LEVELS) - 1)])
    logging.captureWarnings(capture=True)
    threading.excepthook = _thread_ended


def bug(name: str, problem: BaseException) -> None:
    """Log an exception that nobody expected. Its own text is left out, for it may quote anything."""
    log.error("%s: this is a bug: %s", name, describe(problem))
    trace(name, problem)


def trace(name: str, problem: BaseException) -> None:
    """Log where an exception was raised, at INFO (`-v`), without the exception's own text."""
    log.info("%s: the calls that led there:\n%s", name, "".join(_calls(problem)).rstrip())


def describe(problem: BaseException) -> str:
    """The exception's type and place, without its text."""
    frames = traceback.extract_tb(problem.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    return f"{type(problem).__name__}{where}"


def _calls(problem: BaseException) -> Iterator[str]:
    cause = problem.__cause__ or (None if problem.__suppress_context__ else problem.__context__)
    if cause is not None:
        yield from _calls(cause)
        yield "and then:\n"
    yield from traceback.format_list(traceback.extract_tb(problem.__traceback__))
    yield f"{type(problem).__name__}\n"


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
        bug(ended.thread.name if ended.thread else "a thread", ended.exc_value)
