"""One event: the stored bytes, their hash, and the one form (RFC 8785) that they may have."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

KEYS = frozenset(
    (
        "seq", "at", "actor", "event", "credential", "rotation", "version", "key_id", "destination", "attempt",
        "reason", "detail", "previous_hash",
    )
)  # fmt: skip
_TAIL = re.compile(rb',"hash":"([0-9a-f]{64})"\}')
_TAIL_BYTES = 75


class Malformed(ValueError):
    """Not an event. The message says why."""


@dataclass(frozen=True)
class Row:
    """An event as it was found. `number` and `columns` are what a database says of it beside its text."""

    body: bytes
    hash: str
    number: int | None = None
    columns: tuple[str, str, str | None, str | None] | None = None  # at, event, credential, rotation


def row_of(line: bytes) -> Row:
    """One line of an export. Raises Malformed."""
    line = line.rstrip(b"\r\n")
    tail = _TAIL.fullmatch(line, max(len(line) - _TAIL_BYTES, 0))
    if tail is not None:  # as the service writes it
        return Row(line[:-_TAIL_BYTES] + b"}", tail[1].decode())
    event = _load(line, object_pairs_hook=_no_doubles)  # somebody has formatted it anew, which changes nothing
    claimed = str(event.pop("hash", ""))
    return Row(canonical(event).encode("utf-8", "surrogatepass"), claimed)


def read(row: Row) -> dict[str, Any]:
    """The event, once its hash, its form and its keys are right. Raises Malformed."""
    if hashlib.sha256(row.body).hexdigest() != row.hash:
        message = "its hash does not fit its text"
        raise Malformed(message)
    event = _load(row.body)
    if canonical(event).encode("utf-8", "surrogatepass") != row.body:
        message = "its text has not the form of RFC 8785"
        raise Malformed(message)
    if event.keys() != KEYS:
        message = "its keys are not those of an event"
        raise Malformed(message)
    return event


def _load(text: bytes, **how: Any) -> dict[str, Any]:
    try:
        loaded = json.loads(text, parse_float=_refuse, parse_constant=_refuse, **how) if how else _decode(text.decode())
    except (ValueError, RecursionError):
        loaded = None
    if not isinstance(loaded, dict):
        message = "it is not a JSON object"
        raise Malformed(message)
    return loaded


def canonical(value: Any) -> str:
    """RFC 8785: no blanks, and keys in the order of their UTF-16 code units. There are no floats in a trail."""
    text = _encode(value)
    # Code points are in another order than UTF-16 only beyond ASCII.
    return text if text.isascii() else _encode_as_is(_in_order(value))


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value, key=_utf_16)}
    if isinstance(value, list):
        return [_in_order(item) for item in value]
    return value


def _utf_16(name: str) -> bytes:
    return name.encode("utf-16-be", "surrogatepass")


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        message = "a key stands twice"
        raise ValueError(message)
    return fields


def _refuse(number: str) -> NoReturn:
    message = f"{number} is no number that an event may hold"
    raise ValueError(message)


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
_encode_as_is = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_decode = json.JSONDecoder(parse_float=_refuse, parse_constant=_refuse).decode
