"""Log lines: text for people, JSON for machines, the names of the trail, and which rotation each is about."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from rotator import logs, wiring
from tests.cli.house import House
from tests.engine.conftest import embedded
from tests.engine.place import Place

__all__ = ["embedded"]

log = logging.getLogger("rotator.adapter")


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_events_of_a_run_are_lines_with_the_names_and_ids_of_the_trail(house: House) -> None:
    ran = house.rotate("--now", "web", "-v", "--json", "--log-format", "json")
    told = [line for line in lines(ran.err) if "event" in line]
    trail = {event["seq"]: event for event in house.events()}
    assert {line["event"] for line in told} >= {"create.succeeded", "push.succeeded", "promote.succeeded"}
    for line in told:
        fields = ("event", "credential", "rotation", "version", "destination", "reason", "actor")
        assert {f: line.get(f) for f in fields} == {f: trail[line["seq"]][f] for f in fields}


def test_the_format_is_taken_from_the_environment_too(house: House) -> None:
    (house.folder / "rotator.db").rename(house.folder / "elsewhere.db")
    ran = house.run("status", env={"ROTATOR_LOG_FORMAT": "json"})
    assert ran.status == 2
    assert {line["level"] for line in lines(ran.err)} == {"warning"}
    assert "there is no database" in lines(ran.err)[0]["message"]
    assert house.run("status", env={"ROTATOR_LOG_FORMAT": "yaml"}).status == 2


class Talking(wiring.Seam):
    """A destination that logs a line as it is written."""

    def wrap(self, port: Any, kind: str) -> Any:
        return Wrapped(port) if kind == "destination" else port


class Wrapped:
    def __init__(self, place: Any) -> None:
        self.place = place

    def __getattr__(self, name: str) -> Any:
        return getattr(self.place, name)

    def write(self, *given: Any) -> Any:
        log.warning("written\x1b[2J")
        return self.place.write(*given)


@pytest.fixture
def session(embedded: Place) -> Place:
    embedded.write(
        providers={"local": {"type": "generated", "prefix": "CANARY-"}},
        destinations={"env": {"type": "env-file", "path": str(embedded.folder / "app.env")}},
        credentials={"session": {"provider": "local", "destinations": [{"to": "env"}]}},
    )
    return embedded


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_an_adapter_logs_in_a_step_says_for_which_rotation(
    session: Place, form: logs.Form, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.set_up(0, form)
    try:
        session.rotate(seam=Talking())
        log.warning("later")
    finally:
        logs.set_up(0)
    (rotation,) = {event["rotation"] for event in session.events if event["event"] == "push.started"}
    written, later = capsys.readouterr().err.splitlines()
    if form == "text":
        assert written.endswith(f"WARNING rotator.adapter: written?[2J [rotation={rotation}]")
        assert later.endswith("later")
        return
    found = json.loads(written)
    assert (found["credential"], found["rotation"], found["level"]) == ("session", rotation, "warning")
    assert (json.loads(later)["credential"], json.loads(later)["rotation"]) == (None, None)


def test_an_exception_of_another_library_is_told_by_its_type(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(0, "json")
    try:
        try:
            int("sk-a-value-of-somebody")
        except ValueError:
            logging.getLogger("theirs").warning("it failed", exc_info=True)
    finally:
        logs.set_up(0)
    (line,) = lines(capsys.readouterr().err)
    assert line["exception"] == "ValueError"
    assert "somebody" not in json.dumps(line)
