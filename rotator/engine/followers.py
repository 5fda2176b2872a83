"""Followers of the audit trail. The trail is the outbox: nothing that is to be sent is kept anywhere else.

A follower's row remembers the last event that its receiver accepted. It is moved only after that, so a crash anywhere
loses nothing; the receiver may get an event again, and tells it by its `seq`. One worker at a time sends for a
follower, in order. One that does not answer holds up nobody: its row waits, and the others go on.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import inf
from typing import Any, Protocol

from rotator.domain.errors import RotatorError, StoreUnavailable, TemporaryError, Unavailable
from rotator.domain.events import Outcome, Subject
from rotator.domain.events import name as event_name
from rotator.domain.model import Follower
from rotator.engine.findings import News, find
from rotator.engine.pace import LONGEST, ahead
from rotator.engine.work import Limits, Surroundings
from rotator.ports.receiver import Receiver
from rotator.ports.store import NewEvent, Store, StoredEvent

PULSE = 1.0
"""Seconds between two looks for new events while other work goes on."""

LAST_WORD = 5.0
"""Seconds that a run waits at its end for the receivers to take what is new. What they have not taken is sent later."""


class Telling(Protocol):
    """One look for something to send, while there is time. Never raises."""

    def __call__(self, in_time: Callable[[], bool], *, last: bool) -> None:
        """`last`: nobody looks again in this run."""
        ...


@contextmanager
def alongside(turns: Mapping[str, Telling], around: Surroundings) -> Iterator[None]:
    """While the block lasts, and once more at its end, what is new is sent. Receivers hold up that end at most."""
    over = threading.Event()
    end = inf  # monotonic seconds

    def in_time() -> bool:
        return around.monotonic() < end

    def tell(turn: Telling) -> None:
        while not over.is_set():
            turn(in_time, last=False)
            over.wait(PULSE)
        turn(in_time, last=True)

    # Daemon threads are not waited for by the interpreter: a call that never comes back does not keep the process.
    running = [threading.Thread(target=tell, args=(turn,), daemon=True, name=name) for name, turn in turns.items()]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        end = around.monotonic() + LAST_WORD
        over.set()
        for thread in running:
            thread.join(max(end - around.monotonic(), 0))


KEEPS_UP = timedelta(minutes=1)
"""What is required has accepted everything that is older."""

LONG = timedelta(minutes=15)
"""What is not required may fail for so long before it is a finding."""


@dataclass(frozen=True, kw_only=True)
class Following:
    """A follower as today's configuration has it."""

    name: str  # of its row, such as `sink:siem`; another name is another follower
    receiver: Receiver
    from_now: bool = False  # a new one is told nothing that happened before
    required: bool = False  # `require_sink`: while it does not keep up, no key is created or taken away


class Followers:
    """Everything that follows the trail of one database."""

    def __init__(self, store: Store, following: Sequence[Following], limits: Limits, around: Surroundings) -> None:
        self.store = store
        self.following = following
        self._limits = limits
        self._around = around

    @property
    def turns(self) -> Mapping[str, Telling]:
        """What is to be done alongside other work, by name."""
        return {one.name: functools.partial(self.turn, one) for one in self.following}

    def prove(self) -> None:
        """Have what is required take what is new before any work, so that one which died meanwhile is known."""
        required = {one.name for one in self.following if one.required}
        with alongside({name: turn for name, turn in self.turns.items() if name in required}, self._around):
            pass

    def behind(self) -> str | None:
        """What is required and does not keep up with the trail, in words; None: all that is required does."""
        required = [one.name for one in self.following if one.required]
        if not required:
            return None
        rows, now = self.store.followers(), self.store.now()
        for name in required:
            row = rows.get(name) or Follower(name=name)
            if row.since is not None:
                return f"{spoken(name)} accepts nothing since {row.since:%Y-%m-%d %H:%M:%S} UTC: {row.message}"
            waiting = next(iter(self.store.events(row.seq, limit=1)), None)
            if waiting is not None and now - _moment(waiting) > KEEPS_UP:
                return f"{spoken(name)} has not accepted what happened at {_moment(waiting):%Y-%m-%d %H:%M:%S} UTC"
        return None

    def require(self) -> None:
        """Raise Unavailable, saying which, where something that is required does not keep up."""
        behind = self.behind()
        if behind is not None:
            message = f"{behind}; without it no key is created or taken away (`audit.require_sink`)"
            remedy = "see to it, then `rotator audit sinks --send`; `rotate --compromised NAME` does not wait for it"
            raise Unavailable(message, reason="sink_behind", remedy=remedy)

    def hasten(self) -> None:
        """What waits after a failure is tried again at once."""
        for name in self.store.followers().keys() & {one.name for one in self.following}:
            self.store.note_follower(name, lambda row: replace(row, not_before=None))

    def turn(self, one: Following, in_time: Callable[[], bool] = lambda: True, *, last: bool = False) -> None:  # noqa: ARG002 - a `Telling`
        """Send what is new until nothing is left, it fails, or there is no more time. Never raises."""
        try:
            if self._anything_for(one):
                turn = Turn(self.store, one.name, self._limits, self._around, from_now=one.from_now)
                self._send(one, turn, in_time)
        except StoreUnavailable:
            pass  # what was accepted and not noted comes again
        except Exception as problem:  # noqa: BLE001 - a bug in following stops no work
            self._around.bug(one.name, problem)

    def _anything_for(self, one: Following) -> bool:
        row = self.store.followers().get(one.name)
        return row is None or self.store.head()[0] > row.seq

    def _send(self, one: Following, turn: Turn, in_time: Callable[[], bool]) -> None:
        """Batch after batch. The row says how it went, and a finding where that is no passing trouble."""
        row = turn.take()
        if row is None:
            return
        failed = row.since is not None
        while row is not None and in_time():
            events = list(self.store.events(row.seq, limit=one.receiver.most))
            if not events or not turn.may_send():
                break
            if not turn.give(functools.partial(one.receiver.take, events)):
                self._find(one)
                return
            row = turn.accepted(events[-1].seq)
            if failed:
                self.store.clear(Subject.FOLLOWER, one.name, self._event(Subject.FOLLOWER, Outcome.CLEARED, one))
                failed = False
        turn.give_back()

    def _find(self, one: Following) -> None:
        row = self.store.followers()[one.name]
        if row.since is None or not (one.required or self.store.now() - row.since >= LONG):
            return
        news = News(
            kind=Subject.FOLLOWER,
            subject=one.name,
            what=f"{spoken(one.name)} does not accept the audit trail",
            seen=row.message or "",
            remedy="see to it; nothing is lost: `rotator audit sinks --send` sends what waits",
        )
        found = self._event(Subject.FOLLOWER, Outcome.FOUND, one, row.reason)
        cleared = self._event(Subject.FOLLOWER, Outcome.CLEARED, one)
        find(self.store, self._around.new_id, news, found, cleared)

    def _event(self, subject: Subject, outcome: Outcome, one: Following, reason: str | None = None) -> NewEvent:
        detail = {"follower": one.name}
        return NewEvent(event=event_name(subject, outcome), actor=self._around.actor, reason=reason, detail=detail)


