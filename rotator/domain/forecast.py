"""What lies ahead of a credential: the policy's own checks and the plans' own times, on a clock that runs ahead.

It is assumed that nothing fails, that passes come in time, and that every gate of a retirement holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from rotator.domain.events import Subject
from rotator.domain.model import (
    NEW_KEYS,
    REUSES,
    Cause,
    Retirement,
    RetirementId,
    RetirementReason,
    RetirementState,
    Rotation,
    RotationId,
    RotationState,
    Situation,
    Version,
    VersionId,
    VersionState,
    creates_of_a_day,
)
from rotator.domain.plans import drain_from, pace, taking_away, to_be_tried, trial
from rotator.domain.policy import Due, NotDue, Question, due_since, supply_by, why_due


@dataclass(frozen=True, kw_only=True)
class Course:
    """What the provider makes of a rotation, besides what the checks look at."""

    can_tell: bool = True  # whether a new key is tried, and over how long
    supplied: bool = False  # a person makes new keys
    can_delete: bool = True  # False: a person takes old keys away
    life: timedelta | None = None  # after which it ends a key by itself
    ready_at: datetime | None = None  # when the rotation that is open now can go on; None: not by itself


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Why a rotation that is due does not begin, and for how long. `until` None: not by itself."""

    reason: str
    message: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Coming:
    """A rotation ahead, or the one that is open."""

    cause: Cause
    message: str
    breaks: Literal["blackout", "window"] | None = None
    version: int | None  # that becomes current
    due_at: datetime
    begins_at: datetime
    completes_at: datetime | None = None  # None: somebody has to help
    holds: tuple[Hold, ...] = ()  # between due and begin
    living: int  # keys of the credential that live at once, the new one included
    supply_by: datetime | None = None  # a person has to make the key; the plan counts from the moment it is asked for
    open: bool = False  # it has begun already


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """An old key on its way out."""

    version: Version
    why: RetirementReason
    replaced_by: int | None = None  # the version that became current instead; None: on its way out already
    disabled_at: datetime | None = None  # None: it was before, or it cannot be disabled
    deleted_at: datetime | None = None  # None: somebody has to help


@dataclass(kw_only=True)
class Forecast:
    """Everything ahead of one credential, each list in the order of time."""

    rotations: list[Coming] = field(default_factory=list)
    leaving: list[Leaving] = field(default_factory=list)
    then: NotDue | None = None  # what the checks say at the end
    holds: list[Hold] = field(default_factory=list)  # of what is due, and does not begin before the end


def forecast(question: Question, course: Course, until: datetime) -> Forecast:
    """All rotations that begin until a moment, and what becomes of the keys that they replace."""
    return _Ahead(question, course).run(until)


