"""When a credential is due: an ordered chain of named checks over stored facts and the clock."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol

from rotator.domain.brownout import Brownout
from rotator.domain.deadlines import HOUR, Deadline, Terms, first_deadline
from rotator.domain.hours import Hours, Span
from rotator.domain.model import Cause, Rotation, Situation

DAY = timedelta(days=1)


class Schedule(Protocol):
    """A compiled cron line with its time zone."""

    def next_after(self, moment: datetime) -> datetime:
        """The first slot later than `moment`, in UTC."""
        ...


@dataclass(frozen=True, kw_only=True)
class Policy:
    """When to rotate and how gently. Neither `rotate_every` nor `cron` means: only by hand."""

    rotate_every: timedelta | None = None
    cron: str | None = None
    timezone: str = "UTC"
    schedule: Schedule | None = field(default=None, compare=False)
    jitter: timedelta = timedelta(0)
    windows: Sequence[Span] = ()
    blackouts: Sequence[Span] = ()
    hours: Hours = field(default=Hours(), compare=False)  # windows and blackouts in their time zone
    max_age: timedelta | None = None  # no key of it works for longer
    grace: timedelta = DAY
    soak: timedelta = DAY
    brownout: Brownout | None = None
    require_idle: timedelta = HOUR
    min_interval: timedelta = HOUR
    max_creates_per_day: int = 5
    settle: timedelta | None = None  # None: the provider's
    hold_alarm: timedelta = timedelta(days=3)
    allow_downtime: bool = False
    first: Literal["issue", "ask", "adopt"] | None = None
    wave_soak: timedelta = timedelta(minutes=15)
    on_probe_failure: Literal["wait", "abandon"] = "wait"
    on_widening: Literal["block", "warn"] = "block"  # a new key that could do more than the current one
    waves: int = 1  # how many the destinations are given a new key in

    @property
    def soaks(self) -> timedelta:
        """How long the waves take to soak, one after the other."""
        return self.wave_soak * (self.waves - 1)

    def terms(self, *, settle: timedelta, can_disable: bool) -> Terms:
        """How long keys may work under it, and what it takes to replace one at such a provider."""
        return Terms(
            max_age=self.max_age,
            grace=self.grace,
            soak=self.soak,
            settle=settle,
            waves=self.soaks,
            can_disable=can_disable,
        )


@dataclass(frozen=True, kw_only=True)
class Due:
    """A rotation should be opened now. `breaks` names the hours that forbid it, and that cannot be waited for."""

    cause: Cause
    message: str
    breaks: Literal["blackout", "window"] | None = None


@dataclass(frozen=True, kw_only=True)
class NotDue:
    """Nothing to do, why, and when that changes (None: not by itself)."""

    reason: str
    message: str
    until: datetime | None


Decision = Due | NotDue


@dataclass(frozen=True, kw_only=True)
class Question:
    """What the checks look at."""

    name: str
    situation: Situation
    policy: Policy
    now: datetime
    living: int | None = None  # how many keys the provider lets live at once
    settle: timedelta = timedelta(0)  # how long it may refuse a new key
    can_disable: bool = True  # False: the soak counts as more grace
    unplaced: bool = False  # a configured destination was never given anything, or was left out
    wanted: Cause | None = None  # MANUAL, COMPROMISED or REHEARSAL where a person asked
    named: bool = True  # by the configuration of this process

    @property
    def managed(self) -> bool:
        """Whether anything new may be opened: neither this process nor the last one that enrolled leaves it out."""
        return self.named and self.situation.credential.managed

    @property
    def terms(self) -> Terms:
        """How long its keys may work, and what it takes to replace one."""
        return self.policy.terms(settle=self.settle, can_disable=self.can_disable)


Check = Callable[[Question], Decision | None]


def why_due(question: Question) -> Decision:
    """The first check that has an answer decides. A pure function of stored facts and the clock."""
    return deciding(question)[1]


def deciding(question: Question) -> tuple[str, Decision]:
    """The name of the check that decides, and what it says."""
    decisions = ((check.__name__, check(question)) for check in CHAIN)
    return next((name, decision) for name, decision in decisions if decision is not None)  # the last one always has


def already_open(question: Question) -> Decision | None:
    """One credential, one open rotation."""
    rotation = question.situation.rotation
    if rotation is None:
        return None
    return NotDue(reason="rotating", message="a rotation is open", until=rotation.not_before)


def unmanaged(question: Question) -> Decision | None:
    """A credential that the configuration does not name any more opens nothing new."""
    if question.managed:
        return None
    return NotDue(reason="unmanaged", message="the configuration does not name it any more", until=None)


def too_many_creates(question: Question) -> Decision | None:
    """`max_creates_per_day` holds for everybody; a leak has its own cap of 3 on top."""
    limit = question.policy.max_creates_per_day + (3 if question.wanted is Cause.COMPROMISED else 0)
    recent = sorted(moment for moment in question.situation.creates if moment > question.now - DAY)
    if len(recent) < limit:
        return None
    # A moment in the future is of a clock that has been set back since: it counts, and is looked at anew in a day.
    until = min(recent[-limit], question.now) + DAY
    return NotDue(reason="max_creates", message=f"{len(recent)} keys were created in 24 hours", until=until)


def paused(question: Question) -> Decision | None:
    """A person has stopped it. A leak passes."""
    credential = question.situation.credential
    if question.wanted is Cause.COMPROMISED or not credential.paused(question.now):
        return None
    return NotDue(reason="paused", message=credential.pause_message, until=credential.paused_until)


def wait_for_a_key(situation: Situation) -> bool:
    """Whether what is being taken away waits for a new key, so that none of its slots is free before there is one.

    No key goes while the current one does not work. Where there is none, a place that serves one of those keys is
    written anew with the next key only.
    """
    reasons = {row.reason for row in situation.retirements}
    served = {"destination_serves_it", "destination_serves_condemned"}
    return bool(reasons & {"current_refused", "no_other_key"}) or (
        situation.current is None and bool(reasons) and reasons <= served
    )


def slot_in_retirement(question: Question) -> Decision | None:
    """A provider with few slots, and ours are taken until the old key is retired."""
    keys = [v for v in question.situation.versions if v.state.living and v.key_id is not None]
    if question.living is None or len(keys) < question.living:
        return None
    if wait_for_a_key(question.situation):
        return None  # `create` says what is in its way
    ends = [r.gone_from for r in question.situation.retirements if r.gone_from is not None]
    message = f"all {question.living} slots hold keys of this credential until the old one is retired"
    return NotDue(reason="slot_in_retirement", message=message, until=min(ends, default=None))


def asked_for(question: Question) -> Decision | None:
    """A person asked: the schedule has no say."""
    if question.wanted is None:
        return None
    return Due(cause=question.wanted, message="asked for")


def too_soon(question: Question) -> Decision | None:
    """Two creates keep `min_interval` between them, whatever the clock or the configuration does."""
    made = last_create(question.situation, question.now)
    if made is None or question.now >= made + question.policy.min_interval:
        return None
    until = min(made, question.now) + question.policy.min_interval
    return NotDue(reason="min_interval", message="a key was created a short while ago", until=until)


def destination_added(question: Question) -> Decision | None:
    """A destination that was added, or left out, gets the current key; no key is created, so no limit holds it."""
    if question.situation.current is None or not question.unplaced or question.wanted is not None:
        return None
    return Due(cause=Cause.ADDED, message="a destination has not been given the current key")


def never_rotated(question: Question) -> Decision | None:
    """The first key is made at once; whether it may be is the engine's to see (a value may stand there)."""
    if question.situation.current is not None:
        return None
    return Due(cause=Cause.FIRST, message="it has no key yet")


