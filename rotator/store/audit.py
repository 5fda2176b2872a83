"""The audit trail's writer: each event's hash covers the event before it, a tree all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import rfc8785
from sqlalchemy import Connection, insert, select, update

from rotator.access.formats import export_line
from rotator.ports.store import Count, NewEvent, StoredEvent
from rotator.store import merkle, tallies
from rotator.store.columns import moment_text
from rotator.store.database import PROOF, TOLD, Proof
from rotator.store.tables import event as event_table
from rotator.store.tables import head as head_table

FIRST_PREVIOUS_HASH = "0" * 64

_HEAD = select(head_table.c.seq, head_table.c.hash, head_table.c.tree)
_HEAD_TO_LOCK = _HEAD.with_for_update()
_MOVE_HEAD = update(head_table)
_APPEND = insert(event_table)


@dataclass(frozen=True)
class Draft:
    """An event without what is known only once its turn has come: when it is, where it stands and after what."""

    text: tuple[str, str, str, str]
    """What stands before, between and after its time, the hash before it and its number."""

    def stored(self, *, seq: int, at: datetime, previous_hash: str) -> StoredEvent:
        """The event at its place, with the SHA-256 of exactly its bytes."""
        front, middle, late, end = self.text
        body = f"{front}{moment_text(at)}{middle}{previous_hash}{late}{seq}{end}"
        return StoredEvent(seq=seq, body=body, hash=hashlib.sha256(body.encode()).hexdigest())


def draft(event: NewEvent) -> Draft:
    """The RFC 8785 JSON of an event, whose keys stand in their order, in four parts.

    Raises TypeError or ValueError where `detail` holds what JSON cannot carry the same way everywhere (floats).
    """
    front = _inner(actor=event.actor)
    middle = _inner(
        attempt=event.attempt,
        credential=event.credential,
        destination=event.destination,
        detail=event.detail,
        event=event.event,
        key_id=event.key_id,
    )
    late = _inner(reason=event.reason, rotation=event.rotation)
    end = _inner(version=event.version)
    return Draft((f'{{{front},"at":"', f'",{middle},"previous_hash":"', f'",{late},"seq":', f",{end}}}"))


def _inner(**values: Any) -> str:
    return rfc8785.dumps(_plain(values))[1:-1].decode()


def line(event: NewEvent, *, seq: int, at: datetime, previous_hash: str) -> StoredEvent:
    """The stored form of an event. Raises as `draft`."""
    return draft(event).stored(seq=seq, at=at, previous_hash=previous_hash)


@dataclass(frozen=True)
class Head:
    """The end of the trail: the last event, and the tree of all of them (see `merkle`)."""

    seq: int
    hash: str
    tree: Sequence[str]


def end(connection: Connection) -> Head:
    """The end as it is now."""
    return Head(*connection.execute(_HEAD).one())


def lock(connection: Connection) -> Head:
    """The end. Until the transaction ends, nobody else appends."""
    return Head(*connection.execute(_HEAD_TO_LOCK).one())


def append(
    connection: Connection, at: datetime, events: Sequence[NewEvent], counts: Sequence[Count] = ()
) -> Sequence[StoredEvent]:
    """Append events in the caller's transaction, and count. To be its last act: it holds up every other writer."""
    if not events:
        tallies.add(connection, counts)
        return ()
    head = lock(connection)
    events = [proved(event, connection.info.get(PROOF)) for event in events]
    stored = chained(map(draft, events), seq=head.seq + 1, at=at, previous_hash=head.hash)
    rows = [
        {"seq": of.seq, "body": of.body, "hash": of.hash, "at": at, **searched(event)}
        for of, event in zip(stored, events, strict=True)
    ]
    connection.execute(_APPEND, rows)
    tree = merkle.grown(head.tree, head.seq, [of.body for of in stored])
    connection.execute(_MOVE_HEAD, {"seq": stored[-1].seq, "hash": stored[-1].hash, "tree": tree})
    tallies.add(connection, [*counted(events), *counts])
    connection.info.setdefault(TOLD, []).extend(stored)
    return stored


def chained(drafts: Iterable[Draft], *, seq: int, at: datetime, previous_hash: str) -> Sequence[StoredEvent]:
    """The drafts at their places, the first at `seq`."""
    found: list[StoredEvent] = []
    for number, of in enumerate(drafts, seq):
        found.append(of.stored(seq=number, at=at, previous_hash=found[-1].hash if found else previous_hash))
    return found


def searched(event: NewEvent) -> Mapping[str, str | None]:
    """What the trail is searched by: the columns that repeat what is in the body."""
    columns = {"event": event.event, "credential": event.credential, "rotation": event.rotation}
    return {name: _plain(value) for name, value in columns.items()}


def counted(events: Iterable[NewEvent]) -> Iterator[Count]:
    """What events add to the sums."""
    return (Count("events", (_plain(event.event),)) for event in events)


def proved(event: NewEvent, proof: Proof | None) -> NewEvent:
    """With how it is known who acts. Whoever asked for it by a request has proved that where it was asked for."""
    if proof is None:
        return event
    how = proof.how if event.actor == proof.actor else {"by": "request", "recorded_by": proof.actor}
    return replace(event, detail={**event.detail, "proved": how})


class Trail(Protocol):
    """What has events."""

    def events(self, after: int = 0) -> Iterator[StoredEvent]:
        """All of them, in order."""
        ...


def export(store: Trail, after: int = 0) -> Iterator[str]:
    """The trail as JSON lines, without line ends: each stored body with its `hash` added."""
    return exported(store.events(after))


def exported(events: Iterable[StoredEvent]) -> Iterator[str]:
    """Events as the lines of an export."""
    for event in events:
        yield export_line(event)


def _plain(value: Any) -> Any:
    """JSON's own types only. Half characters, as in a badly encoded $ROTATOR_ACTOR, must not stop a write."""
    if isinstance(value, str):
        return str.__str__(value).encode("utf-8", "replace").decode()
    if isinstance(value, float):
        message = "an event's detail holds no floats: they are not written the same way everywhere"
        raise TypeError(message)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
