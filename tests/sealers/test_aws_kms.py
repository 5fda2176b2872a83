"""Keys in AWS KMS, against moto with signatures and policies checked.

What moto leaves out: it uses a disabled key as if it were not, and answers AccessDenied for another key's ciphertext,
where AWS answers IncorrectKey. The gate gives AWS's own answers to those.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from rotator.access.aws import AwsSettings
from rotator.domain.errors import AccessDenied, PermanentError, RateLimited, Unavailable
from rotator.ports.sealer import Sealer
from rotator.sealers.aws_kms import KmsSealer
from rotator.testbed.aws import Aws, AwsKey
from rotator.testbed.gate import Answer, Gate
from rotator.testbed.process import free_port
from tests.contracts.sealer import PLACE, FaultContract, SealerContract, problem

ACTIONS = ("kms:GenerateDataKey", "kms:Decrypt")
"""The least that sealing needs: the policy of docs/security.md."""

Build = Callable[..., KmsSealer]


@pytest.fixture
def key(aws: Aws) -> str:
    """The ARN of a new key."""
    return str(aws.client("kms").create_key()["KeyMetadata"]["Arn"])


@pytest.fixture
def user(aws: Aws) -> AwsKey:
    return aws.user(f"sealer-{uuid4()}", allow=ACTIONS)


@pytest.fixture
def build(aws: Aws, user: AwsKey, tmp_path: Path) -> Build:
    def build(key: str, who: AwsKey = user, seconds: float = 20, **settings: Any) -> KmsSealer:
        folder = tmp_path / str(uuid4())
        folder.mkdir()
        (folder / "id").write_text(who.access_key_id)
        (folder / "secret").write_text(who.secret_access_key)
        values = {
            "endpoint_url": aws.url,
            "access_key_id": "file:id",
            "secret_access_key": "file:secret",
            **settings,
        }
        return KmsSealer(
            key, AwsSettings.model_validate(values, context={"folder": folder}), timedelta(seconds=seconds)
        )

    return build


@pytest.fixture
def gate(aws: Aws, gate_to: Callable[[str], Gate]) -> Gate:
    return gate_to(aws.url)


class TestKms(SealerContract, FaultContract):
    @pytest.fixture
    def sealer(self, build: Build, key: str) -> Sealer:
        return build(key)

    @pytest.fixture
    def twin(self, build: Build, key: str) -> Sealer:
        return build(key)

    @pytest.fixture
    def other(self, build: Build, aws: Aws) -> Sealer:
        return build(aws.client("kms").create_key()["KeyMetadata"]["KeyId"])

    @pytest.fixture
    def missing(self, build: Build) -> Sealer:
        return build(f"alias/none-{uuid4()}")

    @pytest.fixture
    def denied(self, build: Build, aws: Aws, key: str) -> Sealer:
        return build(key, aws.user(f"nobody-{uuid4()}"))

    @pytest.fixture
    def gated(self, build: Build, key: str, gate: Gate, patience: timedelta) -> Sealer:
        return build(key, seconds=patience.total_seconds(), endpoint_url=gate.url)

    @pytest.fixture
    def unreachable(self, build: Build, key: str) -> Sealer:
        return build(key, endpoint_url=f"http://127.0.0.1:{free_port()}")

    @pytest.fixture
    def private(self, user: AwsKey) -> tuple[str, ...]:
        return (user.secret_access_key,)


def test_an_arn_says_its_region_itself(aws: Aws, build: Build) -> None:
    import boto3

    elsewhere = boto3.client(
        "kms",
        region_name="eu-west-1",
        endpoint_url=aws.url,
        aws_access_key_id=aws.root.access_key_id,
        aws_secret_access_key=aws.root.secret_access_key,
    )
    sealer = build(elsewhere.create_key()["KeyMetadata"]["Arn"], region="us-east-1")
    key = sealer.data_key(PLACE)
    assert sealer.unwrap(key.wrapped, PLACE) == key.plain


def test_kms_is_told_the_place_and_authenticates_it(aws: Aws, build: Build, key: str, gate: Gate) -> None:
    sealer = build(key, endpoint_url=gate.url)
    wrapped = sealer.data_key(PLACE).wrapped
    sealer.unwrap(wrapped, PLACE)
    asked = [json.loads(request.body) for request in gate.requests]
    assert [one["EncryptionContext"] for one in asked] == [dict(PLACE)] * 2
    assert [one["KeyId"] for one in asked] == [key] * 2
    kms = aws.client("kms")
    with pytest.raises(kms.exceptions.InvalidCiphertextException):
        kms.decrypt(CiphertextBlob=wrapped, EncryptionContext={**PLACE, "row": "v-2"})


@pytest.mark.parametrize(
    ("status", "code", "kind", "reason"),
    [
        (400, "IncorrectKeyException", PermanentError, "sealed_tampered"),
        (400, "InvalidCiphertextException", PermanentError, "sealed_tampered"),
        (400, "DisabledException", PermanentError, "sealing_key_unusable"),
        (400, "KMSInvalidStateException", PermanentError, "sealing_key_unusable"),
        (400, "NotFoundException", PermanentError, "sealing_key_unusable"),
        (400, "InvalidKeyUsageException", PermanentError, "sealing_key_unusable"),
        (400, "AccessDeniedException", AccessDenied, "missing_permission"),
        (400, "UnrecognizedClientException", AccessDenied, "admin_key_rejected"),
        (400, "ThrottlingException", RateLimited, "rate_limited"),
        (500, "KMSInternalException", Unavailable, "unavailable"),
        (500, "KeyUnavailableException", Unavailable, "unavailable"),
        (500, "DependencyTimeoutException", Unavailable, "unavailable"),
    ],
)
def test_what_kms_answers_is_told_as_what_it_is(
    build: Build, key: str, gate: Gate, status: int, code: str, kind: type, reason: str
) -> None:
    wrapped = build(key).data_key(PLACE).wrapped
    sealer = build(key, endpoint_url=gate.url)
    headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": str(uuid4())}
    gate.on(lambda _: True, Answer(status, headers=headers, body=json.dumps({"__type": code}).encode()), times=None)
    told = problem(lambda: sealer.unwrap(wrapped, PLACE))
    assert (type(told), told.reason) == (kind, reason)
