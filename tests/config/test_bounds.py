"""`allowed_ips` and `expect_policies`: what keys may do at most."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from rotator.engine.work import Bounds
from tests.config.sample import BASE, load_text, problems_with

OPENAI = "provider: openai\n    options: {project: p, service_account: s}"
AWS = "provider: aws\n    options: {user: ci}"
LOCAL = "provider: local"


def text(provider: str, bounds: str) -> str:
    secret = "secret_access_key" if "aws" in provider else "secret"
    return f"""{BASE}
credentials:
  key:
    {provider}
    {bounds}
    destinations: [{{to: vault, path: web/key, fields: {{KEY: "{{{secret}}}"}}}}]
"""


def test_they_are_read(tmp_path: Path) -> None:
    at_openai = "allowed_ips: [203.0.113.0/24, 2001:db8::1]\n    allowed_ips_confirmed: 2026-11-01"
    found = load_text(tmp_path, text(OPENAI, at_openai)).credentials["key"].bounds
    assert found == Bounds(networks=("203.0.113.0/24", "2001:db8::1/128"), confirmed=date(2026, 11, 1))
    document = "{Version: '2012-10-17', Statement: []}"
    in_iam = f"expect_policies: [arn:aws:iam::aws:policy/ReadOnlyAccess, inline, {document}]"
    found = load_text(tmp_path, text(AWS, in_iam)).credentials["key"].bounds
    assert found.policies == (
        "arn:aws:iam::aws:policy/ReadOnlyAccess",
        "inline",
        {"Version": "2012-10-17", "Statement": []},
    )


@pytest.mark.parametrize(
    ("provider", "bounds", "place", "message"),
    [
        (OPENAI, "expect_policies: [x]", "expect_policies", "the provider does not tell policies: take it out"),
        (LOCAL, "expect_policies: [x]", "expect_policies", "the provider does not tell policies: take it out"),
        (
            LOCAL,
            "allowed_ips: [203.0.113.0/24]",
            "allowed_ips",
            "the provider neither limits nor tells from where keys are used: take it out",
        ),
        (
            AWS,
            "allowed_ips: [203.0.113.0/24]\n    allowed_ips_confirmed: 2026-11-01",
            "allowed_ips_confirmed",
            "is for `allowed_ips` that only a person can see at the provider's console: take it out",
        ),
        (
            OPENAI,
            f"allowed_ips: [{', '.join(f'203.0.113.{n}' for n in range(51))}]",
            "allowed_ips",
            "the provider's list holds at most 50",
        ),
        (
            OPENAI,
            "allowed_ips: [203.0.113.0/24]\n    allowed_ips_confirmed: yesterday",
            "allowed_ips_confirmed",
            "is no day: write one such as 2026-11-01",
        ),
        (
            AWS,
            "allowed_ips: [203.0.113.7/24]",
            "allowed_ips[0]",
            "is no network: write one such as 203.0.113.0/24, or one address",
        ),
    ],
)
def test_what_nobody_can_compare_is_no_bound(
    tmp_path: Path, provider: str, bounds: str, place: str, message: str
) -> None:
    (problem,) = problems_with(tmp_path, text(provider, bounds))
    assert (problem.place, problem.message) == (f"credentials.key.{place}", message)


def test_all_that_is_wrong_with_them_is_told_at_once(tmp_path: Path) -> None:
    found = problems_with(tmp_path, text(OPENAI, "allowed_ips: [here]\n    expect_policies: [x]"))
    assert [problem.place for problem in found] == ["credentials.key.allowed_ips[0]", "credentials.key.expect_policies"]
