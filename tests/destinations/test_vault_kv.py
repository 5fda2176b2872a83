"""Vault KV version 2 against a real OpenBao."""

from __future__ import annotations

import ipaddress
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from rotator.destinations.vault_kv import VaultKV
from rotator.domain.errors import AccessDenied, Conflict, PermanentError, RateLimited, Refused, Unavailable
from rotator.domain.secret import Secret
from rotator.ports.destination import Destination, Held
from rotator.testbed.gate import Answer, Gate, Request
from rotator.testbed.openbao import OpenBao
from rotator.testbed.process import free_port
from tests.contracts.destination import (
    FIELD,
    NEW,
    OLD,
    OTHER,
    DestinationContract,
    FaultContract,
    ShadowContract,
    ShadowFaults,
    SurveyContract,
    found,
    put,
    shadow_of,
)

Build = Callable[..., VaultKV]


@pytest.fixture
def path() -> str:
    return f"web/{uuid4()}"


@pytest.fixture
def build(openbao: OpenBao, tmp_path: Path) -> Build:
    """Build a server object; any setting can be given."""

    def build(url: str = openbao.url, token: str = openbao.token, seconds: float = 10, **settings: Any) -> VaultKV:
        file = tmp_path / f"token-{uuid4()}"
        file.write_text(f"{token}\n")
        auth = {"method": "token", "token": f"file:{file}"}
        parsed = VaultKV.Settings.model_validate({"address": url, "auth": auth, **settings})
        return VaultKV("vault", parsed, timedelta(seconds=seconds))

    return build


@pytest.fixture
def place(build: Build, path: str) -> Destination:
    return build().at(path)


@pytest.fixture
def gate(openbao: OpenBao, gate_to: Callable[[str], Gate]) -> Gate:
    return gate_to(openbao.url)


def token_with(openbao: OpenBao, rules: str = "", **options: Any) -> str:
    """Return a token with these policy rules besides `default`."""
    name = f"test-{uuid4()}"
    openbao.call("POST", f"sys/policies/acl/{name}", {"policy": rules or 'path "none" { capabilities = ["deny"] }'})
    made = openbao.call("POST", "auth/token/create", {"policies": [name], **options})
    return str(made["auth"]["client_token"])


def test_a_survey_of_a_token_that_may_list_one_folder(build: Build, openbao: OpenBao) -> None:
    top = f"part-{uuid4().hex[:8]}"
    for name in ("ours", "copy", "deep/copy", "closed"):
        put(build().at(f"{top}/{name}"), NEW)
    put(build().at(f"{top}-else/copy"), NEW)
    rules = f"""
        path "secret/metadata/{top}/*" {{ capabilities = ["list"] }}
        path "secret/data/{top}/*" {{ capabilities = ["read"] }}
        path "secret/data/{top}/closed" {{ capabilities = ["deny"] }}"""
    shown = list(build(token=token_with(openbao, rules)).survey([f"{top}/ours", f"{top}/deep/more"]))
    held = [one.address for one in shown if isinstance(one, Held)]
    assert held == [f"vault:secret/{top}/{name}" for name in ("copy", "deep/copy", "ours")]
    remedies = [one.remedy or "" for one in shown if isinstance(one, AccessDenied)]
    assert [remedy.partition("path ")[2] for remedy in remedies] == [
        '"secret/metadata/" { capabilities = ["list"] }',
        f'"secret/data/{top}/closed" {{ capabilities = ["read"] }}',
    ]


class VaultNeighbour:
    """Another client of the same path."""

    def __init__(self, openbao: OpenBao, path: str) -> None:
        self.openbao = openbao
        self.path = f"secret/data/{path}"

    def read(self) -> Mapping[str, Any]:
        try:
            stands = self.openbao.call("GET", self.path)["data"]["data"]
        except ValueError:
            return {}
        assert isinstance(stands, dict)
        return stands

    def write(self, fields: Mapping[str, Any]) -> None:
        self.openbao.call("POST", self.path, {"data": fields})


@pytest.fixture
def neighbour(openbao: OpenBao, path: str) -> VaultNeighbour:
    return VaultNeighbour(openbao, path)


