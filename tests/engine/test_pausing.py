"""A paused credential: nothing is written or taken away, and everybody is told who said so."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from rotator.domain.errors import PermanentError
from rotator.domain.model import Cause
from rotator.engine import pausing, reactivation
from rotator.engine.rollback import rollback
from rotator.testbed.gate import Refuse
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import Place
from tests.engine.test_going_back import held, rotated_twice
from tests.engine.test_guards import On, reason
from tests.engine.test_rotation import is_write

WHO = "paused by ann until it is unpaused: launch week"


def pause(place: Place, lasts: timedelta | None = None) -> bool:
    with place.service(unlock=False) as service:
        credential = service.store.credentials()[0]
        return pausing.pause(service.store, credential, actor="ann", why="launch week", lasts=lasts)


def unpause(place: Place) -> bool:
    with place.service(unlock=False) as service:
        return pausing.unpause(service.store, service.store.credentials()[0], actor="ann", because=None)


def test_a_schedule_holds_and_now_says_who_paused_it(web: OpenAIWeb) -> None:
    web.place.rotate()
    assert pause(web.place)
    assert not pause(web.place), "it is paused like that already"
    web.write(policy={"rotate_every": "1s"})
    time.sleep(1)
    web.place.rotate(patience=2)
    trouble = web.place.rotate("web", now=True)["web"].trouble
    assert isinstance(trouble, PermanentError)
    assert (trouble.reason, trouble.message) == ("paused", f"web is {WHO}")
    assert len(web.emulator.creates) == 1
    assert reason(web.place) == ("paused", "paused")
    assert web.place.status("web")["message"] == WHO
    assert unpause(web.place)
    assert not unpause(web.place)
    web.place.rotate(patience=5)
    assert len(web.emulator.creates) > 1
    assert web.place.told("pause.succeeded", "unpause.succeeded") == ["pause.succeeded", "unpause.succeeded"]
    web.place.verified()


def test_an_open_rotation_stops_at_its_next_step(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    old = web.value(0)
    web.place.events = On("authenticate.succeeded", lambda: pause(web.place))
    web.place.rotate("web", now=True, patience=1)
    assert web.value(0) == old
    assert web.place.status("web")["rotation"]["state"] == "authenticated"
    web.place.rotate(patience=1)
    assert web.value(0) == old
    unpause(web.place)
    web.place.rotate(patience=5)
    assert web.value(0) != old
    assert web.works(0) is True


def test_nothing_is_taken_away_while_it_is_paused(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    old, _ = rotated_twice(web, grace="1s", soak="0s")
    pause(web.place)
    web.place.rotate(patience=3)
    assert old in web.live()


def test_a_pause_ends_by_itself(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    pause(web.place, timedelta(seconds=1))
    assert not web.place.rotate("web", now=True)["web"].completed
    time.sleep(1)
    assert web.place.rotate("web", now=True)["web"].completed
    assert reason(web.place)[0] != "paused"


def test_a_leak_passes_a_pause_and_what_it_leaves_open_goes_on(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    old = web.live()[0]
    pause(web.place)
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, cause=Cause.COMPROMISED, patience=1)
    web.vault_gate.clear()
    web.place.rotate(patience=5)
    assert old not in web.live()
    assert web.works(0) is True
    assert web.works(1) is True
    assert reason(web.place) == ("paused", "paused")


def test_going_back_is_refused_while_it_is_paused(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    rotated_twice(web)
    pause(web.place)
    with held(web.place) as work:
        for verb in (rollback, reactivation.reactivate):
            with pytest.raises(PermanentError, match="paused by ann"):
                verb(work)
