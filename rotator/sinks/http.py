"""HTTP: a POST for each batch, one event on each line, signed. Redirects are not followed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from rotator.access.formats import FORMATS, Origin
from rotator.access.http import api_address, send_once
from rotator.access.signing import SIGNATURE, signature
from rotator.access.sinks import SinkSettings
from rotator.domain.errors import Unavailable
from rotator.ports.store import StoredEvent
from rotator.settings import FilePath, SecretAt

_TYPES = {"cef": "text/plain; charset=utf-8"}


class HttpSettings(SinkSettings):
    """`{type: http, url: https://siem.example/rotator, sign: file:sink.key}`."""

    url: Annotated[str, AfterValidator(api_address)]
    sign: SecretAt
    ca_file: FilePath | None = None


class HttpSink:
    """Whatever answers 2xx has accepted the batch. `Rotator-Seq` says which events it holds, to know them again."""

    Settings: ClassVar[type[HttpSettings]] = HttpSettings

    most = 200

    def __init__(self, settings: HttpSettings, origin: Origin, timeout: timedelta) -> None:
        self._settings = settings
        self._line, self._origin = FORMATS[settings.format], origin
        self._timeout = timeout.total_seconds()

    def take(self, events: Sequence[StoredEvent]) -> None:
        """Send them."""
        body = "".join(f"{self._line(event, self._origin)}\n" for event in events).encode()
        key = self._settings.sign.read().reveal().encode()
        headers = {
            "Content-Type": _TYPES.get(self._settings.format, "application/x-ndjson"),
            "Rotator-Seq": f"{events[0].seq}-{events[-1].seq}",
            SIGNATURE: signature(key, body, int(time.time())),
        }
        url, ca_file = self._settings.url, self._settings.ca_file
        reply = send_once("POST", url, ca_file, self._timeout, headers, body, purpose="send the audit trail")
        if not HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
            message = f"{url} answered {reply.status}"
            raise Unavailable(message, retry_after=reply.retry_after)

    def look(self) -> None:
        """Ask for its options: but for those of a gateway, any answer shows that it is there, and who it says it is."""
        url = self._settings.url
        self._settings.sign.read()
        reply = send_once("OPTIONS", url, self._settings.ca_file, self._timeout, {}, None, purpose="look at the sink")
        if reply.status in (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT):
            message = f"{url} answered {reply.status}"
            raise Unavailable(message)

    def close(self) -> None:
        """Each batch has a connection of its own."""