class TestVaultKV(DestinationContract, FaultContract, ShadowContract, ShadowFaults, SurveyContract):
    @pytest.fixture
    def beside(self, openbao: OpenBao, path: str) -> Callable[[], list[str]]:
        folder, name = path.split("/")

        def names() -> list[str]:
            listed = openbao.call("GET", f"secret/metadata/{folder}?list=true")["data"]["keys"]
            return [found for found in listed if found.startswith(name)]

        return names

    @pytest.fixture
    def twin(self, build: Build, path: str) -> Destination:
        return build().at(f"/{path}/")

    @pytest.fixture
    def elsewhere(self, build: Build, path: str) -> Destination:
        return build().at(f"{path}/more")

    @pytest.fixture
    def denied(self, build: Build, path: str, openbao: OpenBao) -> Destination:
        return build(token=token_with(openbao)).at(path)

    @pytest.fixture
    def surveying(self, build: Build) -> VaultKV:
        return build()

    @pytest.fixture
    def surveying_denied(self, build: Build, openbao: OpenBao) -> VaultKV:
        return build(token=token_with(openbao))

    @pytest.fixture
    def gated(self, build: Build, path: str, gate: Gate, patience: timedelta) -> Destination:
        return build(gate.url, seconds=patience.total_seconds()).at(path)

    @pytest.fixture
    def unreachable(self, build: Build, path: str) -> Destination:
        return build(f"http://127.0.0.1:{free_port()}").at(path)

    @pytest.fixture
    def private(self, openbao: OpenBao) -> tuple[str, ...]:
        return (f"'{openbao.token}'", f'"{openbao.token}"', f" {openbao.token}")

    @staticmethod
    def is_write(request: Request) -> bool:
        return request.method == "POST" and "/data/" in request.path

    @staticmethod
    def is_removal(request: Request) -> bool:
        return request.method == "DELETE"


def test_the_remedy_for_a_shadow_names_what_removing_it_needs(build: Build, path: str, openbao: OpenBao) -> None:
    rules = 'path "secret/data/*" { capabilities = ["create", "read", "update"] }'
    place = build(token=token_with(openbao, rules)).at(path)
    with pytest.raises(AccessDenied) as told:
        shadow_of(place).remove()
    assert told.value.remedy is not None
    assert f"secret/metadata/{path}" in told.value.remedy
    assert '"delete"' in told.value.remedy


def test_a_deleted_secret_has_no_fields_and_keeps_its_number(
    place: Destination, path: str, openbao: OpenBao, neighbour: VaultNeighbour
) -> None:
    put(place, OLD)
    second = put(place, NEW)
    openbao.call("DELETE", f"secret/data/{path}")
    assert dict(place.read().fields) == {}
    assert place.read().revision == second == "2"
    place.preflight({FIELD: None})
    assert put(place, OTHER, second) == "3"
    assert neighbour.read() == {FIELD: OTHER}


def test_a_destroyed_version_has_no_fields_and_keeps_its_number(
    place: Destination, path: str, openbao: OpenBao
) -> None:
    put(place, NEW)
    openbao.call("POST", f"secret/destroy/{path}", {"versions": [1]})
    assert dict(place.read().fields) == {}
    assert put(place, OTHER, place.read().revision) == "2"


def test_a_secret_that_was_removed_for_good_is_absent(place: Destination, path: str, openbao: OpenBao) -> None:
    base = put(place, OLD)
    openbao.call("DELETE", f"secret/metadata/{path}")
    assert place.read().revision == "0"
    with pytest.raises(Conflict):
        put(place, NEW, base)
    assert put(place, NEW, "0") == "1"


def test_metadata_without_any_version_is_absent(place: Destination, path: str, openbao: OpenBao) -> None:
    openbao.call("POST", f"secret/metadata/{path}", {"max_versions": 3, "cas_required": True})
    assert place.read().revision == "0"
    assert put(place, NEW, "0") == "1"


