"""What the emulators of JSON APIs stand on: requests, refusals, endpoints, and the open port on loopback."""

from __future__ import annotations

import json
import re
import secrets
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedReader
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]

_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Request:
    """What a client sent. `bearer` is the key it came with, in either header; empty if none."""

    method: str
    path: str
    query: Mapping[str, str]
    bearer: str = field(repr=False)
    body: bytes = field(repr=False)
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)  # all of what `query` has the last one of

    def fields(self) -> Json:
        """Return the JSON object in the body."""
        try:
            fields = json.loads(self.body or b"{}")
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise Refusal(400, {"type": "invalid_request_error", "message": "The body has to be a JSON object."})
        return fields


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, error: Json) -> None:
        super().__init__(status)
        self.status = status
        self.error = error


@dataclass(frozen=True)
class Endpoint:
    """One method and path; `{name}` in the path becomes an argument of `answer`."""

    method: str
    path: str
    answer: Callable[..., Json]

    def arguments(self, request: Request) -> dict[str, str] | None:
        """Return the path's arguments where the request is for this endpoint, else None."""
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path)
        match = re.fullmatch("/v1" + pattern, request.path)
        return match.groupdict() if match and request.method == self.method else None


class Listener(ThreadingHTTPServer):
    """A free loopback port, open from construction until `stop`, which ends every connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answer: Callable[[Request], tuple[int, Json]], clock: Callable[[], float]) -> None:
        super().__init__((_HOST, 0), _Exchange)
        self.answer = answer
        self.clock = clock
        self.connections: set[socket.socket] = set()
        self.idle: set[socket.socket] = set()  # those of them that wait for a request
        self._callers: set[Any] = set()  # addresses of all that were accepted
        self._accepting = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        """The API's base address, with its version."""
        return f"http://{_HOST}:{self.server_port}/v1"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Known from the moment it is accepted, which is before its thread runs."""
        self.connections.add(request)
        self._callers.add(client_address)
        super().process_request(request, client_address)

    def drain(self, seconds: float) -> None:
        """Wait until every request that clients have sent so far is answered, also to clients that are gone."""
        end = time.monotonic() + seconds
        with socket.socket() as last:
            last.settimeout(seconds)
            last.bind((_HOST, 0))
            self._callers.discard(last.getsockname())
            last.connect((_HOST, self.server_port))
            # Connections are accepted in turn: once this one is, all earlier ones are known.
            while last.getsockname() not in self._callers and time.monotonic() < end:
                time.sleep(0.002)
        while any(self._is_busy(c) for c in self.connections.copy()) and time.monotonic() < end:
            time.sleep(0.002)

    def _is_busy(self, connection: socket.socket) -> bool:
        """Whether something has come and is not answered. In this order: who reads is not idle any more."""
        try:
            unread, _, _ = select.select([connection], [], [], 0)
        except (OSError, ValueError):  # closed meanwhile
            return False
        return bool(unread) or connection not in self.idle

    def stop(self) -> None:
        """Close the port and all connections."""
        self.shutdown()
        self._accepting.join()
        for connection in self.connections.copy():
            with suppress(OSError):  # the client was quicker
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Exchange(BaseHTTPRequestHandler):
    """One connection of a client, request after request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # status, headers and body leave together
    rfile: BufferedReader
    server: Listener

    def handle_one_request(self) -> None:
        self.server.idle.add(self.connection)
        try:
            if isinstance(self.connection, ssl.SSLSocket):
                self.rfile.peek(1)  # what comes need not be a request
            else:
                select.select([self.connection], [], [])
        finally:
            self.server.idle.discard(self.connection)
        super().handle_one_request()

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        with suppress(OSError):  # what was buffered for a client that went away
            super().finish()

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client, or the gate, went away
            super().handle()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        target = urlsplit(self.path)
        lists = parse_qs(target.query)
        query = {name: values[-1] for name, values in lists.items()}
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ").strip() or self.headers.get(
            "x-api-key", ""
        )
        status, answer = self.server.answer(Request(self.command, target.path, query, bearer, body, lists))
        payload = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.send_header("x-request-id", f"req_{secrets.token_hex(16)}")
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.server.clock() if timestamp is None else timestamp)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Print nothing."""
