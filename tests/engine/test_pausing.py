"""A paused credential: nothing is written or taken away, and everybody is told who said so."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from rotator.domain.errors import PermanentError
from rotator.domain.model import Cause
from rotator.engine import pausing, reactivation
from rotator.engine.explain import forecast
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
    web.place.rotate("web", now=True, patience=6)
    assert web.value(0) == old
    assert web.place.status("web")["rotation"]["state"] == "authenticated"
    web.place.rotate(patience=6)
    assert web.value(0) == old
    unpause(web.place)
    web.place.rotate(patience=5)
    assert web.value(0) != old
    assert web.works(0) is True


AFTER = {
    "create.succeeded": "authenticate",
    "authenticate.succeeded": "push",
    "push.succeeded": "verify",
    "verify.succeeded": "promote",
    "promote.succeeded": "drain",
    "drain.succeeded": "delete",
}


@pytest.mark.parametrize("event", AFTER)
def test_from_the_next_step_on_nothing_is_written_and_everybody_is_told_why(embedded: Place, event: str) -> None:
    embedded.write(
        providers={"local": {"type": "generated"}},
        destinations={"app": {"type": "env-file", "path": "app.env"}},
        credentials={"web": {"provider": "local", "destinations": [{"to": "app", "fields": {"WEB": "{secret}"}}]}},
    )
    embedded.rotate()
    place_and_step = 2 if event in ("push.succeeded", "verify.succeeded") else 1
    embedded.events = On(event, lambda: pause(embedded), number=place_and_step)
    embedded.rotate("web", now=True, patience=0)
    assert embedded.told()[-2:] == [event, "pause.succeeded"] or event == "promote.succeeded"
    embedded.events = []
    embedded.rotate(patience=0)
    assert embedded.told() == []
    said = embedded.explain("web")
    assert f"No step of it is done: it is {WHO}. `rotator unpause web` ends that." in said
    with embedded.service(unlock=False) as service:
        foreseen = forecast(service.report(), "web", now=False)
    assert foreseen.startswith("web: nothing")
    assert "paused by ann" in foreseen
    unpause(embedded)
    embedded.rotate(patience=2)
    assert AFTER[event] in {name.partition(".")[0] for name in embedded.told()}
    assert embedded.status("web")["status"] == "ok"


def test_nothing_is_taken_away_while_it_is_paused(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    old, _ = rotated_twice(web, grace="1s", soak="0s")
    pause(web.place)
    web.place.rotate(patience=3)
    assert old in web.live()


def test_a_pause_ends_by_itself(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    pause(web.place, timedelta(seconds=5))
    assert not web.place.rotate("web", now=True, patience=0.1)["web"].completed
    time.sleep(5)
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
