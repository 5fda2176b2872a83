"""The commands `metrics serve`, `metrics write` and `health`. Only `health` asks for the sealing key."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.cli import options, say
from rotator.cli.exits import Status

if TYPE_CHECKING:
    from rotator.web.server import Address


@click.group()
def metrics() -> None:
    """Metrics for Prometheus, read from the database: for CronJobs and timers, whose processes are gone."""


@metrics.command(
    epilog=options.examples(
        "rotator metrics serve                          127.0.0.1:9464, until SIGTERM",
        "rotator metrics serve --listen 0.0.0.0:9464    for a Prometheus on another machine",
    )
)
@click.option("--listen", type=options.address, default="127.0.0.1:9464", show_default=True, help="Where.")
@options.common
def serve(listen: Address, config: str | None) -> int:
    """Serve /metrics, /healthz and /readyz. Needs the configuration and the database, no sealing key."""
    from prometheus_client import CollectorRegistry

    from rotator.cli.opening import configuration
    from rotator.cli.stopping import Stop
    from rotator.web.server import Pages, serving
    from rotator.web.sources import Opened

    stop, source = Stop(), Opened(configuration(config))
    stop.silent = True  # there is no step to wait for
    registry = CollectorRegistry()
    registry.register(source.metrics)
    with serving(listen, Pages(registry, lambda: None, source.ready)) as where, stop:
        say.warn(f"environment {source.config.environment}, http://{where}/metrics")
        while not stop.event.is_set():
            time.sleep(0.25)
    source.close()
    return Status.DONE


@metrics.command(
    epilog=options.examples(
        "rotator metrics write /var/lib/prometheus/node-exporter/keyturn.prom    after each `rotate`"
    )
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@options.common
def write(file: Path, config: str | None) -> int:
    """Write a textfile for node_exporter, replaced as a whole. Exits 1 where the database does not answer."""
    from rotator.cli.opening import configuration
    from rotator.domain.errors import SetupError
    from rotator.web import metrics as exposition
    from rotator.web.sources import Opened

    source = Opened(configuration(config))
    try:
        exposition.write(source.metrics, file)
    except OSError as problem:
        message = f"{file} cannot be written: {problem.strerror}"
        raise SetupError(message, reason="cannot_write", remedy="make its folder, writable for this user") from None
    finally:
        source.close()
    wrong = [check for check in source.ready() if not check.ok]
    for check in wrong:
        say.complain(str(check.message), reason=check.reason, remedy=check.remedy)
    source.close()
    return Status.TROUBLE if wrong else Status.DONE


@click.command(
    epilog=options.examples(
        "rotator health                        database, migrations and sealing key; for an exec probe",
        "rotator health --pass-within 30m      and passes come: a dead man's switch for CronJobs",
    )
)
@click.option("--pass-within", type=options.duration, help="Also that a pass has ended within this time.")
@options.as_json
@options.quiet
@options.common
def health(config: str | None, pass_within: timedelta | None, as_json: bool, quiet: bool) -> int:
    """Whether passes can work here: database, migrations, sealing key. Exits 1 where not; asks nobody outside."""
    from rotator.cli.opening import configuration
    from rotator.web.sources import Opened

    source = Opened(configuration(config), unlock=True)
    found = source.ready(pass_within)
    source.close()
    wrong = [check for check in found if not check.ok]
    if as_json:
        click.echo(json.dumps({"healthy": not wrong, "checks": [check.as_json() for check in found]}))
    elif not quiet:
        for check in found:
            if check.ok:
                say.tell(f"{check.name.replace('_', ' ')}: ok")
    if not as_json:
        for check in wrong:
            say.complain(f"{check.name.replace('_', ' ')}: {check.message}", reason=check.reason, remedy=check.remedy)
    return Status.TROUBLE if wrong else Status.DONE
