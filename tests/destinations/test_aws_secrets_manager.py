"""AWS Secrets Manager against moto with signatures and policies checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from rotator.destinations.aws_secrets_manager import AwsSecretsManager, SecretsManagerSettings
from rotator.domain.errors import AccessDenied, Conflict, LostAnswer, RateLimited, Refused, TemporaryError, WrongAccount
from rotator.domain.model import WHOLE_BODY
from rotator.domain.secret import Secret
from rotator.ports.destination import Destination
from rotator.testbed.aws import Aws, AwsKey
from rotator.testbed.gate import Answer, Delay, Fault, Gate, Lose, Request
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
)

PATIENT = timedelta(seconds=20)

Server = Callable[..., AwsSecretsManager]


@pytest.fixture
def server(aws: Aws, tmp_path: Path) -> Server:
    """`server(key, timeout, **settings)` is the entry `sm`, reached with this key, by default the administrator's."""

    def build(key: AwsKey = aws.root, timeout: timedelta = PATIENT, **settings: Any) -> AwsSecretsManager:
        (tmp_path / "id").write_text(key.access_key_id)
        (tmp_path / "secret").write_text(key.secret_access_key)
        values = {
            "endpoint_url": aws.url,
            "region": aws.region,
            "access_key_id": "file:id",
            "secret_access_key": "file:secret",
            **settings,
        }
        return AwsSecretsManager(
            "sm", SecretsManagerSettings.model_validate(values, context={"folder": tmp_path}), timeout
        )

    return build


@pytest.fixture
def path() -> str:
    return f"web/{uuid4().hex}"


@pytest.fixture
def place(server: Server, path: str) -> Destination:
    return server().at(path)


@pytest.fixture
def neighbour(aws: Aws, path: str) -> Neighbour:
    return Neighbour(aws, path)


@pytest.fixture
def gate(aws: Aws, gate_to: Callable[[str], Gate]) -> Gate:
    return gate_to(aws.url)


@pytest.fixture
def gated(server: Server, gate: Gate, path: str, patience: timedelta) -> Destination:
    return server(timeout=patience, endpoint_url=gate.url).at(path)


class Neighbour:
    """Another program with the SDK. It moves stages by name: moto forgets such a move when a put moves them again."""

    def __init__(self, aws: Aws, path: str) -> None:
        self.sm = aws.client("secretsmanager")
        self.path = path

    @property
    def stages(self) -> dict[str, list[str]]:
        """Version → its staging labels."""
        try:
            found: dict[str, list[str]] = self.sm.describe_secret(SecretId=self.path)["VersionIdsToStages"]
        except self.sm.exceptions.ResourceNotFoundException:
            return {}
        return found

    def holder(self, stage: str) -> str | None:
        return next((version for version, stages in self.stages.items() if stage in stages), None)

    def body(self) -> str:
        found: str = self.sm.get_secret_value(SecretId=self.path, VersionStage="AWSCURRENT")["SecretString"]
        return found

    def read(self) -> Mapping[str, Any]:
        if not self.stages:
            return {}
        found: dict[str, Any] = json.loads(self.body())
        return found

    def write(self, fields: Mapping[str, str]) -> None:
        self.put(json.dumps(fields))

    def put(self, body: str | bytes) -> None:
        value = {"SecretString": body} if isinstance(body, str) else {"SecretBinary": body}
        current = self.holder("AWSCURRENT")
        if current is None:
            self.sm.create_secret(Name=self.path, **value)
            return
        staged = self.sm.put_secret_value(SecretId=self.path, VersionStages=["THEIRS"], **value)["VersionId"]
        self.make_current(staged, current)

    def make_current(self, version: str, instead_of: str) -> None:
        self.sm.update_secret_version_stage(
            SecretId=self.path, VersionStage="AWSCURRENT", MoveToVersionId=version, RemoveFromVersionId=instead_of
        )


def asks_for(*operations: str) -> Callable[[Request], bool]:
    return lambda request: request.headers.get("x-amz-target", "").partition(".")[2] in operations


