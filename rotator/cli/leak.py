"""The command `leak report`: somebody says that a key was seen where it does not belong."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from rotator.access import leak_reports
from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, working
from rotator.domain.errors import SetupError
from rotator.domain.model import Version
from rotator.domain.secret import without_secrets
from rotator.engine import leaks
from rotator.engine.leaks import Known

_LARGEST = 64 * 1024 * 1024  # bytes of one report

SAID = {
    "dead": "is taken away already",
    "told": "is being replaced as compromised already",
    "asked": "is replaced as compromised by the next pass, or by the daemon",
    "held": "is not replaced by itself",
    "open": "still works: nothing is done about it yet",
    "ignored": "is passed over, as the policy says",
}


@click.group()
def leak() -> None:
    """Take in that a key was seen where it does not belong."""


@leak.command(
    epilog=options.examples(
        "rotator leak report                              asks for the value, and does not show it",
        "rotator leak report --where pastebin < value.txt",
        "rotator leak report alert.json                   of GitHub, GitGuardian or trufflehog",
    )
)
@click.argument(
    "files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), metavar="[FILE]..."
)
@click.option("--where", metavar="TEXT", help="Where it was seen, if the report does not say.")
@click.option("--yes", is_flag=True, help="Replace as compromised whatever the policy leaves to a person.")
@options.as_json
@options.common
def report(files: Sequence[Path], where: str | None, yes: bool, as_json: bool, config: str | None) -> int:
    """Say that keys have leaked: values, one on a line, or JSON of those who find them; from FILE..., or from stdin.

    Each is known by its fingerprint. `on: {leak: compromised}` of a credential has it replaced at once, as often as
    `engine.reactions` allows; else you are asked, or told the command. A value that is no key of ours is counted, and
    not kept. Values are shown nowhere. Exits 1 where a key still works and nothing is done about it.
    """
    given = _given(files, where)
    with working(configuration(config)) as service:
        reports = [leaks.Reported(service.store.fingerprint(value), place) for value, place in given]
        known, unmatched = leaks.take_in(
            service.store,
            service.managed,
            service.engine.around,
            reports,
            keys=service.store.fingerprints(),
            caps=service.config.engine.caps,
            confirm=lambda name, version: yes or (not as_json and _confirmed(name, version)),
        )
    if as_json:
        click.echo(json.dumps({"keys": [_as_json(one) for one in known], "unmatched": unmatched}, indent=2))
    else:
        _say(known, unmatched, len(given))
    return Status.TROUBLE if any(one.became in ("open", "held") for one in known) else Status.DONE


def _given(files: Sequence[Path], where: str | None) -> list[tuple[Any, str]]:
    if not files and sys.stdin.isatty():
        value = click.prompt("The leaked value (it is not shown)", hide_input=True, err=True)
        return leak_reports.read(value, where or "not said")
    found = []
    for file in files or (Path("-"),):
        text = sys.stdin.read(_LARGEST + 1) if str(file) == "-" else _text(file)
        if len(text) > _LARGEST:
            message = f"{file} is larger than 64 MB"
            raise SetupError(message, reason="bad_report", remedy="give it in parts")
        found += leak_reports.read(text, where or ("not said" if str(file) == "-" else str(file)))
    return found


def _text(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            return opened.read(_LARGEST + 1)
    except OSError as problem:
        message = f"cannot read {file}: {problem.strerror}"
        raise SetupError(message, reason="no_such_path", remedy="correct the path; `-` is stdin") from None


def _confirmed(name: str, version: Version) -> bool:
    if not (sys.stdin.isatty() and say.on_terminal(sys.stderr)):
        return False
    question = f"Replace the key of {name} (version {version.number}, {version.key_id}) as compromised now?"
    return click.confirm(question, err=True)


def _as_json(one: Known) -> dict[str, Any]:
    return {
        "credential": one.credential,
        "version": one.version.number,
        "key_id": one.version.key_id,
        "state": one.version.state,
        "where": [without_secrets(place) for place in one.where],
        "became": one.became,
        "why": one.why,
        "remedy": one.remedy if one.became in ("open", "held") else None,
    }


def _say(known: Sequence[Known], unmatched: int, given: int) -> None:
    for one in known:
        more = f" and {len(one.where) - 1} more" if len(one.where) > 1 else ""
        place = without_secrets(f"{one.where[0]}{more}")
        key = f"{one.credential}: version {one.version.number} ({one.version.key_id})"
        line = f"{key}, seen at {place}, {SAID[one.became]}"
        if one.became in ("open", "held"):
            say.complain(f"{line}{f': {one.why}' if one.why else ''}", reason="leak", remedy=f"`{one.remedy}`")
        else:
            say.tell(line)
    if unmatched:
        say.tell(f"{unmatched} of {given} values are no key on record")
    if not given:
        say.tell("there is no value in this report")
