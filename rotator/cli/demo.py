"""The command `demo`."""

from __future__ import annotations

import click

from rotator.cli import options


@click.command(epilog=options.examples("rotator demo", "rotator demo --quick", "rotator demo --leak"))
@click.option("--keep", is_flag=True, help="Leave the servers running at the end, until Ctrl-C.")
@click.option("--quick", is_flag=True, help="Shorten the times of waiting.")
@click.option("--leak", is_flag=True, help="Another story: keys leak, are reported, and are dead soon afterwards.")
@options.verbose
def demo(keep: bool, quick: bool, leak: bool) -> int:
    """Start OpenBao, an AWS API and an OpenAI emulator on this machine, and rotate three keys while they are used."""
    from rotator.demo import run

    return run(keep=keep, quick=quick, leak=leak)
