"""How far a run over many credentials has come, as it is said."""

from __future__ import annotations

import json

import pytest

from rotator.cli.headway import Headway
from rotator.cli.screens import MANY, EventLines
from rotator.ports.store import StoredEvent


def test_the_rest_takes_as_long_as_it_did_lately() -> None:
    headway = Headway(10_000, began=0)
    for second in range(100):
        headway.one_more(second)
    assert headway.said(100) == "100 of 10,000 have their new key after 100s; at the pace of late the rest takes 165m"


def test_what_was_quick_long_ago_makes_no_promise() -> None:
    headway = Headway(1000, began=0)
    for _ in range(500):
        headway.one_more(1)
    for second in range(300, 600, 10):
        headway.one_more(second)
    assert headway.said(600) == "530 of 1,000 have their new key after 10m; at the pace of late the rest takes 78m"


def test_of_a_handful_nothing_is_foretold() -> None:
    headway = Headway(1000, began=0)
    assert headway.said(30) == "0 of 1,000 have their new key after 30s; how long the rest takes cannot be told yet"
    for _ in range(9):
        headway.one_more(31)
    assert "cannot be told yet" in headway.said(60)


def test_where_nothing_moves_any_more_no_end_is_foretold() -> None:
    headway = Headway(1000, began=0)
    for second in range(100):
        headway.one_more(second)
    assert "cannot be told yet" in headway.said(1000)


def test_when_all_is_done_nothing_is_left() -> None:
    headway = Headway(1, began=0)
    headway.one_more(5)
    assert headway.said(6) == "1 of 1 have their new key after 6s"


def told(name: str) -> StoredEvent:
    body = {"at": "2026-11-27T12:00:00.000000Z", "seq": 1, "actor": "test", "event": "promote.succeeded", "version": 2}
    rest = dict.fromkeys(("rotation", "key_id", "destination", "attempt", "reason"))
    return StoredEvent(seq=1, body=json.dumps({**body, **rest, "credential": name, "detail": {}}), hash="")


@pytest.mark.parametrize(("many", "said"), [(MANY, 1), (MANY - 1, 0)])
def test_lines_say_it_every_half_minute_where_there_are_many(
    many: int, said: int, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    screen = EventLines(lambda: now)
    screen.begin({}, [f"key-{number}" for number in range(many)])
    screen.observe(told("key-0"))
    screen.observe(told("somebody-else"))
    for now in (29.0, 31.0, 32.0):  # noqa: B007 - the screen's clock
        screen.glance()
    out = capsys.readouterr().out
    assert out.count(f"1 of {many} have their new key after 31s") == said
    assert out.count("have their new key") == said
    assert "somebody-else" not in out


def test_the_versions_of_a_credential_are_those_of_this_run() -> None:
    screen = EventLines()
    screen.begin({}, ["key-0"])
    screen.observe(told("key-0"))
    screen.observe(told("key-1"))
    assert screen.numbers("key-0", "promote.succeeded") == [2]
    assert screen.numbers("key-0", "delete.succeeded") == []
    assert screen.touched() == {"key-0", "key-1"}
