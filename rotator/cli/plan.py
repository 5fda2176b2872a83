"""The command `plan`: the rotations to come, what they replace, and where it is too much at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from rotator.cli import options, say, tables, words
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, everything, looking, paged
from rotator.engine.plan import plan as plan_of

HEADS = ("begins", "credential", "version", "why", "old key works until", "old key is gone", "notes")
STYLES = {"blocked": "bold red", "under way": "yellow", "at once": "yellow"}
_NAMED = 5  # credentials of a crowd; more of them are counted

Entry = Mapping[str, Any]


@click.command(
    epilog=options.examples(
        "rotator plan --days 90", "rotator plan openai-web --days 365", "rotator plan -l team=web --json"
    )
)
@options.names
@click.option(
    "--days", type=click.IntRange(1, 3650), default=30, show_default=True, metavar="N", help="How far to look ahead."
)
@click.option(
    "--busy",
    type=click.IntRange(1, 100_000),
    default=10,
    show_default=True,
    metavar="N",
    help="Name the days on which more than so many rotations begin.",
)
@options.selector
@options.page
@options.as_json
@options.common
def plan(
    names: Sequence[str],
    days: int,
    busy: int,
    selector: str | None,
    page: options.Page | None,
    as_json: bool,
    config: str | None,
) -> int:
    """The rotations of NAME... (default: all) that are to come, by the rules that passes go by.

    It is assumed that nothing fails, that passes come in time, and that nothing holds an old key. Says which day or
    hour has too many of them, what is held and by what, and what waits for a person. Touches nothing, asks nobody.
    With --limit and --after, days and hours are counted over what is shown.
    """
    with looking(configuration(config)) as service:
        chosen, more = paged(service, names, selector, page)
        if chosen is None:
            chosen = everything(service)
        in_flight = service.config.engine.in_flight
        found = plan_of(service.report(), chosen, days=days, busy=busy, in_flight=in_flight)
    if as_json:
        click.echo(json.dumps({**found, **options.following(page, chosen, more)}, indent=2, ensure_ascii=False))
    else:
        _show(found, days)
        say.tell_of_more("rotator plan", chosen, more)
    return Status.DONE


def _show(found: Entry, days: int) -> None:
    say.tell(f"environment {found['environment']}, from {words.moment(found['at'])}, {days} days ahead")
    rows = sorted(
        ((rotation["begins_at"], entry, rotation) for entry in found["credentials"] for rotation in entry["rotations"]),
        key=lambda row: (row[0], row[1]["name"]),
    )
    if rows:
        tables.show(HEADS, [_row(found["at"], entry, rotation) for _, entry, rotation in rows], STYLES)
    else:
        say.tell("no rotation is to come in this time")
    for entry in found["credentials"]:
        for line in (*_leaving(entry), *_later(entry), *_waits(entry, found["at"])):
            say.tell(line)
    for day in found["busy_days"]:
        say.tell(f"busy day {day['day']}: {day['rotations']} rotations begin: {_some(day['credentials'])}")
    for crowd in found["crowds"]:
        say.tell(
            f"crowd at {crowd['provider']} {words.moment(crowd['since'])}: {crowd['rotations']} rotations begin within "
            f"an hour, and {crowd['in_flight']} move at once (engine.in_flight): {_some(crowd['credentials'])}"
        )


def _row(at: str, entry: Entry, rotation: Entry) -> list[str]:
    begins = {"rotating": "under way", "blocked": "blocked"}.get(rotation["state"])
    if begins is None:
        begins = words.moment(rotation["begins_at"]) if rotation["begins_at"] > at else "at once"
    keys = [key for key in entry["old_keys"] if key["version"] in rotation["replaces"]]
    until = [words.moment(key["disabled_at"] or key["deleted_at"]) for key in keys]
    gone = [words.moment(key["deleted_at"]) if key["deleted_at"] else "by a person" for key in keys]
    return [
        begins,
        entry["name"],
        str(rotation["version"]),
        "schedule" if rotation["message"].startswith("due since") else rotation["message"],
        ", ".join(until) or "-",
        ", ".join(gone) or "-",
        "; ".join(_notes(rotation)),
    ]


def _notes(rotation: Entry) -> Iterator[str]:
    for hold in rotation["holds"]:
        yield f"held since {words.moment(hold['since'])} ({hold['reason']})"
    if rotation["breaks"]:
        yield f"breaks the hours ({rotation['breaks']})"
    if rotation["cause"] == "first" and rotation["state"] == "planned":
        yield "unless a destination holds a value already"
    if rotation["supply_by"]:
        yield f"a person makes the key, by {words.moment(rotation['supply_by'])}"
    if rotation["living"] > 2:  # noqa: PLR2004 - the old one and the new one
        yield f"{rotation['living']} keys live at once"


def _leaving(entry: Entry) -> Iterator[str]:
    """Old keys that are on their way out already."""
    replaced = {version for rotation in entry["rotations"] for version in rotation["replaces"]}
    for key in entry["old_keys"]:
        if key["version"] in replaced:
            continue
        steps = [f"disabled {words.moment(key['disabled_at'])}"] if key["disabled_at"] else []
        steps.append(f"deleted {words.moment(key['deleted_at'])}" if key["deleted_at"] else "not deleted by itself")
        yield f"{entry['name']}: {words.key(key)} is on its way out: {', '.join(steps)}"


def _later(entry: Entry) -> Iterator[str]:
    if not entry["rotations"] and entry["next_rotation_at"]:
        yield f"{entry['name']}: the next rotation is due {words.moment(entry['next_rotation_at'])}"


def _waits(entry: Entry, at: str) -> Iterator[str]:
    for wait in entry["waits"]:
        until = f" until {words.moment(wait['until'])}" if wait["until"] else ""
        since = f" from {words.moment(wait['since'])}" if wait["since"] and wait["since"] > at else ""
        remedy = f" To do: {wait['remedy']}." if wait["remedy"] else ""
        yield f"{entry['name']} waits{since}{until}: {wait['message']} ({wait['reason']}).{remedy}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
