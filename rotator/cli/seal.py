"""The commands of `seal`: the key-encryption keys, and how one takes the place of another."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click

from rotator import wiring
from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.opening import configuration
from rotator.config import Config
from rotator.domain.errors import RotatorError
from rotator.store.columns import moment_text
from rotator.store.sealing_keys import Rewrapped, SealingKey, SealingKeys
from rotator.store.store import open_store


@click.group()
def seal() -> None:
    r"""The keys that seal what the database keeps, and how to change them.

    \b
    A new one takes the place of the old one so, while everything goes on:
    1. name it in seal.also, everywhere that the service runs
    2. rotator seal add KEY         it is proved and put on record
    3. rotator seal activate KEY    new values are sealed under it
    4. rotator seal rewrap          and all those that are there
    5. rotator seal remove OLD      and the old one out of the configuration
    """


key_name = click.argument("key", metavar="KEY")


@seal.command(epilog=options.examples("rotator seal add file:new.key --make", "rotator seal add aws-kms:alias/rotator"))
@key_name
@click.option("--make", is_flag=True, help="Write a new key to the file that KEY names, where there is none.")
@options.reason
@options.common
def add(key: str, make: bool, reason: str | None, config: str | None) -> int:
    """Prove KEY and put it on record. It must be named in seal.also, in the same words, on every worker.

    From then on no worker starts without it. Nothing is sealed under it yet.
    """
    loaded = configuration(config)
    if make:
        _make(loaded, key)
    with _keys(loaded) as keys:
        new = keys.add(key, reason)
    say.tell(f"{key} is proved and on record" if new else f"{key} is on record already")
    say.tell(f"Next: `rotator seal activate {key}`, once every worker has it in its configuration")
    return Status.DONE


@seal.command(epilog=options.examples("rotator seal activate file:new.key"))
@key_name
@options.reason
@options.common
def activate(key: str, reason: str | None, config: str | None) -> int:
    """Seal new values under KEY, which must be on record. Running workers do so from their next value on."""
    with _keys(configuration(config)) as keys:
        found = keys.find(key)
        keys.prove(found)
        new = keys.activate(found, reason)
        left = sum(other.values + other.pepper for other in keys.listed() if other.id != found.id)
    say.tell(f"new values are sealed under {found.called}" + ("" if new else " already"))
    if left:
        say.tell(f"Next: `rotator seal rewrap`, for {_values(left)} under other keys")
    return Status.DONE


@seal.command(epilog=options.examples("rotator seal rewrap", "rotator seal rewrap --batch 20 --json"))
@click.option("--batch", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Values between reports.")
@options.as_json
@options.reason
@options.common
def rewrap(batch: int, as_json: bool, reason: str | None, config: str | None) -> int:
    """Seal everything under the active key that is sealed under another one, the pepper of fingerprints included.

    May be stopped at any moment and run again, also while workers work, and by several at once.
    """
    with _keys(configuration(config)) as keys:
        last = Rewrapped(0, 0)
        for last in keys.rewrap(batch, reason):
            _progress(last, as_json=as_json)
        others = [key for key in keys.listed() if not key.needed]
    if as_json:
        return Status.DONE
    say.tell(f"re-wrapped {_values(last.done)}" if last.done else "nothing to do: all is sealed under the active key")
    for key in others:
        say.tell(f"Next: `rotator seal remove {key.name}`: nothing needs it. Keep the key for as long as your backups")
    return Status.DONE


@seal.command(epilog=options.examples("rotator seal remove file:rotator.key", "rotator seal remove 5f0c2d9a41b7e386"))
@key_name
@options.reason
@options.common
def remove(key: str, reason: str | None, config: str | None) -> int:
    """Take KEY, by name or id, off the record; then out of the configuration. Refused while anything needs it.

    The key itself is not touched: a backup of the database may need it still. Needs no sealing key.
    """
    with _keys(configuration(config), sealed=False) as keys:
        found = keys.find(key)
        keys.remove(found, reason)
    say.tell(f"{found.called} is off the record; take it out of `seal` in every configuration")
    say.tell("  Keep it for as long as you keep a backup of the database from before")
    return Status.DONE


@seal.command(epilog=options.examples("rotator seal status", "rotator seal status --json"))
@options.as_json
@options.common
def status(as_json: bool, config: str | None) -> int:
    """Which keys are on record, what is sealed under each, and whether it opens its proof. Exits 1 if not."""
    loaded = configuration(config)
    with _keys(loaded) as keys:
        found = [(key, _trouble(keys, key)) for key in keys.listed()]
    if as_json:
        told = [{**_shape(key), "works": problem is None, **_why(problem)} for key, problem in found]
        click.echo(json.dumps({"environment": loaded.environment, "keys": told}, indent=2))
    else:
        say.tell(f"environment {loaded.environment}")
        for key, problem in found:
            _tell(key, problem)
        if not found:
            say.tell(f"no key is on record yet: the first pass takes {loaded.seal.key.text}")
    return Status.TROUBLE if any(problem for _, problem in found) else Status.DONE


@contextmanager
def _keys(config: Config, *, sealed: bool = True) -> Iterator[SealingKeys]:
    """The record of keys, and (`sealed`) those that are at hand; what is missing shows when it is needed."""
    keyring = wiring.keyring(config) if sealed else None
    url, environment = config.store.resolve(), config.environment
    store = open_store(url, new_id=wiring.new_id, keyring=keyring, environment=environment, dry=True)
    try:
        yield store.sealing_keys(wiring.actor(os.environ))
    finally:
        store.close()


def _make(config: Config, text: str) -> None:
    from rotator.cli.init import make_key, path_of

    found = next((key for key in config.seal.keys if key.text == text), None)
    path = path_of(found) if found is not None else None
    if found is not None and path is None:
        message = f"{text} is not a file: --make writes files alone"
        raise click.UsageError(message, click.get_current_context())
    if path is not None and not path.exists():
        make_key(path)


def _progress(found: Rewrapped, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(found)))
    else:
        say.warn(f"{found.done} done, {found.left} left")


def _values(count: int) -> str:
    return f"{count} {'value' if count == 1 else 'values'}"


def _trouble(keys: SealingKeys, key: SealingKey) -> RotatorError | None:
    try:
        keys.prove(key)
    except RotatorError as problem:
        return problem
    return None


def _shape(key: SealingKey) -> dict[str, Any]:
    known = asdict(key)
    return {**known, "added_at": moment_text(key.added_at)}


def _why(problem: RotatorError | None) -> dict[str, Any]:
    if problem is None:
        return {"reason": None, "message": None, "remedy": None}
    return {"reason": problem.reason, "message": problem.message, "remedy": problem.remedy}


def _tell(key: SealingKey, problem: RotatorError | None) -> None:
    needs = [_values(key.values), *(["the pepper"] if key.pepper else [])]
    kind = "active" if key.active else ("in use" if key.needed else "idle")
    say.tell(f"{kind:8} {key.called}, since {key.added_at:%Y-%m-%d}: {', '.join(needs)}")
    if problem is not None:
        say.complain(
            f"         does not open its proof: {problem.message}", reason=problem.reason, remedy=problem.remedy
        )