class _Ahead:
    """A situation that moves on by itself."""

    def __init__(self, question: Question, course: Course) -> None:
        self._question = question
        self._course = course
        self._sent = list(question.situation.creates)
        self._completes: datetime | None = None
        self._found = Forecast()
        self._change(retirements=[_tried(row) for row in question.situation.retirements])
        if question.situation.rotation is not None:
            self._begin_from(question.situation.rotation)
        self._leaving = {row.id: self._known(row) for row in question.situation.retirements}

    def run(self, until: datetime) -> Forecast:
        """To the end, and then only as far as what has begun by then needs."""
        while True:
            self._settle_what_is_ready()
            decision = why_due(self._asked()) if self._now <= until else None
            if isinstance(decision, Due):
                self._open(decision)
                continue
            if decision is not None:
                self._held_by(decision)
            moments = [m for m in self._moments(decision, until) if m > self._now]
            if not moments:
                break
            self._question = replace(self._question, now=min(moments))
        self._found.leaving = sorted(self._leaving.values(), key=lambda gone: gone.version.number)
        return self._found

    # the clock

    @property
    def _now(self) -> datetime:
        return self._question.now

    @property
    def _situation(self) -> Situation:
        return self._question.situation

    def _asked(self) -> Question:
        """The question of this moment: of the creates, only those of a day count."""
        self._change(creates=creates_of_a_day(self._sent, self._now))
        return self._question

    def _change(self, **facts: object) -> None:
        situation = replace(self._situation, **facts)  # type: ignore[arg-type]  # fields of a Situation
        self._question = replace(self._question, situation=situation)

    def _moments(self, decision: NotDue | None, until: datetime) -> Iterator[datetime]:
        """When anything may be another than now."""
        if decision is not None:
            asked = (decision.until, due_since(self._question), self._situation.credential.paused_until)
            yield from (moment for moment in asked if moment is not None and moment <= until)
        if self._completes is not None:
            yield self._completes
        for row in self._situation.retirements:
            moment = self._ready_at(row)
            if moment is not None:
                yield moment

    def _unpaused(self, moment: datetime) -> datetime | None:
        """The first moment from this one on at which no pause holds; None: it has no end."""
        credential = self._situation.credential
        return credential.paused_until if credential.paused(moment) else moment

    # rotations

    def _begin_from(self, row: Rotation) -> None:
        """A rehearsal that is open takes back what it made, within minutes: it leads nowhere."""
        if row.cause is not Cause.REHEARSAL:
            self._join(row)
            return
        others = [version for version in self._situation.versions if version.id != row.target_id]
        self._change(rotation=None, deliveries=(), versions=others)

    def _join(self, row: Rotation) -> None:
        """The rotation that is open now goes on from where it is."""
        target = self._situation.target
        living = len(_keys(self._situation)) + (row.target_id is None)
        self._completes = self._ends(row)
        if target is None:
            target = self._new_version()
            self._change(versions=[*self._situation.versions, target], rotation=replace(row, target_id=target.id))
        self._found.rotations.append(
            Coming(
                cause=row.cause,
                message=row.message or "under way",
                version=target.number,
                due_at=row.opened_at,
                begins_at=row.opened_at,
                completes_at=self._completes,
                living=living,
                open=True,
            )
        )

    def _ends(self, row: Rotation) -> datetime | None:
        ready = self._course.ready_at
        if ready is None:
            return None
        ready = max(ready, self._now)
        if row.state is RotationState.CREATED and row.first_success_at is not None:
            ready = max(ready, row.first_success_at + self._takes(row.cause))
        elif row.state in (RotationState.PLANNED, RotationState.CREATED):
            ready += self._takes(row.cause)
        elif row.wave_until is not None:
            ready = max(ready, row.wave_until)
        return ready if row.urgent else self._unpaused(ready)

    def _takes(self, cause: Cause) -> timedelta:
        """How long a rotation waits between its first step and its last, where nothing fails."""
        soaks = self._question.policy.soaks if cause in NEW_KEYS else timedelta(0)
        return trial(cause, self._question.settle, can_tell=self._course.can_tell) + soaks

    def _open(self, due: Due) -> None:
        now, policy = self._now, self._question.policy
        reuse = due.cause in REUSES
        target = self._situation.current if reuse else self._new_version()
        assert target is not None  # only a living key is used again
        row = Rotation(
            id=RotationId(f"ahead {len(self._found.rotations)}"),
            credential_id=self._situation.credential.id,
            state=RotationState.PLANNED,
            cause=due.cause,
            account=target.account,
            opened_at=now,
            grace=policy.grace,
            soak=policy.soak,
            target_id=target.id,
        )
        since = due_since(self._question) if due.cause is Cause.SCHEDULE else None
        if not reuse:
            self._sent.append(now)
            self._change(versions=[*self._situation.versions, target])
        self._completes = now + self._takes(due.cause)
        if self._found.holds:
            self._found.holds[-1] = replace(self._found.holds[-1], until=now)
        self._found.rotations.append(
            Coming(
                cause=due.cause,
                message=due.message,
                breaks=due.breaks,
                version=target.number,
                due_at=since or now,
                begins_at=now,
                completes_at=self._completes,
                holds=tuple(self._found.holds),
                living=len(_keys(self._situation)),
                supply_by=supply_by(row, policy) if self._course.supplied and not reuse else None,
            )
        )
        self._found.holds = []
        self._change(rotation=row)

    def _new_version(self) -> Version:
        now, life = self._now, self._course.life
        number = max((version.number for version in self._situation.versions), default=0) + 1
        return Version(
            id=VersionId(f"ahead {number}"),
            credential_id=self._situation.credential.id,
            number=number,
            state=VersionState.PENDING,
            account="",
            label="",
            created_at=now,
            key_id=f"ahead {number}",
            sent_at=now,
            issued_at=now,
            expires_at=None if life is None else now + life,
        )

    def _held_by(self, decision: NotDue) -> None:
        """Note what keeps a rotation that is due from its beginning."""
        self._found.then = decision
        holds, since = self._found.holds, due_since(self._question)
        if self._situation.current is None and self._question.managed:
            since = since or self._now
        if decision.reason in ("rotating", "unmanaged") or since is None or self._now < since:
            return
        if decision.reason == "slot_in_retirement" and isinstance(why_due(replace(self._question, living=None)), Due):
            self._free_slots()
        if holds and holds[-1].reason == decision.reason:
            holds[-1] = replace(holds[-1], until=decision.until)
            return
        if holds:
            holds[-1] = replace(holds[-1], until=self._now)
            since = self._now
        holds.append(Hold(reason=decision.reason, message=decision.message, since=since, until=decision.until))

    # what is ready

    def _settle_what_is_ready(self) -> None:
        """What has come to its time is done, until nothing is left at this moment."""
        while True:
            row = next((r for r in self._situation.retirements if self._is_ready(r)), None)
            if row is not None:
                self._take_away(row)
            elif self._completes is not None and self._completes <= self._now:
                self._promote()
            else:
                return

    def _promote(self) -> None:
        row, target, current = self._situation.rotation, self._situation.target, self._situation.current
        assert row is not None
        assert target is not None
        now, self._completes = self._now, None
        replaced = [] if current is None or current.id == target.id else [current, *_kept(self._situation)]
        if current is not None and replaced:
            self._set(replace(current, state=VersionState.PREVIOUS))
        self._set(replace(target, state=VersionState.CURRENT, current_at=target.current_at or now))
        rows = [self._retirement(version, row.grace, row.soak, target.number) for version in replaced]
        back = self._situation.retirement_of(target.id)
        if back is not None:
            self._leaving.pop(back.id)
        facts = {} if row.cause in REUSES else {"last_completed_at": now}
        self._change(
            rotation=None, retirements=[*(r for r in self._situation.retirements if r != back), *rows], **facts
        )
        self._question = replace(self._question, unplaced=False)

    def _free_slots(self) -> None:
        """A slot is needed: what a person had kept is taken away after all."""
        policy = self._question.policy
        rows = [self._retirement(version, policy.grace, policy.soak) for version in _kept(self._situation)]
        self._change(retirements=[*self._situation.retirements, *rows])

    def _retirement(self, version: Version, grace: timedelta, soak: timedelta, by: int | None = None) -> Retirement:
        why = RetirementReason.SUPERSEDED if version.compromised_at is None else RetirementReason.COMPROMISED
        now, can_disable = self._now, self._question.can_disable
        grace, soak = pace(
            why, grace=grace, soak=soak, settle=self._question.settle, labels=True, can_disable=can_disable
        )
        row = Retirement(
            id=RetirementId(f"ahead {version.number} {len(self._leaving)}"),
            credential_id=version.credential_id,
            version_id=version.id,
            state=RetirementState.PLANNED,
            why=why,
            opened_at=now,
            grace=grace,
            soak=soak,
            not_before=drain_from(now, grace, soak, can_disable=can_disable),
        )
        self._leaving[row.id] = Leaving(version=version, why=why, replaced_by=by)
        return row

    def _known(self, row: Retirement) -> Leaving:
        version = self._situation.version(row.version_id)
        assert version is not None  # loaded with its retirement
        return Leaving(version=version, why=row.why)

    def _is_ready(self, row: Retirement) -> bool:
        moment = self._ready_at(row)
        return moment is not None and moment <= self._now

    def _ready_at(self, row: Retirement) -> datetime | None:
        rotation = self._situation.rotation
        if row.blocked or (rotation is not None and rotation.cause is Cause.PUT_BACK):
            return None
        moment = max(row.not_before or self._now, self._now)
        passes = row.why is RetirementReason.COMPROMISED or (rotation is not None and rotation.urgent)
        return moment if passes else self._unpaused(moment)

    def _take_away(self, row: Retirement) -> None:
        step = taking_away(row, can_disable=self._question.can_disable)
        version, gone = self._situation.version(row.version_id), self._leaving[row.id]
        assert step is not None
        assert version is not None
        later = replace(row, state=RetirementState(step.end), not_before=None, reason=None)
        if step.verb is Subject.ENABLE:
            self._set(replace(version, state=VersionState.PREVIOUS))
            self._leaving.pop(row.id)
        elif step.verb is Subject.DISABLE:
            later = replace(later, not_before=self._now + row.soak)
            self._leaving[row.id] = replace(gone, disabled_at=self._now)
            if version.state is not VersionState.CONDEMNED:
                self._set(replace(version, state=VersionState.DISABLED))
        elif step.verb is Subject.CONFIRM:
            later = replace(later, unconfirmed_until=None, not_before=row.unconfirmed_until)
        elif step.verb is Subject.DELETE and not self._course.can_delete:
            later = replace(row, blocked=True)
        elif step.verb is Subject.DELETE:
            self._leaving[row.id] = replace(gone, deleted_at=self._now)
            self._set(replace(version, state=VersionState.RETIRED))
        rows = [later if r.id == row.id else r for r in self._situation.retirements]
        self._change(retirements=[r for r in rows if r.open])

    def _set(self, version: Version) -> None:
        """Put a version's new row in; of the retired ones only the newest stays, as on record."""
        versions = [version if v.id == version.id else v for v in self._situation.versions]
        newest = max((v.number for v in versions if v.state is VersionState.RETIRED), default=0)
        self._change(versions=[v for v in versions if v.state.living or v.number == newest])


def _keys(situation: Situation) -> list[Version]:
    return [v for v in situation.versions if v.state.living and v.key_id is not None]


def _tried(row: Retirement) -> Retirement:
    """As after its brownout, which leaves the times of a retirement as they are."""
    if row.state is not RetirementState.BROWNED_OUT and not to_be_tried(row):
        return row
    return replace(row, state=RetirementState.PLANNED, browned_out=True, not_before=row.gone_from)


def _kept(situation: Situation) -> list[Version]:
    """Living versions that nothing takes away, though they are not current: a person has reactivated them."""
    replaced = (VersionState.PREVIOUS, VersionState.DISABLED)
    found = (v for v in situation.versions if v.state in replaced and situation.retirement_of(v.id) is None)
    return [v for v in found if situation.target is None or v.id != situation.target.id]
