"""What the wiring asks of an adapter's class: how one file joins the house."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Protocol

from rotator.ports.consumer import Consumer
from rotator.ports.destination import Destination
from rotator.ports.provider import Provider
from rotator.ports.receiver import Receiver


class ProviderAccount(Protocol):
    """One entry of `providers:`. Built as `Class(settings, timeout)`; opens nothing until a key is asked for.

    `timeout` is what every socket operation may take.
    """

    Settings: ClassVar[type[Any]]  # a model of rotator.settings.Settings, without `type`
    Options: ClassVar[type[Any]]  # likewise; a credential's `options:`

    def __init__(self, settings: Any, timeout: timedelta) -> None: ...

    def bind(self, options: Any) -> Provider:
        """The provider for one credential. Clients are shared by all credentials of the account.

        Raises ValueError with the reason where the options cannot be.
        """
        ...

    def close(self) -> None:
        """Close all connections. May be repeated."""
        ...


class DestinationServer(Protocol):
    """One entry of `destinations:`. Built as `Class(name, settings, timeout)`; opens nothing until it is used."""

    Settings: ClassVar[type[Any]]

    def __init__(self, name: str, settings: Any, timeout: timedelta) -> None: ...

    def at(self, path: str | None) -> Destination:
        """The place at this path; None: the settings name it. Raises ValueError with the reason if it cannot be."""
        ...

    def parse(self, short: str) -> str:
        """The path in the short form `NAME:REST`, from its rest. Optional: without it the rest is the path."""
        ...

    def close(self) -> None:
        """Close all connections. May be repeated."""
        ...


class AskedConsumer(Consumer, Protocol):
    """One entry of `consumers:`. Built as `Class(settings, timeout)`; opens nothing until it is asked.

    The settings have a field that is called as the kind is, such as `systemd`: its key says what the entry is.
    """

    Settings: ClassVar[type[Any]]

    def __init__(self, settings: Any, timeout: timedelta) -> None: ...

    def close(self) -> None:
        """Close all connections. May be repeated."""
        ...


class Sink(Receiver, Protocol):
    """One entry of `audit.sinks:`. Built as `Class(settings, origin, timeout)`; opens nothing until it is told."""

    Settings: ClassVar[type[Any]]

    def __init__(self, settings: Any, origin: Any, timeout: timedelta) -> None: ...

    def look(self) -> None:
        """Raise RotatorError for what would keep it from accepting events, as far as that shows without sending one."""
        ...
