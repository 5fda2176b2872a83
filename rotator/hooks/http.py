"""HTTP: a POST tells the readers of a place to read anew, a GET asks how they are. No secret is ever sent.

Redirects are not followed, and no proxy is used. An internal address is reached only where `allow` names it, so that
who can edit an address, or answer for its name, cannot have us ask the services inside.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from rotator.access.http import Reply, send_once
from rotator.access.internal import Network, internal_among
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
    """`{http: https://web.internal/reload, sign: env:HOOK_KEY, allow: [10.0.0.0/8]}`."""

    http: Address
    sign: SecretAt | None = None
    ca_file: FilePath | None = None
    allow: list[Network] | None = None


class GetSettings(Settings):
    """`{http: https://web.internal/healthz, expect: 200, allow: [10.0.0.0/8]}`."""

    http: Address
    expect: int | None = Field(default=None, ge=100, le=599)
    ca_file: FilePath | None = None
    allow: list[Network] | None = None


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
        """Whether the signing key and the certificates can be read, and the address may be reached."""
        try:
            if self._settings.sign is not None:
                self._settings.sign.read()
        except SetupError as problem:
            return problem.message
        return _trouble(self._settings)

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
        reply = _send("POST", self._settings, self._limit, headers, body)
        if not reply.fine:
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
        """Whether the certificates are there, and the address may be reached."""
        return _trouble(self._settings)

    def run(self, occasion: Occasion) -> None:  # noqa: ARG002 - a health address is asked the same for every key
        """Ask it. Any answer but 2xx, or but the one expected, is a no."""
        reply = _send("GET", self._settings, self._limit, {}, None)
        expected = self._settings.expect
        if reply.status != expected if expected is not None else not reply.fine:
            raise _answered(reply)


def _send(
    method: str, settings: PostSettings | GetSettings, limit: float, headers: Mapping[str, str], body: bytes | None
) -> Reply:
    allowed = settings.allow or ()
    return send_once(method, settings.http, settings.ca_file, limit, headers, body, allowed=allowed)


def _answered(reply: Reply) -> TemporaryError:
    return TemporaryError(f"it answered {reply.status}")


def _shown(address: str) -> str:
    return address.partition("?")[0]


def _trouble(settings: PostSettings | GetSettings) -> str | None:
    if settings.ca_file is not None and not settings.ca_file.is_file():
        return f"there is no file {settings.ca_file}"
    internal = internal_among(urlsplit(settings.http).hostname or "", settings.allow or ())
    return None if internal is None else f"{internal.message}; {internal.remedy}"
