"""The commands `db upgrade` and `db status`."""

from __future__ import annotations

import json
import os

import click

from rotator import wiring
from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.opening import configuration
from rotator.store import schema


@click.group()
def db() -> None:
    """The database: its schema and how to upgrade it."""


@db.command(
    epilog=options.examples(
        "rotator db upgrade              may be run by many replicas at once",
        "rotator db upgrade --check      what is pending, and how much work is open",
        "rotator db upgrade --contract   take away what only older releases need",
    )
)
@click.option(
    "--check", "only_look", is_flag=True, help="Say what is pending and how much work is open; change nothing."
)
@click.option("--contract", is_flag=True, help="Also take away what only older releases need: none may be running.")
@options.common
def upgrade(only_look: bool, contract: bool, config: str | None) -> int:
    """Bring the database to this release's schema; make it where there is none. May be repeated.

    An upgrade only adds: programs of the release before work on, and may be rolled back to. --contract ends that:
    what only older releases need is taken away, and they refuse the database from then on.
    """
    if only_look and contract:
        message = "--check changes nothing and --contract does: use one of them"
        raise click.UsageError(message, click.get_current_context())
    loaded = configuration(config)
    if only_look:
        return _look(loaded.environment, loaded.store.resolve())
    url = loaded.store.resolve_owner()
    applied = schema.upgrade(url, loaded.environment, wiring.new_id, actor=wiring.actor(os.environ))
    found = schema.standing(url)
    say.tell(f"environment {loaded.environment}, database {found.where}")
    say.tell(f"applied revision {', '.join(applied)}" if applied else f"nothing to do: {_fits(found)}")
    if contract:
        contracted = schema.contract(url)
        done = f"contracted revision {', '.join(contracted)}; older releases refuse the database from here on"
        say.tell(done if contracted else "nothing to contract")
    elif steps := schema.contractions(found):
        say.tell(f"once no older release runs, `rotator db upgrade --contract` contracts {', '.join(steps)}")
    return Status.DONE


@db.command(epilog=options.examples("rotator db status", "rotator db status --json"))
@options.as_json
@options.common
def status(as_json: bool, config: str | None) -> int:
    """Which schema the database has, which this release needs, what is pending and how much work is open.

    Exits 2 when something has to be applied before this release can work.
    """
    loaded = configuration(config)
    return _look(loaded.environment, loaded.store.resolve(), as_json=as_json)


def _look(environment: str, url: str, *, as_json: bool = False) -> int:
    found = schema.standing(url)
    pending, steps = found.missing, tuple(schema.contractions(found))
    rotations, retirements = schema.open_work(url)
    if as_json:
        told = {
            "environment": environment,
            "revision": found.applied,
            "needed": schema.REVISIONS[-1],
            "pending": pending,
            "contracted": found.contracted,
            "to_contract": steps,
            "open": {"rotations": rotations, "retirements": retirements},
        }
        click.echo(json.dumps(told))
    else:
        say.tell(f"environment {environment}, database {found.where}")
        say.tell(f"schema {found.applied or 'none'}; this release needs {schema.REVISIONS[-1]}")
        say.tell(f"pending: {', '.join(pending)}" if pending else f"nothing is pending: {_fits(found)}")
        if steps:
            say.tell(f"to contract, once no older release runs: {', '.join(steps)}")
        work = f"{_many(rotations, 'rotation')}, {_many(retirements, 'retirement')}"
        say.tell(f"open: {work}; an upgrade leaves them as they are")
    if pending:
        remedy = "run `rotator db upgrade`"
        say.complain(f"the schema lacks {', '.join(pending)}", reason="schema_outdated", remedy=remedy)
    return Status.SETUP if pending else Status.DONE


def _fits(found: schema.Standing) -> str:
    if found.ahead:
        return f"the database has the next release's schema, {found.applied}, and this one works on it"
    return "the schema is up to date"


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
