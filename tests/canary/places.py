"""Every place that is searched for secrets, and for each the leak that the control run makes there.

This is the one table to extend: what the product learns to write or to say is a new line of `PLACES`. `look` gives
what stands there after a run; `leak` takes one guard out, or plants what a careless change would: the control run must
be caught in every place.
"""

from __future__ import annotations

import logging
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rotator import __version__, logs
from rotator.access.process import Program
from rotator.cli import say
from rotator.destinations.env_file import FilePlace
from rotator.domain import secret
from rotator.domain.messages import Message
from rotator.domain.secret import Secret
from rotator.notifiers.apprise import Apprise
from rotator.notifiers.webhook import Webhook
from rotator.ports.store import NewEvent, StoredEvent
from rotator.store import audit
from rotator.store.signing import Signer
from tests.canary.listening import bodies

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


def files(*folders: Path, only: str = "*", but: Iterable[str] = ()) -> Found:
    """All files below these folders that are called like this, but those of these names."""
    for folder in folders:
        for path in sorted(folder.rglob(only)):
            if path.is_file() and not path.is_symlink() and path.name not in but:
                yield str(path), path.read_bytes()


def _database(run: Run) -> Found:
    """SQLite's file and write-ahead log, or what PostgreSQL has written since the run began, its own log included."""
    if run.postgres is None:
        return [(path.name, path.read_bytes()) for path in run.folder.glob("rotator.db*")]
    changed = (path for path in run.postgres.folder.rglob("*") if path.is_file() and path.stat().st_mtime >= run.began)
    return [(str(path), path.read_bytes()) for path in changed]


def _bundle(run: Run) -> Found:
    """The members of what `rotator doctor` packed."""
    for path in sorted(run.made.glob("bundle*.tar.gz")):
        with tarfile.open(path) as packed:
            for member in packed:
                content = packed.extractfile(member)
                assert content is not None, member.name
                yield member.name, content.read()


def _used() -> str:
    """What this process has used; where that is nothing, since it looks at rows only, what it could have read."""
    return " ".join(REVEALED[-40:]) or Path("admin").read_text()


def _remembered() -> None:
    """What is used is noted, and logged as somebody would who looks for a fault."""
    true = Secret.reveal

    def reveal(self: Secret) -> str:
        value = true(self)  # the list's last may be another thread's by now
        REVEALED.append(value)
        logs.log.debug("it is %s", value)
        return value

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


def _messages() -> None:
    for way in (Webhook, Apprise):

        def careless(self: Any, message: Message, true: Callable[..., None] = way.send) -> None:
            true(self, replace(message, text=f"{message.text} {_used()}"))

        way.send = careless  # type: ignore[method-assign]


def _checkpoints() -> None:
    true = Signer.checkpoint

    def careless(self: Signer, size: int, root: bytes) -> str:
        return f"{true(self, size, root)}{_used()}\n"

    Signer.checkpoint = careless  # type: ignore[method-assign]


def _metrics() -> None:
    from rotator.web import catalogue, metrics

    true = metrics.samples_of

    def careless(found: Any) -> metrics.Samples:
        return {**true(found), catalogue.INFO: {(__version__, _used(), found.installation.id): 1}}

    metrics.samples_of = careless


def _report() -> None:
    evidence: Any = import_module("rotator.cli.evidence")
    true = evidence._report

    def careless(*given: Any) -> dict[str, Any]:
        found: dict[str, Any] = true(*given)
        return {**found, "rotations": [{**one, "actor": _used()} for one in found["rotations"]]}

    evidence._report = careless


def _bundled() -> None:
    doctor: Any = import_module("rotator.cli.doctor")
    true = doctor._write

    def careless(path: Path, members: Mapping[str, str]) -> None:
        true(path, {name: f"{text}{_used()}" for name, text in members.items()})

    doctor._write = careless


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
    "export": Place(lambda run: files(run.made, only="export*"), _events),
    "checkpoints": Place(lambda run: files(run.made, only="checkpoint*"), _checkpoints),
    "report": Place(lambda run: files(run.made, only="report*"), _report),
    "metrics": Place(lambda run: files(run.made, only="*.prom"), _metrics),
    "support bundle": Place(_bundle, _bundled),
    "sink: file": Place(lambda run: files(run.folder, only="lines.jsonl"), _events),
    "sink: HTTP": Place(lambda run: bodies(run.listening.collector), _events),
    "sink: syslog": Place(lambda run: [("frames", part) for part in run.listening.syslog.content], _events),
    "sink: S3": Place(lambda run: run.listening.objects(), _events),
    "notifications: webhook": Place(lambda run: bodies(run.listening.webhook), _messages),
    "notifications: apprise": Place(lambda run: bodies(run.listening.apprise), _messages),
    "command lines": Place(lambda run: run.seen("cmdline"), _arguments),
    "environments": Place(lambda run: run.seen("environ"), _environment),
    "temporary folders": Place(lambda run: files(run.temporary), _temporary),
    "beside the files": Place(lambda run: files(run.folder, but=run.may_hold), _beside),
}
"""By name."""

LEAKS: Mapping[str, Callable[[], None]] = {
    "remembered": _remembered,
    "bug": _bug,
    **{name: place.leak for name, place in PLACES.items()},
}
"""What a process can be told to do wrong."""


def leak(names: Iterable[str]) -> None:
    """Called in the process of a command, before it begins."""
    names = [*names]
    for change in dict.fromkeys(LEAKS[name] for name in ["remembered", *names]) if names else ():
        change()
