"""deploy/policies/kubernetes.yaml, evaluated over what was really asked. No API server is there to enforce it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rotator.testbed.listener import Request
from tests.consumers.test_deployment import Cluster, Connected, cluster

DOCUMENTS = list(
    yaml.safe_load_all((Path(__file__).parents[2] / "deploy" / "policies" / "kubernetes.yaml").read_text())
)
ROLE = next(d for d in DOCUMENTS if d["kind"] == "Role")

__all__ = ["cluster"]


def allowed(request: Request, rules: list[dict[str, Any]], namespace: str) -> bool:
    """Whether RBAC rules of a namespace allow it: group, resource, verb, and the name where the rule has names."""
    parts = request.path.strip("/").removeprefix("v1/").split("/")
    group, rest = (parts[1], parts[3:]) if parts[0] == "apis" else ("", parts[2:])
    assert rest[0] == "namespaces"
    of, resource, name = rest[1], rest[2], rest[3] if len(rest) > 3 else None
    verb = {"GET": "list" if name is None else "get"}[request.method]
    return of == namespace and any(
        group in rule["apiGroups"]
        and resource in rule["resources"]
        and verb in rule["verbs"]
        and (name in rule["resourceNames"] if "resourceNames" in rule else True)
        for rule in rules
    )


@pytest.fixture
def asked(cluster: Cluster, tmp_path: Path) -> list[Request]:
    consumer = Connected(cluster, tmp_path)
    consumer.processes()
    consumer.close()
    return cluster.asked


def test_the_role_allows_all_that_is_asked(asked: list[Request]) -> None:
    assert asked
    assert all(allowed(request, ROLE["rules"], ROLE["metadata"]["namespace"]) for request in asked)


@pytest.mark.parametrize("number", range(len(ROLE["rules"])))
def test_without_a_rule_something_is_refused(asked: list[Request], number: int) -> None:
    left = [rule for at, rule in enumerate(ROLE["rules"]) if at != number]
    assert not all(allowed(request, left, "shop") for request in asked)


def test_each_rule_is_one_verb_on_one_resource_and_no_secret() -> None:
    for rule in ROLE["rules"]:
        assert len(rule["verbs"]) == len(rule["resources"]) == len(rule["apiGroups"]) == 1
        assert rule["resources"] != ["secrets"]


def test_the_service_itself_has_no_token_of_the_cluster() -> None:
    account = next(d for d in DOCUMENTS if d["kind"] == "ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    binding = next(d for d in DOCUMENTS if d["kind"] == "RoleBinding")
    assert binding["subjects"] == [{"kind": "ServiceAccount", **account["metadata"]}]
    assert binding["roleRef"]["name"] == ROLE["metadata"]["name"]
