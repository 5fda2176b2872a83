"""The command `reconcile`: a database that may be old or a copy is compared with the world, and confirmed."""

from __future__ import annotations

from collections.abc import Sequence

import click

from rotator.cli import options, say, words
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, working
from rotator.domain.errors import Busy, SetupError
from rotator.engine import reconcile as comparing
from rotator.engine import regress
from rotator.engine.engine import HeldByOther
from rotator.engine.reconcile import Picture
from rotator.wiring import Service

EXAMPLES = options.examples(
    "rotator reconcile                                  show the differences, and ask",
    "rotator reconcile --yes --reason 'restored, INC-9' confirm them without a terminal",
    "rotator reconcile --keep key_abc                   this one is not ours to take away",
)


@click.command(epilog=EXAMPLES)
@click.option("--keep", metavar="KEY", multiple=True, help="A key with our label that is left alone; repeatable.")
@options.reason
@options.yes
@options.dry_run
@options.common
def reconcile(keep: Sequence[str], reason: str | None, yes: bool, dry_run: bool, config: str | None) -> int:
    """Let an installation go on whose database was restored, failed over or moved.

    Lists the keys and the destinations of all credentials, shows how they differ from the database, and asks; also
    before anything has noticed that the database is an old one. Say no where this is a copy of another installation's
    database: that one owns the keys.
    """
    loaded = configuration(config)
    with working(loaded, dry=dry_run) as service:
        say.tell(f"environment {loaded.environment}, database {service.store.database.where}")
        engine = service.running()
        if not dry_run:
            regress.look_at_database(engine.store, engine.anchor, engine.around)
        standing = [f for f in engine.store.findings() if f.kind == regress.RECONCILE]
        for finding in standing:
            say.tell(f"found {words.moment(finding.found_at.strftime('%Y-%m-%dT%H:%M:%SZ'))}: {finding.message}")
        shown = _pictures(service, dry=dry_run)
        _show(service, shown, keep)
        if not standing and not any(picture.lines for picture in shown):
            say.tell("nothing has stopped this installation, and all is as on record; nothing was changed")
            return Status.DONE
        if not standing and not any(picture.asks for picture in shown):
            say.tell("nothing has stopped this installation, and there is nothing to confirm; nothing was changed")
            return Status.DONE
        unknown = sorted(set(keep) - {key.id for picture in shown for key in picture.extra})
        if unknown:
            message = f"{', '.join(unknown)} is none of the keys above that would be taken away"
            raise SetupError(message, reason="unknown_key")
        if dry_run:
            say.tell("nothing was touched")
            return Status.DONE
        if not yes and not say.can_ask():
            message = "without a terminal to ask on, it needs --yes; nothing was changed"
            raise click.UsageError(message, click.get_current_context())
        if not yes and not say.agreed("Is this database the one that owns these keys, and shall it go on?"):
            say.warn("nothing was changed")
            return Status.TROUBLE
        comparing.confirm(engine, shown, keep, reason)
        say.tell("confirmed; `rotate` goes on")
    return Status.DONE


def _pictures(service: Service, *, dry: bool) -> list[Picture]:
    try:
        return comparing.pictures(service.running(), dry=dry)
    except HeldByOther as other:
        message = f"a credential is held by another worker: {words.holder(other.lease)}"
        raise Busy(message, remedy="wait until it is done, and try again") from None


def _show(service: Service, shown: Sequence[Picture], keep: Sequence[str]) -> None:
    for picture in shown:
        for line in picture.lines or ["as on record"]:
            say.tell(f"{picture.name}: {line}")
        for line in comparing.effects(picture, keep):
            say.tell(f"{picture.name}: if confirmed: {line}")
    for credential in service.store.credentials():
        if credential.name not in service.managed:
            say.tell(f"{credential.name}: not looked at, for the configuration does not name it")
