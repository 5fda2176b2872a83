"""The operator's verbs `pause` and `unpause`. They need the database only, no sealing key."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import cast

import click

from rotator import wiring
from rotator.cli import options, say
from rotator.cli.acting import tell_environment, tell_events
from rotator.cli.exits import Status
from rotator.cli.opening import chosen, configuration, looking
from rotator.domain.model import Credential
from rotator.engine import pausing
from rotator.engine.dry import DryStore
from rotator.ports.store import Store


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
@options.dry_run
@options.common
def pause(
    names: Sequence[str],
    selector: str | None,
    everything: bool,
    reason: str,
    lasts: timedelta | None,
    dry_run: bool,
    config: str | None,
) -> int:
    """Stop whatever the schedule does with NAME..., open rotations included, from the next step on.

    `rotate --now` refuses and says who; `rotate --compromised` passes. Keys stay as they are.
    """

    def one(store: Store, credential: Credential, actor: str) -> str:
        changed = pausing.pause(store, credential, actor=actor, why=reason, lasts=lasts)
        return "is paused" if changed else "is paused like that already"

    return _each(names, selector, config, one, everything=everything, dry_run=dry_run)


@click.command(epilog=options.examples("rotator unpause openai-web", "rotator unpause --all --reason 'it is over'"))
@options.names
@options.selector
@click.option("--all", "everything", is_flag=True, help="Every credential.")
@options.reason
@options.dry_run
@options.common
def unpause(
    names: Sequence[str],
    selector: str | None,
    everything: bool,
    reason: str | None,
    dry_run: bool,
    config: str | None,
) -> int:
    """Go on with NAME..., from the next pass on; whatever became due meanwhile is due."""

    def one(store: Store, credential: Credential, actor: str) -> str:
        changed = pausing.unpause(store, credential, actor=actor, because=reason)
        return "goes on with the next pass" if changed else "was not paused"

    return _each(names, selector, config, one, everything=everything, dry_run=dry_run)


def _each(
    names: Sequence[str],
    selector: str | None,
    config: str | None,
    do: Callable[[Store, Credential, str], str],
    *,
    everything: bool,
    dry_run: bool,
) -> int:
    if not (names or selector or everything):
        message = "a selection is needed: NAME..., -l LABELS or --all"
        raise click.UsageError(message, click.get_current_context())
    loaded = configuration(config)
    actor = wiring.actor(os.environ)
    with looking(loaded) as service:
        tell_environment(service, options.Manner(dry_run=dry_run))
        wanted = chosen(service, names, selector)
        dry = DryStore(service.store)
        store = cast(Store, dry) if dry_run else service.store
        for credential in service.store.credentials() if dry_run else service.enroll(actor):
            if credential.name in wanted:
                say.tell(f"{credential.name}: {do(store, credential, actor)}")
        tell_events(dry.events_to_be)
    return Status.DONE
