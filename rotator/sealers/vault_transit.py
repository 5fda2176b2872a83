"""A key-encryption key in the Transit engine of Vault or OpenBao: `vault-transit:MOUNT/KEY`.

The data key is made here and sent to `encrypt` and `decrypt` with the place of the value as `associated_data`. Both
servers know that there (Vault since 1.9; OpenBao always); at `datakey` only OpenBao does. The key must be of an AEAD
type, which the default `aes256-gcm96` is, and not derived. With the capability `create` the server would make a missing
key by itself: our token needs `update` alone, and then it refuses.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import rfc8785

from rotator.access.vault import Answer, Server, ServerSettings
from rotator.domain.errors import RotatorError, Unavailable
from rotator.ports.sealer import DATA_KEY_BYTES, DataKey, Place, tampered
from rotator.sealers.service import named, unusable

_NOT_ITS_OWN = ("message authentication failed", "invalid ciphertext")


class TransitSealer:
    """Implements `ports.sealer.Sealer`. `path` is what stands behind `vault-transit:`."""

    def __init__(self, path: str, settings: ServerSettings, timeout: timedelta) -> None:
        self.name = f"vault-transit:{path}"
        self.id = named(self.name)
        self._mount, _, self._key = path.rpartition("/")
        self._server = Server(settings, timeout)

    def data_key(self, place: Place) -> DataKey:
        """Make one here, and have it wrapped."""
        plain = secrets.token_bytes(DATA_KEY_BYTES)
        data = self._asked("encrypt", "ciphertext", place, plaintext=base64.b64encode(plain).decode())
        return DataKey(plain, data.encode())

    def unwrap(self, wrapped: bytes, place: Place) -> bytes:
        """Have it unwrapped."""
        try:
            plain = self._asked("decrypt", "plaintext", place, ciphertext=wrapped.decode())
            return base64.b64decode(plain, validate=True)
        except (UnicodeDecodeError, binascii.Error):
            raise tampered() from None

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _asked(self, action: str, wanted: str, place: Place, **body: str) -> str:
        path = f"{self._mount}/{action}/{self._key}"
        body["associated_data"] = base64.b64encode(rfc8785.dumps(dict(place))).decode()

        def request(client: Any) -> Any:
            return client.adapter.post(f"/v1/{path}", json=body)

        answer = self._server.ask(path, request)
        if answer.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
            raise self._explained(answer)
        found = answer.data.get(wanted)
        if not isinstance(found, str):
            message = f"{self._server.address} gave no whole answer to {path}"
            raise Unavailable(message)
        return found

    def _explained(self, answer: Answer) -> RotatorError:
        if any(answer.says(text) for text in _NOT_ITS_OWN):
            return tampered()
        if answer.says("disallowed by policy"):
            why = "its min_decryption_version forbids what was sealed before"
            return unusable(self.name, why, "lower it, `rotator seal rewrap`, and raise it again")
        if answer.says("key not found"):
            return unusable(self.name, "there is no such key", "make it (type aes256-gcm96), or correct seal.key")
        why = f"{self._server.address} answered {answer.status}"
        return unusable(self.name, why, "it must be of type aes256-gcm96 or chacha20-poly1305, and not derived")
