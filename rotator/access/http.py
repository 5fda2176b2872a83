"""HTTP to a JSON API: every call is one request with time limits, and its outcome an answer or one of our errors.

What an answer means is each adapter's to say. Nothing is retried or redirected, proxies are those of the
configuration, TLS is verified, one answer has a limit of bytes and of time; no message repeats what a body says.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import ip_address
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib import request as environment
from urllib.parse import urlsplit

from pydantic import AfterValidator

from rotator.access.internal import IpNetwork
from rotator.domain.errors import LostAnswer, RateLimited, TemporaryError, Unavailable

if TYPE_CHECKING:
    import httpcore

    from rotator.access.network import Network

Json = Mapping[str, Any]
Query = Mapping[str, str | list[str]]
"""Parameters; a list is sent as one parameter for each of its values."""

HEADER_SAFE = re.compile(r"[!-~]+")
"""What a key must consist of to be sent in a header."""

_MAY_HAVE_WORKED = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT)
"""Answers below 500 after which a request may have taken effect."""

_REDACTED = re.compile(r"[.*…]+")
_MOST_BYTES = 4 * 1024 * 1024  # of one answer
_REQUEST_ID = re.compile(r"[\w-]{1,80}")
_CONNECTIONS = 100
_KEPT_OPEN, _KEPT_FOR = 20, 5.0  # connections, seconds
USER_AGENT = "keyturn"
"""What others see of us in their logs, such as CloudTrail."""

_HEADERS = {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "identity"}
_ENVIRONMENT = "env"  # as a proxy: whichever $HTTPS_PROXY, $HTTP_PROXY, $ALL_PROXY and $NO_PROXY name


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


def _proxy_address(value: str) -> str:
    if value == _ENVIRONMENT:
        return value
    try:
        url = urlsplit(value)
        host, _ = url.hostname, url.port
    except ValueError:
        host = None
    if not host or url.scheme not in ("http", "https") or url.path.strip("/") or url.query or url.username is not None:
        message = "is neither an address such as http://proxy.internal:3128 nor `env`"
        raise ValueError(message)
    return value


ProxyAddress = Annotated[str, AfterValidator(_proxy_address)]
"""What all of a target's requests go through; `env`: as the environment says, which else is not looked at."""


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
    def fine(self) -> bool:
        """Whether it is a 2xx."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

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


class NotConnected(Exception):
    """Nothing was sent. `untrusted`: since the server's certificate is not trusted."""

    def __init__(self, *, untrusted: bool) -> None:
        super().__init__()
        self.untrusted = untrusted


class NoWholeAnswer(Exception):
    """No answer came, or one that is longer, or takes longer, than any that we expect."""


