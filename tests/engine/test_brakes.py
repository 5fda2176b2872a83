"""One account that fails or is slow stops its own rotations, with one finding; limits hold whatever the clock does."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from rotator.domain.model import Cause
from rotator.domain.policy import NotDue
from rotator.engine.explain import forecast
from rotator.engine.pace import Pace
from rotator.store.store import open_store
from rotator.testbed.gate import Answer, Gate, Lose, Refuse
from rotator.testbed.openai_emulator import OpenAIEmulator
from tests.engine.place import Place
from tests.engine.test_guards import Patched
from tests.engine.test_lost_answers import is_create

MANY = 6


class Fleet:
    """Several credentials of one OpenAI project behind a gate, each in an env file of its own."""

    def __init__(self, place: Place, emulator: OpenAIEmulator, gate: Gate) -> None:
        self.place = place
        self.emulator = emulator
        self.gate = gate
        self.names = [f"key-{number}" for number in range(MANY)]
        place.engine |= {"watch": "1h", "brake": {"failures": 3, "pause": "1h"}}
        (place.folder / "admin").write_text(emulator.admin_key)
        self.write()

    def write(self, **engine: Any) -> None:
        self.place.engine |= engine
        options = {"project": self.emulator.project, "service_account": self.emulator.service_account}
        self.place.write(
            providers={"openai": {"admin_key": "file:admin", "base_url": self.gate.url + "/v1"}},
            destinations={name: {"type": "env-file", "path": f"{name}.env"} for name in self.names},
            credentials={
                name: {"provider": "openai", "options": options, "destinations": [{"to": name}]} for name in self.names
            },
        )

    def findings(self) -> list[dict[str, Any]]:
        with self.place.service(unlock=False) as service:
            found: list[dict[str, Any]] = service.report().status()["findings"]
            return found

    def asked(self) -> int:
        return len(self.gate.requests)


@pytest.fixture
def fleet(embedded: Place, openai: OpenAIEmulator, gate_to: Any) -> Fleet:
    return Fleet(embedded, openai, gate_to(openai.url.removesuffix("/v1")))


# the brake


def test_an_account_that_fails_is_left_alone_with_one_finding(fleet: Fleet) -> None:
    fleet.write(workers=1)
    fleet.gate.on(lambda _: True, Answer(503), times=None)
    fleet.place.rotate(patience=0)
    (found,) = fleet.findings()
    assert found["kind"] == "account_braked"
    assert "openai" in found["message"]
    assert fleet.asked() == 3, "three tries in all, not one for each credential"
    fleet.place.rotate(patience=0)
    assert fleet.asked() == 3, "also for another process"
    assert fleet.place.told("account_braked.found") == ["account_braked.found"]


def test_whoever_asks_after_one_credential_is_told_of_the_brake(fleet: Fleet) -> None:
    fleet.write(workers=1)
    fleet.gate.on(lambda _: True, Answer(503), times=None)
    fleet.place.rotate(patience=0)
    with fleet.place.service(unlock=False) as service:
        report = service.report()
        (found,) = report.status(["key-4"])["findings"]
        assert found["kind"] == "account_braked"
        assert "key-4: nothing; 3 steps in a row have failed at" in forecast(report, "key-4", now=False)
        assert "key-4: would" in forecast(report, "key-4", now=True), "a person who asks has one try"
    last = fleet.place.explain("key-4").splitlines()[-1]
    assert last.startswith("Nothing is done until this is settled: 3 steps in a row have failed at")
    assert "`rotate --now NAME` at once" in last


def test_the_brake_ends_with_one_try_that_succeeds(fleet: Fleet) -> None:
    fleet.write(workers=1, brake={"failures": 3, "pause": "1s"})
    fleet.gate.on(lambda _: True, Answer(503), times=None)
    fleet.place.rotate(patience=0)
    time.sleep(1.1)
    before = fleet.asked()
    fleet.place.rotate(patience=0)
    assert fleet.asked() == before + 1, "one credential has tried for all"
    fleet.gate.clear()
    time.sleep(1.1)
    fleet.place.rotate(patience=5)
    assert fleet.findings() == []
    assert fleet.place.told("account_braked.cleared")
    assert [s["current"]["version"] for s in fleet.place.statuses()] == [1] * MANY


def test_a_person_who_asks_has_one_try(fleet: Fleet) -> None:
    fleet.write(workers=1)
    fleet.gate.on(lambda _: True, Answer(503), times=None)
    fleet.place.rotate(patience=0)
    before = fleet.asked()
    progress = fleet.place.rotate("key-5", now=True, patience=2)["key-5"]
    assert fleet.asked() == before + 1
    assert progress.decision is not None
    fleet.gate.clear()
    assert fleet.place.rotate("key-5", now=True, cause=Cause.COMPROMISED, patience=5)["key-5"].completed
    assert fleet.findings() == [], "what works for a person works for all"


def test_unanswered_creates_count_as_failures(fleet: Fleet) -> None:
    fleet.write(workers=1)
    fleet.gate.on(is_create, Lose(), times=None)
    fleet.place.rotate(patience=0)
    assert len(fleet.emulator.creates) == 3
    assert [f["kind"] for f in fleet.findings()] == ["account_braked"]


def test_a_success_between_two_failures_releases_nothing_and_brakes_nothing(fleet: Fleet) -> None:
    fleet.write(workers=1)
    fleet.gate.on(is_create, Refuse(), times=2)
    fleet.place.rotate(patience=5)
    fleet.gate.on(is_create, Refuse(), times=2)
    fleet.place.rotate(*fleet.names[:2], now=True, patience=5)
    assert fleet.findings() == []


def test_one_broken_destination_brakes_no_account(fleet: Fleet) -> None:
    for name in fleet.names[:4]:
        (fleet.place.folder / f"{name}.env").mkdir()
    fleet.place.rotate(patience=2)
    assert fleet.findings() == []
    assert [s["status"] for s in fleet.place.statuses()][4:] == ["ok", "ok"]


# rotations and calls in flight


def test_no_more_rotations_of_an_account_move_than_may(fleet: Fleet) -> None:
    fleet.write(in_flight=2, workers=6)
    open_at_once, stop = [], threading.Event()

    def count() -> None:
        while not stop.wait(0.01):
            open_at_once.append(sum(1 for s in fleet.place.statuses() if s["rotation"]))

    counting = threading.Thread(target=count)
    counting.start()
    try:
        with ThreadPoolExecutor(2) as both:  # two processes, as far as rows can tell
            for ran in [both.submit(fleet.place.rotate, patience=30) for _ in range(2)]:
                ran.result()
    finally:
        stop.set()
        counting.join()
    assert max(open_at_once) <= 2
    assert [s["current"]["version"] for s in fleet.place.statuses()] == [1] * MANY


def test_a_rotation_that_is_stuck_keeps_no_other_waiting(fleet: Fleet) -> None:
    fleet.write(in_flight=1, workers=1)
    (fleet.place.folder / "key-0.env").mkdir()
    fleet.place.rotate(patience=10)
    states = {s["name"]: s["status"] for s in fleet.place.statuses()}
    assert states == {"key-0": "blocked", **dict.fromkeys(fleet.names[1:], "ok")}


def test_calls_at_once_are_limited() -> None:
    pace = Pace(2, None, time.monotonic)
    assert [pace.enter(), pace.enter()] == [0, 0]
    assert pace.enter() > 0
    pace.leave()
    assert pace.enter() == 0


def test_calls_per_second_are_limited_and_a_quiet_second_may_be_used_up() -> None:
    now = [100.0]
    pace = Pace(1000, 4, lambda: now[0])
    sent = 0
    for _ in range(1000):  # ten seconds
        while pace.enter() == 0:
            pace.leave()
            sent += 1
        now[0] += 0.01
    assert 40 <= sent <= 45
    now[0] += 60
    burst = 0
    while pace.enter() == 0:
        burst += 1
    assert burst <= 5


def test_a_call_that_sends_nothing_waits_for_no_rate() -> None:
    pace = Pace(1000, 0.01, lambda: 100.0)
    assert pace.enter() == 0
    assert pace.enter() > 0
    assert pace.enter(0) == 0


def test_the_configured_rate_is_kept_by_all_credentials_of_the_account(fleet: Fleet) -> None:
    text = fleet.place.file.read_text().replace("    admin_key:", "    calls_per_second: 10\n    admin_key:")
    fleet.place.file.write_text(text)
    began = time.monotonic()
    fleet.place.rotate(patience=60)
    took = time.monotonic() - began
    sent = fleet.asked()
    assert sent <= 10 * took + 12, f"{sent} requests in {took:.1f} s"
    assert [s["current"]["version"] for s in fleet.place.statuses()] == [1] * MANY


def test_a_retry_after_holds_the_whole_account(fleet: Fleet) -> None:
    fleet.write(workers=1)
    fleet.gate.on(lambda _: True, Answer(429, headers={"Retry-After": "60"}), times=None)
    fleet.place.rotate(patience=0)
    assert fleet.asked() == 1, "nobody else has asked, in this process"
    fleet.place.rotate(*fleet.names[1:], patience=0)
    assert fleet.asked() == 1, "nor in another one"
    with fleet.place.service(unlock=False) as service:
        account = service.store.account("openai")
        assert account.not_before is not None
        assert account.not_before > service.store.now() + timedelta(seconds=50)
    assert {s["rotation"]["reason"] for s in fleet.place.statuses()} == {"rate_limited"}
    assert fleet.findings() == [], "being slow is no failure"


def test_a_braked_account_with_nothing_to_do_is_not_looked_at_without_end(fleet: Fleet) -> None:
    fleet.place.rotate(patience=5)
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    with fleet.place.service() as service:
        service.store.note_account("openai", lambda row: replace(row, failures=99, paused_until=long_ago))
        credentials = [c.id for c in service.store.credentials()]
        before = [lease.epoch for c in credentials if (lease := service.store.lease(c))]
    fleet.place.rotate(patience=6)
    with fleet.place.service() as service:
        after = [lease.epoch for c in credentials if (lease := service.store.lease(c))]
    assert [late - early for early, late in zip(before, after, strict=True)] == [1] * MANY


# limits under clock jumps


class Jumping:
    """The store's clock, which a test sets; each run is a process of its own that knows rows only."""

    def __init__(self, place: Place, **policy: Any) -> None:
        self.start = datetime.now(UTC)
        self.moment = self.start
        self.place = place
        place.engine |= {"watch": "1ms"}
        place.write(
            providers={"local": {"type": "generated"}},
            destinations={"app": {"type": "env-file", "path": "app.env"}},
            credentials={
                "web": {
                    "provider": "local",
                    "policy": {"rotate_every": "30d", "min_interval": "1h", **policy},
                    "destinations": [{"to": "app", "fields": {"WEB": "{secret}"}}],
                }
            },
        )

    def __call__(self) -> datetime:
        self.moment += timedelta(milliseconds=1)
        return self.moment

    def at(self, **since_start: float) -> None:
        self.moment = self.start + timedelta(**since_start)

    def rotate(self, *, now: bool = False) -> str:
        """Why nothing was opened, or `rotated`."""
        progress = self.place.rotate("web", now=now, patience=0)["web"]
        reason = progress.decision.reason if isinstance(progress.decision, NotDue) else ""
        return "rotated" if progress.completed else reason

    def made(self) -> int:
        return self.place.told().count("create.started")


