"""The JSON Schema of the configuration file, made from the models that read it (`rotator schema`)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from rotator.config.adapters import CONSUMER_TYPES, DESTINATION_TYPES, PROVIDER_TYPES, SINK_TYPES, NoAdapter, Registry
from rotator.config.consumers import HEARTBEAT, AskedEntry
from rotator.config.entries import (
    AuditEntry,
    CredentialEntry,
    DefaultsEntry,
    EngineEntry,
    EvidenceEntry,
    FileEntry,
    PolicyEntry,
    ProviderEntry,
    SealEntry,
    StoreEntry,
    TargetEntry,
)
from rotator.config.hooks import KINDS, hook_class
from rotator.config.notify import NotifyEntry, RouteEntry
from rotator.domain.model import CONSUMER_NAME
from rotator.notifiers import NOTIFIERS
from rotator.settings import format_duration

Schema = dict[str, Any]

_NAME = {"pattern": "^[a-z0-9][a-z0-9._-]{0,62}$"}


class _Generator(GenerateJsonSchema):
    """Shows defaults as they are written in the file."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return format_duration(dft)
        return super().encode_default(dft)


def json_schema() -> Schema:
    """The schema of the whole file, with the settings and options of every type that is installed."""
    providers, destinations = _adapters(PROVIDER_TYPES), _adapters(DESTINATION_TYPES)
    hooks = {kind: [hook_class(way).Settings for way in ways.values()] for kind, ways in KINDS.items()}
    consumers, sinks = _adapters(CONSUMER_TYPES), _adapters(SINK_TYPES)
    sections = (StoreEntry, SealEntry, EngineEntry, EvidenceEntry, AuditEntry, NotifyEntry, DefaultsEntry, PolicyEntry)
    ours = (FileEntry, *sections, CredentialEntry, TargetEntry, RouteEntry)
    notifiers = [hook_class(way).Settings for way in NOTIFIERS.values()]
    shared = ProviderEntry.model_json_schema()["properties"]
    models: list[type[BaseModel]] = [
        *ours,
        *(
            adapter.Settings
            for adapter in (*providers.values(), *destinations.values(), *consumers.values(), *sinks.values())
        ),
        *(adapter.Options for adapter in providers.values()),
        *(model for models in hooks.values() for model in models),
        *notifiers,
    ]
    unique = dict.fromkeys(models)
    references, definitions = models_json_schema([(m, "validation") for m in unique], schema_generator=_Generator)
    schemas = {model: references[model, "validation"] for model in unique}
    defs: Schema = definitions["$defs"]
    for section in sections:
        _define(defs, schemas[section])["type"] = ["object", "null"]  # a key without a value is as good as none
    _define(defs, schemas[DefaultsEntry])["properties"]["policy"] = schemas[PolicyEntry]
    credential = _define(defs, schemas[CredentialEntry])["properties"]
    credential["policy"] = schemas[PolicyEntry]
    credential["options"] = _any_of([*(schemas[adapter.Options] for adapter in providers.values()), {"type": "null"}])
    credential["destinations"]["items"] = _any_of([{"type": "string"}, schemas[TargetEntry]])
    target = _define(defs, schemas[TargetEntry])["properties"]
    for kind, ways in hooks.items():
        target[kind] = _any_of([*(schemas[settings] for settings in ways), {"type": "null"}])
    route = _define(defs, schemas[RouteEntry])["properties"]
    for settings in notifiers:  # a route has the keys of its way beside its own
        _define(defs, schemas[settings])["properties"].update(route)
    _define(defs, schemas[NotifyEntry])["properties"]["routes"] = _named(_any_of([schemas[s] for s in notifiers]))
    asked = [schemas[adapter.Settings] for adapter in consumers.values()]
    for schema in asked:
        _define(defs, schema)["properties"].update(AskedEntry.model_json_schema()["properties"])
    credential["consumers"] = _consumers(asked)
    _define(defs, schemas[AuditEntry])["properties"]["sinks"] = _entries(sinks, schemas, defs, {})
    top = _define(defs, schemas[FileEntry])["properties"]
    properties = {
        **top,
        "store": schemas[StoreEntry],
        "seal": schemas[SealEntry],
        "engine": schemas[EngineEntry],
        "evidence": schemas[EvidenceEntry],
        "audit": schemas[AuditEntry],
        "notify": schemas[NotifyEntry],
        "defaults": schemas[DefaultsEntry],
        "providers": _entries(providers, schemas, defs, shared),
        "destinations": _entries(destinations, schemas, defs, {}),
        "credentials": _named(schemas[CredentialEntry]),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "rotator.yaml",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "$defs": defs,
    }


def _adapters(registry: Registry) -> dict[str, type[Any]]:
    """Type → class; a plugin that cannot be loaded is left out, `check` tells about it."""
    found = {}
    for name in registry.names():
        try:
            found[name] = registry.find(name)
        except NoAdapter:
            continue
    return found


def _entries(
    adapters: dict[str, type[Any]], schemas: dict[type[BaseModel], Schema], defs: Schema, shared: Schema
) -> Schema:
    """A mapping of names to entries: `type` says which settings are meant, or the name does."""
    settings = {name: schemas[adapter.Settings] for name, adapter in adapters.items()}
    for schema in settings.values():
        _define(defs, schema).setdefault("properties", {}).update({"type": {"type": "string"}, **shared})
    chosen = [
        {"if": {"type": "object", "properties": {"type": {"const": name}}, "required": ["type"]}, "then": schema}
        for name, schema in settings.items()
    ]
    typed = {"type": "object", "properties": {"type": {"enum": sorted(settings)}}, "allOf": chosen}
    return {
        **_named({**typed, "required": ["type"]}),
        "properties": {
            name: {**typed, "type": ["object", "null"], "if": {"not": {"required": ["type"]}}, "then": schema}
            for name, schema in settings.items()
        },
    }


def _consumers(asked: list[Schema]) -> Schema:
    name = {"type": "string", "pattern": f"^{CONSUMER_NAME.pattern}$"}
    heartbeat = {"properties": {HEARTBEAT: name}, "required": [HEARTBEAT], "additionalProperties": False}
    return {"type": ["array", "null"], "items": _any_of([*asked, {"type": "object", **heartbeat}])}


def _named(entry: Schema) -> Schema:
    return {"type": ["object", "null"], "propertyNames": _NAME, "additionalProperties": entry}


def _define(defs: Schema, reference: Schema) -> Schema:
    """The definition that a reference points to."""
    definition: Schema = defs[reference["$ref"].removeprefix("#/$defs/")]
    return definition


def _any_of(schemas: list[Schema]) -> Schema:
    return {"anyOf": schemas}
