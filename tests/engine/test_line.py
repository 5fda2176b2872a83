"""Who begins next, of many."""

from __future__ import annotations

from rotator.engine.line import Line


def line_of(*names: str, at: float = 0.0) -> Line:
    """`a-1` is of the account `a`; `own-…` are ours."""
    return Line(names, at, lambda name: name.partition("-")[0], lambda name: name.startswith("own"))


def test_as_many_of_each_account_begin_as_there_are_workers_in_their_order() -> None:
    line = line_of("a-1", "a-2", "a-3", "b-1", "b-2", "c-1")
    assert line.begin(0, [], 2) == ["a-1", "a-2", "b-1", "b-2", "c-1"]
    assert line.begin(0, ["a-1", "a-2", "b-1"], 2) == []
    assert line.begin(0, ["a-2"], 2) == ["a-3"]
    assert not line


def test_nobody_begins_before_its_time_and_whoever_waits_longest_is_first() -> None:
    line = line_of("a-1", at=10)
    line.put("a-2", 5)
    assert line.begin(4.9, [], 8) == []
    assert line.next_at(4.9) == 5
    assert line.begin(5, [], 1) == ["a-2"]
    assert line.begin(11, ["a-2"], 1) == []
    assert line.next_at(11) == 11, "a worker is free as soon as nobody is running"
    assert line.begin(11, [], 1) == ["a-1"]


def test_our_own_begin_only_when_nobody_else_does() -> None:
    line = line_of("own-1", "a-1", "a-2", "own-2")
    assert line.begin(0, [], 1) == ["a-1"]
    assert line.begin(0, ["a-1"], 1) == []
    assert line.begin(0, [], 1) == ["a-2"]
    assert line.begin(0, ["a-2"], 1) == []
    assert line.begin(0, [], 1) == ["own-1"]
    assert line.begin(0, ["own-1"], 1) == []
    assert line
    assert line.begin(0, [], 1) == ["own-2"]
