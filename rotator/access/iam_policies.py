"""The policies of an IAM user, and what they come to.

Source: the reference of the IAM policy elements. Read are managed and inline policies of the user and of its groups,
and its permissions boundary; service control policies and session policies are not seen, and only take away.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rotator.domain.permissions import NOT, Grant, Permissions, outside

Call = Callable[..., Any]
"""`call(operation, proof, **inputs)`: one request about IAM, as `Access.call` makes it."""

Document = Mapping[str, Any]

NEEDED = (
    "iam:GetUser",
    "iam:ListAttachedUserPolicies",
    "iam:ListUserPolicies",
    "iam:GetUserPolicy",
    "iam:ListGroupsForUser",
    "iam:ListAttachedGroupPolicies",
    "iam:ListGroupPolicies",
    "iam:GetGroupPolicy",
    "iam:GetPolicy",
    "iam:GetPolicyVersion",
)
"""The actions that it takes to read them."""


def read(call: Call, user: str) -> Permissions:
    """What the keys of a user may do. Raises what `call` raises."""
    found = dict(_policies(call, user))
    boundary = call("GetUser", "User", UserName=user)["User"].get("PermissionsBoundary")
    bound = None if boundary is None else _managed(call, boundary["PermissionsBoundaryArn"])
    if boundary is not None and bound is not None:
        named = {**found, boundary["PermissionsBoundaryArn"]: bound}
    else:
        named = found
    return Permissions(
        grants=frozenset(grant for document in found.values() for grant in grants(document, "Allow")),
        denials=frozenset(grant for document in named.values() for grant in grants(document, "Deny")),
        boundary=None if bound is None else frozenset(grants(bound, "Allow")),
        networks=networks([*found.values(), *([bound] if bound is not None else [])]),
        policies=tuple(named),
        documents=tuple(canonical(document) for document in named.values()),
    )


def canonical(document: object) -> str:
    """A document as text that is the same for all spellings of it that JSON has."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def grants(document: Document, effect: str) -> Iterator[Grant]:
    """Each action of each statement with this effect, on each of its resources."""
    for statement in _statements(document):
        if statement.get("Effect") != effect:
            continue
        condition = canonical(statement["Condition"]) if statement.get("Condition") else ""
        for action in _either(statement, "Action"):
            for resource in _either(statement, "Resource"):
                yield Grant(action, resource, condition)


def networks(documents: Sequence[Document]) -> tuple[str, ...] | None:
    """From where keys work at all: by a statement that denies everything from elsewhere, or by each one that allows.

    None: from anywhere. Where several statements deny, the first that all the others contain.
    """
    denying = [
        from_there
        for document in documents
        for statement in _statements(document)
        if (from_there := _denied_from_elsewhere(statement)) is not None
    ]
    if denying:
        return next((d for d in denying if not any(outside(d, other) for other in denying)), denying[0])
    allowing = [s for document in documents for s in _statements(document) if s.get("Effect") == "Allow"]
    bounds = [_listed(statement.get("Condition", {}), "IpAddress") for statement in allowing]
    if not bounds or None in bounds:
        return None
    return tuple(sorted({network for bound in bounds for network in bound or ()}))


def _denied_from_elsewhere(statement: Document) -> tuple[str, ...] | None:
    """The networks outside of which a statement denies all. Exempt may be what AWS does on the user's behalf."""
    if statement.get("Effect") != "Deny" or _list(statement.get("Action")) != ["*"]:
        return None
    condition = dict(statement.get("Condition", {}))
    if _list(statement.get("Resource")) != ["*"] or not condition.keys() <= {"NotIpAddress", "Bool"}:
        return None
    if {key.lower() for key in condition.get("Bool", {})} - {"aws:viaawsservice"}:
        return None
    return _listed(condition, "NotIpAddress")


def _listed(condition: Document, operator: str) -> tuple[str, ...] | None:
    named = {key.lower(): value for key, value in condition.get(operator, {}).items()}
    return tuple(_list(named["aws:sourceip"])) if named.keys() == {"aws:sourceip"} else None


def _policies(call: Call, user: str) -> Iterator[tuple[str, Document]]:
    """Name or ARN → document, of all that the user has, itself and by its groups."""
    for policy in _pages(call, "ListAttachedUserPolicies", "AttachedPolicies", UserName=user):
        yield policy["PolicyArn"], _managed(call, policy["PolicyArn"])
    for name in _pages(call, "ListUserPolicies", "PolicyNames", UserName=user):
        answer = call("GetUserPolicy", "PolicyDocument", UserName=user, PolicyName=name)
        yield name, answer["PolicyDocument"]
    for group in _pages(call, "ListGroupsForUser", "Groups", UserName=user):
        of = group["GroupName"]
        for policy in _pages(call, "ListAttachedGroupPolicies", "AttachedPolicies", GroupName=of):
            yield policy["PolicyArn"], _managed(call, policy["PolicyArn"])
        for name in _pages(call, "ListGroupPolicies", "PolicyNames", GroupName=of):
            answer = call("GetGroupPolicy", "PolicyDocument", GroupName=of, PolicyName=name)
            yield f"{of}/{name}", answer["PolicyDocument"]


def _managed(call: Call, arn: str) -> Document:
    version = call("GetPolicy", "Policy", PolicyArn=arn)["Policy"]["DefaultVersionId"]
    found: Document = call("GetPolicyVersion", "PolicyVersion", PolicyArn=arn, VersionId=version)["PolicyVersion"][
        "Document"
    ]
    return found


def _pages(call: Call, operation: str, key: str, **inputs: Any) -> Iterator[Any]:
    page: dict[str, Any] = {}
    while True:
        answer = call(operation, key, **inputs, **page)
        yield from answer[key]
        if not answer.get("IsTruncated"):
            return
        page = {"Marker": answer["Marker"]}


def _statements(document: Document) -> list[Document]:
    return _list(document.get("Statement"))


def _either(statement: Document, element: str) -> list[str]:
    """The patterns of `Action` or `Resource`, or all of `NotAction` or `NotResource` as one that is only itself."""
    if f"Not{element}" in statement:
        return [NOT + canonical(sorted(_list(statement[f"Not{element}"])))]
    return [str(pattern) for pattern in _list(statement.get(element, "*"))]


def _list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
