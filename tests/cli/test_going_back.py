"""The verbs `rollback`, `reactivate`, `retire`, and what may be added to `--now`."""

from __future__ import annotations

import pytest

from tests.cli.house import House


def test_a_roll_back_is_one_command(house: House) -> None:
    house.rotate()
    before = house.values()
    house.rotate("--now", "web")
    assert house.values() != before
    ran = house.run("rollback", "web", "--reason", "it broke")
    assert ran.status == 0
    assert "web: version 1 (gen-" in ran.out
    assert "is to be current again" in ran.out
    assert house.values() == before
    assert house.status()["current"]["version"] == 1
    told = next(event for event in house.events() if event["event"] == "rollback.succeeded")
    assert (told["actor"], told["detail"]["because"]) == ("cli:ann@test", "it broke")
    again = house.run("rollback", "web", "--to", "1")
    assert again.status == 2
    assert "is the current key of web (current_key)" in again.err


def test_there_is_nothing_to_roll_back_to(house: House) -> None:
    house.rotate()
    ran = house.run("rollback", "web")
    assert ran.status == 2
    assert "web has no living key beside the current one (no_previous)" in ran.err
    assert "To do: `rotate --now web` makes a new one" in ran.err


def test_an_old_key_is_kept_and_let_go(house: House) -> None:
    house.rotate()
    old = house.status()["current"]["key_id"]
    house.rotate("--now", "web")
    ran = house.run("reactivate", "web", "--version", "1", "--reason", "one more reader")
    assert ran.status == 0
    assert f"web: version 1 ({old}) is kept" in ran.out
    assert house.status()["previous"][0]["step"] is None
    ran = house.run("retire", "web", "--key", old)
    assert ran.status == 0
    assert house.status()["previous"][0]["step"] == "drain"


def test_one_key_is_not_named_in_two_ways(house: House) -> None:
    ran = house.run("reactivate", "web", "--version", "1", "--key", "gen-1")
    assert ran.status == 2
    assert "--key and --version name one key in two ways" in ran.err


def test_a_place_may_be_left_out_and_is_written_later(house: House) -> None:
    house.change("destinations: [{to: app,", "destinations: [{to: other, fields: {W: '{secret}'}}, {to: app,")
    house.rotate()
    (house.folder / "other").rename(house.folder / "away")
    assert house.rotate("--now", "web", "--timeout", "1s").status == 1
    ran = house.rotate("--now", "web", "--without", "other", "--reason", "the host is gone", "--yes")
    assert ran.status == 0
    assert f"; not yet at env-file:{house.folder}/other/other.env, which is written when it answers" in ran.out
    (house.folder / "away").rename(house.folder / "other")
    house.run("resume", "web")
    assert house.rotate("web").status == 0
    assert house.values("other/other.env")["W"] == house.values()["WEB"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--now", "web", "--without", "app"], "say why: --reason TEXT"),
        (["--now", "--all", "--without", "app", "--reason", "r"], "exactly one NAME"),
        (["web", "--without", "app", "--reason", "r"], "--without goes with --now and --compromised"),
        (["--now", "web", "--without", "app", "--reason", "r"], "it needs --yes"),
        (["--now", "web", "--overwrite"], "--overwrite goes with --compromised"),
        (["web", "--end-soak"], "--end-soak goes with --now"),
    ],
)
def test_what_contradicts_itself_is_refused(house: House, options: list[str], said: str) -> None:
    ran = house.rotate(*options)
    assert ran.status == 2
    assert said in ran.err


def test_a_destination_that_it_does_not_have_is_refused(house: House) -> None:
    house.rotate()
    ran = house.rotate("--now", "web", "--without", "elsewhere", "--reason", "r", "--yes")
    assert ran.status == 2
    assert "web has no destination elsewhere" in ran.err


def test_what_is_left_out_is_said_before_it_happens(house: House) -> None:
    house.rotate()
    ran = house.on_terminal("rotate", "--now", "web", "--without", "app", "--reason", "r", typed="n\n")
    assert ran.status == 1
    assert "whoever reads at app is left with a dead key until it answers" in ran.out
    assert "nothing was changed" in ran.out


def test_a_pause_names_who_until_when_and_why_and_needs_no_sealing_key(house: House) -> None:
    assert house.run("pause", "web").status == 2
    assert "a selection is needed" in house.run("pause", "--reason", "r").err
    key = (house.folder / "rotator.key").rename(house.folder / "away.key")
    ran = house.run("pause", "web", "--reason", "launch week", "--for", "3d")
    assert (ran.status, ran.out.splitlines()[-1]) == (0, "web: is paused")
    assert "paused" in house.run("status").out
    key.rename(house.folder / "rotator.key")
    refused = house.rotate("--now", "web")
    assert refused.status == 1
    assert "web is paused by cli:ann@test until 20" in refused.err
    assert ": launch week" in refused.err
    assert "To do: `rotator unpause web`" in refused.err
    assert house.rotate().status == 0
    assert house.values() == {}
    assert "web: goes on with the next pass" in house.run("unpause", "web").out
    assert "web: was not paused" in house.run("unpause", "web").out
    assert house.rotate("web").status == 0
    assert house.values() != {}
