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


def line(event: NewEvent, *, seq: int, at: datetime, previous_hash: str) -> StoredEvent:
    """The stored form of an event: RFC 8785 JSON, and the SHA-256 of exactly those bytes.

    Raises TypeError or ValueError where `detail` holds what JSON cannot carry the same way everywhere (floats).
    """
    body = rfc8785.dumps(
        {
            "seq": seq,
            "at": moment_text(at),
            "actor": _plain(event.actor),
            "event": _plain(event.event),
            "credential": _plain(event.credential),
            "rotation": _plain(event.rotation),
            "version": event.version,
            "key_id": _plain(event.key_id),
            "destination": _plain(event.destination),
            "attempt": event.attempt,
            "reason": _plain(event.reason),
            "detail": _plain(event.detail),
            "previous_hash": previous_hash,
        }
    )
    return StoredEvent(seq=seq, body=body.decode(), hash=hashlib.sha256(body).hexdigest())


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
    seq, previous_hash = head.seq, head.hash
    stored, rows, proof = [], [], connection.info.get(PROOF)
    for event in (_proved(event, proof) for event in events):
        seq += 1
        written = line(event, seq=seq, at=at, previous_hash=previous_hash)
        previous_hash = written.hash
        stored.append(written)
        rows.append(_row(written, event, at))
    connection.execute(_APPEND, rows)
    tree = merkle.grown(head.tree, head.seq, [written.body for written in stored])
    connection.execute(_MOVE_HEAD, {"seq": seq, "hash": previous_hash, "tree": tree})
    tallies.add(connection, [*(Count("events", (_plain(event.event),)) for event in events), *counts])
    connection.info.setdefault(TOLD, []).extend(stored)
    return stored


def _proved(event: NewEvent, proof: Proof | None) -> NewEvent:
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


def _row(written: StoredEvent, event: NewEvent, at: datetime) -> dict[str, Any]:
    return {
        "seq": written.seq,
        "body": written.body,
        "hash": written.hash,
        "at": at,
        "event": _plain(event.event),
        "credential": _plain(event.credential),
        "rotation": _plain(event.rotation),
    }


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
