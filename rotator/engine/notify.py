"""Routes of notifications: what is new or stands is told to people, grouped, once, and again from time to time.

The trail is the outbox, and a route is a follower of it: its cursor moves in the transaction that writes the route's
own rows, which say what it has to tell and has told. A message that was accepted and not noted, because its sender
died, is sent again with the same id. One that is not accepted waits, as rows; nobody's rotation waits with it.
"""

from __future__ import annotations

import functools
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from rotator.domain.errors import StoreUnavailable
from rotator.domain.events import Outcome, Subject, name
from rotator.domain.messages import MOST, Message, of_digest, of_notices
from rotator.domain.model import Finding, Follower, Situation
from rotator.domain.notices import (
    BLOCKED,
    DIGEST,
    OVERDUE,
    Notice,
    Outgoing,
    Route,
    Rows,
    Severity,
    happened,
    ready,
    take_in,
    told,
)
from rotator.engine.findings import News, find
from rotator.engine.followers import Telling, Turn
from rotator.engine.report import RETRY_ALARM, Report
from rotator.engine.work import Limits, Managed, Surroundings
from rotator.ports.notifier import Notifier
from rotator.ports.store import NewEvent, Store

LOOK_EVERY = 10.0
"""Seconds between two looks while other work goes on; there is one more at the end of each run."""


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A route, and what takes its messages to people."""

    route: Route
    notifier: Notifier

    @property
    def follower(self) -> str:
        """The name of its row among those that follow the trail."""
        return f"notify:{self.route.name}"


@dataclass(frozen=True, kw_only=True)
class Look:
    """What lasts at one moment."""

    head: int  # the last event that was there before it was looked
    lasting: Sequence[Notice]
    counts: Mapping[str, int]  # how many credentials have which status
    whose: Mapping[str, Mapping[str, Any]] = field(repr=False)  # credential → what the configuration says of it


class Notifications:
    """Everything that is told to people about one database."""

    def __init__(
        self,
        store: Store,
        managed: Mapping[str, Managed],
        channels: Sequence[Channel],
        limits: Limits,
        around: Surroundings,
    ) -> None:
        self.store = store
        self.managed = managed
        self.channels = channels
        self._limits = limits
        self._around = around
        self._looking = threading.Lock()
        self._last_look: tuple[float, Look] | None = None
        self._turned: dict[str, float] = {}  # when each route had its last turn here

    def turns(self, *, closing: bool) -> Mapping[str, Telling]:
        """What is to be done alongside other work. `closing`: nobody knows when the next run is, so none waits."""
        if self.channels:
            with suppress(StoreUnavailable):
                self._begin()
        return {
            channel.follower: functools.partial(self._telling, channel, closing=closing) for channel in self.channels
        }

    def _begin(self) -> None:
        """A new route is told what happens from now on, and all that lasts."""
        known, head = self.store.followers(), self.store.head()[0]
        for channel in self.channels:
            if channel.follower not in known:
                self.store.note_follower(
                    channel.follower, lambda row: replace(row, seq=head) if row == Follower(name=row.name) else row
                )

    def _telling(self, channel: Channel, in_time: Callable[[], bool], *, last: bool, closing: bool) -> None:
        now = self._around.monotonic()
        if not last and now - self._turned.setdefault(channel.follower, now) < LOOK_EVERY:
            return
        self._turned[channel.follower] = now
        self.turn(channel, in_time, closing=closing and last)

    def turn(self, channel: Channel, in_time: Callable[[], bool] = lambda: True, *, closing: bool = False) -> None:
        """Take in what is new, and send what is ready. Never raises."""
        try:
            self._turn(channel, in_time, closing=closing)
        except StoreUnavailable:
            pass  # what was accepted and not noted is sent again
        except Exception as problem:  # noqa: BLE001 - a bug in telling stops no work
            self._around.bug(channel.follower, problem)

    def _turn(self, channel: Channel, in_time: Callable[[], bool], *, closing: bool) -> None:
        route, known = channel.route, self.store.followers().get(channel.follower)
        look = self._look()
        if known is not None:
            before = self.store.notices(route.name)
            after = self._after(route, before, known.seq, look)
            is_new = after != before or known.seq < look.head
            if not is_new and not ready(route, after, self.store.now(), closing=closing):
                return
        turn = Turn(self.store, channel.follower, self._limits, self._around)
        row = turn.take()
        if row is None:
            return
        before = self.store.notices(route.name)
        rows = self._after(route, before, row.seq, look)
        seq = max(row.seq, look.head)
        if not self._keep(channel, turn, before, rows, seq):
            return
        if self._sent(channel, turn, rows, seq, look, in_time, closing=closing):
            turn.give_back()
        else:
            self._tell_of_failure(route)

    def _sent(
        self,
        channel: Channel,
        turn: Turn,
        rows: Rows,
        seq: int,
        look: Look,
        in_time: Callable[[], bool],
        *,
        closing: bool,
    ) -> bool:
        """Send what is ready; False where the receiver did not accept, and the turn is over."""
        now, route = self.store.now(), channel.route
        for message, said in self._messages(route, rows, look, now, closing=closing):
            if not in_time() or not turn.may_send():
                return True
            if not turn.give(functools.partial(channel.notifier.send, message)):
                return False
            done = told([row for row in said if row.key != DIGEST], now)
            done += [replace(row, told_at=now) for row in said if row.key == DIGEST]
            mine = self.store.keep_notices(channel.follower, turn.id, route.name, put=done, drop=(), seq=seq)
            if not mine or turn.accepted(seq) is None:
                return True
            self.store.clear(Subject.NOTIFY, route.name, self._event(route, name(Subject.NOTIFY, Outcome.CLEARED)))
        return True

    def _messages(
        self, route: Route, rows: Rows, look: Look, now: datetime, *, closing: bool
    ) -> Iterator[tuple[Message, Sequence[Outgoing]]]:
        """Each message, and the rows that are told by it."""
        environment = self.store.installation().environment
        for group in ready(route, rows, now, closing=closing):
            if route.digest is not None:
                since = rows[DIGEST].told_at or now
                message = of_digest(environment, route.name, group, since, now, look.counts)
                yield message, [*group, rows[DIGEST]]
                continue
            for first in range(0, len(group), MOST):
                some = group[first : first + MOST]
                yield of_notices(environment, some, now), some

    def _after(self, route: Route, before: Rows, seq: int, look: Look) -> Rows:
        """The route's rows after what has happened since, and what lasts now. It is not told of its own trouble."""
        lasting = [notice for notice in look.lasting if notice.key != f"{Subject.NOTIFY}:{route.name}"]
        return take_in(route, before, self._happened(route, seq, look), lasting, self.store.now(), look.head)

    def _happened(self, route: Route, seq: int, look: Look) -> Iterator[Notice]:
        for event in self.store.events(seq, limit=max(look.head - seq, 0)):
            body = json.loads(event.body)
            own = body["event"].partition(".")[0] == Subject.NOTIFY and body["destination"] == route.name
            if not own:
                yield happened(body, **look.whose.get(body["credential"] or "", {}))

    def _keep(self, channel: Channel, turn: Turn, before: Rows, after: Rows, seq: int) -> bool:
        put = [row for key, row in after.items() if before.get(key) != row]
        drop = [key for key in before if key not in after]
        return self.store.keep_notices(channel.follower, turn.id, channel.route.name, put=put, drop=drop, seq=seq)

    def _tell_of_failure(self, route: Route) -> None:
        """A route that says nothing for long is a finding: other routes tell it, and `status` does."""
        row = self.store.followers()[f"notify:{route.name}"]
        if row.since is None or self.store.now() - row.since < RETRY_ALARM:
            return
        news = News(
            kind=Subject.NOTIFY,
            subject=route.name,
            what=f"messages of the route {route.name} are not accepted, and are kept",
            seen=row.message or "",
            remedy=f"see to its receiver; `rotator notify test {route.name}` tries it",
        )
        found = self._event(route, name(Subject.NOTIFY, Outcome.FOUND), row.reason)
        find(self.store, self._around.new_id, news, found, self._event(route, name(Subject.NOTIFY, Outcome.CLEARED)))

    def _event(self, route: Route, event: str, reason: str | None = None) -> NewEvent:
        return NewEvent(event=event, actor=self._around.actor, destination=route.name, reason=reason)

    # what lasts

    def _look(self) -> Look:
        """What lasts now. Routes that ask within the same moment, and of the same trail, share it."""
        with self._looking:
            head, moment = self.store.head()[0], self._around.monotonic()
            if self._last_look is not None and self._last_look[1].head == head and moment - self._last_look[0] < 1:
                return self._last_look[1]
            look = look_at(Report(self.store, self.managed), head)
            self._last_look = moment, look
            return look