class Turn:
    """One worker's right to send for one follower, until it gives it back or stops to renew it."""

    def __init__(
        self, store: Store, name: str, limits: Limits, around: Surroundings, *, from_now: bool = False
    ) -> None:
        self._store = store
        self._name = name
        self._limits = limits
        self._around = around
        self._from_now = from_now
        self.id = around.new_id()
        self._trusted_until = 0.0

    def give(self, call: Callable[[], None]) -> bool:
        """Make one call to the receiver; whether it accepted. If not, the turn is over and the row says why."""
        came_back = threading.Event()
        try:
            self._around.threads.within(self._limits.call_budget.total_seconds(), call, came_back.set)
        except RotatorError as problem:
            self._failed(problem, ended=came_back.is_set())
        except Exception as problem:  # noqa: BLE001 - a bug is logged, counted, delayed
            self._around.bug(self._name, problem)
            message = f"unexpected {type(problem).__name__}; this is a bug, see the log"
            self._failed(TemporaryError(message, reason="bug"), ended=True)
        else:
            return True
        return False

    def take(self) -> Follower | None:
        """Have the row say that we send; None where somebody else does, or it waits."""
        self._trusted_until = self._around.monotonic() + self._limits.lease.total_seconds()
        now, name = self._store.now(), self._name
        begin = self._store.head()[0] if self._from_now else 0

        def take(row: Follower) -> Follower:
            if ahead(row.taken_until, now, self._limits.lease) or ahead(row.not_before, now, LONGEST):
                return row
            row = replace(row, seq=begin) if row == Follower(name=name) else row
            return replace(self._held(now, row), taken_by=self.id)

        return self._if_ours(self._store.note_follower(name, take))

    def may_send(self) -> bool:
        """Whether the call that begins now is over before somebody else may send."""
        return self._around.monotonic() + self._limits.call_budget.total_seconds() <= self._trusted_until

    def accepted(self, seq: int) -> Follower | None:
        """Note that the receiver has accepted everything up to there, and go on; None where it is our turn no more."""
        return self._note(lambda now, row: replace(self._held(now, row), seq=seq, **ACCEPTS))

    def give_back(self) -> None:
        """Let others send. No error where it is our turn no more."""
        self._note(lambda _now, row: replace(row, taken_by=None, taken_until=None))

    def _note(self, change: Callable[[datetime, Follower], Follower]) -> Follower | None:
        self._trusted_until = self._around.monotonic() + self._limits.lease.total_seconds()
        now = self._store.now()
        return self._if_ours(
            self._store.note_follower(self._name, lambda row: change(now, row) if row.taken_by == self.id else row)
        )

    def _if_ours(self, row: Follower) -> Follower | None:
        return row if row.taken_by == self.id else None

    def _held(self, now: datetime, row: Follower) -> Follower:
        return replace(row, taken_until=now + self._limits.lease)

    def _failed(self, problem: RotatorError, *, ended: bool) -> None:
        """Unless the call has `ended`, it is under way still, so nobody sends before it must have."""

        def failed(now: datetime, row: Follower) -> Follower:
            retry_after = problem.retry_after if isinstance(problem, TemporaryError) else None
            back_off = self._limits.back_off(row.attempt + 1, self._around.chance(), retry_after)
            return replace(
                row,
                attempt=row.attempt + 1,
                not_before=now + min(back_off, LONGEST),
                reason=problem.reason,
                message=problem.message,
                since=row.since or now,
                taken_by=None if ended else row.taken_by,
                taken_until=None if ended else now + self._limits.lease,
            )

        self._note(failed)


ACCEPTS: Mapping[str, Any] = {"attempt": 0, "not_before": None, "reason": None, "message": None, "since": None}
"""What a row says whose receiver accepts."""


def spoken(name: str) -> str:
    """A follower as messages call it: `sink:siem` is `the sink siem`."""
    return f"the {name.replace(':', ' ', 1)}"


def _moment(event: StoredEvent) -> datetime:
    return datetime.fromisoformat(json.loads(event.body)["at"])
