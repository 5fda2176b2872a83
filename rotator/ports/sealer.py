"""A sealer encrypts material for the database under a key-encryption key that lives elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rotator.domain.secret import Secret

Fingerprint = Callable[[Secret], str]
"""HMAC-SHA256 under the installation's pepper, 128 bits in hex. Equal values have equal fingerprints."""


class Sealer(Protocol):
    """Authenticated encryption. `bound_to` names the row and column; a blob opens only where it was sealed."""

    def seal(self, plain: bytes, bound_to: str) -> bytes:
        """Encrypt under a fresh data key."""
        ...

    def open(self, blob: bytes, bound_to: str) -> bytes:
        """Decrypt. Raises SetupError where the key is another one, or the blob belongs to another row."""
        ...
