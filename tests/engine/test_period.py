"""The report of a period says what the trail says: beside a count of our own, over a simulated year and by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from rotator.domain.policy import Policy
from rotator.engine import pausing
from rotator.engine.ledger import Ledger
from rotator.engine.period import Asked, report
from rotator.ports.store import NewEvent
from rotator.store.audit import exported
from tests.simulation.memory import MemoryStore
from tests.simulation.months import NAME, SLOTS, START, Made, Months

DAY = timedelta(days=1)
END = START + timedelta(days=365)


def lines(store: MemoryStore) -> list[dict[str, Any]]:
    """The exported trail."""
    return [json.loads(line) for line in exported(store.events())]


def made(store: MemoryStore, **asked: Any) -> dict[str, Any]:
    given = {"since": START, "until": END, "now": store.now(), "max_age": 40 * DAY, **asked}
    return report(Ledger().read(lines(store)), Asked(**given))


class Year(Months):
    """A key every thirty days; a stranger for a while, a pause, and a provider that is down for a while."""

    stranger = "key-of-nobody"

    def live(self) -> None:
        for day in range(366):
            self._happen(day)
            self.step(DAY)

    def _happen(self, day: int) -> None:
        credential = self.store.credentials()[0]
        if day == 70:
            self.keys[self.stranger] = Made(self.stranger, "", self.now - 5 * DAY)
        if day == 130:
            self.keys[self.stranger].stopped_at = self.now
        if day == 200:
            pausing.pause(self.store, credential, actor="ann", why="the fair", lasts=20 * DAY)
        if day == 215:
            pausing.unpause(self.store, credential, actor="bob", because="over")
        if day == 270:
            self.down.add("destination")
        if day == 290:
            self.down.clear()


@pytest.fixture(scope="module")
def year() -> Year:
    found = Year(replace(SLOTS, living=None), Policy(rotate_every=30 * DAY))
    found.live()
    return found


def count_keys(trail: Iterable[dict[str, Any]], until: datetime) -> dict[str, tuple[datetime, datetime]]:
    """Key id → when it was made and when it stopped to work: by the lines alone, in another way than the report's."""
    begin, end = dict[str, datetime](), dict[str, datetime]()
    for line in trail:
        at, key = datetime.fromisoformat(line["at"]), line["key_id"]
        match line["event"]:
            case "create.succeeded" if line["reason"] is None:
                begin[key] = at
            case "disable.succeeded":
                end[key] = at
            case "stranger.found":
                begin[key] = datetime.fromisoformat(line["detail"]["issued_at"])
            case "stranger.cleared":
                end[key] = at
    return {key: (at, min(end.get(key, until), until)) for key, at in begin.items()}


def test_a_year_agrees_with_an_independent_count_over_the_export(year: Year) -> None:
    trail = lines(year.store)
    found = made(year.store)
    counted = count_keys(trail, END)
    ages = {key["key_id"]: key["oldest_seconds"] for key in found["keys"]}
    assert len(counted) >= 12
    assert ages == {key: int((end - begin).total_seconds()) for key, (begin, end) in counted.items()}
    older = {key for key, (begin, end) in counted.items() if end - begin > 40 * DAY}
    assert {key["key_id"] for key in found["keys"] if key["older"]} == older
    assert year.stranger in older
    assert found["verdict"] == "older"
    closed = [line["rotation"] for line in trail if line["event"] == "rotation.succeeded"]
    assert [one["rotation"] for one in found["rotations"]] == closed
    gone = {line["key_id"] for line in trail if line["event"] == "delete.succeeded"}
    assert {old["key_id"] for one in found["rotations"] for old in one["old_keys"] if old["proof"]} == gone


def test_a_year_agrees_with_what_was_really_so(year: Year) -> None:
    found = {key["key_id"]: key for key in made(year.store)["keys"]}
    for key_id, real in year.keys.items():
        told = found[key_id]
        end = datetime.fromisoformat(told["disabled_at"] or told["gone_at"] or f"{END:%Y-%m-%dT%H:%M:%SZ}")
        assert abs(datetime.fromisoformat(told["made_at"]) - real.made_at) < timedelta(seconds=1)
        seen_gone = DAY if key_id == year.stranger else timedelta(0)  # at the next look
        assert real.stopped_at is None or abs(end - real.stopped_at - seen_gone) < timedelta(seconds=1)
    assert found.keys() == year.keys.keys()


