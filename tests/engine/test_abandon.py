"""A new key that turns out dead is given up, and what was pushed is put back."""

from __future__ import annotations

from typing import TypeVar

from rotator.domain.model import Cause
from rotator.engine import operator
from rotator.ports.provider import IssuedKey
from rotator.testbed.gate import Refuse
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.wiring import Seam
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import Consumer
from tests.engine.test_rotation import is_write

T = TypeVar("T")


def test_a_key_that_dies_after_one_of_two_pushes_is_put_back(web: OpenAIWeb) -> None:
    web.place.rotate()
    old = web.live()
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=1)
    assert web.value(0) != web.value(1)
    new = next(k for k in web.live() if k not in old)
    web.emulator.revoke(new)
    web.vault_gate.clear()
    web.place.rotate(patience=5)
    assert web.live() == old
    assert web.works(0) is True
    assert web.works(1) is True
    assert "abandon.succeeded" in web.place.told()
    assert web.place.status("web")["status"] == "ok"
    web.place.verified()


class DeadOnArrival(Seam):
    """Every key that is created is revoked before anybody can use it."""

    def __init__(self, emulator: OpenAIEmulator) -> None:
        self.emulator = emulator

    def wrap(self, port: T, kind: str) -> T:
        if kind == "provider":
            create = port.create  # type: ignore[attr-defined]

            def create_and_revoke(label: str) -> IssuedKey:
                issued: IssuedKey = create(label)
                self.emulator.revoke(issued.key_id)
                return issued

            port.create = create_and_revoke  # type: ignore[attr-defined]
        return port


def test_a_key_that_is_dead_from_the_start_reaches_no_destination(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"settle": "1s", "max_creates_per_day": 2})
    web.place.rotate(patience=10)
    old = web.live()
    pushes = web.place.told().count("push.started")
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        seam = DeadOnArrival(web.emulator)
        assert not web.place.rotate("web", now=True, patience=10, seam=seam)["web"].completed
        web.place.rotate(patience=3)
    assert consumer.dead == 0
    assert web.live() == old
    assert web.place.told().count("push.started") == pushes


def test_no_destination_is_without_a_working_key_when_the_pushed_one_is_found_dead(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    old = web.live()
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=1)
    new = next(k for k in web.live() if k not in old)
    web.emulator.revoke(new)
    web.place.rotate(patience=2)  # the second place still takes no writes: the first is put back all the same
    assert web.works(0) is True
    assert web.works(1) is True


def test_a_person_may_abandon_in_any_state(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    old = web.live()
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=1)
    with web.place.service() as service, service.running().hold("web") as work:
        operator.abandon(work, "wrong day")
    web.vault_gate.clear()
    web.place.rotate(patience=5)
    assert web.live() == old
    assert web.works(0) is True
    assert web.works(1) is True


def test_a_refused_key_without_another_that_works_waits_for_a_person(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"settle": "1s"})
    web.emulator.settle = 3600
    web.place.rotate(patience=4)
    status = web.place.status("web")
    assert (status["status"], status["reason"]) == ("blocked", "key_refused")


def test_a_put_back_to_a_key_that_somebody_deleted_can_be_given_up_for_a_new_key(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    (old,) = web.live()
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=1)
    web.emulator.revoke(old)
    web.vault_gate.clear()
    for _ in range(2):  # the rotation, then its put-back, which finds that the key is gone
        with web.place.service() as service, service.running().hold("web") as work:
            operator.abandon(work)
        web.place.rotate(patience=1)
    assert web.place.rotate("web", now=True, patience=5)["web"].completed
    web.place.rotate(patience=5)
    assert web.works(0) is True
    assert web.works(1) is True
    assert len(web.live()) == 1
    web.place.verified()


def test_a_leaked_key_is_gone_as_soon_as_the_new_one_is_verified_everywhere(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"grace": "1h", "soak": "1h", "require_idle": "1h"})
    web.place.rotate()
    web.place.rotate("web", now=True)
    assert len(web.live()) == 2
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        result = web.place.rotate("web", now=True, cause=Cause.COMPROMISED)["web"]
    assert result.completed
    assert consumer.dead == 0
    assert len(web.live()) == 1


def test_a_leaked_previous_key_needs_no_new_one(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"grace": "1h", "soak": "1h"})
    web.place.rotate()
    old = web.live()[0]
    web.place.rotate("web", now=True)
    current = next(k for k in web.live() if k != old)
    web.place.rotate("web", now=True, cause=Cause.COMPROMISED, key=old)
    assert web.live() == [current]
    assert len(web.emulator.creates) == 2
