"""Where a credential stands in plain sentences: which keys live, who serves which, why, and what happens next."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from rotator.domain.events import Subject
from rotator.domain.model import Cause, Finding, Retirement, RetirementState, Situation
from rotator.domain.plans import ROTATION, step_after, taking_away, to_be_tried
from rotator.domain.policy import HOURS, Due, NotDue, Question, by_deadline, deadline, next_rotation_at, why_due
from rotator.engine.engine import ready_at, rotation_ready_at
from rotator.engine.report import Report, stamp
from rotator.engine.work import AWAITING


def explain(report: Report, name: str) -> list[str]:
    """Plain sentences: which keys live, who serves which, why the old one is not gone, what happens when."""
    credential = next((c for c in report.store.credentials() if c.name == name), None)
    if credential is None:
        return [f"{name} is in the configuration; no pass has looked at it yet.", f"Next: `rotate {name}`."]
    situation = report.store.load(credential.id)
    lines = [_headline(report, name, situation), *_keys(situation), *_serving(report, name, situation)]
    lines += _rotation_lines(report, situation)
    for row in situation.retirements:
        lines += _retirement_lines(report, name, situation, row)
    lines.append(_next(report, name, situation))
    lines += [
        f"Finding ({f.kind}): {f.message}. {f.remedy or ''}".rstrip() for f in _own_findings(report, name, situation)
    ]
    return lines


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
    rows = report.destinations(report.managed.get(name), situation)
    return [
        f"{row['address']} serves version {row['version']} ({row['state']}), seen {row['checked_at']}."
        if row["version"]
        else f"{row['address']}: {row['state']}; nothing of ours is on record there."
        for row in rows
    ]


def _rotation_lines(report: Report, situation: Situation) -> list[str]:
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
        lines.append(f"It waits because: {row.message} ({row.reason}).")
    lines += [
        f"{d.address} is {d.state.value}; {'blocked' if d.blocked else 'delayed'}: {d.message} ({d.reason})."
        for d in situation.deliveries
        if d.reason
    ]
    return lines


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
        lines.append(f"Version {number} is not gone yet because: {row.message} ({row.reason}).")
    if can_disable and to_be_tried(row):
        lines.append(
            f"In its brownout it is disabled for {row.brownout_for} and enabled again, to find who still uses it."
        )
    if row.state is not RetirementState.DISABLED and can_disable and row.soak:
        lines.append(f"After it is disabled it soaks for {row.soak} before it is deleted.")
    return lines


def _next(report: Report, name: str, situation: Situation) -> str:
    if not report.named(name):
        opened = situation.rotation is not None or situation.retirements
        rest = f"what is open {'is finished' if name in report.managed else 'waits'}" if opened else "nothing is open"
        return f"The configuration does not name it any more: {rest}, and nothing new is opened."
    stopped = report.in_the_way(name)
    if stopped is not None:
        return f"Nothing is done until this is settled: {stopped.message} ({stopped.kind}). To do: {stopped.remedy}."
    if situation.rotation is not None:
        supplies = f"`rotator supply {name}` takes the key that a person made; the next pass does the rest."
        asked = situation.rotation.reason == AWAITING
        return supplies if asked else "The next pass goes on with the open rotation."
    return _planned(report.question(name, situation))


def _planned(question: Question) -> str:
    decision, begins = why_due(question), next_rotation_at(question)
    if isinstance(decision, Due):
        return f"The next pass opens a rotation: {decision.message}."
    if decision.reason in HOURS:
        return f"A rotation waits: {decision.message} ({decision.reason}). It begins {stamp(begins)}."
    if begins is not None:
        return f"The next rotation is due {stamp(begins)}{_because(question)}."
    return f"No rotation is planned: {decision.message}. `rotate --now {question.name}` rotates it."


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
        step = step_after(ROTATION, situation.rotation.state)
        at = rotation_ready_at(situation)
        when = "blocked" if at is None else _when(at, report.at)
        return f"{name}: would go on with the open rotation at {step.verb if step else 'its end'} ({when})"
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
    ready = [r for r in situation.retirements if (at := ready_at(r)) is not None and at <= report.at]
    numbers = [str(v.number) for r in ready if (v := situation.version(r.version_id)) is not None]
    return f"; would look whether version {', '.join(numbers)} can be taken away" if numbers else ""


def _when(at: datetime, now: datetime) -> str:
    return "at the next pass" if at <= now else f"not before {stamp(at)}"
