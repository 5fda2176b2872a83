"""The entries of a credential's `destinations:`: where they point, what they write, and who else writes there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any

from pydantic import BaseModel, create_model

from rotator.config.adapters import DESTINATION_TYPES, NoAdapter
from rotator.config.entries import TargetEntry
from rotator.config.hooks import read_hook
from rotator.config.models import DestinationConfig, Target
from rotator.config.part import Part
from rotator.config.problems import did_you_mean, reason, shown
from rotator.config.readers import Lag
from rotator.domain.errors import RotatorError
from rotator.domain.model import LAST_WAVE, WHOLE_BODY
from rotator.domain.template import PUBLIC, Template
from rotator.ports.destination import Destination
from rotator.ports.provider import Capabilities

BESIDE = "_PREVIOUS"
"""What the field of a companion is called, after the name of its own."""


@dataclass(frozen=True)
class Writer:
    """A credential that writes a field of a place, and where the file says so."""

    credential: str
    part: Part


@dataclass
class Places:
    """The destinations of the file, what they are called, and who writes what at each place."""

    destinations: dict[str, DestinationConfig | None]  # None: named, but something is wrong with it
    timeout: timedelta
    servers: dict[str, Any] = field(default_factory=dict)
    writers: dict[str, dict[str, Writer]] = field(default_factory=dict)  # identity → field → who

    def server(self, part: Part, name: str) -> Any:
        """The adapter of a destination, or None after a problem was reported (here, or where it is defined)."""
        if name not in self.destinations and not self._implied(part, name):
            part.report(f"no destination is called `{shown(name)}`", did_you_mean(name, self.destinations))
            return None
        config = self.destinations[name]
        if config is None:
            return None
        if name not in self.servers:
            try:
                self.servers[name] = config.adapter(name, config.settings, self.timeout)
            except (RotatorError, ValueError) as problem:
                part.report(f"the destination `{name}` cannot be used: {reason(problem)}")
                return None
        return self.servers[name]

    def _implied(self, part: Part, name: str) -> bool:
        """A type that needs no settings, such as `env-file`, is a destination without an entry of its own."""
        if not DESTINATION_TYPES.knows(name):
            return False
        try:
            adapter = DESTINATION_TYPES.find(name)
        except NoAdapter:
            return False
        unset = replace(part, data={}, problems=[])
        settings = unset.read(adapter.Settings)
        if settings is None:
            return False
        self.destinations[name] = DestinationConfig(name=name, type=name, settings=settings, adapter=adapter)
        return True

    def claim(self, destination: Destination, templates: Mapping[str, str], writer: Writer) -> None:
        """Note who writes these fields of a place; report a field, or a whole place, that has two writers."""
        taken = self.writers.setdefault(destination.identity, {})
        for name in templates:
            whole = name == WHOLE_BODY
            other = next(iter(taken.values()), None) if whole else taken.get(name) or taken.get(WHOLE_BODY)
            if other is None:
                taken[name] = writer
                continue
            where = f"{other.part.document.name}:{other.part.line}: {other.part.place}"
            who = "the same credential" if other.credential == writer.credential else f"credential `{other.credential}`"
            what = "this place" if whole else f"the field {shown(name)} of this place"
            writer.part.report(f"{what} ({destination.address}) is written by {who} too, at {where}")


@dataclass(frozen=True)
class Source:
    """What a credential can fill templates with. `capabilities` is None where the provider is not known."""

    name: str
    capabilities: Capabilities | None

    def defaults(self) -> dict[str, str] | None:
        """The provider's own field names, else the credential's name in upper case; None: there is no telling."""
        if self.capabilities is None:
            return {}
        if self.capabilities.default_fields:
            return dict(self.capabilities.default_fields)
        material = self.capabilities.material
        only = "secret" if "secret" in material else material[0]
        if only != "secret" and len(material) > 1:
            return None
        return {re.sub(r"[^A-Z0-9]", "_", self.name.upper()): f"{{{only}}}"}


def read_targets(part: Part, source: Source, places: Places) -> tuple[Target, ...]:
    """Every entry of `destinations:`; those with problems are reported and left out."""
    if not isinstance(part.data, list):
        return ()  # reported with the credential
    targets = []
    for position in range(len(part.data)):
        before = len(part.problems)
        target = _target(part.at(position), position, source, places)
        if target is not None and len(part.problems) == before:
            targets.append(target)
    return tuple(targets)


def names_of(part: Part) -> set[str]:
    """What the entries of `destinations:` call their places, whether or not they are right."""
    found = set()
    for position in range(len(part.data) if isinstance(part.data, list) else 0):
        entry = part.at(position)
        name = entry.data.partition(":")[0] if isinstance(entry.data, str) else entry.at("to").data
        found |= {name} if isinstance(name, str) else set()
    return found


def _target(part: Part, position: int, source: Source, places: Places) -> Target | None:
    short = isinstance(part.data, str)
    if short:
        name, _, rest = part.data.partition(":")
        part = replace(part, data={"to": name, "path": rest or None})
    entry = part.read(TargetEntry) or part.read_rest(TargetEntry)
    material = source.capabilities.material if source.capabilities is not None else None
    reload, probe = (read_hook(part.at(kind), kind, material) for kind in ("reload", "probe"))
    if entry is None:
        to = part.at("to").data
        if isinstance(to, str) and to:
            places.server(part.at("to"), to)
        return None
    templates = _templates(part, entry, source)
    server = places.server(part if short else part.at("to"), entry.to)
    if server is None or entry.path != part.at("path").data:  # a wrong path was reported and left out
        return None
    try:
        path = None if entry.path is None else _path(part, server, entry.path, short=short)
        destination: Destination = server.at(path)
    except (RotatorError, ValueError) as problem:
        part.report(reason(problem), at=() if short else ("path",))
        return None
    if WHOLE_BODY in templates and not destination.capabilities.whole_body:
        part.report("this kind of destination has fields only: use `fields`", at=("value",))
    companions = _companions(part, templates) if entry.mode == "pair" else {}
    places.claim(destination, {**templates, **companions}, Writer(source.name, part))
    return Target(
        to=entry.to,
        path=path,
        templates=templates,
        position=position,
        wave=entry.wave or LAST_WAVE,
        reload=reload,
        probe=probe,
        companions=companions,
        readers=entry.readers,
        propagation=entry.propagation,
        lag=_lag(entry, destination),
    )


def _companions(part: Part, templates: Mapping[str, str]) -> dict[str, str]:
    """The fields that hold the key before the current one."""
    if WHOLE_BODY in templates:
        part.report("needs `fields`: a whole body has no room for the key before", at=("mode",))
        return {}
    for name in templates:
        if f"{name}{BESIDE}" in templates:
            part.report(f"writes the key before to {shown(name + BESIDE)}, which is a field already", at=("mode",))
    return {f"{name}{BESIDE}": Template(text).before().text for name, text in templates.items()}


def _lag(entry: TargetEntry, destination: Destination) -> timedelta:
    propagation = destination.capabilities.propagation if entry.propagation is None else entry.propagation
    return propagation + (entry.readers.every if entry.readers is not None else timedelta(0))


def slowest(part: Part, targets: Sequence[Target]) -> Lag | None:
    """What the slowest readers of a credential need; `part` is its `destinations:`."""
    target = max(targets, key=lambda target: target.lag, default=None)
    if target is None or not target.lag:
        return None
    entry = part.at(target.position)
    return Lag(span=target.lag, place=entry.place, file=entry.document.name, line=entry.line)


def _path(part: Part, server: Any, path: str, *, short: bool) -> str:
    """An entry's path as the adapter takes it. Raises ValueError."""
    if short and hasattr(server, "parse"):
        path = server.parse(path)
    model = _path_model(server.Settings)
    if model is not None:
        path = str(model.model_validate({"path": path}, context={"folder": part.document.folder}).path)  # type: ignore[attr-defined]
    return path


