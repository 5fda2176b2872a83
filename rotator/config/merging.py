"""The policy keys of all layers, merged: the values, and where each one is from."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from rotator.config.entries import PolicyEntry
from rotator.config.models import Origin
from rotator.config.part import Part
from rotator.config.readers import Lag
from rotator.domain.policy import Policy
from rotator.settings import format_duration

_BUILT_IN = Policy()
_KEYS = tuple(key.name for key in fields(Policy) if key.name not in ("schedule", "hours", "waves"))


@dataclass(frozen=True)
class Layer:
    """The policy keys of one place: the defaults of the file, those of an included file, or the credential's own."""

    source: Literal["credential", "defaults"]
    part: Part
    entry: PolicyEntry  # without the keys that are wrong
    whole: bool  # none was wrong

    @classmethod
    def of(cls, source: Literal["credential", "defaults"], part: Part) -> Layer:
        """Read a `policy:`; problems with it are reported."""
        entry = part.read(PolicyEntry)
        whole = entry is not None
        entry = entry or part.read_rest(PolicyEntry) or PolicyEntry()
        if entry.cron is not None and entry.rotate_every is not None:
            part.report("excludes `rotate_every`: take one of them out", at=("cron",))
            whole = False
        return cls(source, part, entry, whole)


@dataclass
class Merged:
    """The values of all layers, key by key, and where each one is from."""

    values: dict[str, Any] = field(default_factory=lambda: {key: getattr(_BUILT_IN, key) for key in _KEYS})
    layers: dict[str, Layer] = field(default_factory=dict)
    lag: Lag | None = None  # where it is what makes the grace as long as it is

    def __post_init__(self) -> None:
        self.values["min_interval"] = None  # follows the period

    def add(self, layer: Layer) -> None:
        """Put a layer over those before it; `cron` and `rotate_every` replace each other."""
        given = layer.entry.model_fields_set
        if given & {"cron", "rotate_every"}:
            self.take_back("cron", "rotate_every")
        for key in given:
            value = getattr(layer.entry, key)
            self.values[key] = tuple(value or ()) if key in ("windows", "blackouts") else value
            self.layers[key] = layer

    def take_back(self, *keys: str) -> None:
        """As if nobody had written these keys."""
        for key in keys:
            self.values[key] = getattr(_BUILT_IN, key)
            self.layers.pop(key, None)

    def lengthen_grace(self, lag: Lag) -> None:
        """No old key is taken away while a reader may still hold it, whatever somebody has written."""
        if self.values["grace"] < lag.span:
            self.lag = replace(lag, instead_of=self.values["grace"])
            self.values["grace"] = lag.span

    def source(self, key: str) -> str:
        """`credential`, `defaults` or `built-in`."""
        return self.layers[key].source if key in self.layers else "built-in"

    def report(self, key: str, message: str, hint: str | None = None) -> None:
        """A problem with the value of a key, at the place that gave it."""
        self.layers[key].part.report(message, hint, at=(key,))

    def origins(self) -> dict[str, Origin]:
        """Policy key → where its value is from."""
        origins = dict.fromkeys(_KEYS, Origin(source="built-in"))
        for key, layer in self.layers.items():
            line = layer.part.document.line((*layer.part.path, key))
            origins[key] = Origin(source=layer.source, file=layer.part.document.name, line=line)
        if self.lag is not None:
            why = f"raised from {format_duration(self.lag.instead_of)}, for its readers"
            origins["grace"] = Origin(source="destinations", file=self.lag.file, line=self.lag.line, why=why)
        return origins
