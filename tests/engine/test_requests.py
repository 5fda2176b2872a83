"""Requests: a person with the database alone asks, and the next turn of whoever has the secrets does it, once."""

from __future__ import annotations

import functools
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rotator.domain.model import Cause, Request, RequestId, RequestState
from rotator.engine import pausing, reactivation, requests, verbs
from rotator.engine.engine import Wish
from rotator.store.store import open_store
from tests.engine.place import LONG, Place, dotenv_value
from tests.engine.test_going_back import held, unavailable
from tests.engine.test_guards import Crash, On, Patched


@pytest.fixture
def place(two_files: Place) -> Place:
    return two_files


def ask(place: Place, verb: str, because: str | None = None, **arguments: Any) -> RequestId:
    with place.service(unlock=False) as service:
        (credential,) = service.store.credentials()
        around = place.surroundings()
        return requests.ask(
            service.store, credential, verb, arguments, request_id=around.new_id(), actor="cli:ann", because=because
        )


def found(place: Place, request_id: RequestId) -> Request:
    with place.service(unlock=False) as service:
        request = service.store.request(request_id)
    assert request is not None
    return request


def stuck(place: Place) -> str:
    """A rotation that cannot be pushed to the second place; its id."""
    (place.folder / "two").rename(place.folder / "away")
    place.rotate("web", now=True, patience=0)
    rotation: str = place.status("web")["rotation"]["id"]
    (place.folder / "away").rename(place.folder / "two")
    return rotation


def test_the_next_pass_does_it_as_the_person_who_asked(place: Place) -> None:
    asked = ask(place, "abandon", because="wrong scopes", rotation=stuck(place))
    assert "Requested: abandon, by cli:ann at " in place.explain("web")
    assert found(place, asked).state is RequestState.STANDING
    place.rotate()
    done = found(place, asked)
    assert (done.state, done.message) == (RequestState.DONE, "the rotation is given up")
    told = {event["event"]: event for event in place.events}
    assert told["abandon.succeeded"]["actor"] == "cli:ann"
    assert told["abandon.succeeded"]["detail"]["because"] == "wrong scopes"
    assert told["request.started"]["detail"]["verb"] == "abandon"
    assert told["request.succeeded"]["actor"] == "cli:ann"
    assert told["request.succeeded"]["detail"]["by"] == place.surroundings().actor
    place.verified()


def test_a_refusal_is_its_answer(place: Place) -> None:
    asked = ask(place, "rollback")
    place.rotate()
    refused = found(place, asked)
    assert (refused.state, refused.reason) == (RequestState.REFUSED, "no_previous")
    assert refused.message == "web has no living key beside the current one; `rotate --now web` makes a new one"
    (told,) = [event for event in place.events if event["event"] == "request.failed"]
    assert (told["actor"], told["reason"]) == ("cli:ann", "no_previous")


def test_it_is_done_while_it_is_paused_and_by_a_run_for_another_reason(place: Place) -> None:
    with place.service(unlock=False) as service:
        pausing.pause(service.store, service.store.credentials()[0], actor="bob", why="w", lasts=None)
    asked = ask(place, "resume")
    place.rotate("web", now=True)
    assert found(place, asked).state is RequestState.DONE


@pytest.mark.parametrize("verb", ["abandon", "rotate", "rollback"])
def test_a_crash_between_the_deed_and_its_mark_does_it_once(place: Place, verb: str) -> None:
    arguments: dict[str, Any] = {}
    if verb == "rollback":
        place.rotate("web", now=True)
    if verb == "abandon":
        arguments = {"rotation": stuck(place)}

    def die() -> None:
        raise Crash

    asked = ask(place, verb, **arguments)
    place.events = On(f"{verb.replace('rotate', 'rotation')}.{'started' if verb == 'rotate' else 'succeeded'}", die)
    with suppress(Crash):
        place.rotate()
    assert found(place, asked).state is RequestState.STANDING
    first = place.events
    place.events = []
    place.rotate()
    assert found(place, asked).state is RequestState.DONE
    deeds = [event["event"] for event in (*first, *place.events)]
    assert deeds.count("abandon.succeeded") == (verb == "abandon")
    assert deeds.count("rollback.succeeded") == (verb == "rollback")
    assert deeds.count("create.started") == (verb == "rotate")


def test_another_rotation_than_the_one_that_was_meant_is_not_given_up(place: Place) -> None:
    asked = ask(place, "abandon", rotation="of-yesterday")
    rotation = stuck(place)
    assert place.status("web")["rotation"]["id"] == rotation
    assert found(place, asked).message == "that rotation is not open any more"


def test_what_may_be_tried_later_stands_with_the_reason(place: Place) -> None:
    (place.folder / "two" / "app.env").write_text("WEB=another\n")
    asked = ask(place, "overwrite", destination="two")
    place.rotate(patience=0, seam=Patched("destination", read=lambda _: unavailable))
    waits = found(place, asked)
    assert (waits.state, waits.reason, waits.message) == (RequestState.STANDING, "unavailable", "not now")
    assert "(unavailable: not now)" in place.explain("web")
    place.rotate()
    assert found(place, asked).state is RequestState.DONE
    assert dotenv_value(place.folder / "two/app.env", "WEB") == dotenv_value(place.folder / "one/app.env", "WEB")


