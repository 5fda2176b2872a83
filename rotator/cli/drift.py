"""The commands `drift accept`, `overwrite` and `ignore`: what becomes of a value that somebody put at a destination."""

from __future__ import annotations

import click

from rotator.cli import options, say, verdicts
from rotator.cli.acting import act
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, working
from rotator.cli.options import Manner
from rotator.config import Config, select

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
@options.manner
@options.common
def accept(name: str, destination: str, reason: str | None, manner: Manner, config: str | None) -> int:
    """Make the living key that stands at DEST the new version of NAME.

    It becomes current and is written to the other destinations; the key before is taken away after its grace. A
    previous key of the credential that was put back becomes current again. May be repeated.
    """
    return _decide("accept", name, destination, reason, manner, config)


@drift.command(epilog=options.examples("rotator drift overwrite openai-web vault"))
@options.name
@_destination
@options.reason
@options.manner
@options.common
def overwrite(name: str, destination: str, reason: str | None, manner: Manner, config: str | None) -> int:
    """Write the current key of NAME over what stands at DEST, or to DEST where it is gone.

    Where the current key does not work or its value is not on record, a new key is made. May be repeated.
    """
    return _decide("overwrite", name, destination, reason, manner, config)


@drift.command(epilog=options.examples("rotator drift ignore openai-web vault --reason 'test of Friday'"))
@options.name
@_destination
@options.reason
@options.manner
@options.common
def ignore(name: str, destination: str, reason: str | None, manner: Manner, config: str | None) -> int:
    """Leave what stands at DEST and hear no more of it, until it changes again.

    It is not overwritten: the next rotation stops there, and old keys wait for the place.
    """
    return _decide("ignore", name, destination, reason, manner, config, work_on=False)


def _decide(
    verb: str,
    name: str,
    destination: str,
    because: str | None,
    manner: Manner,
    config: str | None,
    *,
    work_on: bool = True,
) -> int:
    loaded = configuration(config)
    select(loaded, [name], None)
    status = act(loaded, [name], verb, {"destination": destination}, because, manner)
    return _go_on(loaded, name) if work_on and manner.here and status == Status.DONE else status


def _go_on(config: Config, name: str) -> int:
    """The decision is on record; do at once what follows from it, as far as it can be done now."""
    pace = config.engine
    with working(config) as service:
        progress = service.running().run([name], None, pace.lease + pace.call_budget)[name]
        entry = service.report().status([name])["credentials"][0]
    verdict = verdicts.of_pass(progress, entry)
    if verdict.status is not Status.DONE:
        say.complain(verdict.said, reason=verdict.reason, remedy=verdict.remedy)
        return verdict.status
    say.tell(f"{name} is {entry['status']}" + (f": {entry['message']}" if entry["message"] else ""))
    return Status.DONE
