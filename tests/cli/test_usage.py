"""`rotator usage`: what is on record about the use of keys, for people and for machines."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.cli.usage import spark
from rotator.domain.usage import DAY, HOUR, Sample, begin
from tests.cli.house import House


@pytest.fixture
def used(house: House) -> House:
    """`web` has a key that was used three times this hour, and nine times yesterday; mail's use is not on record."""
    house.rotate()
    with house.opened() as service:
        store = service.store
        credential = store.credential("web")
        assert credential is not None
        current = store.load(credential.id).current
        assert current is not None
        key_id, now = current.key_id, store.now()
        assert key_id is not None
        found = [
            Sample(key_id=key_id, at=begin(now, HOUR), width=HOUR, service="completions", requests=3),
            Sample(key_id=key_id, at=begin(now - DAY, DAY) + 2 * HOUR, width=HOUR, service="images", requests=9),
            Sample(key_id=key_id, at=begin(now, DAY), width=DAY, cost=1_250_000, currency="usd"),
            Sample(key_id=key_id, at=begin(now, HOUR), width=HOUR, service="sts", ours=True, last_at=now),
        ]
        store.keep_samples(credential.id, found, now - timedelta(days=2))
    return house


def test_it_shows_each_key_with_its_use_and_bars(used: House) -> None:
    ran = used.run("usage", "web")
    assert ran.status == 0
    assert "environment test, web: use on record since " in ran.out
    head, row = (line for line in ran.out.splitlines() if line.startswith(("VERSION", "1 ")))
    assert "30 DAYS" in head
    assert "sts (our own check)" in row
    assert "1.25 usd" in row
    assert "last 30 days: " in ran.out
    assert "at most 9 requests" in ran.out


def test_as_json_it_has_hours_days_and_keys(used: House) -> None:
    found = used.run("usage", "web", "--days", "2", "--json").json
    assert (len(found["hours"]), len(found["days"])) == (24, 2)
    assert [day["requests"] for day in found["days"]] == [9, 3]
    assert found["days"][1]["cost"] == 1.25
    assert found["hours"][-1]["requests"] == 3
    (key,) = found["keys"]
    assert (key["version"], key["state"], key["requests"], key["ours"]) == (1, "current", 12, True)
    assert found["anomalies"] == []


def test_it_says_where_nothing_is_on_record(used: House) -> None:
    assert "no use on record: the provider does not tell, or no pass has looked yet" in used.run("usage", "mail").out
    ran = used.run("usage", "nobody")
    assert ran.status == 2
    assert "there is no credential nobody on record" in ran.err


def test_a_bar_is_as_high_as_its_share_of_the_most() -> None:
    assert spark([0, 1, 4, 8]) == " ▂▅█"
    assert spark([]) == ""