def test_a_base_that_was_pruned_is_a_conflict(place: Destination, path: str, openbao: OpenBao) -> None:
    openbao.call("POST", f"secret/metadata/{path}", {"max_versions": 1})
    base = put(place, OLD)
    put(place, NEW)
    with pytest.raises(Conflict):
        put(place, OTHER, base)


def test_values_that_are_not_text_are_kept_and_read_as_json(place: Destination, neighbour: VaultNeighbour) -> None:
    others = {"n": 7, "x": 1.5, "yes": True, "nothing": None, "list": ["ä", 1], "map": {"b": {"c": "d"}, "a": 1}}
    neighbour.write(others)
    assert found(place, "map") == '{"a": 1, "b": {"c": "d"}}'
    assert found(place, "list") == '["ä", 1]'
    assert found(place, "nothing") == "null"
    put(place, NEW)
    assert neighbour.read() == {**others, FIELD: NEW}


def test_a_revision_that_vault_never_gave_is_a_conflict(place: Destination) -> None:
    for revision in ("7", "absent", "-1", ""):
        with pytest.raises(Conflict):
            put(place, NEW, revision)


def test_the_whole_body_is_refused(place: Destination) -> None:
    for call in (lambda: place.preflight({"": None}), lambda: put(place, NEW, field="")):
        with pytest.raises(Refused) as told:
            call()
        assert told.value.reason == "no_whole_body"


