"""The command `diff`: what a changed configuration would do, for a pull request."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from rotator import wiring
from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.opening import looking
from rotator.config import Config, ConfigError, changes, entry_of, find, load, with_removed
from rotator.domain.errors import SetupError
from rotator.engine.changes import Change, Comparison
from rotator.engine.report import Report, stamp


@click.command(
    epilog=options.examples(
        "rotator diff --config new.yaml",
        "rotator diff --config new.yaml --against rotator.yaml --no-database",
        "rotator diff --config new.yaml --json",
    )
)
@click.option("--config", "changed", metavar="FILE", required=True, help="The changed configuration.")
@click.option(
    "--against",
    metavar="FILE",
    help="The present one. Default: $ROTATOR_CONFIG, ./rotator.yaml, /etc/rotator/rotator.yaml.",
)
@click.option("--no-database", is_flag=True, help="Compare the files alone: nothing is said about times and keys.")
@click.option(
    "--most",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="So many rotations of one provider may become due within an hour. Default: twice engine.in_flight.",
)
@options.as_json
@options.verbose
def diff(changed: str, against: str | None, no_database: bool, most: int | None, as_json: bool) -> int:
    """What a changed configuration would do. Touches nothing; needs no sealing key and asks no provider.

    Exits 1 where living keys would become unmanaged, a destination that serves a living key would be dropped, or too
    many credentials would be rotated at once; 2 where a file is wrong.
    """
    before, after = _both(find(against, os.environ) if against is None else _named("--against", against), changed)
    with ExitStack() as stack:
        report = None
        if not no_database:
            report = stack.enter_context(looking(before)).report()
        found = list(_changes(report, before, after, most or 2 * after.engine.in_flight))
        at = stamp(report.at) if report is not None else None
    dangers = [change for change in found if change.danger is not None]
    if as_json:
        told = {
            "at": at,
            "environment": before.environment,
            "from": str(before.path),
            "to": str(after.path),
            "safe": not dangers,
            "changes": [change.as_json() for change in found],
        }
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _show(found, before, after, with_database=report is not None)
    return Status.TROUBLE if dangers else Status.DONE


def _show(found: Sequence[Change], before: Config, after: Config, *, with_database: bool) -> None:
    look = "" if with_database else "; the database was not looked at"
    say.tell(f"environment {before.environment}: {before.path} → {after.path}{look}")
    for change in found:
        say.tell(str(change))
    if not found:
        say.tell("nothing changes")
    for danger, words in (("orphan", "keys would be left behind"), ("stampede", "too many would be rotated at once")):
        count = sum(1 for change in found if change.danger == danger)
        if count:
            say.warn(f"{words}: {count} {'change' if count == 1 else 'changes'} above ({danger})")


def _named(option: str, path: str) -> Path:
    if not Path(path).exists():
        message = f"there is no configuration file {path}, which {option} names"
        raise SetupError(message, reason="no_configuration", remedy="check the path")
    return Path(path)


def _both(present: Path, changed: str) -> tuple[Config, Config]:
    """Both files; the problems of both at once."""
    loaded: list[Config] = []
    problems: list[ConfigError] = []
    for path in (present, _named("--config", changed)):
        try:
            loaded.append(load(path))
        except ConfigError as problem:
            problems.append(problem)
    if problems:
        message = "\n".join(problem.message for problem in problems)
        raise SetupError(message, reason=problems[0].reason, remedy=problems[0].remedy)
    return loaded[0], loaded[1]


def _changes(report: Report | None, before: Config, after: Config, most: int) -> Iterator[Change]:
    """Every difference: the installation's, what is taken out and added, what changes, and all of it together."""
    for what in changes.settings(before, after):
        yield Change(sign="~", what=what)
    renamed = changes.renamed(before, after)
    old, new = wiring.Adapters(before), wiring.Adapters(after)
    try:
        compared = Comparison(report, old.managed(), new.managed(), renamed)
        gone = [name for name in before.credentials if name not in {*after.credentials, *renamed.values()}]
        _, stuck = with_removed(after, {name: entry_of(before.credentials[name]) for name in gone})
        for name in gone:
            yield compared.taken_out(name, stuck.get(name))
        for name in after.credentials:
            if name not in before.credentials and name not in renamed:
                yield compared.added(name)
        yield from _edited(compared, before, after)
        yield from compared.stampedes(most)
    finally:
        old.close()
        new.close()


def _edited(compared: Comparison, before: Config, after: Config) -> Iterator[Change]:
    alike: dict[str, list[str]] = {}
    for name, credential in after.credentials.items():
        former = before.credentials.get(compared.renamed.get(name, name))
        if former is None:
            continue
        if name != former.name:
            yield compared.moved(name, former.name)
        accounts = before.providers[former.provider], after.providers[credential.provider]
        other = compared.provider(name, same_account=changes.same_account(*accounts))
        if other is not None:
            yield other
        yield from compared.places(name)
        edits = changes.edits(former, credential)
        if edits:
            alike.setdefault(", ".join(edits), []).append(name)
    for what, names in alike.items():
        yield compared.edited(what, names)