def no_schedule(question: Question) -> Decision | None:
    """Neither `rotate_every` nor `cron`, and nothing that ends the current key's time."""
    policy = question.policy
    if policy.rotate_every is not None or policy.schedule is not None or deadline(question) is not None:
        return None
    return NotDue(reason="by_hand", message="rotated only by hand: no rotate_every and no cron", until=None)


def outside_hours(question: Question) -> Decision | None:
    """Windows and blackouts are waited for, until the current key's time would be up before its successor is there."""
    closed, since = question.policy.hours.closed(question.now), due_since(question)
    if closed is None or since is None or question.now < since or _pressing(question):
        return None
    message = f"due since {since:%Y-%m-%d %H:%M} UTC, and {HOURS[closed]}"
    reason = "blackout" if closed == "blackout" else "window"
    return NotDue(reason=reason, message=message, until=next_rotation_at(question))


def slot_to_come(question: Question) -> Decision | None:
    """Neither the period has passed nor the cron slot come; a missed one stays due."""
    planned = planned_at(question)
    if planned is not None and question.now >= planned:
        return None
    return NotDue(reason="not_due", message="not due", until=planned)


HOURS = {"blackout": "a blackout lasts", "window": "no window is open"}
"""The two reasons for which a scheduled rotation does not begin at an hour, in words."""


