"""The command `usage`: how the keys of a credential are used, as far as the provider tells."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from rotator.cli import options, say, tables, words
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, looking, on_record
from rotator.domain.events import Subject
from rotator.domain.model import Version
from rotator.domain.usage import DAY, HOUR, MILLION, Record, Sample, Sampling, begin
from rotator.engine.report import stamp

HEADS = ("version", "key", "state", "last used", "by", "24 hours", "{days} days", "cost")
_BARS = "▁▂▃▄▅▆▇█"


@click.command(epilog=options.examples("rotator usage openai-web", "rotator usage openai-web --days 7 --json"))
@options.name
@click.option(
    "--days", type=click.IntRange(1, 400), default=30, show_default=True, metavar="N", help="How far to look back."
)
@options.as_json
@options.common
def usage(name: str, days: int, as_json: bool, config: str | None) -> int:
    """How the keys of NAME are used, by what passes have sampled: requests, cost and last use of each key.

    What our own checks do is marked as ours, and judged by no check. Asks nobody; needs the database only.
    """
    with looking(configuration(config)) as service:
        credential = on_record(service, name)
        store = service.store
        keys = [v for v in store.load(credential.id).versions if v.key_id is not None]
        samples, sampling = store.samples(credential.id), store.sampling(credential.id)
        standing = [f for f in store.findings() if (f.credential_id, f.kind) == (credential.id, Subject.ANOMALY)]
        found = _described(name, store.now(), keys, samples, sampling, days)
        found["anomalies"] = [{"since": stamp(f.found_at), "message": f.message} for f in standing]
        found["environment"] = service.config.environment
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _show(found, days)
    return Status.DONE


def _described(
    name: str, now: datetime, keys: Sequence[Version], samples: Sequence[Sample], sampling: Sampling | None, days: int
) -> dict[str, Any]:
    first = begin(now, DAY) - DAY * (days - 1)
    hours = [begin(now, HOUR) - HOUR * back for back in reversed(range(24))]
    lately = [sample for sample in samples if sample.at >= first]
    return {
        "name": name,
        "at": stamp(now),
        "since": stamp(sampling.since) if sampling else None,
        "sampled_at": stamp(sampling.at) if sampling else None,
        "currency": Record.of(samples).currency or None,
        "keys": [_key(key, [s for s in samples if s.key_id == key.key_id], now, first) for key in keys],
        "hours": [
            {"at": stamp(at), "requests": sum(s.requests for s in lately if s.at == at and s.width == HOUR)}
            for at in hours
        ],
        "days": [
            {
                "day": f"{day:%Y-%m-%d}",
                "requests": sum(s.requests for s in lately if begin(s.at, DAY) == day),
                "cost": sum(s.cost for s in lately if begin(s.at, DAY) == day) / MILLION,
            }
            for day in (first + DAY * number for number in range(days))
        ],
    }


def _key(key: Version, samples: Sequence[Sample], now: datetime, first: datetime) -> dict[str, Any]:
    used = max((s for s in samples if s.requests or s.last_at), key=lambda s: s.surely_at, default=None)
    lately = [sample for sample in samples if sample.at >= first]
    return {
        "version": key.number,
        "key_id": key.key_id,
        "state": key.state.value,
        "last_used_at": stamp(used.surely_at) if used else None,
        "last_used_by": " ".join(filter(None, (used.service, used.region, used.address))) if used else None,
        "ours": bool(used and used.ours),
        "requests_24h": sum(s.requests for s in lately if s.width == HOUR and s.at > now - DAY),
        "requests": sum(s.requests for s in lately),
        "cost": sum(s.cost for s in lately) / MILLION,
    }


def _show(found: Mapping[str, Any], days: int) -> None:
    looked = f"use on record since {words.moment(found['since'])}, last look {words.moment(found['sampled_at'])}"
    known = looked if found["since"] else "no use on record: the provider does not tell, or no pass has looked yet"
    say.tell(f"environment {found['environment']}, {found['name']}: {known}")
    if found["keys"]:
        heads = [head.format(days=days) for head in HEADS]
        tables.show(heads, [_row(key, found["currency"]) for key in found["keys"]])
    for title, name in (("last 24 hours", "hours"), (f"last {days} days", "days")):
        counts = [one["requests"] for one in found[name]]
        if any(counts):
            say.tell(f"{title}: {spark(counts)} at most {max(counts)} requests")
    for anomaly in found["anomalies"]:
        say.tell(f"since {words.moment(anomaly['since'])}: {anomaly['message']}")


def _row(key: Mapping[str, Any], currency: str | None) -> list[str]:
    by = key["last_used_by"] or "-"
    return [
        str(key["version"]),
        key["key_id"],
        key["state"],
        words.moment(key["last_used_at"]),
        f"{by} (our own check)" if key["ours"] else by,
        str(key["requests_24h"]),
        str(key["requests"]),
        f"{key['cost']:.2f} {currency}" if currency else "-",
    ]


def spark(counts: Sequence[int]) -> str:
    """One bar for each count: a blank for none, else from the lowest to the highest."""
    return "".join(_bars(counts))


def _bars(counts: Sequence[int]) -> Iterator[str]:
    most = max(counts, default=0)
    for count in counts:
        yield _BARS[round(count / most * (len(_BARS) - 1))] if count else " "
