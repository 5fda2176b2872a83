"""The commands `report`: evidence for an auditor, from the trail."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.incidents import leak
from rotator.cli.opening import configuration, looking
from rotator.cli.verifying import own_keys
from rotator.config import select
from rotator.domain.errors import SetupError
from rotator.engine.ledger import Ledger
from rotator.engine.period import Asked
from rotator.engine.period import report as report_of
from rotator.store.audit import exported
from rotator.verifier.trail import verify_store
from rotator.wiring import Service

DAY = timedelta(days=1)


@click.group()
def report() -> None:
    """Evidence from the audit trail: for an auditor, and of what became of a leak."""


report.add_command(leak)


@report.command(
    epilog=options.examples(
        "rotator report rotation --from 2026-01-01 --to 2027-01-01 --max-age 90d --format html > 2026.html",
        "rotator report rotation --from 2026-10-01 --to 2027-01-01 --max-age 90d -l env=prod --format csv > q4.csv",
    )
)
@click.option("--from", "since", required=True, metavar="DATE", help="2026-01-01, or a moment in RFC 3339; UTC.")
@click.option("--to", "until", required=True, metavar="DATE", help="The end, which is not part of it.")
@click.option("--max-age", required=True, type=options.duration, help="How old a key may become: 90d.")
@options.selector
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["json", "csv", "html"]),
    default="json",
    show_default=True,
    help="For programs, for a spreadsheet, or for people.",
)
@options.common
def rotation(
    since: str, until: str, max_age: timedelta, selector: str | None, format_name: str, config: str | None
) -> int:
    """Which keys there were in a period, how old each became, how each was replaced, and how it is known to be dead.

    Exits 1 when any key was older than --max-age, or when that is not known; what the trail cannot tell is said.
    """
    begin, end = _moment(since, "--from"), _moment(until, "--to")
    if begin >= end:
        message = "--from must be before --to"
        raise SetupError(message, remedy="name the first day, and the day after the last one")
    with looking(configuration(config)) as service:
        found = _report(service, begin, end, max_age, selector)
    writers = {"json": _as_json, "csv": _as_csv, "html": _as_html}
    click.echo(writers[format_name](found), nl=False)
    return _verdict(found)


def _moment(text: str, option: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"{option}: {text} is not a date"
        raise SetupError(message, remedy="write 2026-01-01, or 2026-01-01T09:00:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _report(
    service: Service, begin: datetime, end: datetime, max_age: timedelta, selector: str | None
) -> dict[str, Any]:
    names = [c.name for c in select(service.config, (), selector)] if selector is not None else None
    keys = own_keys(service)
    trail = verify_store(service.store, keys)
    ledger = Ledger().read(json.loads(line) for line in exported(service.store.events()))
    owners = {name: c.owner for name, c in service.config.credentials.items() if c.owner}
    found = report_of(
        ledger,
        Asked(
            since=begin,
            until=end,
            now=service.store.now(),
            max_age=max_age,
            names=names,
            owners=owners,
            blind=_blind(service, end),
        ),
    )
    installation = service.store.installation()
    found["environment"], found["installation"] = installation.environment, installation.id
    found["trail"]["intact"] = trail.problem is None
    found["trail"]["signed_by"] = [key.name for key in keys]
    if trail.problem is not None:
        found["unknown"].insert(0, f"the trail is broken at event {trail.problem.seq}: {trail.problem.message}")
        found["verdict"] = "older" if found["verdict"] == "older" else "unknown"
    return found


def _blind(service: Service, end: datetime) -> dict[str, str]:
    """Credentials beside whose keys there may be others that nobody has seen, and why."""
    found = {}
    looked = {credential.name: credential.watched_at for credential in service.store.credentials()}
    for name, managed in service.managed.items():
        at = looked.get(name)
        can = managed.provider.capabilities
        if can.origin == "chosen" and not can.can_tell:
            continue  # the value is ours alone: there is nobody who could hold others
        if not can.can_tell:
            found[name] = "its provider cannot be asked"
        elif at is None:
            found[name] = "its keys were never looked at"
        elif at < min(end, service.store.now()) - DAY:
            found[name] = f"its keys were last looked at at {at:%Y-%m-%d %H:%M} UTC"
    return found


def _verdict(found: Mapping[str, Any]) -> int:
    older = [key for key in found["keys"] if key["older"]]
    for key in older:
        called = key["key_id"] or "(id unknown)"
        least = "at least " if key["at_least"] else ""
        whose = key["credential"] if key["managed"] else f"{key['credential']} (nobody manages it)"
        days = key["oldest_seconds"] // 86_400
        say.warn(f"{whose}: the key {called} was {least}{days} days old; events {_numbers(key['events'])}")
    for line in found["unknown"]:
        say.warn(f"not known: {line}")
    if found["verdict"] == "within":
        return Status.DONE
    said = {
        "older": f"{len(older)} of {len(found['keys'])} keys were older than {_days(found['max_age_seconds'])}",
        "unknown": "no key is known to have been older, but not everything is known",
    }
    say.complain(said[found["verdict"]])
    return Status.TROUBLE


def _days(seconds: int) -> str:
    return f"{seconds / 86_400:g} days"


def _numbers(events: Sequence[int]) -> str:
    return " ".join(str(seq) for seq in events)


def _as_json(found: Mapping[str, Any]) -> str:
    return json.dumps(found, ensure_ascii=False, indent=2) + "\n"


# csv: one table of everything, so that a spreadsheet can sort and filter it

_COLUMNS = (
    *("section", "credential", "owner", "managed", "version", "key_id", "begin", "end", "oldest_days", "at_least"),
    *("older", "what", "who", "why", "proof", "events"),
)


def _rows(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"section": "period", "begin": found["from"], "end": found["to"], "what": found["verdict"]}
    yield from ({"section": "not known", "what": line} for line in found["unknown"])
    yield from _population_rows(found["population"])
    for key in found["keys"]:
        days, end = round(key["oldest_seconds"] / 86_400, 2), key["disabled_at"] or key["gone_at"]
        yield {**key, "section": "keys", "begin": key["made_at"], "end": end, "oldest_days": days}
    yield from map(_rotation_row, found["rotations"])
    for one in found["pauses"]:
        begin, end = one["began_at"], one["ended_at"]
        yield {**one, "section": "pauses", "begin": begin, "end": end, "who": one["actor"], "why": one["reason"]}
    for section in ("exceptions", "policy_changes"):
        for one in found[section]:
            told = {"begin": one["at"], "what": one["event"], "who": one["actor"], "why": one["reason"]}
            yield {**one, "section": section.replace("_", " "), **told}
    for when, signed in found["trail"]["checkpoints"].items():
        told = {"what": "none"} if signed is None else {"begin": signed["at"], "what": signed["checkpoint"]}
        yield {"section": f"checkpoint at {when}", **told, "events": [signed["event"]] if signed else []}


def _population_rows(population: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for when in ("start", "end"):
        living = population[when]
        for name in living["credentials"]:
            yield {"section": f"credentials at {when}", "credential": name, "begin": living["at"]}
        for key in (*living["keys"], *living["unmanaged"]):
            yield {"section": f"keys at {when}", **key, "managed": key["version"] is not None, "begin": living["at"]}
    for what, came in population["between"].items():
        for one in came:
            about = {"credential": one} if isinstance(one, str) else one
            yield {"section": what.replace("_", " "), **about}


def _rotation_row(one: Mapping[str, Any]) -> dict[str, Any]:
    steps = (f"{step} {times.get('succeeded') or 'not done'}" for step, times in one["steps"].items())
    dead = (f"{old['key_id']}: {old['proof'] or 'lives'} {old['gone_at'] or ''}".rstrip() for old in one["old_keys"])
    return {
        **one,
        "section": "rotations",
        "begin": one["opened_at"],
        "end": one["ended_at"],
        "what": f"{one['cause']}, {one['outcome']}: {', '.join(steps)}",
        "who": one["actor"],
        "proof": "; ".join(dead),
        "events": one["events"] + [seq for old in one["old_keys"] for seq in old["events"] if seq not in one["events"]],
    }


def _cell(value: object) -> str:
    """As text; what a spreadsheet would take for a formula is not one any more."""
    text = _numbers(value) if isinstance(value, list) else "" if value is None else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _as_csv(found: Mapping[str, Any]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_COLUMNS)
    for row in _rows(found):
        writer.writerow([_cell(row.get(column)) for column in _COLUMNS])
    return out.getvalue()


# html: one page without scripts, and nothing in it is fetched from anywhere

_STYLE = (
    "body{font:14px system-ui,sans-serif;margin:2em;max-width:100em}table{border-collapse:collapse;margin:0 0 2em}"
    "th,td{border:1px solid #bbb;padding:.2em .5em;text-align:left;vertical-align:top;white-space:pre-wrap}"
    "th{background:#eee}.older,.unknown{color:#a00;font-weight:bold}.within{color:#070;font-weight:bold}"
)
_VERDICTS = {
    "within": "No key was older.",
    "older": "Keys were older.",
    "unknown": "No key is known to have been older, but not everything is known.",
}


def _as_html(found: Mapping[str, Any]) -> str:
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(found):
        rows.setdefault(row["section"], []).append(row)
    rows.pop("period")
    title = f"Key rotation of {found['environment']}, {found['from'][:10]} to {found['to'][:10]}"
    trail = found["trail"]
    about = (
        f"<p>Greatest age allowed: {_days(found['max_age_seconds'])}. Made at {found['made_at']} from events "
        f"{trail['first_event']} to {trail['last_event']} of installation {html.escape(found['installation'])}, "
        f"whose trail is {'intact' if trail['intact'] else 'BROKEN'}; the last hash is {trail['last_hash']}.</p>"
    )
    verdict = f'<p class="{found["verdict"]}">{_VERDICTS[found["verdict"]]}</p>'
    parts = [f"<h1>{html.escape(title)}</h1>", verdict, about]
    for section, own in rows.items():
        columns = [c for c in _COLUMNS[1:] if any(row.get(c) not in (None, "") for row in own)]
        head = "".join(f"<th>{column.replace('_', ' ')}</th>" for column in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_text(row.get(column)))}</td>" for column in columns) + "</tr>"
            for row in own
        )
        parts.append(f"<h2>{html.escape(section)}</h2><table><tr>{head}</tr>{body}</table>")
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _text(value: object) -> str:
    return _numbers(value) if isinstance(value, list) else "" if value is None else str(value)
