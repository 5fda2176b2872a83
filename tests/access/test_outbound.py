"""Whatever is sent goes one way: TLS 1.2 with a trusted certificate, an end in time, a cap, no redirect, no proxy.

Each adapter that reaches a server over HTTP is held to it, on real sockets.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from pydantic import ValidationError

from rotator.access import http, internal, network
from rotator.consumers.deployment import Deployment
from rotator.destinations.aws_secrets_manager import AwsSecretsManager
from rotator.destinations.vault_kv import VaultKV
from rotator.domain.errors import RotatorError, SetupError, TemporaryError
from rotator.domain.secret import Material
from rotator.hooks.http import Get, Post
from rotator.ports.hook import Occasion
from rotator.providers.anthropic import Anthropic
from rotator.providers.aws_iam import AwsIam
from rotator.providers.openai import OpenAI
from tests.certificates import self_signed

LIMIT = timedelta(seconds=1)
SECRET = "CANARY0own0credential0of0ours"  # in what each request carries

OCCASION = Occasion(
    credential="web",
    address="env-file:/srv/web/.env",
    facts={"key_id": "key_7", "version": "7", "fingerprint": "0a1b"},
    material=Material.of(secret="sk-1234567890"),
)

Ask = Callable[..., object]


def ask_openai(url: str, **way: Any) -> object:
    settings = OpenAI.Settings.model_validate({"admin_key": "env:OWN", "base_url": url, **way})
    options = OpenAI.Options.model_validate({"project": "p", "service_account": "s"})
    return OpenAI(settings, LIMIT).bind(options).keys()


def ask_anthropic(url: str, **way: Any) -> object:
    settings = Anthropic.Settings.model_validate({"admin_key": "env:OWN", "base_url": url, **way})
    return Anthropic(settings, LIMIT).bind(Anthropic.Options.model_validate({"workspace": "wrkspc_1"})).keys()


def ask_iam(url: str, **way: Any) -> object:
    own = {"access_key_id": "env:OWN", "secret_access_key": "env:OWN"}
    settings = AwsIam.Settings.model_validate({**own, "endpoint_url": url, **way})
    return AwsIam(settings, LIMIT).bind(AwsIam.Options.model_validate({"user": "ci"})).keys()


def ask_secrets_manager(url: str, **way: Any) -> object:
    own = {"access_key_id": "env:OWN", "secret_access_key": "env:OWN", "region": "us-east-1"}
    settings = AwsSecretsManager.Settings.model_validate({**own, "endpoint_url": url, **way})
    return AwsSecretsManager("sm", settings, LIMIT).at("web").read()


def ask_vault(url: str, **way: Any) -> object:
    settings = VaultKV.Settings.model_validate({"address": url, "auth": {"method": "token", "token": "env:OWN"}, **way})
    return VaultKV("vault", settings, LIMIT).at("web").read()


def ask_deployment(url: str, **way: Any) -> object:
    settings = Deployment.Settings.model_validate(
        {"deployment": "shop/api", "api_server": url, "token": "env:OWN", **way}
    )
    return Deployment(settings, LIMIT).processes()


def ask_hook(url: str, **way: Any) -> object:
    Post(Post.Settings.model_validate({"http": url, "sign": "env:OWN", "allow": LOOPBACK, **way}), LIMIT).run(OCCASION)
    return None


def ask_probe(url: str, **way: Any) -> object:
    Get(Get.Settings.model_validate({"http": url, "allow": LOOPBACK, **way}), LIMIT).run(OCCASION)
    return None


LOOPBACK = ["127.0.0.0/8", "::1"]

ADAPTERS: Mapping[str, Ask] = {
    "openai": ask_openai,
    "anthropic": ask_anthropic,
    "aws-iam": ask_iam,
    "aws-secrets-manager": ask_secrets_manager,
    "vault-kv": ask_vault,
    "deployment": ask_deployment,
    "hook": ask_hook,
    "probe": ask_probe,
}
"""Everything that speaks HTTP, by its way out; what shares one is tried once. What is added is added here."""

PROXIED = [name for name in ADAPTERS if name not in ("hook", "probe")]


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN", SECRET)


class Server:
    """Real connections, in threads: `serve` is given each, and what came in on it is kept."""

    def __init__(self, serve: Callable[[socket.socket, Server], None], context: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._serve = serve
        self._context = context
        self.port: int = self._listener.getsockname()[1]
        self.received: list[bytes] = []
        self.over = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(20)
                self._threads.append(threading.Thread(target=self._one, args=(connection,)))
                self._threads[-1].start()

    def _one(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # SSLError is one
            secured = self._context.wrap_socket(connection, server_side=True) if self._context else connection
            with secured:
                self._serve(secured, self)

    def heard(self, connection: socket.socket) -> bytes:
        """One request: its head, and what came with it."""
        content = b""
        while b"\r\n\r\n" not in content:
            piece = connection.recv(65536)
            if not piece:
                break
            content += piece
        self.received.append(content)
        return content

    def close(self) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(20)


@contextmanager
def serving(serve: Callable[[socket.socket, Server], None], context: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(serve, context)
    try:
        yield server
    finally:
        server.close()


def answering(content: bytes) -> Callable[[socket.socket, Server], None]:
    def serve(connection: socket.socket, server: Server) -> None:
        if server.heard(connection):
            connection.sendall(content)

    return serve


EMPTY = answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def told(ask: Ask, url: str, **way: Any) -> RotatorError:
    with pytest.raises(RotatorError) as problem:
        ask(url, **way)
    assert SECRET not in problem.value.message
    return problem.value


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of 127.0.0.1, signed by itself; and its key."""
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("other.example")]
    return self_signed(tmp_path_factory.mktemp("tls"), names)


