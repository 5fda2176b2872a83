"""What `rotate` does: select, open, run, and say what came of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from rotator import logs, wiring
from rotator.cli import beforehand, rehearsing, say, screens, verdicts, words
from rotator.cli.acting import act
from rotator.cli.asked import Asked
from rotator.cli.exits import Status
from rotator.cli.opening import configuration
from rotator.cli.options import Manner
from rotator.cli.screens import Screen
from rotator.cli.stopping import Stop
from rotator.cli.verdicts import STUCK, Verdict
from rotator.cli.words import Entry
from rotator.config import Config
from rotator.engine.engine import Engine, Progress
from rotator.engine.report import stamp
from rotator.wiring import Service

TIMEOUT = timedelta(minutes=10)
SLACK = timedelta(seconds=10)
"""What a pass lingers beyond a lease and a call, so that it outlasts what a dead worker left behind."""

RARELY = timedelta(days=1)
"""Passes further apart than this take no old key away in time."""


def carry_out(asked: Asked) -> int:
    """Do it; return the exit status."""
    asked.check()
    if asked.rehearse:
        return rehearsing.carry_out(asked)
    config = configuration(asked.config)
    if asked.dry_run:
        return beforehand.show_forecast(config, asked)
    if asked.request:
        return _ask(config, asked)
    stop = Stop(asked.pass_ends)
    screen = screens.choose(now=asked.at_once, as_json=asked.as_json, quiet=asked.quiet, on_terminal=say.on_terminal())
    stop.silent = screen.interval is not None
    around = wiring.surroundings(stop=stop.event, observe=screen.observe, bug=logs.bug)
    with wiring.opened(config, around) as service:
        names = beforehand.selected(service, asked)
        screen.begin(service.managed, names)
        if asked.hurts and not beforehand.agreed(service, names, asked):
            return Status.TROUBLE
        return Run(service, names, asked, screen, stop).carry_out()


def _ask(config: Config, asked: Asked) -> int:
    """`--request`: a worker opens the rotation, and its passes do the rest."""
    with wiring.opened(config, wiring.surroundings(), unlock=False) as service:
        names = beforehand.selected(service, asked)
        if asked.everything:
            names = [name for name in names if name in service.config.credentials]
        if asked.hurts and not beforehand.agreed(service, names, asked):
            return Status.TROUBLE
    manner = Manner(request=True, timeout=asked.timeout)
    status = act(config, names, "rotate", asked.arguments, asked.reason, manner)
    if status == Status.DONE:
        say.tell("`rotator wait NAME --for current` waits for its end")
    return status


class Run:
    """One run of the engine over some credentials, and its report."""

    def __init__(self, service: Service, names: Sequence[str], asked: Asked, screen: Screen, stop: Stop) -> None:
        self.service = service
        self.names = names
        self.asked = asked
        self.screen = screen
        self.stop = stop
        self.began = service.store.now()
        self.last_pass = service.store.installation().last_pass_at
        self.stuck_before = self._stuck_at(self.last_pass)
        self.current_before = {
            entry["name"]: (entry["current"] or {}).get("key_id")
            for entry in service.report().status(names)["credentials"]
        }

    def carry_out(self) -> int:
        """Run, report, and give the exit status."""
        pace = self.service.config.engine
        patience = self.asked.linger if self.asked.linger is not None else pace.lease + pace.call_budget + SLACK
        if self.asked.at_once:
            patience = TIMEOUT if self.asked.timeout is None else self.asked.timeout
        engine = self.service.running()
        logs.log.info("begins with %s", ", ".join(self.names) or "nothing")
        with self.stop:
            progress = self.screen.watch(
                lambda: engine.run(self._due(engine), self.asked.wish, patience, stays=True),
                self.service.report,
                self.stop,
            )
        self.service.keep_cards(progress)
        progress = {name: progress.get(name, Progress(name=name)) for name in self.names}
        status = self.service.report().status(self.names)
        entries = {entry["name"]: entry for entry in status["credentials"]}
        judged = [self._judge(progress[name], entries[name]) for name in self.names]
        stopped = self.stop.signal is not None or self.stop.overran
        if stopped:
            self._parked(entries, progress)
        if not stopped or self.stop.in_time:
            self._say(judged, entries, progress)
        if self.asked.as_json:
            touched = set(self.names) if self.asked.at_once else self.screen.touched() & set(self.names)
            click.echo(json.dumps({"result": self.service.report().status(touched)}, ensure_ascii=False))
        if stopped and not self.stop.in_time:
            return self.stop.status
        return self._exit_status(judged, status)

    def _due(self, engine: Engine) -> Sequence[str]:
        """What a person names is looked at; of all, what has something to do."""
        if self.asked.at_once or self.asked.names:
            return self.names
        due = set(engine.due())
        return [name for name in self.names if name in due]

    def _judge(self, progress: Progress, entry: Entry) -> Verdict:
        if not self.asked.at_once:
            return verdicts.of_pass(progress, entry)
        key = self.asked.key
        no_new_key = key is not None and key != self.current_before[progress.name]
        return verdicts.of_wish(progress, entry, leaked=self.asked.compromised, no_new_key=no_new_key)

    # exit status

    def _exit_status(self, judged: Sequence[Verdict], status: Mapping[str, Any]) -> int:
        found = [verdict.status for verdict in judged]
        if found and all(one is Status.SETUP for one in found):
            return Status.SETUP
        if self.asked.fail_on == "never":
            return Status.DONE
        if self.asked.fail_on == "new" and not self.asked.at_once:
            worse = _stuck(status["credentials"]) - self.stuck_before
            # What stopped a turn itself is on no row, so that nobody can tell whether it is new.
            lost = any(v.status is not Status.DONE and v.name not in _names(status, STUCK) for v in judged)
            return Status.TROUBLE if worse or lost else Status.DONE
        if Status.TROUBLE in found or Status.SETUP in found:
            return Status.TROUBLE
        return Status.HELD if Status.HELD in found else Status.DONE

    def _stuck_at(self, moment: datetime | None) -> set[tuple[str, ...]]:
        """What was stuck when the last pass ended: by the rows as they are now, at that time."""
        if moment is None:
            return set()
        report = self.service.report()
        report.at = moment
        return _stuck(report.status(self.names)["credentials"])

    # words

    def _say(self, judged: Sequence[Verdict], entries: Mapping[str, Entry], progress: Mapping[str, Progress]) -> None:
        for verdict in judged:
            entry = entries[verdict.name]
            lines = self._changes(entry)
            if verdict.status is Status.DONE and verdict.remedy is None and verdict.said:
                lines.insert(0, verdict.said)
            if self._to_stdout:
                for line in lines:
                    say.tell(line)
            if verdict.status is not Status.DONE or verdict.remedy is not None:
                say.complain(verdict.said, reason=verdict.reason, remedy=verdict.remedy)
            if self.asked.at_once:
                self._also_blocked(verdict, entry)
        if self.asked.at_once:
            self._warn_of_no_passes(entries)
        if self._to_stdout and not (self.asked.at_once and len(self.names) == 1):
            say.tell(self._summary(judged, entries, progress))

    @property
    def _to_stdout(self) -> bool:
        return not (self.asked.quiet or self.asked.as_json)

    def _changes(self, entry: Entry) -> list[str]:
        """What happened to a credential in this run, and when its old key goes."""
        name = entry["name"]
        happened = [
            f"version {number} {became}"
            for event, became in (
                ("promote.succeeded", "is current"),
                ("disable.succeeded", "is disabled"),
                ("delete.succeeded", "is gone"),
            )
            for number in self.screen.numbers(name, event)
        ]
        if self.asked.at_once:
            can_disable = self.service.managed[name].provider.capabilities.can_disable
            lines = [f"{name}: {line}" for line in happened if not line.endswith("current")]
            return lines + [f"{name}: {words.old_key(old, can_disable=can_disable)}" for old in entry["previous"]]
        if name in self.screen.touched() and entry["status"] not in STUCK:
            happened.append(_standing(entry))
        return [f"{name}: {'; '.join(happened)}"] if happened else []

    def _also_blocked(self, verdict: Verdict, entry: Entry) -> None:
        """The new key is everywhere, and still something needs a person: the old one cannot be taken away."""
        if verdict.status is Status.DONE and entry["status"] == "blocked":
            said = f"{verdict.name} is current, but blocked: {entry['message']}"
            say.complain(said, reason=entry["reason"], remedy=entry["remedy"])

    def _warn_of_no_passes(self, entries: Mapping[str, Entry]) -> None:
        waiting = any(entry["previous"] or entry["rotation"] for entry in entries.values())
        last, now = self.last_pass, self.service.store.now()
        if waiting and (last is None or now - last > RARELY):
            seen = f"the last one was at {words.moment(stamp(last))}" if last else "none ever ran"
            say.complain(
                f"nothing on record runs passes ({seen}), so nothing would take the old key away",
                reason="no_passes",
                remedy="run `rotate` from a CronJob or a timer, every few minutes to every hour",
            )

    def _summary(
        self, judged: Sequence[Verdict], entries: Mapping[str, Entry], progress: Mapping[str, Progress]
    ) -> str:
        rotated = sum(1 for p in progress.values() if p.completed)
        held = sum(1 for p in progress.values() if p.held is not None)
        counts = Counter(entry["status"] for entry in entries.values())
        parts = [f"{rotated} rotated"] if rotated else []
        parts += [f"{held} held by another worker"] if held else []
        parts += [f"{counts[status]} {status.replace('_', ' ')}" for status in _PRESSING if counts[status]]
        ready = [p.ready_at for p in progress.values() if p.ready_at is not None]
        following = f"; next at {words.moment(stamp(min(ready)))}" if ready else ""
        many = "1 credential" if len(judged) == 1 else f"{len(judged)} credentials"
        return f"{self.service.config.environment}: {many}: {', '.join(parts) or 'nothing to do'}{following}"

    def _parked(self, entries: Mapping[str, Entry], progress: Mapping[str, Progress]) -> None:
        by = self.stop.signal.name if self.stop.signal is not None else "its deadline"
        done = [name for name in self.names if progress[name].completed]
        parked = [f"{n} at {e['rotation']['step']}" for n, e in entries.items() if e["rotation"]]
        parts = [f"parked: {_some(parked)}"] if parked else ["nothing is half done"]
        parts += [f"rotated: {_some(done)}"] if done else []
        say.warn(f"stopped by {by}; {'; '.join(parts)}; `rotate` goes on")
        left = [n for n in self.names if n not in done and n in entries and not entries[n]["rotation"]]
        if left and self.asked.at_once:
            since = f"--made-before {self.began.isoformat()}"
            say.complain(
                f"{len(left)} of {len(self.names)} were not begun: {_some(left)}",
                reason="not_begun",
                remedy=f"the same command with {since} leaves out what is done",
            )


_PRESSING = ("blocked", "overdue", "paused", "rotating", "due", "retiring", "unmanaged", "never_rotated", "ok")


_NAMED = 5


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _standing(entry: Entry) -> str:
    rotation = entry["rotation"]
    if rotation is not None:
        until = f", not before {words.moment(rotation['not_before'])}" if rotation["not_before"] else ""
        return f"waits at {rotation['step']}{until}"
    why = f" ({entry['message']})" if entry["message"] else ""
    return f"{entry['status'].replace('_', ' ')}{why}"


def _stuck(entries: Sequence[Entry]) -> set[tuple[str, ...]]:
    return {
        (entry["name"], row["type"], str(row["reason"]))
        for entry in entries
        for row in entry["conditions"]
        if row["type"] in STUCK
    }


def _names(status: Mapping[str, Any], kinds: Sequence[str]) -> set[str]:
    return {entry["name"] for entry in status["credentials"] if entry["status"] in kinds}
