"""What is done without a person, and how often at most."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.domain.model import CredentialId, Request, RequestId, RequestState
from rotator.domain.reactions import LEAK, Caps, Reaction, verb_of, wanted

NOW = datetime(2026, 11, 26, 9, tzinfo=UTC)


def leak(credential: str = "web", ago: timedelta = timedelta(0), check: str = "leak") -> Request:
    return Request(
        id=RequestId("r"),
        credential_id=CredentialId(credential),
        state=RequestState.STANDING,
        verb="rotate",
        arguments={},
        actor=f"reaction:{check}",
        asked_at=NOW - ago,
    )


def test_what_is_not_said_is_notified() -> None:
    assert wanted({}, LEAK) is Reaction.NOTIFY
    assert wanted({LEAK: Reaction.REVOKE}, LEAK) is Reaction.REVOKE


@pytest.mark.parametrize(
    ("reaction", "verb"),
    [
        (Reaction.IGNORE, None),
        (Reaction.NOTIFY, None),
        (Reaction.ROTATE, ("rotate", {"cause": "manual"})),
        (Reaction.COMPROMISED, ("rotate", {"cause": "compromised", "key": "key_1"})),
        (Reaction.REVOKE, ("revoke", {"key": "key_1"})),
    ],
)
def test_each_reaction_is_a_verb(reaction: Reaction, verb: object) -> None:
    assert verb_of(reaction, "key_1") == verb


def test_a_credential_cools_down_by_check() -> None:
    caps, before = Caps(), leak(ago=timedelta(minutes=59))
    assert caps.why_held(leak(), [before])
    assert caps.why_held(leak("mail"), [before]) is None
    assert caps.why_held(leak(check="rate"), [before]) is None
    assert caps.why_held(leak(), [replace(before, asked_at=NOW - timedelta(hours=1))]) is None


def test_the_fleet_has_a_cap_per_hour() -> None:
    others = [leak(str(number), timedelta(minutes=number)) for number in range(3)]
    assert Caps().why_held(leak(), others[:2]) is None
    assert "3 reactions" in str(Caps().why_held(leak(), others))
    assert Caps(per_hour=0).why_held(leak(), [])
    assert Caps(cool_down=timedelta(hours=5)).looks_back == timedelta(hours=5)
