"""What `check` says of the permissions of keys, and of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from rotator.cli.finding import Finding
from rotator.cli.preflights import run
from rotator.config import load
from rotator.testbed.aws import Aws
from rotator.testbed.openai_emulator import OpenAIEmulator
from tests.engine.place import Place


def checked(place: Place, check: str) -> list[Finding]:
    return [finding for finding in run(load(place.file), ["web"]) if finding.check == check]


def of_openai(place: Place, openai: OpenAIEmulator, options: dict[str, Any], **credential: Any) -> None:
    (place.folder / "admin").write_text(openai.admin_key)
    whose = {"project": openai.project, "service_account": openai.service_account}
    place.write(
        providers={"it": {"type": "openai", "admin_key": "file:admin", "base_url": openai.url}},
        destinations={},
        credentials={
            "web": {
                "provider": "it",
                "options": {**whose, **options},
                "destinations": [f"env-file:{place.folder}/web.env"],
                **credential,
            }
        },
    )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_scopes_and_a_confirmed_list_are_told(place: Place, openai: OpenAIEmulator) -> None:
    today = datetime.now(UTC).date()
    list_of_today = {"allowed_ips": ["203.0.113.0/24"], "allowed_ips_confirmed": today}
    of_openai(place, openai, {"scopes": ["api.responses.write"]}, **list_of_today)
    assert [(f.outcome, f.message) for f in checked(place, "permissions") if f.subject == "its keys"] == [
        ("ok", "they may do: api.responses.write"),
        ("ok", f"a person compared the provider's allow list with allowed_ips on {today}"),
    ]


def test_a_list_that_nobody_has_compared_says_where_and_what(place: Place, openai: OpenAIEmulator) -> None:
    of_openai(place, openai, {}, allowed_ips=["203.0.113.0/24"])
    told, reminder = (f for f in checked(place, "permissions") if f.subject == "its keys")
    assert told.message == "they may do: all that their owner may"
    assert (reminder.outcome, reminder.reason) == ("warning", "unconfirmed")
    assert reminder.remedy is not None
    for part in ("https://", "203.0.113.0/24", "15 minutes", "allowed_ips_confirmed"):
        assert part in reminder.remedy


@pytest.mark.parametrize(("life", "warned"), [("29d", True), ("31d", True), ("60d", False)])
def test_a_key_that_ends_before_the_schedule_is_no_switch(
    place: Place, openai: OpenAIEmulator, life: str, *, warned: bool
) -> None:
    of_openai(place, openai, {"expires_in": life})
    found = [f for f in checked(place, "schedule") if f.outcome == "warning"]
    assert [f.reason for f in found] == ["expires"] * warned


@pytest.fixture
def user(aws: Aws) -> Iterator[tuple[Any, str]]:
    iam, name = aws.client("iam"), f"checked-{uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="read", PolicyDocument=document)
    yield iam, name
    iam.close()


def test_policies_that_are_not_expected_or_missing_are_told(place: Place, aws: Aws, user: tuple[Any, str]) -> None:
    (place.folder / "id").write_text(aws.root.access_key_id)
    (place.folder / "secret").write_text(aws.root.secret_access_key)
    ours = {"access_key_id": "file:id", "secret_access_key": "file:secret", "endpoint_url": aws.url}
    place.write(
        providers={"it": {"type": "aws-iam", **ours}},
        destinations={},
        credentials={
            "web": {
                "provider": "it",
                "options": {"user": user[1]},
                "destinations": [f"env-file:{place.folder}/web.env"],
                "expect_policies": ["other"],
                "allowed_ips": ["203.0.113.0/24"],
            }
        },
    )
    assert [(f.outcome, f.reason, f.message) for f in checked(place, "permissions") if f.subject == "its keys"] == [
        ("ok", None, "they may do: read"),
        ("warning", "widened", "the policy read is not expected"),
        ("warning", "widened", "they work from anywhere"),
        ("warning", "narrowed", "they lack other, which `expect_policies` names: consumers may need it"),
    ]
