"""Every place that is searched for secrets, and for each the leak that the control run makes there.

This is the one table to extend: what the product learns to write or to say is a new line of `PLACES`. `look` gives
what stands there after a run; `leak` takes one guard out, or plants what a careless change would: the control run must
be caught in every place.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rotator import logs
from rotator.access.process import Program
from rotator.cli import say
from rotator.destinations.env_file import FilePlace
from rotator.domain import secret
from rotator.domain.secret import Secret
from rotator.ports.store import NewEvent, StoredEvent
from rotator.store import audit

if TYPE_CHECKING:
    from tests.canary.run import Run

Found = Iterable[tuple[str, bytes]]
"""What is searched, in pieces with their names."""

REVEALED: list[str] = []
"""In a process of the control run: the secrets that it has used so far."""


@dataclass(frozen=True)
class Place:
    """One place. `leak` changes the process that it is called in."""

    look: Callable[[Run], Found]
    leak: Callable[[], None]


def files(*folders: Path, but: Iterable[str] = ()) -> Found:
    """All files below these folders, but those of these names."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and path.name not in but:
                yield str(path), path.read_bytes()


def _database(run: Run) -> Found:
    """SQLite's file and write-ahead log, or what PostgreSQL has written since the run began, its own log included."""
    if run.postgres is None:
        return [(path.name, path.read_bytes()) for path in run.folder.glob("rotator.db*")]
    changed = (path for path in run.postgres.folder.rglob("*") if path.is_file() and path.stat().st_mtime >= run.began)
    return [(str(path), path.read_bytes()) for path in changed]


def _remembered() -> None:
    """What is used is noted, and logged as somebody would who looks for a fault."""
    true = Secret.reveal

    def reveal(self: Secret) -> str:
        REVEALED.append(true(self))
        logs.log.debug("it is %s", REVEALED[-1])
        return REVEALED[-1]

    Secret.reveal = reveal  # type: ignore[method-assign]


def _without_redaction() -> None:
    secret.without_secrets = lambda text: text
    logs._Floored._floor = logging.NOTSET  # type: ignore[assignment, method-assign]
    logging.getLogger().setLevel(logging.DEBUG)


def _said() -> None:
    true = say.clean
    say.clean = lambda text: f"{true(text)} {' '.join(REVEALED)}"


def _quoted_errors() -> None:
    logs.describe = lambda problem: f"{problem!r}"


def _events() -> None:
    true = audit.line

    def careless(event: NewEvent, **given: Any) -> StoredEvent:
        return true(replace(event, detail={**event.detail, "used": REVEALED[-40:]}), **given)

    audit.line = careless


def _arguments() -> None:
    true = Program.run

    def careless(self: Program, *given: Any) -> None:
        true(replace(self, arguments=[*self.arguments, *REVEALED[-40:]]), *given)

    Program.run = careless  # type: ignore[method-assign, assignment]


def _environment() -> None:
    true = Program._environment

    def careless(self: Program) -> dict[str, str]:
        return {**true(self), "USED": " ".join(REVEALED[-40:])}

    Program._environment = careless  # type: ignore[method-assign]


def _temporary() -> None:
    true = FilePlace._changed

    def careless(self: FilePlace, seen: Any, fields: Mapping[str, Secret]) -> bytes:
        content = true(self, seen, fields)
        handle, _ = tempfile.mkstemp()
        os.write(handle, content)
        os.close(handle)
        return content

    FilePlace._changed = careless  # type: ignore[method-assign]


def _beside() -> None:
    true = FilePlace._changed

    def careless(self: FilePlace, seen: Any, fields: Mapping[str, Secret]) -> bytes:
        content = true(self, seen, fields)
        with Path(f"{self.path}.bak").open("ab") as copy:
            copy.write(content)
        return content

    FilePlace._changed = careless  # type: ignore[method-assign]


def _bug() -> None:
    """Not a leak, but a fault: an exception that nobody expects, with a secret in its text and its locals."""

    def broken(_self: FilePlace, _fields: Mapping[str, Secret], *_: Any) -> str:
        value = next(iter(_fields.values()))._value
        raise ValueError(value)

    FilePlace.write = broken  # type: ignore[method-assign, assignment]


PLACES: Mapping[str, Place] = {
    "log lines": Place(lambda run: [("stderr with -vv", run.err)], _without_redaction),
    "output": Place(lambda run: [("stdout", run.out)], _said),
    "tracebacks": Place(lambda run: [("what is told of a bug", run.told_of_bugs)], _quoted_errors),
    "database": Place(_database, _events),
    "export": Place(lambda run: [("audit export", run.export)], _events),
    "command lines": Place(lambda run: run.seen("cmdline"), _arguments),
    "environments": Place(lambda run: run.seen("environ"), _environment),
    "temporary folders": Place(lambda run: files(run.temporary), _temporary),
    "beside the files": Place(lambda run: files(run.folder, but=run.may_hold), _beside),
}
"""By name. Metrics, a support bundle, sinks and notifications are to be added with the commits that bring them."""

LEAKS: Mapping[str, Callable[[], None]] = {
    "remembered": _remembered,
    "bug": _bug,
    **{name: place.leak for name, place in PLACES.items()},
}
"""What a process can be told to do wrong."""


def leak(names: Iterable[str]) -> None:
    """Called in the process of a command, before it begins."""
    names = [*names]
    for name in ["remembered", *names] if names else []:
        LEAKS[name]()
