"""deploy/terraform gives what deploy/policies says, since it reads those files; here, what it puts into them.

What the real terraform makes of these expressions was looked at by hand: its providers cannot be had without their
registry.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"
AWS = (DEPLOY / "terraform" / "aws" / "main.tf").read_text(encoding="utf-8")
VAULT = (DEPLOY / "terraform" / "vault" / "main.tf").read_text(encoding="utf-8")


def test_every_policy_of_aws_is_read_from_its_file_and_no_other_is_given() -> None:
    wanted = re.search(r"for name, wanted in \{\n(.*?)\n\s*\} : name => file\((.*?)\)", AWS, re.DOTALL)
    assert wanted is not None
    names = set(re.findall(r"^\s*([\w-]+)\s*=", wanted[1], re.MULTILINE))
    assert {f"{name}.json" for name in names} == {path.name for path in (DEPLOY / "policies").glob("*.json")}
    assert wanted[2] == '"${path.module}/../../policies/${name}.json"'
    assert re.findall(r"^\s*policy\s*=\s*(.*)$", AWS, re.MULTILINE) == ["each.value"]
    assert "Action" not in AWS


def test_whatever_it_replaces_stands_in_a_policy_and_nothing_of_the_example_is_left() -> None:
    olds = re.findall(r'"(:[^"$]+)", "', AWS)
    assert len(olds) == 4
    texts = [path.read_text(encoding="utf-8") for path in (DEPLOY / "policies").glob("*.json")]
    for old in olds:
        assert any(old in text for text in texts), old
    for text in texts:
        for old in olds:
            text = text.replace(old, ":X:")  # noqa: PLW2901 - as terraform does, one after the other
        json.loads(text)
        assert not re.search(r"123456789012|us-east-1|rotated/|:ci/", text)


def test_the_policy_of_vault_is_read_from_its_file() -> None:
    policy = (DEPLOY / "policies" / "vault.hcl").read_text(encoding="utf-8")
    assert 'file("${path.module}/../../policies/vault.hcl")' in VAULT
    assert "capabilities" not in VAULT
    paths = re.findall(r'path "([^"]+)"', policy)
    assert all("web/openai" in path and path.startswith("secret/") for path in paths)  # what it puts others in for
    assert '"web/openai"' in VAULT
    assert '"\\"secret/"' in VAULT


def test_the_role_is_for_one_service_account_alone() -> None:
    assert '["system:serviceaccount:${var.namespace}:keyturn"]' in AWS
    assert re.search(r'bound_service_account_names\s*= \["keyturn"\]', VAULT)
    assert re.search(r'audience\s*= "vault"', VAULT)
