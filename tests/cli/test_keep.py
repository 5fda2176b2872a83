"""`seal: {keep: rotation}`: a value is sealed no longer than there is work with it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.cli.house import House

CONFIGURATION = """\
environment: test
seal: {keep: rotation}
engine: {lease: 6s, call_budget: 2s, retry: {first: 1s, most: 2s}}
providers: {local: {type: generated}}
destinations: {app: {type: env-file, path: app.env}}
defaults: {policy: {grace: 0s, soak: 0s, require_idle: 0s, min_interval: 0s}}
credentials:
  web:
    provider: local
    destinations: [{to: app, fields: {WEB: "{secret}"}}]
"""


def sealed(house: House) -> list[int]:
    """The numbers of the versions whose value is kept."""
    query = "SELECT number FROM sealed JOIN version ON version.id = version_id ORDER BY number"
    with closing(sqlite3.connect(house.folder / "rotator.db")) as database:
        return [row[0] for row in database.execute(query)]


def retired(house: House) -> list[int]:
    query = "SELECT number FROM version WHERE state = 'retired' ORDER BY number"
    with closing(sqlite3.connect(house.folder / "rotator.db")) as database:
        return [row[0] for row in database.execute(query)]


@pytest.fixture
def brief(house: House) -> House:
    house.write(CONFIGURATION)
    assert house.rotate("--now", "web").status == 0
    return house


def test_at_rest_nothing_is_kept(brief: House) -> None:
    assert sealed(brief) == []
    assert brief.rotate("--now", "web").status == 0
    brief.rotate()
    assert retired(brief) == [1]
    assert sealed(brief) == []


def test_while_the_old_key_lives_both_are_kept(brief: House) -> None:
    brief.change("grace: 0s", "grace: 1h")
    assert brief.rotate("--now", "web").status == 0
    assert sealed(brief) == [1, 2]
    assert brief.run("rollback", "web").status == 0


def test_a_key_that_is_given_up_is_followed_by_the_one_before(brief: House) -> None:
    """Its value was dropped at rest: it is taken from its place for as long as the rotation is open."""
    before = brief.values()
    brief.change('{WEB: "{secret}"}', '{WEB: "{secret}"}, probe: {command: ["false"]}')
    assert brief.rotate("--now", "web", "--timeout", "3s").status == 1
    assert brief.values() != before
    assert sealed(brief) == [1, 2]
    assert brief.run("abandon", "web").status == 0
    for _ in range(3):
        brief.rotate()
    assert brief.values() == before
    assert sealed(brief) == []


def test_what_cannot_be_written_again_is_replaced_and_that_is_said(brief: House) -> None:
    (brief.folder / "app.env").write_text("WEB=stranger\n", encoding="utf-8")
    brief.rotate()
    ran = brief.run("drift", "overwrite", "web", "app")
    assert "cannot be written again" in ran.said
    assert "a new key is made" in ran.said


def test_by_default_a_value_is_kept_until_its_version_is_retired(house: House) -> None:
    house.write(CONFIGURATION.replace("seal: {keep: rotation}\n", ""))
    for _ in range(3):
        assert house.rotate("--now", "web").status == 0
        house.rotate()
    assert retired(house) == [1, 2]
    assert sealed(house) == [3]
