"""A receiver is told the audit trail: a sink, or a channel of notifications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rotator.ports.store import StoredEvent


class Receiver(Protocol):
    """What follows the trail hands its events here. One call at a time."""

    @property
    def most(self) -> int:
        """How many events it takes at once."""
        ...

    def take(self, events: Sequence[StoredEvent]) -> None:
        """Accept these events, which are never none, and follow those taken before: when it returns, they are there.

        Each is given at least once: after a failure, or a worker that died, the same ones come again, perhaps with
        others behind them. Raises RotatorError where it did not accept all of them; what it has of them it keeps.
        """
        ...

    def close(self) -> None:
        """Close all connections; a later call opens new ones. May be repeated."""
        ...