class TestAwsSecretsManager(DestinationContract, FaultContract, ShadowContract, ShadowFaults, SurveyContract):
    """Secrets Manager keeps the contract."""

    @pytest.fixture
    def beside(self, aws: Aws, path: str) -> Callable[[], list[str]]:
        manager = aws.client("secretsmanager")

        def names() -> list[str]:
            listed = manager.list_secrets(MaxResults=100, IncludePlannedDeletion=True)["SecretList"]
            return sorted(found["Name"] for found in listed if found["Name"].startswith(path))

        return names

    @pytest.fixture
    def twin(self, server: Server, path: str) -> Destination:
        return server().at(path)

    @pytest.fixture
    def elsewhere(self, server: Server, path: str) -> Destination:
        return server().at(f"{path}-elsewhere")

    @pytest.fixture
    def surveying(self, server: Server) -> AwsSecretsManager:
        return server()

    @pytest.fixture
    def surveying_denied(self, server: Server, aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> AwsSecretsManager:
        nobody = aws.user(f"nobody-{uuid4().hex[:12]}", allow=("sts:*",))
        folder = tmp_path_factory.mktemp("nobody")
        (folder / "id").write_text(nobody.access_key_id)
        (folder / "secret").write_text(nobody.secret_access_key)
        return server(access_key_id=f"file:{folder}/id", secret_access_key=f"file:{folder}/secret")

    @pytest.fixture
    def denied(self, surveying_denied: AwsSecretsManager, path: str) -> Destination:
        return surveying_denied.at(path)

    @pytest.fixture
    def unreachable(self, server: Server, path: str) -> Destination:
        return server(endpoint_url=f"http://127.0.0.1:{free_port()}").at(path)

    @pytest.fixture
    def private(self, aws: Aws) -> tuple[str, ...]:
        return (aws.root.secret_access_key,)

    @staticmethod
    def is_write(request: Request) -> bool:
        return asks_for("CreateSecret", "PutSecretValue", "UpdateSecretVersionStage")(request)

    @staticmethod
    def is_removal(request: Request) -> bool:
        return asks_for("DeleteSecret")(request)


# Versions and stages


def test_the_token_is_the_id_of_the_version(place: Destination, neighbour: Neighbour) -> None:
    for value in (OLD, NEW):
        token = str(uuid4())
        base = place.read().revision
        assert place.write({FIELD: Secret(value)}, base, token) == token
        assert neighbour.holder("AWSCURRENT") == token
    assert neighbour.holder("AWSPREVIOUS") == base


def test_a_put_that_nobody_promoted_is_not_seen_by_readers(
    place: Destination, gated: Destination, gate: Gate, neighbour: Neighbour
) -> None:
    base = put(place, OLD)
    gate.on(asks_for("UpdateSecretVersionStage"), Answer(500, effect=False))
    with pytest.raises(LostAnswer):
        put(gated, NEW, base)
    assert len(neighbour.stages) == 2
    assert found(place) == neighbour.read()[FIELD] == OLD
    revision = put(gated, NEW, base)
    assert len(neighbour.stages) == 2
    assert place.read().revision == revision
    assert found(place) == NEW


@pytest.mark.parametrize("operation", ["PutSecretValue", "UpdateSecretVersionStage"])
@pytest.mark.parametrize("fault", [Lose(), Delay(4), Answer(500, effect=True)], ids=repr)
def test_a_lost_answer_at_any_step_makes_one_version(
    place: Destination, gated: Destination, gate: Gate, neighbour: Neighbour, operation: str, fault: Fault
) -> None:
    base = put(place, OLD)
    gate.on(asks_for(operation), fault)
    with pytest.raises(LostAnswer):
        put(gated, NEW, base)
    assert len([request for request in gate.requests if asks_for(operation)(request)]) == 1
    revision = put(gated, NEW, base)
    assert neighbour.holder("AWSCURRENT") == revision
    assert neighbour.holder("AWSPREVIOUS") == base
    assert set(neighbour.stages) == {base, revision}
    assert neighbour.read() == {FIELD: NEW}


def test_a_lost_answer_to_the_read_back_is_a_lost_answer(place: Destination, gated: Destination, gate: Gate) -> None:
    base = put(place, OLD)
    gated.read()
    seen: list[Request] = []

    def second_look(request: Request) -> bool:
        if asks_for("DescribeSecret")(request):
            seen.append(request)
        return len(seen) == 2

    gate.on(second_look, Answer(429, headers={"Retry-After": "7"}))
    with pytest.raises(LostAnswer) as told:
        put(gated, NEW, base)
    assert told.value.retry_after == 7
    assert found(place) == NEW


def test_what_an_abandoned_rotation_staged_does_not_hold_the_next_write_up(
    place: Destination, gated: Destination, gate: Gate
) -> None:
    base = put(place, OLD)
    gate.on(asks_for("UpdateSecretVersionStage"), Answer(500, effect=False))
    with pytest.raises(LostAnswer):
        put(gated, NEW, base)
    put(gated, OTHER, base)
    assert found(place) == OTHER
    with pytest.raises(Conflict):
        put(gated, NEW, base)  # the abandoned one wakes up
    assert found(place) == OTHER


def test_a_move_by_somebody_else_between_put_and_promotion_wins(
    place: Destination, gated: Destination, gate: Gate, neighbour: Neighbour
) -> None:
    first = put(place, OLD)
    base = put(place, OTHER, first)

    def roll_back(request: Request) -> bool:
        if asks_for("UpdateSecretVersionStage")(request):
            neighbour.make_current(first, base)
        return False

    gate.on(roll_back, Lose())
    with pytest.raises(Conflict):
        put(gated, NEW, base)
    assert neighbour.read() == {FIELD: OLD}


def test_a_base_that_somebody_rolled_back_to_can_be_written_from_again(
    place: Destination, neighbour: Neighbour
) -> None:
    base = put(place, OLD)
    revision = put(place, NEW, base)
    neighbour.make_current(base, revision)
    assert found(place) == OLD
    assert put(place, NEW, base) == revision
    assert neighbour.read() == {FIELD: NEW}


def test_one_token_with_two_bodies_is_refused(place: Destination, neighbour: Neighbour) -> None:
    base, token = put(place, OLD), str(uuid4())
    place.write({FIELD: Secret(NEW)}, base, token)
    neighbour.make_current(base, token)
    with pytest.raises(Refused) as told:
        place.write({FIELD: Secret(OTHER)}, base, token)
    assert told.value.reason == "token_in_use"
    assert found(place) == OLD


def test_a_secret_without_a_value_is_filled_and_not_made_again(place: Destination, neighbour: Neighbour) -> None:
    neighbour.sm.create_secret(Name=neighbour.path, Description="made by infrastructure as code")
    absent = place.read()
    assert dict(absent.fields) == {}
    place.preflight({FIELD: None})
    revision = put(place, NEW, absent.revision)
    assert neighbour.read() == {FIELD: NEW}
    assert neighbour.sm.describe_secret(SecretId=neighbour.path)["Description"] == "made by infrastructure as code"
    with pytest.raises(Conflict):
        put(place, OTHER, absent.revision)
    assert place.read().revision == revision


# Bodies


def test_what_others_keep_in_the_object_is_kept_to_the_letter(place: Destination, neighbour: Neighbour) -> None:
    kept = (
        '"port": 5432, "ratio": 1.10, "huge": 1e400, "id": 12345678901234567890123, "on": true, "none": null, '
        '"deep": {"b": [1.0, {"c": "\\u00e9"}], "a": ""}, "text": "sch\\u00f6n \\"so\\"", "": "no name"'
    )
    neighbour.put(f' {{ {kept},\n\t"{FIELD}" : "{OLD}" }}\n')
    assert set(place.read().fields) == {"text", FIELD, WHOLE_BODY}
    put(place, NEW)
    assert neighbour.body() == f'{{{kept}, "{FIELD}": "{NEW}"}}'
    put(place, OTHER, field="SECOND")
    assert neighbour.body() == f'{{{kept}, "{FIELD}": "{NEW}", "SECOND": "{OTHER}"}}'


def test_the_whole_body_can_be_one_value(place: Destination, neighbour: Neighbour) -> None:
    for value in (OLD, NEW):
        place.preflight({WHOLE_BODY: None})
        put(place, value, field=WHOLE_BODY)
        assert neighbour.body() == value
        assert {name: secret.reveal() for name, secret in place.read().fields.items()} == {WHOLE_BODY: value}


@pytest.mark.parametrize("body", ["just-a-value", "[1, 2]", '"text"', "{", "12", b"\x00\xffbinary"])
def test_fields_are_not_put_into_a_body_that_is_no_object(
    place: Destination, neighbour: Neighbour, body: str | bytes
) -> None:
    neighbour.put(body)
    base = place.read()
    assert set(base.fields) == {WHOLE_BODY}
    for call in (lambda: place.preflight({FIELD: None}), lambda: put(place, NEW)):
        with pytest.raises(Refused) as told:
            call()
        assert told.value.reason == "not_json"
        assert told.value.remedy
    assert place.read().revision == base.revision


def test_a_body_that_would_be_too_large_is_refused_beforehand(place: Destination) -> None:
    base = put(place, "x" * 60_000)
    with pytest.raises(Refused) as told:
        put(place, "y" * 6_000, field="SECOND")
    assert told.value.reason == "too_large"
    assert "SECOND" in told.value.message
    assert place.read().revision == base


# Other writers, deletion, accounts


def test_a_secret_that_waits_for_its_deletion_is_told_with_the_remedy(place: Destination, neighbour: Neighbour) -> None:
    base = put(place, OLD)
    neighbour.sm.delete_secret(SecretId=neighbour.path, RecoveryWindowInDays=7)
    for call in (place.read, lambda: place.preflight({FIELD: None}), lambda: put(place, NEW, base)):
        with pytest.raises(Refused) as told:
            call()
        assert told.value.reason == "destination_deleted"
        assert "restore" in (told.value.remedy or "")
    neighbour.sm.restore_secret(SecretId=neighbour.path)
    assert put(place, NEW, base)


def test_a_secret_that_aws_rotates_by_itself_is_read_and_never_written(
    place: Destination, neighbour: Neighbour
) -> None:
    put(place, OLD)
    neighbour.sm.rotate_secret(
        SecretId=neighbour.path, RotationRules={"AutomaticallyAfterDays": 30}, RotateImmediately=False
    )
    base = place.read().revision
    for call in (lambda: place.preflight({FIELD: None}), lambda: put(place, NEW, base)):
        with pytest.raises(Refused) as told:
            call()
        assert told.value.reason == "second_writer"
    assert place.read().revision == base


def test_a_rotation_of_somebody_else_under_way_is_not_disturbed(place: Destination, neighbour: Neighbour) -> None:
    base = put(place, OLD)
    theirs = neighbour.sm.put_secret_value(SecretId=neighbour.path, SecretString="{}", VersionStages=["AWSPENDING"])[
        "VersionId"
    ]
    with pytest.raises(Refused) as told:
        put(place, NEW, base)
    assert told.value.reason == "second_writer"
    assert neighbour.holder("AWSPENDING") == theirs
    neighbour.make_current(theirs, base)  # they finish, and leave their label where it is
    put(place, NEW)
    assert found(place) == NEW


def test_a_secret_that_another_service_or_partner_owns_is_not_written(
    place: Destination, gated: Destination, gate: Gate
) -> None:
    base = put(place, OLD)
    gated.read()
    for fact in ({"OwningService": "rds"}, {"Type": "SnowflakeKeyPairAuthentication"}):
        described = {
            "ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:x-AbCdEf",
            "VersionIdsToStages": {base: ["AWSCURRENT"]},
            **fact,
        }
        headers = {"x-amzn-RequestId": "r-1"}
        gate.on(asks_for("DescribeSecret"), Answer(200, headers=headers, body=json.dumps(described).encode()))
        with pytest.raises(Refused) as told:
            put(gated, NEW, base)
        assert told.value.reason == "second_writer"
    assert place.read().revision == base


def test_a_replica_names_its_primary_region(server: Server, place: Destination, neighbour: Neighbour) -> None:
    put(place, OLD)
    neighbour.sm.replicate_secret_to_regions(SecretId=neighbour.path, AddReplicaRegions=[{"Region": "eu-west-1"}])
    replica = server(region="eu-west-1").at(neighbour.path)
    with pytest.raises(Refused) as told:
        replica.preflight({FIELD: None})
    assert told.value.reason == "replica"
    assert "us-east-1" in (told.value.remedy or "")


@pytest.mark.parametrize("exists", [False, True])
def test_another_account_than_the_pinned_one_is_told(
    server: Server, place: Destination, path: str, exists: bool
) -> None:
    if exists:
        put(place, OLD)
    other = server(account="210987654321").at(path)
    for call in (other.read, lambda: other.preflight({FIELD: None}), lambda: put(other, NEW, "absent")):
        with pytest.raises(WrongAccount):
            call()


def test_the_pinned_account_is_written(server: Server, aws: Aws, path: str) -> None:
    pinned = server(account=aws.account).at(path)
    put(pinned, NEW)
    assert found(pinned) == NEW


# What AWS's errors mean


@pytest.mark.parametrize(
    ("code", "expected", "reason"),
    [
        ("ThrottlingException", RateLimited, "rate_limited"),
        ("LimitExceededException", Refused, "quota"),
        ("EncryptionFailure", None, "missing_permission"),
        ("InternalServiceError", LostAnswer, "lost_answer"),
    ],
)
def test_an_error_answer_to_a_write_is_told_as_what_it_is(
    place: Destination, gated: Destination, gate: Gate, code: str, expected: type[Exception] | None, reason: str
) -> None:
    base = put(place, OLD)
    gated.read()
    status = 500 if code == "InternalServiceError" else 400
    body = json.dumps({"__type": code, "message": f"you sent {NEW}"}).encode()
    gate.on(asks_for("PutSecretValue"), Answer(status, body=body))
    with pytest.raises(expected or Exception) as told:
        put(gated, NEW, base)
    assert told.value.reason == reason  # type: ignore[attr-defined]
    assert NEW not in str(told.value)
    assert isinstance(told.value, TemporaryError) or told.value.remedy  # type: ignore[attr-defined]
    assert place.read().revision == base


def test_our_own_key_once_rejected_is_told_and_read_anew(server: Server, aws: Aws, path: str, tmp_path: Path) -> None:
    name = f"rotator-{uuid4().hex[:8]}"
    ours = aws.user(name, allow=("*",))
    place = server(ours).at(path)
    put(place, OLD)
    aws.client("iam").delete_access_key(UserName=name, AccessKeyId=ours.access_key_id)
    with pytest.raises(AccessDenied):
        place.read()
    (tmp_path / "id").write_text(aws.root.access_key_id)
    (tmp_path / "secret").write_text(aws.root.secret_access_key)
    assert found(place) == OLD


def test_a_promotion_that_is_refused_for_good_is_told(place: Destination, gated: Destination, gate: Gate) -> None:
    base = put(place, OLD)
    gated.read()
    body = json.dumps({"__type": "InvalidParameterException", "message": ""}).encode()
    gate.on(asks_for("UpdateSecretVersionStage"), Answer(400, body=body))
    with pytest.raises(Refused) as told:
        put(gated, NEW, base)
    assert "InvalidParameterException" in told.value.message
    assert place.read().revision == base


# Names


@pytest.mark.parametrize("path", [None, "", "a b", "x" * 513, "arn:aws:secretsmanager:us-east-1:1:secret:x", "ä"])
def test_a_path_that_no_secret_can_have_is_refused(server: Server, path: str | None) -> None:
    with pytest.raises(ValueError, match="name"):
        server().at(path)


def test_an_address_is_the_entry_and_the_name(server: Server) -> None:
    assert server().at("ci/deployer").address == "sm:ci/deployer"


def test_the_identity_is_the_account_where_it_is_known_and_the_server_otherwise(server: Server) -> None:
    def identity(**settings: str) -> str:
        return server(**settings).at("x").identity

    assert identity(account="123456789012") == "aws-sm:123456789012:us-east-1:x"
    assert identity(account="123456789012", endpoint_url="https://sm.example") == identity(account="123456789012")
    assert identity(role_arn="arn:aws:iam::123456789012:role/r") == identity(account="123456789012")
    assert identity(endpoint_url="https://sm.example") == "aws-sm:sm.example:us-east-1:x"
    assert identity(region="eu-west-1") != identity()
