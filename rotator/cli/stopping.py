"""Signals: the first one parks the work, the second one ends the process."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = b"\x1b[?25h"


class Stop:
    """While the block lasts, SIGINT and SIGTERM set `event`: the step in hand is finished, no other is begun.

    The main thread must not wait for `event` itself: a handler that sets it there could meet its own lock.
    """

    def __init__(self) -> None:
        self.silent = False  # the screen says that it stops
        self.event = threading.Event()
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._received) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    @property
    def status(self) -> int:
        """The exit status for the signal that came."""
        return 128 + (self.signal or 0)

    def _received(self, number: int, _frame: FrameType | None) -> None:
        # os.write: a handler may come in the middle of a write to the buffered stream.
        if self.signal is not None:
            if os.isatty(2):
                os.write(2, _SHOW_CURSOR)
            os.write(2, b"\nended at once; `rotate` goes on where it stopped\n")
            os._exit(128 + number)
        self.signal = signal.Signals(number)
        self.event.set()
        if not self.silent:
            os.write(2, b"\nstopping after the step in hand; once more to end at once\n")
