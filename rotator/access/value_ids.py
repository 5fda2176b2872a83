"""Ids for values that nobody lists: made from the value itself."""

from __future__ import annotations

import hashlib
import hmac

from rotator.domain.secret import Secret

_BYTES = 6


def value_id(kind: str, value: Secret, *, salt: bytes) -> str:
    """An id that is the same for the same value, on every host and without a key: `kind-` and 12 hex digits.

    It is 48 bits of a hash of the value, and not kept as it is: the engine hashes it once more, with the pepper. What a
    person chose may be weak: scrypt makes each guess cost 16 MiB and tens of milliseconds.
    """
    return f"{kind}-" + hashlib.scrypt(value.reveal().encode(), salt=salt, n=2**14, r=8, p=1, dklen=_BYTES).hex()


def random_value_id(kind: str, value: Secret, *, salt: bytes) -> str:
    """The same of a value with so many random bits that no guess hits it, however little one costs."""
    return f"{kind}-" + hmac.digest(salt, value.reveal().encode(), "sha256")[:_BYTES].hex()
