"""What `rotate --rehearse` does: begin, follow every step to the end, and say how long each took and what is left."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import click

from rotator import logs, wiring
from rotator.cli import say, screens
from rotator.cli.asked import Asked
from rotator.cli.exits import Status
from rotator.cli.opening import chosen, configuration, holding
from rotator.cli.stopping import Stop
from rotator.cli.tables import aligned
from rotator.config import Config
from rotator.domain.model import Cause, Situation, VersionState
from rotator.domain.policy import NotDue, why_due
from rotator.engine import rehearsal, shadows, stopwatch
from rotator.engine.engine import Progress, Wish
from rotator.engine.stopwatch import Lap, Rehearsed
from rotator.wiring import Service

TIMEOUT = timedelta(minutes=10)


def carry_out(asked: Asked) -> int:
    """Do it; return the exit status."""
    config = configuration(asked.config)
    if asked.dry_run:
        return _show_forecast(config, asked)
    stop = Stop()
    screen = screens.choose(now=True, as_json=asked.as_json, quiet=asked.quiet, on_terminal=False)
    around = wiring.surroundings(stop=stop.event, observe=screen.observe, bug=logs.bug)
    with wiring.opened(config, around) as service:
        (name,) = chosen(service, asked.names, None, unnamed=False)
        screen.begin(service.managed, [name])
        with holding(service.running(), name) as work:
            rotation = rehearsal.begin(work, asked.reason, drill=asked.compromised)
        with stop:
            progress = screen.watch(lambda: _follow(service, name, asked, stop), service.report, stop)
        trail = service.store.events(credential=name)
        outcome = Outcome(name, stopwatch.read(trail, rotation.id), _left(service, name))
        return outcome.tell(service, asked, progress, stop)


def _follow(service: Service, name: str, asked: Asked, stop: Stop) -> Progress:
    """Go on until nothing of the rehearsal can; where another worker has it, that one does."""
    end = time.monotonic() + (TIMEOUT if asked.timeout is None else asked.timeout).total_seconds()
    while True:
        patience = timedelta(seconds=max(end - time.monotonic(), 0))
        progress = service.running().run([name], Wish(cause=Cause.REHEARSAL), patience)[name]
        if progress.held is None or stop.signal is not None or time.monotonic() >= end:
            return progress


def _left(service: Service, name: str) -> list[str]:
    """What of a rehearsal is still there, and why."""
    situation = service.store.load(service.running().credential_id(name))
    found = []
    if situation.rotation is not None and situation.rotation.cause is Cause.REHEARSAL:
        why = situation.rotation.message or next((d.message for d in situation.deliveries if d.message), None)
        found.append(f"it is open, and {situation.rotation.state.value}{f': {why}' if why else ''}")
    for version in situation.versions:
        if version.state is VersionState.CONDEMNED:
            row = situation.retirement_of(version.id)
            why = f": {row.message} ({row.reason})" if row is not None and row.reason else ""
            found.append(f"version {version.number} ({version.key_id or 'id not known'}) is not gone yet{why}")
    return found + [f"{address} may still stand" for address in _standing(situation)]


def _standing(situation: Situation) -> list[str]:
    """The shadows that may still stand: of an open rehearsal, and of those whose key is being taken away."""
    rows = [row for given in situation.shadows.values() for row in given]
    if rehearsal.is_open(situation):
        rows += [row for row in situation.deliveries if row.started]
    return [row.address for row in rows]


@dataclass(frozen=True)
class Outcome:
    """What became of one rehearsal."""

    name: str
    rehearsed: Rehearsed
    left: Sequence[str]

    @property
    def worked(self) -> bool:
        """Whether the way was gone to its end, and nothing stayed behind."""
        return self.rehearsed.succeeded and not self.left

    def tell(self, service: Service, asked: Asked, progress: Progress, stop: Stop) -> int:
        """Say it, and give the exit status."""
        if asked.as_json:
            result = {**service.report().status([self.name]), "rehearsal": self._json(service)}
            click.echo(json.dumps({"result": result}, ensure_ascii=False))
        elif not asked.quiet:
            for line in self._lines(service):
                say.tell(line)
        if stop.signal is not None:
            say.warn(f"stopped by {stop.signal.name}; `rotate` goes on with what is left")
            return stop.status
        if not self.worked:
            self._complain(progress)
        return Status.DONE if self.worked else Status.TROUBLE

    def _lines(self, service: Service) -> list[str]:
        rows = [[lap.step.value, _seconds(lap.took), _note(lap)] for lap in self.rehearsed.laps]
        lines = aligned([["STEP", "SECONDS", "AT EACH PLACE"], *rows]) if rows else []
        for address in shadows.without_shadow(service.managed[self.name]):
            lines.append(f"{self.name}: {address} was not rehearsed: this kind of place has no shadow")
        current, dead, refused = self.rehearsed.current_after, self.rehearsed.dead_after, self.rehearsed.refused_after
        if self.rehearsed.succeeded and current is not None and dead is not None:
            seen = f", and seen to be refused after {_seconds(refused)} s" if refused is not None else ""
            lines.append(
                f"{self.name}: a new key would be current everywhere after {_seconds(current)} s; "
                f"the old one would be dead after {_seconds(dead)} s{seen}"
            )
        if not self.left:
            lines.append(f"{self.name}: nothing is left of the rehearsal, at the provider or at a destination")
        return lines

    def _complain(self, progress: Progress) -> None:
        failed, trouble = self.rehearsed.failed, progress.trouble
        if failed is not None:
            at = self.rehearsed.stopped_at
            said = f"{self.name}: the rehearsal failed at {at}: {failed['detail'].get('message')}"
            say.complain(said, reason=failed["reason"])
        elif trouble is not None:
            say.complain(f"{self.name}: {trouble.message}", reason=trouble.reason, remedy=trouble.remedy)
        elif not self.rehearsed.succeeded:
            say.complain(f"{self.name}: the rehearsal has not come to its end in time", reason="timeout")
        if self.left:
            remedy = f"the next pass goes on taking it away: `rotate {self.name}`"
            say.complain(f"{self.name}: {'; '.join(self.left)}", reason="taking_away", remedy=remedy)

    def _json(self, service: Service) -> dict[str, Any]:
        failed = self.rehearsed.failed
        current, dead, refused = self.rehearsed.current_after, self.rehearsed.dead_after, self.rehearsed.refused_after
        return {
            "succeeded": self.rehearsed.succeeded,
            "steps": [
                {
                    "step": lap.step.value,
                    "seconds": lap.took.total_seconds(),
                    "places": {place: took.total_seconds() for place, took in lap.places.items()},
                }
                for lap in self.rehearsed.laps
            ],
            "current_after_seconds": current.total_seconds() if current is not None else None,
            "dead_after_seconds": dead.total_seconds() if dead is not None else None,
            "refused_after_seconds": refused.total_seconds() if refused is not None else None,
            "failed_at": self.rehearsed.stopped_at if failed else None,
            "reason": failed["reason"] if failed else None,
            "message": failed["detail"].get("message") if failed else None,
            "not_rehearsed": shadows.without_shadow(service.managed[self.name]),
            "left": list(self.left),
        }


def _seconds(took: timedelta) -> str:
    return f"{took.total_seconds():.2f}"


def _note(lap: Lap) -> str:
    return ", ".join(f"{place} {_seconds(took)}" for place, took in lap.places.items())


def _show_forecast(config: Config, asked: Asked) -> int:
    """`--dry-run`: what would happen. Needs no sealing key, and asks nobody."""
    with wiring.opened(config, wiring.surroundings(), unlock=False) as service:
        (name,) = chosen(service, asked.names, None, unnamed=False)
        line = _forecast(service, name)
    if asked.as_json:
        click.echo(json.dumps({"forecast": [{"credential": name, "message": line}]}, ensure_ascii=False))
    else:
        say.tell(f"environment {config.environment}; nothing is touched")
        say.tell(line)
    return Status.DONE


def _forecast(service: Service, name: str) -> str:
    report, managed = service.report(), service.managed[name]
    known = service.store.credential(name)
    situation = service.store.load(known.id) if known is not None else None
    if situation is None or situation.current is None:
        return f"{name}: would not be rehearsed: it has no key yet"
    stopped = report.in_the_way(name)
    if stopped is not None:
        return f"{name}: would not be rehearsed: {stopped.message} ({stopped.kind})"
    decision = why_due(replace(report.question(name, situation), wanted=Cause.REHEARSAL))
    if isinstance(decision, NotDue):
        return f"{name}: would not be rehearsed: {decision.message} ({decision.reason})"
    left_out = shadows.without_shadow(managed)
    places = [a for t in managed.targets if (a := t.destination.address) not in left_out]
    without = f"; {', '.join(left_out)} has no shadow and is only looked at" if left_out else ""
    disabled = "disable and " if managed.provider.capabilities.can_disable else ""
    return (
        f"{name}: would create a key at {managed.provider_name}, write it beside {', '.join(places) or 'no place'}, "
        f"read it back, try it, remove what it wrote, {disabled}delete the key{without}; "
        "the current key is not touched"
    )