@cache
def _path_model(settings: type[BaseModel]) -> type[BaseModel] | None:
    """Where the settings have a path of their own, an entry's is read by the same rules: relative to its file."""
    field: Any = settings.model_fields.get("path")
    return None if field is None else create_model("Place", path=(field.annotation, field))


def _templates(part: Part, entry: TargetEntry, source: Source) -> dict[str, str]:
    """Field → template. Where the credential's provider is not known, nothing is said about them."""
    if entry.fields is not None and entry.value is not None:
        part.report("excludes `fields`: take one of them out", at=("value",))
    if entry.prefix is not None and (entry.fields is not None or entry.value is not None):
        part.report("goes before the provider's own field names: write it into `fields`", at=("prefix",))
    if entry.value is not None:
        templates, places = {WHOLE_BODY: entry.value}, {WHOLE_BODY: part.at("value")}
    elif entry.fields is not None:
        templates, places = entry.fields, {name: part.at("fields").at(name) for name in entry.fields}
    else:
        defaults = source.defaults()
        if defaults is None:
            part.report("`fields` is missing: the provider's keys have several parts")
        return {f"{entry.prefix or ''}{name}": text for name, text in (defaults or {}).items()}
    if source.capabilities is not None:
        _check_templates(part, templates, places, source.capabilities.material)
    return templates


def _check_templates(
    part: Part, templates: Mapping[str, str], places: Mapping[str, Part], material: tuple[str, ...]
) -> None:
    if not templates:
        part.report("names no field", at=("fields",))
        return
    secret = any(set(Template(text).names) & set(material) for text in templates.values())
    for name, text in templates.items():
        template = Template(text)
        # Beside a secret there may be a field with public facts alone, such as the key's id.
        public = secret and template.names and set(template.names) <= set(PUBLIC)
        problem = template.problem((*material, *PUBLIC) if public else material)
        if not name and places[name].path[-1] == name:
            places[name].report("a field needs a name")
        elif problem is not None:
            places[name].report(problem)
