"""The commands `drift accept`, `overwrite` and `ignore`: what becomes of a value that somebody put at a destination."""

from __future__ import annotations

from collections.abc import Callable

import click

from rotator.cli import options, say, verdicts
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, holding, working
from rotator.config import select
from rotator.engine import drift as decisions
from rotator.engine.work import Work
from rotator.wiring import Service

Decision = Callable[[Work, str, str | None], list[str]]

_destination = click.argument("destination", metavar="DEST")


@click.group()
def drift() -> None:
    """Decide about a destination that somebody changed. `rotator status` names it, and what stands there.

    Nothing that stands at a destination is ever overwritten without such a decision.
    """


@drift.command(epilog=options.examples("rotator drift accept openai-web vault --reason 'made by hand, INC-7'"))
@options.name
@_destination
@options.reason
@options.common
def accept(name: str, destination: str, reason: str | None, config: str | None) -> int:
    """Make the living key that stands at DEST the new version of NAME.

    It becomes current and is written to the other destinations; the key before is taken away after its grace. A
    previous key of the credential that was put back becomes current again. May be repeated.
    """
    return _decide(decisions.accept, name, destination, reason, config)


@drift.command(epilog=options.examples("rotator drift overwrite openai-web vault"))
@options.name
@_destination
@options.reason
@options.common
def overwrite(name: str, destination: str, reason: str | None, config: str | None) -> int:
    """Write the current key of NAME over what stands at DEST, or to DEST where it is gone.

    Where the current key does not work or its value is not on record, a new key is made. May be repeated.
    """
    return _decide(decisions.overwrite, name, destination, reason, config)


@drift.command(epilog=options.examples("rotator drift ignore openai-web vault --reason 'test of Friday'"))
@options.name
@_destination
@options.reason
@options.common
def ignore(name: str, destination: str, reason: str | None, config: str | None) -> int:
    """Leave what stands at DEST and hear no more of it, until it changes again.

    It is not overwritten: the next rotation stops there, and old keys wait for the place.
    """
    return _decide(decisions.ignore, name, destination, reason, config, work_on=False)


def _decide(
    decide: Decision, name: str, destination: str, because: str | None, config: str | None, *, work_on: bool = True
) -> int:
    loaded = configuration(config)
    select(loaded, [name], None)
    with working(loaded) as service:
        say.tell(f"environment {loaded.environment}")
        with holding(service.running(), name) as work:
            said = decide(work, destination, because)
        for line in said:
            say.tell(f"{name}: {line}")
        return _go_on(service, name) if work_on else Status.DONE


def _go_on(service: Service, name: str) -> int:
    """The decision is on record; do at once what follows from it, as far as it can be done now."""
    pace = service.config.engine
    progress = service.running().run([name], None, pace.lease + pace.call_budget)[name]
    entry = service.report().status([name])["credentials"][0]
    verdict = verdicts.of_pass(progress, entry)
    if verdict.status is not Status.DONE:
        say.complain(verdict.said, reason=verdict.reason, remedy=verdict.remedy)
        return verdict.status
    say.tell(f"{name} is {entry['status']}" + (f": {entry['message']}" if entry["message"] else ""))
    return Status.DONE
