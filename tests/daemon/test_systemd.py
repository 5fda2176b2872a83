"""What systemd is told: the messages of sd_notify(3), on a real socket."""

from __future__ import annotations

import secrets
import signal
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.daemon import Daemon
from rotator.daemon.systemd import Systemd
from tests.cli.house import House
from tests.daemon.conftest import Start


class Listener:
    """The end of the socket where systemd listens."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(20)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def wait(self, word: str) -> list[str]:
        """The lines of the next message with this word."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            lines = self.socket.recv(4096).decode().splitlines()
            if word in lines:
                return lines
        pytest.fail(f"no {word}")


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@keyturn-{secrets.token_hex(8)}"
    listener = Listener(address)
    with listener.socket:
        yield listener


def test_systemd_is_told_of_every_change(house: House, start: Start, systemd: Listener) -> None:
    env = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "400000"}
    daemon = start("--interval", "300ms", env=env)
    assert any(line.startswith("STATUS=test: 2 credentials") for line in systemd.wait("READY=1"))
    systemd.wait("WATCHDOG=1")
    before = time.monotonic_ns() // 1000
    daemon.send(signal.SIGHUP)
    reloading = systemd.wait("RELOADING=1")
    moment = int(next(line for line in reloading if line.startswith("MONOTONIC_USEC=")).partition("=")[2])
    assert before <= moment <= time.monotonic_ns() // 1000
    systemd.wait("READY=1")
    daemon.send(signal.SIGTERM)
    systemd.wait("STOPPING=1")
    assert daemon.ended() == 0


def test_the_watchdog_is_left_to_bark_where_ticks_do_not_begin(house: House, systemd: Listener) -> None:
    environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "2"}
    daemon = Daemon(house.folder / "rotator.yaml", timedelta(minutes=1), timedelta(seconds=30), environ)
    systemd.socket.setblocking(False)
    daemon._began = time.monotonic() - 601
    daemon._hear(0.01)
    with pytest.raises(BlockingIOError):
        systemd.socket.recv(100)
    daemon._began = time.monotonic() - 500
    daemon._hear(0.01)
    assert systemd.socket.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("environ", "every"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_signs_of_life_come_twice_as_often_as_asked(environ: dict[str, str], every: float | None) -> None:
    assert Systemd(environ).every == every


@pytest.mark.parametrize("address", ["/no/such/socket", "@nobody-listens-here", "vsock:2:1", ""])
def test_without_a_listener_nothing_happens(address: str) -> None:
    Systemd({"NOTIFY_SOCKET": address}).tell("READY=1")
