"""The fleet that is played does what the forecast of each credential says, and no faster than its limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from bench.policy import HOUR, LIVING, START, TICK, TINY, Fleet, Limits, Progress, Scenario, main, scenarios
from rotator.domain.forecast import Course, forecast
from rotator.domain.model import Credential, CredentialId, Situation, Version, VersionId, VersionState
from rotator.domain.policy import DAY, Policy, Question

DAYS, COUNT = 90, 40
SCENARIOS = list(scenarios(30 * DAY, 3 * DAY))


def ahead(number: int, policy: Policy) -> Sequence[timedelta]:
    """When the rotations of such a credential begin, as `rotator plan` says."""
    made = START + DAY * number / COUNT
    credential = Credential(id=CredentialId("c"), name=f"key-{number}", provider="p", managed=True, created_at=made)
    version = Version(
        id=VersionId("v"),
        credential_id=credential.id,
        number=1,
        state=VersionState.CURRENT,
        account="",
        label="",
        created_at=made,
        key_id="k",
        sent_at=made,
    )
    situation = Situation(
        credential=credential,
        versions=(version,),
        rotation=None,
        deliveries=(),
        retirements=(),
        placements=(),
        last_completed_at=made,
    )
    question = Question(name=credential.name, situation=situation, policy=policy, now=made, living=LIVING)
    found = forecast(question, Course(can_tell=False), START + DAYS * DAY - TICK)
    return [coming.begins_at - START for coming in found.rotations]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_without_limits_each_rotation_begins_when_the_forecast_says(scenario: Scenario) -> None:
    policies = scenario.policies
    fleet = Fleet(COUNT, 3, policies, timedelta(0))
    found = fleet.play(DAYS, Limits())
    assert found.longest < TICK
    for number in range(COUNT):
        played = [moment - START for moment in fleet.sent[number][1:]]
        foreseen = ahead(number, policies[number % len(policies)])
        assert len(played) == len(foreseen) > 0
        for nth, (one, other) in enumerate(zip(played, foreseen, strict=True), start=1):
            assert timedelta(0) <= one - other < nth * TICK  # each begins at the next full tick


def test_a_herd_waits_for_the_replicas_and_is_done_in_the_order_in_which_it_fell_due() -> None:
    fleet = Fleet(COUNT, 1, SCENARIOS[0].policies, timedelta(0))
    found = fleet.play(40, Limits(together=1 / HOUR.total_seconds()))
    begun = [fleet.sent[number][1] for number in range(COUNT)]
    assert begun == sorted(begun)
    assert max(Counter((moment - START) // HOUR for moment in begun).values()) <= 2
    assert found.longest > HOUR * (COUNT - 24 - 2)  # they fell due within a day
    assert (found.begun, found.waiting, found.held) == (COUNT, 0, 0)


def test_what_an_account_holds_back_keeps_no_other_account_waiting() -> None:
    def longest(accounts: int) -> timedelta:
        found = Fleet(COUNT, accounts, SCENARIOS[0].policies, timedelta(0)).play(
            40, Limits(an_account=1 / HOUR.total_seconds())
        )
        assert found.begun == COUNT
        assert (found.held > 0) == (accounts == 1)
        return found.longest

    assert longest(1) > longest(COUNT)


def test_a_turn_that_comes_after_hours_waits_for_the_next_ones() -> None:
    found = Fleet(COUNT, 1, SCENARIOS[1].policies, timedelta(0)).play(60, Limits(together=3 / HOUR.total_seconds()))
    assert found.refused["window"] > 0
    assert found.longest > 12 * HOUR


def test_progress_reckons_the_rest_by_the_decisions_that_are_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("bench.policy.time.monotonic", lambda: now)
    told = Progress(work=400)
    told.what = "this"
    told.show(50)  # too soon
    now = 60
    told.show(50)
    told.show(99)  # again too soon
    told.ended(200)
    now = 240
    told.show(0)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [" 12%, about 7 min left: this", " 50%, about 4 min left: this"]


def test_who_interrupts_it_is_told_so_and_keeps_what_was_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Scenario, "cost", lambda _: 1)
    monkeypatch.setattr(Fleet, "play", interrupted)
    assert main([*TINY, "--results", str(tmp_path)]) == 130
    assert "nothing is kept" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
