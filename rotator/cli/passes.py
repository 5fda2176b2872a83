"""The command `rotate`: its options. What it does is in `rotating`."""

from __future__ import annotations

from typing import Any

import click

from rotator.cli import options

EXAMPLES = options.examples(
    "rotate                              whatever is due or unfinished; for a CronJob",
    "rotate --deadline 8m --fail-on new  the same where something ends the process after ten minutes",
    "rotate --now openai-web             rotate at once, whatever the schedule says",
    "rotate --now -l team=web            every credential with this label",
    "rotate --compromised deployer       it has leaked: the old key goes as soon as the new one is everywhere",
    "rotate --compromised web --without vault --reason 'vault is down'   written when it answers again",
    "rotate --rehearse openai-web        everything but the switch, and how long each step takes",
    "rotate --rehearse --compromised openai-web   the leak drill: how long a leaked key would work",
    "rotate --now openai-web --request   a worker with the secrets begins it; for whoever has none",
    "rotate --dry-run                    what would happen and why; touches nothing",
)
EXIT_STATUS = (
    "\b\nExit status: 0 done, or waiting for a planned time; 1 blocked, overdue, or not current in time;\n"
    "2 usage, configuration, sealing key or database; 75 another worker has it; 130/143 on a signal."
)


@click.command(epilog=f"{EXAMPLES}\n\n{EXIT_STATUS}", context_settings={"help_option_names": ["-h", "--help"]})
@options.names
@click.option("--now", is_flag=True, help="Rotate NAME..., whatever the schedule says, and end when it is current.")
@options.selector
@click.option("--all", "everything", is_flag=True, help="Every credential.")
@click.option(
    "--made-before",
    metavar="MOMENT",
    callback=options.moment,
    help="With --now and --compromised: leave out credentials whose current key is younger; to go on after a stop.",
)
@click.option("--compromised", is_flag=True, help="It has leaked. Like --now, and the old key is taken away at once.")
@click.option("--key", metavar="ID", help="With --compromised: only this key has leaked.")
@click.option(
    "--without", metavar="DEST", multiple=True, help="Do not wait for this destination; it may keep serving a dead key."
)
@click.option("--overwrite", is_flag=True, help="With --compromised: also what somebody else put at a destination.")
@click.option("--end-soak", is_flag=True, help="With --now: delete the disabled key that takes the slot.")
@click.option(
    "--rehearse",
    is_flag=True,
    help="Everything but the switch, beside the places of NAME; leaves no trace. With --compromised: the leak drill.",
)
@click.option("--dry-run", is_flag=True, help="Say what would happen and why; touch nothing.")
@click.option("--request", is_flag=True, help="With --now: have the next pass begin it; needs the database only.")
@options.as_json
@click.option("--timeout", type=options.duration, help="With --now and --rehearse: how long to wait. Default 10m.")
@click.option("--linger", type=options.duration, help="How long a pass waits. Default: lease + call budget + 10s.")
@click.option(
    "--deadline",
    type=options.duration,
    envvar="ROTATOR_DEADLINE",
    help="When a pass ends, done or not; the next one goes on. Also $ROTATOR_DEADLINE.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["new", "any", "never"]),
    default="any",
    show_default=True,
    help="What exits 1: only what got worse since the last pass, any trouble, or none.",
)
@options.reason
@options.yes
@options.quiet
@options.common
def rotate(**asked: Any) -> int:
    """Rotate whatever is due or unfinished, then exit; with --now, rotate NAME... at once.

    A rotation creates a key, pushes it to every destination, verifies it there, and only then takes the old key
    away, after its grace and soak. Interrupted anywhere, the next `rotate` goes on where it stopped.
    """
    from rotator.cli.asked import Asked
    from rotator.cli.rotating import carry_out

    return carry_out(Asked(**asked))
