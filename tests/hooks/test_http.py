"""POST and GET to a real little server: what is sent, what counts as success, and what is not followed."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rotator.access.signing import SIGNATURE
from rotator.domain.errors import SetupError, TemporaryError
from rotator.hooks.http import Get, Post
from rotator.ports.hook import Occasion
from tests.conftest import Canaries

LIMIT = timedelta(seconds=2)


class Readers(HTTPServer):
    """Keeps what it was sent, and answers with one status."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.status = 200
        self.slow = 0.0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Exchange(BaseHTTPRequestHandler):
    server: Readers

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path, dict(self.headers), body))
        time.sleep(self.server.slow)
        self.send_response(self.server.status)
        self.send_header("Location", f"{self.server.url}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = _answer  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Print nothing."""


@pytest.fixture
def readers() -> Iterator[Readers]:
    server = Readers()
    yield server
    server.shutdown()
    server.server_close()


def post(url: str, **more: Any) -> Post:
    return Post(Post.Settings.model_validate({"http": url, "allow": ["127.0.0.0/8", "::1"], **more}), LIMIT)


def get(url: str, limit: float = 2, **more: Any) -> Get:
    return Get(
        Get.Settings.model_validate({"http": url, "allow": ["127.0.0.0/8", "::1"], **more}), timedelta(seconds=limit)
    )


def test_a_reload_is_a_post_of_public_facts(readers: Readers, occasion: Occasion, canary: Canaries) -> None:
    post(f"{readers.url}/reload?app=web").run(occasion)
    ((method, path, headers, body),) = readers.requests
    assert (method, path, headers["Content-Type"]) == ("POST", "/reload?app=web", "application/json")
    assert json.loads(body) == {
        "credential": "web",
        "destination": "env-file:/srv/web/.env",
        "version": 7,
        "key_id": "key_7",
        "fingerprint": "0a1b",
    }
    assert SIGNATURE not in headers
    assert not canary.found_in(body + repr(headers).encode())


def test_a_signature_is_over_time_and_body(
    readers: Readers, occasion: Occasion, monkeypatch: pytest.MonkeyPatch, canary: Canaries
) -> None:
    key = canary()
    monkeypatch.setenv("HOOK_KEY", key)
    hook = post(readers.url, sign="env:HOOK_KEY")
    hook.run(occasion)
    ((_, _, headers, body),) = readers.requests
    at, _, found = headers[SIGNATURE].partition(",")
    moment = at.removeprefix("t=")
    assert abs(int(moment) - time.time()) < 60
    expected = hmac.new(key.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    assert found == f"v1={expected}"
    assert hook.trouble() is None
    monkeypatch.delenv("HOOK_KEY")
    assert hook.trouble() == "the environment variable HOOK_KEY is not set"
    with pytest.raises(SetupError):
        hook.run(occasion)
    assert len(readers.requests) == 1


@pytest.mark.parametrize("status", [302, 307, 401, 404, 500, 503])
def test_any_answer_but_2xx_is_a_failure_and_no_redirect_is_followed(
    readers: Readers, occasion: Occasion, status: int
) -> None:
    readers.status = status
    for hook in (post(readers.url), get(readers.url)):
        with pytest.raises(TemporaryError, match=f"it answered {status}"):
            hook.run(occasion)
    assert len(readers.requests) == 2


def test_a_probe_is_a_get_that_may_expect_one_status(readers: Readers, occasion: Occasion) -> None:
    readers.status = 204
    get(f"{readers.url}/healthz?deep=1").run(occasion)
    assert [(method, path) for method, path, _, _ in readers.requests] == [("GET", "/healthz?deep=1")]
    with pytest.raises(TemporaryError, match="it answered 204"):
        get(readers.url, expect=200).run(occasion)
    readers.status = 401
    get(readers.url, expect=401).run(occasion)


def test_who_does_not_answer_in_time_or_at_all_has_failed(readers: Readers, occasion: Occasion) -> None:
    readers.slow = 0.6
    with pytest.raises(TemporaryError):
        get(readers.url, limit=0.2).run(occasion)
    with pytest.raises(TemporaryError, match="cannot connect"):
        get("http://127.0.0.1:1").run(occasion)


def test_who_sends_a_byte_now_and_then_has_failed_when_the_time_is_over(occasion: Occasion) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 100:
                    connection.send(bytes([byte]))
                    time.sleep(0.05)

        dripping = threading.Thread(target=drip)
        dripping.start()
        began = time.monotonic()
        with pytest.raises(TemporaryError, match="no whole answer"):
            get(f"http://127.0.0.1:{server.getsockname()[1]}", limit=0.3).run(occasion)
        assert time.monotonic() - began < 2
        dripping.join()


def test_no_proxy_of_the_environment_is_used(
    readers: Readers, occasion: Occasion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    get(readers.url).run(occasion)


def test_a_certificate_is_checked(readers: Readers, occasion: Occasion, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {key} -out {certificate}"
    subject = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*made.split(), *subject], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    readers.socket = context.wrap_socket(readers.socket, server_side=True)
    url = f"https://localhost:{readers.server_port}/"
    with pytest.raises(TemporaryError):
        get(url).run(occasion)
    get(url, ca_file=certificate).run(occasion)
    assert get(url, ca_file=tmp_path / "gone").trouble() == f"there is no file {tmp_path / 'gone'}"


def test_the_name_shows_no_query() -> None:
    assert get("https://web.internal/healthz?token=abc").name == "http https://web.internal/healthz"


@pytest.mark.parametrize(
    "url", ["web.internal/healthz", "ftp://web", "https://", "https://me:pass@web", "https://web/#x", "https://web/\n"]
)
def test_what_is_no_address_is_an_error_of_the_configuration(url: str) -> None:
    with pytest.raises(ValidationError):
        Get.Settings(http=url)
    with pytest.raises(ValidationError):
        Post.Settings(http=url)