def context(certificate: tuple[Path, Path], version: ssl.TLSVersion) -> ssl.SSLContext:
    """A server's, of exactly this version; for old ones OpenSSL has to be asked to forget its standards."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*certificate)
    made.set_ciphers("DEFAULT:@SECLEVEL=0")
    made.minimum_version = made.maximum_version = version
    return made


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_certificate_that_nobody_vouches_for_ends_it_before_anything_is_sent(
    name: str, certificate: tuple[Path, Path]
) -> None:
    with serving(EMPTY, context(certificate, ssl.TLSVersion.TLSv1_3)) as server:
        problem = told(ADAPTERS[name], server.url)
        assert "certificate" in problem.message
        assert server.received == []
        with suppress(RotatorError):
            ADAPTERS[name](server.url, ca_file=certificate[0])
        assert len(server.received) >= 1


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_certificate_of_another_name_ends_it_before_anything_is_sent(
    name: str, certificate: tuple[Path, Path]
) -> None:
    with serving(EMPTY, context(certificate, ssl.TLSVersion.TLSv1_3)) as server:
        told(ADAPTERS[name], f"https://localhost:{server.port}", ca_file=certificate[0])
        assert server.received == []


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=lambda v: v.name)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_a_server_of_old_tls_is_refused(name: str, version: ssl.TLSVersion, certificate: tuple[Path, Path]) -> None:
    with serving(EMPTY, context(certificate, version)) as server:
        old = ssl.create_default_context(cafile=str(certificate[0]))
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.TLSv1
        plain = socket.create_connection(("127.0.0.1", server.port), 10)
        with plain, old.wrap_socket(plain, server_hostname="127.0.0.1") as agreed:
            assert agreed.version() == {"TLSv1": "TLSv1", "TLSv1_1": "TLSv1.1"}[version.name]
            agreed.sendall(b"\r\n\r\n")
            agreed.recv(1)
        assert len(server.received) == 1
        told(ADAPTERS[name], server.url, ca_file=certificate[0])
        assert len(server.received) == 1


def test_a_ca_file_that_holds_no_certificate_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(SetupError, match=r"ca\.pem"):
        network.trust(tmp_path / "ca.pem")


# time, size, redirects


def drip(connection: socket.socket, server: Server, content: bytes) -> None:
    for byte in content:
        if server.over.wait(0.05):
            break
        connection.sendall(bytes([byte]))


def silent(connection: socket.socket, server: Server) -> None:
    server.heard(connection)
    server.over.wait(20)


def dripping_head(connection: socket.socket, server: Server) -> None:
    server.heard(connection)
    drip(connection, server, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 999)


def dripping_body(connection: socket.socket, server: Server) -> None:
    server.heard(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")
    drip(connection, server, b" " * 999)


DRIPS = {"nothing": silent, "head": dripping_head, "body": dripping_body}


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize("how", DRIPS)
def test_an_answer_that_does_not_come_to_its_end_is_given_up_when_the_time_is_over(name: str, how: str) -> None:
    with serving(DRIPS[how]) as server:
        began = time.monotonic()
        told(ADAPTERS[name], server.url)
        assert time.monotonic() - began < 10, "a drip would go on for 50 seconds"
        assert len(server.received) == 1


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_answer_without_end_is_cut(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_MOST_BYTES", 100_000)
    sent: list[int] = []

    def endless(connection: socket.socket, server: Server) -> None:
        server.heard(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not server.over.is_set():
            connection.sendall(b" " * 10_000)
            sent.append(10_000)

    with serving(endless) as server:
        told(ADAPTERS[name], server.url)
        assert sum(sent) < 30_000_000


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(name: str, status: int) -> None:
    with serving(EMPTY) as elsewhere:
        head = (
            f"HTTP/1.1 {status} There\r\nLocation: {elsewhere.url}/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        with serving(answering(head.encode())) as server:
            told(ADAPTERS[name], server.url)
            assert len(server.received) >= 1
        assert elsewhere.received == []


# proxies


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_environment_names_no_proxy_and_no_authority(
    name: str, monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, Path]
) -> None:
    with serving(EMPTY) as proxy, serving(EMPTY) as server:
        for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(variable, proxy.url)
            monkeypatch.setenv(variable.lower(), proxy.url)
        with suppress(RotatorError):
            ADAPTERS[name](server.url)
        assert len(server.received) >= 1
        assert proxy.received == []
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE", "VAULT_CACERT"):
        monkeypatch.setenv(variable, str(certificate[0]))
    with serving(EMPTY, context(certificate, ssl.TLSVersion.TLSv1_3)) as server:
        told(ADAPTERS[name], server.url)
        assert server.received == []


@pytest.mark.parametrize("name", PROXIED)
@pytest.mark.parametrize("way", ["named", "of the environment", "none for this host"])
def test_a_proxy_is_used_where_the_configuration_says_so(
    name: str, way: str, monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, Path]
) -> None:
    """The secret of a request to https goes through it in TLS: it is asked for a tunnel and nothing more."""
    with serving(EMPTY) as proxy, serving(EMPTY, context(certificate, ssl.TLSVersion.TLSv1_3)) as server:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1" if way == "none for this host" else "")
        told(ADAPTERS[name], server.url, proxy=proxy.url if way == "named" else "env", ca_file=certificate[0])
        if way == "none for this host":
            assert proxy.received == []
            assert len(server.received) >= 1
        else:
            (heard,) = set(proxy.received)
            assert heard.startswith(f"CONNECT 127.0.0.1:{server.port} ".encode())
            assert SECRET.encode() not in heard
            assert server.received == []


@pytest.mark.parametrize(
    "proxy", ["proxy:3128", "socks5://p", "http://me:secret@p", "http://p/x", "environment", "http://"]
)
def test_what_is_no_proxy_is_an_error_of_the_configuration(proxy: str) -> None:
    with pytest.raises(ValidationError, match="proxy"):
        OpenAI.Settings.model_validate({"admin_key": "env:OWN", "proxy": proxy})


# internal addresses

INTERNAL = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1",
    "169.254.169.254", "2852039166", "0xa9fea9fe", "100.64.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1",
    "[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[::ffff:127.0.0.1]", "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]",
    "[2001:0:1:1:1:1:5601:5601]", "[::127.0.0.1]", "[ff02::1]", "localhost",
]  # fmt: skip


@pytest.mark.parametrize("host", INTERNAL)
@pytest.mark.parametrize("ask", [ask_hook, ask_probe], ids=["reload", "probe"])
def test_a_hook_reaches_no_internal_address_however_it_is_spelt(ask: Ask, host: str) -> None:
    problem = told(ask, f"http://{host}:9/", allow=[])
    assert isinstance(problem, TemporaryError)
    assert "internal address" in problem.message
    assert "allow" in (problem.remedy or "")


def test_the_metadata_of_a_cloud_is_not_among_private_networks() -> None:
    with pytest.raises(TemporaryError) as problem:
        ask_probe(
            "http://169.254.169.254/",
            allow=["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7"],
        )
    assert "internal address" in problem.value.message


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2002:101:101::1", "64:ff9b::101:101"]
)
def test_a_public_address_is_not_internal(address: str) -> None:
    assert not internal.is_internal(address)


def test_a_name_is_looked_up_once_and_that_very_address_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebinding: a name that is public when it is looked at, and leads inside a moment later."""
    with serving(EMPTY) as server:
        answers = iter([[(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", server.port))]])
        inside = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
        dialled: list[tuple[str, int]] = []

        def lookup(host: str, *_: Any, **__: Any) -> Any:
            if host == "rebinding.example":
                return next(answers, inside)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, server.port))]

        def connection(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
            dialled.append(address)
            raise TimeoutError

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        monkeypatch.setattr(socket, "create_connection", connection)
        told(ask_probe, f"http://rebinding.example:{server.port}/", allow=["192.0.2.0/24"])
        assert dialled == [("192.0.2.1", server.port)]
        assert server.received == []


def test_one_internal_address_among_several_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("1.1.1.1", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    assert told(ask_probe, "http://several.example/", allow=[]).message.startswith(
        "several.example leads to the internal address 10.0.0.1"
    )


def test_the_host_is_still_sent_and_its_certificate_checked(certificate: tuple[Path, Path]) -> None:
    with serving(EMPTY, context(certificate, ssl.TLSVersion.TLSv1_3)) as server:
        told(ask_probe, server.url, ca_file=certificate[0])
        assert f"Host: 127.0.0.1:{server.port}".encode() in server.received[0]


def test_an_internal_address_is_told_by_the_check_already() -> None:
    trouble = Get(Get.Settings.model_validate({"http": "http://10.0.0.5/healthz"}), LIMIT).trouble()
    assert trouble is not None
    assert "allow: [10.0.0.5/32]" in trouble
    assert (
        Get(Get.Settings.model_validate({"http": "http://10.0.0.5/", "allow": ["10.0.0.0/24"]}), LIMIT).trouble()
        is None
    )


@pytest.mark.parametrize("allow", ["10.0.0.0/33", "inside", "10.0.0.1/8"])
def test_what_is_no_network_is_an_error_of_the_configuration(allow: str) -> None:
    with pytest.raises(ValidationError, match="network"):
        Get.Settings.model_validate({"http": "http://a/", "allow": [allow]})
