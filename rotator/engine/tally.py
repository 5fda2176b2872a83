"""What a process counts for metrics, until the next record takes it along.

What is on a row or in the trail is counted in that very transaction. How long steps took, and how calls were answered,
is on none: it waits here, goes with the next record of any credential, and what is left goes at the end of the run. A
process that is killed takes at most that with it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from rotator.ports.store import Count

STEP_BUCKETS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds. A call ends within `engine.call_budget`, and a step makes a few."""


class Tally:
    """Counts that wait to be recorded. May be used from several threads."""

    def __init__(self) -> None:
        self._waiting: list[Count] = []
        self._lock = threading.Lock()

    def add(self, *counts: Count) -> None:
        """Have them recorded with whatever is next."""
        with self._lock:
            self._waiting += counts

    def take(self) -> Sequence[Count]:
        """What waits; it waits no more."""
        with self._lock:
            taken, self._waiting = self._waiting, []
            return taken

    def step_took(self, step: str, seconds: float) -> None:
        """One attempt of a step."""
        bucket = next((f"{most:g}" for most in STEP_BUCKETS if seconds <= most), "+Inf")
        self.add(Count("steps", (step, bucket)), Count("step_seconds", (step,), seconds))

    def called(self, provider: str, call: str, status: str) -> None:
        """One call to a provider: `ok`, or the reason that it failed for."""
        self.add(Count("provider_calls", (provider, call, status)))
