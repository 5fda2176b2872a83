from __future__ import annotations

import gzip
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from rotator.domain.errors import AccessDenied, LostAnswer, Refused, SetupError, Unavailable, WrongAccount
from rotator.domain.secret import Material
from rotator.ports.provider import IssuedKey, Verdict
from rotator.providers.openai import OpenAI, ServiceAccountKeys
from rotator.testbed.gate import Answer, Gate, Request
from rotator.testbed.openai_emulator import OpenAIEmulator, Restriction
from tests.contracts.provider import CANARY, LABEL, FaultContract, LabelContract, PagingContract

Connect = Callable[..., ServiceAccountKeys]


class Console:
    """The emulator from behind."""

    def __init__(self, openai: OpenAIEmulator) -> None:
        self._openai = openai

    def living(self) -> set[str]:
        return {key.id for key in list(self._openai.keys()) if key.state == "live"}

    def make(self) -> IssuedKey:
        key = self._openai.make_key()
        return IssuedKey(key_id=key.id, material=Material.of(secret=key.secret))


@pytest.fixture
def connect(openai: OpenAIEmulator, tmp_path: Path, patience: timedelta) -> Iterator[Connect]:
    """`connect(base_url=…, admin_key=…, ca_file=…, **options)` is a provider on the emulator; closed at the end."""
    with ExitStack() as accounts:

        def provider(
            base_url: str = "", admin_key: str = "", ca_file: str | None = None, **options: Any
        ) -> ServiceAccountKeys:
            place = tmp_path / f"admin-key-{len(list(tmp_path.iterdir()))}"
            place.write_text((admin_key or openai.admin_key) + "\n")
            settings = {"admin_key": f"file:{place}", "organization": "org-emulated", "ca_file": ca_file}
            account = OpenAI(OpenAI.Settings.model_validate({**settings, "base_url": base_url or openai.url}), patience)
            accounts.callback(account.close)
            where = {"project": openai.project, "service_account": openai.service_account}
            return account.bind(OpenAI.Options.model_validate({**where, **options}))

        yield provider


@pytest.fixture
def provider(connect: Connect) -> ServiceAccountKeys:
    return connect()


@pytest.fixture
def gate(openai: OpenAIEmulator, gate_to: Callable[[str], Gate]) -> Gate:
    return gate_to(openai.url)


@pytest.fixture
def gated(connect: Connect, gate: Gate) -> ServiceAccountKeys:
    return connect(base_url=f"{gate.url}/v1")


class TestOpenAI(LabelContract, PagingContract, FaultContract):
    unknown_id = "key_unknown"
    many = 205

    def spoilt(self, material: Material) -> Material:
        return Material.of(secret=f"sk-svcacct-{CANARY}")

    @staticmethod
    def is_create(request: Request) -> bool:
        return request.method == "POST" and request.path.endswith("/api_keys")

    @pytest.fixture
    def console(self, openai: OpenAIEmulator) -> Console:
        return Console(openai)

    @pytest.fixture
    def elsewhere(self, connect: Connect) -> ServiceAccountKeys:
        return connect(service_account="svc_acct_other")

    @pytest.fixture
    def denied(self, connect: Connect) -> ServiceAccountKeys:
        return connect(admin_key=f"sk-admin-{CANARY}")

    @pytest.fixture
    def private(self, openai: OpenAIEmulator) -> tuple[str, ...]:
        return (openai.admin_key,)


# account


def test_the_account_is_the_project(provider: ServiceAccountKeys, openai: OpenAIEmulator) -> None:
    assert provider.account() == f"openai:{openai.project}"


def test_a_project_of_another_organization_is_told(connect: Connect) -> None:
    with pytest.raises(WrongAccount, match="no project proj_other"):
        connect(project="proj_other").account()


def test_the_keys_of_a_project_of_another_organization_are_not_an_empty_list(connect: Connect) -> None:
    with pytest.raises(WrongAccount):
        connect(project="proj_other").keys()


def test_another_project_than_the_one_asked_for_is_told(gated: ServiceAccountKeys, gate: Gate) -> None:
    gate.on(lambda _: True, Answer(200, body=b'{"id": "proj_other", "status": "active"}'))
    with pytest.raises(WrongAccount):
        gated.account()


def test_an_archived_project_is_told(provider: ServiceAccountKeys, openai: OpenAIEmulator) -> None:
    openai.project_archived = True
    with pytest.raises(Refused) as told:
        provider.account()
    assert told.value.reason == "project_archived"
    with pytest.raises(Refused):
        provider.create(LABEL)


# create


