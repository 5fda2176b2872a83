"""AWS IAM against moto with signatures and policies checked."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from rotator.access.aws import AwsSettings, Declined
from rotator.domain.errors import (
    AccessDenied,
    LostAnswer,
    QuotaExceeded,
    RateLimited,
    Refused,
    SetupError,
    Unavailable,
    WrongAccount,
)
from rotator.domain.secret import Material, Secret
from rotator.ports.provider import IssuedKey, Key, Verdict
from rotator.providers.aws_iam import AwsIam, IamOptions, IamUser
from rotator.testbed.aws import Aws, AwsKey
from rotator.testbed.gate import Answer, Delay, Fault, Gate, Lose, Refuse, Request
from rotator.testbed.process import free_port
from tests.contracts.provider import CANARY, LABEL, DisablingContract, FaultContract

PATIENT = timedelta(seconds=20)

Account = Callable[..., AwsIam]


@pytest.fixture
def account(aws: Aws, tmp_path: Path) -> Account:
    """`account(key, timeout, **settings)` is the account, reached with this key, by default the administrator's."""

    def build(key: AwsKey | None = aws.root, timeout: timedelta = PATIENT, **settings: Any) -> AwsIam:
        values: dict[str, Any] = {"endpoint_url": aws.url, "region": aws.region, **settings}
        if key is not None:
            (tmp_path / "id").write_text(key.access_key_id)
            (tmp_path / "secret").write_text(key.secret_access_key)
            values |= {"access_key_id": "file:id", "secret_access_key": "file:secret"}
        return AwsIam(AwsSettings.model_validate(values, context={"folder": tmp_path}), timeout)

    return build


@pytest.fixture
def user(aws: Aws) -> str:
    """A user without keys, below a path as large organisations have them."""
    name = f"ci-{uuid4().hex[:12]}"
    iam = aws.client("iam")
    iam.create_user(UserName=name, Path="/teams/web/")
    iam.close()
    return name


@pytest.fixture
def provider(account: Account, user: str) -> IamUser:
    return account().bind(IamOptions(user=user))


@pytest.fixture
def console(aws: Aws, user: str) -> Console:
    return Console(aws, user)


@pytest.fixture
def gate(aws: Aws, gate_to: Callable[[str], Gate]) -> Gate:
    return gate_to(aws.url)


@pytest.fixture
def gated(account: Account, gate: Gate, user: str, patience: timedelta) -> IamUser:
    return account(timeout=patience, endpoint_url=gate.url).bind(IamOptions(user=user))


@pytest.fixture
def denied(account: Account, aws: Aws, user: str) -> IamUser:
    nobody = aws.user(f"nobody-{uuid4().hex[:12]}", allow=("sts:*",))
    return account(nobody).bind(IamOptions(user=user))


class Console:
    """What an administrator of the account sees and does."""

    def __init__(self, aws: Aws, user: str) -> None:
        self.iam = aws.client("iam")
        self.user = user

    def living(self) -> set[str]:
        return {key["AccessKeyId"] for key in self.iam.list_access_keys(UserName=self.user)["AccessKeyMetadata"]}

    def make(self) -> IssuedKey:
        made = self.iam.create_access_key(UserName=self.user)["AccessKey"]
        material = Material.of(access_key_id=made["AccessKeyId"], secret_access_key=made["SecretAccessKey"])
        return IssuedKey(key_id=made["AccessKeyId"], material=material)


def material_of(key: AwsKey) -> Material:
    return Material.of(access_key_id=key.access_key_id, secret_access_key=key.secret_access_key)


def asks_for(operation: str) -> Callable[[Request], bool]:
    return lambda request: f"Action={operation}&".encode() in request.body


def xml(code: str) -> bytes:
    return (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{CANARY}</Message></Error>"
        "<RequestId>r-1</RequestId></ErrorResponse>"
    ).encode()


class TestAwsIam(DisablingContract, FaultContract):
    """IAM keeps the contract."""

    unknown_id = "AKIAAAAAAAAAAAAAAAAA"
    told_to_all = ("account",)

    @pytest.fixture
    def elsewhere(self, account: Account) -> IamUser:
        return account().bind(IamOptions(user="nobody-of-this-name"))

    @pytest.fixture
    def unreachable(self, account: Account, user: str) -> IamUser:
        return account(endpoint_url=f"http://127.0.0.1:{free_port()}").bind(IamOptions(user=user))

    @pytest.fixture
    def private(self, aws: Aws) -> tuple[str, ...]:
        return (aws.root.secret_access_key,)

    def spoilt(self, material: Material) -> Material:
        return Material.of(access_key_id=material["access_key_id"].reveal(), secret_access_key=CANARY)

    @staticmethod
    def is_create(request: Request) -> bool:
        return asks_for("CreateAccessKey")(request)


