"""Sealing with a key of our own: AES-256-GCM, a fresh data key for every blob, wrapped by the key-encryption key."""

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

_FORMAT = b"\x01"
_KEY_BYTES = 32
_ID_BYTES = 8
_NONCE_BYTES = 12  # random: safe far below 2**32 blobs under one key (NIST SP 800-38D)
_WRAPPED_BYTES = _NONCE_BYTES + _KEY_BYTES + 16
_HEADER_BYTES = len(_FORMAT) + _ID_BYTES + _WRAPPED_BYTES


def new_key() -> str:
    """A new key-encryption key, 32 random bytes in base64."""
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


class AesGcmSealer:
    """Implements `ports.sealer.Sealer`.

    A blob is: version byte, id of the key-encryption key, nonce and wrapped data key, nonce and ciphertext.
    Both layers are bound to the key's id and to `bound_to`, so that a blob opens only where it was sealed.
    """

    def __init__(self, key: Secret) -> None:
        """Take 32 bytes in base64; anything else raises SetupError."""
        raw = _decode(key)
        self._wrapping = AESGCM(raw)
        self._key_id = hmac.digest(raw, b"keyturn kek id", hashlib.sha256)[:_ID_BYTES]

    def seal(self, plain: bytes, bound_to: str) -> bytes:
        """Encrypt under a fresh data key."""
        data_key = AESGCM.generate_key(bit_length=256)
        wrapped = _encrypt(self._wrapping, data_key, self._aad(bound_to, "key"))
        return _FORMAT + self._key_id + wrapped + _encrypt(AESGCM(data_key), plain, self._aad(bound_to, "value"))

    def open(self, blob: bytes, bound_to: str) -> bytes:
        """Decrypt. Raises SetupError: `wrong_sealing_key`, or `sealed_tampered`."""
        if blob[:1] != _FORMAT or len(blob) < _HEADER_BYTES:
            raise _tampered()
        if not hmac.compare_digest(blob[1 : 1 + _ID_BYTES], self._key_id):
            message = "what stands in the database is sealed under another key"
            remedy = "give the key that this database was made with (seal.key), or restore that key from its backup"
            raise SetupError(message, reason="wrong_sealing_key", remedy=remedy)
        wrapped, sealed = blob[1 + _ID_BYTES : _HEADER_BYTES], blob[_HEADER_BYTES:]
        try:
            data_key = _decrypt(self._wrapping, wrapped, self._aad(bound_to, "key"))
            return _decrypt(AESGCM(data_key), sealed, self._aad(bound_to, "value"))
        except (InvalidTag, ValueError):
            raise _tampered() from None

    def _aad(self, bound_to: str, layer: str) -> bytes:
        return rfc8785.dumps({"bound_to": bound_to, "kek": self._key_id.hex(), "layer": layer})


def _encrypt(cipher: AESGCM, plain: bytes, aad: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plain, aad)


def _decrypt(cipher: AESGCM, sealed: bytes, aad: bytes) -> bytes:
    return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], aad)


def _decode(key: Secret) -> bytes:
    try:
        raw = base64.b64decode(key.reveal().strip(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _KEY_BYTES:
        message = f"the sealing key is not {_KEY_BYTES} bytes in base64"
        remedy = "`rotator init` makes one; where a database exists already, give the key it was made with (seal.key)"
        raise SetupError(message, reason="bad_sealing_key", remedy=remedy)
    return raw


def _tampered() -> SetupError:
    message = "a sealed value was changed, or moved here from another row or database"
    return SetupError(message, reason="sealed_tampered", remedy="restore the database from a backup")
