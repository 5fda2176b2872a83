"""`rotate`: passes, --now, --compromised, --dry-run, and how they end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.house import House, until


def test_a_pass_makes_the_first_key_and_says_so_in_a_line_for_each_credential(house: House) -> None:
    ran = house.rotate()
    assert ran.status == 0
    assert ran.out.splitlines() == [
        "web: version 1 is current; ok",
        "mail: version 1 is current; ok",
        "test: 2 credentials: 2 rotated, 2 ok",
    ]
    assert not ran.err
    assert house.values().keys() == {"WEB"}


def test_a_pass_with_nothing_to_do_is_one_line(house: House) -> None:
    house.rotate()
    ran = house.rotate()
    assert (ran.status, ran.out.splitlines()) == (0, ["test: 2 credentials: 2 ok"])


def test_a_pass_of_one_name_leaves_the_others_alone(house: House) -> None:
    house.rotate("mail")
    assert not house.values()
    assert house.values("other/other.env")


def test_quiet_says_nothing_where_nothing_is_wrong(house: House) -> None:
    assert house.rotate("--quiet").said == ""
    assert house.rotate("--now", "web", "--quiet").said == ""


def test_now_rotates_whatever_the_schedule_says_and_tells_when_the_old_key_goes(house: House) -> None:
    house.rotate()
    before = house.values()["WEB"]
    ran = house.rotate("--now", "web")
    assert ran.status == 0
    assert house.values()["WEB"] != before
    *events, key, old = ran.out.splitlines()
    assert any(f"web push.succeeded env-file:{house.folder}/app.env version 2" in line for line in events)
    assert key.startswith("web: version 2 (gen-")
    assert "the old key, version 1 (gen-" in old
    assert "not before 20" in old


def test_now_by_label_rotates_those_that_fit(house: House) -> None:
    house.rotate()
    web, mail = house.values()["WEB"], house.values("other/other.env")["MAIL"]
    assert house.rotate("--now", "-l", "team=mail").status == 0
    assert house.values()["WEB"] == web
    assert house.values("other/other.env")["MAIL"] != mail


def test_now_with_all_rotates_every_credential(house: House) -> None:
    ran = house.rotate("--now", "--all")
    assert ran.status == 0
    assert "test: 2 credentials: 2 rotated" in ran.out


def test_now_warns_where_no_pass_would_ever_take_the_old_key_away(house: House) -> None:
    (house.folder / "app.env").write_text("WEB=a-value-that-was-always-there-0123456789\n", encoding="utf-8")
    assert house.run("adopt", "web").status == 0
    ran = house.rotate("--now", "web")
    assert ran.status == 0
    assert "nothing on record runs passes (none ever ran)" in ran.err
    house.rotate()
    assert "nothing on record" not in house.rotate("--now", "web").err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--now"], "need a selection"),
        (["--compromised"], "need a selection"),
        (["--all", "web"], "--all means every credential"),
        (["web", "--key", "k"], "--key goes with --compromised"),
        (["--compromised", "--all", "--key", "k"], "--key goes with exactly one NAME"),
        (["--timeout", "1m"], "--timeout goes with --now"),
        (["--now", "web", "--linger", "1m"], "--linger is for a pass"),
        (["--linger", "soon"], "is not a duration"),
        (["--fail-on", "old"], "is not one of"),
        (["--compromised", "web"], "needs --yes"),
        (["--now", "-l", "team=nobody"], "no credential fits the selector team=nobody"),
        (["--now", "wbe"], "did you mean web?"),
    ],
)
def test_a_contradiction_is_refused_and_nothing_happens(house: House, options: list[str], told: str) -> None:
    ran = house.rotate(*options)
    assert ran.status == 2
    assert told.lower() in ran.err.lower()
    assert not ran.out
    assert not house.values()


def test_a_dry_run_says_what_would_happen_and_touches_nothing(house: House) -> None:
    before = (house.folder / "rotator.db").read_bytes()
    ran = house.rotate("--dry-run")
    assert ran.status == 0
    assert "web: would be rotated for the first time" in ran.out
    assert not house.values()
    assert (house.folder / "rotator.db").read_bytes() == before
    house.rotate()
    assert "web: nothing to rotate, not due until" in house.rotate("--dry-run", "web").out
    assert "web: would rotate (asked for)" in house.rotate("--dry-run", "--now", "web").out
    forecast = house.rotate("--dry-run", "--json", "web").json["forecast"]
    assert [row["credential"] for row in forecast] == ["web"]


def test_a_dry_run_of_compromised_shows_what_would_be_taken_away(house: House) -> None:
    house.rotate()
    ran = house.rotate("--dry-run", "--compromised", "web")
    assert "is deleted for good, for this provider cannot disable keys" in ran.out
    assert house.status()["current"]["version"] == 1


def test_compromised_takes_the_old_key_away_at_once(house: House) -> None:
    house.rotate()
    ran = house.rotate("--compromised", "web", "--yes", "--reason", "it was in a log")
    assert ran.status == 0
    assert "web: version 1 is gone" in ran.out
    assert house.status()["previous"] == []
    told = next(line for line in house.events() if line["event"] == "compromised.succeeded")
    assert told["detail"]["because"] == "it was in a log"


def test_compromised_asks_on_a_terminal_and_no_is_the_answer_by_default(house: House) -> None:
    house.rotate()
    ran = house.on_terminal("rotate", "--compromised", "web", typed="\n")
    assert ran.status == 1
    assert "is deleted for good" in ran.out
    assert "nothing was changed" in ran.out
    assert house.status()["current"]["version"] == 1
    assert house.on_terminal("rotate", "--compromised", "web", typed="y\n").status == 0
    assert house.status()["current"]["version"] == 2


def test_a_leaked_previous_key_needs_no_new_key(house: House) -> None:
    house.rotate()
    house.rotate("--now", "web")
    old = house.status()["previous"][0]["key_id"]
    ran = house.rotate("--compromised", "web", "--key", old, "--yes")
    assert ran.status == 0
    assert "web: no new key is needed" in ran.out
    entry = house.status()
    assert (entry["current"]["version"], entry["previous"]) == (2, [])


def test_a_leaked_key_that_is_not_on_record_is_refused(house: House) -> None:
    house.rotate()
    ran = house.rotate("--compromised", "web", "--key", "gen-000000000000", "--yes")
    assert ran.status == 2
    assert "is not a living key of web; living: gen-" in ran.err
    assert house.status()["current"]["version"] == 1


def break_mail(house: House) -> None:
    """Its only place vanishes after the first key."""
    house.rotate()
    (house.folder / "other").rename(house.folder / "away")
    house.change("rotate_every: 30d", "rotate_every: 1s")
    until(lambda: house.status("web")["status"] == house.status("mail")["status"] == "due")


def test_a_blocked_credential_is_told_with_its_remedy_and_stops_no_other(house: House) -> None:
    break_mail(house)
    ran = house.rotate("--linger", "0s")
    assert ran.status == 1
    assert "web: version 2 is current; " in ran.out
    what, remedy, more = ran.err.splitlines()
    assert what.startswith("mail is blocked: ")
    assert remedy.startswith("To do: ")
    assert more == "More: rotator help E-NO-SUCH-FOLDER"
    assert "1 blocked" in ran.out.splitlines()[-1]
    looked = house.run("status")
    assert looked.status == 1
    assert "mail: to do: " in looked.out
    (house.folder / "away").rename(house.folder / "other")
    resumed = house.run("resume", "mail")
    assert resumed.status == 0
    assert "mail: cleared no_such_folder: " in resumed.out
    assert house.rotate("mail").status == 0
    assert house.values("other/other.env")


def test_a_credential_that_cannot_begin_is_told_and_stops_no_other(house: House) -> None:
    (house.folder / "other").rmdir()
    ran = house.rotate("--linger", "0s")
    assert ran.status == 1
    assert "web: version 1 is current; ok" in ran.out
    assert "mail" in ran.err
    assert "(no_such_folder)\nTo do: " in ran.err


def test_now_is_1_where_it_is_blocked_and_says_why(house: House) -> None:
    break_mail(house)
    ran = house.rotate("--now", "mail")
    assert ran.status == 1
    assert "mail is blocked: " in ran.err
    assert "To do: " in ran.err


def test_fail_on_new_is_1_only_for_what_got_worse(house: House) -> None:
    break_mail(house)
    assert house.rotate("mail", "--linger", "0s", "--fail-on", "new").status == 1
    assert house.rotate("mail", "--linger", "0s", "--fail-on", "new").status == 0
    assert house.rotate("mail", "--linger", "0s").status == 1
    assert house.rotate("mail", "--linger", "0s", "--fail-on", "never").status == 0


def test_now_that_is_not_current_in_time_says_what_it_waits_for(house: House) -> None:
    with house.locked():
        ran = house.rotate("--now", "web", "--timeout", "1s")
    assert ran.status == 1
    assert "web is not current yet: it waits at push" in ran.err
    assert "To do: `rotate` goes on with it" in ran.err
    assert house.rotate().status == 0
    assert house.values()


def test_a_value_that_stands_there_is_never_overwritten_unasked(house: House) -> None:
    (house.folder / "app.env").write_text("WEB=somebody-elses-value-0123456789abcdef\n", encoding="utf-8")
    ran = house.rotate()
    assert ran.status == 0
    assert "web is not adopted: " in ran.err
    assert "`rotator adopt web`" in ran.err
    assert "`rotator adopt web --replace app`" in ran.err
    assert house.rotate("--now", "web").status == 1
    assert house.values() == {"WEB": "somebody-elses-value-0123456789abcdef"}


def test_a_reader_of_stdout_that_goes_away_stops_nothing(house: House) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = house.start("rotate", "--now", "web", "--json", stdout=writing, stderr=subprocess.DEVNULL)
    os.close(writing)
    process.wait(60)
    assert house.status()["current"]["version"] == 1


def test_the_environment_names_the_configuration(house: House, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    process = house.start("rotate", env={"ROTATOR_CONFIG": "../house/rotator.yaml"})
    assert house.end(process).status == 0
    assert house.run("status", "--config", str(house.folder / "rotator.yaml")).status == 0
