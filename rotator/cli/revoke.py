"""The command `revoke`: a key is made to stop working now. Needs the database and the provider, no sealing key."""

from __future__ import annotations

import click

from rotator.cli import options, say
from rotator.cli.acting import act, agreed
from rotator.cli.exits import Status
from rotator.cli.opening import chosen, configuration, looking
from rotator.cli.options import Manner
from rotator.config import Config
from rotator.engine import revocation

EXAMPLES = options.examples(
    "rotator revoke openai-web                          the current key works no more: its readers fail",
    "rotator revoke openai-web --key key_abc --reason 'in a public log, INC-9'",
    "rotator revoke deployer --all-keys --yes           every living key of it",
    "rotator revoke openai-web --dry-run                what would break",
    "rotate --compromised openai-web                    gentler: first a new key, then the old one goes",
)


@click.command(epilog=EXAMPLES)
@options.name
@click.option("--key", metavar="ID", help="This key, the current one or not; also one that only the provider lists.")
@click.option("--all-keys", is_flag=True, help="Every living key of NAME.")
@options.reason
@options.yes
@options.manner
@options.common
def revoke(
    name: str, key: str | None, all_keys: bool, reason: str | None, yes: bool, manner: Manner, config: str | None
) -> int:
    """Make a key of NAME stop working now, by default the current one, whoever reads it.

    It is disabled where the provider can do that, else deleted. Nothing holds it: no grace, no use that was seen, no
    destination, no pause, no brake, no restored database. Only the provider's account must be the right one. No
    sealing key is needed, and no destination. What reads the key fails from then on, until `rotate --now NAME`.
    """
    if key is not None and all_keys:
        message = "--key and --all-keys exclude each other"
        raise click.UsageError(message, click.get_current_context())
    loaded = configuration(config)
    _tell_effect(loaded, name, key, all_keys=all_keys)
    if not agreed("Revoke now?", "revoke makes its readers fail", yes=yes or manner.dry_run):
        return Status.TROUBLE
    status = act(loaded, [name], "revoke", {"key": key, "all_keys": all_keys}, reason, manner)
    return status if status != Status.DONE or manner.dry_run else _what_is_left(loaded, name)


def _tell_effect(config: Config, name: str, key: str | None, *, all_keys: bool) -> None:
    """Say exactly what will break, before it does."""
    with looking(config) as service:
        (name,) = chosen(service, [name], None)
        credential = service.store.credential(name)
        if credential is None:
            return  # `act` says so
        managed, situation = service.managed[name], service.store.load(credential.id)
        revocation.refuse_without_provider(managed)
        versions = revocation.named(situation, key=key, all_keys=all_keys)
        for line in revocation.effect(managed, situation, versions, key):
            say.warn(f"{name}: {line}")
        entry = config.credentials.get(name)
        labels = ", ".join(f"{label}={value}" for label, value in entry.labels.items()) if entry else ""
        whose = [f"owner {entry.owner}" if entry and entry.owner else "", f"labels {labels}" if labels else ""]
        if any(whose):
            say.warn(f"{name}: to be told: {', '.join(part for part in whose if part)}")


def _what_is_left(config: Config, name: str) -> Status:
    """What works still, and what the readers need now."""
    with looking(config) as service:
        credential = next(c for c in service.store.credentials() if c.name == name)
        situation = service.store.load(credential.id)
    if situation.revoked:
        say.warn(f"{name}: its destinations serve a revoked key. To do: `rotate --now {name}`")
    return Status.TROUBLE if revocation.uncontained(situation) else Status.DONE
