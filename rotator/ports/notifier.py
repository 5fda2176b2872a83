"""A notifier takes messages to people, or to the machine that calls them."""

from __future__ import annotations

from typing import Protocol

from rotator.domain.messages import Message


class Notifier(Protocol):
    """One receiver of one route. One call at a time."""

    @property
    def name(self) -> str:
        """How it is called on screens; holds no secret."""
        ...

    def trouble(self) -> str | None:
        """What is wrong with its settings, without sending anything: None if it can be tried."""
        ...

    def send(self, message: Message) -> None:
        """Send it; when this returns, the receiver has accepted it. May be repeated, and then may come twice.

        Ends within its limit. Raises TemporaryError, or SetupError where a secret cannot be read. Neither repeats the
        receiver's address, which may be a secret.
        """
        ...
