"""What `check` says of routes: those that cannot work or tell nothing, and credentials that nobody hears of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rotator.cli.finding import Finding
from rotator.domain.events import FINDINGS, Outcome
from rotator.domain.notices import BLOCKED, OVERDUE, Notice, Route, Severity
from rotator.engine.notify import Channel

_NAMED = 5  # of the credentials that nobody hears of


def of_route(channel: Channel) -> list[Finding]:
    """Whether it can work, and anything ever goes there. Nothing is sent."""
    route = channel.route
    about: dict[str, Any] = {"check": "route", "subject": f"route {route.name}"}
    trouble = channel.notifier.trouble()
    if trouble is not None:
        remedy = f"correct it, then `rotator notify test {route.name}`"
        message = f"{channel.notifier.name}: {trouble}"
        return [Finding(**about, outcome="failed", message=message, reason="not_accepted", remedy=remedy)]
    if route.reach is not None and not route.reach:
        message, remedy = (
            "it is for no credential of this file",
            "correct its `select` or `credentials`, or take it out",
        )
        return [Finding(**about, outcome="warning", message=message, reason="route_unused", remedy=remedy)]
    many = "every credential" if route.reach is None else _some(list(route.reach))
    return [Finding(**about, message=f"{channel.notifier.name}: {route.severity} of {many}")]


def untold(channels: Sequence[Channel], names: Sequence[str], providers: Mapping[str, str]) -> Iterator[Finding]:
    """What would be found of these credentials, and no route would tell."""
    silent: dict[tuple[str, ...], list[str]] = {}
    routes = [channel.route for channel in channels]
    for name in names if routes else ():
        kinds = tuple(event for event in _EVENTS if not _is_told(routes, event, name, providers[name]))
        if kinds:
            silent.setdefault(kinds, []).append(name)
    for kinds, some in silent.items():
        what = "anything" if len(kinds) == len(_EVENTS) else ", ".join(kinds)
        yield Finding(
            check="route",
            subject="notify",
            outcome="warning",
            message=f"no route tells {what} of {_some(some)}",
            reason="untold",
            remedy="widen a route's `select`, `events` or `severity`, or add one for them",
        )


_EVENTS = (BLOCKED, OVERDUE, *(f"{kind}.{Outcome.FOUND}" for kind in FINDINGS))


def _is_told(routes: Sequence[Route], event: str, name: str, provider: str) -> bool:
    about = Notice(
        key=event,
        event=event,
        severity=Severity.WARNING,
        lasts=True,
        message="",
        since=datetime.min.replace(tzinfo=UTC),
        seq=0,
        credential=name,
        provider=provider,
    )
    return any(route.wants(about) for route in routes)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
