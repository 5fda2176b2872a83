"""Who of many credentials begins next. It costs what begins and how many accounts there are, not how many wait."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable


class Line:
    """Credentials that wait for their turn, each from a moment (monotonic seconds) on; for one thread."""

    def __init__(
        self, names: Iterable[str], at: float, account_of: Callable[[str], str], is_own: Callable[[str], bool]
    ) -> None:
        """All of them from the same moment on. `is_own`: a credential of ours, what others are still changed with.

        That one comes when nobody else does.
        """
        self._account_of = account_of
        self._is_own = is_own
        self._order = itertools.count()
        self._later: list[tuple[float, int, str]] = []
        self._ready: dict[str, deque[str]] = {}  # by account
        self._own: deque[str] = deque()
        for name in names:
            self.put(name, at)

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._later or self._ready or self._own)

    def put(self, name: str, at: float) -> None:
        """Let it wait until then. It may not be waiting already."""
        heapq.heappush(self._later, (at, next(self._order), name))

    def next_at(self, now: float) -> float:
        """When somebody may begin, if nobody is running; of those who wait there must be one."""
        return now if self._ready or self._own else self._later[0][0]

    def begin(self, now: float, running: Iterable[str], most: int) -> list[str]:
        """Who begins now: at most so many of each account at once, so that none waits for another's answers."""
        while self._later and self._later[0][0] <= now:
            _, _, name = heapq.heappop(self._later)
            line = self._own if self._is_own(name) else self._ready.setdefault(self._account_of(name), deque())
            line.append(name)
        names, picked = list(running), list[str]()
        busy = Counter(map(self._account_of, names))
        others = bool(self._ready) or not all(map(self._is_own, names))
        for account, line in list(self._ready.items()):
            while line and busy[account] < most:
                busy[account] += 1
                picked.append(line.popleft())
            if not line:
                del self._ready[account]
        for _ in range(0 if others else len(self._own)):
            name = self._own.popleft()
            if busy[self._account_of(name)] < most:
                busy[self._account_of(name)] += 1
                picked.append(name)
            else:
                self._own.append(name)
        return picked