def test_what_was_asked_for_too_long_ago_is_not_meant_any_more(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ask(place, "resume")
    later = datetime.now(UTC) + timedelta(days=1, minutes=1)
    monkeypatch.setattr("rotator.wiring.open_store", functools.partial(open_store, clock=lambda: later))
    place.rotate(patience=0)
    assert (found(place, asked).state, found(place, asked).reason) == (RequestState.REFUSED, "lapsed")


@pytest.mark.parametrize(("verb", "arguments"), [("explode", {}), ("abandon", {"everything": True})])
def test_what_this_release_does_not_know_is_refused(place: Place, verb: str, arguments: dict[str, Any]) -> None:
    asked = ask(place, verb, **arguments)
    place.rotate()
    assert (found(place, asked).state, found(place, asked).reason) == (RequestState.REFUSED, "unknown_verb")


def test_a_bug_in_one_verb_keeps_nothing_else_waiting(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_work: object, *, because: str | None) -> list[str]:
        raise ZeroDivisionError(because)

    monkeypatch.setattr(verbs, "VERBS", {**verbs.VERBS, "rollback": broken})
    asked = [ask(place, "rollback"), ask(place, "resume")]
    with pytest.raises(ZeroDivisionError):  # as the place tells it to the test
        place.rotate()
    assert [found(place, one).state for one in asked] == [RequestState.REFUSED, RequestState.DONE]
    assert found(place, asked[0]).reason == "bug"


def test_a_rotation_may_be_asked_for_and_a_leak_passes_a_pause(place: Place) -> None:
    before = dotenv_value(place.folder / "one/app.env", "WEB")
    ask(place, "rotate", because="new partner")
    place.rotate(patience=2)
    second = dotenv_value(place.folder / "one/app.env", "WEB")
    assert second != before
    opened = [event for event in place.events if event["event"] == "rotation.started"][-1]
    assert (opened["actor"], opened["reason"], opened["detail"]["because"]) == ("cli:ann", "manual", "new partner")
    with place.service(unlock=False) as service:
        pausing.pause(service.store, service.store.credentials()[0], actor="bob", why="w", lasts=None)
    refused, asked = ask(place, "rotate"), ask(place, "rotate", cause="compromised")
    place.rotate(patience=2)
    assert found(place, refused).reason == "paused"
    assert found(place, asked).state is RequestState.DONE
    assert dotenv_value(place.folder / "one/app.env", "WEB") != second


def test_a_leak_is_on_record_once_however_many_turns_it_takes(place: Place) -> None:
    no_writes = Patched("destination", write=lambda _: unavailable)
    with place.service(no_writes) as service:
        turns: list[str] = []
        engine, turn = service.engine, service.engine.turn
        engine.turn = lambda *given: (turns.append(given[0]), turn(*given))[1]  # type: ignore[method-assign,func-returns-value]
        place.over = lambda: len(turns) > 1
        engine.run(["web"], Wish(cause=Cause.COMPROMISED, because="seen in a paste"), timedelta(seconds=LONG))
    assert len(turns) > 1
    place.over = lambda: False
    assert place.told("compromised.succeeded") == ["compromised.succeeded"]
    place.rotate("web", now=True, cause=Cause.COMPROMISED, patience=0, seam=no_writes)
    assert len(place.told("compromised.succeeded")) == 2, "a person has said so again"


def test_forced_retirement_goes_past_grace_and_unknown_readers_but_never_past_a_reader(place: Place) -> None:
    old = place.status("web")["current"]["key_id"]
    place.rotate("web", now=True)
    one, two = (place.folder / to / "app.env" for to in ("one", "two"))
    two.write_text("WEB=theirs\n")
    current = one.read_text()
    with held(place) as work:
        reactivation.retire(work, key=old, force=True, because="nobody reads it")
        value = work.material(work.situation.versions[0])["secret"].reveal()
    told = next(event for event in place.events if event["event"] == "retire.succeeded")
    assert told["detail"]["past"].startswith("grace: the old key keeps working until then, until 20")
    one.write_text(f"WEB={value}\n")
    place.rotate(patience=0)
    assert place.status("web")["previous"][0]["reason"] == "destination_serves_it"
    one.write_text(current)
    place.rotate(patience=2)
    assert place.status("web")["previous"] == []


def test_without_force_the_same_key_is_held_by_the_same_place(place: Place) -> None:
    place.policy["grace"] = place.policy["soak"] = "0s"
    content = place.file.read_text().replace("grace: 1h", "grace: 0s").replace("soak: 1h", "soak: 0s")
    place.file.write_text(content)
    place.rotate("web", now=True, patience=0, seam=Patched("provider", delete=lambda _: unavailable))
    (place.folder / "two" / "app.env").write_text("WEB=theirs\n")
    place.rotate(patience=1)
    assert place.status("web")["previous"][0]["reason"] == "destination_foreign"
