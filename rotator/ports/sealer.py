"""A sealer holds one key-encryption key: it wraps the data keys under which values are encrypted for the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rotator.domain.errors import PermanentError
from rotator.domain.secret import Secret

Fingerprint = Callable[[Secret], str]
"""HMAC-SHA256 under the installation's pepper, 128 bits in hex. Equal values have equal fingerprints."""

Place = Mapping[str, str]
"""Where a value stands: install, table, row and column. What was wrapped for one place opens for no other."""

DATA_KEY_BYTES = 32
KEY_ID_BYTES = 8


@dataclass(frozen=True)
class DataKey:
    """A fresh AES-256 key for one value, and the same, wrapped, to be kept beside what it encrypts."""

    plain: bytes = field(repr=False)
    wrapped: bytes


class Sealer(Protocol):
    """One key-encryption key. Methods may be called from several threads, and repeated: they change nothing.

    Both raise Unavailable or RateLimited where the key is kept by a service that does not answer, AccessDenied where
    that refuses our credential, and PermanentError where the key cannot be used there any more.
    """

    id: str
    """16 hex digits: tells this key from others, and nothing about it."""

    name: str
    """As the configuration names it, such as `file:rotator.key`."""

    def data_key(self, place: Place) -> DataKey:
        """Make a data key for a value at this place."""
        ...

    def unwrap(self, wrapped: bytes, place: Place) -> bytes:
        """Give the data key back. Raises PermanentError (`sealed_tampered`) for another key, place or content."""
        ...

    def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        ...


def tampered() -> PermanentError:
    """What was sealed does not open, though the key is there."""
    message = "a sealed value was changed, or moved here from another row or database"
    return PermanentError(
        message, reason="sealed_tampered", remedy="restore the database from a backup, and ask who did it"
    )
