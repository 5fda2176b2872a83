"""A small HTTP server for whoever watches: `/metrics`, `/healthz`, `/readyz`. Only GET and HEAD; it knows no secret."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from rotator import logs
from rotator.domain.errors import SetupError
from rotator.web.health import Check

PORT = 9464

_SECONDS = 30  # for a client to send its request, and to take the answer
_PLAIN = "text/plain; charset=utf-8"
_INDEX = (
    "keyturn\n\n/metrics  for Prometheus\n/healthz  whether this process works\n/readyz   and can, with its database\n"
)


@dataclass(frozen=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def address(text: str) -> Address:
    """`9464`, `:9464`, `127.0.0.1:9464`, `[::1]:9464`; without a host only this machine. Raises ValueError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 65_535:  # noqa: PLR2004 - the last port there is
        message = f"{text!r} is no address; write {PORT}, 127.0.0.1:{PORT} or [::]:{PORT}"
        raise ValueError(message)
    return Address(host, int(port))


@dataclass(frozen=True)
class Pages:
    """What the server tells."""

    metrics: CollectorRegistry
    alive: Callable[[], str | None]  # what is wrong with this process; None: nothing
    ready: Callable[[], Sequence[Check]]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    pages: Pages

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to tell; its thread has ended."""


@contextmanager
def serving(where: Address, pages: Pages) -> Iterator[Address]:
    """Serve while the block lasts; yields where (port 0: any that is free). Raises SetupError where that cannot be."""
    kind = type("Server", (_Server,), {"address_family": socket.AF_INET6 if ":" in where.host else socket.AF_INET})
    try:
        server: _Server = kind((where.host, where.port), _Request)
    except OSError as problem:
        message = f"cannot listen at {where}: {problem.strerror or problem}"
        raise SetupError(
            message, reason="cannot_listen", remedy="choose another --listen, or end what has it"
        ) from None
    server.pages = pages
    thread = threading.Thread(target=server.serve_forever, name="web", daemon=True)
    thread.start()
    try:
        yield Address(where.host, server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Request(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SECONDS
    server_version = "keyturn"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer."""
        path = urlsplit(self.path).path
        page = {"/": self._index, "/metrics": self._metrics, "/healthz": self._healthz, "/readyz": self._readyz}.get(
            path
        )
        try:
            if page is None:
                self._say(HTTPStatus.NOT_FOUND, _PLAIN, b"there is no such page\n")
            else:
                page()
        except ConnectionError:
            self.close_connection = True
        except Exception as problem:  # noqa: BLE001 - a bug in looking ends no service
            logs.bug(path, problem)
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, _PLAIN, b"this is a bug, see the log\n")

    do_HEAD = do_GET  # noqa: N815 - the base calls it so

    def _index(self) -> None:
        self._say(HTTPStatus.OK, _PLAIN, _INDEX.encode())

    def _metrics(self) -> None:
        encode, kind = choose_encoder(self.headers.get("Accept", ""))
        self._say(HTTPStatus.OK, kind, encode(self.server.pages.metrics))

    def _healthz(self) -> None:
        wrong = self.server.pages.alive()
        self._say_whether(wrong is None, [Check(name="process", ok=wrong is None, message=wrong)])

    def _readyz(self) -> None:
        found = self.server.pages.ready()
        self._say_whether(all(check.ok for check in found), found)

    def _say_whether(self, ok: bool, found: Sequence[Check]) -> None:
        body = json.dumps({"healthy": ok, "checks": [check.as_json() for check in found]}) + "\n"
        status = HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
        self._say(status, "application/json", body.encode())

    def _say(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's interface
        """Requests are not logged: probes come every few seconds."""
