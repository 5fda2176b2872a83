"""The read model of metrics: every credential counted, and the worst of them by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rotator.domain.events import Subject
from rotator.domain.model import Situation, Version, VersionState
from rotator.domain.policy import next_rotation_at
from rotator.engine.report import Report
from rotator.ports.store import Checkpoint, Counts, Installation

STATUSES = ("blocked", "overdue", "paused", "rotating", "due", "retiring", "unmanaged", "never_rotated", "ok")
"""From the most pressing on."""

NAMED = 500
"""So many credentials have series of their own: the most pressing, then those whose current key is oldest."""


@dataclass(frozen=True)
class Standing:
    """One credential, as `rotator status` has it."""

    name: str
    provider: str
    status: str
    reason: str | None
    conditions: Sequence[str] = ()
    current_since: datetime | None = None  # when its current key was made, as far as that is known
    oldest_since: datetime | None = None  # and the oldest key that may still work
    next_rotation_at: datetime | None = None


@dataclass
class Census:
    """Everything that metrics tell of one installation at one moment."""

    at: datetime
    installation: Installation
    head: int
    last_event_at: datetime | None
    checkpoint: Checkpoint | None
    counts: Counts
    findings: Mapping[tuple[str, bool], int]  # (kind, whether somebody is out of service now) → standing, not ignored
    behind: Mapping[str, int]  # follower → events that it has not accepted yet
    standings: list[Standing] = field(default_factory=list)
    keys: Counter[tuple[str, str]] = field(default_factory=Counter)  # (provider, state) → keys that may work
    orphans: Counter[str] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)  # what was observed → fields of destinations

    @property
    def named(self) -> Sequence[Standing]:
        """Those with series of their own."""
        return sorted(self.standings, key=lambda s: (STATUSES.index(s.status), _age(s), s.name))[:NAMED]


def _age(standing: Standing) -> float:
    return standing.current_since.timestamp() if standing.current_since else float("inf")


def take(report: Report) -> Census:
    """Count. Reads the database only; needs no sealing key."""
    store = report.store
    head = store.head()[0]
    found = Census(
        at=report.at,
        installation=store.installation(),
        head=head,
        last_event_at=store.last_event_at(),
        checkpoint=store.last_checkpoint(),
        counts=store.counts(),
        findings=Counter((f.kind, f.urgent) for f in report.findings),
        behind={name: max(head - follower.seq, 0) for name, follower in store.followers().items()},
    )
    found.orphans |= Counter(stranger=sum(1 for f in report.findings if f.kind == Subject.STRANGER))
    for situation in store.fleet():
        found.standings.append(_standing(report, situation))
        _count_keys(found, report, situation)
    known = {standing.name for standing in found.standings}
    found.standings += [
        Standing(name, managed.provider_name, "never_rotated", "never_rotated", ("never_rotated",))
        for name, managed in report.managed.items()
        if name not in known
    ]
    return found


def _standing(report: Report, situation: Situation) -> Standing:
    name = situation.credential.name
    conditions = report.conditions(name, situation)
    living = [moment for version in situation.versions if (moment := _since(version)) is not None]
    current = situation.current
    return Standing(
        name=name,
        provider=situation.credential.provider,
        status=conditions[0].type if conditions else "ok",
        reason=conditions[0].reason if conditions else None,
        conditions=tuple({condition.type for condition in conditions}),
        current_since=_since(current) if current else None,
        oldest_since=min(living, default=None),
        next_rotation_at=next_rotation_at(report.question(name, situation)) if name in report.managed else None,
    )


def _since(version: Version) -> datetime | None:
    """When a key that may work was made: by the provider's word, else since when we know of it at least."""
    if not version.state.living or version.awaited:
        return None
    return version.issued_at or version.sent_at or version.current_at or version.created_at


def _count_keys(found: Census, report: Report, situation: Situation) -> None:
    managed = report.named(situation.credential.name) and situation.credential.managed
    for version in _living(situation):
        found.keys[situation.credential.provider, version.state.value] += 1
        if version.state is VersionState.CONDEMNED:
            found.orphans["condemned"] += 1
        elif not managed:
            found.orphans["unmanaged"] += 1
    for placement in situation.placements:
        found.fields[placement.observed.value] += 1


def _living(situation: Situation) -> Iterator[Version]:
    return (v for v in situation.versions if v.state.living and not v.awaited)