def test_a_key_is_created_with_the_scopes_and_the_life_that_are_asked_for(
    connect: Connect, openai: OpenAIEmulator
) -> None:
    issued = connect(scopes=["api.responses.write"], expires_in="90d").create(LABEL)
    (key,) = openai.keys()
    assert (key.name, key.scopes) == (LABEL, ("api.responses.write",))
    assert issued.expires_at is not None
    assert issued.issued_at is not None
    assert issued.expires_at - issued.issued_at == timedelta(days=90)


def test_a_key_whose_service_account_went_away_is_not_created(connect: Connect, openai: OpenAIEmulator) -> None:
    with pytest.raises(WrongAccount):
        connect(service_account="svc_acct_gone").create(LABEL)
    assert openai.keys() == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "key_1", "created_at": 1}',
        b'{"value": "sk-1", "created_at": 1}',
        b'{"id": "", "value": "sk-1", "created_at": 1}',
        b'{"id": "key_1", "value": 7, "created_at": 1}',
        b'{"id": "key_1", "value": "sk-1", "created_at": "yesterday"}',
        b'{"id": "key_1", "value": "sk-1", "created_at": 1e99}',
        b"[" * 100_000,
        b"[]",
        b"null",
        b"x" * 5_000_000,
    ],
    ids=lambda body: body[:40].decode(),
)
def test_an_answer_to_create_that_cannot_be_read_is_a_lost_one(
    gated: ServiceAccountKeys, gate: Gate, body: bytes
) -> None:
    gate.on(lambda _: True, Answer(200, body=body, effect=True))
    with pytest.raises(LostAnswer):
        gated.create(LABEL)


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 408, 409, 418])
def test_an_answer_to_create_that_is_not_the_apis_own_is_a_lost_one(
    gated: ServiceAccountKeys, gate: Gate, status: int
) -> None:
    page = Answer(status, headers={"Location": "https://example.com/"}, body=b"<html>a proxy</html>", effect=True)
    gate.on(lambda _: True, page)
    with pytest.raises(LostAnswer):
        gated.create(LABEL)
    assert len(gate.requests) == 1


def test_an_answer_that_is_compressed_unasked_is_not_unpacked(gated: ServiceAccountKeys, gate: Gate) -> None:
    page = gzip.compress(b'{"data": [], "has_more": false}')
    gate.on(lambda _: True, Answer(200, headers={"Content-Encoding": "gzip"}, body=page))
    with pytest.raises(Unavailable):
        gated.keys()
    assert gate.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.hasty
def test_an_answer_that_trickles_in_is_not_waited_for(connect: Connect, patience: timedelta) -> None:
    def trickle() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not ended.wait(0.05):
                connection.sendall(b" ")

    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=trickle)
        server.start()
        began = time.monotonic()
        with pytest.raises(Unavailable):
            connect(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}").keys()
        assert time.monotonic() - began < 2 * patience.total_seconds()
        ended.set()
        server.join()


