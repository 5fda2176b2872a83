"""deploy/policies/*.json: with exactly them everything works, and without any part of them something named fails.

moto enforces the actions and looks at no resource, so resources are checked by evaluating the files over the calls that
were really sent.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import pytest

from rotator.access.iam_policies import grants
from rotator.destinations.aws_secrets_manager import AwsSecretsManager
from rotator.domain.errors import AccessDenied
from rotator.domain.permissions import Grant
from rotator.domain.secret import Secret
from rotator.ports.provider import Key
from rotator.providers.aws_iam import AwsIam, IamOptions, IamUser
from rotator.testbed.aws import Aws
from rotator.testbed.gate import Gate, Request

FOLDER = Path(__file__).parents[2] / "deploy" / "policies"
FILES = ("iam-rotate-keys.json", "iam-read-policies.json", "secrets-manager.json")
ASKED_BY_ALL = ("sts:GetCallerIdentity",)  # AWS allows it to everybody; moto wants it granted
_number = itertools.count()


def grants_of(*files: str) -> list[Grant]:
    return sorted({grant for name in files for grant in grants(json.loads((FOLDER / name).read_text()), "Allow")})


def actions(*files: str) -> list[str]:
    return sorted({grant.action for grant in grants_of(*files)})


class Rotator:
    """Our own user, with these actions and nothing else, at a gate that keeps what was sent."""

    def __init__(self, aws: Aws, gate: Gate, folder: Path, allow: Sequence[str]) -> None:
        self.aws = aws
        self.gate = gate
        self.folder = folder
        self.key = aws.user(f"keyturn-{uuid4().hex[:8]}", allow=[*allow, *ASKED_BY_ALL])
        (folder / "id").write_text(self.key.access_key_id)
        (folder / "secret").write_text(self.key.secret_access_key)
        self.values = {
            "access_key_id": "file:id",
            "secret_access_key": "file:secret",
            "endpoint_url": gate.url,
            "account": aws.account,
            "region": aws.region,
        }

    def settings(self, model: Any) -> Any:
        return model.model_validate(self.values, context={"folder": self.folder})


# What is done at IAM.


def keys_of_a_user(rotator: Rotator) -> tuple[AwsIam, IamUser, str, Any]:
    name, iam = f"least-{uuid4().hex[:8]}", rotator.aws.client("iam")
    iam.create_user(UserName=name, Path="/rotated/")
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    made = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
    iam.create_group(GroupName=name)
    iam.add_user_to_group(UserName=name, GroupName=name)
    iam.attach_user_policy(UserName=name, PolicyArn=made)
    iam.attach_group_policy(GroupName=name, PolicyArn=made)
    iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=document)
    iam.put_group_policy(GroupName=name, PolicyName="inline", PolicyDocument=document)
    account = AwsIam(rotator.settings(AwsIam.Settings), timedelta(seconds=20))
    return account, account.bind(IamOptions(user=name)), name, iam


def at_iam(rotator: Rotator) -> set[str]:
    """The steps of a key's life that are refused."""
    account, user, name, iam = keys_of_a_user(rotator)
    made = iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]
    steps: dict[str, Callable[[], object]] = {
        "list": user.keys,
        "evidence of use": lambda: user.with_use(Key(id=made, label=None, created_at=None)),
        "create": lambda: user.create("label"),
        "disable": lambda: user.disable(made),
        "enable": lambda: user.enable(made),
        "delete": lambda: user.delete(made),
        "what keys may do": user.permissions,
    }
    found = refused(steps)
    account.close()
    iam.close()
    return found


# What is done at Secrets Manager.


def at_secrets_manager(rotator: Rotator) -> set[str]:
    manager = rotator.aws.client("secretsmanager")
    server = AwsSecretsManager("sm", rotator.settings(AwsSecretsManager.Settings), timedelta(seconds=20))
    there, absent = (server.at(f"ci/{next(_number)}-{uuid4().hex[:6]}") for _ in range(2))
    path = there.address.partition(":")[2]
    manager.create_secret(Name=path, SecretString=json.dumps({"KEY": "first"}))
    shadow = there.shadow("0a1b2c3d")
    first = str(uuid4())
    steps: dict[str, Callable[[], object]] = {
        "read": there.read,
        "write": lambda: there.write({"KEY": Secret("second")}, revision(manager, path), first),
        "write one that is not there": lambda: absent.write({"KEY": Secret("x")}, "absent", str(uuid4())),
        "rehearse": lambda: rehearse(shadow),
    }
    found = refused(steps)
    server.close()
    manager.close()
    return found


