"""The command `check`: everything that the configuration says is tried, and nothing is changed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.finding import Finding
from rotator.cli.opening import configuration
from rotator.cli.preflights import Preflight, Told, run
from rotator.config import select

_NAMED = 3  # of what is being tried


@click.command(
    epilog=options.examples(
        "rotator check",
        "rotator check openai-web",
        "rotator check --as cronjob      in a pod of the CronJob: also what cannot work there",
        "rotator check --json",
    )
)
@options.names
@options.selector
@click.option(
    "--as", "place", type=click.Choice(["cronjob"]), help="Also refuse what cannot work in the pods of a CronJob."
)
@options.as_json
@options.quiet
@options.common
def check(
    names: Sequence[str], selector: str | None, place: str | None, as_json: bool, quiet: bool, config: str | None
) -> int:
    """Try the database, the sealing key, and each provider and destination of NAME... (default: all).

    Asks providers for their account and keys, and consumers since when they run; reads destinations, and looks whether
    they could be written.
    Nothing is created, written or taken away. Exits 1 when a check failed.
    """
    loaded = configuration(config)
    chosen = [credential.name for credential in select(loaded, names, selector)]
    if not as_json and not quiet:
        say.tell(f"environment {loaded.environment}; {loaded.path} is well formed")
    found = []
    with _progress() as tell:
        for finding in run(loaded, chosen, tell, cronjob=place == "cronjob"):
            found.append(finding)
            if not as_json:
                _tell(finding, quiet=quiet)
    failed = sum(1 for finding in found if finding.outcome == "failed")
    warned = sum(1 for finding in found if finding.outcome == "warning")
    if as_json:
        told = {"environment": loaded.environment, "ok": not failed, "checks": [asdict(finding) for finding in found]}
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    elif not quiet:
        say.tell(f"{len(found)} checks: {failed} failed, {warned} warnings")
    return Status.TROUBLE if failed else Status.DONE


def _tell(finding: Finding, *, quiet: bool) -> None:
    subject = f"{finding.credential}: {finding.subject}" if finding.credential else finding.subject
    if finding.outcome == "ok":
        if not quiet:
            say.tell(f"ok       {subject}: {finding.message}")
        return
    say.complain(f"{finding.outcome:8} {subject}: {finding.message}", reason=finding.reason, remedy=finding.remedy)


@contextmanager
def _progress() -> Iterator[Told]:
    """On a terminal, a last line that says how many are done and what is waited for; it leaves nothing behind."""
    if not say.on_terminal(sys.stderr):
        yield lambda _left, _count: None
        return
    # What is printed meanwhile goes above the line; what goes into a file or a pipe goes its own way.
    line = Live(console=Console(stderr=True), auto_refresh=False, transient=True, redirect_stdout=sys.stdout.isatty())
    with line:
        yield lambda left, count: line.update(_waiting(left, count), refresh=True)


def _waiting(left: Sequence[Preflight], count: int) -> Text:
    first = [f"{each.credential}: {each.subject}" if each.credential else each.subject for each in left[:_NAMED]]
    more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    said = f"{count - len(left)} of {count} done; waiting for {', '.join(first)}{more}"
    return Text(say.clean(said), style="dim", overflow="ellipsis", no_wrap=True)
