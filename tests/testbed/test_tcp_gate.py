"""The TCP gate, in front of a server that says everything back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from rotator.testbed.process import HOST
from rotator.testbed.tcp_gate import TcpGate


class Echo:
    """Says back what it hears, and remembers it."""

    def __init__(self) -> None:
        self.heard = b""
        self.listener = socket.create_server((HOST, 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):  # closed before
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                while piece := connection.recv(100):
                    self.heard += piece
                    connection.sendall(piece)
            except OSError:
                return


@pytest.fixture
def echo() -> Iterator[Echo]:
    found = Echo()
    yield found
    found.close()


@pytest.fixture
def gate(echo: Echo) -> Iterator[TcpGate]:
    with TcpGate(echo.port) as gate:
        yield gate


@pytest.fixture
def client(gate: TcpGate) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, gate.port), timeout=5) as connection:
        yield connection


def said_back(client: socket.socket, words: bytes, within: float = 5) -> bool:
    client.settimeout(within)
    client.sendall(words)
    return answered(client, words, within)


def answered(client: socket.socket, words: bytes, within: float = 5) -> bool:
    client.settimeout(within)
    try:
        return client.recv(100) == words
    except TimeoutError:
        return False


def is_gone(client: socket.socket) -> bool:
    try:
        return client.recv(10) == b""
    except ConnectionResetError:
        return True


def turned_away(gate: TcpGate) -> bool:
    try:
        with socket.create_connection((HOST, gate.port), timeout=5) as client:
            return is_gone(client)
    except OSError:
        return True


def test_everything_passes(client: socket.socket) -> None:
    assert said_back(client, b"one")
    assert said_back(client, b"two")


def test_a_cut_ends_connections_and_lets_new_ones_in(gate: TcpGate, client: socket.socket) -> None:
    assert said_back(client, b"one")
    gate.cut()
    assert is_gone(client)
    with socket.create_connection((HOST, gate.port), timeout=5) as another:
        assert said_back(another, b"two")


def test_while_it_is_down_nobody_gets_through(gate: TcpGate, echo: Echo) -> None:
    with gate.down():
        assert turned_away(gate)
    assert echo.heard == b""


def test_answers_are_held_back_while_requests_take_effect(gate: TcpGate, echo: Echo, client: socket.socket) -> None:
    with gate.held("answers"):
        assert not said_back(client, b"one", within=0.2)
        assert echo.heard == b"one"
    assert answered(client, b"one")


def test_what_is_lost_ends_with_its_connection(gate: TcpGate, echo: Echo, client: socket.socket) -> None:
    assert said_back(client, b"one")
    with gate.held("requests", "answers", lost=True):
        assert not said_back(client, b"two", within=0.2)
    assert is_gone(client)
    assert echo.heard == b"one"


def test_every_piece_may_take_longer(gate: TcpGate, client: socket.socket) -> None:
    gate.delay = 0.1
    began = time.monotonic()
    assert said_back(client, b"one")
    assert time.monotonic() - began >= 0.2


def test_a_server_that_is_gone_looks_gone(gate: TcpGate, echo: Echo) -> None:
    echo.close()
    assert turned_away(gate)
