"""The entries of `providers:` and `destinations:`: each is read by the settings model of its adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from rotator.config.adapters import NoAdapter, Registry
from rotator.config.part import Entry, Part, known_keys

Made = TypeVar("Made")


@dataclass(frozen=True)
class Known(Generic[Made]):
    """An entry as far as it could be read: None stands for what a reported problem keeps from us."""

    adapter: type[Any] | None
    config: Made | None


def read_entries(
    part: Part, registry: Registry, make: Callable[..., Made], common: type[Entry] = Entry
) -> dict[str, Known[Made]]:
    """Every entry by its name, those with problems included, so that what refers to them is no problem too.

    `common` has the keys that every type knows; they go to `make` beside the adapter's own settings.
    """
    return {name: _entry(name, entry, registry, make, common) for name, entry in part.named()}


def _entry(name: str, part: Part, registry: Registry, make: Callable[..., Made], common: type[Entry]) -> Known[Made]:
    data = {} if part.data is None else part.data
    if not isinstance(data, dict):
        part.report("must be a mapping of keys to values")
        return Known(None, None)
    kind = data["type"] if "type" in data else name if registry.knows(name) else None
    if not isinstance(kind, str):
        words = "is missing" if kind is None else "must be text"
        part.report(f"{words}; known: {', '.join(registry.names())}", at=("type",))
        return Known(None, None)
    try:
        adapter = registry.find(kind)
    except NoAdapter as problem:
        part.report(str(problem), problem.hint, at=("type",))
        return Known(None, None)
    ours = {"type", *common.model_fields}
    shared = replace(part, data=data).picked(*common.model_fields).read(common)
    own = {key: value for key, value in data.items() if key not in ours}
    settings = replace(part, data=own).entry(ours | known_keys(adapter.Settings)).read(adapter.Settings)
    if settings is None or shared is None:
        return Known(adapter, None)
    return Known(adapter, make(name=name, type=kind, settings=settings, adapter=adapter, **dict(shared)))
