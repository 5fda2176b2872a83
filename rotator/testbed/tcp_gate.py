"""A gate between clients and a server of any protocol over TCP: it cuts, delays, and holds back one way or both.

What is held back is kept and sent on later, or lost together with its connection: the two things a network does.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Literal, Self

from rotator.testbed.process import HOST, free_port

Way = Literal["requests", "answers"]
"""From clients to the server, or back."""

_PIECE = 65536  # bytes
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close at once, whatever is unsent
_THREAD_ENDS_WITHIN = 5.0  # seconds


class TcpGate:
    """A gate in front of a loopback port, open from construction until `close`. Methods may be called at any time."""

    def __init__(self, server_port: int) -> None:
        self.delay = 0.0
        """Seconds that every piece takes longer, either way."""
        self._server_port = server_port
        self._changed = threading.Condition()
        self._held: set[Way] = set()
        self._down = False
        self._closed = False
        self._pairs: set[_Pair] = set()
        self._listener = socket.create_server((HOST, free_port()), backlog=128)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def port(self) -> int:
        """Where clients connect to."""
        port: int = self._listener.getsockname()[1]
        return port

    def cut(self) -> None:
        """Reset every connection; what is under way is lost. New ones are accepted."""
        with self._changed:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.reset()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Reset every connection, and each new one, while the block lasts."""
        self._down = True
        try:
            self.cut()
            yield
        finally:
            self._down = False

    @contextmanager
    def held(self, *ways: Way, lost: bool = False) -> Iterator[None]:
        """Let nothing pass this way while the block lasts; then it passes, or is `lost` with its connection."""
        with self._changed:
            self._held |= set(ways)
        try:
            yield
        finally:
            if lost:
                self.cut()
            with self._changed:
                self._held -= set(ways)
                self._changed.notify_all()

    def close(self) -> None:
        """Close the port and every connection; repeatable."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        with suppress(OSError):  # closed before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._accepting.join(_THREAD_ENDS_WITHIN)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # the gate was closed
                return
            try:
                server = socket.create_connection((HOST, self._server_port), timeout=5)
            except OSError:  # nobody is there: so it looks from outside too
                _reset(client)
                continue
            server.settimeout(None)
            pair = _Pair(client, server)
            with self._changed:
                self._pairs.add(pair)
            if self._down or self._closed:
                pair.reset()
            for way, source, sink in (("requests", client, server), ("answers", server, client)):
                threading.Thread(target=self._pump, args=(pair, way, source, sink), daemon=True).start()

    def _pump(self, pair: _Pair, way: Way, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):  # one of the two ended, or the connection was reset
            while piece := source.recv(_PIECE):
                with self._changed:
                    self._changed.wait_for(lambda: way not in self._held or self._closed or pair.is_reset)
                if self.delay:
                    pair.ended.wait(self.delay)
                sink.sendall(piece)
        pair.reset()
        with self._changed:
            self._pairs.discard(pair)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Pair:
    """A client's connection and ours to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._sockets = (client, server)
        self.ended = threading.Event()

    @property
    def is_reset(self) -> bool:
        return self.ended.is_set()

    def reset(self) -> None:
        self.ended.set()
        for end in self._sockets:
            _reset(end)


def _reset(end: socket.socket) -> None:
    with suppress(OSError):  # closed before
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it
    end.close()
