"""What ends a run early: a signal parks the work, a second one ends the process; a deadline parks it as well."""

from __future__ import annotations

import os
import signal
import threading
from datetime import timedelta
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = b"\x1b[?25h"


class Stop:
    """While the block lasts, SIGINT and SIGTERM set `event`: the step in hand is finished, no other is begun.

    The main thread must not wait for `event` itself: a handler that sets it there could meet its own lock.

    With a `deadline` the event is also set after that long, and SIGTERM is the same come early: whatever runs us with
    a deadline ends us by SIGTERM at its own.
    """

    def __init__(self, deadline: timedelta | None = None) -> None:
        self.silent = False  # the screen says that it stops
        self.event = threading.Event()
        self.signal: signal.Signals | None = None
        self.overran = False  # the deadline came
        self._deadline = deadline
        self._timer: threading.Timer | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if self._deadline is not None:
            self._timer = threading.Timer(self._deadline.total_seconds(), self._expired)
            self._timer.daemon = True
            self._timer.start()
        self._before = {number: signal.signal(number, self._received) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for number, before in self._before.items():
            signal.signal(number, before)

    @property
    def in_time(self) -> bool:
        """Whether it ended as was foreseen: by its deadline, or by the SIGTERM of what had set that."""
        return self._deadline is not None and (self.overran or self.signal is signal.SIGTERM)

    @property
    def status(self) -> int:
        """The exit status for the signal that came."""
        return 128 + (self.signal or 0)

    def _expired(self) -> None:
        self.overran = True
        self.event.set()
        os.write(2, b"its deadline has come: stopping after the step in hand\n")

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
