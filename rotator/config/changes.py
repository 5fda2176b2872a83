"""What differs between two configurations, in words; what it would do is the engine's to say (`engine.changes`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from typing import Any

from rotator.config.models import Config, CredentialConfig, DestinationConfig, ProviderConfig
from rotator.domain.policy import Policy
from rotator.engine.work import Limits
from rotator.settings import format_duration

_COMPILED = ("schedule", "hours")
"""What a policy holds besides its keys."""


def renamed(before: Config, after: Config) -> dict[str, str]:
    """New name → former name, of the credentials that take their history along (`moved_from`)."""
    told = {name: credential.moved_from for name, credential in after.credentials.items()}
    return {
        name: former
        for name, former in told.items()
        if former is not None and former in before.credentials and name not in before.credentials
    }


def edits(before: CredentialConfig, after: CredentialConfig) -> list[str]:
    """The policy keys and options that differ: `rotate_every 90d→30d`. What is derived from others is not told."""
    found = []
    for key in fields(Policy):
        old, new = (getattr(credential.policy, key.name) for credential in (before, after))
        if key.name in _COMPILED or old == new:
            continue
        if {credential.places[key.name].source for credential in (before, after)} != {"built-in"}:
            found.append(f"{key.name} {shown(old)}→{shown(new)}")
    old, new = _values(before.options), _values(after.options)
    found += [f"options.{key} {shown(old.get(key))}→{shown(new.get(key))}" for key in _differing(old, new)]
    return found


def same_account(before: ProviderConfig, after: ProviderConfig) -> bool:
    """Whether two entries of `providers:` lead to the same account in the same way."""
    return before.type == after.type and _values(before.settings) == _values(after.settings)


def settings(before: Config, after: Config) -> Iterator[str]:
    """What differs for the whole installation, or for everything of one provider or destination."""
    if before.environment != after.environment:
        yield f"environment {before.environment}→{after.environment}: a database of another environment is refused"
    if before.store.url != after.store.url:
        yield "store.url leads to another database"
    gone = {key.text for key in before.seal.keys} - {key.text for key in after.seal.keys}
    if gone:
        yield f"seal names {', '.join(sorted(gone))} no more: a key on record (`rotator seal status`) is needed"
    for key in fields(Limits):
        old, new = getattr(before.engine, key.name), getattr(after.engine, key.name)
        if old != new:
            yield f"engine.{key.name} {shown(old)}→{shown(new)}"
    yield from _entries("provider", before.providers, after.providers)
    yield from _entries("destination", before.destinations, after.destinations)


def _entries(kind: str, before: Any, after: Any) -> Iterator[str]:
    for name in [*before, *(name for name in after if name not in before)]:
        if name not in after:
            yield f"{kind} {name} is taken out"
        elif name not in before:
            yield f"{kind} {name} is new"
        elif before[name].type != after[name].type:
            yield f"{kind} {name}: type {before[name].type}→{after[name].type}"
        elif keys := _differing(_all_values(before[name]), _all_values(after[name])):
            yield f"{kind} {name}: {', '.join(keys)} changed"


def _all_values(entry: ProviderConfig | DestinationConfig) -> dict[str, Any]:
    rate = {"calls_per_second": entry.calls_per_second} if isinstance(entry, ProviderConfig) else {}
    return {**_values(entry.settings), **rate}


def _values(settings: Any) -> dict[str, Any]:
    """The keys of a model of the file, as text where they are no plain values. References hold no secret."""
    return {} if settings is None else dict(settings.model_dump(mode="json", by_alias=True, fallback=str))


def _differing(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [key for key in {**before, **after} if before.get(key) != after.get(key)]


def shown(value: object) -> str:
    """A value as the file would have it."""
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, (tuple, list)):
        return ", ".join(str(one) for one in value) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)
