"""HTTP: a POST tells the readers of a place to read anew, a GET asks how they are. No secret is ever sent.

Redirects are not followed, and no proxy of the environment is used.
"""

from __future__ import annotations

import json
import time
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from rotator.access.http import Reply, send_once
from rotator.access.signing import SIGNATURE, signature
from rotator.domain.errors import SetupError, TemporaryError
from rotator.ports.hook import Occasion
from rotator.settings import FilePath, SecretAt, Settings


def _address(text: str) -> str:
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        host = None
    if not host or url.scheme not in ("https", "http") or not text.isascii() or not text.isprintable() or " " in text:
        message = "is not an address such as https://web.internal/healthz"
        raise ValueError(message)
    if url.username is not None or url.fragment:
        message = "holds a user or a fragment: neither is sent"
        raise ValueError(message)
    return text


Address = Annotated[str, AfterValidator(_address)]


class PostSettings(Settings):
    """`{http: https://web.internal/reload, sign: env:HOOK_KEY}`."""

    http: Address
    sign: SecretAt | None = None
    ca_file: FilePath | None = None


class GetSettings(Settings):
    """`{http: https://web.internal/healthz, expect: 200}`."""

    http: Address
    expect: int | None = Field(default=None, ge=100, le=599)
    ca_file: FilePath | None = None


class Post:
    """Tells what has changed: which credential, where, and the public facts of the new key."""

    Settings: ClassVar[type[PostSettings]] = PostSettings

    def __init__(self, settings: PostSettings, limit: timedelta) -> None:
        self._settings = settings
        self._limit = limit.total_seconds()

    @property
    def name(self) -> str:
        """The address without its query."""
        return f"http {_shown(self._settings.http)}"

    def trouble(self) -> str | None:
        """Whether the signing key and the certificates can be read."""
        try:
            if self._settings.sign is not None:
                self._settings.sign.read()
        except SetupError as problem:
            return problem.message
        return _no_file(self._settings.ca_file)

    def run(self, occasion: Occasion) -> None:
        """Send it. Any answer but 2xx is a failure."""
        body = json.dumps(
            {
                "credential": occasion.credential,
                "destination": occasion.address,
                "version": int(occasion.facts["version"]),
                "key_id": occasion.facts["key_id"],
                "fingerprint": occasion.facts["fingerprint"],
            }
        ).encode()
        headers = {"Content-Type": "application/json"}
        if self._settings.sign is not None:
            key = self._settings.sign.read().reveal().encode()
            headers[SIGNATURE] = signature(key, body, int(time.time()))
        reply = send_once("POST", self._settings.http, self._settings.ca_file, self._limit, headers, body)
        if not _fine(reply):
            raise _answered(reply)


class Get:
    """Asks the application's own health address."""

    Settings: ClassVar[type[GetSettings]] = GetSettings

    def __init__(self, settings: GetSettings, limit: timedelta) -> None:
        self._settings = settings
        self._limit = limit.total_seconds()

    @property
    def name(self) -> str:
        """The address without its query."""
        return f"http {_shown(self._settings.http)}"

    def trouble(self) -> str | None:
        """Whether the certificates are there."""
        return _no_file(self._settings.ca_file)

    def run(self, occasion: Occasion) -> None:  # noqa: ARG002 - a health address is asked the same for every key
        """Ask it. Any answer but 2xx, or but the one expected, is a no."""
        reply = send_once("GET", self._settings.http, self._settings.ca_file, self._limit, {}, None)
        expected = self._settings.expect
        if reply.status != expected if expected is not None else not _fine(reply):
            raise _answered(reply)


def _fine(reply: Reply) -> bool:
    return HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES


def _answered(reply: Reply) -> TemporaryError:
    return TemporaryError(f"it answered {reply.status}")


def _shown(address: str) -> str:
    return address.partition("?")[0]


def _no_file(path: Path | None) -> str | None:
    return f"there is no file {path}" if path is not None and not path.is_file() else None
