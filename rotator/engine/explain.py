"""Where a credential stands in plain sentences: which keys live, who serves which, why, and what happens next."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from rotator.domain.events import Subject
from rotator.domain.model import (
    LAST_WAVE,
    Cause,
    Delivery,
    DeliveryState,
    Finding,
    Retirement,
    RetirementReason,
    RetirementState,
    Rotation,
    Sighting,
    Situation,
    Version,
    VersionState,
    Waiting,
)
from rotator.domain.plans import GATES, HOLDS, ROTATION, Use, step_after, taking_away, to_be_tried
from rotator.domain.policy import (
    HOURS,
    Due,
    NotDue,
    Question,
    by_deadline,
    deadline,
    deciding,
    next_rotation_at,
    why_due,
)
from rotator.engine import stopwatch
from rotator.engine.engine import ready_at, rotation_ready_at
from rotator.engine.evidence import spoken
from rotator.engine.pausing import frozen
from rotator.engine.report import Report, stamp
from rotator.engine.sightings import ago, holding
from rotator.engine.waves import at_hand
from rotator.engine.work import AWAITING, Managed


def explain(report: Report, name: str) -> list[str]:
    """Plain sentences: which keys live, who serves which, why the old one is not gone, what happens when."""
    credential = next((c for c in report.store.credentials() if c.name == name), None)
    if credential is None:
        return [f"{name} is in the configuration; no pass has looked at it yet.", f"Next: `rotate {name}`."]
    situation = report.store.load(credential.id)
    lines = [_headline(report, name, situation), *_keys(situation), *_serving(report, name, situation)]
    lines += _rotation_lines(report, name, situation)
    for row in situation.retirements:
        lines += _retirement_lines(report, name, situation, row)
    lines += _consumer_lines(report, name, situation)
    if report.named(name):
        lines.append(_decided(report, name, situation))
    lines += [
        f"Requested: {request.verb}, by {request.actor} at {stamp(request.asked_at)}; the next pass does it"
        + (f" ({request.reason}: {request.message})." if request.reason else ".")
        for request in report.store.requests(credential.id)
    ]
    lines.append(_next(report, name, situation))
    lines += _rehearsed(report, name)
    lines += [
        f"Finding ({f.kind}): {f.message}. {f.remedy or ''}".rstrip() for f in _own_findings(report, name, situation)
    ]
    return lines + _whose(report.managed.get(name))


def _whose(managed: Managed | None) -> list[str]:
    told = {"Owner": managed.owner, "Runbook": managed.runbook} if managed is not None else {}
    return [f"{word}: {text}" for word, text in told.items() if text]


def _own_findings(report: Report, name: str, situation: Situation) -> list[Finding]:
    told = report.in_the_way(name)
    return [f for f in report.findings if f.credential_id == situation.credential.id and f != told]


def _headline(report: Report, name: str, situation: Situation) -> str:
    conditions = report.conditions(name, situation)
    if not conditions:
        return f"{name} is ok."
    first = conditions[0]
    why = f": {first.message}" if first.message else ""
    remedy = f" To do: {first.remedy}." if first.remedy else ""
    return f"{name} is {first.type.replace('_', ' ')}{why}.{remedy}"


def _keys(situation: Situation) -> list[str]:
    living = [v for v in situation.versions if v.state.living]
    if not living:
        return ["No key of it is on record."]
    return [
        f"Version {v.number} ({v.key_id or 'id not known'}) is {v.state.value}"
        + (f", made {stamp(v.issued_at)}" if v.issued_at else ", made at an unknown time")
        + (f", ended by the provider {stamp(v.expires_at)}." if v.expires_at else ".")
        for v in sorted(living, key=lambda v: -v.number)
    ]


def _serving(report: Report, name: str, situation: Situation) -> list[str]:
    managed = report.managed.get(name)
    rows = report.destinations(managed, situation)
    return [
        f"{row['address']} serves version {row['version']} ({row['state']}), seen {row['checked_at']}."
        if row["version"]
        else f"{row['address']}: {row['state']}; nothing of ours is on record there."
        for row in rows
    ] + _beside(managed, situation)


def _beside(managed: Managed | None, situation: Situation) -> list[str]:
    """Of places in `mode: pair`: the version that we put beside the one they serve, where that is another."""
    lines = []
    for target in managed.targets if managed else ():
        placed = situation.placements_at(target.destination.identity)
        served = {placed[f].version_id for f in target.main if f in placed}
        beside = {p.version_id for f, p in placed.items() if f in target.templates.keys() - target.main.keys()}
        found = [v for v in (situation.version(i) for i in beside - served if i is not None) if v is not None]
        lines += [f"{target.destination.address} holds version {v.number} beside it." for v in found]
    return lines


def _rotation_lines(report: Report, name: str, situation: Situation) -> list[str]:
    row = situation.rotation
    if row is None:
        return []
    step = step_after(ROTATION, row.state)
    at = rotation_ready_at(situation)
    when = "waits for a person" if at is None else _when(at, report.at)
    verb = step.verb if step else "none"
    opened = f"{row.cause.value}, opened {stamp(row.opened_at)} by {row.actor}"
    lines = [f"A rotation ({opened}) is {row.state.value}; its next step is {verb}, {when}."]
    if row.reason:
        lines.append(f"It waits because: {row.message} ({row.reason}).{_to_do(row)}")
    lines += [
        f"{d.address} is {d.state.value}; {'blocked' if d.blocked else 'delayed'}: {d.message} ({d.reason}).{_to_do(d)}"
        for d in situation.deliveries
        if d.reason
    ]
    lines += [line for d in situation.deliveries for line in _readers_of(report, name, situation, d)]
    return lines


def _readers_of(report: Report, name: str, situation: Situation, delivery: Delivery) -> list[str]:
    """What keeps a delivery for a later wave, and how its hooks stand."""
    lines = []
    soaks = situation.rotation is not None and situation.rotation.wave_until is not None
    if delivery.state is DeliveryState.PLANNED and (soaks or delivery not in at_hand(situation)):
        which = "the last wave" if delivery.wave == LAST_WAVE else f"wave {delivery.wave}"
        lines.append(f"{delivery.address} belongs to {which}, and is left alone until those before fare well.")
    hooks = report.hooks(report.managed.get(name), situation, delivery)
    words = [f"the {hook['kind']} ({hook['name']}) is {hook['state']}" for hook in hooks]
    return [*lines, f"At {delivery.address} {', and '.join(words)}."] if words else lines


def _retirement_lines(report: Report, name: str, situation: Situation, row: Retirement) -> list[str]:
    version = situation.version(row.version_id)
    managed = report.managed.get(name)
    can_disable = managed.provider.capabilities.can_disable if managed else True
    step = taking_away(row, can_disable=can_disable)
    at = ready_at(row)
    when = "waits for a person" if at is None else _when(row.due_at or at, report.at)
    number = version.number if version else "?"
    verb, why = step.verb if step else "none", row.why.value.replace("_", " ")
    lines = [f"Version {number} is being retired ({why}); the next step is {verb}, {when}."]
    if row.reason:
        lines.append(f"Version {number} is not gone yet because: {row.message} ({row.reason}).{_to_do(row)}")
    if can_disable and to_be_tried(row):
        lines.append(
            f"In its brownout it is disabled for {row.brownout_for} and enabled again, to find who still uses it."
        )
    if row.state is not RetirementState.DISABLED and can_disable and row.soak:
        lines.append(f"After it is disabled it soaks for {row.soak} before it is deleted.")
    if version is not None and _can_stay(row, version):
        lines.append(f"`rotator reactivate {name} --key {version.key_id}` keeps it.")
    return lines


def _consumer_lines(report: Report, name: str, situation: Situation) -> list[str]:
    """Which key each consumer said it holds, and what that keeps from going."""
    words = report.store.sightings(situation.credential.id)
    managed = report.managed.get(name)
    awaited = managed.heartbeats if managed else ()
    lines = [_word_line(situation, word, report.at) for word in words]
    lines += [f"Consumer {one} has never reported a key." for one in awaited if one not in {w.consumer for w in words}]
    for row in situation.retirements:
        version = situation.version(row.version_id)
        if managed is None or version is None or GATES[row.why].use is not Use.WAITED_OUT or row.reason in HOLDS:
            continue  # nothing waits for it, or it is told already
        for hold in spoken(situation, version, words, awaited, managed.policy, report.at):
            lines.append(f"That keeps version {version.number}: {hold.message}. What ends that: {hold.remedy}.")
    return lines


def _word_line(situation: Situation, word: Sighting, now: datetime) -> str:
    held = holding(situation, word.fingerprint)
    what = f"version {held.number} ({held.state.value})" if held else "a key that is not on record any more"
    return f"Consumer {word.consumer} holds {what}, as it said {stamp(word.seen_at)}, {ago(word.seen_at, now)}."


def _can_stay(row: Retirement, version: Version) -> bool:
    """Whether a person may call it off."""
    was_current = version.state in (VersionState.PREVIOUS, VersionState.DISABLED)
    return was_current and row.why is not RetirementReason.COMPROMISED and not (row.wanted_back or row.delete_started)


def _to_do(row: Waiting) -> str:
    return f" To do: {row.remedy}." if row.remedy else ""


def _rehearsed(report: Report, name: str) -> list[str]:
    """When `rotate --rehearse` was last done, and what it came to."""
    end = stopwatch.last(report.store.events(credential=name))
    if end is None:
        return []
    at, detail = end["at"][:16].replace("T", " "), end["detail"]
    if end["reason"] is not None:
        return [f"Last rehearsed {at} UTC: it failed ({end['reason']}): {detail.get('message')}."]
    current, dead = (f"{detail.get(key, 0) / 1000:.1f} s" for key in ("current_after_ms", "dead_after_ms"))
    return [f"Last rehearsed {at} UTC: a new key was verified everywhere after {current}, one was dead after {dead}."]


def _next(report: Report, name: str, situation: Situation) -> str:
    if not report.named(name):
        opened = situation.rotation is not None or situation.retirements
        rest = f"what is open {'is finished' if name in report.managed else 'waits'}" if opened else "nothing is open"
        return f"The configuration does not name it any more: {rest}, and nothing new is opened."
    stopped = report.in_the_way(name)
    if stopped is not None:
        return f"Nothing is done until this is settled: {stopped.message} ({stopped.kind}). To do: {stopped.remedy}."
    if _frozen(report, situation):
        return f"No step of it is done: it is {situation.credential.pause_message}. `rotator unpause {name}` ends that."
    if situation.rotation is not None:
        supplies = f"`rotator supply {name}` takes the key that a person made; the next pass does the rest."
        asked = situation.rotation.reason == AWAITING
        return supplies if asked else "The next pass goes on with the open rotation."
    return _planned(report.question(name, situation))


def _frozen(report: Report, situation: Situation) -> bool:
    """Whether a pause holds what is open."""
    opened = [situation.rotation] if situation.rotation is not None else situation.retirements
    return any(frozen(situation, row, report.at) for row in opened)


def _planned(question: Question) -> str:
    decision, begins = why_due(question), next_rotation_at(question)
    if isinstance(decision, Due):
        return f"The next pass opens a rotation: {decision.message}."
    if decision.reason in HOURS:
        return f"A rotation waits: {decision.message} ({decision.reason}). It begins {stamp(begins)}."
    if begins is not None:
        return f"The next rotation is due {stamp(begins)}{_because(question)}."
    return f"No rotation is planned: {decision.message}. `rotate --now {question.name}` rotates it."


def decision(report: Report, name: str) -> dict[str, object] | None:
    """The shape of `decision` in `explain --json`: which check of the policy decides now, and what it says."""
    credential = next((c for c in report.store.credentials() if c.name == name), None)
    if credential is None or name not in report.managed:
        return None
    check, found = deciding(report.question(name, report.store.load(credential.id)))
    due = isinstance(found, Due)
    return {
        "check": check,
        "due": due,
        "reason": found.cause.value if isinstance(found, Due) else found.reason,
        "message": found.message,
        "until": None if isinstance(found, Due) else stamp(found.until),
    }


MOVES = {
    "rotating": "`rotator abandon {name}` gives it up",
    "paused": "`rotator unpause {name}` ends the pause",
    "slot_in_retirement": "`rotate --now {name} --end-soak` does not wait for a soak",
    "max_creates": "only time moves it, or another max_creates_per_day",
    "min_interval": "`rotate --now {name}` does not wait",
    "by_hand": "`rotate --now {name}` rotates it",
    "window": "`rotate --now {name}` does not wait",
    "blackout": "`rotate --now {name}` does not wait",
    "not_due": "`rotate --now {name}` does not wait",
}
"""Reason of the policy → the command that would move it."""


def _decided(report: Report, name: str, situation: Situation) -> str:
    """Which check of the policy has the say now, and the command that would move what it holds."""
    check, found = deciding(report.question(name, situation))
    if isinstance(found, Due):
        return f"The check {check} decides: {found.message} ({found.cause.value}); a pass goes on with it."
    until = f" until {stamp(found.until)}" if found.until else ""
    move = MOVES.get(found.reason)
    todo = f" {move.format(name=name)}." if move else ""
    return f"The check {check} decides: {found.message} ({found.reason}){until}.{todo}"


def _because(question: Question) -> str:
    """What makes it due, where that is not the period or the cron line alone."""
    end = deadline(question)
    if end is None:
        return ""
    if by_deadline(question):
        return f": {end.message}, and replacing it begins by {stamp(end.start)}"
    return f", well before {end.message}"


def forecast(report: Report, name: str, *, now: bool) -> str:
    """What a pass would do with this credential, and why. Touches nothing and asks nobody."""
    credential = next((c for c in report.store.credentials() if c.name == name), None)
    if credential is None:
        return f"{name}: would be rotated for the first time, unless a destination holds a value already"
    situation = report.store.load(credential.id)
    stopped = report.in_the_way(name)
    if stopped is not None and not (now and stopped.kind == Subject.ACCOUNT_BRAKED):  # a person has one try
        return f"{name}: nothing; {stopped.message} ({stopped.kind})"
    if situation.rotation is not None:
        return f"{name}: {_going_on(report, situation, situation.rotation)}"
    if name not in report.managed:
        return f"{name}: nothing; it was taken out of the configuration, and what is open cannot be finished"
    question = report.question(name, situation)
    if now:
        question = replace(question, wanted=Cause.MANUAL)
    decision = why_due(question)
    if isinstance(decision, Due):
        places = ", ".join(t.destination.address for t in report.managed[name].targets)
        asks = ", ask a person for the key" if report.managed[name].provider.capabilities.origin == "supplied" else ""
        return f"{name}: would rotate ({decision.message}){asks} and push to {places}"
    assert isinstance(decision, NotDue)
    until = f" until {stamp(decision.until)}" if decision.until else ""
    return f"{name}: nothing to rotate, {decision.message}{until}" + _would_retire(report, situation)


def _would_retire(report: Report, situation: Situation) -> str:
    moving = [r for r in situation.retirements if not frozen(situation, r, report.at)]
    ready = [r for r in moving if (at := ready_at(r)) is not None and at <= report.at]
    numbers = [str(v.number) for r in ready if (v := situation.version(r.version_id)) is not None]
    return f"; would look whether version {', '.join(numbers)} can be taken away" if numbers else ""


def _going_on(report: Report, situation: Situation, rotation: Rotation) -> str:
    if _frozen(report, situation):
        return f"nothing; the open rotation waits: {situation.credential.pause_message}"
    step, at = step_after(ROTATION, rotation.state), rotation_ready_at(situation)
    when = "blocked" if at is None else _when(at, report.at)
    return f"would go on with the open rotation at {step.verb if step else 'its end'} ({when})"


def _when(at: datetime, now: datetime) -> str:
    return "at the next pass" if at <= now else f"not before {stamp(at)}"
