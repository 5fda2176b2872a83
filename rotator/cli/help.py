"""The command `help`: what a code means and what to do about it."""

from __future__ import annotations

from difflib import get_close_matches

import click

from rotator.cli import COMMANDS, OnDemand, commands, options, say
from rotator.cli.exits import Status
from rotator.cli.reasons import Reason, documented
from rotator.domain.errors import code as code_of


@click.command(
    "help",
    epilog=options.examples(
        "rotator help E-DRIFT            what an error's code means, and what to do",
        "rotator help                    every code",
        "rotator help rotate             the same as `rotator rotate --help`",
    ),
)
@click.argument("code", required=False)
@options.verbose
@click.pass_context
def explain(ctx: click.Context, code: str | None) -> int:
    """What CODE means and what to do about it; the code is what an error ends with.

    `status`, `explain`, `--json` and the audit trail name the same thing as a reason, in small letters: that is taken
    as well, and so is the name of a command.
    """
    if code is None:
        _list()
    elif code in COMMANDS:
        command = OnDemand.get_command(commands, ctx, code)
        assert command is not None
        click.echo(command.get_help(click.Context(command, info_name=code, parent=ctx.parent)))
    else:
        _tell(_find(code, ctx))
    return Status.DONE


def _find(code: str, ctx: click.Context) -> Reason:
    name = code.lower().removeprefix("e-").replace("-", "_")
    found = documented().get(name)
    if found is not None:
        return found
    near = get_close_matches(name, documented(), n=1)
    hint = f"did you mean {code_of(near[0])}?" if near else "`rotator help` lists them all"
    message = f"there is no code {code}; {hint}"
    raise click.UsageError(message, ctx)


def _tell(reason: Reason) -> None:
    say.tell(f"{code_of(reason.name)}: {reason.meaning}")
    say.tell(f"To do: {reason.remedy}")
    say.tell(f"About: {reason.about}. In status, --json and the audit trail it is the reason {reason.name}.")


def _list() -> None:
    about = None
    for reason in documented().values():
        if reason.about != about:
            about = reason.about
            say.tell(f"\n{about}")
        say.tell(f"  {code_of(reason.name):32} {reason.meaning}")
