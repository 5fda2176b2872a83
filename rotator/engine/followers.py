"""Followers of the audit trail. The trail is the outbox: nothing that is to be sent is kept anywhere else.

A follower's row remembers the last event that its receiver accepted. It is moved only after that, so a crash anywhere
loses nothing; the receiver may get an event again, and tells it by its `seq`. One worker at a time sends for a
follower, in order. One that does not answer holds up nobody: its row waits, and the others go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf
from typing import Any

from rotator.domain.errors import RotatorError, StoreUnavailable, TemporaryError
from rotator.domain.model import Follower
from rotator.engine.pace import LONGEST, ahead
from rotator.engine.work import Limits, Surroundings
from rotator.ports.receiver import Receiver
from rotator.ports.store import Store, StoredEvent

PULSE = 1.0
"""Seconds between two looks for new events while other work goes on."""

LAST_WORD = 5.0
"""Seconds that a run waits at its end for the receivers to take what is new. What they have not taken is sent later."""


@dataclass(frozen=True, kw_only=True)
class Following:
    """A follower as today's configuration has it."""

    name: str  # of its row, such as `sink:siem`; another name is another follower
    receiver: Receiver
    from_now: bool = False  # a new one is told nothing that happened before


class Followers:
    """Everything that follows the trail of one database."""

    def __init__(self, store: Store, following: Sequence[Following], limits: Limits, around: Surroundings) -> None:
        self.store = store
        self.following = following
        self._limits = limits
        self._around = around

    @contextmanager
    def alongside(self) -> Iterator[None]:
        """While the block lasts, and once more at its end, what is new is sent. Receivers hold up that end at most."""
        over = threading.Event()
        end = inf  # monotonic seconds

        def follow(one: Following) -> None:
            while not over.is_set():
                self.turn(one, lambda: self._around.monotonic() < end)
                over.wait(PULSE)
            self.turn(one, lambda: self._around.monotonic() < end)

        # Daemon threads are not waited for by the interpreter: a call that never comes back does not keep the process.
        running = [threading.Thread(target=follow, args=(f,), daemon=True, name=f.name) for f in self.following]
        for thread in running:
            thread.start()
        try:
            yield
        finally:
            end = self._around.monotonic() + LAST_WORD
            over.set()
            for thread in running:
                thread.join(max(end - self._around.monotonic(), 0))

    def turn(self, one: Following, in_time: Callable[[], bool] = lambda: True) -> None:
        """Send what is new until nothing is left, it fails, or there is no more time. Never raises."""
        try:
            if self._anything_for(one):
                Turn(self.store, one, self._limits, self._around).send(in_time)
        except StoreUnavailable:
            pass  # what was accepted and not noted comes again
        except Exception as problem:  # noqa: BLE001 - a bug in following stops no work
            self._around.bug(one.name, problem)

    def _anything_for(self, one: Following) -> bool:
        row = self.store.followers().get(one.name)
        return row is None or self.store.head()[0] > row.seq


class Turn:
    """One worker's right to send for one follower, until it gives it back or stops to renew it."""

    def __init__(self, store: Store, following: Following, limits: Limits, around: Surroundings) -> None:
        self._store = store
        self._following = following
        self._limits = limits
        self._around = around
        self._id = around.new_id()
        self._trusted_until = 0.0

    def send(self, in_time: Callable[[], bool]) -> None:
        """Batch after batch. The row says how it went."""
        row = self._take()
        if row.taken_by != self._id:
            return
        while in_time():
            events = list(self._store.events(row.seq, limit=self._following.receiver.most))
            if not events or not self._may_send():
                break
            problem, ended = self._give(events)
            if problem is not None:
                self._failed(problem, ended=ended)
                return
            row = self._accepted(events[-1].seq)
            if row.taken_by != self._id:
                return
        self._note(lambda _now, mine: replace(mine, taken_by=None, taken_until=None))

    def _give(self, events: Sequence[StoredEvent]) -> tuple[RotatorError | None, bool]:
        """What went wrong, and whether the call has come back."""
        came_back = threading.Event()
        budget, receiver = self._limits.call_budget.total_seconds(), self._following.receiver
        try:
            self._around.threads.within(budget, lambda: receiver.take(events), came_back.set)
        except RotatorError as problem:
            return problem, came_back.is_set()
        except Exception as problem:  # noqa: BLE001 - a bug is logged, counted, delayed
            self._around.bug(self._following.name, problem)
            message = f"unexpected {type(problem).__name__}; this is a bug, see the log"
            return TemporaryError(message, reason="bug"), True
        return None, True

    def _take(self) -> Follower:
        """Have the row say that we send, unless somebody else does or it waits."""
        self._trusted_until = self._around.monotonic() + self._limits.lease.total_seconds()
        now, name = self._store.now(), self._following.name
        begin = self._store.head()[0] if self._following.from_now else 0

        def take(row: Follower) -> Follower:
            if ahead(row.taken_until, now, self._limits.lease) or ahead(row.not_before, now, LONGEST):
                return row
            row = replace(row, seq=begin) if row == Follower(name=name) else row
            return replace(self._held(now, row), taken_by=self._id)

        return self._store.note_follower(name, take)

    def _may_send(self) -> bool:
        """Whether the call that begins now is over before somebody else may send."""
        return self._around.monotonic() + self._limits.call_budget.total_seconds() <= self._trusted_until

    def _note(self, change: Callable[[datetime, Follower], Follower]) -> Follower:
        self._trusted_until = self._around.monotonic() + self._limits.lease.total_seconds()
        now = self._store.now()
        return self._store.note_follower(
            self._following.name, lambda row: change(now, row) if row.taken_by == self._id else row
        )

    def _held(self, now: datetime, row: Follower) -> Follower:
        return replace(row, taken_until=now + self._limits.lease)

    def _accepted(self, seq: int) -> Follower:
        return self._note(lambda now, row: replace(self._held(now, row), seq=seq, **ACCEPTS))

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