@pytest.mark.parametrize("full", [False, True])
def test_a_mount_of_version_1_is_refused(build: Build, openbao: OpenBao, full: bool) -> None:
    mount = f"one-{uuid4()}"
    openbao.call("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "1"}})
    if full:
        openbao.call("POST", f"{mount}/data/web", {"data": {"n": 1}})
    place = build(mount=mount).at("web")
    for call in (place.read, lambda: place.preflight({FIELD: None}), lambda: put(place, NEW, "0")):
        with pytest.raises(PermanentError) as told:
            call()
        assert told.value.reason == "not_kv2"
        assert told.value.remedy


def test_a_mount_that_is_not_there_is_told(build: Build) -> None:
    place = build(mount="no/such").at("web")
    for call in (place.read, lambda: place.preflight({FIELD: None}), lambda: put(place, NEW, "0")):
        with pytest.raises(PermanentError) as told:
            call()
        assert told.value.reason == "no_such_mount"
        assert "no/such/data/web" in told.value.message


def test_a_wrong_token_is_told_from_a_missing_permission(build: Build, path: str, openbao: OpenBao) -> None:
    with pytest.raises(AccessDenied) as rejected:
        build(token="s.wrong").at(path).read()
    assert rejected.value.reason == "token_rejected"
    assert "file:" in str(rejected.value.remedy)
    with pytest.raises(AccessDenied) as missing:
        build(token=token_with(openbao)).at(path).read()
    assert missing.value.reason == "missing_permission"
    assert f"secret/data/{path}" in str(missing.value.remedy)


@pytest.mark.parametrize("exists", [False, True])
def test_a_token_that_may_only_read_fails_before_a_key_is_made(
    build: Build, path: str, openbao: OpenBao, place: Destination, exists: bool
) -> None:
    if exists:
        put(place, OLD)
    reader = build(token=token_with(openbao, f'path "secret/data/{path}" {{ capabilities = ["read"] }}')).at(path)
    assert found(reader) == (OLD if exists else None)
    with pytest.raises(AccessDenied) as told:
        reader.preflight({FIELD: None})
    assert ("create and update" in told.value.message) is not exists
    with pytest.raises(AccessDenied):
        put(reader, NEW)


@pytest.mark.parametrize("options", [{}, {"no_default_policy": True}])
def test_the_policy_of_the_remedy_is_enough(
    build: Build, path: str, openbao: OpenBao, options: Mapping[str, Any]
) -> None:
    rules = f'path "secret/data/{path}" {{ capabilities = ["create", "read", "update"] }}'
    place = build(token=token_with(openbao, rules, **options)).at(path)
    place.preflight({FIELD: None})
    put(place, OLD)
    place.preflight({FIELD: None})
    assert put(place, NEW) == "2"


def test_a_token_file_that_is_written_anew_is_read_anew(openbao: OpenBao, path: str, tmp_path: Path) -> None:
    auth = {"method": "token", "token": "file:token"}
    settings = VaultKV.Settings.model_validate({"address": openbao.url, "auth": auth}, context={"folder": tmp_path})
    place = VaultKV("vault", settings, timedelta(seconds=5)).at(path)
    with pytest.raises(AccessDenied) as told:
        place.read()
    assert told.value.reason == "no_credential"
    (tmp_path / "token").write_text("s.expired")
    with pytest.raises(AccessDenied):
        place.read()
    (tmp_path / "token").write_text(openbao.token)
    assert place.read().revision == "0"


def test_a_sealed_vault_is_waited_for(place: Destination, openbao: OpenBao) -> None:
    base = put(place, OLD)
    openbao.seal()
    try:
        for call in (place.read, lambda: place.preflight({FIELD: None}), lambda: put(place, NEW, base)):
            with pytest.raises(Unavailable) as told:
                call()
            assert told.value.reason == "vault_sealed"
    finally:
        openbao.unseal()
    assert put(place, NEW, base) == "2"


def test_a_write_whose_base_cannot_be_read_was_not_sent(
    build: Build, path: str, place: Destination, gate: Gate
) -> None:
    base = put(place, OLD)
    gate.on(lambda request: request.method == "GET", Answer(500, effect=False))
    with pytest.raises(Unavailable):
        put(build(gate.url).at(path), NEW, base)
    assert [request.method for request in gate.requests] == ["GET"]


def test_a_write_that_never_left_us_is_no_lost_answer(build: Build, path: str, gate: Gate) -> None:
    place = build(gate.url).at(path)
    assert place.read().revision == "0"  # from here on the mount is known, and the write comes first
    with gate.down(), pytest.raises(Unavailable) as told:
        put(place, NEW, "0")
    assert told.value.reason == "unreachable"
    assert put(place, NEW, "0") == "1"


def test_nothing_of_the_environment_is_looked_at(
    place: Destination, build: Build, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    monkeypatch.setenv("VAULT_TOKEN", "root")
    assert put(place, NEW) == "1"
    with pytest.raises(AccessDenied):
        build(token="s.wrong").at(path).read()


def test_the_namespace_is_sent(build: Build, gate: Gate) -> None:
    place = build(gate.url, namespace="team/a/").at("web")
    gate.on(lambda request: True, Answer(404, body=b'{"errors": []}'), times=None)
    place.read()
    assert {request.headers["x-vault-namespace"] for request in gate.requests} == {"team/a"}
    assert place.identity == f"vault:{gate.url}:team/a:secret/web"


class AppRole:
    """A role that may use everything below secret/data/web."""

    def __init__(self, openbao: OpenBao, folder: Path) -> None:
        self.openbao = openbao
        self.mount = f"approle-{uuid4()}"
        policy = f"test-{uuid4()}"
        rules = 'path "secret/data/web/*" { capabilities = ["create", "read", "update"] }'
        openbao.call("POST", f"sys/policies/acl/{policy}", {"policy": rules})
        openbao.call("POST", f"sys/auth/{self.mount}", {"type": "approle"})
        self.role = f"auth/{self.mount}/role/rotator"
        openbao.call("POST", self.role, {"token_policies": [policy], "token_ttl": "1h"})
        self.secret_id = folder / "secret-id"
        self.renew()

    def renew(self) -> None:
        """Write another secret id."""
        made = self.openbao.call("POST", f"{self.role}/secret-id", {})
        self.secret_id.write_text(made["data"]["secret_id"])

    @property
    def auth(self) -> Mapping[str, str]:
        role_id = self.openbao.call("GET", f"{self.role}/role-id")["data"]["role_id"]
        return {"method": "approle", "role_id": role_id, "secret_id": f"file:{self.secret_id}", "mount": self.mount}


@pytest.fixture
def approle(openbao: OpenBao, tmp_path: Path) -> AppRole:
    return AppRole(openbao, tmp_path)


def logins(gate: Gate) -> int:
    return len([request for request in gate.requests if request.path.endswith("/login")])


def test_a_role_logs_in_once_for_many_threads(build: Build, path: str, approle: AppRole, gate: Gate) -> None:
    kv = build(gate.url, auth=approle.auth)
    assert gate.requests == []
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda n: put(kv.at(f"{path}/{n}"), NEW), range(16))) == {"1"}
    kv.at(path).preflight({FIELD: None})
    assert logins(gate) == 1
    assert "x-vault-token" not in gate.requests[0].headers