def slot_reached(question: Question) -> Decision | None:
    """Its time has come. Hours are broken where they cannot be waited for, and the decision says so."""
    end, breaks = deadline(question), question.policy.hours.closed(question.now)
    message = f"due since {due_since(question):%Y-%m-%d %H:%M} UTC"
    if end is not None and (breaks or by_deadline(question)):
        message = f"{end.message}, and {HOURS[breaks]}" if breaks else end.message
    return Due(cause=Cause.SCHEDULE, message=message, breaks=breaks)


CHAIN: tuple[Check, ...] = (
    already_open,
    unmanaged,
    paused,
    destination_added,
    slot_in_retirement,
    too_many_creates,
    asked_for,
    too_soon,
    never_rotated,
    no_schedule,
    outside_hours,
    slot_to_come,
    slot_reached,
)


def last_create(situation: Situation, now: datetime) -> datetime | None:
    """When a key was last asked for: within a day any, and before that the current one."""
    moments, current = list(situation.creates), situation.current
    if current is not None and current.sent_at is not None and current.sent_at <= now:
        moments.append(current.sent_at)
    return max(moments, default=None)


def supply_by(rotation: Rotation, policy: Policy) -> datetime:
    """Until when a person who was asked for a key is to supply it. What replaces a leaked key is wanted at once."""
    return rotation.opened_at + (timedelta(0) if rotation.urgent else policy.hold_alarm)


def next_rotation_at(question: Question) -> datetime | None:
    """When the next scheduled rotation begins as far as times can tell; None without a schedule or a first key."""
    planned, now, hours = planned_at(question), question.now, question.policy.hours
    if planned is None or now < planned or hours.closed(now) is None:
        return planned
    end = deadline(question)
    times = [hours.opens(now), end.start if end is not None else None]
    return min((moment for moment in times if moment is not None), default=None)


def deadline(question: Question) -> Deadline | None:
    """What ends the time of the current key: its `max_age` or the provider's own expiry, whichever comes first."""
    return first_deadline(question.situation, question.terms) if question.situation.current is not None else None


def due_since(question: Question) -> datetime | None:
    """When it falls due, whether its hours are open then or not."""
    times = (_slot(question), planned_at(question))
    return min((moment for moment in times if moment is not None), default=None)


def planned_at(question: Question) -> datetime | None:
    """When the next scheduled rotation falls due, by stored facts alone: jitter, windows and deadlines included.

    A slot outside the hours is moved on to where they begin. Where that is too late for a deadline, the last hours
    before it are taken, and where there are none, the deadline's own start.
    """
    slot, end, hours = _slot(question), deadline(question), question.policy.hours
    if not question.managed:
        return None
    if slot is not None and hours.closed(slot) is not None:
        slot = hours.opens(slot)
    if end is None or (slot is not None and slot <= end.start):
        return slot
    latest = end.start - _jitter(question.name, question.policy.jitter)
    if hours.closed(latest) is None:
        return latest
    return hours.last_open(latest, end.earliest) or end.start


def _slot(question: Question) -> datetime | None:
    """What `rotate_every` or `cron` say."""
    last = question.situation.last_completed_at
    policy = question.policy
    if last is None:
        return None
    delay = _jitter(question.name, policy.jitter)
    if policy.schedule is not None:
        return policy.schedule.next_after(last) + delay
    if policy.rotate_every is not None:
        return last + policy.rotate_every + delay
    return None


def by_deadline(question: Question) -> bool:
    """Whether a deadline makes the next rotation due, and not the schedule."""
    slot, planned = _slot(question), planned_at(question)
    return planned is not None and (slot is None or planned < slot)


def _pressing(question: Question) -> bool:
    """Whether the current key's successor cannot wait any longer."""
    end = deadline(question)
    return end is not None and question.now >= end.start


def _jitter(name: str, most: timedelta) -> timedelta:
    """A share of `most` that is always the same for this name, so that a fleet spreads out and stays so."""
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32
    return most * share
