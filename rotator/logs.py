"""Log lines on stderr: ours by choice, other libraries' from WARNING on, and never the text of an unknown error.

Text for people, or one JSON object each. A line that is written while something is done for a credential says for which
one, and in which rotation or retirement; a line that tells an event of the audit trail has the event's name and fields.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from rotator.ports.doing import Doing

log = logging.getLogger("rotator")
events = logging.getLogger("rotator.events")

Form = Literal["text", "json"]

_DOING: ContextVar[Doing | None] = ContextVar("doing", default=None)
_TOLD = ("event", "credential", "rotation", "version", "key_id", "destination", "attempt", "reason", "actor", "seq")
"""The fields of an event that its line has in JSON; `detail` stays in the trail."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class _Floored(logging.Logger):
    """A logger that lets our own lines through, and those of others from WARNING on, whatever level they are set to.

    boto3, httpx and their like log requests, headers and bodies below that.
    """

    @property
    def _floor(self) -> int:
        return logging.NOTSET if self.name.partition(".")[0] == log.name else logging.WARNING

    def getEffectiveLevel(self) -> int:  # noqa: N802 - logging's own name
        """The level, but never below the floor."""
        return max(super().getEffectiveLevel(), self._floor)

    def handle(self, record: logging.LogRecord) -> None:
        """Pass on what is not below the floor: SQLAlchemy's `echo` has levels of its own."""
        if record.levelno >= self._floor:
            super().handle(record)


class _Formatter(logging.Formatter):
    """One line; in text as many as the message has. Everything that is logged goes through here.

    Once all of it is rendered, every secret that is in memory is taken out; exceptions have no text.
    """

    def __init__(self, form: Form) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        from rotator.domain import secret  # when there is a line: `--help` needs none of it

        record.exc_text = None  # what another formatter made of the exception
        return secret.without_secrets(self._rendered(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's own name
        return "".join(_calls(ei[1])).rstrip()

    def _rendered(self, record: logging.LogRecord) -> str:
        about = _about(record)
        if self._form == "json":
            return json.dumps(_fields(record, about), ensure_ascii=False)
        told = [f"{name}={about[name]}" for name in ("rotation", "retirement") if about.get(name)]
        return clean(super().format(record)) + (f" [{' '.join(told)}]" if told else "")


def _about(record: logging.LogRecord) -> Mapping[str, Any]:
    """What a line is about: the event that it tells, else what is being done as it is written."""
    told: Mapping[str, Any] | None = getattr(record, "told", None)
    if told is not None:
        return told
    doing = _DOING.get()
    if doing is None:
        return {}
    return {"credential": doing.credential, "rotation": doing.rotation, "retirement": doing.retirement}


def _fields(record: logging.LogRecord, about: Mapping[str, Any]) -> dict[str, Any]:
    """A line in JSON; `credential` and `rotation` are always there."""
    fields: dict[str, Any] = {
        "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
        "credential": None,
        "rotation": None,
    }
    fields |= {name: about[name] for name in (*_TOLD, "retirement") if about.get(name) is not None}
    if record.exc_info and record.exc_info[0] is not None:
        fields["exception"] = record.exc_info[0].__name__
    return fields


class _StandardError(logging.StreamHandler[Any]):
    """Writes to whatever stderr is at the moment: the live table puts its own there for a while."""

    def __init__(self, form: Form) -> None:
        super().__init__(sys.stderr)
        self.form = form
        self.setFormatter(_Formatter(form))

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _stream: object) -> None:
        """It is looked up at each line."""


def set_up(verbosity: int, form: Form = "text") -> None:
    """Log to stderr: 0 warnings, 1 what happens, 2 everything of ours. May be repeated."""
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _StandardError)]:
        root.removeHandler(handler)
    root.addHandler(_StandardError(form))
    root.setLevel(logging.WARNING)
    log.setLevel(_LEVELS[min(verbosity, len(_LEVELS) - 1)])
    logging.captureWarnings(capture=True)
    _floor_all()


def _floor_all() -> None:
    """Whoever got a logger before us, or will get one, has one with a floor."""
    logging.setLoggerClass(_Floored)
    known = [found for found in logging.root.manager.loggerDict.values() if isinstance(found, logging.Logger)]
    for logger in known:
        if type(logger) is logging.Logger:
            logger.__class__ = _Floored
        logger.manager._clear_cache()  # type: ignore[attr-defined]  # noqa: SLF001 - which levels are enabled is remembered


def in_json() -> bool:
    """Whether whoever reads stderr reads JSON: then messages for people are lines of it as well."""
    handlers = (h for h in logging.getLogger().handlers if isinstance(h, _StandardError))
    return any(handler.form == "json" for handler in handlers)


@contextmanager
def doing(what: Doing) -> Iterator[None]:
    """A lookout (`ports.doing`): lines that are written meanwhile say what they are about."""
    token = _DOING.set(what)
    try:
        yield
    finally:
        _DOING.reset(token)


def tell(body: Mapping[str, Any], address: str | None = None) -> None:
    """Log an event of the audit trail, at INFO. `address`: where its destination is, if that is clear."""
    events.info("%s", event_line(body, address), extra={"told": body})


def event_line(body: Mapping[str, Any], address: str | None = None) -> str:
    """`openai-web push.succeeded vault:secret/web/openai version 3`."""
    parts = [body["credential"] or "-", body["event"], address or body["destination"] or ""]
    parts += [f"version {body['version']}" if body["version"] else ""]
    message = body["detail"].get("message") if isinstance(body["detail"], dict) else None
    why = ": ".join(str(text) for text in (body["reason"], message) if text)
    line = " ".join(part for part in parts if part)
    return f"{line}: {why}" if why else line


def clean(text: str) -> str:
    """The text without control characters: names and ids of other systems must not move the cursor."""
    return _CONTROL.sub("?", text)


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
