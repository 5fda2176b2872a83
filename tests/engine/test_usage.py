"""The use of keys is sampled, judged, told with its figures, and reacted to as the policy says."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from rotator.domain.usage import Sample
from rotator.testbed.aws import AwsKey
from tests.engine.conftest import OpenAIWeb
from tests.engine.test_iam import Deployer, deployer  # noqa: F401 - a fixture
from tests.engine.test_watch import EAGER, findings
from tests.engine.test_when import aged

HOUR = 3600.0


@pytest.fixture
def used(web_embedded: OpenAIWeb) -> OpenAIWeb:
    """One key; every pass looks at its use. It costs a cent for each request."""
    web = web_embedded
    web.emulator.price = 0.01
    configure(web)
    web.place.rotate()
    return web


def configure(web: OpenAIWeb, policy: dict[str, Any] | None = None, **entry: Any) -> None:
    """Each look samples; `entry` is what else the credential has in the configuration."""
    web.place.engine = {**EAGER, "sample": "1ms"}
    web.write(policy={"rotate_every": "90d", **(policy or {})})
    content = yaml.safe_load(web.place.file.read_text())
    content["credentials"]["web"] |= entry
    web.place.file.write_text(yaml.safe_dump(content))


def samples(web: OpenAIWeb) -> Sequence[Sample]:
    with web.place.service(unlock=False) as service:
        return service.store.samples(service.store.credentials()[0].id)


def value(web: OpenAIWeb) -> str:
    found = web.value(1)
    assert found is not None
    return found


def look(web: OpenAIWeb) -> list[str]:
    """One pass; then what stands, as which check each is of."""
    web.place.rotate(patience=6)
    return [f["message"].partition("; ")[0].rpartition("(")[2].rstrip(")") for f in findings(web.place, "anomaly")]


def busy(web: OpenAIWeb, each: int = 5) -> None:
    """The key is older, and was used evenly for a month; nobody has looked yet."""
    aged(web, timedelta(days=40))
    for hour in range(2, 30 * 24):
        web.emulator.consume(value(web), at=time.time() - hour * HOUR, times=each)
    change(web, "DELETE FROM sample", "DELETE FROM sampling")


def change(web: OpenAIWeb, *statements: str) -> None:
    with closing(sqlite3.connect(web.place.folder / "rotator.db", isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


def test_what_the_provider_tells_is_kept_and_only_others_use_is_use(used: OpenAIWeb) -> None:
    used.place.rotate(patience=6)
    assert [s for s in samples(used) if s.used] == []
    used.emulator.consume(value(used), times=3)
    used.emulator.consume(value(used), "embeddings")
    assert look(used) == []
    kept = {(s.service, s.requests) for s in samples(used) if s.requests}
    assert kept == {("completions", 3), ("embeddings", 1)}
    (day,) = [s for s in samples(used) if s.cost]
    assert (day.cost, day.currency) == (40_000, "usd")
    used.emulator.consume(value(used), times=2)  # the same hour again: it takes the place of what it was
    look(used)
    assert sum(s.requests for s in samples(used)) == 6


def test_far_more_requests_than_usual_are_told_within_one_look_with_their_figures(used: OpenAIWeb) -> None:
    busy(used)
    assert look(used) == []
    used.emulator.consume(value(used), times=1000)
    assert "high_rate" in look(used)
    (found,) = (f for f in findings(used.place, "anomaly") if "(high_rate)" in f["message"])
    assert "it makes far more requests than is usual for it" in found["message"]
    assert "1000 in the hour from " in found["message"]
    assert "5 were the most in 28 days" in found["message"]
    assert "rotator usage web" in found["remedy"]
    (event,) = (e for e in used.place.events if e["event"] == "anomaly.found" and e["reason"] == "high_rate")
    assert event["detail"]["figures"]["requests"] == 1000
    assert event["detail"]["figures"]["busiest"] == 5
    before = len(used.place.told("anomaly.found"))
    look(used)
    assert len(used.place.told("anomaly.found")) == before, "told once for as long as it lasts"


def test_a_new_service_and_a_budget_that_is_passed(used: OpenAIWeb) -> None:
    busy(used, each=1)
    configure(used, budget=1.5)
    assert look(used) == ["budget"] if spent_this_month(used) > 1.5 else look(used) == []
    used.emulator.consume(value(used), "images", times=200)
    assert {"budget", "new_service"} <= set(look(used))
    (found,) = (f for f in findings(used.place, "anomaly") if "(budget)" in f["message"])
    assert "it has passed its budget of 1.50" in found["message"]


def spent_this_month(web: OpenAIWeb) -> float:
    web.place.rotate(patience=6)
    now = datetime.now(UTC)
    return sum(s.cost for s in samples(web) if (s.at.year, s.at.month) == (now.year, now.month)) / 1_000_000


def test_use_of_a_key_whose_grace_is_over_is_told_and_replaces_it_where_the_policy_says_so(used: OpenAIWeb) -> None:
    """A thief goes on with the old key, so that it cannot be taken away."""
    configure(used, policy={"grace": "1h", "require_idle": "1h"}, on={"in_retirement": "revoke"})
    old = value(used)
    used.place.rotate("web", now=True, patience=2)
    with closing(sqlite3.connect(used.place.folder / "rotator.db")) as database:
        (opened,) = database.execute("SELECT opened_at FROM retirement").fetchone()
    earlier = (datetime.fromisoformat(opened) - timedelta(hours=4)).isoformat(timespec="microseconds")
    change(used, f"UPDATE retirement SET opened_at = '{earlier}'")
    assert used.emulator.consume(old)
    assert look(used) == ["in_retirement"]
    (request,) = (e for e in used.place.events if e["event"] == "request.started")
    assert request["actor"] == "reaction:in_retirement"
    assert request["detail"]["verb"] == "revoke"
    used.place.rotate(patience=5)
    assert not used.emulator.accepts(old)
    assert used.emulator.accepts(value(used))
    assert used.place.told("request.started") == ["request.started"]


def test_what_the_policy_ignores_is_not_told(used: OpenAIWeb) -> None:
    busy(used)
    configure(used, on={"high_rate": "ignore", "high_cost": "ignore"})
    used.emulator.consume(value(used), times=1000)
    assert look(used) == []


def test_usage_that_may_not_be_read_is_a_finding_and_stops_nothing(used: OpenAIWeb) -> None:
    used.emulator.usage_allowed = False
    look(used)
    (found,) = findings(used.place)
    assert found["kind"] == "unmetered"
    assert "does not let us read how its keys are used" in found["message"]
    used.emulator.consume(value(used))
    look(used)
    assert any(s.last_at for s in samples(used)), "what is told of the last use is kept all the same"
    used.place.rotate("web", now=True)
    assert used.place.status("web")["current"]["version"] == 2
    used.emulator.usage_allowed = True
    look(used)
    assert findings(used.place) == []


def test_what_somebody_else_did_to_our_keys_is_told_by_the_providers_audit_log(used: OpenAIWeb) -> None:
    assert look(used) == []
    content = yaml.safe_load(used.place.file.read_text())
    content["providers"]["openai"]["audit_log"] = True
    used.place.file.write_text(yaml.safe_dump(content))
    used.place.rotate("web", now=True, patience=5)  # what we do ourselves is nobody else's
    assert look(used) == []
    used.emulator.revoke(used.live()[0])
    used.place.rotate("web", now=True, patience=5)  # it was an outage
    assert look(used) == ["foreign_change"]
    (found,) = findings(used.place, "anomaly")
    assert "person@example.com did api_key.deleted on key_" in found["message"]
    assert "from 203.0.113.7, which we did not" in found["message"]
    used.emulator.audit_log_kept = False
    look(used)
    assert {f["kind"] for f in findings(used.place)} == {"unmetered", "anomaly"}, "what nobody can see now stands"


def test_it_is_sampled_on_its_own_schedule(used: OpenAIWeb) -> None:
    def asked() -> int:
        return len([r for r in used.gate.requests if "/organization/usage/" in r.path])

    look(used)
    before = asked()
    used.place.engine["sample"] = "1h"
    used.write()
    for _ in range(3):
        used.place.rotate(patience=6)
    assert asked() == before


def test_the_last_use_that_iam_tells_is_kept_with_service_and_region(deployer: Deployer) -> None:  # noqa: F811
    deployer.place.engine = {**deployer.place.engine, "watch": "1ms", "sample": "1ms"}
    deployer.write()
    deployer.place.rotate()
    deployer.place.rotate(patience=6)
    with deployer.place.service(unlock=False) as service:
        found = service.store.samples(service.store.credentials()[0].id)
        assert service.store.sampling(service.store.credentials()[0].id) is not None
    for sample in found:
        assert sample.service
        assert sample.last_at is not None


def told(web: OpenAIWeb, check: str) -> dict[str, Any]:
    """The only event of this check."""
    (event,) = (e for e in web.place.events if e["event"] == "anomaly.found" and e["reason"] == check)
    return event


def test_a_model_that_was_never_used_is_told_and_not_the_usual_one(used: OpenAIWeb) -> None:
    busy(used, each=1)
    assert "new_model" not in look(used)
    used.emulator.consume(value(used), model="gpt-huge")
    assert "new_model" in look(used)
    assert told(used, "new_model")["detail"]["figures"]["model"] == "gpt-huge"


def test_a_day_that_costs_far_more_than_usual_is_told(used: OpenAIWeb) -> None:
    busy(used, each=1)  # 24 cents a day
    used.emulator.consume(value(used), times=500)
    assert "high_cost" in look(used)
    assert told(used, "high_cost")["detail"]["figures"]["cost"].startswith("5.")


def test_a_key_that_nobody_uses_and_one_that_wakes(used: OpenAIWeb) -> None:
    aged(used, timedelta(days=60))
    used.place.rotate(patience=6)
    assert look(used) == ["unused"]
    assert told(used, "unused")["detail"]["figures"] == {"days": 60}
    used.emulator.consume(value(used))
    assert look(used) == ["woke"]
    assert told(used, "woke")["detail"]["figures"]["days"] >= 59


def test_a_key_that_is_used_although_it_is_gone(used: OpenAIWeb) -> None:
    """Its provider goes on accepting it; nothing is left to be done about it, whatever the policy says."""
    configure(used, on={"not_current": "revoke"})
    old = value(used)
    used.place.rotate("web", now=True, patience=5)
    assert used.place.status("web")["previous"] == []
    used.emulator.delete_lag = 3 * HOUR
    assert used.emulator.consume(old, at=time.time() + 2 * HOUR)  # in an hour that began after its end
    used.emulator.clock = lambda: time.time() + 2 * HOUR
    assert "not_current" in look(used)
    assert "request.started" not in used.place.told()


def test_a_signal_that_is_broken_rotates_as_often_as_the_caps_allow(used: OpenAIWeb) -> None:
    busy(used, each=1)
    caps = {"reactions": {"per_hour": 1}}
    configure(used, on={"high_cost": "rotate", "new_model": "compromised", "new_service": "rotate"})
    used.place.engine |= caps
    configure_again(used, caps)
    used.emulator.consume(value(used), "images", times=500, model="gpt-huge")
    found = look(used)
    assert {"high_cost", "new_model", "new_service"} <= set(found)
    asked = [e["actor"] for e in used.place.events if e["event"] == "request.started"]
    assert len(asked) == 1
    held = [f for f in findings(used.place, "anomaly") if "nothing else is done by itself" in f["message"]]
    assert len(held) == 2
    assert all("`engine.reactions.per_hour` allows" in f["message"] for f in held)
    look(used)
    assert len([e for e in used.place.events if e["event"] == "request.started"]) == 1


def configure_again(web: OpenAIWeb, engine: dict[str, Any]) -> None:
    content = yaml.safe_load(web.place.file.read_text())
    content["engine"] |= engine
    web.place.file.write_text(yaml.safe_dump(content))


def test_a_region_and_a_service_of_iam_that_are_new_are_told(deployer: Deployer) -> None:  # noqa: F811
    """A month of last uses is on record; then a key of it is used somewhere else."""
    deployer.place.engine = {**deployer.place.engine, "watch": "1ms", "sample": "1ms"}
    deployer.write()
    deployer.place.rotate()
    deployer.place.rotate(patience=6)
    with closing(sqlite3.connect(deployer.place.folder / "rotator.db", isolation_level=None)) as database:
        earlier = (datetime.now(UTC) - timedelta(days=40)).isoformat(timespec="microseconds").replace("+00:00", "Z")
        database.execute("UPDATE sampling SET since = ?", (earlier,))
    body = deployer.body()
    key = AwsKey(body["AWS_ACCESS_KEY_ID"], body["AWS_SECRET_ACCESS_KEY"])
    client = deployer.aws.client("kms", key, region="eu-west-1")
    with suppress(client.exceptions.ClientError):  # it may not: that is use all the same
        client.list_keys()
    client.close()
    deployer.place.rotate(patience=6)
    found = {e["reason"]: e["detail"]["figures"] for e in deployer.place.events if e["event"] == "anomaly.found"}
    assert found["new_service"]["service"] == "kms"
    assert found["new_region"]["region"] == "eu-west-1"


def test_use_at_hours_at_which_it_never_worked_is_told(used: OpenAIWeb) -> None:
    aged(used, timedelta(days=40))
    for day in range(1, 30):
        for apart in (11, 12, 13):
            used.emulator.consume(value(used), at=time.time() - (24 * day + apart) * HOUR, times=20)
    change(used, "DELETE FROM sample", "DELETE FROM sampling")
    assert look(used) == []
    used.emulator.consume(value(used), times=30)
    assert look(used) == ["unusual_hours"]
    assert told(used, "unusual_hours")["detail"]["figures"]["requests"] == 30


def test_use_of_a_disabled_key_of_iam_is_told(deployer: Deployer) -> None:  # noqa: F811
    """AWS may go on accepting a key for a while after it was made inactive."""
    deployer.place.engine = {**deployer.place.engine, "watch": "1ms", "sample": "1ms"}
    deployer.write(soak="3h")
    deployer.place.rotate()
    body = deployer.body()
    client = deployer.aws.client("s3", AwsKey(body["AWS_ACCESS_KEY_ID"], body["AWS_SECRET_ACCESS_KEY"]))
    with suppress(client.exceptions.ClientError):
        client.list_buckets()
    client.close()
    deployer.place.rotate("deployer", now=True, patience=2)
    deployer.place.rotate(patience=6)
    assert deployer.listed()[body["AWS_ACCESS_KEY_ID"]] == "Inactive"
    with closing(sqlite3.connect(deployer.place.folder / "rotator.db", isolation_level=None)) as database:
        (until,) = database.execute("SELECT not_before FROM retirement WHERE state = 'disabled'").fetchone()
        earlier = (datetime.fromisoformat(until) - timedelta(hours=1)).isoformat(timespec="microseconds")
        database.execute("UPDATE retirement SET not_before = ?", (earlier.replace("+00:00", "Z"),))
    deployer.place.rotate(patience=6)
    (event,) = (e for e in deployer.place.events if e["event"] == "anomaly.found")
    assert (event["reason"], event["key_id"]) == ("disabled_key", body["AWS_ACCESS_KEY_ID"])
    assert {"last_used_at", "since"} == set(event["detail"]["figures"])