# Who a key is


def test_the_identity_of_a_key_is_its_users_arn(provider: IamUser, aws: Aws, user: str) -> None:
    answer = provider.authenticate(provider.create(LABEL).material)
    assert answer.identity == f"arn:aws:iam::{aws.account}:user/teams/web/{user}"


def test_a_key_of_another_user_is_refused_and_both_are_named(provider: IamUser, aws: Aws, user: str) -> None:
    stranger = f"stranger-{uuid4().hex[:8]}"
    answer = provider.authenticate(material_of(aws.user(stranger)))
    assert answer.verdict is Verdict.REFUSED
    assert answer.identity is not None
    assert stranger in (answer.why or "")
    assert user in (answer.why or "")


def test_a_key_of_another_account_is_refused(account: Account, console: Console, user: str) -> None:
    other = account(account="210987654321").bind(IamOptions(user=user))
    assert other.authenticate(console.make().material).verdict is Verdict.REFUSED


def test_a_user_whose_path_imitates_the_account_is_not_taken_for_it(provider: IamUser, aws: Aws, user: str) -> None:
    iam = aws.client("iam")
    imitator = f"x{uuid4().hex[:8]}"
    iam.create_user(UserName=imitator, Path=f"/a:iam::{aws.account}:user/{user}/")
    made = iam.create_access_key(UserName=imitator)["AccessKey"]
    answer = provider.authenticate(material_of(AwsKey(made["AccessKeyId"], made["SecretAccessKey"])))
    assert answer.verdict is Verdict.REFUSED


def test_a_key_of_another_user_is_not_identified(provider: IamUser, aws: Aws) -> None:
    assert provider.identify(material_of(aws.root)) is None


def test_a_wrong_clock_says_nothing_about_a_key(gated: IamUser, gate: Gate, console: Console) -> None:
    key = console.make()
    refused = Answer(403, headers={"Date": "Mon, 01 Jan 2024 00:00:00 GMT"}, body=xml("SignatureDoesNotMatch"))
    gate.on(asks_for("GetCallerIdentity"), refused, times=2)
    assert gated.authenticate(key.material).verdict is Verdict.INCONCLUSIVE
    with pytest.raises(Unavailable) as told:
        gated.account()
    assert told.value.reason == "clock"
    assert told.value.remedy


def test_a_key_is_not_condemned_by_a_network_that_forbids_asking(gated: IamUser, gate: Gate, console: Console) -> None:
    gate.on(asks_for("GetCallerIdentity"), Answer(403, body=xml("AccessDenied")))
    assert gated.authenticate(console.make().material).verdict is Verdict.INCONCLUSIVE


def test_a_key_is_accepted_only_once_the_list_was_read(gated: IamUser, gate: Gate, console: Console) -> None:
    gate.on(asks_for("ListAccessKeys"), Refuse())
    assert gated.authenticate(console.make().material).verdict is Verdict.INCONCLUSIVE


# The account


def test_the_account_is_named_by_its_number(provider: IamUser, aws: Aws) -> None:
    assert provider.account() == f"aws:{aws.account}"


def test_another_account_than_the_pinned_one_is_told(account: Account, aws: Aws, user: str) -> None:
    pinned = account(account=aws.account).bind(IamOptions(user=user))
    assert pinned.account() == f"aws:{aws.account}"
    with pytest.raises(WrongAccount) as told:
        account(account="210987654321").bind(IamOptions(user=user)).account()
    assert told.value.reason == "wrong_account"
    assert "210987654321" in told.value.message


def test_a_user_that_is_not_there_is_told_by_every_call(account: Account) -> None:
    nobody = account().bind(IamOptions(user="nobody-of-this-name"))
    key_id = TestAwsIam.unknown_id
    calls: list[Callable[[], object]] = [
        nobody.keys,
        lambda: nobody.create(LABEL),
        lambda: nobody.delete(key_id),
        lambda: nobody.disable(key_id),
        lambda: nobody.enable(key_id),
    ]
    for call in calls:
        with pytest.raises(WrongAccount) as told:
            call()
        assert told.value.reason == "no_such_user"


