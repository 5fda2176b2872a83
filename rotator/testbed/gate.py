"""An HTTP gate between a client and a server that can lose, replace, delay, cut and refuse chosen requests.

Lose        the request takes effect, the connection is closed without an answer
Answer      this answer instead of the server's, without or with the effect
Delay       the answer, or the effect itself, comes late
CutMidBody  the request takes effect, half of the answer arrives
Refuse      the connection is closed, no effect
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from rotator.testbed.process import HOST, free_port

_SERVER_ANSWERS_WITHIN = 60.0  # seconds
_THREAD_ENDS_WITHIN = 10.0  # seconds
_PORT_WITHIN = 10.0  # seconds
_OF_ONE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "expect"})
_WITHOUT_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


@dataclass(frozen=True)
class Request:
    """What a client sent. `headers` have lower-case names; `path` includes the query. Not shown: what may be secret."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Lose:
    """Forward the request, then close the connection without an answer."""


@dataclass(frozen=True)
class Answer:
    """Give this answer instead of the server's; with `effect` the request is forwarded first."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    effect: bool = False


@dataclass(frozen=True)
class Delay:
    """Forward the request and give the answer after so many seconds; with `late_effect` wait before forwarding."""

    seconds: float
    late_effect: bool = False


@dataclass(frozen=True)
class CutMidBody:
    """Forward the request, then close the connection amid the answer's body, or amid its head if it has no body."""


@dataclass(frozen=True)
class Refuse:
    """Close the connection without forwarding. For connections that are not even accepted see `Gate.down`."""


Fault = Lose | Answer | Delay | CutMidBody | Refuse
Match = Callable[[Request], bool]


@dataclass
class _Rule:
    match: Match
    fault: Fault
    left: int | None


@dataclass(frozen=True)
class _Reply:
    """A whole answer of the server, or of ours."""

    status: int
    reason: str
    headers: Sequence[tuple[str, str]]
    body: bytes

    def head(self, method: str) -> bytes:
        """Return status line and header lines, with the length of the body where it has one."""
        kept = [(name, value) for name, value in self.headers if name.lower() not in _OF_ONE_CONNECTION]
        if method != "HEAD" and self.status not in _WITHOUT_BODY:
            kept = [(name, value) for name, value in kept if name.lower() != "content-length"]
            kept.append(("Content-Length", str(len(self.body))))
        lines = [f"HTTP/1.1 {self.status} {self.reason}", *(f"{name}: {value}" for name, value in kept), "", ""]
        return "\r\n".join(lines).encode("latin-1")


