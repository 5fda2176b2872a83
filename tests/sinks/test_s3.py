"""Objects under object lock, in moto's S3 by real boto3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator.domain.errors import Refused
from rotator.sinks.s3 import S3Settings, S3Sink
from rotator.testbed.aws import Aws
from rotator.verifier.trail import verify_lines
from tests.sinks.conftest import ORIGIN, Trail

BUCKET = "acme-audit"


class Bucket:
    def __init__(self, folder: Path, server: Aws, *, locked: bool = True) -> None:
        import boto3

        self.server = server
        self.keys = {"access_key_id": folder / "id", "secret_access_key": folder / "secret"}
        for path in self.keys.values():
            path.write_text("testing", encoding="utf-8")
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        self.client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=locked)

    def sink(self, **settings: Any) -> S3Sink:
        keys = {name: f"file:{path}" for name, path in self.keys.items()}
        given = {"bucket": BUCKET, "endpoint_url": self.server.url, **keys, **settings}
        return S3Sink(S3Settings.model_validate(given), ORIGIN, timedelta(seconds=10))

    def names(self) -> list[str]:
        return [found["Key"] for found in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]

    def text(self, name: str) -> str:
        body: bytes = self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        return body.decode()


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    with Aws() as server:
        found = Bucket(tmp_path, server)
        yield found
        found.client.close()


def test_an_object_holds_the_trail_and_cannot_be_deleted_before_its_time(trail: Trail, bucket: Bucket) -> None:
    from botocore.exceptions import ClientError

    trail.happen(4)
    one = bucket.sink(retain="400d")
    assert trail.send(one) == (5, None)
    trail.happen(2)
    trail.send(one)
    assert bucket.names() == [
        "rotator/000000000001-000000000005.jsonl",
        "rotator/000000000006-000000000007.jsonl",
    ]
    lines = [line for name in bucket.names() for line in bucket.text(name).splitlines()]
    assert (verify_lines(lines).count, verify_lines(lines).problem) == (7, None)
    head = bucket.client.head_object(Bucket=BUCKET, Key=bucket.names()[0])
    assert head["ObjectLockMode"] == "COMPLIANCE"
    assert head["ObjectLockRetainUntilDate"] > datetime.now(UTC) + timedelta(days=399)
    with pytest.raises(ClientError, match="AccessDenied"):
        bucket.client.delete_object(Bucket=BUCKET, Key=bucket.names()[0], VersionId=head["VersionId"])


def test_a_service_that_is_gone_for_a_while_misses_nothing(trail: Trail, bucket: Bucket) -> None:
    one = bucket.sink()
    trail.happen(3)
    trail.send(one)
    port = bucket.server.port
    bucket.server.stop()
    trail.happen(3)
    seq, why = trail.send(one)
    assert seq == 4
    assert why is not None
    assert why.startswith("AWS was not reached for s3:PutObject")
    bucket.server.start()  # moto keeps everything in memory
    assert bucket.server.port == port
    bucket.client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    assert trail.send(one) == (7, None)
    (name,) = bucket.names()
    assert [json.loads(line)["seq"] for line in bucket.text(name).splitlines()] == [5, 6, 7]


def test_a_bucket_that_is_not_there_is_said(trail: Trail, bucket: Bucket) -> None:
    seq, why = trail.send(bucket.sink(bucket="no-such-bucket"))
    assert seq == 0
    assert why is not None
    assert "404 NoSuchBucket" in why


def test_a_look_finds_a_bucket_without_object_lock(bucket: Bucket) -> None:
    bucket.sink().look()
    bucket.client.create_bucket(Bucket="open")
    with pytest.raises(Refused, match="without object lock") as told:
        bucket.sink(bucket="open").look()
    assert told.value.reason == "no_object_lock"
    with pytest.raises(Refused, match="NoSuchBucket"):
        bucket.sink(bucket="no-such-bucket").look()
    assert bucket.names() == []