TEN_YEARS = 3652


@pytest.fixture
def jumping(embedded: Place, monkeypatch: pytest.MonkeyPatch) -> Jumping:
    made = Jumping(embedded)
    monkeypatch.setattr("rotator.wiring.open_store", functools.partial(open_store, clock=made))
    return made


def test_the_limit_of_a_day_holds_when_the_clock_jumps_on_and_back(jumping: Jumping) -> None:
    limit = 5
    assert [jumping.rotate(now=True) for _ in range(3)] == ["rotated"] * 3
    jumping.at(days=TEN_YEARS)
    assert [jumping.rotate(now=True) for _ in range(2)] == ["rotated"] * 2
    jumping.at(hours=1)
    assert jumping.rotate(now=True) == "max_creates"
    assert jumping.made() == limit
    jumping.at(days=-TEN_YEARS)
    assert jumping.rotate(now=True) == "max_creates"
    jumping.at(hours=2)
    with jumping.place.service() as service, service.running().hold("web") as work:
        from rotator.domain.policy import why_due
        from rotator.engine.intake import question

        decision = why_due(question(work, Cause.MANUAL))
        assert isinstance(decision, NotDue)
        assert decision.until is not None
        assert decision.until <= jumping.moment + timedelta(days=1), "and is looked at anew in a day, not in ten years"
    jumping.at(days=2)
    assert jumping.rotate(now=True) == "rotated", "three of the five are older than a day"


