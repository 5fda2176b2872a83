"""How far a run over many credentials has come, and how long the rest may take."""

from __future__ import annotations

from collections import deque

from rotator.cli import words

_LATELY = 300.0  # seconds whose pace counts
_FEWEST = 10  # done in that time: fewer tell nothing about the rest


class Headway:
    """Counts what is done. Times are monotonic, in seconds."""

    def __init__(self, of: int, began: float) -> None:
        self._of = of
        self._began = began
        self._done = 0
        self._lately: deque[float] = deque()

    def one_more(self, now: float) -> None:
        """One is done."""
        self._done += 1
        self._lately.append(now)

    def said(self, now: float) -> str:
        """`120 of 10,000 have their new key after 52s; at the pace of late the rest takes 71m`."""
        so_far = f"{self._done:,} of {self._of:,} have their new key after {words.age(now - self._began)}"
        if self._done >= self._of:
            return so_far
        left = self._left(now)
        if left is None:
            return f"{so_far}; how long the rest takes cannot be told yet"
        return f"{so_far}; at the pace of late the rest takes {words.age(left)}"

    def _left(self, now: float) -> float | None:
        """Seconds; None: too little was done lately."""
        since = max(self._began, now - _LATELY)
        while self._lately and self._lately[0] < since:
            self._lately.popleft()
        if len(self._lately) < _FEWEST:
            return None
        return (self._of - self._done) * (now - since) / len(self._lately)
