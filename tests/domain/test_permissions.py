"""What is more than before: sets of grants with patterns, denials, boundaries and networks."""

from __future__ import annotations

import pytest

from rotator.domain.permissions import Grant, Permissions, outside


def able(*grants: Grant, **others: object) -> Permissions:
    return Permissions(grants=frozenset(grants), **others)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (Grant("*"), Grant("api.responses.write")),
        (Grant("s3:*"), Grant("s3:Get*")),
        (Grant("S3:get*"), Grant("s3:GetObject")),
        (Grant("s3:GetObject", "arn:aws:s3:::a/*"), Grant("s3:GetObject", "arn:aws:s3:::a/b/*")),
        (Grant("s3:GetObject"), Grant("s3:GetObject", "*", '{"Bool":{"aws:SecureTransport":"true"}}')),
        (Grant("s3:Get?bject"), Grant("s3:GetObject")),
        (Grant("*"), Grant('not ["iam:*"]')),
    ],
)
def test_more_is_told_and_less_is_not(wide: Grant, narrow: Grant) -> None:
    assert able(narrow).beyond(able(wide)) == []
    assert able(wide).beyond(able(narrow)) == [f"may {wide}"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Grant("s3:?et"), Grant("s3:*et")),  # one character is not any text
        (Grant("s3:Get", "*", "a"), Grant("s3:Get", "*", "b")),
        (Grant('not ["iam:*"]'), Grant("s3:Get")),  # it does cover that, which is not looked into
        (Grant("s3:Get", "arn:A"), Grant("s3:Get", "arn:a")),  # resources have a case
    ],
)
def test_what_cannot_be_told_to_be_covered_is_more(one: Grant, other: Grant) -> None:
    assert able(other).beyond(able(one)) == [f"may {other}"]


def test_a_denial_that_is_gone_is_more_and_a_new_one_is_not() -> None:
    old, new = able(denials=frozenset({Grant("iam:*")})), able()
    assert new.beyond(old) == ["is no longer denied iam:*"]
    assert old.beyond(new) == []


def test_a_boundary_that_is_gone_or_wider_is_more() -> None:
    none, narrow, wide = able(), able(boundary=frozenset({Grant("s3:*")})), able(boundary=frozenset({Grant("*")}))
    assert none.beyond(narrow) == ["has no permissions boundary any more"]
    assert wide.beyond(narrow) == ["is no longer kept from *"]
    assert narrow.beyond(none) == narrow.beyond(wide) == []


@pytest.mark.parametrize(
    ("found", "allowed", "expected"),
    [
        (["203.0.113.0/25"], ["203.0.113.0/24"], []),
        (["203.0.113.0/24"], ["203.0.113.0/25"], ["203.0.113.0/24"]),
        (["203.0.113.9"], ["203.0.113.0/24", "2001:db8::/32"], []),
        (["2001:db8::1"], ["203.0.113.0/24"], ["2001:db8::1"]),
        (None, ["203.0.113.0/24"], ["anywhere"]),
        (["0.0.0.0/0"], None, []),
    ],
)
def test_networks(found: list[str] | None, allowed: list[str] | None, expected: list[str]) -> None:
    assert outside(found, allowed) == expected


def test_the_record_reads_back() -> None:
    whole = able(
        Grant("a", "b", "c"),
        denials=frozenset({Grant("d")}),
        boundary=frozenset({Grant("e")}),
        networks=("203.0.113.0/24",),
        policies=("p", "q"),
    )
    assert Permissions.read(whole.text) == whole
    assert Permissions.read(able().text) == able()
