"""The command `notify test`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import click

from rotator import logs, wiring
from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.opening import configuration
from rotator.config import Config
from rotator.config.problems import did_you_mean
from rotator.domain.errors import RotatorError, SetupError
from rotator.domain.messages import of_test
from rotator.engine.notify import Channel

_AT_ONCE = 8


@click.group()
def notify() -> None:
    """Notifications: try the routes that people are told by."""


@notify.command(
    epilog=options.examples("rotator notify test", "rotator notify test oncall", "rotator notify test --json")
)
@click.argument("route", required=False)
@options.as_json
@options.common
def test(route: str | None, as_json: bool, config: str | None) -> int:
    """Send a test message by ROUTE (default: by each), now, also in quiet hours. Exits 1 where one was not accepted.

    Needs neither database nor sealing key.
    """
    loaded = configuration(config)
    channels = _chosen(loaded, route)
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        found = list(pool.map(lambda channel: _tried(loaded, channel), channels))
    if as_json:
        click.echo(json.dumps({"environment": loaded.environment, "routes": found}, indent=2, ensure_ascii=False))
    else:
        say.tell(f"environment {loaded.environment}")
        for one in found:
            _tell(one)
    return Status.DONE if all(one["accepted"] for one in found) else Status.TROUBLE


def _chosen(config: Config, route: str | None) -> list[Channel]:
    channels = wiring.channels(config)
    if not channels:
        message = f"there is no route in {config.path}"
        raise SetupError(
            message, reason="no_route", remedy="write one under `notify.routes`; see docs/notifications.md"
        )
    found = [channel for channel in channels if route in (None, channel.route.name)]
    if not found:
        assert route is not None
        hint = did_you_mean(route, config.routes)
        message = f"no route is called {route}"
        raise SetupError(message, reason="no_route", remedy=hint or f"routes: {', '.join(config.routes)}")
    return found


def _tried(config: Config, channel: Channel) -> dict[str, Any]:
    told: dict[str, Any] = {"route": channel.route.name, "by": channel.notifier.name, "accepted": True}
    message = of_test(config.environment, channel.route.name, wiring.actor(os.environ), datetime.now(UTC))
    try:
        channel.notifier.send(message)
    except RotatorError as problem:
        told |= {"accepted": False, "reason": problem.reason, "message": problem.message, "remedy": problem.remedy}
    except Exception as problem:  # noqa: BLE001 - a bug in one way stops no other
        logs.bug(channel.route.name, problem)
        told |= {"accepted": False, "reason": "bug", "message": logs.describe(problem), "remedy": None}
    return told


def _tell(one: Mapping[str, Any]) -> None:
    if one["accepted"]:
        say.tell(f"ok       {one['route']}: {one['by']} has accepted the test")
        return
    remedy = one["remedy"] or "see that the receiver runs and can be reached from here, then try again"
    say.complain(f"failed   {one['route']}: {one['by']}: {one['message']}", reason=one["reason"], remedy=remedy)