def rehearse(shadow: Any) -> None:
    shadow.write({"KEY": Secret("x")}, "absent", str(uuid4()))
    shadow.remove()


def revision(manager: Any, path: str) -> str:
    stages: dict[str, list[str]] = manager.describe_secret(SecretId=path)["VersionIdsToStages"]
    return next(version for version, names in stages.items() if "AWSCURRENT" in names)


def refused(steps: dict[str, Callable[[], object]]) -> set[str]:
    found = set()
    for name, step in steps.items():
        try:
            step()
        except AccessDenied:
            found.add(name)
    return found


# What is expected.

IAM_FILES, SM_FILE = FILES[:2], FILES[2]

EXPECTED = {
    "iam:ListAccessKeys": {"list"},
    "iam:GetAccessKeyLastUsed": {"evidence of use"},
    "iam:CreateAccessKey": {"create"},
    "iam:UpdateAccessKey": {"disable", "enable"},
    "iam:DeleteAccessKey": {"delete"},
    **{action: {"what keys may do"} for action in actions("iam-read-policies.json")},
    "secretsmanager:DescribeSecret": {"read", "write", "write one that is not there", "rehearse"},
    "secretsmanager:GetSecretValue": {"read", "write"},
    "secretsmanager:PutSecretValue": {"write"},
    "secretsmanager:UpdateSecretVersionStage": {"write"},
    "secretsmanager:CreateSecret": {"write one that is not there", "rehearse"},
    "secretsmanager:DeleteSecret": {"rehearse"},
}


def test_every_action_has_its_use() -> None:
    assert set(EXPECTED) == set(actions(*FILES))


def done_with(aws: Aws, gate: Gate, folder: Path, allow: Sequence[str]) -> set[str]:
    rotator = Rotator(aws, gate, folder, allow)
    at = at_secrets_manager if allow and allow[0].startswith("secretsmanager:") else at_iam
    return at(rotator)


@pytest.mark.parametrize("files", [IAM_FILES, (SM_FILE,)], ids=["iam", "secrets-manager"])
def test_with_exactly_them_everything_works_and_all_calls_are_on_named_resources(
    aws: Aws, gate_to: Callable[[str], Gate], tmp_path: Path, files: tuple[str, ...]
) -> None:
    gate = gate_to(aws.url)
    assert done_with(aws, gate, tmp_path, actions(*files)) == set()
    sent = {call for request in gate.requests for call in calls(request)}
    granted = grants_of(*files)
    assert {action for action, _ in sent} == set(actions(*files))
    for action, resource in sent:
        assert any(grant.covers(Grant(action, resource)) for grant in granted), (action, resource)
    for grant in granted:
        if grant.resource != "arn:aws:iam::aws:policy/*":  # those of AWS, which no user here has
            assert any(grant.covers(Grant(action, resource)) for action, resource in sent), grant


@pytest.mark.parametrize("action", EXPECTED)
def test_without_an_action_something_named_fails(
    aws: Aws, gate_to: Callable[[str], Gate], tmp_path: Path, action: str
) -> None:
    files = (SM_FILE,) if action.startswith("secretsmanager:") else IAM_FILES
    left = [one for one in actions(*files) if one != action]
    found = done_with(aws, gate_to(aws.url), tmp_path, left)
    assert found >= EXPECTED[action]
    if "what keys may do" in EXPECTED[action]:
        assert found == EXPECTED[action]


def calls(request: Request) -> Iterator[tuple[str, str]]:
    """Action and resource of a request, as AWS's service authorization reference says what each is checked on."""
    target = request.headers.get("x-amz-target", "")
    if target.startswith("secretsmanager."):
        body = json.loads(request.body)
        name = body.get("SecretId") or body["Name"]
        arn = f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-AbCdEf"
        yield f"secretsmanager:{target.partition('.')[2]}", arn
        return
    query = {key: values[0] for key, values in parse_qs(request.body.decode()).items()}
    action = query.get("Action", "")
    iam = "arn:aws:iam::123456789012"
    if action == "GetCallerIdentity":
        return
    if "PolicyArn" in query:
        yield f"iam:{action}", query["PolicyArn"]
    elif "GroupName" in query:
        yield f"iam:{action}", f"{iam}:group/{query['GroupName']}"
    elif "UserName" in query:
        yield f"iam:{action}", f"{iam}:user/rotated/{query['UserName']}"
    else:
        assert action == "GetAccessKeyLastUsed"  # of the user whose key it is
        yield f"iam:{action}", f"{iam}:user/rotated/whose-key-it-is"