_IN_DANGER = frozenset(
    {Subject.RECONCILE, Subject.KEY_GONE, Subject.KEY_DISABLED, Subject.MAX_AGE, Subject.EXPIRES, Subject.CLOCK}
)
"""Findings that are critical whatever they are about: keys that do not work, or work for too long, or nobody knows."""


def look_at(report: Report, head: int) -> Look:
    """Everything that lasts, by the rows. `head` was the end of the trail before the report was made."""
    credentials = {c.id: c for c in report.store.credentials()}
    whose = {c.name: _whose(c.provider, report.managed.get(c.name)) for c in credentials.values()}
    lasting = [
        _of_finding(f, credentials[f.credential_id].name if f.credential_id else None, head, report, whose)
        for f in report.findings
    ]
    found: defaultdict[str | None, set[str]] = defaultdict(set)
    for finding in report.findings:
        found[finding.credential_id].add(finding.kind)
    counts: Counter[str] = Counter()
    for situation in report.store.fleet():
        credential = credentials.get(situation.credential.id)
        if credential is None:
            continue  # enrolled since: the next look is about it too
        conditions = report.conditions(credential.name, situation)
        counts[conditions[0].type if conditions else "ok"] += 1
        kinds = found[credential.id] | found[None]
        alike: dict[str, Notice] = {}
        for condition in conditions:
            if condition.type not in ("blocked", "overdue") or condition.reason in kinds:
                continue  # the others are no news, and a finding is told as itself
            key = f"credential.{condition.type}:{credential.name}:{condition.reason}"
            message = condition.message or condition.reason or condition.type
            if key in alike:
                alike[key] = replace(alike[key], message=f"{alike[key].message}; {message}")
                continue
            alike[key] = Notice(
                key=key,
                event=BLOCKED if condition.type == "blocked" else OVERDUE,
                severity=Severity.CRITICAL if _leaked(situation) else Severity.WARNING,
                lasts=True,
                message=message,
                since=condition.since or report.at,
                seq=head,
                credential=credential.name,
                reason=condition.reason,
                remedy=condition.remedy,
                **whose[credential.name],
            )
        lasting += alike.values()
    return Look(head=head, lasting=lasting, counts=dict(sorted(counts.items())), whose=whose)


def _whose(provider: str, managed: Managed | None) -> Mapping[str, Any]:
    if managed is None:
        return {"provider": provider}
    return {
        "provider": provider,
        "owner": managed.owner,
        "runbook": managed.runbook,
        "labels": dict(managed.labels),
    }


def _of_finding(
    finding: Finding, credential: str | None, head: int, report: Report, whose: Mapping[str, Mapping[str, Any]]
) -> Notice:
    provider = finding.subject if finding.kind == Subject.ACCOUNT_BRAKED else None
    about = whose[credential] if credential is not None else {"provider": provider}
    in_danger = finding.urgent or finding.kind in _IN_DANGER
    return Notice(
        key=f"{finding.kind}:{finding.subject}",
        event=f"{finding.kind}.{Outcome.FOUND}",
        severity=Severity.CRITICAL if in_danger else Severity.WARNING,
        lasts=True,
        message=finding.message,
        since=min(finding.found_at, report.at),
        seq=head,
        credential=credential,
        remedy=finding.remedy,
        **about,
    )


def _leaked(situation: Situation) -> bool:
    """Whether what is stuck is the taking-away of a leaked key."""
    rotation = situation.rotation
    return (rotation is not None and rotation.urgent) or any(row.uncontained for row in situation.retirements)
