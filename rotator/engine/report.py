"""Read models: where everything stands, why, and what happens next. Needs no sealing key and asks nobody outside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rotator.domain.deadlines import Deadline, passed
from rotator.domain.events import Subject
from rotator.domain.model import (
    LAST_WAVE,
    Cause,
    Credential,
    CredentialId,
    Delivery,
    DeliveryState,
    Finding,
    Observed,
    Retirement,
    Rotation,
    Situation,
    Version,
    VersionState,
)
from rotator.domain.plans import HOLDS, ROTATION, step_after, taking_away
from rotator.domain.policy import HOURS, Due, Question, next_rotation_at, supply_by, why_due
from rotator.engine import hooks
from rotator.engine.work import AWAITING, Managed
from rotator.ports.store import Store

RETRY_ALARM = timedelta(minutes=15)
"""A retry younger than this is no news."""

OVERDUE_AFTER = timedelta(hours=1)
"""How long a credential may be due before it is overdue: a pass that never comes must show."""

PLANNED_WAITS = (
    "grace",
    "soak",
    "in_use",
    "consumer_silent",
    "consumer_not_restarted",
    "settling",
    "slot_in_retirement",
    "wave_soak",
    "min_interval",
    "lost_answer",
    "put_back_first",
    "readers_lag",
    "unpairing",
    "reactivating",
)
"""Reasons to wait that are part of the plan, not trouble."""


@dataclass(frozen=True)
class Condition:
    """One thing that holds of a credential; `type` is one of the words of `status`."""

    type: str
    since: datetime | None
    reason: str | None
    message: str | None
    remedy: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The shape of `conditions` in `status --json`."""
        return {"type": self.type, "since": stamp(self.since), "reason": self.reason, "message": self.message}


