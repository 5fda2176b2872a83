"""The key that signs checkpoints: Ed25519, and the text of C2SP `signed-note` and `tlog-checkpoint`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rotator.domain.errors import SetupError
from rotator.domain.secret import Secret

_TYPE = b"\x01"  # Ed25519, of the signature types of C2SP signed-note
_SEED_BYTES = 32


def new_seed() -> str:
    """A new signing key, 32 random bytes in base64."""
    return base64.b64encode(secrets.token_bytes(_SEED_BYTES)).decode()


class Signer:
    """Signs checkpoints of one log: `origin` is its name, and the name of the key."""

    def __init__(self, seed: Secret, origin: str) -> None:
        """Take 32 bytes in base64 (RFC 8032); anything else raises SetupError."""
        self._key = Ed25519PrivateKey.from_private_bytes(_decoded(seed))
        self._public = self._key.public_key().public_bytes_raw()
        self.origin = origin

    @property
    def verifier_key(self) -> str:
        """The public key as those who verify are given it: NAME+ID+KEY."""
        return f"{self.origin}+{self._id().hex()}+{base64.b64encode(_TYPE + self._public).decode()}"

    def checkpoint(self, size: int, root: bytes) -> str:
        """The signed note that says: the tree of the first `size` events has this root."""
        text = f"{self.origin}\n{size}\n{base64.b64encode(root).decode()}\n"
        signature = base64.b64encode(self._id() + self._key.sign(text.encode())).decode()
        return f"{text}\n— {self.origin} {signature}\n"

    def _id(self) -> bytes:
        return hashlib.sha256(self.origin.encode() + b"\n" + _TYPE + self._public).digest()[:4]


def _decoded(seed: Secret) -> bytes:
    try:
        raw = base64.b64decode(seed.reveal().strip(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _SEED_BYTES:
        message = f"the key that signs checkpoints is not {_SEED_BYTES} bytes in base64"
        remedy = "`rotator init` makes one; or: openssl rand -base64 32"
        raise SetupError(message, reason="bad_signing_key", remedy=remedy)
    return raw
