"""RFC 5424 over TLS, to a real TLS server that reads frames as RFC 5425 has them."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator import __version__
from rotator.domain.errors import Unavailable
from rotator.ports.store import StoredEvent
from rotator.sinks.syslog import SyslogSettings, SyslogSink, syslog_message
from rotator.verifier.trail import verify_lines
from tests.sinks.conftest import ORIGIN, Trail, once

# RFC 5424, section 6: HEADER SP STRUCTURED-DATA [SP MSG]
GRAMMAR = re.compile(
    r"<(?P<pri>\d{1,3})>(?P<version>1) (?P<at>\S+) (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<proc>[!-~]{1,128})"
    r" (?P<msgid>[!-~]{1,32}) (?P<data>\[[!-~ ]*?\]) (?P<msg>.*)",
    re.DOTALL,
)


def read_frames(content: bytes) -> list[bytes]:
    """RFC 5425, 4.3: MSG-LEN SP SYSLOG-MSG, over and over. A frame that is cut off is left out."""
    frames = []
    while content:
        length, _, rest = content.partition(b" ")
        assert re.fullmatch(rb"[1-9]\d*", length)
        if len(rest) < int(length):
            break
        frames.append(rest[: int(length)])
        content = rest[int(length) :]
    return frames


class SyslogServer:
    """Keeps what it was sent, connection by connection. `manner`: how it ends them."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.certificate, key = folder / "ca.pem", folder / "key.pem"
        if not key.exists():
            made = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {key} -out"
            made += f" {self.certificate} -days 1 -subj /CN=siem -addext subjectAltName=IP:127.0.0.1"
            subprocess.run(made.split(), check=True, capture_output=True)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.certificate, key)
        self.manner = "orderly"
        self.content: list[bytes] = []
        self.versions: list[str | None] = []
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            with plain, suppress(OSError):
                plain.settimeout(10)
                self._read(self._context.wrap_socket(plain, server_side=True))

    def _read(self, secured: ssl.SSLSocket) -> None:
        with secured:
            self.versions.append(secured.version())
            if self.manner == "dies":
                secured.recv(64)
                # A process that is killed with unread data: its host resets the connection.
                secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                return
            self.content.append(b"")
            while piece := secured.recv(65536):
                self.content[-1] += piece
            if self.manner == "orderly":
                secured.unwrap()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(message_of(frame)["msg"]) for part in self.content for frame in read_frames(part)]

    def stop(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


def message_of(frame: bytes) -> dict[str, str]:
    found = GRAMMAR.fullmatch(frame.decode())
    assert found is not None, frame
    return found.groupdict()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SyslogServer]:
    one = SyslogServer(tmp_path)
    yield one
    one.stop()


def sink(server: SyslogServer, timeout: float = 5, **settings: Any) -> SyslogSink:
    given = {"host": "127.0.0.1", "port": server.port, "ca_file": str(server.certificate), **settings}
    return SyslogSink(SyslogSettings.model_validate(given), ORIGIN, timedelta(seconds=timeout))


@pytest.mark.parametrize("manner", ["orderly", "curt"])
def test_the_server_gets_the_trail(trail: Trail, server: SyslogServer, manner: str) -> None:
    server.manner = manner
    trail.happen(450)
    assert trail.send(sink(server)) == (451, None)
    assert len(server.content) == 3
    frames = [frame for part in server.content for frame in read_frames(part)]
    lines = [message_of(frame)["msg"] for frame in frames]
    assert (verify_lines(lines).count, verify_lines(lines).problem) == (451, None)
    assert set(server.versions) <= {"TLSv1.2", "TLSv1.3"}


def test_a_message_is_as_the_rfc_has_it(trail: Trail) -> None:
    (event,) = trail.happen(event="create.blocked", reason="slot_full")
    found = message_of(syslog_message(event, "json", ORIGIN))
    body = json.loads(event.body)
    assert found["pri"] == str(13 * 8 + 4)  # log audit, warning
    assert found["at"] == body["at"]
    assert datetime.fromisoformat(found["at"]).tzinfo is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z", found["at"])
    assert (found["host"], found["app"], found["proc"]) == ("rotator-1", "rotator", "-")
    assert found["msgid"] == "create.blocked"
    assert found["data"] == f'[origin software="keyturn" swVersion="{__version__}"]'


def test_text_beyond_ascii_is_marked_as_utf_8(trail: Trail) -> None:
    def text(event: StoredEvent) -> bytes:
        return syslog_message(event, "json", ORIGIN).partition(b'"] ')[2]

    (plain,) = trail.happen()
    (odd,) = trail.happen(credential="größe")
    assert text(plain).startswith(b"{")
    assert text(odd).startswith(b"\xef\xbb\xbf{")
    assert json.loads(text(odd).decode("utf-8-sig"))["credential"] == "größe"


def test_a_server_that_is_killed_for_a_while_misses_nothing(trail: Trail, server: SyslogServer, tmp_path: Path) -> None:
    one = sink(server)
    trail.happen(250)
    trail.send(one)
    where = f"127.0.0.1:{server.port}"
    server.manner = "dies"
    trail.happen(250)
    seq, why = trail.send(one)
    assert (seq, why) == (251, f"the connection to the syslog server {where} broke before it had read everything")
    server.stop()
    seq, why = trail.send(one)
    assert (seq, why) == (251, f"cannot connect to the syslog server {where}: Connection refused")
    again = SyslogServer(tmp_path, server.port)
    try:
        assert trail.send(one) == (501, None)
    finally:
        again.stop()
    assert once([event["seq"] for event in server.events + again.events]) == trail.seqs


def test_a_certificate_that_is_not_trusted_is_sent_nothing(trail: Trail, server: SyslogServer) -> None:
    seq, why = trail.send(sink(server, ca_file=None))
    assert (seq, why) == (0, f"the certificate of the syslog server 127.0.0.1:{server.port} is not trusted")
    seq, why = trail.send(sink(server, host="localhost"))
    assert seq == 0
    assert server.content == []


def test_a_server_without_tls_is_sent_nothing(trail: Trail, server: SyslogServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        heard: list[bytes] = []

        def answer() -> None:
            connection, _ = plain.accept()
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(b"220 hello\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        port = plain.getsockname()[1]
        assert trail.send(sink(server, port=port)) == (
            0,
            f"the syslog server 127.0.0.1:{port} does not speak TLS with us",
        )
        thread.join()
        assert b"seq" not in heard[0]


def test_a_server_that_never_answers_is_given_up(trail: Trail, server: SyslogServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one = sink(server, timeout=0.3, port=silent.getsockname()[1])
        assert trail.send(one)[0] == 0


def test_a_ca_file_that_cannot_be_read_is_said(trail: Trail, server: SyslogServer, tmp_path: Path) -> None:
    assert trail.send(sink(server, ca_file=str(tmp_path / "gone"))) == (
        0,
        f"cannot read certificates from {tmp_path / 'gone'}",
    )


def test_a_look_sends_nothing_and_finds_what_is_wrong(server: SyslogServer) -> None:
    sink(server).look()
    assert server.content == [b""]
    with pytest.raises(Unavailable, match="is not trusted"):
        sink(server, ca_file=None).look()
    server.stop()
    with pytest.raises(Unavailable, match="Connection refused"):
        sink(server).look()
