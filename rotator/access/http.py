"""HTTP to a JSON API: every call is one request with time limits, and its outcome an answer or one of our errors.

What an answer means is each adapter's to say. Nothing is retried, redirected or sent through a proxy of the
environment; no message repeats what a body says.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import ip_address
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakSet

from rotator.domain.errors import LostAnswer, RateLimited, SetupError, TemporaryError, Unavailable

if TYPE_CHECKING:
    import httpx

Json = Mapping[str, Any]

HEADER_SAFE = re.compile(r"[!-~]+")
"""What a key must consist of to be sent in a header."""

_MAY_HAVE_WORKED = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT)
"""Answers below 500 after which a request may have taken effect."""

_REDACTED = re.compile(r"[.*…]+")
_MOST_BYTES = 4 * 1024 * 1024  # of one answer
_REQUEST_ID = re.compile(r"[\w-]{1,80}")


def api_address(value: str) -> str:
    """The base address of an API, without a slash at its end. Raises ValueError unless keys can be sent there."""
    try:
        url = urlsplit(value)
        host, _ = url.hostname, url.port
    except ValueError:
        host = None
    if not host or url.scheme not in ("https", "http") or url.username is not None or url.query or url.fragment:
        message = "is not an address such as https://api.example.com/v1"
        raise ValueError(message)
    if url.scheme == "http" and not _is_loopback(host):
        message = "must begin with https://; keys are sent there"
        raise ValueError(message)
    return value.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def fits(value: str, redacted: str) -> bool:
    """Whether `sk-abc...wxyz` can stand for this value."""
    start, *_, end = _REDACTED.split(redacted, maxsplit=1)
    return bool(start and end) and len(value) > len(redacted) and value.startswith(start) and value.endswith(end)


@dataclass(frozen=True)
class Reply:
    """One answer of the API."""

    status: int
    request: str  # the provider's id of it, for its support
    at: datetime  # by the provider's clock
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def fields(self) -> Json:
        """The JSON object in it; empty where there is none."""
        try:
            fields = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return fields if isinstance(fields, dict) else {}

    @property
    def error(self) -> Json | None:
        """The error object in the API's own form; None: somebody else answered, such as a proxy."""
        error = self.fields.get("error")
        return error if isinstance(error, dict) and isinstance(error.get("message"), str) else None

    def says(self, words: str) -> bool:
        """Whether the error's text holds these words."""
        return self.error is not None and words in self.error["message"].lower()

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait, where the answer says so."""
        try:
            if "retry-after-ms" in self.headers:
                seconds = float(self.headers["retry-after-ms"]) / 1000
            else:
                seconds = _seconds(self.headers["retry-after"], self.at)
        except (KeyError, ValueError):
            return None
        return max(seconds, 0.0) if isfinite(seconds) else None


class Http:
    """The connections to one API, shared by all threads; made at the first request."""

    def __init__(self, address: str, ca_file: Path | None, timeout: float) -> None:
        self._address = address
        self._ca_file = ca_file
        self._timeout = timeout
        self._lock = threading.Lock()
        self._shared: httpx.Client | None = None
        self._sockets: WeakSet[socket.socket] = WeakSet()

    def send(
        self,
        method: str,
        path: str,
        purpose: str,
        *,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content: bytes | None = None,
    ) -> Reply:
        """One request, one answer, whatever it says. Unavailable; LostAnswer where it may have changed something.

        `content` is a body that is sent byte for byte, instead of `body`.
        """
        import httpx

        sent = {"json": body} if content is None else {"content": content}
        try:
            return self._exchange(method, path, headers=headers, params=query, **sent)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            message = f"cannot connect to {self._address} to {purpose}"
            raise Unavailable(message) from None
        except (httpx.HTTPError, httpx.StreamError, _TooMuch):
            raise _untold(method, f"no whole answer came from {self._address} to {purpose}") from None

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        with self._lock:
            shared, self._shared = self._shared, None
        if shared is not None:
            shared.close()

    def abort(self) -> None:
        """End whatever is under way, also where the other side sends a byte now and then."""
        for connection in list(self._sockets):
            with suppress(OSError):  # it has ended by itself
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _note_socket(self, event: str, about: Mapping[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._sockets.add(about["return_value"].get_extra_info("socket"))

    def _exchange(self, method: str, path: str, **sent: Any) -> Reply:
        end = time.monotonic() + self._timeout
        url, noting = self._address + path, {"trace": self._note_socket}
        with self._client().stream(method, url, extensions=noting, **sent) as answer:
            content = b""
            for chunk in answer.iter_raw():
                content += chunk
                if len(content) > _MOST_BYTES or time.monotonic() > end:
                    raise _TooMuch
            return Reply(
                answer.status_code, _request_id(answer.headers), _date(answer.headers), answer.headers, content
            )

    def _client(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._shared is None:
                self._shared = httpx.Client(
                    timeout=self._timeout,
                    verify=self._trust(),
                    trust_env=False,
                    follow_redirects=False,
                    headers={"User-Agent": "keyturn", "Accept": "application/json", "Accept-Encoding": "identity"},
                )
            return self._shared

    def _trust(self) -> ssl.SSLContext | bool:
        if self._ca_file is None:
            return True
        try:
            return ssl.create_default_context(cafile=str(self._ca_file))
        except OSError:  # SSLError is one
            message = f"cannot read certificates from {self._ca_file}"
            raise SetupError(message, remedy="check `ca_file`: it has to be a readable PEM file") from None


def send_once(
    method: str,
    address: str,
    ca_file: Path | None,
    limit: float,
    headers: Mapping[str, str],
    body: bytes | None,
    purpose: str = "run the hook",
) -> Reply:
    """One request on a connection of its own, over within `limit` seconds: one kept open may be dead by the next."""
    where, _, query = address.partition("?")
    http = Http(where, ca_file, limit)
    over = threading.Timer(limit, http.abort)
    over.daemon = True
    over.start()
    try:
        headers = {"Accept": "*/*", **headers}  # a health address may answer with anything
        return http.send(method, f"?{query}" if query else "", purpose, headers=headers, content=body)
    finally:
        over.cancel()
        http.close()


class _TooMuch(Exception):
    """The answer is longer, or takes longer, than any that we expect."""


def unclear(method: str, message: str, reply: Reply) -> TemporaryError | None:
    """What every such API means by an answer that says nothing of the request itself; None: it is a refusal."""
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(message, retry_after=reply.retry_after)
    if reply.error is None or reply.status in _MAY_HAVE_WORKED or reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _untold(method, message, reply.retry_after)
    return None


def _untold(method: str, message: str, retry_after: float | None = None) -> TemporaryError:
    """Nobody can say what became of a request of this method."""
    kind = Unavailable if method == "GET" else LostAnswer
    return kind(message, retry_after=retry_after)


def _date(headers: Mapping[str, str]) -> datetime:
    """When the answer was given, by the clock that also says when keys expire; our own clock where it is not said."""
    try:
        return parsedate_to_datetime(headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC)


def _seconds(value: str, at: datetime) -> float:
    """`Retry-After`: seconds or a date. Raises ValueError."""
    try:
        return float(value)
    except ValueError:
        return (parsedate_to_datetime(value) - at).total_seconds()


def _request_id(headers: Mapping[str, str]) -> str:
    found = headers.get("x-request-id") or headers.get("request-id", "")
    return f" (request {found})" if _REQUEST_ID.fullmatch(found) else ""
