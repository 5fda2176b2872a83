"""What `check` says of the permissions of keys, and of ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from rotator.cli.finding import Finding
from rotator.cli.preflights import run
from rotator.config import load
from rotator.testbed.aws import Aws
from rotator.testbed.gate import Answer, Gate
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.testbed.openbao import OpenBao
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


# Our own.


def ours(place: Place, subject: str) -> list[tuple[str, str]]:
    """Outcome and message of what is said of us at a provider or destination."""
    return [(f.outcome, f.message) for f in checked(place, "permissions") if f.subject == subject]


def at_vault(place: Place, bao: OpenBao, policy: str | None) -> tuple[str, list[tuple[str, str]]]:
    """The path, and what is said of a token with this policy there; None: of the root token."""
    path = f"check/{uuid4().hex[:8]}"
    token = bao.token
    if policy is not None:
        named = path.replace("/", "-")
        bao.call("PUT", f"sys/policies/acl/{named}", {"policy": policy.replace("PATH", path)})
        token = bao.call("POST", "auth/token/create", {"policies": [named]})["auth"]["client_token"]
    (place.folder / "token").write_text(token)
    auth = {"method": "token", "token": "file:token"}
    target = {"to": "vault", "path": path, "fields": {"K": "{secret}"}}
    place.write(
        providers={"it": {"type": "generated"}},
        destinations={"vault": {"type": "vault-kv", "address": bao.url, "auth": auth}},
        credentials={"web": {"provider": "it", "destinations": [target]}},
    )
    return path, ours(place, f"vault:secret/{path}")


def test_a_token_of_vault_that_may_what_it_takes(place: Place, openbao: OpenBao) -> None:
    policy = 'path "secret/data/PATH" { capabilities = ["create", "read", "update"] }'
    path, told = at_vault(place, openbao, policy)
    at = f"secret/data/{path}"
    assert told == [("ok", f"we may: create at {at}, read at {at}, update at {at}")]


def test_a_token_of_vault_that_may_less_and_more(place: Place, openbao: OpenBao) -> None:
    policy = (
        'path "secret/data/PATH" { capabilities = ["create", "read", "delete"] }\n'
        'path "secret/data/*" { capabilities = ["read"] }'
    )
    path, told = at_vault(place, openbao, policy)
    at = f"secret/data/{path}"
    assert told == [
        ("ok", f"we may: create at {at}, read at {at}"),
        ("failed", f"we lack: update at {at}"),
        ("warning", f"we may more than it takes: delete at {at}"),
        ("warning", "we may more than it takes: read at any path of secret/"),
    ]


def test_a_token_that_is_not_there_is_no_lack_of_permission(place: Place, openbao: OpenBao) -> None:
    path, _ = at_vault(place, openbao, None)
    (place.folder / "token").unlink()
    ((outcome, message),) = ours(place, f"vault:secret/{path}")
    assert outcome == "failed"
    assert "cannot read the secret" in message


def test_a_root_token_is_too_much(place: Place, openbao: OpenBao) -> None:
    assert at_vault(place, openbao, None)[1] == [("warning", "we may more than it takes: our token is a root token")]


def test_an_admin_key_of_openai_is_told_as_far_as_harmless_requests_can(place: Place, openai: OpenAIEmulator) -> None:
    of_openai(place, openai, {})
    whole = "an admin key holds for the whole organization: no smaller one exists, and OpenAI tells no scopes of it"
    assert ours(place, "it") == [
        ("ok", "we may: manage keys, read usage, for evidence of use"),
        ("ok", f"not known: {whole}"),
    ]
    openai.usage_allowed = False
    assert ours(place, "it")[0] == ("ok", "we may: manage keys")
    assert ("warning", "not granted: read usage, for evidence of use") in ours(place, "it")
    openai.admin_key_state = "read_only"
    assert ("failed", "we lack: manage keys") in ours(place, "it")
    assert not openai.creates


def at_iam(place: Place, aws: Aws, url: str, user: str) -> list[tuple[str, str]]:
    (place.folder / "id").write_text(aws.root.access_key_id)
    (place.folder / "secret").write_text(aws.root.secret_access_key)
    key = {"access_key_id": "file:id", "secret_access_key": "file:secret"}
    target = f"env-file:{place.folder}/web.env"
    place.write(
        providers={"it": {"type": "aws-iam", **key, "endpoint_url": url}},
        destinations={},
        credentials={"web": {"provider": "it", "options": {"user": user}, "destinations": [target]}},
    )
    return ours(place, "it")


def test_where_iam_does_not_answer_it_is_not_known(place: Place, aws: Aws, user: tuple[Any, str]) -> None:
    assert at_iam(place, aws, aws.url, user[1]) == [("ok", "not known: IAM does not tell us what we may do")]


def simulation(allowed: Sequence[str]) -> Answer:
    """IAM's answer, in the form of its service model; moto has none."""
    rows = "".join(
        f"<member><EvalActionName>{action}</EvalActionName><EvalDecision>allowed</EvalDecision></member>"
        for action in allowed
    )
    body = (
        '<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
        f"<SimulatePrincipalPolicyResult><EvaluationResults>{rows}</EvaluationResults></SimulatePrincipalPolicyResult>"
        "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></SimulatePrincipalPolicyResponse>"
    )
    return Answer(200, {"Content-Type": "text/xml"}, body.encode())


def test_what_iam_simulates_is_told(
    place: Place, aws: Aws, user: tuple[Any, str], gate_to: Callable[[str], Gate]
) -> None:
    gate, name = gate_to(aws.url), user[1]
    arn = f"arn:aws:iam::{aws.account}:user/{name}"
    some = ["iam:ListAccessKeys", "iam:GetAccessKeyLastUsed", "iam:CreateAccessKey", "iam:UpdateAccessKey"]
    for part, allowed in (
        (name, some),
        ("keyturn-no-such-user", ["iam:CreateAccessKey"]),
        ("ResourceArns.member.1=%2A", ["iam:PutUserPolicy"]),
    ):
        gate.on(
            lambda r, part=part: b"SimulatePrincipalPolicy" in r.body and part.encode() in r.body,  # type: ignore[misc]
            simulation(allowed),
            times=None,
        )
    assert at_iam(place, aws, gate.url, name) == [
        ("ok", f"we may: {', '.join(f'{action} on {arn}' for action in some)}"),
        ("failed", f"we lack: iam:DeleteAccessKey on {arn}"),
        (
            "warning",
            f"we may more than it takes: iam:CreateAccessKey on arn:aws:iam::{aws.account}:user/keyturn-no-such-user",
        ),
        ("warning", "we may more than it takes: iam:PutUserPolicy on *"),
    ]
