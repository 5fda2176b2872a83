"""`rotator seen`: consumers report which key they hold, with the database alone."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cli.house import House


@pytest.fixture
def rotated(house: House) -> Iterator[House]:
    """`web` has a key; the sealing key is not there."""
    assert house.rotate("--now", "web").status == 0
    key = house.folder / "rotator.key"
    key.rename(key.with_suffix(".away"))
    yield house
    key.with_suffix(".away").rename(key)


def fingerprint(house: House) -> str:
    found: str = house.status("web")["current"]["fingerprint"]
    return found


def test_a_consumer_reports_its_key_without_the_sealing_key_and_only_a_change_is_an_event(rotated: House) -> None:
    held = fingerprint(rotated)
    first = rotated.run("seen", "web", "--fingerprint", held, "--consumer", "web-1")
    assert first.status == 0
    assert first.said == "web: web-1 holds version 1 (current)\n"
    again = rotated.run("seen", "web", "--fingerprint", held, "--consumer", "web-1")
    assert "web: web-1 holds version 1 (current), as before" in again.said
    quiet = rotated.run("seen", "web", "--fingerprint", held, "--quiet")
    assert (quiet.status, quiet.said) == (0, "")
    (event, other) = [e for e in rotated.events() if e["event"] == "seen.succeeded"]
    assert (event["credential"], event["version"], event["actor"]) == ("web", 1, "cli:ann@test")
    assert event["detail"]["consumer"] == "web-1"
    assert other["detail"]["consumer"] != "web-1"
    assert "Consumer web-1 holds version 1 (current), as it said 2" in rotated.run("explain", "web").out


def test_an_unknown_key_lists_the_known_ones(rotated: House) -> None:
    ran = rotated.run("seen", "web", "--fingerprint", "0" * 32)
    assert ran.status != 0
    assert "no key of web on record has the fingerprint" in ran.err
    assert f"version 1 (current): {fingerprint(rotated)}" in ran.err
    assert rotated.run("seen", "nobody", "--fingerprint", "0" * 32).status == 2


def test_a_time_is_taken_in_any_zone_and_nonsense_is_wrong_use(rotated: House) -> None:
    given = ("seen", "web", "--fingerprint", fingerprint(rotated), "--consumer", "batch", "--at")
    assert rotated.run(*given, "2026-01-02T10:00:00+01:00").status == 0
    with rotated.opened() as service:
        ids = {c.name: c.id for c in service.store.credentials()}
        (word,) = service.store.sightings(ids["web"])
    assert word.seen_at.isoformat() == "2026-01-02T09:00:00+00:00"
    assert rotated.run(*given, "yesterday").status == 2


def test_check_asks_every_consumer_and_looks_for_the_drop(house: House) -> None:
    house.change("defaults:", "evidence: {drop: seen}\ndefaults:")
    house.change(
        "labels: {team: web}\n", "labels: {team: web}\n    consumers: [{pidfile: web.pid}, {pidfile: no.pid}]\n"
    )
    (house.folder / "web.pid").write_text(str(os.getpid()))
    ran = house.run("check")
    assert ran.status == 1
    assert f"web: {house.folder}/web.pid: pid {os.getpid()} runs since 2" in ran.out
    assert f"failed   web: {house.folder}/no.pid: there is no file" in ran.err
    assert "seen: it is not there, so nobody can leave word (no_drop)" in ran.err
    (house.folder / "seen").mkdir()
    (house.folder / "no.pid").write_text("1")
    assert house.run("check").status == 0