def test_a_role_whose_token_was_revoked_logs_in_again(
    build: Build, path: str, approle: AppRole, gate: Gate, openbao: OpenBao
) -> None:
    place = build(gate.url, auth=approle.auth).at(path)
    base = put(place, OLD)
    openbao.call("POST", "auth/token/revoke", {"token": gate.requests[-1].headers["x-vault-token"]})
    assert put(place, NEW, base) == "2"
    assert logins(gate) == 2


def test_a_role_logs_in_again_before_its_token_is_over(
    build: Build, path: str, approle: AppRole, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("rotator.access.vault.time", SimpleNamespace(monotonic=lambda: now))
    place = build(gate.url, auth=approle.auth).at(path)
    place.read()
    now += 0.85 * 3600
    place.read()
    assert logins(gate) == 1
    now += 0.1 * 3600
    place.read()
    assert logins(gate) == 2


def test_a_role_without_the_permission_is_told_so_after_one_more_login(
    build: Build, approle: AppRole, gate: Gate
) -> None:
    with pytest.raises(AccessDenied) as told:
        build(gate.url, auth=approle.auth).at("db/x").read()
    assert told.value.reason == "missing_permission"
    assert logins(gate) == 2


def test_a_secret_id_that_is_used_up_is_told_and_its_successor_is_read(
    build: Build, path: str, approle: AppRole
) -> None:
    place = build(auth=approle.auth).at(path)
    approle.secret_id.write_text("wrong")
    with pytest.raises(AccessDenied) as told:
        put(place, NEW, "0")
    assert told.value.reason == "login_refused"
    assert str(approle.secret_id) in str(told.value.remedy)
    approle.renew()
    assert put(place, NEW, "0") == "1"


def test_a_login_mount_that_is_not_there_is_told(build: Build, path: str, approle: AppRole) -> None:
    place = build(auth={**approle.auth, "mount": "nowhere"}).at(path)
    with pytest.raises(PermanentError) as told:
        place.read()
    assert told.value.reason in ("no_such_mount", "login_refused")
    assert "auth/nowhere/login" in told.value.message


@pytest.mark.parametrize(("status", "body"), [(200, b"{}"), (200, b"cut"), (500, b""), (429, b"")])
def test_a_login_without_an_answer_may_be_tried_again(
    build: Build, path: str, approle: AppRole, gate: Gate, status: int, body: bytes
) -> None:
    place = build(gate.url, auth=approle.auth).at(path)
    gate.on(lambda request: True, Answer(status, body=body))
    with pytest.raises((Unavailable, RateLimited)):
        put(place, NEW, "0")
    assert put(place, NEW, "0") == "1"


class TlsServer:
    """Something that answers "not found" over TLS, with a certificate of its own."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "ca.pem"
        key = folder / "key.pem"
        _certify(self.certificate, key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self.seen: list[str] = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append(self.path)
                body = json.dumps({"errors": []}).encode()
                self.send_response(404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        class Server(HTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                pass  # handshakes that fail are what is tested

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def _certify(certificate: Path, key: Path) -> None:
    private, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    builder = builder.add_extension(host, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    made = builder.sign(private, hashes.SHA256())
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[TlsServer]:
    server = TlsServer(tmp_path)
    yield server
    server.close()


def test_a_certificate_that_is_not_trusted_ends_it_before_anything_is_sent(build: Build, tls: TlsServer) -> None:
    place = build(tls.url).at("web")
    for call in (place.read, lambda: put(place, NEW, "0"), lambda: put(place, NEW, "1")):
        with pytest.raises(Unavailable) as told:
            call()
        assert told.value.reason == "tls_untrusted"
    assert tls.seen == []


def test_a_certificate_authority_of_ones_own_can_be_named(build: Build, tls: TlsServer) -> None:
    assert build(tls.url, ca_file=str(tls.certificate)).at("web").read().revision == "0"


def test_a_certificate_file_that_is_not_there_is_told(build: Build, tls: TlsServer) -> None:
    with pytest.raises(PermanentError) as told:
        build(tls.url, ca_file="nowhere.pem").at("web").read()
    assert told.value.reason == "no_ca_file"


def settings(**changed: Any) -> VaultKV.Settings:  # type: ignore[valid-type]
    auth = {"method": "token", "token": "env:VAULT_TOKEN"}
    return VaultKV.Settings.model_validate({"address": "https://vault.example:8200", "auth": auth, **changed})


@pytest.mark.parametrize(
    "address",
    ["http://vault.example:8200", "vault.example", "ftp://vault.example", "https://", "https://me:pw@vault.example",
     "https://vault.example/?a=b"],
)  # fmt: skip
def test_an_address_that_is_unsafe_or_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValidationError) as told:
        settings(address=address)
    assert "pw" not in str(told.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [("https://Vault.Example", "https://vault.example:443/"), ("http://localhost:80", "http://localhost"),
     ("https://vault.example:8200/v/", "https://VAULT.example:8200/v"), ("http://[::1]:8200", "http://[::1]:8200/")],
)  # fmt: skip
def test_one_server_has_one_identity(one: str, other: str) -> None:
    first, second = (VaultKV("v", settings(address=text), timedelta(seconds=1)).at("x") for text in (one, other))
    assert first.identity == second.identity


@pytest.mark.parametrize(
    "changed",
    [{"auth": {"method": "token", "token": "hvs.literal"}}, {"auth": {"method": "approle", "role_id": "r"}},
     {"auth": {"method": "none"}}, {"mount": ""}, {"mount": "a/../b"}, {"colour": "red"}],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(changed: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError) as told:
        settings(**changed)
    assert "hvs.literal" not in str(told.value)


def test_the_address_is_the_short_form() -> None:
    kv = VaultKV("vault", settings(mount="team/kv"), timedelta(seconds=1))
    place = kv.at("web/openai")
    assert place.address == "vault:team/kv/web/openai"
    assert kv.parse(place.address.removeprefix("vault:")) == "web/openai"
    with pytest.raises(ValueError, match="write vault:team/kv/web/openai"):
        kv.parse("web/openai")


def test_a_path_may_begin_like_the_mount() -> None:
    kv = VaultKV("vault", settings(), timedelta(seconds=1))
    assert kv.at("secret/x").address == "vault:secret/secret/x"
    assert kv.parse("secret/secret/x") == "secret/x"


@pytest.mark.parametrize("path", [None, "", "/", "a//b", "../a", "a/./b", " a", "a\nb", "a/.."])
def test_a_path_that_cannot_be_is_refused(path: str | None) -> None:
    with pytest.raises(ValueError, match="path"):
        VaultKV("vault", settings(), timedelta(seconds=1)).at(path)


@pytest.mark.parametrize("path", ["with space/x", "ümlaut/🔑", "per%cent", "que?ry", "ha#sh", "a+b", "a:b", "%2e%2e/x"])
def test_a_path_with_odd_characters_arrives_as_it_is(build: Build, openbao: OpenBao, path: str) -> None:
    folder = str(uuid4())
    put(build().at(f"{folder}/{path}"), NEW)
    first = openbao.call("GET", f"secret/metadata/{folder}?list=true")["data"]["keys"]
    assert first == [path.partition("/")[0] + ("/" if "/" in path else "")]
    assert found(build().at(f"{folder}/{path}")) == NEW


def test_no_client_library_is_loaded_before_it_is_used() -> None:
    code = "import sys, rotator.destinations.vault_kv; print({'hvac', 'requests', 'urllib3'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_secrets_do_not_show_in_the_objects(build: Build, path: str) -> None:
    kv = build(token="s.hidden")
    assert "s.hidden" not in repr((vars(kv), vars(kv.server), kv.at(path), Secret("s.hidden")))
