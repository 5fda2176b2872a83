"""Notices: what a person should be told, to whom, when, and when again. Pure functions of rows, events and the clock.

There are two kinds. What *lasts* (a finding, a credential that is blocked or overdue) is told when it begins, again
from time to time, and when it is over. What *happened* (a rotation was completed, a person revoked a key) is told once.
Each route keeps a row of everything it has yet to say, or has said and that still holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Literal, Protocol

from rotator.domain.events import Outcome, Subject, name
from rotator.domain.hours import Hours

DIGEST = "digest"
"""The key of the row that says when a route's last digest was told."""

BLOCKED, OVERDUE = "credential.blocked", "credential.overdue"
"""What lasts besides findings, as a route's `events` names it: the conditions of `status` that exit 1."""

NAMES = frozenset({BLOCKED, OVERDUE, *(name(s, o) for s in Subject for o in Outcome)})
"""All that `events` can name."""


class Severity(StrEnum):
    """Keys or their readers are in danger; a person should look; good to know."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"

    def reaches(self, least: Severity) -> bool:
        """Whether it is at least as severe."""
        order = list(Severity)
        return order.index(self) <= order.index(least)


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One thing that a person should know: what, where, why, and what to do."""

    key: str  # the same key is the same thing
    event: str
    severity: Severity
    lasts: bool
    message: str
    since: datetime
    seq: int  # the end of the trail when it was noticed: what is told of a credential is in this order
    credential: str | None = None
    provider: str | None = None
    destination: str | None = None
    reason: str | None = None
    remedy: str | None = None
    owner: str | None = None
    runbook: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


_VERBS = (
    *(Subject.ADOPT, Subject.SUPPLY, Subject.RESUME, Subject.ROLLBACK, Subject.REACTIVATE, Subject.RETIRE),
    *(Subject.PAUSE, Subject.UNPAUSE, Subject.FORGET, Subject.WITHOUT, Subject.END_SOAK, Subject.ACCEPT),
    *(Subject.OVERWRITE, Subject.IGNORE, Subject.RECONCILE, Subject.MOVE, Subject.UNMANAGE),
)

HAPPENINGS: Mapping[str, Severity] = {
    **dict.fromkeys((name(verb, Outcome.SUCCEEDED) for verb in _VERBS), Severity.INFO),
    name(Subject.ROTATION, Outcome.SUCCEEDED): Severity.INFO,
    name(Subject.RETIREMENT, Outcome.SUCCEEDED): Severity.INFO,
    name(Subject.REHEARSAL, Outcome.SUCCEEDED): Severity.INFO,
    name(Subject.ROTATION, Outcome.FAILED): Severity.WARNING,
    name(Subject.REHEARSAL, Outcome.FAILED): Severity.WARNING,
    name(Subject.BROWNOUT, Outcome.FAILED): Severity.WARNING,
    name(Subject.REQUEST, Outcome.FAILED): Severity.WARNING,
    name(Subject.REVOKE, Outcome.SUCCEEDED): Severity.WARNING,
    name(Subject.COMPROMISED, Outcome.SUCCEEDED): Severity.CRITICAL,
    name(Subject.REVOKE, Outcome.STARTED): Severity.CRITICAL,
}
"""What is told once, whatever a route's `events`. The other events are steps on the way to these, or to what lasts."""


def happened(event: Mapping[str, Any], **whose: Any) -> Notice:
    """The notice of one event of the trail, in the shape of an export. `whose`: what the configuration adds."""
    begun = begins(event["event"])
    return Notice(
        key=f"event:{event['seq']}",
        event=event["event"],
        severity=Severity.WARNING if begun else HAPPENINGS.get(event["event"], Severity.INFO),
        lasts=False,
        message=_sentence(event),
        since=datetime.fromisoformat(event["at"]),
        seq=event["seq"],
        credential=event["credential"],
        destination=event["detail"].get("address") or event["destination"],
        reason=event["reason"],
        **whose,
    )


def _sentence(event: Mapping[str, Any]) -> str:
    subject, _, outcome = event["event"].partition(".")
    version = f"version {event['version']}" if event["version"] is not None else ""
    which = ", ".join(part for part in (version, event["key_id"] or "") if part)
    why = event["detail"].get("message") or event["detail"].get("because")
    said = f"{subject.replace('_', ' ')} {outcome}" + (f" ({which})" if which else "")
    return f"{said}: {why}" if isinstance(why, str) and why else f"{said}, by {event['actor']}"


