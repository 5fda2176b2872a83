"""A user's policies, as IAM has them, and what they come to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from rotator.access import iam_policies
from rotator.domain.permissions import Grant
from rotator.testbed.aws import Aws


def statement(effect: str = "Allow", action: Any = "s3:GetObject", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


OFFICE = {"aws:SourceIp": ["203.0.113.0/24"]}


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ([document(statement())], None),
        ([document(statement(Condition={"IpAddress": OFFICE}))], ("203.0.113.0/24",)),
        ([document(statement(Condition={"IpAddress": OFFICE}), statement())], None),
        ([document(statement(), statement("Deny", "*", Condition={"NotIpAddress": OFFICE}))], ("203.0.113.0/24",)),
        (
            [
                document(
                    statement(),
                    statement(
                        "Deny",
                        ["*"],
                        Condition={
                            "NotIpAddress": {"aws:sourceip": "203.0.113.7/32"},
                            "Bool": {"aws:ViaAWSService": "false"},
                        },
                    ),
                )
            ],
            ("203.0.113.7/32",),
        ),
        # Only part of it is denied, or only under another condition as well.
        ([document(statement(), statement("Deny", "s3:*", Condition={"NotIpAddress": OFFICE}))], None),
        (
            [
                document(
                    statement(),
                    statement(
                        "Deny", "*", Condition={"NotIpAddress": OFFICE, "StringEquals": {"aws:PrincipalTag/x": "y"}}
                    ),
                )
            ],
            None,
        ),
        (
            [
                document(statement("Deny", "*", Condition={"NotIpAddress": OFFICE})),
                document(statement("Deny", "*", Condition={"NotIpAddress": {"aws:SourceIp": "203.0.113.7"}})),
            ],
            ("203.0.113.7",),
        ),
        ([], None),
    ],
)
def test_from_where_keys_work(documents: list[dict[str, Any]], expected: tuple[str, ...] | None) -> None:
    assert iam_policies.networks(documents) == expected


def test_every_action_on_every_resource_is_a_grant_and_exclusions_are_only_themselves() -> None:
    whole = document(
        statement(action=["s3:Get*", "s3:List*"], resource=["a", "b"]),
        {"Effect": "Allow", "NotAction": ["iam:*", "sts:*"], "NotResource": "c"},
        statement("Deny"),
    )
    found = set(iam_policies.grants(whole, "Allow"))
    assert {Grant("s3:Get*", "a"), Grant("s3:List*", "b"), Grant('not ["iam:*","sts:*"]', 'not ["c"]')} <= found
    assert len(found) == 5


@pytest.fixture
def user(aws: Aws) -> Iterator[tuple[Any, str]]:
    iam, name = aws.client("iam"), f"policies-{uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    yield iam, name
    iam.close()


def test_all_that_a_user_has_is_read(user: tuple[Any, str]) -> None:
    iam, name = user
    boundary: list[str] = []

    def call(operation: str, proof: str, **inputs: Any) -> Any:
        from botocore import xform_name

        answer = getattr(iam, xform_name(operation))(**inputs)
        assert proof in answer
        if operation == "GetUser" and boundary:  # moto knows no boundary of a user; this is its form in IAM's model
            answer["User"]["PermissionsBoundary"] = {
                "PermissionsBoundaryType": "Policy",
                "PermissionsBoundaryArn": boundary[0],
            }
        return answer

    def policy(kind: str) -> tuple[str, str]:
        text = json.dumps(document(statement(action=f"s3:{kind}")))
        made = iam.create_policy(PolicyName=f"{name}-{kind}", PolicyDocument=text)["Policy"]["Arn"]
        return made, text

    attached, bound, of_group = policy("Attached")[0], policy("Bound")[0], policy("OfGroup")[0]
    iam.attach_user_policy(UserName=name, PolicyArn=attached)
    iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=json.dumps(document(statement())))
    iam.create_group(GroupName=name)
    iam.add_user_to_group(UserName=name, GroupName=name)
    iam.attach_group_policy(GroupName=name, PolicyArn=of_group)
    in_group = json.dumps(document(statement("Deny", "iam:*")))
    iam.put_group_policy(GroupName=name, PolicyName="grouped", PolicyDocument=in_group)
    unbound = iam_policies.read(partial(call), name)
    assert {grant.action for grant in unbound.grants} == {"s3:Attached", "s3:GetObject", "s3:OfGroup"}
    assert {grant.action for grant in unbound.denials} == {"iam:*"}
    assert unbound.boundary is None
    assert set(unbound.policies) == {attached, "inline", of_group, f"{name}/grouped"}

    boundary.append(bound)
    found = iam_policies.read(partial(call), name)
    assert found.boundary == frozenset({Grant("s3:Bound")})
    assert bound in found.policies

    newer = json.dumps(document(statement(action="s3:*")))
    iam.create_policy_version(PolicyArn=attached, PolicyDocument=newer, SetAsDefault=True)
    assert iam_policies.read(partial(call), name).beyond(found) == ["may s3:*"]
