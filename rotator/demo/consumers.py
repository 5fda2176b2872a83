"""Consumers: one thread for each place, which reads what stands there and uses it, again and again."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

PAUSE = 0.05
"""Seconds between two looks of one consumer."""

Value = Mapping[str, str]
"""What a consumer reads at one place, field by field."""


@dataclass(kw_only=True)
class Consumer:
    """A reader of one place. It begins to count when it first finds something; from then on it must always work."""

    address: str
    read: Callable[[], Value | None]  # None: nothing stands there
    works: Callable[[Value], bool]  # whether the other side accepts it now
    looks: int = 0
    bad: int = 0
    trouble: str | None = None  # the first thing that went wrong
    seen: set[str] = field(default_factory=set)  # digests of the different values

    def look(self) -> None:
        """Read and use once. Never raises: what goes wrong is counted."""
        try:
            value = self.read()
            if value is None and not self.looks:
                return
            alive = value is not None and self.works(value)
            why = "it met a dead key" if value else "it found nothing"
        except Exception as problem:  # noqa: BLE001 - to a consumer everything that goes wrong is an outage
            value, alive, why = None, False, f"it failed: {type(problem).__name__}"
        self.looks += 1
        if value is not None:
            self.seen.add(hashlib.sha256(repr(sorted(value.items())).encode()).hexdigest())
        if not alive:
            self.bad += 1
            self.trouble = self.trouble or f"look {self.looks} at {self.address}: {why}"


class Crowd:
    """All consumers, reading while the block runs."""

    def __init__(self, consumers: Sequence[Consumer]) -> None:
        self.consumers = consumers
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._read_on, args=(one,), daemon=True) for one in consumers]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def looks(self) -> int:
        """How often anybody read and used a value."""
        return sum(one.looks for one in self.consumers)

    @property
    def bad(self) -> int:
        """How many of the looks met a dead key, or nothing."""
        return sum(one.bad for one in self.consumers)

    def proof(self) -> str:
        """The sentence that the demo is about."""
        return f"{self.looks:,} looks at {len(self.consumers)} destinations, {self.bad:,} met a dead key"

    def troubles(self) -> list[str]:
        """What went wrong first at each place; also a place that nobody ever found anything at."""
        never = [f"nothing was ever found at {one.address}" for one in self.consumers if not one.looks]
        return never + [one.trouble for one in self.consumers if one.trouble]

    def _read_on(self, consumer: Consumer) -> None:
        while not self._over.is_set():
            consumer.look()
            self._over.wait(PAUSE)
