"""The command `daemon`."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from rotator.cli import options

if TYPE_CHECKING:
    from rotator.web.server import Address

EXAMPLES = options.examples(
    "rotator daemon                          a tick every minute, until SIGTERM",
    "rotator daemon --interval 5m            seldom enough for slow schedules",
    "rotator daemon --listen 127.0.0.1:9464  with /metrics, /healthz and /readyz",
    "systemctl reload keyturn                SIGHUP: read the configuration again",
)
EXIT_STATUS = (
    "\b\nExit status: 0 stopped by SIGTERM or SIGINT; 1 the grace was over before the step in hand was;\n"
    "2 usage, configuration, sealing key or database."
)


@click.command(epilog=f"{EXAMPLES}\n\n{EXIT_STATUS}")
@click.option(
    "--interval", type=options.duration, default="60s", show_default=True, help="Between two ticks; each is a pass."
)
@click.option(
    "--grace", type=options.duration, default="30s", show_default=True, help="For the step in hand, after SIGTERM."
)
@click.option("--listen", type=options.address, help="Serve /metrics, /healthz and /readyz there: 127.0.0.1:9464.")
@options.common
def daemon(config: str | None, interval: timedelta, grace: timedelta, listen: Address | None) -> int:
    """Run passes for good: whatever is due or unfinished, at once and at each interval.

    Any number of daemons, CronJobs and `rotate --now` may work on one database. A database that does not answer, or
    waits for `rotator db upgrade`, is waited for.
    """
    import os

    from rotator import logs
    from rotator.config import find
    from rotator.daemon import Daemon

    if interval <= timedelta(0):
        message = "must be longer than nothing"
        raise click.BadParameter(message, param_hint="--interval")
    if not logs.log.isEnabledFor(logging.INFO):
        logs.log.setLevel(logging.INFO)
    return Daemon(find(config, os.environ), interval, grace, os.environ, listen).run()
