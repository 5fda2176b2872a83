"""The operator's verbs `rollback`, `reactivate` and `retire`: rows first, then one pass over NAME does the steps."""

from __future__ import annotations

from collections.abc import Callable

import click

from rotator.cli import options, say
from rotator.cli.asked import Asked
from rotator.cli.opening import configuration, holding, working
from rotator.cli.rotating import carry_out
from rotator.config import select
from rotator.domain.model import Version
from rotator.engine import reactivation
from rotator.engine.rollback import rollback as roll_back
from rotator.engine.work import Work

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
@options.common
def rollback(name: str, number: int | None, reason: str | None, config: str | None) -> int:
    """Make the previous key of NAME current again, by the usual steps.

    It must still live. A disabled one is enabled and tried first. The key it replaces is taken away after its grace
    and soak. What an open rotation has begun is undone by `rotator abandon` instead.
    """
    said = "is to be current again"
    return _then_a_pass(name, config, said, lambda work: roll_back(work, to=number, because=reason))


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
@options.common
def reactivate(name: str, key: str | None, number: int | None, reason: str | None, config: str | None) -> int:
    """Keep a previous key of NAME that is being taken away; a disabled one is enabled again.

    Possible until its deletion has begun. It is kept until another key becomes current or needs its slot, or until
    `rotator retire`. The current key stays what it is.
    """
    if key is not None and number is not None:
        message = "--key and --version name one key in two ways: use one of them"
        raise click.UsageError(message, click.get_current_context())
    said = "is kept"
    return _then_a_pass(
        name, config, said, lambda work: reactivation.reactivate(work, key=key, number=number, because=reason)
    )


@click.command(epilog=options.examples("rotator retire deployer --key AKIA... --reason 'the reader has moved'"))
@options.name
@click.option("--key", metavar="ID", required=True, help="The key's public id.")
@options.reason
@options.common
def retire(name: str, key: str, reason: str | None, config: str | None) -> int:
    """Take a previous key of NAME away, after its grace and soak, with every gate of a retirement.

    For a key that was reactivated. What is being taken away already goes on.
    """
    said = "is taken away after its grace and soak"
    return _then_a_pass(name, config, said, lambda work: reactivation.retire(work, key=key, because=reason))


def _then_a_pass(name: str, config: str | None, said: str, verb: Callable[[Work], Version]) -> int:
    loaded = configuration(config)
    select(loaded, [name], None)
    with working(loaded) as service:
        say.tell(f"environment {loaded.environment}")
        with holding(service.running(), name) as work:
            found = verb(work)
        say.tell(f"{name}: version {found.number} ({found.key_id}) {said}")
    return carry_out(Asked(names=[name], config=config))
