"""What `rotate` says before anything happens: a forecast, or what `--compromised` would take away."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from rotator import wiring
from rotator.cli import say, words
from rotator.cli.asked import Asked
from rotator.cli.exits import Status
from rotator.cli.opening import chosen
from rotator.config import Config
from rotator.engine.explain import forecast
from rotator.engine.report import Report, stamp
from rotator.wiring import Service


def show_forecast(config: Config, asked: Asked) -> int:
    """`--dry-run`: what would happen and why. Needs no sealing key."""
    with wiring.opened(config, wiring.surroundings(), unlock=False) as service:
        names = selected(service, asked)
        report = service.report()
        lines = {name: forecast(report, name, now=asked.at_once) for name in names}
        if asked.as_json:
            rows = [{"credential": name, "message": line} for name, line in lines.items()]
            told = {"at": stamp(report.at), "environment": config.environment, "forecast": rows}
            click.echo(json.dumps(told, ensure_ascii=False))
            return Status.DONE
        say.tell(f"environment {config.environment}; nothing is touched")
        for line in lines.values():
            say.tell(line)
        if asked.hurts:
            for line in _effect(service, report, names, asked):
                say.tell(line)
    return Status.DONE


def selected(service: Service, asked: Asked) -> list[str]:
    """The credentials that are meant; with `made_before`, without those that have a younger version by now."""
    names = chosen(service, asked.names, asked.selector, unnamed=not asked.at_once)
    if asked.made_before is None:
        return names
    known = {credential.name: credential for credential in service.store.credentials()}
    currents = {n: s.current for n, s in service.report().situations(known, names).items()}
    young = {n for n, current in currents.items() if current is not None and current.created_at >= asked.made_before}
    return [name for name in names if name not in young]


def agreed(service: Service, names: Sequence[str], asked: Asked) -> bool:
    """Show what `--compromised` or `--without` takes away, and ask where somebody can be asked."""
    if asked.yes:
        return True
    say.warn(f"environment {service.config.environment}")
    for line in _effect(service, service.report(), names, asked):
        say.warn(line)
    if say.agreed("Go on?"):
        return True
    say.warn("nothing was changed")
    return False


def _effect(service: Service, report: Report, names: Sequence[str], asked: Asked) -> list[str]:
    return [*(_taken_away(service, report, names, asked.key) if asked.compromised else ()), *_left_out(names, asked)]


def _left_out(names: Sequence[str], asked: Asked) -> list[str]:
    places = ", ".join(asked.without)
    return [f"{name}: whoever reads at {places} is left with a dead key until it answers" for name in names if places]


def _taken_away(service: Service, report: Report, names: Sequence[str], key: str | None) -> list[str]:
    lines = []
    for entry in report.status(names)["credentials"]:
        managed = service.managed[entry["name"]]
        living = [v for v in (entry["current"], *entry["previous"]) if v and (key is None or v["key_id"] == key)]
        if not living:
            lines.append(f"{entry['name']}: no living key {key or ''} is on record".replace("  ", " "))
        how = "disabled at once, and deleted after its soak"
        if not managed.provider.capabilities.can_disable:
            how = "deleted for good, for this provider cannot disable keys"
        addresses = ", ".join(target.destination.address for target in managed.targets)
        for version in living:
            when = f"as soon as a new key is verified at {addresses}"
            if version is not entry["current"] and key is not None:
                when = "as soon as no destination serves it; no new key is needed"
            lines.append(f"{entry['name']}: {words.key(version)} is {how}, {when}")
    return lines