def test_the_schedule_makes_one_key_for_a_jump_however_often_it_comes(jumping: Jumping) -> None:
    jumping.rotate()
    for number in range(10):
        jumping.at(days=TEN_YEARS, minutes=number)
        jumping.rotate()
        jumping.at(minutes=number)
        jumping.rotate()
        jumping.at(days=-TEN_YEARS, minutes=number)
        jumping.rotate()
    assert jumping.made() == 2


def test_a_rotation_that_lies_in_the_future_is_told_and_a_new_one_ends_it(jumping: Jumping) -> None:
    jumping.rotate()
    jumping.at(days=TEN_YEARS)
    assert jumping.rotate() == "rotated"
    jumping.at(hours=2)
    assert jumping.rotate() in ("not_due", "min_interval")
    with jumping.place.service(unlock=False) as service:
        (found,) = [f for f in service.report().findings if f.kind == "clock" and f.subject == "web"]
    assert "rotate --now web" in (found.remedy or "")
    assert jumping.rotate(now=True) == "rotated"
    jumping.rotate()
    with jumping.place.service(unlock=False) as service:
        assert [f for f in service.report().findings if f.subject == "web"] == []
    jumping.at(days=31)
    assert jumping.rotate() == "rotated", "the schedule goes on by the right clock"


