"""When a brownout begins, and which step is next."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from rotator.domain.brownout import begins
from rotator.domain.deadlines import Terms, passed
from rotator.domain.events import Subject
from rotator.domain.hours import Hours, read_span
from rotator.domain.model import (
    CredentialId,
    Retirement,
    RetirementId,
    RetirementReason,
    RetirementState,
    VersionId,
    VersionState,
)
from rotator.domain.plans import taking_away
from tests.domain.test_policy import QUIET, version

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
THURSDAY = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
OFFICE = Hours([read_span("MON-FRI 09:00-17:00")])


def row(**changes: object) -> Retirement:
    """Opened on Thursday at noon, with three days of grace."""
    opened = Retirement(
        id=RetirementId("r"),
        credential_id=CredentialId("c"),
        version_id=VersionId("v"),
        state=RetirementState.PLANNED,
        why=RetirementReason.SUPERSEDED,
        opened_at=THURSDAY,
        grace=72 * HOUR,
        soak=HOUR,
        brownout_after=4 * HOUR,
        brownout_for=10 * MINUTE,
    )
    return replace(opened, **changes)  # type: ignore[arg-type]


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}:00+00:00")


@pytest.mark.parametrize(
    ("changes", "hours", "now", "expected"),
    [
        ({}, OFFICE, "11-26 12:00", "11-26 16:00"),
        ({}, OFFICE, "11-26 16:30", "11-26 16:30"),
        ({}, OFFICE, "11-26 16:55", "11-27 09:00"),  # it would not end in its hours
        ({"brownout_after": 5 * HOUR}, OFFICE, "11-26 12:00", "11-27 09:00"),
        ({"brownout_after": 30 * HOUR}, OFFICE, "11-26 12:00", None),  # Friday evening, and the grace ends on Sunday
        ({"brownout_after": 30 * HOUR, "grace": 96 * HOUR}, OFFICE, "11-26 12:00", "11-30 09:00"),
        ({"brownout_after": 30 * HOUR, "grace": 93 * HOUR}, OFFICE, "11-26 12:00", None),  # it must end in the grace
        ({}, OFFICE, "11-28 12:00", "11-30 09:00"),  # missed: it may be later than the grace
        ({}, OFFICE, "12-10 10:00", "12-10 10:00"),
        ({}, Hours(OFFICE.windows, [read_span("2026-11-26/2026-12-20")]), "11-26 12:00", None),
        ({}, Hours(OFFICE.windows, [read_span("2026-11-27/2026-12-31")]), "11-27 12:00", None),  # missed for too long
        ({}, Hours([read_span("MON-FRI 09:00-17:00")], (), ZoneInfo("Asia/Tokyo")), "11-26 12:00", "11-27 00:00"),
        ({}, Hours(), "11-26 12:00", "11-26 16:00"),
        ({"brownout_for": None}, OFFICE, "11-26 12:00", None),
    ],
)
def test_it_begins(changes: dict[str, object], hours: Hours, now: str, expected: str | None) -> None:
    found = begins(row(**changes), hours, at(now))
    assert found == (None if expected is None else at(expected))


@pytest.mark.parametrize(
    ("changes", "can_disable", "verb"),
    [
        ({}, True, Subject.BROWNOUT),
        ({}, False, Subject.DRAIN),
        ({"browned_out": True}, True, Subject.DRAIN),
        ({"brownout_for": None}, True, Subject.DRAIN),
        ({"why": RetirementReason.EXTRA}, True, Subject.BROWNOUT),
        ({"why": RetirementReason.COMPROMISED}, True, Subject.DRAIN),
        ({"wanted_back": True}, True, Subject.ENABLE),
        ({"state": RetirementState.BROWNED_OUT}, True, Subject.RESTORE),
        ({"state": RetirementState.BROWNED_OUT}, False, Subject.RESTORE),
        ({"state": RetirementState.BROWNED_OUT, "wanted_back": True}, True, Subject.ENABLE),
        ({"state": RetirementState.DRAINED}, True, Subject.DISABLE),
    ],
)
def test_the_next_step(changes: dict[str, object], can_disable: bool, verb: Subject) -> None:
    step = taking_away(row(**changes), can_disable=can_disable)
    assert step is not None
    assert step.verb is verb


def test_a_key_that_waits_for_its_brownout_is_not_gone_before_its_grace_is_over() -> None:
    waiting = row(not_before=THURSDAY + 4 * HOUR)
    assert waiting.gone_from == THURSDAY + 72 * HOUR
    assert replace(waiting, brownout_for=None).gone_from == THURSDAY + 4 * HOUR
    assert replace(waiting, not_before=THURSDAY + 99 * HOUR).gone_from == THURSDAY + 99 * HOUR


def test_a_key_in_its_brownout_counts_as_one_that_works() -> None:
    old = replace(version(1, VersionState.DISABLED), issued_at=THURSDAY - 200 * HOUR)
    terms = Terms(max_age=100 * HOUR, grace=HOUR, soak=HOUR, settle=0 * HOUR, can_disable=True)
    for state, late in ((RetirementState.BROWNED_OUT, [old]), (RetirementState.DISABLED, [])):
        situation = replace(QUIET, versions=[old], retirements=[row(state=state, version_id=old.id)])
        assert [deadline.version for deadline in passed(situation, terms, THURSDAY)] == late