def test_gone_is_believed_from_the_pinned_account_only(account: Account, user: str) -> None:
    other = account(account="210987654321").bind(IamOptions(user=user))
    with pytest.raises(WrongAccount):
        other.delete(TestAwsIam.unknown_id)


def test_an_impossible_key_id_is_as_good_as_deleted(provider: IamUser) -> None:
    provider.delete("short")


# Keys


def test_a_third_key_is_refused_and_nothing_is_made(provider: IamUser, console: Console) -> None:
    made = {provider.create(LABEL).key_id, provider.create(LABEL).key_id}
    with pytest.raises(QuotaExceeded) as told:
        provider.create(LABEL)
    assert told.value.reason == "slot_full"
    assert console.living() == made


def used(provider: IamUser) -> Key:
    (listed,) = provider.keys()
    assert listed.last_used_at is None, "IAM's lists do not say"
    return provider.with_use(listed)


def test_a_new_key_was_never_used_and_our_own_question_counts_as_use(provider: IamUser) -> None:
    issued = provider.create(LABEL)
    before = used(provider)
    assert before.last_used_at is None
    assert before.last_used_by is None
    assert provider.authenticate(issued.material).alive
    after = used(provider)
    assert after.last_used_by == provider.capabilities.own_use == "sts"
    assert (before.last_used_in, after.last_used_in) == (None, "us-east-1")
    assert after.last_used_at is not None
    assert abs(datetime.now(UTC) - after.last_used_at) < timedelta(minutes=1)


def test_the_time_of_issue_is_the_providers(provider: IamUser) -> None:
    issued = provider.create(LABEL)
    (listed,) = provider.keys()
    assert issued.issued_at is not None
    assert listed.created_at == issued.issued_at
    assert listed.created_at.tzinfo is UTC


def test_disabling_a_key_that_is_gone_is_no_error_and_enabling_it_is(provider: IamUser) -> None:
    issued = provider.create(LABEL)
    provider.delete(issued.key_id)
    provider.disable(issued.key_id)
    with pytest.raises(Refused) as told:
        provider.enable(issued.key_id)
    assert told.value.reason == "no_such_key"


@pytest.mark.parametrize("verb", ["disable", "enable", "delete"])
@pytest.mark.parametrize("fault", [Lose(), Delay(4), Answer(500, effect=True)], ids=repr)
def test_a_change_whose_answer_was_lost_is_told_and_can_be_repeated(
    gated: IamUser, gate: Gate, console: Console, verb: str, fault: Fault
) -> None:
    key = console.make()
    gate.on(lambda request: b"AccessKeyId=" in request.body, fault)
    with pytest.raises(LostAnswer):
        getattr(gated, verb)(key.key_id)
    assert len(gate.requests) == 1
    getattr(gated, verb)(key.key_id)
    enabled = [listed.enabled for listed in gated.keys()]  # noqa: SIM118  # a provider is no dictionary
    assert enabled == {"disable": [False], "enable": [True], "delete": []}[verb]


def test_a_list_in_pages_is_read_to_its_end(gated: IamUser, gate: Gate) -> None:
    def page(key_id: str, more: str) -> bytes:
        return (
            "<ListAccessKeysResponse><ListAccessKeysResult><AccessKeyMetadata><member>"
            f"<AccessKeyId>{key_id}</AccessKeyId><Status>Active</Status><CreateDate>2026-11-23T09:00:00Z</CreateDate>"
            f"</member></AccessKeyMetadata>{more}</ListAccessKeysResult>"
            "<ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></ListAccessKeysResponse>"
        ).encode()

    first, second = "AKIAAAAAAAAAAAAAAAA1", "AKIAAAAAAAAAAAAAAAA2"
    more = "<IsTruncated>true</IsTruncated><Marker>next</Marker>"
    listing = asks_for("ListAccessKeys")
    gate.on(lambda request: listing(request) and b"Marker=next" in request.body, Answer(200, body=page(second, "")))
    gate.on(listing, Answer(200, body=page(first, more)))
    found = gated.identify(Material.of(access_key_id=second, secret_access_key=CANARY))
    assert found == second


