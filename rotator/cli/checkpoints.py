"""The commands `audit checkpoint` and `audit key`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from rotator import wiring
from rotator.access.files import replace
from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, looking
from rotator.domain.errors import SetupError
from rotator.engine import regress
from rotator.store.columns import moment_text

_UNSIGNED = SetupError(
    "the configuration names no key that signs the trail",
    reason="no_signing_key",
    remedy="add `audit: {signing_key: file:audit.key}`, and `rotator init` makes it",
)


@click.command(
    epilog=options.examples(
        "rotator audit checkpoint                          the newest one",
        "rotator audit checkpoint --now --output /mnt/worm/checkpoint.txt",
    )
)
@click.option("--now", is_flag=True, help="Sign one first, unless nothing has happened since the newest.")
@click.option("--output", metavar="FILE", help="Write there instead of to stdout.")
@options.as_json
@options.common
def checkpoint(now: bool, output: str | None, as_json: bool, config: str | None) -> int:
    """Print the newest signed checkpoint of the trail. Keep it where who can write to the database cannot."""
    with looking(configuration(config)) as service:
        signing = wiring.checkpoints(service.config, service.store)
        if now and signing is None:
            raise _UNSIGNED
        if now and (standing := regress.standing(service.store)) is not None:
            message = f"nothing is signed: {standing.message}"
            raise SetupError(message, reason="reconcile", remedy=regress.REMEDY)
        found = signing.sign(service.engine.around.actor) if now and signing else service.store.last_checkpoint()
    if found is None:
        message = "no checkpoint was signed yet"
        raise SetupError(message, reason="not_covered", remedy="a pass signs one: `rotate`; or --now")
    told = {"size": found.size, "at": moment_text(found.at), "checkpoint": found.note}
    text = f"{json.dumps(told, ensure_ascii=False)}\n" if as_json else found.note
    if output is None:
        click.echo(text, nl=False)
    else:
        replace(Path(output), [text])
    return Status.DONE


@click.command(epilog=options.examples("rotator audit key > keyturn.vkey"))
@options.common
def key(config: str | None) -> int:
    """Print the public key that verifies our checkpoints, as NAME+ID+KEY. Give it to those who verify."""
    with looking(configuration(config)) as service:
        signing_key = service.config.audit.signing_key
        if signing_key is None:
            raise _UNSIGNED
        say.tell(wiring.signer(signing_key, service.store).verifier_key)
    return Status.DONE
