"""From the name of a type to the class of the adapter, importing no more than the one file."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from rotator.config.problems import did_you_mean, shown
from rotator.consumers import CONSUMERS
from rotator.destinations import DESTINATIONS
from rotator.providers import PROVIDERS
from rotator.sinks import SINKS


class NoAdapter(Exception):
    """There is no such type, or its code cannot be used. `hint` is the type that was probably meant."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Registry:
    """The types of one kind of adapter: our own by module, those of plugins by entry point."""

    kind: str
    group: str
    built_in: Mapping[str, str]
    needs: Iterable[str]  # what the class must have for the configuration to be read

    def names(self) -> list[str]:
        """Every type there is, plugins included."""
        return sorted({*self.built_in, *(point.name for point in entry_points(group=self.group))})

    def find(self, name: str) -> type[Any]:
        """The class of a type. Raises NoAdapter; plugins are looked at only when the type is not our own."""
        target = self.built_in.get(name)
        if target is None:
            found = [point.value for point in entry_points(group=self.group, name=name)]
            if not found:
                message = f"there is no {self.kind} type `{shown(name)}`; known: {', '.join(self.names())}"
                raise NoAdapter(message, did_you_mean(name, self.names()))
            target = found[0]
        module, _, attribute = target.partition(":")
        try:
            adapter: type[Any] = getattr(importlib.import_module(module), attribute)
        except Exception as problem:  # a plugin may raise anything; the rest of the file is still read
            message = f"the {self.kind} type `{name}` cannot be loaded from {target}: {type(problem).__name__}"
            raise NoAdapter(message) from problem
        missing = [part for part in self.needs if not hasattr(adapter, part)]
        if missing:
            message = f"the {self.kind} type `{name}` has no {' and no '.join(missing)}: it is made for another version"
            raise NoAdapter(message)
        return adapter

    def knows(self, name: str) -> bool:
        """Whether there is such a type."""
        return name in self.built_in or bool(entry_points(group=self.group, name=name))


PROVIDER_TYPES = Registry("provider", "rotator.providers", PROVIDERS, ("Settings", "Options", "bind"))
DESTINATION_TYPES = Registry("destination", "rotator.destinations", DESTINATIONS, ("Settings", "at"))
CONSUMER_TYPES = Registry("consumer", "rotator.consumers", CONSUMERS, ("Settings", "processes"))
SINK_TYPES = Registry("sink", "rotator.sinks", SINKS, ("Settings", "take"))
