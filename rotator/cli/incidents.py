"""The command `report leak`: what became of each leaked key of a credential, with the time of every step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import click

from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, looking, on_record
from rotator.cli.tables import aligned
from rotator.engine.incident import Incident, incidents
from rotator.engine.report import stamp


@click.command(epilog=options.examples("rotator report leak openai-web", "rotator report leak openai-web --json"))
@options.name
@options.as_json
@options.common
def leak(name: str, as_json: bool, config: str | None) -> int:
    """What became of the leaked keys of NAME: since the leak was known, when each step was done, and who used the key.

    Also of keys that were revoked. From the trail and the usage samples; asks nobody. Exits 1 while one of them has not
    been ended at its provider.
    """
    with looking(configuration(config)) as service:
        credential = on_record(service, name)
        found = incidents(service.store.events(credential=name), service.store.samples(credential.id))
        environment = service.config.environment
    if as_json:
        told = {"environment": environment, "name": name, "leaks": [_as_json(one) for one in found]}
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    elif not found:
        say.tell(f"environment {environment}, {name}: no leak is on record")
    else:
        for one in found:
            _show(environment, name, one)
    return Status.TROUBLE if any(one.ended_after is None for one in found) else Status.DONE


def _show(environment: str, name: str, one: Incident) -> None:
    key = f"version {one.version} ({one.key_id or 'id not known'})"
    say.tell(f"environment {environment}, {name}: {key} leaked, known {one.known_at:%Y-%m-%d %H:%M:%S} UTC")
    say.tell(f"{one.known_by}")
    rows = [
        [
            _seconds(mark.after),
            mark.step.value if mark.done else f"{mark.step.value} (again)",
            str(mark.version),
            mark.place or "",
            mark.note or "",
        ]
        for mark in one.marks
    ]
    for line in aligned([["SECONDS", "STEP", "VERSION", "AT", ""], *rows]) if rows else []:
        say.tell(line.rstrip())
    say.tell(f"{name}: {_summary(one)}")
    for line in one.used or ("nobody has told of any use since the leak was known",):
        say.tell(f"use: {line}")


def _summary(one: Incident) -> str:
    spans = [
        ("a new key was current everywhere", one.current_after, "no new key is current yet, or none was needed"),
        ("the leaked one was ended", one.ended_after, "THE LEAKED KEY HAS NOT BEEN ENDED YET"),
        ("it was seen to be refused", one.refused_after, "it is revoked, not yet confirmed"),
    ]
    known: Sequence[Any] = spans if one.ended_after is not None else spans[:2]
    return "; ".join(f"{what} after {_seconds(took)} s" if took is not None else else_ for what, took, else_ in known)


def _seconds(took: timedelta) -> str:
    return f"{took.total_seconds():.1f}"


def _as_json(one: Incident) -> dict[str, Any]:
    def seconds(took: timedelta | None) -> float | None:
        return took.total_seconds() if took is not None else None

    return {
        "version": one.version,
        "key_id": one.key_id,
        "known_at": stamp(one.known_at),
        "known_by": one.known_by,
        "current_after_seconds": seconds(one.current_after),
        "ended_after_seconds": seconds(one.ended_after),
        "refused_after_seconds": seconds(one.refused_after),
        "steps": [
            {
                "at": stamp(mark.at),
                "after_seconds": mark.after.total_seconds(),
                "step": mark.step.value,
                "done": mark.done,
                "version": mark.version,
                "destination": mark.place,
                "note": mark.note,
            }
            for mark in one.marks
        ],
        "used": list(one.used),
    }