def test_a_server_is_known_by_its_certificate_only(openai: OpenAIEmulator, connect: Connect, tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    secured = _with_tls(openai, authority)
    with pytest.raises(Unavailable):
        connect(base_url=secured).account()
    assert connect(base_url=secured, ca_file=str(authority)).account()


def _with_tls(openai: OpenAIEmulator, authority: Path) -> str:
    """Let the emulator speak TLS with a certificate of its own; return its address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "emulator")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    authority.write_bytes(certificate.public_bytes(pem) + plain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    server = openai._server
    assert server is not None
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return openai.url.replace("http:", "https:")


# errors


def test_an_expired_admin_key_is_named_by_its_place(provider: ServiceAccountKeys, openai: OpenAIEmulator) -> None:
    openai.admin_key_state = "expired"
    with pytest.raises(AccessDenied, match=r"request req_\w+.*file:.*is wrong, expired or revoked") as told:
        provider.keys()
    assert told.value.reason == "admin_key_rejected"


def test_a_missing_permission_is_named(provider: ServiceAccountKeys, openai: OpenAIEmulator) -> None:
    openai.admin_key_state = "read_only"
    assert provider.account()
    for call in (lambda: provider.create(LABEL), lambda: provider.delete(openai.make_key().id)):
        with pytest.raises(AccessDenied) as told:
            call()
        assert "api.management.write" in str(told.value.remedy)


def test_a_project_key_in_the_place_of_the_admin_key_is_told(connect: Connect, openai: OpenAIEmulator) -> None:
    with pytest.raises(AccessDenied):
        connect(admin_key=openai.make_key().secret).account()


def test_an_admin_key_that_cannot_be_sent_is_not(connect: Connect, gate: Gate) -> None:
    broken = connect(base_url=f"{gate.url}/v1", admin_key=f"sk-admin-{CANARY}\nX-Other: 1")
    with pytest.raises(AccessDenied) as told:
        broken.account()
    assert CANARY not in str(told.value)
    assert gate.requests == []


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500", "Retry-After": "9"}, 1.5),
        ({"Retry-After": "2.5"}, 2.5),
        ({"Retry-After": "-3"}, 0),
        ({"Retry-After": "Mon, 23 Nov 2026 09:00:30 GMT", "Date": "Mon, 23 Nov 2026 09:00:00 GMT"}, 30),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "inf"}, None),
        ({}, None),
    ],
)
def test_a_time_to_come_back_is_read_in_all_its_forms(
    gated: ServiceAccountKeys, gate: Gate, headers: dict[str, str], seconds: float | None
) -> None:
    gate.on(lambda _: True, Answer(503, headers=headers))
    with pytest.raises(Unavailable) as told:
        gated.keys()
    assert told.value.retry_after == seconds


def test_the_apis_own_words_are_not_repeated(provider: ServiceAccountKeys, openai: OpenAIEmulator) -> None:
    answer = provider.authenticate(Material.of(secret="sk-svcacct-of-a-customer"))
    assert answer.verdict is Verdict.REFUSED
    assert "customer" not in str(answer.why)


# authenticate


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("how", ["missing_scopes", "ip_not_authorized", "insufficient_quota"])
def test_a_key_that_is_known_but_may_not_do_this_is_alive(
    provider: ServiceAccountKeys, openai: OpenAIEmulator, how: Restriction, status: int
) -> None:
    openai.missing_scopes_status = status
    issued = provider.create(LABEL)
    openai.restrict(issued.key_id, how)
    answer = provider.authenticate(issued.material)
    assert answer.verdict is Verdict.ACCEPTED_LIMITED
    assert answer.why
    assert answer.alive


def test_a_key_is_refused_until_it_has_settled(provider: ServiceAccountKeys, openai: OpenAIEmulator) -> None:
    openai.settle = 3600
    assert provider.authenticate(provider.create(LABEL).material).verdict is Verdict.REFUSED
    assert provider.capabilities.settle == timedelta(seconds=60)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "unsupported_country_region_territory"),
        (403, "something_new"),
        (429, "rate_limit_exceeded"),
        (400, "bad_request"),
        (404, "not_found"),
        (500, "server_error"),
    ],
)
def test_an_error_that_is_not_about_the_key_is_inconclusive(
    gated: ServiceAccountKeys, gate: Gate, status: int, code: str
) -> None:
    body = f'{{"error": {{"message": "m", "type": "t", "param": null, "code": "{code}"}}}}'.encode()
    gate.on(lambda _: True, Answer(status, body=body))
    assert gated.authenticate(Material.of(secret="sk-1")).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("body", [b"", b"<html>log in</html>", b"{}", b'{"data": "x"}'])
@pytest.mark.parametrize("status", [200, 302, 401, 407])
def test_an_answer_that_is_not_the_apis_own_is_inconclusive(
    gated: ServiceAccountKeys, gate: Gate, status: int, body: bytes
) -> None:
    gate.on(lambda _: True, Answer(status, body=body))
    assert gated.authenticate(Material.of(secret="sk-1")).verdict is Verdict.INCONCLUSIVE


def test_a_key_authenticates_as_a_consumer_does(gated: ServiceAccountKeys, gate: Gate, openai: OpenAIEmulator) -> None:
    gated.authenticate(Material.of(secret=openai.make_key().secret))
    gated.keys()
    own, ours = gate.requests
    assert "openai-organization" not in own.headers
    assert ours.headers["openai-organization"] == "org-emulated"


# keys and identify


def test_every_key_of_the_project_is_listed_with_its_owner(
    provider: ServiceAccountKeys, openai: OpenAIEmulator
) -> None:
    person = openai.make_key(owner="user_1", owner_has_access=False)
    ours = provider.create(LABEL)
    assert {key.id: key.owner for key in list(provider.keys())} == {
        person.id: "user:user_1",
        ours.key_id: f"service_account:{openai.service_account}",
    }
    assert provider.identify(Material.of(secret=person.secret)) == person.id


def test_last_use_is_told(provider: ServiceAccountKeys) -> None:
    issued = provider.create(LABEL)
    assert [key.last_used_at for key in list(provider.keys())] == [None]
    before = datetime.now(UTC).replace(microsecond=0)
    provider.authenticate(issued.material)
    (key,) = provider.keys()
    assert key.last_used_at is not None
    assert key.last_used_at >= before


def test_requests_of_the_key_itself_are_told_by_the_usage_data(
    provider: ServiceAccountKeys, openai: OpenAIEmulator
) -> None:
    issued, other = provider.create(LABEL), openai.make_key()
    begun = datetime.now(UTC)
    provider.authenticate(issued.material)
    openai.consume(other.secret)
    for span in (timedelta(minutes=1), timedelta(days=1), timedelta(days=6), timedelta(days=90)):
        assert provider.metered(issued.key_id, begun - span) is None, "neither our own checks nor another key's"
    openai.consume(issued.material["secret"].reveal())
    openai.consume(issued.material["secret"].reveal(), "audio_speeches")
    for span in (timedelta(minutes=1), timedelta(days=1), timedelta(days=6), timedelta(days=90)):
        used = provider.metered(issued.key_id, begun - span)
        assert used is not None
        assert used.what in ("1 request for completions", "1 request for audio speeches")
        assert begun <= used.at <= datetime.now(UTC)


def test_usage_that_may_not_be_read_or_is_odd_is_refused(
    gated: ServiceAccountKeys, gate: Gate, openai: OpenAIEmulator
) -> None:
    openai.usage_allowed = False
    with pytest.raises(AccessDenied):
        gated.metered("key_1", datetime.now(UTC))
    for body in (b'{"data": [{"results": []}]}', b'{"data": 1}', b'{"data": [], "has_more": true, "next_page": null}'):
        gate.on(lambda request: "/usage/" in request.path, Answer(200, body=body))
        with pytest.raises(Refused):
            gated.metered("key_1", datetime.now(UTC))


def test_an_expired_key_is_listed_as_not_enabled(
    provider: ServiceAccountKeys, openai: OpenAIEmulator, connect: Connect
) -> None:
    hour = 3600
    now = openai.clock()
    openai.clock = lambda: now - 2 * hour
    connect(expires_in="1h").create(LABEL)
    connect(expires_in="3h").create(LABEL)
    openai.clock = lambda: now
    assert [key.enabled for key in list(provider.keys())] == [False, True]


def test_a_new_key_may_be_missing_from_the_list(provider: ServiceAccountKeys, openai: OpenAIEmulator) -> None:
    openai.list_lag = 3600
    provider.create(LABEL)
    assert provider.keys() == []


def test_a_value_that_two_keys_may_have_is_not_identified(gated: ServiceAccountKeys, gate: Gate) -> None:
    owner = '"owner": {"type": "user", "user": {"id": "user_1"}}'
    row = '{"id": "key_%d", "name": "n", "redacted_value": "sk-abc...xyz", "created_at": 1, "last_used_at": null, %s}'
    rows = ",".join(row % (number, owner) for number in range(2))
    body = f'{{"data": [{rows}], "has_more": false, "last_id": "key_1"}}'.encode()
    gate.on(lambda _: True, Answer(200, body=body))
    assert gated.identify(Material.of(secret="sk-abc0123456789xyz")) is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": [{}], "has_more": false}',
        b'{"data": [7], "has_more": false}',
        b'{"data": [], "has_more": true, "last_id": null}',
        b'{"data": {}}',
        b'{"object": "list"}',
    ],
)
def test_a_list_that_cannot_be_read_is_never_an_empty_one(gated: ServiceAccountKeys, gate: Gate, body: bytes) -> None:
    gate.on(lambda _: True, Answer(200, body=body))
    with pytest.raises(Unavailable):
        gated.keys()


# delete


def test_where_keys_of_service_accounts_are_not_deleted_the_key_expires(
    provider: ServiceAccountKeys, openai: OpenAIEmulator
) -> None:
    openai.delete_of_service_account_keys_allowed = False
    issued = provider.create(LABEL)
    provider.delete(issued.key_id)
    later = openai.clock() + 2
    openai.clock = lambda: later
    provider.delete(issued.key_id)  # expired by now, and expired keys cannot be updated
    (key,) = openai.keys()
    assert key.state == "expired"
    assert provider.authenticate(issued.material).verdict is Verdict.REFUSED


@pytest.mark.parametrize("status", [400, 403])
def test_the_service_account_is_never_deleted(
    gated: ServiceAccountKeys, gate: Gate, openai: OpenAIEmulator, status: int
) -> None:
    issued = gated.create(LABEL)
    error = b'{"error": {"message": "It belongs to a Service account", "type": "t", "param": null, "code": null}}'
    gate.on(lambda request: request.method == "DELETE", Answer(status, body=error), times=None)
    gated.delete(issued.key_id)
    deletions = [request.path for request in gate.requests if request.method == "DELETE"]
    assert deletions == [f"/v1/organization/projects/{openai.project}/api_keys/{issued.key_id}"]
    assert openai.keys()[0].expires_at is not None


def test_a_key_that_went_away_meanwhile_counts_as_deleted(
    gated: ServiceAccountKeys, gate: Gate, openai: OpenAIEmulator
) -> None:
    issued = gated.create(LABEL)
    openai.revoke(issued.key_id)
    error = b'{"error": {"message": "no", "type": "t", "param": null, "code": null}}'
    gate.on(lambda request: request.method == "DELETE", Answer(400, body=error))
    gated.delete(issued.key_id)


def test_where_nothing_takes_the_key_away_a_person_is_asked_to(
    provider: ServiceAccountKeys, openai: OpenAIEmulator
) -> None:
    openai.delete_of_service_account_keys_allowed = False
    openai.update_allowed = False
    issued = provider.create(LABEL)
    with pytest.raises(Refused) as told:
        provider.delete(issued.key_id)
    assert told.value.reason == "delete_refused"
    for part in (LABEL, issued.key_id, openai.project, "https://platform.openai.com/"):
        assert part in str(told.value.remedy)
    assert openai.accepts(issued.material["secret"].reveal())


def test_a_proxys_not_found_does_not_count_as_deleted(gated: ServiceAccountKeys, gate: Gate) -> None:
    gate.on(lambda _: True, Answer(404, body=b"<html>not found</html>"))
    with pytest.raises(LostAnswer):
        gated.delete("key_1")


def test_an_answer_that_does_not_confirm_the_deletion_is_a_lost_one(gated: ServiceAccountKeys, gate: Gate) -> None:
    gate.on(lambda _: True, Answer(200, body=b'{"id": "key_1", "deleted": false}'))
    with pytest.raises(LostAnswer):
        gated.delete("key_1")


@pytest.mark.parametrize("key_id", ["..", ".", ""])
def test_a_key_id_never_leads_out_of_the_keys(gated: ServiceAccountKeys, gate: Gate, key_id: str) -> None:
    with pytest.raises(Refused):
        gated.delete(key_id)
    assert gate.requests == []


def test_a_key_id_stays_one_segment_of_the_path(gated: ServiceAccountKeys, gate: Gate, openai: OpenAIEmulator) -> None:
    gated.delete("../../service_accounts/svc?x#y")
    (request,) = gate.requests
    assert request.path.startswith(f"/v1/organization/projects/{openai.project}/api_keys/..%2F..%2Fservice_accounts")


# settings


@pytest.mark.parametrize(
    "url",
    [
        "https://eu.api.openai.com/v1",
        "https://api.openai.com/v1/",
        "http://127.0.0.1:8080/v1",
        "http://localhost/v1",
        "http://[::1]:8080/v1",
    ],
)
def test_an_address_is_https_or_this_machine(url: str) -> None:
    settings = OpenAI.Settings.model_validate({"admin_key": "env:KEY", "base_url": url})
    assert settings.base_url == url.removesuffix("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.openai.com/v1",
        "http://127.0.0.1.example.com/v1",
        "https://user:password@api.openai.com/v1",
        "https://api.openai.com/v1?key=x",
        "https://api.openai.com:port/v1",
        "ftp://127.0.0.1/",
        "api.openai.com",
        "",
    ],
)
def test_any_other_address_is_an_error_that_does_not_repeat_it(url: str) -> None:
    with pytest.raises(ValidationError) as told:
        OpenAI.Settings.model_validate({"admin_key": "env:KEY", "base_url": url})
    assert "password" not in str(told.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"project": "proj/../x"},
        {"service_account": ""},
        {"expires_in": "0s"},
        {"expires_in": "366d"},
        {"scopes": "api.all.read"},
        {"user": "x"},
    ],
)
def test_options_that_cannot_be_are_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OpenAI.Options.model_validate({"project": "proj_1", "service_account": "svc_acct_1", **wrong})


def test_authorities_that_cannot_be_read_are_a_setup_error(tmp_path: Path) -> None:
    place = tmp_path / "admin-key"
    place.write_text("sk-admin-1")
    settings = {"admin_key": f"file:{place}", "base_url": "http://127.0.0.1:1/v1", "ca_file": str(tmp_path / "no.pem")}
    account = OpenAI(OpenAI.Settings.model_validate(settings), timedelta(seconds=20))
    with pytest.raises(SetupError, match=r"no\.pem"):
        account.bind(OpenAI.Options.model_validate({"project": "p", "service_account": "s"})).account()


def test_the_module_is_imported_without_an_http_library() -> None:
    program = "import sys, rotator.providers.openai; sys.exit('httpx' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