def begins(event: str) -> bool:
    """Whether an event begins what lasts: it is told as that, unless it was over before anybody looked."""
    return event.endswith((f".{Outcome.FOUND}", f".{Outcome.BLOCKED}"))


class Schedule(Protocol):
    """A compiled cron line with its time zone."""

    def next_after(self, moment: datetime) -> datetime:
        """The first slot later than `moment`, in UTC."""
        ...


@dataclass(frozen=True, kw_only=True)
class Route:
    """What goes to one receiver, and when."""

    name: str
    severity: Severity = Severity.WARNING
    events: Sequence[str] = ()  # patterns such as `drift.*`; none: what lasts, and HAPPENINGS
    reach: Mapping[str, str] | None = None  # the credentials it is for → their providers; None: all
    group_by: Literal["provider", "credential", "owner", "route"] = "provider"
    group_wait: timedelta = timedelta(seconds=30)
    group_interval: timedelta = timedelta(minutes=5)
    repeat: timedelta = timedelta(days=1)  # 0: it is not told again
    resolved: bool = True  # it is told when it is over
    quiet: Hours | None = None  # quiet in its windows
    passes: Severity = Severity.CRITICAL  # what is told in quiet hours all the same
    digest: Schedule | None = None

    def wants(self, notice: Notice) -> bool:
        """Whether it is for this route. What is about no credential is for all, or for all of its provider."""
        if not notice.severity.reaches(self.severity):
            return False
        if self.events and not any(fnmatchcase(notice.event, pattern) for pattern in self.events):
            return False
        if not (self.events or notice.lasts or begins(notice.event) or notice.event in HAPPENINGS):
            return False
        if self.reach is None or (notice.credential is None and notice.provider is None):
            return True
        if notice.credential is None:
            return notice.provider in self.reach.values()
        return notice.credential in self.reach

    def group(self, notice: Notice) -> str:
        """What is told in one message. A credential is always in one group: that keeps what is told of it in order."""
        if self.digest is not None or self.group_by == "route":
            return ""
        return getattr(notice, self.group_by) or notice.provider or ""

    def is_quiet(self, now: datetime) -> bool:
        """Whether only what passes is told now."""
        return self.quiet is not None and self.quiet.closed(now) is None


class State(StrEnum):
    """What a route has to say of a notice."""

    NEW = "new"  # nobody was told yet
    TOLD = "told"  # it lasts, and that was told
    OVER = "over"  # it was told, and is over now
    PASSED = "passed"  # it came and went before anybody was told
    DONE = "done"  # nothing more; kept for a while, so that the next message to its group waits


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A route's row of one notice."""

    route: str
    notice: Notice
    state: State
    changed_at: datetime  # when there was first something to say
    times: int = 1  # how often it came since it was last told
    told_at: datetime | None = None

    @property
    def key(self) -> str:
        """The notice's."""
        return self.notice.key

    @property
    def pending(self) -> bool:
        """Whether there is something to say that nobody was told."""
        return self.state in (State.NEW, State.OVER, State.PASSED)


Rows = Mapping[str, Outgoing]
"""The rows of one route, by key."""


def take_in(
    route: Route, rows: Rows, events: Iterable[Notice], lasting: Iterable[Notice], now: datetime, head: int = 0
) -> Rows:
    """The rows after these events of the trail, up to `head`, where this lasts. May be repeated with the same ones."""
    lasts = {notice.key: notice for notice in lasting}
    holds = {key: notice for key, notice in lasts.items() if route.wants(notice)}
    unwanted = lasts.keys() - holds.keys()  # by a route that was narrowed: it is not over
    found = {key: row for key, row in rows.items() if key not in unwanted and not _forgotten(route, row, now)}
    for notice in holds.values():
        found[notice.key] = _holds(route, found.get(notice.key), notice, now)
    for key, row in list(found.items()):
        if row.notice.lasts and key not in holds and row.state in (State.NEW, State.TOLD):
            found[key] = _ended(route, row, now, head)
    for notice in events:
        if notice.key not in found and route.wants(notice) and not _is_told_as_lasting(notice, found):
            state = State.PASSED if begins(notice.event) else State.NEW
            found[notice.key] = Outgoing(route=route.name, notice=notice, state=state, changed_at=now)
    if route.digest is not None and DIGEST not in found:
        begun = Notice(key=DIGEST, event=DIGEST, severity=Severity.INFO, lasts=False, message="", since=now, seq=0)
        found[DIGEST] = Outgoing(route=route.name, notice=begun, state=State.DONE, changed_at=now, told_at=now)
    return found


