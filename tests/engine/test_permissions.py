"""A new key that could do more than it should is a finding and stops the rotation, unless the policy lets it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from rotator.domain.model import Cause
from rotator.testbed.aws import Aws
from rotator.testbed.openai_emulator import OpenAIEmulator
from tests.engine.place import Place


class Env:
    """The credential `web`: a key in an env file, at the provider that a test configures."""

    def __init__(self, place: Place, provider: dict[str, Any], options: dict[str, Any]) -> None:
        self.place = place
        self.options = options
        self._provider = provider
        self.write()

    def write(self, policy: dict[str, Any] | None = None, **credential: Any) -> None:
        entry = {
            "provider": "it",
            "options": self.options,
            "policy": policy or {},
            "destinations": [f"env-file:{self.place.folder}/web.env"],
            **credential,
        }
        self.place.write(providers={"it": self._provider}, destinations={}, credentials={"web": entry})

    def now(self, cause: Cause = Cause.MANUAL) -> bool:
        return self.place.rotate("web", now=True, cause=cause, patience=3)["web"].completed

    def blocked(self) -> tuple[str, str]:
        found = self.place.status("web")["rotation"]
        return found["reason"], found["message"]

    def findings(self) -> dict[str, str]:
        with self.place.service(unlock=False) as service:
            return {f["kind"]: f["message"] for f in service.report().status()["findings"]}

    def look(self) -> dict[str, str]:
        """What a pass finds that looks again at once."""
        text = yaml.safe_load(self.place.file.read_text())
        text["engine"]["watch"] = "1ms"
        self.place.file.write_text(yaml.safe_dump(text, sort_keys=False))
        self.place.rotate(patience=6)
        return self.findings()


@pytest.fixture
def scoped(embedded: Place, openai: OpenAIEmulator) -> Env:
    (embedded.folder / "admin").write_text(openai.admin_key)
    options = {"project": openai.project, "service_account": openai.service_account, "scopes": ["api.responses.write"]}
    return Env(embedded, {"type": "openai", "admin_key": "file:admin", "base_url": openai.url}, options)


def test_a_scope_that_was_added_stops_the_next_key_before_it_exists(scoped: Env, openai: OpenAIEmulator) -> None:
    assert scoped.now()
    scoped.options["scopes"] = ["api.responses.write", "api.files.write"]
    scoped.write()
    assert not scoped.now()
    assert scoped.blocked() == ("widened", "a new key of web may api.files.write")
    assert len(openai.creates) == 1
    assert scoped.findings()["widened"] == "a new key of web may api.files.write"
    scoped.write({"on_widening": "warn"})
    assert scoped.now()
    assert "widened" not in scoped.look()
    assert scoped.place.told("widened.found", "widened.cleared") == ["widened.found", "widened.cleared"]


def test_all_scopes_are_more_than_some_and_some_less_than_all(scoped: Env) -> None:
    assert scoped.now()
    scopes = scoped.options.pop("scopes")
    scoped.write({"on_widening": "warn"})
    assert scoped.now()
    assert scoped.place.told("widened.found") == ["widened.found"]
    scoped.options["scopes"] = scopes
    scoped.write()
    assert scoped.now()
    assert scoped.place.told("widened.found") == ["widened.found"]


def test_a_leak_is_answered_all_the_same_and_it_is_told(scoped: Env, openai: OpenAIEmulator) -> None:
    assert scoped.now()
    scoped.options["scopes"] = ["api.responses.write", "api.files.write"]
    scoped.write()
    assert scoped.now(Cause.COMPROMISED)
    assert scoped.place.told("widened.found") == ["widened.found"]
    assert list(openai.keys())[-1].scopes == ("api.responses.write", "api.files.write")


def test_an_owner_where_a_member_was_named_stops_everything(scoped: Env, openai: OpenAIEmulator) -> None:
    scoped.options["role"] = "member"
    scoped.write()
    assert scoped.now()
    openai._service_accounts[openai.service_account]["role"] = "owner"
    assert not scoped.now()
    assert scoped.blocked()[0] == "role_too_strong"
    assert len(openai.creates) == 1


def test_the_allow_list_of_a_console_is_asked_for_until_a_person_has_looked(scoped: Env) -> None:
    scoped.write(allowed_ips=["203.0.113.0/24"])
    assert scoped.now()
    found = scoped.look()
    assert found["unconfirmed"] == ("web: nobody has said yet that the provider's allow list is what allowed_ips says")
    today = datetime.now(UTC).date()
    scoped.write(allowed_ips=["203.0.113.0/24"], allowed_ips_confirmed=today)
    assert "unconfirmed" not in scoped.look()
    scoped.write(allowed_ips=["203.0.113.0/24"], allowed_ips_confirmed=today - timedelta(days=92))
    assert "was last compared" in scoped.look()["unconfirmed"]


class Iam(Env):
    """The credential `web` is the key of an IAM user."""

    def __init__(self, place: Place, aws: Aws) -> None:
        self.user = f"bounded-{uuid4().hex[:8]}"
        self.iam = aws.client("iam")
        self.iam.create_user(UserName=self.user)
        (place.folder / "id").write_text(aws.root.access_key_id)
        (place.folder / "secret").write_text(aws.root.secret_access_key)
        ours = {"access_key_id": "file:id", "secret_access_key": "file:secret", "endpoint_url": aws.url}
        self.allow("read", "s3:GetObject")
        super().__init__(place, {"type": "aws-iam", **ours}, {"user": self.user})

    def allow(self, name: str, action: str, **more: Any) -> dict[str, Any]:
        statement = {"Effect": "Allow", "Action": action, "Resource": "*", **more}
        document = {"Version": "2012-10-17", "Statement": [statement]}
        self.iam.put_user_policy(UserName=self.user, PolicyName=name, PolicyDocument=json.dumps(document))
        return document


@pytest.fixture
def bounded(embedded: Place, aws: Aws) -> Iterator[Iam]:
    found = Iam(embedded, aws)
    yield found
    found.iam.close()


def test_a_policy_that_nobody_expects_stops_the_next_key(bounded: Iam) -> None:
    bounded.write(expect_policies=["read"])
    assert bounded.now()
    bounded.allow("admin", "*")
    assert "widened" in bounded.look()
    assert not bounded.now()
    reason, message = bounded.blocked()
    assert reason == "widened"
    assert "may *" in message
    assert "has the policy admin" in message
    bounded.iam.delete_user_policy(UserName=bounded.user, PolicyName="admin")
    assert bounded.now()
    assert "widened" not in bounded.look()


def test_a_policy_may_be_expected_as_a_document(bounded: Iam) -> None:
    document = bounded.allow("read", "s3:GetObject")
    bounded.write(expect_policies=[document])
    assert bounded.now()
    bounded.allow("read", "s3:GetObject", Condition={"Bool": {"aws:SecureTransport": "true"}})
    assert not bounded.now()
    assert bounded.blocked() == ("widened", "a new key of web has the policy read")


def test_a_policy_that_grew_between_two_keys_is_more_though_its_name_is_expected(bounded: Iam) -> None:
    bounded.write(expect_policies=["read"])
    assert bounded.now()
    bounded.allow("read", "s3:*")
    assert not bounded.now()
    assert bounded.blocked() == ("widened", "a new key of web may s3:*")


def test_a_key_that_works_from_elsewhere_than_allowed_is_not_made(bounded: Iam) -> None:
    bounded.write(allowed_ips=["203.0.113.0/24"])
    assert not bounded.now()
    assert bounded.blocked() == ("widened", "a new key of web works from anywhere, which is not among allowed_ips")
    assert not bounded.iam.list_access_keys(UserName=bounded.user)["AccessKeyMetadata"]
    bounded.allow("read", "s3:GetObject", Condition={"IpAddress": {"aws:SourceIp": ["203.0.113.128/25"]}})
    assert bounded.now()


def test_where_nothing_is_bounded_iam_is_not_asked_for_policies(bounded: Iam, tmp_path: Path) -> None:
    assert bounded.now()
    bounded.allow("admin", "*")
    assert bounded.now()