class Http:
    """The connections to one API, shared by all threads; made at the first request.

    With `allowed`, internal addresses are reached only where one of these networks has them.
    """

    def __init__(
        self,
        address: str,
        ca_file: Path | None,
        timeout: float,
        *,
        proxy: str | None = None,
        allowed: Sequence[IpNetwork] | None = None,
    ) -> None:
        self._address = address
        self._ca_file = ca_file
        self._timeout = timeout
        self._proxy = proxy
        self._allowed = allowed
        self._lock = threading.Lock()
        self._shared: tuple[httpcore.ConnectionPool, Network] | None = None

    def send(
        self,
        method: str,
        path: str,
        purpose: str,
        *,
        headers: Mapping[str, str],
        query: Query | None = None,
        body: Json | None = None,
        content: bytes | None = None,
        changes: bool | None = None,
    ) -> Reply:
        """One request, one answer, whatever it says. Unavailable; LostAnswer where it may have changed something.

        `content` is a body that is sent byte for byte, instead of `body`. `changes`: left out, all but GET do.
        """
        try:
            return self.exchange(method, self._address + path, headers=headers, query=query, body=body, content=content)
        except NotConnected as problem:
            if problem.untrusted:
                message, remedy = f"the certificate of {self._address} is not trusted", "name its CA in ca_file"
                raise Unavailable(message, reason="tls_untrusted", remedy=remedy) from None
            message = f"cannot connect to {self._address} to {purpose}"
            raise Unavailable(
                message, reason="unreachable", remedy="start the server, or correct its address"
            ) from None
        except NoWholeAnswer:
            message = f"no whole answer came from {self._address} to {purpose}"
            raise _untold(method, message, changes=changes) from None

    def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        query: Query | None = None,
        body: Json | None = None,
        content: bytes | None = None,
    ) -> Reply:
        """The same in the words of HTTP, to any address. Raises NotConnected and NoWholeAnswer."""
        import httpcore
        import httpx

        sent = {"json": body} if content is None else {"content": content}
        try:
            request = httpx.Request(method, url, params=query, headers={**_HEADERS, **headers}, **sent)
        except httpx.InvalidURL:  # a host that is spelt oddly; no name leads there
            raise NotConnected(untrusted=False) from None
        target = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        pool, network = self._connections()
        end = time.monotonic() + self._timeout
        exchange = pool.stream(
            method,
            target,
            headers=request.headers.raw,
            content=request.read(),
            extensions={"timeout": {"pool": self._timeout}},
        )
        with _told(), network.ending(end), exchange as answer:
            received = b""
            for chunk in answer.iter_stream():
                received += chunk
                if len(received) > _MOST_BYTES or time.monotonic() > end:
                    raise NoWholeAnswer
        found = httpx.Headers(answer.headers)
        return Reply(answer.status, _request_id(found), _date(found), found, received)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        with self._lock:
            shared, self._shared = self._shared, None
        if shared is not None:
            shared[0].close()

    def _connections(self) -> tuple[httpcore.ConnectionPool, Network]:
        import httpcore

        from rotator.access.network import Network, trust

        with self._lock:
            if self._shared is None:
                network = Network(self._allowed)
                proxy = self._proxy_now()
                pool = httpcore.ConnectionPool(
                    ssl_context=trust(self._ca_file),
                    proxy=None if proxy is None else httpcore.Proxy(proxy, ssl_context=trust(None)),
                    network_backend=network,
                    max_connections=_CONNECTIONS,
                    max_keepalive_connections=_KEPT_OPEN,
                    keepalive_expiry=_KEPT_FOR,
                )
                weakref.finalize(self, pool.close)  # whoever forgets to close us leaves no socket open
                self._shared = pool, network
            return self._shared

    def _proxy_now(self) -> str | None:
        if self._proxy != _ENVIRONMENT:
            return self._proxy
        url, proxies = urlsplit(self._address), environment.getproxies()
        if environment.proxy_bypass(url.netloc):
            return None
        return proxies.get(url.scheme) or proxies.get("all")


def send_once(
    method: str,
    address: str,
    ca_file: Path | None,
    limit: float,
    headers: Mapping[str, str],
    body: bytes | None,
    purpose: str = "run the hook",
    allowed: Sequence[IpNetwork] | None = None,
) -> Reply:
    """One request on a connection of its own, over within `limit` seconds: one kept open may be dead by the next."""
    where, _, query = address.partition("?")
    http = Http(where, ca_file, limit, allowed=allowed)
    try:
        headers = {"Accept": "*/*", **headers}  # a health address may answer with anything
        return http.send(method, f"?{query}" if query else "", purpose, headers=headers, content=body)
    finally:
        http.close()


@contextmanager
def _told() -> Iterator[None]:
    """What httpcore raises, as one of the two things that matter: whether anything may have been sent."""
    import httpcore

    try:
        yield
    except (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout, httpcore.ProxyError) as failed:
        cause = failed.args[0] if failed.args else None
        raise NotConnected(untrusted=isinstance(cause, ssl.SSLCertVerificationError)) from None
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
        raise NoWholeAnswer from None


def unclear(method: str, message: str, reply: Reply) -> TemporaryError | None:
    """What every such API means by an answer that says nothing of the request itself; None: it is a refusal."""
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(message, retry_after=reply.retry_after)
    if reply.error is None or reply.status in _MAY_HAVE_WORKED or reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _untold(method, message, reply.retry_after)
    return None


def _untold(
    method: str, message: str, retry_after: float | None = None, *, changes: bool | None = None
) -> TemporaryError:
    """Nobody can say what became of a request of this method."""
    changes = method != "GET" if changes is None else changes
    kind = LostAnswer if changes else Unavailable
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
