"""The entries of a credential's `consumers:`: who reads the key, and how it shows that it has read the newest."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from pydantic import Field

from rotator.config.adapters import CONSUMER_TYPES, NoAdapter
from rotator.config.models import ConsumerConfig, Consumers
from rotator.config.part import Entry, Part, known_keys
from rotator.config.problems import did_you_mean, shown
from rotator.domain.model import CONSUMER_NAME

HEARTBEAT = "heartbeat"


class AskedEntry(Entry):
    """What every entry of `consumers:` knows whose programs can be asked, whatever its kind."""

    reads: str | None = Field(default=None, min_length=1)


def read_consumers(part: Part, destinations: Collection[str]) -> Consumers:
    """Every entry; those with problems are reported and left out. `destinations` are those of the credential."""
    asked: list[ConsumerConfig] = []
    heartbeats: list[str] = []
    for position in range(len(part.data) if isinstance(part.data, list) else 0):  # else reported with the credential
        entry = part.at(position)
        if isinstance(entry.data, dict) and HEARTBEAT in entry.data:
            heartbeats += _heartbeat(entry, heartbeats)
        elif isinstance(entry.data, dict):
            asked += _asked(entry, destinations, asked)
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


def _asked(entry: Part, destinations: Collection[str], before: list[ConsumerConfig]) -> list[ConsumerConfig]:
    kinds = [key for key in entry.data if CONSUMER_TYPES.knows(key)]
    if len(kinds) != 1:
        all_kinds = [HEARTBEAT, *CONSUMER_TYPES.names()]
        if kinds:
            entry.report(f"is one consumer, not {len(kinds)}: write one entry for each")
        else:
            first = next(iter(entry.data), "")
            entry.report(f"names no consumer; known: {', '.join(all_kinds)}", did_you_mean(shown(first), all_kinds))
        return []
    try:
        adapter = CONSUMER_TYPES.find(kinds[0])
    except NoAdapter as problem:
        entry.report(str(problem), problem.hint, at=(kinds[0],))
        return []
    shared = entry.picked(*AskedEntry.model_fields).read(AskedEntry)
    own = {key: value for key, value in entry.data.items() if key not in AskedEntry.model_fields}
    known = {*AskedEntry.model_fields, *known_keys(adapter.Settings)}
    settings = replace(entry, data=own).entry(known).read(adapter.Settings)
    if settings is None or shared is None:
        return []
    if shared.reads is not None and shared.reads not in destinations:
        message = f"the credential has no destination `{shown(shared.reads)}`"
        entry.report(message, did_you_mean(shared.reads, destinations), at=("reads",))
    made = ConsumerConfig(settings=settings, adapter=adapter, reads=shared.reads)
    if made in before:
        entry.report("is listed twice")
    return [made]


def consumers_of(consumers: Consumers) -> list[dict[str, Any]]:
    """The entries that `read_consumers` reads, without any secret."""
    asked = [
        {
            **consumer.settings.model_dump(mode="json", exclude_unset=True, fallback=str),
            **({"reads": consumer.reads} if consumer.reads else {}),
        }
        for consumer in consumers.asked
    ]
    return [*asked, *({HEARTBEAT: name} for name in consumers.heartbeats)]
