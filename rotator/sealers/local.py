"""A key-encryption key that is read from a file, a variable or a systemd credential: AES-256-GCM in this process."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

import rfc8785
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rotator.domain.errors import SetupError
from rotator.domain.secret import Secret
from rotator.ports.sealer import DATA_KEY_BYTES, KEY_ID_BYTES, DataKey, Place, tampered

_KEY_BYTES = 32
_NONCE_BYTES = 12  # random: safe far below 2**32 data keys under one key (NIST SP 800-38D)


def new_key() -> str:
    """A new key-encryption key, 32 random bytes in base64."""
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


class LocalSealer:
    """Implements `ports.sealer.Sealer`. A wrapped data key is nonce and ciphertext; the place is authenticated."""

    def __init__(self, key: Secret, name: str) -> None:
        """Take 32 bytes in base64; anything else raises SetupError."""
        raw = _decode(key, name)
        self.name = name
        self.id = hmac.digest(raw, b"keyturn kek id", hashlib.sha256)[:KEY_ID_BYTES].hex()
        self._cipher = AESGCM(raw)

    def data_key(self, place: Place) -> DataKey:
        """Make one here, and wrap it."""
        plain, nonce = secrets.token_bytes(DATA_KEY_BYTES), secrets.token_bytes(_NONCE_BYTES)
        return DataKey(plain, nonce + self._cipher.encrypt(nonce, plain, rfc8785.dumps(dict(place))))

    def unwrap(self, wrapped: bytes, place: Place) -> bytes:
        """Decrypt it."""
        try:
            return self._cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], rfc8785.dumps(dict(place)))
        except (InvalidTag, ValueError):
            raise tampered() from None

    def close(self) -> None:
        """Nothing is open."""


def _decode(key: Secret, name: str) -> bytes:
    try:
        raw = base64.b64decode(key.reveal().strip(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _KEY_BYTES:
        message = f"the sealing key {name} is not {_KEY_BYTES} bytes in base64"
        remedy = "`rotator init` makes one; where a database exists already, give the key it was made with (seal.key)"
        raise SetupError(message, reason="bad_sealing_key", remedy=remedy)
    return raw
