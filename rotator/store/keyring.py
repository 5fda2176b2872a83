"""Sealing: AES-256-GCM under a fresh data key for every value, which is wrapped by one of several sealers.

A sealed value, a *blob*, is: version byte, id of the key-encryption key (8 bytes), length of the wrapped data key
(2 bytes, big endian), wrapped data key, nonce (12 bytes), ciphertext with its tag. Data key and value are both bound to
the place where the blob stands and to the key's id, so that a blob opens only where it was sealed.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import rfc8785
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rotator.domain.errors import SetupError
from rotator.ports.sealer import KEY_ID_BYTES, DataKey, Place, Sealer, tampered

_FORMAT = b"\x01"
_NONCE_BYTES = 12  # random, and used once under each data key
_ID_END = len(_FORMAT) + KEY_ID_BYTES
_HEADER_END = _ID_END + 2


@dataclass(frozen=True)
class Prepared:
    """A data key that was fetched before the value existed. Implements `ports.store.Prepared`."""

    sealer: Sealer
    key: DataKey


class Keyring:
    """The sealers that the configuration names. The first of them seals in a database that knows none yet."""

    def __init__(self, sealers: Sequence[Sealer]) -> None:
        self.first = sealers[0]
        self._listed = list(sealers)
        self._by_id = {sealer.id: sealer for sealer in sealers}

    def sealer(self, key_id: str, name: str = "") -> Sealer:
        """The sealer of a key; `name`: what the database calls it. Raises SetupError (`wrong_sealing_key`)."""
        found = self._by_id.get(key_id)
        if found is None:
            known = ", ".join(f"{sealer.name} ({sealer.id})" for sealer in self._listed)
            called = f"{name} ({key_id})" if name else key_id
            message = f"the database is sealed under another key, {called}; the configuration has {known}"
            remedy = "name that key in seal.key or seal.also; where it is named, it is another one by now: restore it"
            raise SetupError(message, reason="wrong_sealing_key", remedy=remedy)
        return found

    def named(self, name: str) -> Sealer:
        """The sealer that the configuration calls so. Raises SetupError (`unknown_sealing_key`)."""
        found = next((sealer for sealer in self._listed if sealer.name == name), None)
        if found is None:
            names = ", ".join(sealer.name for sealer in self._listed)
            message = f"{name} is not in the configuration, which names {names}"
            raise SetupError(message, reason="unknown_sealing_key", remedy="name it in seal.also, on every worker")
        return found

    def prepare(self, key_id: str, place: Place) -> Prepared:
        """Have a data key ready for one value."""
        sealer = self.sealer(key_id)
        return Prepared(sealer, sealer.data_key(_wrapping(sealer, place)))

    def seal(self, plain: bytes, place: Place, prepared: Prepared) -> bytes:
        """Encrypt under a prepared data key. Asks nobody."""
        key_id, wrapped = bytes.fromhex(prepared.sealer.id), prepared.key.wrapped
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(prepared.key.plain).encrypt(nonce, plain, _aad(prepared.sealer, place))
        return _FORMAT + key_id + len(wrapped).to_bytes(2, "big") + wrapped + nonce + sealed

    def open(self, blob: bytes, place: Place) -> bytes:
        """Decrypt. Raises SetupError (`wrong_sealing_key`), PermanentError (`sealed_tampered`), and as a sealer."""
        if blob[:1] != _FORMAT or len(blob) < _HEADER_END:
            raise tampered()
        sealer = self.sealer(key_of(blob))
        end = _HEADER_END + int.from_bytes(blob[_ID_END:_HEADER_END], "big")
        wrapped, nonce, sealed = blob[_HEADER_END:end], blob[end : end + _NONCE_BYTES], blob[end + _NONCE_BYTES :]
        if not wrapped or not sealed:
            raise tampered()
        data_key = sealer.unwrap(wrapped, _wrapping(sealer, place))
        try:
            return AESGCM(data_key).decrypt(nonce, sealed, _aad(sealer, place))
        except (InvalidTag, ValueError):
            raise tampered() from None

    def close(self) -> None:
        """Close all connections."""
        for sealer in self._listed:
            sealer.close()


def key_of(blob: bytes) -> str:
    """The id of the key that a blob is sealed under."""
    return blob[len(_FORMAT) : _ID_END].hex()


def _wrapping(sealer: Sealer, place: Place) -> Place:
    return {**place, "kek": sealer.id}


def _aad(sealer: Sealer, place: Place) -> bytes:
    return rfc8785.dumps({**_wrapping(sealer, place), "layer": "value"})
