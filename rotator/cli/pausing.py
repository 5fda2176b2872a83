"""The operator's verbs `pause` and `unpause`. They need the database only, no sealing key."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta

import click

from rotator import wiring
from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.opening import chosen, configuration, looking
from rotator.domain.model import Credential
from rotator.engine import pausing
from rotator.wiring import Service


@click.command(
    epilog=options.examples(
        "rotator pause openai-web --reason 'launch week' --for 3d",
        "rotator pause -l team=web --reason 'incident 42'",
        "rotator pause --all --reason 'provider migration'",
    )
)
@options.names
@options.selector
@click.option("--all", "everything", is_flag=True, help="Every credential.")
@click.option("--reason", metavar="TEXT", required=True, help="Why; shown to whoever meets the pause.")
@click.option("--for", "lasts", type=options.duration, help="How long, such as 3d. Default: until `rotator unpause`.")
@options.common
def pause(
    names: Sequence[str],
    selector: str | None,
    everything: bool,
    reason: str,
    lasts: timedelta | None,
    config: str | None,
) -> int:
    """Stop whatever the schedule does with NAME..., open rotations included, from the next step on.

    `rotate --now` refuses and says who; `rotate --compromised` passes. Keys stay as they are.
    """

    def one(service: Service, credential: Credential, actor: str) -> str:
        changed = pausing.pause(service.store, credential, actor=actor, why=reason, lasts=lasts)
        return "is paused" if changed else "is paused like that already"

    return _each(names, selector, everything, config, one)


@click.command(epilog=options.examples("rotator unpause openai-web", "rotator unpause --all --reason 'it is over'"))
@options.names
@options.selector
@click.option("--all", "everything", is_flag=True, help="Every credential.")
@options.reason
@options.common
def unpause(
    names: Sequence[str], selector: str | None, everything: bool, reason: str | None, config: str | None
) -> int:
    """Go on with NAME..., from the next pass on; whatever became due meanwhile is due."""

    def one(service: Service, credential: Credential, actor: str) -> str:
        changed = pausing.unpause(service.store, credential, actor=actor, because=reason)
        return "goes on with the next pass" if changed else "was not paused"

    return _each(names, selector, everything, config, one)


def _each(
    names: Sequence[str],
    selector: str | None,
    everything: bool,
    config: str | None,
    do: Callable[[Service, Credential, str], str],
) -> int:
    if not (names or selector or everything):
        message = "a selection is needed: NAME..., -l LABELS or --all"
        raise click.UsageError(message, click.get_current_context())
    loaded = configuration(config)
    actor = wiring.actor(os.environ)
    with looking(loaded) as service:
        say.tell(f"environment {loaded.environment}")
        wanted = chosen(service, names, selector)
        for credential in service.enroll(actor):
            if credential.name in wanted:
                say.tell(f"{credential.name}: {do(service, credential, actor)}")
    return Status.DONE