def test_the_least_interval_holds_for_the_schedule_whatever_the_clock_does(jumping: Jumping) -> None:
    jumping.start = jumping.start.replace(minute=30)
    text = jumping.place.file.read_text().replace("      rotate_every: 30d", "      cron: 0 * * * *")
    jumping.place.file.write_text(text)
    jumping.at(minutes=0)
    assert jumping.rotate() == "rotated"
    jumping.at(minutes=40)
    assert jumping.rotate() == "min_interval", "the slot of the full hour has come"
    jumping.at(days=-TEN_YEARS)
    assert jumping.rotate() != "rotated"
    jumping.at(minutes=59)
    assert jumping.rotate() == "min_interval"
    jumping.at(minutes=61)
    assert jumping.rotate() == "rotated"
    assert jumping.made() == 2


def test_a_lease_of_a_clock_that_ran_ahead_does_not_last_for_years(jumping: Jumping) -> None:
    jumping.rotate()
    jumping.at(days=TEN_YEARS)
    with jumping.place.service() as service:
        service.store.claim(service.running().credential_id("web"), "host:gone", timedelta(seconds=60))
    jumping.at(hours=2)
    assert jumping.rotate(now=True) == "rotated"


def test_an_account_is_not_left_alone_for_years_because_a_clock_ran_ahead(jumping: Jumping) -> None:
    jumping.rotate()
    later = jumping.start + timedelta(days=TEN_YEARS)
    with jumping.place.service() as service:
        service.store.note_account(
            "local", lambda row: replace(row, failures=99, failed_at=later, paused_until=later, not_before=later)
        )
    jumping.at(hours=2)
    assert jumping.rotate(now=True) == "rotated", "a person has a try"
    with jumping.place.service() as service:
        service.store.note_account(
            "local", lambda row: replace(row, failures=99, failed_at=later, paused_until=later, not_before=later)
        )
    jumping.at(days=31)
    assert jumping.rotate() == "rotated", "so has a pass"


def test_an_account_that_does_not_answer_holds_up_no_other(fleet: Fleet) -> None:
    """There are as many credentials of it as workers, and they come first."""
    quick = [f"quick-{number}" for number in range(4)]
    left, done, in_time = set(quick), threading.Event(), []
    fleet.write(workers=MANY, call_budget="20s", lease="60s")
    content = yaml.safe_load(fleet.place.file.read_text())
    content["providers"]["local"] = {"type": "generated"}
    for name in quick:
        content["destinations"][name] = {"type": "env-file", "path": f"{name}.env"}
        destinations = [{"to": name, "fields": {"KEY": "{secret}"}}]
        content["credentials"][name] = {"provider": "local", "destinations": destinations}
    fleet.place.file.write_text(yaml.safe_dump(content, sort_keys=False))

    class Watched(list[dict[str, Any]]):
        def append(self, event: dict[str, Any], /) -> None:
            super().append(event)
            if event["event"] == "rotation.succeeded":
                left.discard(event["credential"])
            if not left:
                done.set()

    fleet.place.events = Watched()

    def make(account: Callable[[], str]) -> Callable[[], str]:
        def slow() -> str:
            found = account()
            if found.startswith("openai:"):
                in_time.append(done.wait(15))
            return found

        return slow

    with fleet.place.service(Patched("provider", account=make)) as service:
        service.running().run([*fleet.names, *quick], None, timedelta(seconds=30))
    assert in_time
    assert all(in_time), "the others had to wait for the slow account"
