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
from rotator.store.database import parse, place


@click.group()
def db() -> None:
    """The database: its schema and how to upgrade it."""


@db.command(epilog=options.examples("rotator db upgrade"))
@options.common
def upgrade(config: str | None) -> int:
    """Bring the database to this release's schema; make it where there is none. May be repeated."""
    loaded = configuration(config)
    url = loaded.store.resolve()
    applied = schema.upgrade(url, loaded.environment, wiring.new_id, actor=wiring.actor(os.environ))
    say.tell(f"environment {loaded.environment}, database {place(parse(url))}")
    say.tell(f"applied revision {', '.join(applied)}" if applied else "nothing to do: the schema is up to date")
    return Status.DONE


@db.command(epilog=options.examples("rotator db status"))
@options.as_json
@options.common
def status(as_json: bool, config: str | None) -> int:
    """Which schema the database has, and which this release needs. Exits 2 when they differ."""
    loaded = configuration(config)
    url = loaded.store.resolve()
    revision, pending = schema.current(url), schema.pending(url)
    if as_json:
        told = {"revision": revision, "needed": schema.REVISIONS[-1], "pending": list(pending)}
        click.echo(json.dumps({"environment": loaded.environment, **told}))
    else:
        say.tell(f"environment {loaded.environment}, database {place(parse(url))}")
        say.tell(f"schema {revision or 'none'}; this release needs {schema.REVISIONS[-1]}")
    if pending:
        say.complain(f"the schema lacks {', '.join(pending)}", remedy="run `rotator db upgrade`")
    return Status.SETUP if pending else Status.DONE
