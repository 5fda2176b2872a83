"""`require_sink`: while what must hear of it first accepts nothing, no key is created or taken away."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.domain.model import Cause
from tests.engine.place import Place, dotenv_value
from tests.engine.test_brake_table import DUE, NOW, START, Stage, behind, with_a_key
from tests.engine.test_going_back import unavailable
from tests.engine.test_guards import Patched

REQUIRED = {"sinks": {"siem": {"type": "file", "path": "gone/audit.jsonl"}}, "require_sink": ["siem"]}


def write(place: Place, *, audit: object = None, **policy: str) -> None:
    """`web` in an env file, by the real clock."""
    place.write(
        audit=audit,
        providers={"keys": {"type": "generated"}},
        destinations={"app": {"type": "env-file", "path": "app.env"}},
        credentials={"web": {"provider": "keys", "policy": policy, "destinations": [{"to": "app"}]}},
    )


@pytest.fixture
def stage(embedded: Place, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return with_a_key(Stage(embedded), monkeypatch)


def mended(stage: Stage) -> Path:
    """The folder is there again; gives the file."""
    (stage.place.folder / "gone").mkdir()
    stage.moment += timedelta(hours=1)
    return stage.place.folder / "gone" / "audit.jsonl"


def test_it_says_which_and_why_and_what_to_do(stage: Stage) -> None:
    behind(stage)
    stage.tried()
    status = stage.place.status("web")
    assert "the sink siem accepts nothing since" in status["message"]
    assert "No such file or directory" in status["message"]
    assert "rotator audit sinks --send" in status["remedy"]
    (found,) = (e for e in stage.place.events if e["event"] == "follower.found")
    assert found["detail"]["message"].startswith("the sink siem does not accept the audit trail; cannot write")


def test_when_it_accepts_again_work_goes_on_and_it_hears_all(stage: Stage) -> None:
    behind(stage)
    stage.tried()
    assert "create.started" not in stage.place.told("create.started")[1:]
    file = mended(stage)
    assert stage.tried() == "rotated"
    assert stage.place.told("follower.cleared") == ["follower.cleared"]
    with stage.place.service(unlock=False) as service:
        trail = [event.seq for event in service.store.events()]
    heard = [json.loads(line)["seq"] for line in file.read_text().splitlines()]
    assert heard == trail[: len(heard)]
    assert len(trail) - len(heard) <= 1


def test_no_old_key_is_taken_away(embedded: Place) -> None:
    write(embedded, grace="1s")
    embedded.rotate("web")
    embedded.rotate("web", now=True, patience=0)
    write(embedded, grace="1s", audit=REQUIRED)
    embedded.rotate("web", patience=2)
    assert embedded.told("drain.succeeded", "disable.started", "delete.started") == []
    (old,) = embedded.status("web")["previous"]
    assert (old["state"], old["reason"]) == ("previous", "sink_behind")
    (embedded.folder / "gone").mkdir()
    embedded.rotate("web")
    assert embedded.told("delete.succeeded") == ["delete.succeeded"]


def test_a_place_that_lacks_the_key_is_given_it_all_the_same(stage: Stage) -> None:
    stage.places = (*stage.places, "third")
    behind(stage)
    stage.moment = START + timedelta(hours=2)
    stage.tried()
    folder = stage.place.folder
    assert dotenv_value(folder / "third.env", "WEB") == dotenv_value(folder / "app.env", "WEB")


def test_a_rotation_whose_key_is_made_goes_on_to_its_end(stage: Stage) -> None:
    stage.moment += DUE
    stage.seam = Patched("destination", write=lambda _: unavailable)
    assert stage.tried() == "unavailable"
    behind(stage)
    stage.seam = None
    stage.moment += timedelta(hours=1) - DUE
    assert stage.tried(**NOW) == "rotated"


def test_a_leaked_key_is_replaced_and_taken_away(embedded: Place) -> None:
    write(embedded)
    embedded.rotate("web")
    write(embedded, audit=REQUIRED)
    embedded.rotate("web", now=True, cause=Cause.COMPROMISED)
    assert embedded.told("follower.found", "delete.succeeded") == ["follower.found", "delete.succeeded"]


def test_a_sink_that_is_not_required_stops_nothing(stage: Stage) -> None:
    behind(stage)
    stage.sinks = {"sinks": {"siem": {"type": "file", "path": "gone/audit.jsonl"}}}
    stage.write()
    assert stage.tried() == "rotated"
    assert stage.place.told("follower.found") == []  # not for a quarter of an hour
