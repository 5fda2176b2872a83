"""The audit trail's verifier. Shares no code with the writer: what one gets wrong, the other must notice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from rotator.ports.store import StoredEvent

_KEYS = {
    "seq", "at", "actor", "event", "credential", "rotation", "version", "key_id", "destination", "attempt", "reason",
    "detail", "previous_hash", "hash",
}  # fmt: skip
_BEFORE_THE_FIRST = "0" * 64


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The outcome. `problem` is the seq where the trail is wrong first, and what is wrong there."""

    count: int  # of events that are right
    head_hash: str  # of the last one of these; anchor it outside to notice a trail that was rewritten as a whole
    problem: tuple[int, str] | None = None


class Chain(Protocol):
    """A database with a trail."""

    def events(self, after: int = 0) -> Iterator[StoredEvent]:
        """All events, in order."""
        ...

    def head(self) -> tuple[int, str]:
        """Seq and hash of the last event, as the database remembers them apart from the trail."""
        ...


def verify(lines: Iterable[str]) -> Verification:
    """Check an exported trail from its first event on.

    Finds what was changed, deleted, inserted or moved. A cut tail cannot be seen in an export alone: compare
    `count` and `head_hash` with what you noted elsewhere.
    """
    count, previous = 0, _BEFORE_THE_FIRST
    for line in lines:
        found, problem = _check(line, count + 1, previous)
        if problem is not None:
            return Verification(count=count, head_hash=previous, problem=(count + 1, problem))
        count, previous = count + 1, found
    return Verification(count=count, head_hash=previous)


def verify_store(store: Chain) -> Verification:
    """Check the trail of a database: its stored bytes, and that it ends where its head says."""
    last_seq, last_hash = store.head()
    count, previous = 0, _BEFORE_THE_FIRST
    for event in store.events():
        problem = _check_stored(event, count + 1, previous)
        if problem is None and event.seq == last_seq and event.hash != last_hash:
            problem = "its hash is not the one that the head remembers"
        if problem is not None:
            return Verification(count=count, head_hash=previous, problem=(count + 1, problem))
        count, previous = count + 1, event.hash
    if count < last_seq:
        problem = f"events {count + 1} to {last_seq} are missing at the end"
        return Verification(count=count, head_hash=previous, problem=(count + 1, problem))
    if count > store.head()[0]:
        problem = "there are events after the one that the head remembers"
        return Verification(count=count, head_hash=previous, problem=(count, problem))
    return Verification(count=count, head_hash=previous)


def _check_stored(event: StoredEvent, seq: int, previous: str) -> str | None:
    if event.seq != seq:
        return f"a gap: event {event.seq} stands here"
    if hashlib.sha256(event.body.encode()).hexdigest() != event.hash:
        return "its hash does not fit its text"
    if not event.body.endswith("}"):
        return "it is not a JSON object"
    found, problem = _check(f'{event.body[:-1]},"hash":"{event.hash}"}}', seq, previous)
    if problem is None and found != event.hash:
        return "its hash does not fit its text"
    return problem


def _check(line: str, seq: int, previous: str) -> tuple[str, str | None]:
    """The event's hash, and what is wrong with it."""
    try:
        event = json.loads(line, object_pairs_hook=_no_doubles)
    except ValueError:
        return "", "it is not a JSON object"
    if not isinstance(event, dict) or event.keys() != _KEYS:
        return "", "its keys are not those of an event"
    claimed = str(event.pop("hash"))
    return claimed, _problem(event, claimed, seq, previous)


def _problem(event: dict[str, Any], claimed: str, seq: int, previous: str) -> str | None:
    if event["seq"] != seq:
        return f"a gap: event {event['seq']} stands here"
    # surrogatepass: half a character cannot be in an honest trail, and must not stop us from saying so.
    if hashlib.sha256(_canonical(event).encode("utf-8", "surrogatepass")).hexdigest() != claimed:
        return "its hash does not fit its text"
    if event["previous_hash"] != previous:
        return "it does not follow the event before it"
    return None


def _canonical(value: Any) -> str:
    """RFC 8785: no blanks, and keys in the order of their UTF-16 code units."""
    return json.dumps(_in_order(value), ensure_ascii=False, separators=(",", ":"))


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value, key=lambda name: name.encode("utf-16-be"))}
    if isinstance(value, list):
        return [_in_order(item) for item in value]
    return value


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        message = "a key stands twice"
        raise ValueError(message)
    return fields
