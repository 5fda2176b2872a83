"""The operator's verbs `rollback`, `reactivate` and `retire`: rows first, then one pass over NAME does the steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from rotator.cli import options, say
from rotator.cli.acting import act, agreed
from rotator.cli.asked import Asked
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, looking
from rotator.cli.options import Manner
from rotator.cli.rotating import carry_out
from rotator.config import select
from rotator.engine import reactivation

version = click.option("--version", "number", type=int, metavar="N", help="The version, as `rotator status` says.")


@click.command(
    epilog=options.examples(
        "rotator rollback openai-web --reason 'the new key lacks a scope'",
        "rotator rollback openai-web --to 3",
    )
)
@options.name
@click.option("--to", "number", type=int, metavar="N", help="The version. Default: the newest living previous one.")
@options.reason
@options.manner
@options.common
def rollback(name: str, number: int | None, reason: str | None, manner: Manner, config: str | None) -> int:
    """Make the previous key of NAME current again, by the usual steps.

    It must still live. A disabled one is enabled and tried first. The key it replaces is taken away after its grace
    and soak. What an open rotation has begun is undone by `rotator abandon` instead.
    """
    return _then_a_pass(name, "rollback", {"to": number}, reason, manner, config)


@click.command(
    epilog=options.examples(
        "rotator reactivate deployer --reason 'a forgotten reader'",
        "rotator reactivate deployer --key AKIA...",
        "rotator reactivate deployer --version 3",
    )
)
@options.name
@click.option("--key", metavar="ID", help="The key's public id.")
@version
@options.reason
@options.manner
@options.common
def reactivate(
    name: str, key: str | None, number: int | None, reason: str | None, manner: Manner, config: str | None
) -> int:
    """Keep a previous key of NAME that is being taken away; a disabled one is enabled again.

    Possible until its deletion has begun. It is kept until another key becomes current or needs its slot, or until
    `rotator retire`. The current key stays what it is.
    """
    if key is not None and number is not None:
        message = "--key and --version name one key in two ways: use one of them"
        raise click.UsageError(message, click.get_current_context())
    return _then_a_pass(name, "reactivate", {"key": key, "number": number}, reason, manner, config)


@click.command(
    epilog=options.examples(
        "rotator retire deployer --key AKIA... --reason 'the reader has moved'",
        "rotator retire deployer --key AKIA... --force --reason 'the last reader was a scan of ours'",
    )
)
@options.name
@click.option("--key", metavar="ID", required=True, help="The key's public id.")
@click.option("--force", is_flag=True, help="Neither its grace nor what speaks for its use holds it. Needs --reason.")
@options.reason
@options.yes
@options.manner
@options.common
def retire(name: str, key: str, force: bool, reason: str | None, yes: bool, manner: Manner, config: str | None) -> int:
    """Take a previous key of NAME away, after its grace and soak, with every gate of a retirement.

    For a key that was reactivated. What is being taken away already goes on.

    With --force it goes past what holds it: its grace, use that was seen, a destination of which nobody knows what
    it serves. Never past a destination that is known to serve it, nor where no other key works.
    """
    if force and not reason:
        message = "--force takes a key away that may be in use; say why: --reason TEXT"
        raise click.UsageError(message, click.get_current_context())
    if force and not manner.dry_run and not _agreed_to_force(name, key, config, yes=yes):
        return Status.TROUBLE
    return _then_a_pass(name, "retire", {"key": key, "force": force}, reason, manner, config)


def _agreed_to_force(name: str, key: str, config: str | None, *, yes: bool) -> bool:
    """Say what holds the key now, and ask."""
    with looking(configuration(config)) as service:
        credential = service.store.credential(name)
        situation = service.store.load(credential.id) if credential is not None else None
        for version in situation.versions if situation is not None else ():
            if version.key_id == key:
                assert situation is not None
                past = reactivation.gone_past(situation, version)
                say.warn(f"{name}: goes past what holds version {version.number} ({key}): {past}")
    say.warn(f"{name}: whoever uses it still is cut off")
    return agreed("Go on?", "--force takes a key away that may be in use", yes=yes)


def _then_a_pass(
    name: str, verb: str, arguments: Mapping[str, Any], because: str | None, manner: Manner, config: str | None
) -> int:
    loaded = configuration(config)
    select(loaded, [name], None)
    status = act(loaded, [name], verb, arguments, because, manner)
    return carry_out(Asked(names=[name], config=config)) if manner.here and status == Status.DONE else status
