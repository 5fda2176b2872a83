"""How a verb is done: under the lease in this process, as a dry run, or as a request to the next worker."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import click

from rotator import logs, wiring
from rotator.cli import say
from rotator.cli.exits import INTERRUPTED, Status, told
from rotator.cli.opening import chosen, holding
from rotator.cli.options import Manner
from rotator.config import Config
from rotator.domain.errors import RotatorError, SetupError
from rotator.domain.model import Request, RequestId, RequestState
from rotator.engine import requests, verbs
from rotator.engine.dry import DryWork
from rotator.engine.engine import HELD_WAIT
from rotator.engine.explain import explain
from rotator.engine.report import Report
from rotator.engine.work import Work
from rotator.ports.store import NewEvent
from rotator.wiring import Service

_WATCHED = timedelta(minutes=10)
_LOOK_EVERY = 0.5  # seconds

URGENT = ("revoke",)
"""Verbs that need neither sealed values nor destinations, and that wait until another worker lets go."""


def act(
    config: Config,
    names: Sequence[str],
    verb: str,
    arguments: Mapping[str, Any],
    because: str | None,
    manner: Manner,
    *,
    selector: str | None = None,
) -> int:
    """Do a verb to each credential and say what came of it. Of several, one that fails stops no other."""
    with opened(config, manner, unlock=verb not in URGENT) as service:
        wanted = chosen(service, names, selector)
        tell_environment(service, manner)
        if manner.request:
            timeout = _WATCHED if manner.timeout is None else manner.timeout
            return _ask(service, wanted, verb, arguments, because, timeout)
        if len(wanted) == 1:
            _do(service, wanted[0], verb, arguments, because, manner)
            return Status.DONE
        return max((_tried(service, name, verb, arguments, because, manner) for name in wanted), default=Status.DONE)


@contextmanager
def opened(config: Config, manner: Manner, *, unlock: bool = True) -> Iterator[Service]:
    """A service for a verb in this manner. Opening it for a dry run writes nothing; a request needs no key."""
    unlock = unlock and not manner.request
    with wiring.opened(config, wiring.surroundings(bug=logs.bug), unlock=unlock, dry=manner.dry_run) as service:
        yield service


def tell_environment(service: Service, manner: Manner) -> None:
    """The first line of every screen."""
    say.tell(f"environment {service.config.environment}{'; nothing is touched' if manner.dry_run else ''}")


def agreed(question: str, pain: str, *, yes: bool) -> bool:
    """Whether a person agrees to what hurts. Raises UsageError where nobody can be asked."""
    if yes:
        return True
    if not say.can_ask():
        message = f"{pain}; without a terminal to ask on, it needs --yes"
        raise click.UsageError(message, click.get_current_context())
    if say.agreed(question):
        return True
    say.warn("nothing was changed")
    return False


def _tried(
    service: Service, name: str, verb: str, arguments: Mapping[str, Any], because: str | None, manner: Manner
) -> Status:
    try:
        _do(service, name, verb, arguments, because, manner)
    except RotatorError as problem:
        return told(name, problem)
    return Status.DONE


def _do(
    service: Service, name: str, verb: str, arguments: Mapping[str, Any], because: str | None, manner: Manner
) -> None:
    pace = service.config.engine
    patience = (pace.lease + pace.call_budget).total_seconds() if verb in URGENT else HELD_WAIT
    with worked_on(service, name, manner, patience) as work:
        said = verbs.do(work, verb, arguments, because)
    for line in said:
        say.tell(f"{name}: {'would be: ' if manner.dry_run else ''}{line}")


@contextmanager
def worked_on(service: Service, name: str, manner: Manner, patience: float = HELD_WAIT) -> Iterator[Work]:
    """The credential's lease; in a dry run nothing of the kind, and at the end what it would have come to."""
    if not manner.dry_run:
        with holding(service.engine, name, patience) as work:
            yield work
        return
    before = explain(service.report(), name)
    with service.engine.dry(name) as work:
        yield work
        tell_events(work.dry.events_to_be)
        for line in _afterwards(service, name, work):
            if line not in before:
                say.tell(f"afterwards: {line}")


def _afterwards(service: Service, name: str, work: DryWork) -> list[str]:
    return explain(Report(work.store, service.managed), name)


def tell_events(events: Sequence[NewEvent]) -> None:
    """What a dry run would have recorded."""
    for event in events:
        parts = [event.event, event.credential, event.destination]
        parts += [f"version {event.version}" if event.version else None, event.reason]
        say.tell(f"would record: {' '.join(part for part in parts if part)}")


# requests


def _ask(
    service: Service,
    names: Sequence[str],
    verb: str,
    arguments: Mapping[str, Any],
    because: str | None,
    timeout: timedelta,
) -> int:
    known = {credential.name: credential for credential in service.store.credentials()}
    missing = [name for name in names if name not in known]
    if missing:
        message = f"there is no credential {', '.join(missing)} on record"
        raise SetupError(message, reason="unknown_credential", remedy="a pass puts it there: `rotate`")
    actor, standing = wiring.actor(os.environ), {}
    for name in names:
        new = wiring.new_id()
        standing[name] = requests.ask(
            service.store, known[name], verb, arguments, request_id=new, actor=actor, because=because
        )
    say.warn(f"asked for: {verb} of {', '.join(names)}; the next pass does it")
    try:
        return _watched(service, standing, time.monotonic() + timeout.total_seconds())
    except KeyboardInterrupt:
        say.warn("it stands, and the next pass does it; `rotator explain NAME` shows it until then")
        return INTERRUPTED


def _watched(service: Service, standing: dict[str, RequestId], end: float) -> int:
    """Until all of them are done or refused, or the time is over."""
    status, heard = Status.DONE, dict.fromkeys(standing, "")
    while True:
        for name, request_id in list(standing.items()):
            request = service.store.request(request_id)
            assert request is not None
            if request.state is not RequestState.STANDING:
                del standing[name]
                status = max(status, _outcome(name, request))
            elif request.message and request.message != heard[name]:
                heard[name] = request.message
                say.warn(f"{name}: waits: {request.message} ({request.reason})")
        left = end - time.monotonic()
        if not standing:
            return status
        if left <= 0:
            said = f"no worker has done it yet: {', '.join(standing)}; it stands, and the next pass does it"
            say.complain(said, reason="timeout", remedy="see that passes run; `rotator explain NAME` shows it")
            return Status.TROUBLE
        time.sleep(min(_LOOK_EVERY, left))


def _outcome(name: str, request: Request) -> Status:
    lines = (request.message or "done").splitlines()
    if request.state is RequestState.DONE:
        for line in lines:
            say.tell(f"{name}: {line}")
        return Status.DONE
    say.complain(f"{name}: refused: {' '.join(lines)}", reason=request.reason)
    return Status.TROUBLE
