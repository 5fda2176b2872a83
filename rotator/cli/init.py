"""The command `init`: a starter configuration, a sealing key, a database; nothing is ever overwritten."""

from __future__ import annotations

import os
from pathlib import Path

import click

from rotator import wiring
from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.starter import CONFIGURATION, IGNORED
from rotator.config import Config, SealKey, ServiceKey, load
from rotator.domain.errors import SetupError
from rotator.settings import SecretReference
from rotator.store import schema
from rotator.store.signing import new_seed
from rotator.store.store import open_store


@click.command(epilog=options.examples("rotator init", "rotator init --dir /etc/rotator"))
@click.option("--dir", "folder", metavar="DIR", default=".", help="Where; made if it is missing.")
@options.verbose
def init(folder: str) -> int:
    """Write a starter configuration, a sealing key and an empty database.

    What exists is left as it is and named. A configuration of your own is used: then only the key and the database
    that it names are made.
    """
    place = Path(folder)
    path = place / "rotator.yaml"
    try:
        place.mkdir(parents=True, exist_ok=True)
        starter = _write_new(path, CONFIGURATION, 0o644)
    except OSError as problem:
        message = f"cannot write {path}: {problem.strerror}"
        raise SetupError(message, remedy="choose another folder: --dir DIR") from None
    config = load(path)
    say.tell(f"environment {config.environment}")
    say.tell(f"wrote {path}" if starter else f"{path} exists and is left as it is")
    revision = _revision(config)
    _key(config, used=revision is not None)
    _signing_key(config)
    _database(config, revision)
    _verifier_key(config)
    say.tell("Keep these out of your repository; lines for .gitignore:")
    for line in IGNORED if starter else IGNORED[:-1]:
        say.tell(f"  {line}")
    config_option = "" if folder == "." else f" --config {path}"
    say.tell(f"Next: `rotator check{config_option}`, then `rotate{config_option}`")
    return Status.DONE


def _write_new(path: Path, text: str, mode: int) -> bool:
    """Write a file that was not there; say whether it was not."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return True


def _revision(config: Config) -> str | None:
    """The schema of the database that is there already; None: none is there, or an empty one."""
    try:
        return schema.standing(config.store.resolve_owner()).applied
    except SetupError as problem:
        if problem.reason == "no_database" and config.store.resolve().startswith("sqlite"):
            return None
        raise


def _key(config: Config, *, used: bool) -> None:
    key = config.seal.key
    path = path_of(key)
    if path is None:
        hint = "" if _at_hand(config) else ", which is not there yet: it has to be 32 random bytes in base64"
        say.tell(f"the sealing key is {key.text}{hint}")
        return
    if path.exists():
        say.tell(f"{path} exists and is left as it is")
        return
    if used:
        message = f"the sealing key {path} is missing, and the database that it belongs to exists"
        remedy = "put the key back from its backup; another one opens nothing that is sealed"
        raise SetupError(message, reason="wrong_sealing_key", remedy=remedy)
    make_key(path)


def path_of(key: SealKey) -> Path | None:
    """The file that a key is read from; None where it is not in a file of ours."""
    scheme, _, rest = key.text.partition(":")
    return key.folder / rest if isinstance(key, SecretReference) and scheme == "file" else None


def make_key(path: Path) -> None:
    """Write a new sealing key where there is none."""
    from rotator.sealers.local import new_key

    try:
        _write_new(path, f"{new_key()}\n", 0o600)
    except OSError as problem:
        message = f"cannot write the sealing key {path}: {problem.strerror}"
        raise SetupError(message, remedy="make its folder, writable for this user") from None
    say.tell(f"wrote {path}, the sealing key, readable by you alone")
    say.tell("  Back it up now, apart from the database: without it, nobody can read what the database has sealed")


def _at_hand(config: Config) -> bool:
    """Whether the key can be used; what a service keeps is tried when the database is there."""
    if isinstance(config.seal.key, ServiceKey):
        return True
    try:
        return bool(config.seal.key.read())
    except SetupError:
        return False


def _signing_key(config: Config) -> None:
    """Losing it is no disaster: checkpoints go on under a new one, and the old public key verifies the old ones."""
    reference = config.audit.signing_key
    if reference is None:
        say.tell("nobody signs the audit trail: add `audit: {signing_key: file:audit.key}`, and run this again")
        return
    scheme, _, rest = reference.text.partition(":")
    if scheme == "env":
        set_already = "is set" if os.environ.get(rest) else "is not set: put 32 random bytes in base64 there"
        say.tell(f"the key that signs the audit trail is {reference.text}, which {set_already}")
        return
    path = reference.folder / rest
    try:
        made = _write_new(path, f"{new_seed()}\n", 0o600)
    except OSError as problem:
        message = f"cannot write the key that signs the audit trail, {path}: {problem.strerror}"
        raise SetupError(message, remedy="make its folder, writable for this user") from None
    say.tell(
        f"wrote {path}, which signs the audit trail, readable by you alone"
        if made
        else f"{path} exists and is left as it is"
    )


def _verifier_key(config: Config) -> None:
    reference = config.audit.signing_key
    if reference is None or (reference.text.startswith("env:") and not os.environ.get(reference.text[4:])):
        return
    if schema.standing(config.store.resolve_owner()).missing:
        return
    store = open_store(config.store.resolve_owner(), new_id=wiring.new_id, environment=config.environment)
    try:
        say.tell(f"who verifies the audit trail needs this key: {wiring.signer(reference, store).verifier_key}")
    finally:
        store.close()


def _database(config: Config, revision: str | None) -> None:
    url = config.store.resolve_owner()
    if revision is None:
        schema.upgrade(url, config.environment, wiring.new_id, actor=wiring.actor(os.environ))
        say.tell(f"made the database {_shown(config)}")
    elif schema.standing(url).missing:
        say.tell(f"the database {_shown(config)} exists; `rotator db upgrade` brings it to this release")
    else:
        say.tell(f"the database {_shown(config)} exists and is left as it is")
    if revision is None and _at_hand(config):
        # Proves that key and database belong together, now rather than at the first rotation.
        keyring = wiring.keyring(config)
        open_store(url, new_id=wiring.new_id, keyring=keyring, environment=config.environment).close()


def _shown(config: Config) -> str:
    """The database without user and password."""
    from rotator.store.database import parse, place

    return place(parse(config.store.resolve()))