@pytest.mark.parametrize("day", [1, 33, 100, 214, 364])
def test_the_population_at_any_moment_is_that_of_the_count(year: Year, day: int) -> None:
    moment = START + day * DAY
    found = made(year.store, since=moment, until=END)["population"]["start"]
    counted = count_keys(lines(year.store), END)
    living = {key for key, (begin, end) in counted.items() if begin <= moment < end}
    assert {key["key_id"] for key in (*found["keys"], *found["unmanaged"])} == living
    assert [key["key_id"] for key in found["unmanaged"]] == ([year.stranger] if year.stranger in living else [])
    assert found["credentials"] == [NAME]


def test_what_came_and_went_between(year: Year) -> None:
    since, until = START + 60 * DAY, START + 140 * DAY
    between = made(year.store, since=since, until=until)["population"]["between"]
    counted = count_keys(lines(year.store), END)
    assert {key["key_id"] for key in between["keys_added"]} == {
        k for k, (b, _) in counted.items() if since < b <= until
    }
    assert {key["key_id"] for key in between["keys_gone"]} == {k for k, (_, e) in counted.items() if since < e <= until}


def test_every_event_that_is_named_is_of_what_it_is_named_for(year: Year) -> None:
    trail = {line["seq"]: line for line in lines(year.store)}
    found = made(year.store)
    for key in found["keys"]:
        assert key["events"]
        assert {trail[seq]["key_id"] or key["key_id"] for seq in key["events"]} == {key["key_id"]}
    for one in found["rotations"]:
        assert {trail[seq]["rotation"] or one["rotation"] for seq in one["events"]} == {one["rotation"]}
        assert trail[one["events"][0]]["event"] == "rotation.started"
        assert one["steps"].keys() == {"create", "authenticate", "push", "verify", "promote"}
        for step, times in one["steps"].items():
            assert times["succeeded"] in [
                trail[s]["at"] for s in one["events"] if trail[s]["event"] == f"{step}.succeeded"
            ]


def test_pauses_are_told_with_who_and_why(year: Year) -> None:
    (pause,) = made(year.store, owners={NAME: "web@example.com"})["pauses"]
    assert (pause["actor"], pause["reason"], pause["owner"]) == ("ann", "the fair", "web@example.com")
    assert pause["ended_at"] > pause["began_at"]
    assert made(year.store, since=START + 300 * DAY)["pauses"] == []


def test_a_selection_leaves_all_others_out(year: Year) -> None:
    found = made(year.store, names=["other"])
    assert (found["keys"], found["rotations"], found["pauses"]) == ([], [], [])
    assert found["verdict"] == "within"


def test_within_says_so(year: Year) -> None:
    found = made(year.store, since=START + 150 * DAY, until=START + 190 * DAY)
    assert (found["verdict"], found["unknown"]) == ("within", [])


# by hand


class Trail:
    def __init__(self) -> None:
        self.now = START
        ids = iter(range(1000))
        self.store = MemoryStore(clock=lambda: self.now, new_id=lambda: str(next(ids)))
        self.store.enroll({NAME: "p"}, "test")

    def tell(self, event: str, *, after: timedelta = timedelta(0), **given: Any) -> None:
        self.now += after
        self.store.note([NewEvent(event=event, actor="ann", credential=NAME, **given)])


@pytest.fixture
def trail() -> Trail:
    return Trail()


def test_an_adopted_key_whose_making_nobody_knows_is_at_least_so_old(trail: Trail) -> None:
    trail.tell("adopt.succeeded", version=1, key_id="k1", reason="current", detail={"because": None, "issued_at": None})
    trail.now += 30 * DAY
    found = made(trail.store, until=trail.now, max_age=90 * DAY)
    assert [(k["made_at"], k["oldest_seconds"], k["at_least"]) for k in found["keys"]] == [(None, 30 * 86400, True)]
    assert (found["verdict"], len(found["unknown"])) == ("unknown", 1)
    assert "k1" in found["unknown"][0]
    assert made(trail.store, until=trail.now, max_age=20 * DAY)["verdict"] == "older"


