"""The command `init`: a starter configuration, a sealing key, a database; nothing is ever overwritten."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from rotator import wiring
from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.found import FoundKey, proposals, search
from rotator.cli.starter import IGNORED, Answers, configuration
from rotator.config import Config, SealKey, ServiceKey, load
from rotator.domain.errors import SetupError
from rotator.settings import SecretReference
from rotator.store import schema
from rotator.store.signing import new_seed
from rotator.store.store import open_store


@click.command(
    epilog=options.examples(
        "rotator init                                         asks on a terminal",
        "rotator init --dir /etc/rotator --environment prod --store env:DATABASE_URL",
        "rotator init --from /srv/web/.env --from aws         keys that exist already",
        "rotator init --from vault:secret/web                 with VAULT_ADDR and VAULT_TOKEN",
    )
)
@click.option("--dir", "folder", metavar="DIR", default=".", help="Where; made if it is missing.")
@click.option("--environment", metavar="NAME", help="Recorded in the database. Default: dev.")
@click.option("--store", metavar="URL", help="The database, or env:NAME where its URL is. Default: a file beside it.")
@click.option("--every", metavar="DURATION", help="How often the first credential is rotated. Default: 30d.")
@click.option("--file", metavar="PATH", help="The env file that it is written to. Default: app.env.")
@click.option("--field", metavar="NAME", help="The variable that holds it there. Default: SESSION_SECRET.")
@click.option(
    "--from", "sources", metavar="PLACE", multiple=True, help="Find keys there: an env file, AWS's own, or in Vault."
)
@options.verbose
def init(folder: str, sources: Sequence[str], **given: str | None) -> int:
    """Write a starter configuration, a sealing key and an empty database.

    On a terminal it asks for what no option says. What exists is left as it is and named. A configuration of your own
    is used: then only the key and the database that it names are made.

    --from finds keys that exist already and proposes credentials for them, commented out, with `first: adopt`: names
    and fingerprints are shown, values never. Nothing is changed at those places.
    """
    place = Path(folder)
    path = place / "rotator.yaml"
    found = [key for source in sources for key in search(source, os.environ)]
    named, proposed = proposals(found)
    answers = _answers(given, ask=say.can_ask() and not path.exists())
    starter = _starter(path, configuration(answers, proposed))
    config = _loaded(path, starter=starter)
    say.tell(f"environment {config.environment}")
    say.tell(f"wrote {path}" if starter else f"{path} exists and is left as it is")
    revision = _revision(config)
    _key(config, used=revision is not None)
    _signing_key(config)
    _database(config, revision)
    _verifier_key(config)
    _tell_found(config, named)
    if proposed and not starter:
        say.tell(f"To add to `credentials:` of {path}:\n{proposed}")
    say.tell("Keep these out of your repository; lines for .gitignore:")
    for line in (*IGNORED, answers.file) if starter else IGNORED:
        say.tell(f"  {line}")
    config_option = "" if folder == "." else f" --config {path}"
    say.tell(f"Next: `rotator check{config_option}`, then `rotate{config_option}`")
    return Status.DONE


_QUESTIONS = {
    "environment": "Name of the environment, such as dev or prod",
    "store": "Database (or env:NAME, where its URL is in a variable)",
    "every": "Rotate the first credential, a generated secret, every",
    "file": "Env file that its consumers read",
    "field": "Variable that holds it there",
}


def _answers(given: Mapping[str, str | None], *, ask: bool) -> Answers:
    """From the options; what they leave open is asked for on a terminal, else the default."""
    defaults = vars(Answers())
    found = {name: value or defaults[name] for name, value in given.items()}
    for name, question in _QUESTIONS.items():
        if ask and given[name] is None:
            found[name] = click.prompt(question, default=defaults[name], err=True)
    return Answers(**found)


def _starter(path: Path, text: str) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _write_new(path, text, 0o644)
    except OSError as problem:
        message = f"cannot write {path}: {problem.strerror}"
        raise SetupError(message, remedy="choose another folder: --dir DIR") from None


def _loaded(path: Path, *, starter: bool) -> Config:
    """The configuration; one that was just written, and that an answer has spoilt, is taken away again."""
    try:
        return load(path)
    except SetupError:
        if starter:
            path.unlink()
        raise


def _tell_found(config: Config, named: Sequence[tuple[str, FoundKey]]) -> None:
    if not named:
        return
    keyring = wiring.keyring(config)
    store = open_store(config.store.resolve(), new_id=wiring.new_id, keyring=keyring, environment=config.environment)
    try:
        for name, key in named:
            shown = f" ({key.key_id})" if key.key_id else ""
            say.tell(f"found {key.name}{shown} at {key.address}, fingerprint {store.fingerprint(key.value)}: {name}")
    finally:
        store.close()


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
