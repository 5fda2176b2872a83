"""When a credential is due: every check of the chain, and the chain itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rotator.domain.hours import Hours, read_span
from rotator.domain.model import (
    Cause,
    Credential,
    CredentialId,
    Retirement,
    RetirementId,
    RetirementReason,
    RetirementState,
    Rotation,
    RotationId,
    RotationState,
    Situation,
    Version,
    VersionId,
    VersionState,
)
from rotator.domain.policy import (
    CHAIN,
    Due,
    NotDue,
    Policy,
    Question,
    deadline,
    deciding,
    next_rotation_at,
    why_due,
)

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


def waiting(reason: str) -> Retirement:
    return Retirement(
        id=RetirementId("t"),
        credential_id=ID,
        version_id=VersionId("v2"),
        state=RetirementState.DISABLED,
        why=RetirementReason.SUPERSEDED,
        opened_at=NOW,
        grace=DAY,
        soak=DAY,
        reason=reason,
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
FULL = replace(QUIET, versions=(version(1), version(2, VersionState.DISABLED)), retirements=(waiting("soak"),))
MONTHLY = Policy(rotate_every=30 * DAY)


class NineOnMondays:
    """A schedule as the configuration compiles it."""

    def next_after(self, moment: datetime) -> datetime:
        day = moment + timedelta(days=(7 - moment.weekday()) % 7)
        slot = day.replace(hour=9, minute=0, second=0, microsecond=0)
        return slot if slot > moment else slot + 7 * DAY


def ask(situation: Situation = QUIET, policy: Policy = MONTHLY, **more: Any) -> Due | NotDue:
    return why_due(Question(name="web", situation=situation, policy=policy, now=NOW, **more))


def question(given: dict[str, Any]) -> Question:
    """The question of one of `CASES`."""
    more: dict[str, Any] = {"situation": QUIET, "policy": MONTHLY} | given
    return Question(name="web", now=NOW, **more)


def aged(days: float, **given: Any) -> Situation:
    """The current key is so old, and so is the last rotation."""
    made = NOW - days * DAY
    return replace(
        QUIET, versions=(replace(version(), created_at=made, issued_at=made, **given),), last_completed_at=made
    )


def within(*windows: str, blackouts: tuple[str, ...] = (), **more: Any) -> Policy:
    """NOW is a Monday at nine."""
    hours = Hours(tuple(map(read_span, windows)), tuple(map(read_span, blackouts)))
    return Policy(hours=hours, **more)


QUARTERLY: dict[str, Any] = {"rotate_every": 30 * DAY, "max_age": 40 * DAY}  # start: 40d - 1d grace - 2d for retries

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
    "a slot that an old key frees":
        ({"situation": FULL, "living": 2, "wanted": Cause.MANUAL}, "slot_in_retirement"),
    "a slot that an old key frees only when there is another key is not waited for":
        ({"situation": replace(FULL, retirements=(waiting("current_refused"),)), "living": 2, "wanted": Cause.MANUAL},
         "manual"),
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
    "a key was made two days ago, and three are to lie between":
        ({"policy": Policy(rotate_every=30 * DAY, min_interval=3 * DAY),
          "situation": replace(QUIET, versions=(replace(version(), sent_at=NOW - 2 * DAY),),
                               last_completed_at=NOW - 40 * DAY)}, "min_interval"),
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
    "its window is open":
        ({"policy": within("MON 08:00-10:00", rotate_every=30 * DAY), "situation": aged(31)}, "schedule"),
    "its window is not open": ({"policy": within("SUN", rotate_every=30 * DAY), "situation": aged(31)}, "window"),
    "a blackout lasts, though a window is open":
        ({"policy": within("MON", blackouts=("2026-11-20/2026-11-30",), rotate_every=30 * DAY), "situation": aged(31)},
         "blackout"),
    "its slot has just come, and is moved to where a window opens":
        ({"policy": within("TUE", rotate_every=30 * DAY), "situation": aged(30)}, "window"),
    "its window is not open, but it is not due either":
        ({"policy": within("TUE", rotate_every=30 * DAY), "situation": aged(29)}, "not_due"),
    "a person does not wait for a window": ({"policy": within("SUN", **QUARTERLY), "wanted": Cause.MANUAL}, "manual"),
    "a leak does not wait for a blackout":
        ({"policy": within(blackouts=("MON",)), "wanted": Cause.COMPROMISED}, "compromised"),
    "a first key does not wait for a window":
        ({"policy": within("SUN"), "situation": replace(QUIET, versions=(), last_completed_at=None)}, "first"),
    "a destination that was added does not wait for a window": ({"policy": within("SUN"), "unplaced": True}, "added"),
    "max_age is near and the window is not open":
        ({"policy": within("SUN", **QUARTERLY), "situation": aged(37)}, "schedule"),
    "max_age is near and a blackout lasts":
        ({"policy": within(blackouts=("2026-11-01/2026-12-30",), **QUARTERLY), "situation": aged(37)}, "schedule"),
    "max_age is not near yet": ({"policy": within("SUN", **QUARTERLY), "situation": aged(36.9)}, "window"),
    "max_age alone makes it due": ({"policy": Policy(max_age=40 * DAY), "situation": aged(37)}, "schedule"),
    "max_age alone, and it is young": ({"policy": Policy(max_age=40 * DAY), "situation": aged(36.9)}, "not_due"),
    "the soak counts where the provider cannot disable":
        ({"policy": Policy(max_age=40 * DAY), "situation": aged(36), "can_disable": False}, "schedule"),
    "the settle time counts":
        ({"policy": Policy(max_age=40 * DAY), "situation": aged(36.5), "settle": DAY / 2}, "schedule"),
    "the provider ends the key before the period is over":
        ({"situation": aged(10, expires_at=NOW + DAY * 1.5)}, "schedule"),
    "the provider ends the key long after the period":
        ({"situation": aged(10, expires_at=NOW + 90 * DAY)}, "not_due"),
    "the provider's own end makes it due without a schedule":
        ({"policy": Policy(), "situation": aged(10, expires_at=NOW + DAY * 1.5)}, "schedule"),
    "a reactivated key reaches max_age":
        ({"policy": Policy(max_age=40 * DAY), "situation": replace(QUIET, versions=(
            replace(version(1, VersionState.PREVIOUS), issued_at=NOW - 37 * DAY), version(2)))}, "schedule"),
    "a pause holds though max_age is near":
        ({"policy": Policy(max_age=40 * DAY), "situation": replace(aged(39), credential=PAUSED)}, "paused"),
}
# fmt: on


@pytest.mark.parametrize("case", CASES)
def test_why_due(case: str) -> None:
    given, expected = CASES[case]
    decision = ask(**given)
    assert (decision.cause.value if isinstance(decision, Due) else decision.reason) == expected


@pytest.mark.parametrize("case", CASES)
def test_the_check_that_decides_is_named(case: str) -> None:
    asked = question(CASES[case][0])
    name, decision = deciding(asked)
    before = [check for check in CHAIN[: [check.__name__ for check in CHAIN].index(name)] if check(asked) is not None]
    assert before == []
    assert decision == why_due(asked) == next(check for check in CHAIN if check.__name__ == name)(asked)


def test_every_check_of_the_chain_decides_in_one_of_these_cases() -> None:
    decided = {deciding(question(given))[0] for given, _ in CASES.values()}
    assert decided == {check.__name__ for check in CHAIN}


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
        "outside_hours",
        "slot_to_come",
        "slot_reached",
    ]


def test_hours_are_broken_only_where_a_deadline_is_near_and_the_decision_says_so() -> None:
    sundays = within("SUN", **QUARTERLY)
    broken = ask(aged(37), sundays)
    assert isinstance(broken, Due)
    assert broken.breaks == "window"
    assert broken.message == "version 1 reaches its max_age at 2026-11-26 09:00 UTC, and no window is open"
    kept = ask(aged(37), within("MON", **QUARTERLY))
    assert isinstance(kept, Due)
    assert kept.breaks is None


def test_what_waits_for_a_window_says_when_it_begins() -> None:
    waits = ask(aged(31), within("SUN", rotate_every=30 * DAY))
    assert isinstance(waits, NotDue)
    assert waits.until == datetime(2026, 11, 29, tzinfo=UTC)
    deadline = ask(aged(36), within("SUN", **QUARTERLY))
    assert isinstance(deadline, NotDue)
    assert deadline.until == NOW + DAY  # the window comes too late


# fmt: off
PLANS: dict[str, tuple[Policy, Situation, str | None]] = {
    "the period": (MONTHLY, aged(10), "2026-12-13 09:00"),
    "the period, moved to where a window opens":
        (within("TUE 04:00-05:00", rotate_every=30 * DAY), aged(10), "2026-12-15 04:00"),
    "the period, moved past a blackout":
        (within(blackouts=("2026-12-10/2026-12-20",), rotate_every=30 * DAY), aged(10), "2026-12-21 00:00"),
    "the period, and no window opens before max_age":
        (within("WED", rotate_every=30 * DAY, max_age=34 * DAY), aged(10), "2026-12-09 00:00"),
    "max_age": (Policy(max_age=40 * DAY), aged(10), "2026-12-20 09:00"),
    "max_age, in the last window before it":
        (within("TUE 04:00-05:00", max_age=40 * DAY), aged(10), "2026-12-15 04:00"),
    "max_age in a blackout: the day before it":
        (within(blackouts=("2026-12-18/2027-01-03",), max_age=40 * DAY), aged(10), "2026-12-17 00:00"),
    "max_age in a blackout that is longer than half of the key's time":
        (within(blackouts=("2026-11-20/2027-01-03",), max_age=40 * DAY), aged(10), "2026-12-20 09:00"),
    "nothing": (Policy(), aged(10), None),
}
# fmt: on


@pytest.mark.parametrize("case", PLANS)
def test_the_next_rotation_is_planned(case: str) -> None:
    policy, situation, expected = PLANS[case]
    planned = next_rotation_at(Question(name="web", situation=situation, policy=policy, now=NOW))
    assert (f"{planned:%Y-%m-%d %H:%M}" if planned else None) == expected


TEN_YEARS = 3652 * DAY


@pytest.mark.parametrize("by", [TEN_YEARS, -TEN_YEARS])
@pytest.mark.parametrize("case", CASES)
def test_a_clock_that_jumps_ten_years_never_breaks_the_chain(case: str, by: timedelta) -> None:
    given: dict[str, Any] = {"situation": QUIET, "policy": MONTHLY} | CASES[case][0]
    asked = Question(name="web", now=NOW + by, **given)
    decision = why_due(asked)
    assert decision == why_due(asked)
    if isinstance(decision, NotDue) and decision.reason in ("max_creates", "min_interval"):
        assert decision.until is not None
        assert decision.until <= NOW + by + DAY  # no wait that a wrong clock has made long
    if by > timedelta(0) and CASES[case][1] in ("not_due", "min_interval"):
        assert isinstance(decision, Due) or decision.reason == "window"


def test_a_clock_that_was_set_back_and_on_again_leaves_the_schedule_as_it_was() -> None:
    policy = within("SUN", **QUARTERLY)
    asked = [Question(name="web", situation=aged(10), policy=policy, now=NOW + by) for by in (-TEN_YEARS, 0 * DAY)]
    assert next_rotation_at(asked[0]) == next_rotation_at(asked[1])


def test_jitter_spreads_ten_thousand_credentials_evenly_and_stays_the_same_for_each() -> None:
    policy = Policy(rotate_every=30 * DAY, jitter=10 * DAY)

    def slots() -> list[datetime | None]:
        names = (f"team-{n % 7}-key-{n}" for n in range(10_000))
        return [next_rotation_at(Question(name=n, situation=QUIET, policy=policy, now=NOW)) for n in names]

    at = slots()
    assert at == slots()
    start = NOW + 20 * DAY
    per_day = [0] * 10
    for moment in at:
        assert moment is not None
        assert start <= moment < start + policy.jitter
        per_day[(moment - start).days] += 1
    assert all(900 < count < 1100 for count in per_day)
    assert len(set(at)) > 9_990


@pytest.mark.parametrize("limit", ["max_age", "expires"])
def test_jitter_spreads_deadlines_as_well_and_never_beyond_them(limit: str) -> None:
    at = set()
    for number in range(100):
        given = {"expires_at": NOW + 30 * DAY} if limit == "expires" else {}
        policy = Policy(jitter=5 * DAY, max_age=40 * DAY if limit == "max_age" else None)
        asked = Question(name=f"key-{number}", situation=aged(10, **given), policy=policy, now=NOW)
        last = deadline(asked)
        planned = next_rotation_at(asked)
        assert last is not None
        assert planned is not None
        assert last.start - policy.jitter < planned <= last.start
        at.add(planned)
    assert len(at) == 100


def test_due_does_not_depend_on_when_the_process_began() -> None:
    assert ask() == ask()
    assert isinstance(ask(situation=replace(QUIET, last_completed_at=NOW - 30 * DAY)), Due)
