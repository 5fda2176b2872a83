"""The lives of keys and the courses of rotations, read from the trail alone.

Each remembers the events that it rests on. A key's life begins with the request for it, so that none is older than it
is said to be; where the trail does not tell when it was made, it begins when it was first seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rotator.domain.events import Outcome, Subject, name
from rotator.domain.model import VersionState

Json = Mapping[str, Any]


@dataclass
class Life:
    """One key, managed or a stranger, from what was seen of it."""

    credential: str
    version: int | None  # None: a stranger, which nobody manages
    key_id: str | None
    seen_at: datetime  # first on record
    made_at: datetime | None  # None: the trail does not say
    current_at: datetime | None = None
    disabled_at: datetime | None = None
    ended_at: datetime | None = None
    proof: str | None = None  # how it is known to be dead
    sent: bool = False  # whether its making was asked for, and nobody has heard what came of it
    events: list[int] = field(default_factory=list)

    @property
    def stopped_at(self) -> datetime | None:
        """Since when it works no more."""
        return self.disabled_at or self.ended_at

    def lives_at(self, moment: datetime) -> bool:
        """Whether it may have worked then."""
        begin = self.made_at or self.seen_at
        return begin <= moment and (self.stopped_at is None or self.stopped_at > moment)

    def overlaps(self, since: datetime, until: datetime) -> bool:
        """Whether it may have worked at any time between."""
        begin = self.made_at or self.seen_at
        return begin < until and (self.stopped_at is None or self.stopped_at > since)

    def oldest(self, until: datetime) -> timedelta:
        """How old it became while it worked, up to a moment; at least that where its making was not seen."""
        end = min(until, self.stopped_at or until)
        return max(end - (self.made_at or self.seen_at), timedelta(0))


@dataclass
class Course:
    """One rotation, from what was seen of it."""

    id: str
    credential: str
    opened_at: datetime
    cause: str | None
    why: str | None
    actor: str
    version: int | None = None
    steps: dict[str, dict[str, str]] = field(default_factory=dict)
    ended_at: datetime | None = None
    outcome: str | None = None
    reason: str | None = None
    replaced: list[int] = field(default_factory=list)  # the versions that it sent into retirement
    events: list[int] = field(default_factory=list)


_STEPS = (Subject.CREATE, Subject.AUTHENTICATE, Subject.PUSH, Subject.VERIFY, Subject.PROMOTE)
EXCEPTIONS = {
    name(subject, outcome)
    for subject, outcome in (
        (Subject.ABANDON, Outcome.SUCCEEDED),
        (Subject.END_SOAK, Outcome.SUCCEEDED),
        (Subject.FORGET, Outcome.SUCCEEDED),
        (Subject.HOURS_BROKEN, Outcome.FOUND),
        (Subject.IGNORE, Outcome.SUCCEEDED),
        (Subject.MAX_AGE, Outcome.FOUND),
        (Subject.OVERWRITE, Outcome.SUCCEEDED),
        (Subject.REACTIVATE, Outcome.SUCCEEDED),
        (Subject.RECONCILE, Outcome.CLEARED),
        (Subject.REPLACE, Outcome.SUCCEEDED),
        (Subject.RESUME, Outcome.SUCCEEDED),
        (Subject.RETIRE, Outcome.SUCCEEDED),
        (Subject.REVOKE, Outcome.STARTED),
        (Subject.ROLLBACK, Outcome.SUCCEEDED),
        (Subject.UNMANAGE, Outcome.SUCCEEDED),
        (Subject.WITHOUT, Outcome.SUCCEEDED),
    )
}
"""Where a person went past what the policy would have done, or the policy could not be kept."""


class Ledger:
    """Reads the trail from its beginning, event by event."""

    def __init__(self) -> None:
        self.managed: dict[str, list[tuple[datetime, datetime | None]]] = {}  # when the configuration named each
        self.lives: dict[tuple[str, int], Life] = {}
        self.strangers: list[Life] = []
        self.courses: dict[str, Course] = {}
        self.told: list[Json] = []  # pauses, exceptions, policies, checkpoints, as they came
        self.first: tuple[int, datetime] | None = None
        self.last: tuple[int, datetime, str] | None = None
        self._opened: dict[str, Json] = {}  # credential → the `rotation.started` whose rotation has done nothing yet
        self._on: Mapping[str, Callable[[Json, datetime], None]] = {
            name(Subject.ENROLL, Outcome.SUCCEEDED): self._enrolled,
            name(Subject.UNMANAGE, Outcome.SUCCEEDED): self._unmanaged,
            name(Subject.MOVE, Outcome.SUCCEEDED): self._moved,
            name(Subject.CREATE, Outcome.STARTED): self._asked_for,
            name(Subject.CREATE, Outcome.SUCCEEDED): self._made,
            name(Subject.CREATE, Outcome.FAILED): self._not_made,
            name(Subject.ADOPT, Outcome.SUCCEEDED): self._adopted,
            name(Subject.ACCEPT, Outcome.SUCCEEDED): self._adopted,
            name(Subject.CONDEMN, Outcome.SUCCEEDED): self._made,
            name(Subject.PROMOTE, Outcome.SUCCEEDED): self._promoted,
            name(Subject.DISABLE, Outcome.SUCCEEDED): self._disabled,
            name(Subject.BROWNOUT, Outcome.SUCCEEDED): self._disabled,
            name(Subject.ENABLE, Outcome.SUCCEEDED): self._enabled,
            name(Subject.RESTORE, Outcome.SUCCEEDED): self._enabled,
            name(Subject.REVOKE, Outcome.SUCCEEDED): self._disabled,
            name(Subject.DELETE, Outcome.SUCCEEDED): self._deleted,
            name(Subject.RETIREMENT, Outcome.SUCCEEDED): self._retired,
            name(Subject.RETIREMENT, Outcome.FAILED): self._kept,
            name(Subject.STRANGER, Outcome.FOUND): self._stranger,
            name(Subject.STRANGER, Outcome.CLEARED): self._no_stranger,
        }

    def read(self, events: Iterable[Json]) -> Ledger:
        """All of them, in order."""
        for event in events:
            at = datetime.fromisoformat(event["at"])
            self.first = self.first or (event["seq"], at)
            self.last = (event["seq"], at, event["hash"])
            self._follow(event, at)
            act = self._on.get(event["event"])
            if act is not None:
                act(event, at)
            subject = event["event"].partition(".")[0]
            kept = subject in (Subject.PAUSE, Subject.UNPAUSE, Subject.POLICY, Subject.CHECKPOINT)
            if kept or event["event"] in EXCEPTIONS:
                self.told.append(event)
        return self

    # credentials

    def _enrolled(self, event: Json, at: datetime) -> None:
        spans = self.managed.setdefault(event["credential"], [])
        if not spans or spans[-1][1] is not None:
            spans.append((at, None))

    def _unmanaged(self, event: Json, at: datetime) -> None:
        spans = self.managed.get(event["credential"])
        if spans:
            spans[-1] = (spans[-1][0], at)

    def _moved(self, event: Json, at: datetime) -> None:
        former, now = event["detail"]["from"], event["credential"]
        self.managed[now] = self.managed.pop(former, [(at, None)])
        for key in [key for key in self.lives if key[0] == former]:
            life = self.lives.pop(key)
            life.credential = now
            self.lives[now, key[1]] = life
        for stranger in self.strangers:
            stranger.credential = now if stranger.credential == former else stranger.credential
        for course in self.courses.values():
            course.credential = now if course.credential == former else course.credential

    # keys

    def _life(self, event: Json, at: datetime) -> Life:
        key = (event["credential"], event["version"])
        if key not in self.lives:
            self.lives[key] = Life(event["credential"], event["version"], event["key_id"], at, None)
        life = self.lives[key]
        life.key_id = event["key_id"] or event["detail"].get("key") or life.key_id
        life.events.append(event["seq"])
        return life

    def _asked_for(self, event: Json, at: datetime) -> None:
        if event["version"] is None:
            return
        life = self._life(event, at)
        life.sent, life.made_at = True, at  # no key is older than the request for it

    def _made(self, event: Json, at: datetime) -> None:
        if event["reason"] == "reused" or event["version"] is None:
            return
        life = self._life(event, at)
        life.sent, life.made_at = False, life.made_at or at

    def _not_made(self, event: Json, at: datetime) -> None:
        if event["version"] is not None and event["reason"] != "lost_answer":
            life = self._life(event, at)
            life.sent, life.ended_at, life.proof = False, at, "never made"

    def _adopted(self, event: Json, at: datetime) -> None:
        if event["version"] is None:
            return
        life = self._life(event, at)
        told = event["detail"].get("issued_at")
        life.made_at = datetime.fromisoformat(told) if told else None
        if event["reason"] == VersionState.CURRENT or event["event"].startswith(Subject.ACCEPT):
            life.current_at = at
        if event["reason"] == VersionState.RETIRED:
            life.ended_at, life.proof = at, "a person said that it is left alone"

    def _promoted(self, event: Json, at: datetime) -> None:
        life = self._life(event, at)
        life.current_at = life.current_at or at

    def _disabled(self, event: Json, at: datetime) -> None:
        life = self._life(event, at)
        life.disabled_at = life.disabled_at or at

    def _enabled(self, event: Json, at: datetime) -> None:
        self._life(event, at).disabled_at = None

    def _deleted(self, event: Json, at: datetime) -> None:
        life = self._life(event, at)
        life.ended_at, life.proof, life.sent = at, event["detail"].get("confirmed"), False

    def _retired(self, event: Json, at: datetime) -> None:
        life = self._life(event, at)
        if life.ended_at is None:
            life.ended_at, life.proof, life.sent = at, "there was never a key", False

    def _kept(self, event: Json, at: datetime) -> None:
        if event["reason"] == "kept" and event["version"] is not None:
            life = self._life(event, at)
            life.ended_at, life.proof = at, "a person said that it is not ours"

    # strangers

    def _stranger(self, event: Json, at: datetime) -> None:
        told = event["detail"].get("issued_at")
        known = next((s for s in self.strangers if s.key_id == event["key_id"] and s.ended_at is None), None)
        if known is None:
            made_at = datetime.fromisoformat(told) if told else None
            known = Life(event["credential"], None, event["key_id"], at, made_at)
            self.strangers.append(known)
        known.events.append(event["seq"])

    def _no_stranger(self, event: Json, at: datetime) -> None:
        if event["reason"] == "changed":
            return
        for known in self.strangers:
            if known.key_id == event["key_id"] and known.ended_at is None:
                known.ended_at, known.proof = at, "not listed any more, or on record"
                known.events.append(event["seq"])

    # rotations

    def _follow(self, event: Json, at: datetime) -> None:
        """Note what happens under a rotation's id. Its opening comes before it has one."""
        if event["event"] == name(Subject.ROTATION, Outcome.STARTED) and event["credential"]:
            self._opened[event["credential"]] = event
        if event["rotation"] is None:
            return
        course = self.courses.get(event["rotation"]) or self._opening(event, at)
        course.events.append(event["seq"])
        subject, _, outcome = event["event"].rpartition(".")
        if subject in _STEPS and event["destination"] is None and event["key_id"] is not None:
            course.version = event["version"]
        if subject in _STEPS and outcome in (Outcome.STARTED, Outcome.SUCCEEDED):
            times = course.steps.setdefault(subject, {})
            if outcome == Outcome.SUCCEEDED or outcome not in times:
                times[outcome] = event["at"]
        if subject == Subject.ROTATION and outcome in (Outcome.SUCCEEDED, Outcome.FAILED):
            course.ended_at, course.outcome, course.reason = at, outcome, event["reason"]
        if event["event"] == name(Subject.RETIREMENT, Outcome.STARTED) and event["version"] is not None:
            course.replaced.append(event["version"])

    def _opening(self, event: Json, at: datetime) -> Course:
        opened = self._opened.pop(event["credential"], None)
        told = opened or event
        course = Course(
            id=event["rotation"],
            credential=event["credential"],
            opened_at=datetime.fromisoformat(told["at"]) if opened else at,
            cause=opened["reason"] if opened else None,
            why=opened["detail"].get("message") if opened else None,
            actor=told["actor"],
            events=[opened["seq"]] if opened else [],
        )
        self.courses[course.id] = course
        return course