# What AWS's errors mean


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "Throttling", RateLimited),
        (400, "RequestLimitExceeded", RateLimited),
        (409, "EntityTemporarilyUnmodifiable", Unavailable),
        (400, "RequestExpired", Unavailable),
        (403, "AccessDenied", AccessDenied),
        (403, "InvalidClientTokenId", AccessDenied),
        (403, "ExpiredToken", AccessDenied),
        (500, "ServiceFailure", LostAnswer),
        (503, "ServiceUnavailable", LostAnswer),
        (400, "SomethingNew", Declined),
    ],
)
def test_an_error_answer_to_create_is_told_as_what_it_is(
    gated: IamUser, gate: Gate, status: int, code: str, expected: type[Exception]
) -> None:
    gate.on(asks_for("CreateAccessKey"), Answer(status, body=xml(code)), times=None)
    with pytest.raises(expected) as told:
        gated.create(LABEL)
    assert type(told.value) is expected
    assert str(status) in str(told.value)
    assert code in str(told.value)
    assert CANARY not in repr(vars(told.value))
    assert len(gate.requests) == 1


def test_a_code_that_is_no_identifier_is_not_repeated(gated: IamUser, gate: Gate) -> None:
    gate.on(asks_for("CreateAccessKey"), Answer(400, body=xml(f"you sent {CANARY}")))
    with pytest.raises(Refused) as told:
        gated.create(LABEL)
    assert CANARY not in told.value.message


def test_a_connection_that_never_stood_made_no_key(gated: IamUser, gate: Gate) -> None:
    gated.account()
    with gate.down(), pytest.raises(Unavailable):
        gated.create(LABEL)


def test_an_answer_without_the_key_is_a_lost_one(gated: IamUser, gate: Gate) -> None:
    body = (
        b"<CreateAccessKeyResponse><CreateAccessKeyResult><AccessKey><UserName>x</UserName></AccessKey>"
        b"</CreateAccessKeyResult><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata>"
        b"</CreateAccessKeyResponse>"
    )
    gate.on(asks_for("CreateAccessKey"), Answer(200, body=body))
    with pytest.raises(LostAnswer):
        gated.create(LABEL)


def test_a_missing_permission_names_the_action(denied: IamUser) -> None:
    with pytest.raises(AccessDenied) as told:
        denied.create(LABEL)
    assert told.value.reason == "missing_permission"
    assert "iam:CreateAccessKey" in (told.value.remedy or "")


# Our own credential


def test_our_own_key_once_rejected_is_read_anew(account: Account, aws: Aws, user: str, tmp_path: Path) -> None:
    name = f"rotator-{uuid4().hex[:8]}"
    first = aws.user(name, allow=("*",))
    provider = account(first).bind(IamOptions(user=user))
    assert provider.account()
    iam = aws.client("iam")
    second = iam.create_access_key(UserName=name)["AccessKey"]
    iam.delete_access_key(UserName=name, AccessKeyId=first.access_key_id)
    with pytest.raises(AccessDenied) as told:
        provider.keys()
    assert told.value.reason == "admin_key_rejected"
    (tmp_path / "id").write_text(second["AccessKeyId"])
    (tmp_path / "secret").write_text(second["SecretAccessKey"])
    assert provider.keys() == []


def test_whose_credential_ours_is_is_asked_once_for_each(
    account: Account, aws: Aws, gate: Gate, user: str, tmp_path: Path
) -> None:
    provider = account(endpoint_url=gate.url).bind(IamOptions(user=user))
    asked = asks_for("GetCallerIdentity")
    for _ in range(3):
        assert provider.account() == f"aws:{aws.account}"
    assert [r.headers["user-agent"] for r in gate.requests if asked(r)] == ["keyturn"]
    another = aws.user(f"rotator-{uuid4().hex[:8]}", allow=("*",))
    (tmp_path / "id").write_text(another.access_key_id)
    (tmp_path / "secret").write_text(another.secret_access_key)
    assert provider.account() == f"aws:{aws.account}"
    assert len([request for request in gate.requests if asked(request)]) == 2