class Gate:
    """A gate in front of `target`, a plain HTTP URL whose path is ignored. It is open from construction until `close`.

    Everything is forwarded as it came, the Host header too, so that signed requests stay valid.
    """

    def __init__(self, target: str) -> None:
        address = urlsplit(target)
        assert address.scheme == "http", "the gate speaks plain HTTP"
        assert address.hostname, "the gate needs a host to forward to"
        self._target = (address.hostname, address.port or http.client.HTTP_PORT)
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self._requests: list[Request] = []
        self._listener = _Listener(self, free_port())
        self._port = self._listener.server_port

    @property
    def url(self) -> str:
        """Scheme, host and port; the client adds the path."""
        return f"http://{HOST}:{self._port}"

    @property
    def requests(self) -> list[Request]:
        """All requests seen since the last `clear`, oldest first, whatever became of them."""
        with self._lock:
            return list(self._requests)

    def on(self, match: Match, fault: Fault, *, times: int | None = 1) -> None:
        """Do `fault` to the next `times` matching requests, to all if None. The rule given first wins."""
        with self._lock:
            self._rules.append(_Rule(match, fault, times))

    def clear(self) -> None:
        """Forget rules and requests."""
        with self._lock:
            self._rules.clear()
            self._requests.clear()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse all connections, and drop the open ones, while the block runs; the port stays the same."""
        self.close()
        try:
            yield
        finally:
            self._listener = self._again()

    def _again(self) -> _Listener:
        """The same port; a connection of somebody else's may have it as its own end for a moment."""
        end = time.monotonic() + _PORT_WITHIN
        while True:
            try:
                return _Listener(self, self._port)
            except OSError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def close(self) -> None:
        """Close the port and all connections; repeatable."""
        self._listener.end()

    def fault_for(self, request: Request) -> Fault | None:
        """Note the request, and take the fault that it shall have."""
        with self._lock:
            self._requests.append(request)
            for rule in self._rules:
                if rule.left != 0 and rule.match(request):
                    if rule.left is not None:
                        rule.left -= 1
                    return rule.fault
        return None

    def forward(self, request: Request, headers: Sequence[tuple[str, str]]) -> _Reply:
        """Send the request to the server and return its answer; 502 of our own when there is none."""
        connection = http.client.HTTPConnection(*self._target, timeout=_SERVER_ANSWERS_WITHIN)
        try:
            connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                if name.lower() not in _OF_ONE_CONNECTION | {"content-length"}:
                    connection.putheader(name, value)
            if request.body or "content-length" in request.headers:
                connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body or None)
            answer = connection.getresponse()
            return _Reply(answer.status, answer.reason, answer.getheaders(), answer.read())
        except (OSError, http.client.HTTPException):
            return _Reply(HTTPStatus.BAD_GATEWAY, HTTPStatus.BAD_GATEWAY.phrase, (), b"")
        finally:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Listener(ThreadingHTTPServer):
    """The open port, with a thread per connection; `end` leaves neither threads nor sockets."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, gate: Gate, port: int) -> None:
        super().__init__((HOST, port), _Exchange)
        self.gate = gate
        self.closing = threading.Event()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._open_lock = threading.Lock()
        self._accepting = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._accepting.start()

    def end(self) -> None:
        if self.closing.is_set():
            return
        self.closing.set()
        self.shutdown()
        self._accepting.join(_THREAD_ENDS_WITHIN)
        self.server_close()
        with self._open_lock:
            connections = dict(self._open)
        for connection in connections.values():
            with suppress(OSError):  # the client was quicker
                connection.shutdown(socket.SHUT_RDWR)
        for thread in connections:
            thread.join(_THREAD_ENDS_WITHIN)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        assert isinstance(request, socket.socket)
        thread = threading.Thread(target=self._serve, args=(request, client_address), daemon=True)
        with self._open_lock:
            self._open[thread] = request
        thread.start()

    def _serve(self, connection: socket.socket, client_address: object) -> None:
        try:
            with suppress(ConnectionError):  # a client that gave up waiting is what some tests are about
                self.finish_request(connection, client_address)
        finally:
            self.shutdown_request(connection)
            with self._open_lock:
                del self._open[threading.current_thread()]


class _Exchange(BaseHTTPRequestHandler):
    """One connection of a client, request after request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def _serve(self) -> None:
        request = self._read()
        gate = self.server.gate
        headers = list(self.headers.raw_items())
        match gate.fault_for(request):
            case None:
                self._send(request, gate.forward(request, headers))
            case Lose():
                gate.forward(request, headers)
                self.close_connection = True
            case Refuse():
                self.close_connection = True
            case CutMidBody():
                self._send_half(request, gate.forward(request, headers))
            case Delay() as delay:
                self._send_late(request, headers, delay)
            case Answer() as answer:
                if answer.effect:
                    gate.forward(request, headers)
                reason = http.client.responses.get(answer.status, "Unknown")
                self._send(request, _Reply(answer.status, reason, list(answer.headers.items()), answer.body))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_LIST = _serve  # noqa: N815

    def _read(self) -> Request:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            body = b"".join(self._chunks())
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.requestline.split()[1]  # self.path has leading slashes merged
        return Request(self.command, path, {name.lower(): value for name, value in self.headers.items()}, body)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass

    def _send(self, request: Request, reply: _Reply) -> None:
        self.wfile.write(reply.head(request.method) + (b"" if request.method == "HEAD" else reply.body))

    def _send_half(self, request: Request, reply: _Reply) -> None:
        head = reply.head(request.method)
        body = b"" if request.method == "HEAD" else reply.body
        self.wfile.write(head + body[: len(body) // 2] if body else head[: len(head) // 2])
        self.close_connection = True

    def _send_late(self, request: Request, headers: Sequence[tuple[str, str]], delay: Delay) -> None:
        reply = None if delay.late_effect else self.server.gate.forward(request, headers)
        if self.server.closing.wait(delay.seconds):
            self.close_connection = True
            return
        self._send(request, reply or self.server.gate.forward(request, headers))

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Print nothing: requests carry secrets, and tests look at `Gate.requests`."""
