from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rotator.domain.anomalies import MEANINGS, RECENT, Anomaly, Check, KeyLife, Use, judge
from rotator.domain.model import VersionState
from rotator.domain.usage import DAY, DAYS_KEPT, HOUR, HOURS_KEPT, MILLION, Change, Record, Sample, begin, rolled_up
from tests.domain.usage_year import false_alarms

NOW = datetime(2026, 11, 25, 14, 20, tzinfo=UTC)  # a Wednesday
MADE = NOW - timedelta(days=100)
CURRENT = KeyLife(key_id="key_b", number=2, state=VersionState.CURRENT, made_at=MADE)
THIS_HOUR = begin(NOW, HOUR)


def usual(weeks: int = 9) -> list[Sample]:
    """Working hours of weekdays, 100 requests each, to the end of yesterday; each day costs 2."""
    hours = [begin(NOW, DAY) - HOUR * back for back in range(1, weeks * 7 * 24)]
    worked = [at for at in hours if at.weekday() < 5 and 8 <= at.hour < 18]
    known: dict[str, Any] = {"service": "completions", "model": "small", "region": "eu-west-1"}
    found = [Sample(key_id="key_b", at=at, width=HOUR, requests=100, **known) for at in worked]
    days = sorted({begin(at, DAY) for at in worked})
    return found + [Sample(key_id="key_b", at=day, width=DAY, cost=2 * MILLION, currency="usd") for day in days]


def found(
    *more: Sample,
    keys: tuple[KeyLife, ...] = (CURRENT,),
    samples: list[Sample] | None = None,
    **use: Any,
) -> list[Anomaly]:
    every = [*(usual() if samples is None else samples), *more]
    given: dict[str, Any] = {"now": NOW, "since": MADE, "networks": None, "budget": None, **use}
    return judge(Use(keys=keys, record=Record.of(every), samples=every, **given))


def hour(at: datetime = THIS_HOUR, **told: Any) -> Sample:
    return Sample(key_id="key_b", at=at, width=HOUR, **{"model": "small", "requests": 100, **told})


def moment(at: datetime, key_id: str = "key_a", **told: Any) -> Sample:
    return Sample(key_id=key_id, at=begin(at, HOUR), width=HOUR, last_at=at, **told)


def checks(anomalies: list[Anomaly]) -> list[Check]:
    return [anomaly.check for anomaly in anomalies]


def test_usual_use_is_no_anomaly() -> None:
    assert found(hour()) == []


def test_every_check_says_what_it_means() -> None:
    assert MEANINGS.keys() == set(Check)


AN_HOUR_AGO = NOW - HOUR
OLD = KeyLife(key_id="key_a", number=1, state=VersionState.PREVIOUS, made_at=MADE, retiring_from=AN_HOUR_AGO)
DISABLED = replace(OLD, state=VersionState.DISABLED, disabled_at=AN_HOUR_AGO)
CONDEMNED = replace(OLD, state=VersionState.CONDEMNED, made_at=AN_HOUR_AGO)
GONE = replace(OLD, state=VersionState.RETIRED, retiring_from=None, gone_at=AN_HOUR_AGO)


@pytest.mark.parametrize(
    ("key", "check"),
    [
        (OLD, Check.IN_RETIREMENT),
        (DISABLED, Check.DISABLED_KEY),
        (CONDEMNED, Check.NOT_CURRENT),
        (GONE, Check.NOT_CURRENT),
    ],
)
def test_a_key_that_nobody_should_use(key: KeyLife, check: Check) -> None:
    (anomaly,) = found(moment(NOW), keys=(CURRENT, key))
    assert (anomaly.check, anomaly.key_id) == (check, "key_a")
    assert "14:20" in anomaly.seen
    assert "13:20" in anomaly.seen
    assert found(moment(AN_HOUR_AGO - HOUR), keys=(CURRENT, key)) == []  # before that, it was right
    assert found(moment(NOW, ours=True), keys=(CURRENT, key)) == []  # our own check
    assert found(moment(NOW), keys=(CURRENT, key), now=NOW + RECENT + HOUR) == []  # over


def test_the_old_key_may_be_used_in_its_grace() -> None:
    assert found(moment(NOW), keys=(CURRENT, replace(OLD, retiring_from=NOW + HOUR))) == []


def test_an_unused_key_and_one_that_wakes() -> None:
    asleep = [moment(NOW - timedelta(days=46), "key_b")]
    (anomaly,) = found(samples=asleep)
    assert anomaly.check is Check.UNUSED
    assert anomaly.figures == {"days": 46}
    assert found(samples=[moment(NOW - timedelta(days=44), "key_b")]) == []
    assert checks(found(samples=[])) == [Check.UNUSED]  # never used since it was made
    (woke,) = found(moment(NOW, "key_b"), samples=asleep, since=NOW - timedelta(days=20))
    assert woke.check is Check.WOKE
    assert "46 days after" in woke.seen
    assert Check.WOKE in checks(found(moment(NOW, "key_b"), samples=[]))  # the first use ever


@pytest.mark.parametrize(("requests", "odd"), [(150, False), (299, False), (301, True)])
def test_a_rate_far_above_its_own(requests: int, odd: bool) -> None:
    rates = [a for a in found(hour(requests=requests)) if a.check is Check.HIGH_RATE]
    assert bool(rates) is odd
    for anomaly in rates:
        assert anomaly.figures == {"requests": 301, "hour": THIS_HOUR.isoformat(), "limit": 219, "busiest": 100}


