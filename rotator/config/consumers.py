"""The entries of a credential's `consumers:`: who reads the key, and how it shows that it has read the newest."""

from __future__ import annotations

from typing import Any

from rotator.config.adapters import CONSUMER_TYPES, NoAdapter
from rotator.config.models import ConsumerConfig, Consumers
from rotator.config.part import Part, known_keys
from rotator.config.problems import did_you_mean, shown
from rotator.domain.model import CONSUMER_NAME

HEARTBEAT = "heartbeat"


def read_consumers(part: Part) -> Consumers:
    """Every entry; those with problems are reported and left out."""
    asked: list[ConsumerConfig] = []
    heartbeats: list[str] = []
    for position in range(len(part.data) if isinstance(part.data, list) else 0):  # else reported with the credential
        entry = part.at(position)
        if isinstance(entry.data, dict) and HEARTBEAT in entry.data:
            heartbeats += _heartbeat(entry, heartbeats)
        elif isinstance(entry.data, dict):
            asked += _asked(entry, asked)
    return Consumers(asked=tuple(asked), heartbeats=tuple(heartbeats))


def _heartbeat(entry: Part, before: list[str]) -> list[str]:
    name = entry.data[HEARTBEAT]
    for key in entry.data.keys() - {HEARTBEAT}:
        entry.report("unknown key", at=(key,))
    if not isinstance(name, str) or not CONSUMER_NAME.fullmatch(name):
        entry.report("a consumer's name is at most 63 letters, digits and `._@:-`", at=(HEARTBEAT,))
        return []
    if name in before:
        entry.report(f"`{name}` is listed twice", at=(HEARTBEAT,))
    return [name]


def _asked(entry: Part, before: list[ConsumerConfig]) -> list[ConsumerConfig]:
    kinds = [key for key in entry.data if CONSUMER_TYPES.knows(key)]
    known = [HEARTBEAT, *CONSUMER_TYPES.names()]
    if len(kinds) != 1:
        if kinds:
            entry.report(f"is one consumer, not {len(kinds)}: write one entry for each")
        else:
            first = next(iter(entry.data), "")
            entry.report(f"names no consumer; known: {', '.join(known)}", did_you_mean(shown(first), known))
        return []
    try:
        adapter = CONSUMER_TYPES.find(kinds[0])
    except NoAdapter as problem:
        entry.report(str(problem), problem.hint, at=(kinds[0],))
        return []
    settings = entry.entry(known_keys(adapter.Settings)).read(adapter.Settings)
    if settings is None:
        return []
    if any(other.settings == settings for other in before):
        entry.report("is listed twice")
    return [ConsumerConfig(settings=settings, adapter=adapter)]


def consumers_of(consumers: Consumers) -> list[dict[str, Any]]:
    """The entries that `read_consumers` reads, without any secret."""
    asked = [c.settings.model_dump(mode="json", exclude_unset=True, fallback=str) for c in consumers.asked]
    return [*asked, *({HEARTBEAT: name} for name in consumers.heartbeats)]
