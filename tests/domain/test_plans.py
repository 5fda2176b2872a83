"""The two tables, and the times of a retirement."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from rotator.domain.model import OPEN_RETIREMENT, OPEN_ROTATION, RetirementReason, RetirementState, RotationState
from rotator.domain.plans import BROWNOUT, CONFIRMING, GATES, RETIREMENT, ROTATION, pace, step_after
from rotator.engine.brownout import STEPS as BROWNOUT_STEPS
from rotator.engine.retirement import STEPS as RETIREMENT_STEPS
from rotator.engine.rotation import STEPS as ROTATION_STEPS

HOUR = timedelta(hours=1)
NONE = timedelta(0)


def test_every_open_state_has_exactly_one_step_and_every_step_its_function() -> None:
    assert [step.start for step in ROTATION] == list(OPEN_ROTATION)
    assert [step.start for step in (RETIREMENT[0], BROWNOUT[1], *RETIREMENT[1:])] == list(OPEN_RETIREMENT)
    assert {state: verb for state, (verb, _) in ROTATION_STEPS.items()} == {s.start: s.verb for s in ROTATION}
    assert set(RETIREMENT_STEPS) == {step.verb for step in (*RETIREMENT, *CONFIRMING)}
    assert set(BROWNOUT_STEPS) == {step.verb for step in BROWNOUT}


def test_each_step_leads_to_the_start_of_the_next() -> None:
    for plan in (ROTATION, RETIREMENT):
        assert all(one.end == two.start for one, two in pairwise(plan))
    trial, back = BROWNOUT
    assert (trial.end, back.end) == (back.start, trial.start), "it leads back to where it began"
    assert step_after(ROTATION, RotationState.COMPLETED) is None
    assert step_after(RETIREMENT, RetirementState.CANCELLED) is None


def test_every_reason_has_its_gates() -> None:
    assert set(GATES) == set(RetirementReason)


@pytest.mark.parametrize(
    ("why", "labels", "can_disable", "expected"),
    [
        (RetirementReason.SUPERSEDED, True, True, (24 * HOUR, 12 * HOUR)),
        (RetirementReason.EXTRA, False, False, (24 * HOUR, 12 * HOUR)),
        (RetirementReason.COMPROMISED, False, True, (NONE, 12 * HOUR)),
        (RetirementReason.COMPROMISED, True, False, (NONE, NONE)),
        (RetirementReason.ABANDONED, True, True, (NONE, NONE)),
        (RetirementReason.LOST_ANSWER, True, False, (HOUR / 6, NONE)),
        (RetirementReason.LOST_ANSWER, False, True, (HOUR / 6, HOUR)),
    ],
)
def test_grace_and_soak_follow_the_reason(
    why: RetirementReason, labels: bool, can_disable: bool, expected: tuple[timedelta, timedelta]
) -> None:
    found = pace(why, grace=24 * HOUR, soak=12 * HOUR, settle=HOUR / 6, labels=labels, can_disable=can_disable)
    assert found == expected
