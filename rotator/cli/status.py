"""The commands that look: `status`, `explain`, `policy`, `schema`. None of them needs the sealing key."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import click

from rotator.cli import options, own, say, tables, words
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, looking, paged, shown
from rotator.cli.verdicts import STUCK
from rotator.cli.words import Entry
from rotator.config import CredentialConfig, json_schema, select
from rotator.domain.brownout import Brownout
from rotator.engine import explain as sentences_of
from rotator.settings import format_duration

HEADS = ("credential", "status", "version", "next rotation", "drilled", "destinations", "why")


@click.command(
    epilog=options.examples(
        "rotator status",
        "rotator status --self",
        "rotator status -l team=web",
        "rotator status web --json",
        "rotator status --limit 100 --after web   the next hundred",
    )
)
@options.names
@options.selector
@options.as_json
@options.quiet
@click.option("--self", "ours", is_flag=True, help="Our own credentials instead: age, expiry, and what rotates each.")
@options.page
@options.common
def status(
    names: Sequence[str],
    selector: str | None,
    as_json: bool,
    quiet: bool,
    ours: bool,
    page: options.Page | None,
    config: str | None,
) -> int:
    """Where every credential stands. Exits 1 when any of those that it shows is blocked or overdue.

    With --self the services are asked about the credentials that we ourselves use; nothing is changed.
    """
    if ours:
        if names or selector or page:
            message = "--self is about all credentials of ours: leave NAME, -l, --limit and --after out"
            raise click.UsageError(message)
        return own.show(configuration(config), as_json=as_json)
    with looking(configuration(config)) as service:
        wanted, more = paged(service, names, selector, page)
        found = service.report().status(wanted)
    if as_json:
        click.echo(json.dumps({**found, **options.following(page, wanted, more)}, indent=2, ensure_ascii=False))
    else:
        _show(found, quiet=quiet)
        say.tell_of_more("rotator status", wanted, more)
    stuck = any(entry["status"] in STUCK for entry in found["credentials"])
    return Status.TROUBLE if stuck else Status.DONE


def _show(found: Mapping[str, Any], *, quiet: bool) -> None:
    entries = found["credentials"]
    if quiet:
        entries = [entry for entry in entries if entry["status"] in STUCK]
    else:
        last = f"last pass {words.moment(found['last_pass_at'])}" if found["last_pass_at"] else "no pass yet"
        say.tell(f"environment {found['environment']}, {words.moment(found['at'])}, {last}")
    if entries:
        tables.show(HEADS, [_row(entry) for entry in entries])
    elif not quiet:
        say.tell("no credential is configured")
    for entry in entries:
        if entry["remedy"] and entry["status"] != "ok":
            say.tell(f"{entry['name']}: to do: {entry['remedy']}")
    for finding in found["findings"]:
        about = finding["credential"] or finding["account"] or ""
        remedy = f" To do: {finding['remedy']}" if finding["remedy"] else ""
        say.tell(f"finding {finding['kind']} {about}: {finding['message']}.{remedy}")


def _row(entry: Entry) -> list[str]:
    current = entry["current"]
    old = current and (words.age(current["age_seconds"]) if current["age_seconds"] is not None else "age unknown")
    reason = f"{entry['message']}" if entry["message"] else ""
    if entry["reason"] and entry["reason"] not in (entry["status"], "never_rotated"):
        reason = f"{entry['reason']}: {reason}" if reason else entry["reason"]
    if entry["status"] != "unmanaged" and any(row["type"] == "unmanaged" for row in entry["conditions"]):
        reason = f"unmanaged; {reason}" if reason else "unmanaged"
    return [
        entry["name"],
        entry["status"],
        f"{current['version']} ({old})" if current else "-",
        words.moment(entry["next_rotation_at"]),
        words.moment(entry["drilled_at"]),
        words.places(entry),
        reason,
    ]


@click.command(epilog=options.examples("rotator explain openai-web", "rotator explain -l owner=web@example.com"))
@options.names
@options.selector
@options.as_json
@options.common
def explain(names: Sequence[str], selector: str | None, as_json: bool, config: str | None) -> int:
    """Why NAME... are where they are: which keys live, who serves which, and what happens next.

    With --json one credential is one object; several are a list.
    """
    options.require_selection(names, selector)
    with looking(configuration(config)) as service:
        report = service.report()
        explained = [
            {
                **report.status([name]),
                "decision": sentences_of.decision(report, name),
                "explanation": sentences_of.explain(report, name),
            }
            for name in shown(service, names, selector) or ()
        ]
    if as_json:
        _show_json(explained)
        return Status.DONE
    say.tell(f"environment {explained[0]['environment']}, {words.moment(explained[0]['at'])}")
    for position, found in enumerate(explained):
        if position:
            say.tell("")
        for sentence in found["explanation"]:
            say.tell(sentence)
    return Status.DONE


@click.command(epilog=options.examples("rotator policy deployer", "rotator policy -l team=web"))
@options.names
@options.selector
@options.as_json
@options.common
def policy(names: Sequence[str], selector: str | None, as_json: bool, config: str | None) -> int:
    """Each policy value of NAME..., and the place it comes from.

    With --json one credential is one object; several are a list.
    """
    options.require_selection(names, selector)
    loaded = configuration(config)
    chosen = {credential.name: _values(credential) for credential in select(loaded, names, selector)}
    if as_json:
        told = [
            {
                "environment": loaded.environment,
                "name": name,
                "policy": {key: {"value": value, "from": source} for key, value, source in rows},
            }
            for name, rows in chosen.items()
        ]
        _show_json(told)
        return Status.DONE
    for name, rows in chosen.items():
        say.tell(f"environment {loaded.environment}, policy of {name}")
        tables.show(("key", "value", "from"), rows)
    return Status.DONE


def _show_json(found: Sequence[Mapping[str, Any]]) -> None:
    click.echo(json.dumps(found[0] if len(found) == 1 else found, indent=2, ensure_ascii=False))


def _values(credential: CredentialConfig) -> list[tuple[str, str, str]]:
    rows = []
    for field in dataclasses.fields(credential.policy):
        origin = credential.places.get(field.name)
        if origin is None:
            continue
        value = getattr(credential.policy, field.name)
        where = f"{origin.source}, {origin.file}:{origin.line}" if origin.file else origin.source
        rows.append((field.name, _value(field.name, value), f"{where}: {origin.why}" if origin.why else where))
    return rows


def _value(key: str, value: object) -> str:
    if value is None:
        return {"settle": "the provider's", "first": "by what stands at the destinations"}.get(key, "-")
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, Brownout):
        hours = "; ".join(str(span) for span in value.hours.windows)
        return f"after {format_duration(value.after)} for {format_duration(value.lasts)}, {hours}"
    if isinstance(value, tuple):  # of hours
        return "; ".join(str(span) for span in value) or "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


@click.command(epilog=options.examples("rotator schema > rotator.schema.json"))
@options.verbose
def schema() -> int:
    """The JSON Schema of the configuration file, for editors and for CI."""
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return Status.DONE
