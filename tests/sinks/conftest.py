"""A trail, and what it is sent to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from rotator.access.formats import Origin
from rotator.engine.followers import Followers, Following
from rotator.engine.work import Limits
from rotator.ports.adapter import Sink
from rotator.ports.store import NewEvent, StoredEvent
from rotator.wiring import surroundings
from tests.simulation.memory import MemoryStore

ORIGIN = Origin("test", "rotator-1")
NO_PAUSE = Limits(retry_first=timedelta(milliseconds=1), retry_most=timedelta(milliseconds=1))


class Trail:
    """A trail that one sink follows; how often it failed is on its row."""

    def __init__(self) -> None:
        ids = count(1)
        self.store = MemoryStore(clock=lambda: datetime.now(UTC), new_id=lambda: str(next(ids)))

    def happen(self, times: int = 1, **given: Any) -> list[StoredEvent]:
        event = {"event": "push.succeeded", "actor": "cli:ann@test", "credential": "web", **given}
        return list(self.store.note([NewEvent(**event) for _ in range(times)]))

    def send(self, sink: Sink) -> tuple[int, str | None]:
        """One turn at once; gives how far it came and why no further."""
        following = Following(name="sink:siem", receiver=sink)
        followers = Followers(self.store, [following], NO_PAUSE, surroundings(bug=_raise))
        followers.hasten()
        followers.turn(following)
        row = self.store.followers()["sink:siem"]
        return row.seq, row.message

    @property
    def events(self) -> list[StoredEvent]:
        return list(self.store.events())

    @property
    def seqs(self) -> list[int]:
        return [event.seq for event in self.events]


def _raise(_name: str, problem: Exception) -> None:
    raise problem


def once(seqs: list[int]) -> list[int]:
    """Each seq at its first coming: what came again is left out, and the order is kept."""
    return list(dict.fromkeys(seqs))


@pytest.fixture
def trail() -> Trail:
    return Trail()


class Receiver:
    """An HTTP server that keeps what it is sent; `status` is what it answers."""

    def __init__(self, port: int = 0) -> None:
        self.status = 204
        self.got: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.status)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_OPTIONS(self) -> None:
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with suppress(OSError):
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.stop()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "sink.key"
    path.write_text("CANARY-signing-key-of-the-sink\n", encoding="utf-8")
    return path