def stamp(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


class Report:
    """What the rows say about the credentials of one configuration, at one moment."""

    def __init__(self, store: Store, managed: Mapping[str, Managed]) -> None:
        self.store = store
        self.managed = managed
        self.at = store.now()
        self.findings: Sequence[Finding] = [f for f in store.findings() if f.ignored_at is None]
        self._found: defaultdict[str, list[Finding]] = defaultdict(list)  # by credential, or by what it is about
        for finding in self.findings:
            self._found[finding.credential_id or finding.subject].append(finding)
        self._stop = next((f for f in self.findings if f.kind == Subject.RECONCILE), None)

    def in_the_way(self, name: str) -> Finding | None:
        """What stops everything that a pass would do with a credential: the installation's, or its provider's."""
        provider = self.managed[name].provider_name if name in self.managed else None
        stops = (
            f
            for f in self.findings
            if f.kind == Subject.RECONCILE or (f.kind, f.subject) == (Subject.ACCOUNT_BRAKED, provider)
        )
        return next(stops, None)

    def situations(self, known: Mapping[str, Credential], names: Iterable[str]) -> Mapping[str, Situation]:
        """Those of these names that are known. All of them cost a few queries for some hundred, some a few for each."""
        wanted = known.keys() & set(names)
        if len(wanted) == len(known):
            return {situation.credential.name: situation for situation in self.store.fleet()}
        return {name: self.store.load(known[name].id) for name in wanted}

    # status

    def status(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """The shape of `rotator status --json`; limited to `names` where given."""
        wanted = None if names is None else set(names)
        known = {c.name: c for c in self.store.credentials()}
        shown = [n for n in sorted({*known, *self.managed}) if wanted is None or n in wanted]
        situations = self.situations(known, shown)
        drilled = self.store.drilled([known[name].id for name in shown if name in known])
        found = (self._entry(name, situations.get(name), drilled) for name in shown)
        entries = [entry for entry in found if entry is not None]
        installation = self.store.installation()
        ids: dict[str, str] = {c.id: c.name for c in known.values()}
        stopping = [self.in_the_way(name) for name in shown]
        findings = [
            f for f in self.findings if wanted is None or ids.get(f.credential_id or "", "") in wanted or f in stopping
        ]
        findings.sort(key=lambda f: not f.urgent)
        return {
            "at": stamp(self.at),
            "environment": installation.environment,
            "healthy": not findings and all(e["status"] not in ("blocked", "overdue") for e in entries),
            "last_pass_at": stamp(installation.last_pass_at),
            "findings": [
                {
                    "kind": f.kind,
                    "credential": ids.get(f.credential_id or ""),
                    "account": f.account,
                    "since": stamp(f.found_at),
                    "message": f.message,
                    "remedy": f.remedy,
                    "urgent": f.urgent,
                }
                for f in findings
            ],
            "credentials": entries,
        }

    def _entry(
        self, name: str, situation: Situation | None, drilled: Mapping[CredentialId, datetime]
    ) -> dict[str, Any] | None:
        managed = self.managed.get(name)
        if situation is None:
            return _never_seen(name, managed) if managed else None
        conditions = self.conditions(name, situation)
        first = conditions[0] if conditions else Condition("ok", None, None, None)
        current = situation.current
        slot = next_rotation_at(self.question(name, situation)) if managed else None
        return {
            "name": name,
            "provider": situation.credential.provider,
            **_whose(managed),
            "status": first.type,
            "reason": first.reason,
            "message": first.message,
            "remedy": first.remedy,
            "conditions": [c.as_json() for c in conditions],
            "next_rotation_at": stamp(slot),
            "drilled_at": stamp(drilled.get(situation.credential.id)),
            "current": self._current(current) if current else None,
            "previous": [_previous(v, situation, managed) for v in _previous_versions(situation)],
            "rotation": self._rotation(managed, situation),
            "destinations": self.destinations(managed, situation),
        }

    def _current(self, version: Version) -> dict[str, Any]:
        age = int((self.at - version.issued_at).total_seconds()) if version.issued_at else None
        return {
            "version": version.number,
            "key_id": version.key_id,
            "fingerprint": version.fingerprint,
            "created_at": stamp(version.issued_at),
            "expires_at": stamp(version.expires_at),
            "age_seconds": age,
        }

    def _rotation(self, managed: Managed | None, situation: Situation) -> dict[str, Any] | None:
        row = situation.rotation
        if row is None:
            return None
        step = step_after(ROTATION, row.state)
        return {
            "id": row.id,
            "state": row.state.value,
            "step": step.verb.value if step else None,
            "attempt": row.attempt,
            "not_before": stamp(row.not_before),
            "reason": row.reason,
            "message": row.message,
            "deliveries": [
                {
                    "to": d.to,
                    "address": d.address,
                    "state": d.state.value,
                    "attempt": d.attempt,
                    "not_before": stamp(d.not_before),
                    "reason": d.reason,
                    "message": d.message,
                    "wave": d.wave if d.wave != LAST_WAVE else None,
                    "hooks": self.hooks(managed, situation, d),
                }
                for d in situation.deliveries
            ],
        }

    def hooks(self, managed: Managed | None, situation: Situation, delivery: Delivery) -> list[dict[str, Any]]:
        """The shape of `hooks` in a delivery of `status --json`: what is configured today, and how it stands."""
        target = managed.entry_of(delivery) if managed else None
        configured = {hooks.RELOAD: target.reload, hooks.PROBE: target.probe} if target else {}
        found = []
        for kind, hook in configured.items():
            if hook is None:
                continue
            waits = next((w for w in (delivery, situation.rotation) if w and w.reason == f"{kind}_failed"), None)
            done = situation.target is not None and hooks.done(delivery, kind, situation.target)
            failing = not done and (delivery.reason == f"{kind}_failed" or delivery.state is DeliveryState.VERIFIED)
            found.append(
                {
                    "kind": kind,
                    "name": hook.name,
                    "state": "done" if done else "failing" if failing else "waiting",
                    "attempt": waits.attempt if waits and failing else 0,
                    "message": waits.message if waits and failing else None,
                }
            )
        return found

    def destinations(self, managed: Managed | None, situation: Situation) -> list[dict[str, Any]]:
        """The shape of `destinations` in `status --json`: what each place served when it was last seen."""
        wanted = [version.id for version in (situation.current, situation.target) if version is not None]
        rows = []
        for target in managed.targets if managed else ():
            placed = situation.placements_at(target.destination.identity)
            own = [placed[f] for f in target.templates if f in placed]
            served = bool(own) and own[0].observed is Observed.SERVED
            version = situation.version(own[0].version_id) if served and own[0].version_id else None
            state = "unknown"
            if own and not served:
                state = own[0].observed.value
            elif version is not None:
                state = "current" if version.id in wanted else "previous"
            rows.append(
                {
                    "to": target.to,
                    "address": target.destination.address,
                    "state": state,
                    "version": version.number if version else None,
                    "checked_at": stamp(own[0].checked_at or own[0].placed_at) if own else None,
                }
            )
        return rows

    # conditions

    def conditions(self, name: str, situation: Situation) -> list[Condition]:
        """All that holds, the most pressing first; empty where all is well."""
        found = [
            *self._stopped(),
            *self._out_of_service(situation),
            *self._blocked(situation),
            *self._too_old(name, situation),
            *self._overdue(name, situation),
            *self._paused(name, situation),
            *self._rotating(situation),
            *self._due(name, situation),
            *self._retiring(situation),
        ]
        if not (situation.credential.managed and self.named(name)):
            message = "the configuration does not name it any more"
            found.append(Condition("unmanaged", None, "unmanaged", message, f"put {name} back to go on with it"))
        if situation.current is None:
            found.append(self._never_rotated(name, situation))
        return found

    def _stopped(self) -> list[Condition]:
        stop = self._stop
        return [Condition("blocked", stop.found_at, "reconcile", stop.message, stop.remedy)] if stop else []

    def _out_of_service(self, situation: Situation) -> list[Condition]:
        own = self._found.get(situation.credential.id, ())
        pressing = [f for f in own if f.urgent or f.kind == Subject.PROVIDER_REMOVED]
        return [Condition("blocked", f.found_at, f.kind, f.message, f.remedy) for f in pressing]

    def _blocked(self, situation: Situation) -> list[Condition]:
        rows = _waiters(situation)
        return [Condition("blocked", r.since, r.reason, _where(r), r.remedy) for r in rows if r.blocked]

    def _too_old(self, name: str, situation: Situation) -> list[Condition]:
        if not (self.named(name) and situation.credential.managed):
            return []
        remedy = f"`rotator explain {name}` says what it waits for"
        late = passed(situation, self.managed[name].terms, self.at)
        return [Condition("overdue", d.at, d.why, _still_works(d, situation), remedy) for d in late]

    def _overdue(self, name: str, situation: Situation) -> list[Condition]:
        if situation.credential.paused(self.at):
            return []  # a person wants it to wait
        rows = _waiters(situation)
        found = [
            Condition("overdue", r.since, r.reason, _where(r), r.remedy)
            for r in rows
            if not r.blocked
            and r.attempt
            and r.since
            and r.reason not in PLANNED_WAITS
            and self.at - r.since > RETRY_ALARM
        ]
        row = situation.rotation
        if name in self.managed and row is not None and row.blocked and row.reason == AWAITING:
            until = supply_by(row, self.managed[name].policy)
            if self.at > until:
                found.append(Condition("overdue", until, AWAITING, row.message, row.remedy))
        if name in self.managed and situation.rotation is None:
            slot = next_rotation_at(self.question(name, situation))  # later than now where it waits for its hours
            if slot is not None and self.at - slot > OVERDUE_AFTER and not found:
                message = f"due since {stamp(slot)}, and no pass has rotated it"
                found.append(
                    Condition("overdue", slot, "overdue", message, "run `rotate`, or see why passes do not run")
                )
        return found

    def _paused(self, name: str, situation: Situation) -> list[Condition]:
        credential = situation.credential
        if not credential.paused(self.at):
            return []
        remedy = f"`rotator unpause {name}`"
        return [Condition("paused", credential.paused_at, "paused", credential.pause_message, remedy)]

    def _rotating(self, situation: Situation) -> list[Condition]:
        row = situation.rotation
        if row is None:
            return []
        waits = [row, *(d for d in situation.deliveries if d.reason)]
        told = next((w for w in waits if w.reason), row)
        message = told.message or ("a rehearsal is open" if row.cause is Cause.REHEARSAL else None)
        return [Condition("rotating", row.opened_at, told.reason, message, told.remedy)]

    def _due(self, name: str, situation: Situation) -> list[Condition]:
        if name not in self.managed or situation.rotation is not None or situation.current is None:
            return []
        decision = why_due(self.question(name, situation))
        if isinstance(decision, Due):
            return [Condition("due", None, decision.cause.value, decision.message)]
        if decision.reason in HOURS:
            until = f"; it begins at {stamp(decision.until)}" if decision.until else ""
            return [Condition("due", None, decision.reason, f"{decision.message}{until}")]
        return []

    def _retiring(self, situation: Situation) -> list[Condition]:
        found = []
        for row in situation.retirements:
            version = situation.version(row.version_id)
            number = version.number if version else "?"
            until = f", not before {stamp(row.due_at)}" if row.due_at else ""
            message = f"version {number} is being retired ({row.why.value}){until}"
            found.append(Condition("retiring", row.opened_at, row.reason, message, row.remedy))
        return found

    def _never_rotated(self, name: str, situation: Situation) -> Condition:
        found = self._found.get(situation.credential.id, ())
        finding = next((f for f in found if f.kind == Subject.NOT_ADOPTED), None)
        if finding is None:
            return Condition("never_rotated", None, "never_rotated", "it has no key yet", f"`rotate {name}` makes one")
        return Condition("never_rotated", finding.found_at, "not_adopted", finding.message, finding.remedy)

    def named(self, name: str) -> bool:
        """Whether the configuration names it; else at most what is open is finished."""
        return name in self.managed and not self.managed[name].removed

    def question(self, name: str, situation: Situation) -> Question:
        """What the policy's checks look at, for a credential of the configuration."""
        return question_of(self.managed[name], situation, self.at)


def question_of(managed: Managed, situation: Situation, at: datetime) -> Question:
    """What the policy's checks look at, at a moment."""
    return Question(
        name=managed.name,
        situation=situation,
        policy=managed.policy,
        now=at,
        living=managed.provider.capabilities.slots,
        settle=managed.settle,
        can_disable=managed.provider.capabilities.can_disable,
        unplaced=any(situation.lacks_current(t.destination.identity) for t in managed.targets),
        named=not managed.removed,
    )


def _waiters(situation: Situation) -> list[Rotation | Retirement | Delivery]:
    """The rows that may keep the work from going on, the rotation first. What it goes on without is not among them."""
    rotation = [situation.rotation] if situation.rotation is not None else []
    return [*rotation, *(d for d in situation.deliveries if not d.without), *situation.retirements]


def _still_works(late: Deadline, situation: Situation) -> str:
    """And by whom it is held, where its retirement says so."""
    row = situation.retirement_of(late.version.id)
    held = f": {row.message}" if row is not None and row.reason in (*HOLDS, "old_key_in_use") else ""
    return f"{late.message}, and it still works{held}"


def _where(row: Rotation | Retirement | Delivery) -> str | None:
    return f"{row.address}: {row.message}" if isinstance(row, Delivery) else row.message


def _previous_versions(situation: Situation) -> list[Version]:
    living = [v for v in situation.versions if v.state.living and v.state is not VersionState.CURRENT]
    target = situation.rotation.target_id if situation.rotation else None
    return sorted((v for v in living if v.id != target), key=lambda v: -v.number)


def _previous(version: Version, situation: Situation, managed: Managed | None) -> dict[str, Any]:
    row = situation.retirement_of(version.id)
    can_disable = managed is None or managed.provider.capabilities.can_disable
    step = taking_away(row, can_disable=can_disable) if row else None
    return {
        "version": version.number,
        "key_id": version.key_id,
        "state": version.state.value,
        "step": step.verb.value if step else None,
        "not_before": stamp(row.due_at) if row else None,
        "reason": row.reason if row else None,
        "message": row.message if row else None,
    }


def _whose(managed: Managed | None) -> dict[str, Any]:
    """Who is told, and where they look up what to do."""
    if managed is None:
        return {"owner": None, "labels": {}, "runbook": None}
    return {"owner": managed.owner, "labels": dict(managed.labels), "runbook": managed.runbook}


def _never_seen(name: str, managed: Managed) -> dict[str, Any]:
    return {
        "name": name,
        "provider": managed.provider_name,
        **_whose(managed),
        "status": "never_rotated",
        "reason": "never_rotated",
        "message": "no pass has looked at it yet",
        "remedy": f"`rotate {name}`",
        "conditions": [],
        "next_rotation_at": None,
        "drilled_at": None,
        "current": None,
        "previous": [],
        "rotation": None,
        "destinations": [
            {
                "to": t.to,
                "address": t.destination.address,
                "state": "unknown",
                "version": None,
                "checked_at": None,
            }
            for t in managed.targets
        ],
    }
