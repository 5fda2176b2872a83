"""A key that the service itself signs with: rotated by the same engine, last, and never sawn off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from rotator.domain.model import Cause
from rotator.testbed.aws import Aws, AwsKey
from tests.engine.place import Place

FILE = "[keyturn]\naws_access_key_id = {access_key_id}\naws_secret_access_key = {secret_access_key}\n"


class Ourselves:
    """The credential `self` is the key of our own IAM user, in AWS's credentials file; `app` is that of another."""

    def __init__(self, place: Place, aws: Aws, patch: pytest.MonkeyPatch) -> None:
        self.place = place
        self.aws = aws
        self.name = f"keyturn-{uuid4().hex[:8]}"
        self.app = f"app-{uuid4().hex[:8]}"
        self.file = place.folder / "aws-credentials"
        self.first = aws.user(self.name, allow=["sts:*", "iam:*"])
        self.iam = aws.client("iam")
        self.iam.create_user(UserName=self.app)
        self.put(self.first)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(self.file))
        self.write(str(self.file))

    def put(self, key: AwsKey) -> None:
        text = FILE.format(access_key_id=key.access_key_id, secret_access_key=key.secret_access_key)
        self.file.write_text(text)
        self.file.chmod(0o600)

    def write(self, target: str, **policy: Any) -> None:
        def credential(user: str, destination: dict[str, str], **first: str) -> dict[str, Any]:
            return {
                "provider": "aws",
                "options": {"user": user},
                "policy": {**policy, **first},
                "destinations": [destination],
            }

        account = {"type": "aws-iam", "profile": "keyturn", "endpoint_url": self.aws.url, "account": self.aws.account}
        self.place.write(
            providers={"aws": account},
            destinations={"file": {"type": "env-file"}},
            credentials={
                "self": credential(self.name, {"to": "file", "path": target, "value": FILE}, first="adopt"),
                "app": credential(self.app, {"to": "file", "path": str(self.place.folder / "app.env")}),
            },
        )

    def listed(self) -> dict[str, str]:
        found = self.iam.list_access_keys(UserName=self.name)["AccessKeyMetadata"]
        return {key["AccessKeyId"]: key["Status"] for key in found}


@pytest.fixture
def ourselves(embedded: Place, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Ourselves:
    return Ourselves(embedded, aws, monkeypatch)


def test_our_own_key_is_replaced_and_the_new_one_takes_the_old_one_away(ourselves: Ourselves) -> None:
    ourselves.place.rotate(patience=5)
    assert ourselves.place.status("self")["current"]["key_id"] == ourselves.first.access_key_id
    assert ourselves.place.rotate("self", now=True, patience=5)["self"].completed
    ourselves.place.rotate(patience=5)
    (left,) = ourselves.listed()
    assert left != ourselves.first.access_key_id
    assert left in ourselves.file.read_text()
    assert ourselves.place.rotate("app", now=True, patience=5)["app"].completed
    ourselves.place.verified()


def test_it_comes_last_in_a_pass(ourselves: Ourselves) -> None:
    ourselves.place.rotate(patience=5)
    del ourselves.place.events[:]
    ourselves.place.rotate("self", "app", now=True, cause=Cause.MANUAL, patience=5)
    done = [e["credential"] for e in ourselves.place.events if e["event"] == "rotation.succeeded"]
    assert done == ["app", "self"]


def test_while_we_sign_with_the_old_one_it_stays(
    ourselves: Ourselves, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ourselves.write(str(ourselves.file), grace="2s", soak="0s")
    ourselves.place.rotate(patience=5)
    assert ourselves.place.rotate("self", now=True, patience=5)["self"].completed
    elsewhere = tmp_path / "forgotten"  # another process of ours, which was told another file
    elsewhere.write_text(FILE.format(**vars(ourselves.first)))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(elsewhere))
    ourselves.place.rotate("self", patience=4)
    assert ourselves.listed()[ourselves.first.access_key_id] == "Active"
    assert ourselves.place.status("self")["previous"][0]["reason"] == "own_key"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(ourselves.file))
    ourselves.place.rotate("self", patience=4)
    assert ourselves.first.access_key_id not in ourselves.listed()


def test_a_new_one_that_may_nothing_takes_nothing_away(ourselves: Ourselves) -> None:
    ourselves.write(str(ourselves.file), grace="1h", soak="0s")
    ourselves.place.rotate(patience=5)
    assert ourselves.place.rotate("self", now=True, patience=5)["self"].completed
    deny = {"Effect": "Deny", "Action": "iam:UpdateAccessKey", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    ourselves.iam.put_user_policy(UserName=ourselves.name, PolicyName="deny", PolicyDocument=document)
    ourselves.write(str(ourselves.file), grace="0s", soak="0s")
    ourselves.place.rotate("self", now=True, cause=Cause.COMPROMISED, patience=2)
    assert ourselves.listed()[ourselves.first.access_key_id] == "Active"


def test_a_key_that_we_sign_with_and_read_elsewhere_is_not_touched(ourselves: Ourselves, tmp_path: Path) -> None:
    ourselves.write(str(tmp_path / "elsewhere"))
    ourselves.place.rotate("self", now=True, patience=1)
    found = ourselves.place.status("self")["rotation"]
    assert found["reason"] == "own_key"
    assert list(ourselves.listed()) == [ourselves.first.access_key_id]
