"""What one provider account takes of this process: so many calls at once, so many in a second, none while it says so.

What must hold for all processes (brakes, Retry-After, rotations in flight) is in rows, see `brakes`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

SOON = 0.05
"""Seconds after which a place among the calls at once may be free."""


LONGEST = timedelta(days=1)
"""No account is left alone for longer because it asked for it; it may ask again."""


def ahead(moment: datetime | None, now: datetime, most: timedelta) -> bool:
    """Whether a wait lasts still. One that is longer than any was dated by a clock that has been set back since."""
    return moment is not None and now < moment <= now + most


class Pace:
    """Never blocks: `enter` says how long to wait before asking again. Times are monotonic seconds."""

    def __init__(self, at_once: int, per_second: float | None, monotonic: Callable[[], float]) -> None:
        self._at_once = at_once
        self._per_second = per_second
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._running = 0
        self._free_at = monotonic()  # when the next call may be sent at this rate
        self._held_until = self._free_at

    def enter(self, requests: int = 1) -> float:
        """0: a call of so many requests may begin now, and `leave` is owed. Else the seconds until asking again.

        What it sends is paid for by those that come after it, so that the rate holds over any few seconds.
        """
        with self._lock:
            now = self._monotonic()
            if self._held_until > now:
                return self._held_until - now
            if self._running >= self._at_once:
                return SOON
            if self._per_second is not None and requests:
                if self._free_at > now:
                    return self._free_at - now
                # Up to a second's worth may be sent at once after a quiet time.
                self._free_at = max(self._free_at, now - 1) + requests / self._per_second
            self._running += 1
            return 0

    def leave(self) -> None:
        """A call has come back."""
        with self._lock:
            self._running -= 1

    def hold(self, seconds: float) -> None:
        """The provider asked for a pause from now on."""
        with self._lock:
            self._held_until = max(self._held_until, self._monotonic() + seconds)
