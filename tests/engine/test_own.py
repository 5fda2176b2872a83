"""A key that the service itself signs with: rotated by the same engine, last, and never sawn off."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from rotator.domain.errors import TemporaryError
from rotator.domain.model import Cause, VersionState
from rotator.engine import own
from rotator.testbed.aws import Aws, AwsKey
from rotator.testbed.openai_emulator import OpenAIEmulator
from tests.engine.place import Place
from tests.providers.test_vault_approle import RULES, Role

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
    ourselves.place.rotate("self", now=True, patience=6)
    found = ourselves.place.status("self")["rotation"]
    assert found["reason"] == "own_key"
    assert list(ourselves.listed()) == [ourselves.first.access_key_id]


# values that do not tell their id: OpenAI's admin keys, secret ids of an AppRole


@dataclass
class OwnValue:
    """The credential `self` is a value that we read from `file`; `works` says whether the service takes it."""

    place: Place
    file: Path
    first: str
    works: Callable[[str], bool]
    write: Callable[[str], None]  # with the file that the new value is written to


def _own_admin_key(place: Place, request: pytest.FixtureRequest) -> OwnValue:
    openai: OpenAIEmulator = request.getfixturevalue("openai")
    account = {"type": "openai-admin", "admin_key": "file:own", "base_url": openai.url}

    def works(value: str) -> bool:
        return any(key.secret == value and key.state == "live" for key in openai.admin_keys())

    def write(target: str) -> None:
        _write_own(place, account, {"project": openai.project}, target)

    return OwnValue(place, place.folder / "own", openai.admin_key, works, write)


def _own_secret_id(place: Place, request: pytest.FixtureRequest) -> OwnValue:
    role = Role(request.getfixturevalue("openbao"))
    role.bao.call("POST", role.path, {"token_policies": [role.policy(RULES)]})
    auth = {"method": "approle", "role_id": role.role_id(), "secret_id": "file:own", "mount": role.mount}
    account = {"type": "vault-approle", "address": role.bao.url, "mount": role.mount, "auth": auth}

    def works(value: str) -> bool:
        try:
            role.bao.call("POST", f"auth/{role.mount}/login", {"role_id": role.role_id(), "secret_id": value})
        except ValueError:
            return False
        return True

    def write(target: str) -> None:
        _write_own(place, account, {"role": role.name}, target)

    return OwnValue(place, place.folder / "own", role.make().material["secret"].reveal(), works, write)


def _write_own(place: Place, account: dict[str, Any], options: dict[str, str], target: str) -> None:
    place.write(
        providers={"ours": account},
        destinations={"file": {"type": "env-file"}},
        credentials={
            "self": {
                "provider": "ours",
                "options": options,
                "policy": {"first": "adopt"},
                "destinations": [{"to": "file", "path": target, "value": "{secret}"}],
            }
        },
    )


@pytest.fixture(params=[_own_admin_key, _own_secret_id], ids=["admin key", "secret id"])
def value(embedded: Place, request: pytest.FixtureRequest) -> OwnValue:
    made: OwnValue = request.param(embedded, request)
    made.file.write_text(made.first)
    made.file.chmod(0o600)
    made.write(str(made.file))
    return made


def test_our_own_value_is_replaced_and_its_successor_takes_it_away(value: OwnValue) -> None:
    value.place.rotate(patience=5)
    old = value.place.status("self")["current"]["key_id"]
    assert value.file.read_text() == value.first
    assert value.place.rotate("self", now=True, patience=5)["self"].completed
    value.place.rotate(patience=5)
    now = value.file.read_text()
    assert now != value.first
    assert value.works(now)
    assert not value.works(value.first)
    assert value.place.status("self")["current"]["key_id"] != old
    value.place.verified()


def test_our_own_value_stays_while_it_is_what_we_read(value: OwnValue) -> None:
    value.place.policy["grace"] = "2s"
    value.write(str(value.file))
    value.place.rotate(patience=5)
    assert value.place.rotate("self", now=True, patience=6)["self"].completed
    new = value.file.read_text()
    with value.place.service() as service, service.running().hold("self") as work:
        older = next(v for v in work.situation.versions if v.state is VersionState.PREVIOUS)
        value.file.write_text(value.first)  # as another process of ours has it, which was given another file
        with pytest.raises(TemporaryError) as told:
            own.guard(work, older)
        value.file.write_text(new)
        own.guard(work, older)
    assert told.value.reason == "own_key"


def test_our_own_value_is_written_nowhere_else(value: OwnValue, tmp_path: Path) -> None:
    value.place.rotate(patience=5)
    value.write(str(tmp_path / "elsewhere"))
    value.place.rotate("self", now=True, patience=6)
    assert value.place.status("self")["rotation"]["reason"] == "own_key"
    assert value.works(value.first)
