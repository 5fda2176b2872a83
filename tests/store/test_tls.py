"""The way to a PostgreSQL that is not on this machine."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import text

from rotator.cli import preflights
from rotator.domain.errors import SetupError
from rotator.store.database import Database, connect, is_remote, is_unverified, opening, parse
from rotator.testbed.postgres import Postgres
from tests.certificates import self_signed
from tests.engine.conftest import embedded  # noqa: F401 - a fixture
from tests.engine.place import Place

ELSEWHERE = "db.example"
SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # PostgreSQL's protocol: the client asks for TLS


class Front:
    """A TLS that PostgreSQL's wheel is built without, in front of the real server."""

    def __init__(self, server: Postgres, certificate: tuple[Path, Path]) -> None:
        self._behind = server.port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.versions: list[str | None] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._serve(self._listener.accept()[0])

    def _serve(self, plain: socket.socket) -> None:
        with plain, suppress(OSError):
            assert plain.recv(8) == SSL_REQUEST
            plain.sendall(b"S")
            with (
                self._context.wrap_socket(plain, server_side=True) as client,
                socket.create_connection(("127.0.0.1", self._behind)) as server,
            ):
                self.versions.append(client.version())
                back = threading.Thread(target=_copy, args=(server, client))
                back.start()
                _copy(client, server)
                back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"), [x509.DNSName(ELSEWHERE)])


@pytest.fixture
def front(postgres: Postgres, certificate: tuple[Path, Path]) -> Iterator[Front]:
    made = Front(postgres, certificate)
    yield made
    made.close()


def elsewhere(server: Postgres, port: int, name: str = ELSEWHERE, **query: str) -> str:
    """The server's address as that of another machine: libpq checks the name, and is told where that is."""
    said = "&".join(f"{key}={value}" for key, value in {"hostaddr": "127.0.0.1", **query}.items())
    return server.url().replace(f"127.0.0.1:{server.port}", f"{name}:{port}") + f"?{said}"


def opens(url: str) -> bool:
    engine = connect(url)
    try:
        with opening(), Database(engine).answering(), engine.connect() as connection:
            return bool(connection.scalar(text("SELECT 1")))
    finally:
        engine.dispose()


def refused(url: str) -> SetupError:
    with pytest.raises(SetupError) as told:
        opens(url)
    assert told.value.reason == "database_untrusted"
    return told.value


def test_a_server_elsewhere_is_believed_by_its_certificate(
    postgres: Postgres, front: Front, certificate: tuple[Path, Path]
) -> None:
    assert opens(elsewhere(postgres, front.port, sslrootcert=str(certificate[0])))
    assert front.versions == ["TLSv1.3"]


def test_one_that_nobody_vouches_for_is_refused(postgres: Postgres, front: Front) -> None:
    problem = refused(elsewhere(postgres, front.port))
    assert "its certificate is not trusted" in problem.message
    assert "sslrootcert" in (problem.remedy or "")


def test_a_certificate_of_another_name_is_refused(
    postgres: Postgres, front: Front, certificate: tuple[Path, Path]
) -> None:
    refused(elsewhere(postgres, front.port, "other.example", sslrootcert=str(certificate[0])))


def test_one_without_tls_is_refused_unless_the_url_says_otherwise(postgres: Postgres) -> None:
    assert "does not speak TLS" in refused(elsewhere(postgres, postgres.port)).message
    assert opens(elsewhere(postgres, postgres.port, sslmode="disable"))


@pytest.mark.parametrize(
    ("where", "remote"),
    [
        ("localhost", False),
        ("127.0.0.1", False),
        ("[::1]", False),
        ("", False),
        ("10.0.0.7", True),
        ("db.example", True),
    ],
)
def test_this_machine_is_known(where: str, remote: bool) -> None:
    assert is_remote(parse(f"postgresql://u:p@{where}/d")) is remote
    assert not is_unverified(parse(f"postgresql://u:p@{where}/d"))
    assert is_unverified(parse(f"postgresql://u:p@{where}/d?sslmode=require")) is remote


def test_a_socket_and_a_file_are_here_and_one_of_several_hosts_is_enough() -> None:
    assert not is_remote(parse("postgresql://u@/d?host=/run/postgresql"))
    assert not is_remote(parse("sqlite:///rotator.db"))
    assert is_remote(parse("postgresql://u@/d?host=127.0.0.1,db.example"))


def test_check_warns_of_a_url_that_has_anybody_believed(postgres: Postgres, embedded: Place) -> None:  # noqa: F811
    embedded.write(providers={"local": {"type": "generated"}}, destinations={}, credentials={})
    for mode, outcomes in (("disable", ["ok", "warning"]), (None, ["ok"])):
        with embedded.service() as service:
            url = elsewhere(postgres, postgres.port, **({"sslmode": mode} if mode else {}))
            service.store.database.engine.url = parse(url)
            assert [finding.outcome for finding in preflights._database(service.store)] == outcomes