def test_a_rate_far_above_that_of_a_quiet_hour() -> None:
    """Below the busiest hour of all, yet far above this hour of the week."""
    quiet = [replace(s, requests=2) if s.at.hour in (16, 17) and s.width == HOUR else s for s in usual()]
    late: dict[str, Any] = {"now": THIS_HOUR + HOUR * 3.5}
    assert checks(found(hour(THIS_HOUR + HOUR * 3, requests=101), samples=quiet, **late)) == [Check.HIGH_RATE]
    assert found(hour(THIS_HOUR + HOUR * 3, requests=19), samples=quiet, **late) == []


def test_nothing_is_compared_before_it_has_warmed_up() -> None:
    odd = hour(requests=9000, model="large", service="images", region="us-east-1")
    at_night = hour(THIS_HOUR - HOUR * 12, requests=900)
    assert len(checks(found(odd, at_night))) == 5
    assert found(odd, at_night, since=NOW - timedelta(days=27)) == []


def test_a_new_region_service_and_model() -> None:
    odd = found(hour(requests=1, model="large", service="images", region="us-east-1"))
    assert sorted(checks(odd)) == [Check.NEW_MODEL, Check.NEW_REGION, Check.NEW_SERVICE]
    assert {a.about for a in odd} == {"large", "images", "us-east-1"}
    assert "before: eu-west-1" in next(a.seen for a in odd if a.check is Check.NEW_REGION)
    later: dict[str, Any] = {"now": NOW + timedelta(days=8)}
    assert not {Check.NEW_MODEL} & set(checks(found(hour(requests=1, model="large"), **later)))  # learned


def test_hours_at_which_it_never_worked() -> None:
    at_night = THIS_HOUR - HOUR * 12
    (anomaly,) = found(hour(at_night, requests=20))
    assert anomaly.check is Check.UNUSUAL_HOURS
    assert "20 requests in the hour from 2026-11-25 02:00 UTC" in anomaly.seen
    assert found(hour(at_night, requests=9)) == []
    assert found(hour(THIS_HOUR + HOUR * 5, requests=20), now=NOW + HOUR * 5) == []  # it sometimes takes longer
    told = [moment(at, "key_b") for at in (s.at for s in usual() if s.width == HOUR)]
    (alone,) = found(moment(at_night, "key_b"), samples=told)  # only the last use is told
    assert alone.check is Check.UNUSUAL_HOURS
    saturday = datetime(2026, 11, 21, 14, tzinfo=UTC)
    assert checks(found(hour(saturday), now=saturday + HOUR)) == [Check.UNUSUAL_HOURS]


def spent(cost: float) -> Sample:
    return Sample(key_id="key_b", at=begin(NOW, DAY), width=DAY, cost=round(cost * MILLION), currency="usd")


def test_a_cost_far_above_its_own() -> None:
    assert found(spent(4)) == []
    (anomaly,) = found(spent(4.7))
    assert anomaly.check is Check.HIGH_COST
    assert anomaly.figures == {"cost": "4.70 USD", "day": "2026-11-25", "limit": "4.37 USD"}


def test_a_budget_passed() -> None:
    (anomaly,) = found(budget=33 * MILLION)  # 17 working days of November at 2
    assert anomaly.check is Check.BUDGET
    assert anomaly.figures == {"cost": "34.00 USD", "budget": "33.00 USD"}
    assert found(budget=34 * MILLION) == []


def test_a_change_that_we_did_not_cause() -> None:
    change = Change(
        id="log_1", at=NOW, what="api_key.created", about="key_x", by="a@example.com", address="198.51.100.7"
    )
    (anomaly,) = found(foreign=[change])
    assert anomaly.check is Check.FOREIGN_CHANGE
    assert anomaly.what.startswith("a@example.com did api_key.created on key_x from 198.51.100.7")
    assert found(foreign=[replace(change, at=NOW - timedelta(days=8))]) == []


def test_use_from_elsewhere() -> None:
    allowed: dict[str, Any] = {"networks": ("203.0.113.0/24", "2001:db8::/32")}
    (anomaly,) = found(hour(address="198.51.100.7"), **allowed)
    assert (anomaly.check, anomaly.about) == (Check.ELSEWHERE, "198.51.100.7")
    assert found(hour(address="203.0.113.9"), **allowed) == []
    assert found(hour(address="2001:db8::1"), **allowed) == []
    assert found(hour(address="198.51.100.7")) == []  # nobody has said from where


def test_hours_become_days_and_days_are_forgotten() -> None:
    old = begin(NOW - HOURS_KEPT, DAY) - DAY
    hours = [hour(old + HOUR * n, requests=n) for n in range(24)]
    kept = hour()
    ancient = replace(spent(1), at=NOW - DAYS_KEPT - DAY)
    days, gone = rolled_up([*hours, kept, ancient], NOW)
    assert [(d.at, d.width, d.requests) for d in days] == [(old, DAY, 276)]
    assert gone == [*hours, ancient]
    grown, _ = rolled_up([*days, hours[5]], NOW)  # one that came late is added
    assert grown[0].requests == 281


def test_a_year_of_normal_use_raises_less_than_one_false_alarm_per_key() -> None:
    """A share of the year that `make usage-year` has: 200 keys."""
    alarms = [false_alarms(seed).total() for seed in range(24, 30)]
    assert sum(alarms) < len(alarms)