def test_an_adopted_key_is_as_old_as_its_provider_says(trail: Trail) -> None:
    issued = (START - 100 * DAY).isoformat()
    trail.tell("adopt.succeeded", version=1, key_id="k1", reason="current", detail={"issued_at": issued})
    found = made(trail.store, until=START + DAY, max_age=90 * DAY)
    assert (found["verdict"], found["keys"][0]["oldest_seconds"]) == ("older", 100 * 86400)


def test_what_it_cannot_know_is_said(trail: Trail) -> None:
    trail.tell("create.started", version=1)
    trail.tell("create.failed", version=1, reason="lost_answer", after=DAY)
    found = made(trail.store, since=START - DAY, until=END, blind={NAME: "its keys were never looked at"})
    told = "\n".join(found["unknown"])
    assert "the period is not over" in told
    assert "the trail begins at 2026-11-23T09:00:00Z, after the beginning" in told
    assert "whether a key was made for version 1 of web" in told
    assert "nobody manages is not known: its keys were never looked at" in told
    assert found["verdict"] == "unknown"


def test_a_trail_whose_beginning_is_gone_says_so(trail: Trail) -> None:
    trail.tell("push.succeeded", after=DAY)
    found = report(
        Ledger().read(lines(trail.store)[2:]),
        Asked(since=START + 2 * DAY, until=START + 3 * DAY, now=START + 3 * DAY, max_age=DAY),
    )
    assert found["unknown"] == [
        "the events before 3 are not here any more: keys that were made before them may be missing"
    ]


def test_a_key_that_was_never_made_is_none(trail: Trail) -> None:
    trail.tell("create.started", version=1)
    trail.tell("create.failed", version=1, reason="quota")
    found = made(trail.store, until=trail.now + DAY)
    assert found["keys"] == []


def test_a_brownout_ends_no_life(trail: Trail) -> None:
    trail.tell("create.succeeded", version=1, key_id="k1")
    trail.tell("brownout.succeeded", version=1, key_id="k1", after=DAY)
    trail.tell("restore.succeeded", version=1, key_id="k1", after=DAY)
    trail.now += DAY
    assert made(trail.store, until=trail.now)["keys"][0]["oldest_seconds"] == 3 * 86400


def test_a_renamed_credential_keeps_its_history(trail: Trail) -> None:
    trail.tell("create.succeeded", version=1, key_id="k1")
    trail.store.note([NewEvent(event="move.succeeded", actor="ann", credential="site", detail={"from": NAME})])
    trail.now += DAY
    found = made(trail.store, until=trail.now, names=["site"])
    assert [key["key_id"] for key in found["keys"]] == ["k1"]
    assert found["population"]["end"]["credentials"] == ["site"]


def test_checkpoints_stand_at_both_ends(trail: Trail) -> None:
    for number in range(4):
        trail.tell("checkpoint.succeeded", after=10 * DAY, detail={"checkpoint": f"note {number}"})
    since, until = START + 15 * DAY, START + 25 * DAY
    found = made(trail.store, since=since, until=until)["trail"]["checkpoints"]
    assert (found["start"]["checkpoint"], found["end"]["checkpoint"]) == ("note 0", "note 2")
    later = made(trail.store, since=since, until=START + 45 * DAY)["trail"]["checkpoints"]
    assert later["end"]["checkpoint"] == "note 3"
    assert made(trail.store, since=START, until=until)["trail"]["checkpoints"]["start"] is None


def test_what_people_did_past_the_policy_is_told(trail: Trail) -> None:
    trail.tell("without.succeeded", destination="vault", detail={"because": "the host is gone"})
    trail.tell("policy.succeeded", detail={"old": {}, "new": {"rotate_every": "90d"}, "because": None})
    found = made(trail.store, until=trail.now + DAY, owners={NAME: "web@example.com"})
    (exception,) = found["exceptions"]
    assert (exception["actor"], exception["reason"], exception["owner"]) == (
        "ann",
        "the host is gone",
        "web@example.com",
    )
    assert [change["detail"]["new"] for change in found["policy_changes"]] == [{"rotate_every": "90d"}]


def test_the_same_trail_gives_the_same_report(year: Year) -> None:
    asked = Asked(since=START, until=END, now=END, max_age=DAY)
    once, again = (report(Ledger().read(lines(year.store)), replace(asked)) for _ in range(2))
    assert once == again
