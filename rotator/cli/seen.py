"""The command `seen`: a consumer reports which key it holds. It needs the database only, no sealing key."""

from __future__ import annotations

import os
import socket
from datetime import datetime

import click

from rotator import wiring
from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, looking, on_record
from rotator.engine import sightings
from rotator.ports.consumer import Word


@click.command(
    epilog=options.examples(
        'rotator seen openai-web --fingerprint "$OPENAI_KEY_FINGERPRINT"',
        "rotator seen openai-web --fingerprint 0f3c... --consumer web-1 --quiet",
        "rotator seen openai-web --fingerprint 0f3c... --consumer batch --at 2026-11-26T09:00:00Z",
    )
)
@options.name
@click.option("--fingerprint", metavar="FP", required=True, help="Of its key: what the template {fingerprint} gave it.")
@click.option("--consumer", metavar="NAME", default=socket.gethostname, help="Who it is. Default: this host's name.")
@click.option("--at", metavar="TIME", callback=options.moment, help="When it held it. Default: now.")
@options.quiet
@options.common
def seen(name: str, fingerprint: str, consumer: str, at: datetime | None, quiet: bool, config: str | None) -> int:
    """Report that a consumer of NAME holds the key with this fingerprint.

    A consumer learns it from a field with the template {fingerprint} beside the key. As long as its last word is an
    old key, that key is not taken away. To be run at each start and each minute or so, by the consumer or beside it;
    what it says again costs no event.
    """
    with looking(configuration(config)) as service:
        credential = on_record(service, name)
        word = Word(consumer=consumer, fingerprint=fingerprint.strip(), at=at or service.store.now())
        version, new = sightings.seen(service.store, credential, word, actor=wiring.actor(os.environ))
        if not quiet:
            say.tell(
                f"{name}: {consumer} holds version {version.number} ({version.state})" + ("" if new else ", as before")
            )
    return Status.DONE
