"""The finder of crash points: whatever the ports name is counted, and struck where it was told to strike."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from rotator.domain.errors import LostAnswer, StoreUnavailable
from rotator.ports.destination import Destination
from rotator.ports.store import NewEvent, Store
from tests.crash.points import READS, Points, calls, no_answer


class Place:
    """A destination that keeps what is called."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def read(self) -> None:
        self.called.append("read")

    def write(self) -> None:
        self.called.append("write")

    def something_else(self) -> None:
        self.called.append("something_else")


class Rows:
    """A store with one way to commit."""

    def record(self, _lease: Any, _writes: Any, _events: Any) -> None:
        pass


def test_every_method_of_a_port_is_a_point_but_for_reads_of_the_store() -> None:
    named = {name for name, _ in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")}
    assert named >= READS
    assert set(calls("store")) == named - READS
    assert set(calls("destination")) == {n for n in vars(Destination) if n in ("read", "preflight", "write")} | {
        "remove"
    }
    assert {"create", "set", "disable", "enable", "delete", "authenticate"} <= set(calls("provider"))


def test_a_method_that_a_port_gets_later_is_a_point_without_anyone_remembering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Destination, "invalidate", lambda _self: None, raising=False)
    assert "invalidate" in calls("destination")


def test_moments_are_counted_before_and_after_each_call() -> None:
    points = Points()
    place = points.wrap(Place(), "destination")
    points.arm(None, no_answer)
    place.read()
    place.something_else()
    place.write()
    assert points.passed == [
        "before destination.read",
        "after destination.read",
        "before destination.write",
        "after destination.write",
    ]


def test_a_strike_before_a_call_prevents_it_and_one_after_it_only_loses_the_answer() -> None:
    points = Points()
    place = points.wrap(Place(), "destination")
    points.arm(3, no_answer)
    place.read()
    with pytest.raises(LostAnswer):
        place.write()
    points.arm("after destination.write", no_answer, times=2)
    for _ in range(2):
        with pytest.raises(LostAnswer):
            place.write()
    place.write()
    assert place.called == ["read", "write", "write", "write"]
    assert points.struck == 2


def test_commits_are_told_apart_by_their_events() -> None:
    points = Points()
    store = points.wrap(Rows(), "store")
    points.arm("after store.record[create.started]", no_answer)
    store.record(None, [], [])
    with pytest.raises(StoreUnavailable):
        store.record(None, [], [NewEvent(event="create.started", actor="x")])
