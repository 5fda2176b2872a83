"""Ids for values that nobody lists: made from the value itself."""

from __future__ import annotations

import hashlib

from rotator.domain.secret import Secret


def value_id(kind: str, value: Secret, *, salt: bytes) -> str:
    """An id that is the same for the same value, on every host and without a key: `kind-` and 12 hex digits.

    It is 48 bits of a hash of the value, and not kept as it is: the engine hashes it once more, with the pepper. What a
    person chose may be weak: scrypt makes each guess cost 16 MiB and tens of milliseconds.
    """
    return f"{kind}-" + hashlib.scrypt(value.reveal().encode(), salt=salt, n=2**14, r=8, p=1, dklen=6).hex()