def test_a_role_is_assumed_once_for_all_calls(account: Account, aws: Aws, gate: Gate, user: str) -> None:
    iam = aws.client("iam")
    name = f"rotator-{uuid4().hex[:8]}"
    allow = '"Effect": "Allow", "Action": "*"'
    trust = '{"Version": "2012-10-17", "Statement": {%s, "Principal": {"AWS": "*"}}}' % allow  # noqa: UP031
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    policy = '{"Version": "2012-10-17", "Statement": {%s, "Resource": "*"}}' % allow  # noqa: UP031
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=policy)
    role = f"arn:aws:iam::{aws.account}:role/{name}"
    provider = account(role_arn=role, endpoint_url=gate.url).bind(IamOptions(user=user))
    issued = provider.create(LABEL)
    assert provider.authenticate(issued.material).verdict is Verdict.ACCEPTED
    assert len([request for request in gate.requests if asks_for("AssumeRole")(request)]) == 1
    provider._access._stale_at = 0.0  # as after 55 minutes
    assert provider.account()
    assert len([request for request in gate.requests if asks_for("AssumeRole")(request)]) == 2


def test_a_role_that_may_not_be_assumed_is_told(account: Account, aws: Aws, user: str) -> None:
    nobody = aws.user(f"nobody-{uuid4().hex[:8]}", allow=("iam:*",))
    role = f"arn:aws:iam::{aws.account}:role/none"
    with pytest.raises(AccessDenied) as told:
        account(nobody, role_arn=role).bind(IamOptions(user=user)).account()
    assert "sts:AssumeRole" in (told.value.remedy or "")


def test_no_credential_is_a_setup_error(account: Account, user: str) -> None:
    with pytest.raises(SetupError) as told:
        account(None).bind(IamOptions(user=user)).account()
    assert told.value.remedy


def test_a_profile_that_is_not_there_is_a_setup_error(account: Account, user: str) -> None:
    with pytest.raises(SetupError):
        account(None, profile="none-of-this-name").bind(IamOptions(user=user)).account()


def test_a_ca_file_that_is_not_there_is_a_setup_error(account: Account, user: str) -> None:
    with pytest.raises(SetupError):
        account(ca_file="none.pem").bind(IamOptions(user=user)).account()


@pytest.mark.parametrize("trusted", [False, True])
def test_a_certificate_that_nobody_vouches_for_is_refused(
    account: Account, user: str, tmp_path: Path, trusted: bool
) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    received: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as plain, contextlib.suppress(ssl.SSLError):
            plain.settimeout(10)
            with context.wrap_socket(plain, server_side=True) as connection:
                received.append(connection.recv(1))

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        server = pool.submit(serve, listener)
        settings = {"ca_file": certificate.name} if trusted else {}
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(Unavailable) as told:
            account(endpoint_url=url, **settings).bind(IamOptions(user=user)).account()
        server.result(timeout=10)
    assert bool(received) is trusted
    assert ("ca_file" in (told.value.remedy or "")) is not trusted


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + PATIENT * 9)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    files = folder / "server.pem", folder / "server.key"
    files[0].write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


@pytest.mark.parametrize(
    "values",
    [
        {"account": 123456789012},
        {"account": "12345"},
        {"access_key_id": "env:ID"},
        {"access_key_id": "env:ID", "secret_access_key": "env:SECRET", "profile": "admin"},
        {"secret_access_key": CANARY},
        {"endpoint_url": "localhost:5000"},
        {"regoin": "eu-west-1"},
    ],
)
def test_settings_that_cannot_work_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as told:
        AwsSettings.model_validate(values)
    assert CANARY not in str(told.value)


@pytest.mark.parametrize("user", ["", "a b", "team/web", "x" * 65])
def test_a_name_that_no_user_can_have_is_refused(user: str) -> None:
    with pytest.raises(ValidationError):
        IamOptions(user=user)


def test_the_adapters_are_imported_without_aws_libraries() -> None:
    code = (
        "import sys, rotator.providers.aws_iam, rotator.destinations.aws_secrets_manager\n"
        "sys.exit(bool({'boto3', 'botocore'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_keys_that_are_tried_side_by_side_are_each_told_who_they_are(account: Account, aws: Aws) -> None:
    keys = {name: aws.user(name) for name in (f"ci-{uuid4().hex[:12]}" for _ in range(3))}
    shared = account()

    def tried(name: str) -> tuple[str, str | None]:
        key = keys[name]
        material = Material(
            {"access_key_id": Secret(key.access_key_id), "secret_access_key": Secret(key.secret_access_key)}
        )
        return name, shared.bind(IamOptions(user=name)).authenticate(material).identity

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(tried, [*keys] * 8))
    assert all(identity is not None and identity.endswith(f"user/{name}") for name, identity in found), found