def _forgotten(route: Route, row: Outgoing, now: datetime) -> bool:
    ended = row.state is State.DONE and row.key != DIGEST
    return ended and (row.told_at is None or _past(row.told_at, route.group_interval, now))


def _past(moment: datetime, span: timedelta, now: datetime) -> bool:
    """Whether that long has passed. A moment to come is of a clock that was set back since: nobody waits for it."""
    return moment > now or moment + span <= now


def _holds(route: Route, row: Outgoing | None, notice: Notice, now: datetime) -> Outgoing:
    if row is None:
        return Outgoing(route=route.name, notice=notice, state=State.NEW, changed_at=now)
    if row.state in (State.NEW, State.TOLD):
        worse = row.state is State.TOLD and notice.severity != row.notice.severity.value
        grown = worse and notice.severity.reaches(row.notice.severity)
        notice = replace(notice, since=row.notice.since, seq=row.notice.seq)
        return replace(row, notice=notice, state=State.NEW, changed_at=now) if grown else replace(row, notice=notice)
    again = row.state is State.PASSED  # the end of the time before is not worth a message any more
    return replace(
        row, notice=notice, state=State.NEW, changed_at=row.changed_at if again else now, times=row.times + 1
    )


def _ended(route: Route, row: Outgoing, now: datetime, head: int) -> Outgoing:
    row = replace(row, notice=replace(row.notice, seq=max(row.notice.seq, head)))
    if row.state is State.NEW:
        return replace(row, state=State.PASSED)
    return replace(row, state=State.OVER if route.resolved else State.DONE, changed_at=now)


def _is_told_as_lasting(notice: Notice, rows: Rows) -> bool:
    """Whether the thing that this event began has a row of its own."""
    if not begins(notice.event):
        return False
    wanted = BLOCKED if notice.event.endswith(f".{Outcome.BLOCKED}") else notice.event
    return any(
        row.notice.lasts and row.notice.event == wanted and row.notice.credential in (notice.credential, None)
        for row in rows.values()
    )


def ready(route: Route, rows: Rows, now: datetime, *, closing: bool = False) -> list[list[Outgoing]]:
    """What is to be told now, one list a message, each in the order of the trail. `closing`: nothing is waited for."""
    if route.digest is not None:
        last = rows[DIGEST].told_at if DIGEST in rows else None
        due = last is not None and (last > now or route.digest.next_after(last) <= now)
        return [_in_order(row for row in rows.values() if row.state is not State.DONE)] if due else []
    groups: dict[str, list[Outgoing]] = {}
    for row in rows.values():
        groups.setdefault(route.group(row.notice), []).append(row)
    quiet, found = route.is_quiet(now), []
    for group in groups.values():
        said = [row for row in group if row.pending or _again(route, row, now)]
        rested = all(row.told_at is None or _past(row.told_at, route.group_interval, now) for row in group)
        passes = not quiet or any(row.notice.severity.reaches(route.passes) for row in said)
        waited = closing or any(not row.pending or _past(row.changed_at, route.group_wait, now) for row in said)
        if said and passes and waited and rested:
            found.append(_in_order(said))
    return sorted(found, key=lambda group: group[0].notice.seq)


def _again(route: Route, row: Outgoing, now: datetime) -> bool:
    if row.state is not State.TOLD or not route.repeat or row.told_at is None:
        return False
    return _past(row.told_at, route.repeat, now)


def _in_order(rows: Iterable[Outgoing]) -> list[Outgoing]:
    return sorted(rows, key=lambda row: (row.notice.seq, row.key))


def told(rows: Sequence[Outgoing], now: datetime) -> list[Outgoing]:
    """These rows, once their receiver has accepted the message."""
    stands = {True: State.TOLD, False: State.DONE}
    return [
        replace(
            row,
            state=stands[row.notice.lasts and row.state in (State.NEW, State.TOLD)],
            told_at=now,
            changed_at=now,
            times=0,
        )
        for row in rows
    ]
