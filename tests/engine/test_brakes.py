"""One account that fails or is slow stops its own rotations, with one finding; limits hold whatever the clock does."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from rotator.domain.model import Cause
from rotator.engine.pace import Pace
from rotator.testbed.gate import Answer, Gate, Lose, Refuse
from rotator.testbed.openai_emulator import OpenAIEmulator
from tests.engine.place import Place
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


def test_the_configured_rate_is_kept_by_all_credentials_of_the_account(fleet: Fleet) -> None:
    text = fleet.place.file.read_text().replace("    admin_key:", "    calls_per_second: 5\n    admin_key:")
    fleet.place.file.write_text(text)
    began = time.monotonic()
    fleet.place.rotate(patience=30)
    took = time.monotonic() - began
    second = [r for r in fleet.gate.requests if r.path.endswith(fleet.emulator.service_account)]
    calls = fleet.asked() - len(second)  # looking at the account is one call of two requests
    assert calls <= 5 * took + 6, f"{calls} calls in {took:.1f} s"
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
