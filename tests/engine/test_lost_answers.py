"""A create whose answer is lost: one request per version row, the lost key is found, nothing of anybody else dies."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest

from rotator.engine import operator
from rotator.testbed.gate import Answer, CutMidBody, Lose, Refuse, Request
from tests.engine.conftest import OpenAIWeb


def is_create(request: Request) -> bool:
    return request.method == "POST" and request.path.endswith("/api_keys")


def once_per_label(web: OpenAIWeb) -> None:
    """No label, so no version row, was ever sent twice."""
    names = Counter(create.name for create in web.emulator.creates)
    assert max(names.values()) == 1, names


@pytest.mark.parametrize(
    "fault", [Lose(), CutMidBody(), Answer(500, effect=True), Answer(502, effect=True)], ids=lambda f: type(f).__name__
)
def test_the_lost_key_is_found_by_its_label_and_a_new_one_is_made(web_embedded: OpenAIWeb, fault: object) -> None:
    web = web_embedded
    web.place.rotate()
    stranger = web.emulator.make_key(name="Made by a person in the same minute")
    web.gate.on(is_create, fault)  # type: ignore[arg-type]
    assert web.place.rotate("web", now=True, patience=10)["web"].completed
    web.place.rotate()
    assert len(web.emulator.creates) == 3
    once_per_label(web)
    current = web.place.status("web")["current"]["key_id"]
    assert set(web.live()) == {current, stranger.id}
    assert "condemn.succeeded" in web.place.told()
    web.place.verified()


def test_a_request_that_never_arrived_makes_no_search_party(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.gate.on(is_create, Refuse())
    assert web.place.rotate("web", now=True, patience=10)["web"].completed
    web.place.rotate()
    assert len(web.live()) == 1
    assert "condemn.succeeded" not in web.place.told()
    once_per_label(web)


def test_a_refused_connection_is_not_a_lost_answer(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    with web.gate.down():
        assert not web.place.rotate("web", now=True, patience=6)["web"].completed
    assert "condemn.succeeded" not in web.place.told()
    assert web.place.rotate("web", now=True)["web"].completed
    once_per_label(web)


def test_a_429_to_create_is_waited_out_and_leaves_no_key(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.gate.on(is_create, Answer(429, headers={"Retry-After": "1"}))
    assert web.place.rotate("web", now=True, patience=10)["web"].completed
    delayed = [e for e in web.place.events if e["event"] == "create.delayed"]
    assert [e["reason"] for e in delayed] == ["rate_limited"]
    web.place.rotate()
    assert len(web.live()) == 1


def test_a_key_that_shows_late_in_lists_is_waited_for(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"settle": "4s"})
    web.emulator.list_lag = 3
    web.place.rotate(patience=15)
    web.gate.on(is_create, Lose())
    assert web.place.rotate("web", now=True, patience=20)["web"].completed
    web.place.rotate(patience=5)
    assert len(web.live()) == 1
    once_per_label(web)


def test_a_key_that_shows_later_than_it_should_is_taken_away_by_the_next_rotation(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.emulator.list_lag = 3600
    web.gate.on(is_create, Lose())
    assert web.place.rotate("web", now=True, patience=20)["web"].completed
    web.emulator.list_lag = 0
    assert len(web.live()) > 1
    web.place.rotate("web", now=True, patience=5)
    web.place.rotate(patience=5)
    assert web.live() == [web.place.status("web")["current"]["key_id"]]
    assert [e["reason"] for e in web.place.events if e["event"] == "condemn.succeeded"] == ["late"]


@pytest.mark.parametrize("how", ["delete", "keep"])
def test_a_lost_key_that_somebody_has_used_is_settled_by_a_person(web_embedded: OpenAIWeb, how: str) -> None:
    web = web_embedded
    web.place.rotate()
    web.gate.on(is_create, Lose())
    web.place.rotate("web", now=True, patience=0.1)
    lost = web.emulator.keys()[-1]
    httpx.get(f"{web.emulator.url}/models", headers={"Authorization": f"Bearer {lost.secret}"}).raise_for_status()
    web.place.rotate(patience=5)
    status = web.place.status("web")
    assert (status["status"], status["reason"]) == ("blocked", "ambiguous_keys")
    with web.place.service() as service, service.running().hold("web") as work:
        if how == "delete":
            operator.resume(work, delete=lost.id)
        else:
            operator.resume(work, keep=[lost.id])
    web.place.rotate(patience=5)
    assert web.place.status("web")["status"] == "ok"
    assert (lost.id in web.live()) is (how == "keep")
    assert web.place.rotate("web", now=True, patience=5)["web"].completed
    assert (lost.id in web.live()) is (how == "keep"), "a kept key is never looked at again"


def test_creates_stop_at_the_limit_of_a_day(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"max_creates_per_day": 3})
    web.place.rotate()
    web.gate.on(is_create, Lose(), times=None)
    assert not web.place.rotate("web", now=True, patience=12)["web"].completed
    assert len(web.emulator.creates) == 3
    assert web.place.status("web")["rotation"]["reason"] == "max_creates"
    assert web.works(0) is True
    assert web.works(1) is True


def test_a_labelled_key_that_the_database_does_not_know_stops_everything(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.emulator.make_key(name="web rotator/00000000-0000-4000-8000-000000000000")
    assert not web.place.rotate("web", now=True, patience=6)["web"].completed
    assert len(web.emulator.creates) == 1
    status = web.place.status("web")
    assert (status["status"], status["reason"]) == ("blocked", "reconcile")
