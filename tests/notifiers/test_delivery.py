"""From rotations to a real receiver, which dies and comes back; and senders that die."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from rotator.domain.events import Subject
from rotator.engine import notify
from rotator.testbed.process import free_port
from tests.engine.place import Place
from tests.notifiers.receiver import KEY, Receiver, receiving

WEBHOOK = {"events": ["rotation.succeeded"], "group_wait": "0s", "group_interval": "1ms", "repeat": "0s"}


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with receiving(tmp_path) as started:
        yield started


@pytest.fixture
def house(tmp_path: Path, receiver: Receiver) -> Place:
    """Two credentials, and every rotation of them told by a signed webhook."""
    embedded = Place(tmp_path)
    embedded.policy["max_creates_per_day"] = 1000
    embedded.write(
        providers={"local": {"type": "generated"}},
        destinations={"env": {"type": "env-file", "path": "app.env"}},
        credentials={
            name: {"provider": "local", "destinations": [{"to": "env", "fields": {name.upper(): "{secret}"}}]}
            for name in ("web", "mail")
        },
    )
    (embedded.folder / "sign").write_text(KEY)
    route(embedded, ops={"webhook": receiver.url, "sign": "file:sign", **WEBHOOK})
    embedded.rotate()
    return embedded


def route(place: Place, **routes: Any) -> None:
    content = yaml.safe_load(place.file.read_text())
    content["notify"] = {"routes": routes}
    place.file.write_text(yaml.safe_dump(content, sort_keys=False))


def rotations(place: Place) -> list[int]:
    with place.service(unlock=False) as service:
        events = [json.loads(event.body) for event in service.store.events()]
    return [event["seq"] for event in events if event["event"] == "rotation.succeeded"]


def run(place: Place, *names: str) -> None:
    """`rotate --now`, and then a pass, as a person and a CronJob would."""
    with place.service() as service:
        for name in names:
            place.rotate(name, now=True)
        service.running().run(service.names, None, timedelta(0), stays=True)


def test_a_receiver_that_is_killed_for_a_while_loses_nothing_doubles_nothing_and_keeps_the_order(
    house: Place, receiver: Receiver
) -> None:
    run(house, "web")
    assert len(receiver.notices) == 3
    receiver.kill()
    for _ in range(3):
        run(house, "web", "mail")
    assert house.bugs == []
    assert house.status("web")["current"]["version"] == 5  # nobody waited
    receiver.start()
    for _ in range(20):
        if len(receiver.notices) >= 9:
            break
        run(house)
    run(house)
    assert [notice["seq"] for notice in receiver.notices] == rotations(house)
    assert len({notice["id"] for notice in receiver.notices}) == 9
    assert {notice["state"] for notice in receiver.notices} == {"happened"}
    assert all(line["signed"] for line in map(json.loads, receiver.file.read_text().splitlines()))


DIES = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
from rotator import wiring
from rotator.config import load

class Dies:
    def __init__(self, notifier): self.notifier = notifier; self.name = notifier.name
    def send(self, message):
        if sys.argv[2] == "before": os.kill(os.getpid(), signal.SIGKILL)
        self.notifier.send(message)
        os.kill(os.getpid(), signal.SIGKILL)

class Seam(wiring.Seam):
    def wrap(self, port, kind): return Dies(port) if kind == "notifier" else port

with wiring.opened(load(Path(sys.argv[1])), wiring.surroundings(), seam=Seam()) as service:
    service.running().run(service.names, None, timedelta(0), stays=True)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_sender_that_is_killed_loses_nothing_and_says_the_same_again(
    house: Place, receiver: Receiver, when: str
) -> None:
    count = len(receiver.received)
    route(house)  # rotates without anybody being told
    house.rotate("web", now=True)
    route(house, ops={"webhook": receiver.url, "sign": "file:sign", **WEBHOOK})
    died = subprocess.run(
        [sys.executable, "-c", DIES, str(house.file), when], check=False, cwd=Path(__file__).parents[2]
    )
    assert died.returncode == -signal.SIGKILL
    sent = receiver.received[count:]
    assert len(sent) == (when == "after")
    with house.service(unlock=False) as service:
        service.store.note_follower("notify:ops", lambda row: replace(row, taken_until=None))
    run(house)
    run(house)
    again = receiver.received[count:]
    assert [message["id"] for message in again[: len(sent)]] == [message["id"] for message in sent]
    assert len(again) == len(sent) + 1
    assert again[-1]["id"] == again[0]["id"]
    assert [notice["seq"] for notice in again[-1]["notices"]] == rotations(house)[-1:]


def test_a_receiver_that_accepts_nothing_for_long_is_a_finding_of_which_it_is_not_told(
    house: Place, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "RETRY_ALARM", timedelta(0))
    (tmp_path / "other").mkdir()
    everything = {"severity": "info", "group_wait": "0s", "group_interval": "1ms"}
    with receiving(tmp_path / "other") as other:
        route(
            house,
            ops={"webhook": receiver.url, "sign": "file:sign", **everything},
            second={"webhook": other.url, "sign": "file:sign", **everything},
        )
        run(house)
        receiver.kill()
        run(house, "web")
        for _ in range(5):
            run(house)
        told = [n for n in other.notices if n["event"].startswith(Subject.NOTIFY)]
        assert [(n["event"], n["state"], n["key"]) for n in told] == [("notify.found", "new", "notify:ops")]
        assert "rotator notify test ops" in told[0]["remedy"]
        receiver.start()
        for _ in range(5):
            run(house)
        assert [n["state"] for n in other.notices if n["key"] == "notify:ops"] == ["new", "resolved"]
        assert [n for n in receiver.notices if n["event"].startswith(Subject.NOTIFY)] == []
        # Its own events are told to others, and are no reason for more of them.
        before = len(house.told("notify.found", "notify.cleared"))
        for _ in range(3):
            run(house)
        assert len(house.told("notify.found", "notify.cleared")) == before


def test_five_hundred_credentials_that_fail_at_one_provider_are_one_message(tmp_path: Path, receiver: Receiver) -> None:
    place = Place(tmp_path)
    place.engine = {"lease": "60s", "call_budget": "5s", "workers": 8, "in_flight": 64, "brake": {"failures": 1000}}
    (place.folder / "admin").write_text("an admin key, not for a header")
    (place.folder / "sign").write_text(KEY)
    url, options = f"http://127.0.0.1:{free_port()}/v1", {"project": "proj_a", "service_account": "svc_acct_a"}
    place.write(
        providers={"openai": {"type": "openai", "admin_key": "file:admin", "base_url": url}},
        destinations={"env": {"type": "env-file", "path": "app.env"}},
        credentials={
            f"c{number}": {
                "provider": "openai",
                "options": options,
                "destinations": [{"to": "env", "fields": {f"C{number}": "{secret}"}}],
            }
            for number in range(120)
        },
    )
    route(place, ops={"webhook": receiver.url, "sign": "file:sign", "group_wait": "1h"})
    with place.service() as service:
        service.running().run(service.names, None, timedelta(0))  # as a daemon: others of the group are waited for
        assert {entry["status"] for entry in service.report().status()["credentials"]} == {"blocked"}
        assert receiver.received == []
        service.running().run(["c0"], None, timedelta(0), stays=True)  # as a CronJob: who knows when the next one comes
    (message,) = receiver.received
    assert [notice["event"] for notice in message["notices"]] == ["credential.blocked"] * 120
    assert message["title"] == "[test] 120 new: 120 credentials at openai"
    assert len(message["text"]) < 1500
