"""What sealers share whose key never leaves the service that keeps it."""

from __future__ import annotations

import hashlib

from rotator.domain.errors import PermanentError
from rotator.ports.sealer import KEY_ID_BYTES


def named(name: str) -> str:
    """The id of such a key: made from its name, since nothing else of it is known."""
    return hashlib.sha256(name.encode()).digest()[:KEY_ID_BYTES].hex()


def unusable(name: str, why: str, remedy: str) -> PermanentError:
    """The service has the key no more, or will not use it."""
    message = f"the sealing key {name} cannot be used: {why}"
    return PermanentError(message, reason="sealing_key_unusable", remedy=remedy)
