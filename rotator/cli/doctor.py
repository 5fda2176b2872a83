"""The command `doctor`: what somebody who helps would ask for, in one file, and no secret in it."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import sqlite3
import ssl
import subprocess
import sys
import tarfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from rotator import __version__
from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.config import files, find, load
from rotator.config.document import read_document
from rotator.domain import secret
from rotator.domain.errors import RotatorError, SetupError
from rotator.domain.secret import Secret
from rotator.settings import SecretReference

ASKED: Mapping[str, Sequence[str]] = {
    "status.json": ("status", "--json"),  # findings included
    "plan.json": ("plan", "--days", "30", "--json"),
    "events.jsonl": ("audit", "log", "-n", "500", "--json"),
    "trail.json": ("audit", "verify", "--json"),
    "schema.json": ("db", "status", "--json"),
    "check.json": ("check", "--json"),
}
"""Member of the bundle → the command whose answer it is."""

_LINES = 2000  # of a log
_SECONDS = 120  # for one command

_SEALING_KEY = "file:rotator.key"  # where the file does not say where it is

_README = """A support bundle of keyturn. Read it before you pass it on.

It names credentials, key ids, addresses and accounts. It holds no secret: commands never print one, the configuration
names them only, and what those names lead to was taken out of everything here.
"""


@click.command(
    epilog=options.examples(
        "rotator doctor",
        "rotator doctor --log /var/log/rotator.log --output bundle.tar.gz",
    )
)
@click.option("--output", metavar="FILE", help="Where; default: rotator-doctor-TIME.tar.gz here. Never overwritten.")
@click.option("--log", metavar="FILE", help=f"Add the last {_LINES} lines of this log.")
@options.common
def doctor(output: str | None, log: str | None, config: str | None) -> int:
    """Collect a support bundle: versions, configuration, status, plan, events, schema and checks, and no secret.

    Whatever cannot be had is in the bundle as the error that kept it from being there. Nothing is changed. It asks
    providers and destinations as `rotator check` does.
    """
    path = Path(output or f"rotator-doctor-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz")
    members = {"README.txt": _README, "versions.json": _json(_versions()), **_configuration(config)}
    if log is not None:
        members["log.txt"] = _tail(Path(log))
    known = _known_secrets(config)  # kept in memory, so that `without_secrets` knows them
    say.warn(f"asking: {', '.join(f'rotator {words[0]}' for words in ASKED.values())}")
    with ThreadPoolExecutor(max_workers=3) as pool:
        for found in pool.map(lambda name: _answer(name, config), ASKED):
            members |= found
    _write(path, {name: secret.without_secrets(text) for name, text in members.items()})
    del known
    say.tell(f"wrote {path}, readable by you alone: {', '.join(members)}")
    say.tell("It holds names, key ids and addresses, and no secret. Look through it before you pass it on.")
    return Status.DONE


def _versions() -> dict[str, Any]:
    needed = [line for line in metadata.requires("keyturn") or () if "extra ==" not in line]
    names = [match[0] for line in needed if (match := re.match(r"[A-Za-z0-9._-]+", line))]
    return {
        "keyturn": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION,
        "libraries": {name: metadata.version(name) for name in names},
    }


def _configuration(config: str | None) -> dict[str, str]:
    """What the files say, without their comments; what is wrong with them where they are not valid."""
    try:
        path = find(config, os.environ)
        loaded = load(path)
        read = {str(file): read_document(file, file.name).data for file in files(path)}
    except RotatorError as problem:
        return {"configuration.txt": f"{problem.message}\n{problem.remedy or ''}\n"}
    return {"configuration.json": _json({"environment": loaded.environment, "files": read})}


def _known_secrets(config: str | None) -> list[Secret]:
    """Whatever the configuration refers to: while these are in memory, `without_secrets` finds them."""
    try:
        read = files(find(config, os.environ))
        texts = [_SEALING_KEY, *(text for file in read for text in _texts(read_document(file, file.name).data))]
    except RotatorError:
        return []
    folder = read[0].parent
    found = []
    for text in texts:
        if text.startswith(("env:", "file:")):
            try:
                found.append(SecretReference(text, folder).read())
            except (RotatorError, ValueError):
                continue  # it leads nowhere, and then it cannot leak
    return found


def _texts(data: Any) -> Iterator[str]:
    match data:
        case str():
            yield data
        case dict():
            for value in data.values():
                yield from _texts(value)
        case list():
            for value in data:
                yield from _texts(value)


def _answer(name: str, config: str | None) -> dict[str, str]:
    """What one of our commands says, in a process of its own: there is a bundle also where a command cannot start."""
    command = [sys.executable, "-m", "rotator", *ASKED[name], *(["--config", config] if config else [])]
    try:
        ran = subprocess.run(
            command,
            check=False,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            env=dict(os.environ),  # this program again: the configuration may name any of it
        )
    except subprocess.TimeoutExpired:
        return {f"{name}.error": f"no answer within {_SECONDS} s\n"}
    found = {name: ran.stdout} if ran.stdout else {}
    if ran.stderr or ran.returncode:
        found[f"{name}.error"] = f"exit status {ran.returncode}\n{ran.stderr}"
    return found


def _tail(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            return "".join(deque(lines, maxlen=_LINES))
    except OSError as problem:
        message = f"cannot read the log {path}: {problem.strerror}"
        raise SetupError(message, remedy="name a file that you may read: --log FILE") from None


def _write(path: Path, members: Mapping[str, str]) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        message = f"cannot write {path}: {problem.strerror}"
        raise SetupError(message, remedy="choose another file: --output FILE") from None
    with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as bundle:
        for name, text in members.items():
            content = text.encode()
            about = tarfile.TarInfo(f"rotator-doctor/{name}")
            about.size, about.mode, about.mtime = len(content), 0o600, int(datetime.now(UTC).timestamp())
            bundle.addfile(about, io.BytesIO(content))


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n"
