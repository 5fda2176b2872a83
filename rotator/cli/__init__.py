"""The commands `rotate` and `rotator`: parse, call, print, exit status. Nothing heavy is imported before one runs."""

from __future__ import annotations

from importlib import import_module
from typing import NoReturn

import click

from rotator import __version__

COMMANDS = {
    "rotate": ("passes:rotate", "One pass over whatever is due, or with --now: rotate at once."),
    "daemon": ("daemon:daemon", "The long-running service: passes for good, until SIGTERM."),
    "init": ("init:init", "Write a starter configuration, a sealing key and an empty database."),
    "check": ("check:check", "Try everything that the configuration says, and change nothing."),
    "inventory": ("inventory:inventory", "Every key of an account: whose, how old, last used when, managed or not."),
    "status": ("status:status", "Where every credential stands."),
    "explain": ("status:explain", "Why a credential is where it is, and what happens next."),
    "plan": ("plan:plan", "The rotations to come, and where it is too much at once."),
    "diff": ("diff:diff", "What a changed configuration would do, for a pull request."),
    "policy": ("status:policy", "Each policy value of a credential and where it comes from."),
    "leak": ("leak:leak", "Take in that a key was seen where it does not belong."),
    "card": ("card:card", "How to replace and end a key by hand, when this service cannot."),
    "usage": ("usage:usage", "How the keys of a credential are used, as far as the provider tells."),
    "seen": ("seen:seen", "A consumer reports which key it holds."),
    "adopt": ("adopt:adopt", "Record keys that live already, without rotating."),
    "supply": ("supply:supply", "Hand over the key that only a person can make."),
    "resume": ("verbs:resume", "Clear blocks and waits, so that the next step is tried at once."),
    "abandon": ("verbs:abandon", "Give an open rotation up and put the current key back."),
    "pause": ("pausing:pause", "Stop whatever the schedule does with a credential."),
    "unpause": ("pausing:unpause", "Go on with a paused credential."),
    "rollback": ("going_back:rollback", "Make the previous key current again."),
    "reactivate": ("going_back:reactivate", "Keep a key that is being taken away."),
    "retire": ("going_back:retire", "Take a kept key away after all."),
    "revoke": ("revoke:revoke", "Make a key stop working now, whoever reads it."),
    "forget": ("verbs:forget", "Stop waiting for a destination that was removed."),
    "drift": ("drift:drift", "Decide about a destination that somebody changed."),
    "scan": ("scan:scan", "Find our keys, and those of known providers, where they do not belong."),
    "reconcile": ("reconcile:reconcile", "After a restore: compare the database with the world, and go on."),
    "wait": ("verbs:wait", "Wait until a credential is current, or its old keys are gone."),
    "audit": ("audit:audit", "The audit trail: read it, verify it, export it."),
    "report": ("evidence:report", "Evidence for an auditor: keys, ages and rotations of a period."),
    "metrics": ("metrics:metrics", "Metrics for Prometheus, read from the database."),
    "health": ("metrics:health", "Whether passes can work here; for exec probes."),
    "notify": ("notify:notify", "Notifications: try the routes that people are told by."),
    "seal": ("seal:seal", "The sealing keys: add, activate, re-wrap, remove."),
    "db": ("database:db", "The database: its schema and how to upgrade it."),
    "doctor": ("doctor:doctor", "Collect a support bundle without secrets."),
    "completion": ("completion:completion", "What a shell needs for Tab to complete commands and names."),
    "help": ("help:explain", "What the code of an error means, and what to do."),
    "schema": ("status:schema", "The JSON Schema of the configuration file."),
    "demo": ("demo:demo", "Watch the whole job on this machine, with real servers."),
}
"""Command → (`module:name` within this package, what the list of commands says)."""


class OnDemand(click.Group):
    """A group that imports a command's module when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """In the order of the table, which is that of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's interface
        """The command of this name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"rotator.cli.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """List them without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the nearest known command in the message."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"there is no command {args[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)


HELP = """Change API keys without an outage.

\b
rotator init                 starter files, then `rotator check`
rotate                       one pass: whatever is due (the CronJob)
rotate --now NAME            rotate now, through the very same steps
rotator status               where everything stands
rotator explain NAME         why, and what happens next
"""


@click.group(cls=OnDemand, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rotator")
def commands() -> None:
    """Everything around the job, and the job."""


def rotate() -> NoReturn:
    """The console script `rotate`."""
    _run(OnDemand.get_command(commands, click.Context(commands), "rotate"), "rotate")


def rotator() -> NoReturn:
    """The console script `rotator`."""
    _run(commands, "rotator")


def _run(command: click.Command | None, name: str) -> NoReturn:
    from rotator.cli.exits import run

    assert command is not None
    run(command, name)
