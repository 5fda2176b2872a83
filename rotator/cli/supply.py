"""The command `supply`: the key that a person made, from a hidden prompt or stdin."""

from __future__ import annotations

import click

from rotator.cli import options, say
from rotator.cli.acting import opened, tell_environment, worked_on
from rotator.cli.exits import Status
from rotator.cli.opening import chosen, configuration
from rotator.cli.typed import ask, read
from rotator.domain.errors import SetupError
from rotator.engine.supply import supply as take
from rotator.ports.provider import Asks
from rotator.wiring import Service


@click.command(
    epilog=options.examples(
        "rotator supply claude-web                       asks for the key, nothing is shown",
        "pass show claude/new | rotator supply claude-web --stdin",
    )
)
@options.name
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the value from stdin, one line for each field.")
@options.reason
@options.dry_run
@options.common
def supply(name: str, from_stdin: bool, reason: str | None, dry_run: bool, config: str | None) -> int:
    """Hand over the key that the open rotation of NAME waits for.

    For providers whose API cannot make keys. The value is tried at the provider first; one that is refused, of
    another account, or known already changes nothing. The next pass does the rest. A value is never given on the
    command line: type it when asked, or use --stdin.
    """
    loaded = configuration(config)
    manner = options.Manner(dry_run=dry_run)
    with opened(loaded, manner) as service:
        chosen(service, [name], None)
        provider = service.managed[name].provider
        if not isinstance(provider, Asks):
            message = f"the keys of {name} are made by the service itself; nobody supplies them"
            raise SetupError(message, reason="nothing_to_do", remedy=f"`rotate --now {name}` makes one")
        tell_environment(service, manner)
        fields = provider.capabilities.material
        if not from_stdin:
            _instruct(service, name)
        # Asked without the lease: a person may take longer than that lasts.
        material = read(fields) if from_stdin else ask(fields)
        with worked_on(service, name, manner) as work:
            version = take(work, material, reason)
        said = "would be taken" if dry_run else f"is taken; `rotate {name}` goes on, or a pass"
        say.tell(f"{name}: version {version.number} ({version.key_id}) {said}")
    return Status.DONE


def _instruct(service: Service, name: str) -> None:
    entry = service.report().status([name])["credentials"][0]
    if entry["rotation"] is not None and entry["rotation"]["message"]:
        say.warn(entry["rotation"]["message"])
