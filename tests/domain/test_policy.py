"""When a credential is due: every check of the chain, and the chain itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rotator.domain.model import (
    Cause,
    Credential,
    CredentialId,
    Rotation,
    RotationId,
    RotationState,
    Situation,
    Version,
    VersionId,
    VersionState,
)
from rotator.domain.policy import CHAIN, Due, NotDue, Policy, Question, next_rotation_at, why_due

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
DAY = timedelta(days=1)
ID = CredentialId("c")


def version(number: int = 1, state: VersionState = VersionState.CURRENT) -> Version:
    return Version(
        id=VersionId(f"v{number}"),
        credential_id=ID,
        number=number,
        state=state,
        account="a",
        label="",
        created_at=NOW,
        key_id=f"k{number}",
    )


def rotation() -> Rotation:
    return Rotation(
        id=RotationId("r"),
        credential_id=ID,
        state=RotationState.CREATED,
        cause=Cause.SCHEDULE,
        account="a",
        opened_at=NOW,
        grace=DAY,
        soak=DAY,
    )


CREDENTIAL = Credential(id=ID, name="web", provider="p", managed=True, created_at=NOW)
PAUSED = replace(CREDENTIAL, paused_at=NOW - DAY, paused_by="ann", pause_reason="freeze")
QUIET = Situation(
    credential=CREDENTIAL,
    versions=(version(),),
    rotation=None,
    deliveries=(),
    retirements=(),
    placements=(),
    last_completed_at=NOW - 10 * DAY,
)
MONTHLY = Policy(rotate_every=30 * DAY)


class NineOnMondays:
    """A schedule as the configuration compiles it."""

    def next_after(self, moment: datetime) -> datetime:
        day = moment + timedelta(days=(7 - moment.weekday()) % 7)
        slot = day.replace(hour=9, minute=0, second=0, microsecond=0)
        return slot if slot > moment else slot + 7 * DAY


def ask(situation: Situation = QUIET, policy: Policy = MONTHLY, **more: Any) -> Due | NotDue:
    return why_due(Question(name="web", situation=situation, policy=policy, now=NOW, **more))


# fmt: off
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "a rotation is open": ({"situation": replace(QUIET, rotation=rotation())}, "rotating"),
    "the configuration names it no more":
        ({"situation": replace(QUIET, credential=replace(CREDENTIAL, managed=False))}, "unmanaged"),
    "a person has paused it": ({"situation": replace(QUIET, credential=PAUSED), "wanted": Cause.MANUAL}, "paused"),
    "a pause does not hold a leak":
        ({"situation": replace(QUIET, credential=PAUSED), "wanted": Cause.COMPROMISED}, "compromised"),
    "a pause that is over holds nothing":
        ({"situation": replace(QUIET, credential=replace(PAUSED, paused_until=NOW)), "wanted": Cause.MANUAL}, "manual"),
    "both slots hold keys of ours":
        ({"situation": replace(QUIET, versions=(version(1), version(2, VersionState.DISABLED))), "living": 2},
         "slot_in_retirement"),
    "a retired key takes no slot":
        ({"situation": replace(QUIET, versions=(version(1), version(2, VersionState.RETIRED))), "living": 2},
         "not_due"),
    "too many keys were made today, even for a person":
        ({"situation": replace(QUIET, creates=(NOW - timedelta(hours=1),) * 5), "wanted": Cause.MANUAL},
         "max_creates"),
    "a leak has three more creates":
        ({"situation": replace(QUIET, creates=(NOW - timedelta(hours=1),) * 5), "wanted": Cause.COMPROMISED},
         "compromised"),
    "a person asked": ({"wanted": Cause.MANUAL}, "manual"),
    "a person asked within the minimum interval":
        ({"situation": replace(QUIET, creates=(NOW,)), "wanted": Cause.MANUAL}, "manual"),
    "a destination was added": ({"unplaced": True}, "added"),
    "a destination that was left out needs no slot and no new key":
        ({"situation": replace(QUIET, versions=(version(1), version(2, VersionState.DISABLED)),
                               creates=(NOW - timedelta(hours=1),) * 5), "living": 2, "unplaced": True}, "added"),
    "a person who wants a new key does not wait for a destination that was left out":
        ({"unplaced": True, "wanted": Cause.COMPROMISED}, "compromised"),
    "a key was made a short while ago":
        ({"situation": replace(QUIET, creates=(NOW - timedelta(minutes=5),), last_completed_at=NOW - 40 * DAY)},
         "min_interval"),
    "it has no key yet": ({"situation": replace(QUIET, versions=(), last_completed_at=None)}, "first"),
    "it has no schedule": ({"policy": Policy()}, "by_hand"),
    "the period has not passed": ({}, "not_due"),
    "the period has passed": ({"situation": replace(QUIET, last_completed_at=NOW - 30 * DAY)}, "schedule"),
    "the slot has come":
        ({"policy": Policy(schedule=NineOnMondays()), "situation": replace(QUIET, last_completed_at=NOW - 3 * DAY)},
         "schedule"),
    "the slot of today is used":
        ({"policy": Policy(schedule=NineOnMondays()), "situation": replace(QUIET, last_completed_at=NOW)}, "not_due"),
    "a missed slot stays due":
        ({"policy": Policy(schedule=NineOnMondays()), "situation": replace(QUIET, last_completed_at=NOW - 20 * DAY)},
         "schedule"),
}
# fmt: on


@pytest.mark.parametrize("case", CASES)
def test_why_due(case: str) -> None:
    given, expected = CASES[case]
    decision = ask(**given)
    assert (decision.cause.value if isinstance(decision, Due) else decision.reason) == expected


def test_the_chain_asks_in_this_order() -> None:
    assert [check.__name__ for check in CHAIN] == [
        "already_open",
        "unmanaged",
        "paused",
        "destination_added",
        "slot_in_retirement",
        "too_many_creates",
        "asked_for",
        "too_soon",
        "never_rotated",
        "no_schedule",
        "slot_reached",
    ]


def test_jitter_is_the_same_for_a_name_and_stays_within_its_bounds() -> None:
    policy = Policy(rotate_every=DAY, jitter=timedelta(hours=6))
    at = {n: next_rotation_at(Question(name=n, situation=QUIET, policy=policy, now=NOW)) for n in ("a", "b", "c")}
    again = {n: next_rotation_at(Question(name=n, situation=QUIET, policy=policy, now=NOW)) for n in ("a", "b", "c")}
    assert at == again
    assert len(set(at.values())) == 3
    start = NOW - 9 * DAY
    assert all(moment is not None and start <= moment < start + timedelta(hours=6) for moment in at.values())


def test_due_does_not_depend_on_when_the_process_began() -> None:
    assert ask() == ask()
    assert isinstance(ask(situation=replace(QUIET, last_completed_at=NOW - 30 * DAY)), Due)
