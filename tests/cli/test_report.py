"""`rotator report rotation`: its three forms and how it ends."""

from __future__ import annotations

import base64
import csv
import io
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from tests.cli.house import House, Ran
from tests.cli.test_audit import SIGNED

TODAY = datetime.now(UTC).date()
PERIOD = ("--from", f"{TODAY - timedelta(days=1)}", "--to", f"{TODAY + timedelta(days=2)}")


@pytest.fixture
def rotated(house: House) -> House:
    assert house.rotate().status == 0
    return house


def asked(house: House, *options: str, max_age: str = "90d") -> Ran:
    return house.run("report", "rotation", *PERIOD, "--max-age", max_age, *options)


def test_everything_is_in_it_and_what_it_cannot_know_is_said(rotated: House) -> None:
    ran = asked(rotated)
    found = ran.json
    assert ran.status == 1  # the period is not over, and the trail is younger than its beginning
    assert "not known: the trail begins at" in ran.err
    assert "not everything is known" in ran.err
    assert (found["verdict"], found["trail"]["intact"], found["environment"]) == ("unknown", True, "test")
    assert {key["credential"] for key in found["keys"]} == {"web", "mail"}
    assert {one["outcome"] for one in found["rotations"]} == {"succeeded"}
    events = {event["seq"] for event in rotated.events()}
    assert {seq for key in found["keys"] for seq in key["events"]} <= events


def test_of_a_period_that_is_known_it_says_that_no_key_was_older(rotated: House) -> None:
    began = rotated.events()[0]["at"]
    now = rotated.events()[-1]["at"]
    period = ("--from", began, "--to", now)
    ran = rotated.run("report", "rotation", *period, "--max-age", "90d")
    assert (ran.status, ran.err, ran.json["verdict"]) == (0, "", "within")
    older = rotated.run("report", "rotation", *period, "--max-age", "1ms", "--format", "csv")
    assert older.status == 1
    assert "keys were older than" in older.err


def test_a_selection(rotated: House) -> None:
    found = asked(rotated, "-l", "team=web").json
    assert {key["credential"] for key in found["keys"]} == {"web"}
    assert found["credentials"] == ["web"]


def test_csv_is_one_table(rotated: House) -> None:
    rows = list(csv.DictReader(io.StringIO(asked(rotated, "--format", "csv").out)))
    sections = {row["section"] for row in rows}
    assert {"period", "not known", "keys", "rotations", "keys at end", "checkpoint at start"} <= sections
    (web,) = (row for row in rows if row["section"] == "keys" and row["credential"] == "web")
    assert (web["managed"], web["version"], web["older"]) == ("True", "1", "False")
    assert web["events"]


def test_a_cell_is_never_a_formula(rotated: House) -> None:
    rotated.run("pause", "web", "--reason", "=HYPERLINK(1)")
    rows = list(csv.DictReader(io.StringIO(asked(rotated, "--format", "csv").out)))
    (pause,) = (row for row in rows if row["section"] == "pauses")
    assert (pause["who"], pause["why"]) == ("cli:ann@test", "'=HYPERLINK(1)")


def test_html_is_whole_and_holds_nothing_of_somebody_elses(rotated: House) -> None:
    rotated.run("pause", "web", "--reason", "<script>alert(1)</script>")
    page = asked(rotated, "--format", "html").out
    tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            assert not {"src", "href"} & {name for name, _ in attrs}

    Reader().feed(page)
    assert "script" not in tags
    assert "&lt;script&gt;" in page
    assert {"h1", "h2", "table"} <= set(tags)
    assert page.startswith("<!doctype html>")


def test_a_broken_trail_is_said(rotated: House) -> None:
    import sqlite3

    with sqlite3.connect(rotated.folder / "rotator.db") as database:
        database.execute("DROP TRIGGER event_no_update")
        database.execute("""UPDATE event SET body = replace(body, 'cli:ann', 'cli:bob') WHERE seq = 5""")
    database.close()
    ran = asked(rotated)
    assert ran.status == 1
    assert "the trail is broken at event 5" in ran.err
    assert ran.json["trail"]["intact"] is False


def test_checkpoints_that_none_of_our_keys_has_signed_break_the_trail(house: House) -> None:
    house.change("environment: test\n", SIGNED)
    key = house.folder / "audit.key"
    key.write_text(base64.b64encode(bytes(32)).decode())
    key.chmod(0o600)
    assert house.rotate().status == 0
    assert house.run("audit", "checkpoint", "--now").status == 0
    found = asked(house).json
    assert (found["trail"]["intact"], len(found["trail"]["signed_by"])) == (True, 1)
    key.write_text(base64.b64encode(bytes(31) + b"1").decode())
    ran = asked(house)
    assert (ran.status, ran.json["trail"]["intact"]) == (1, False)
    assert "not known: the trail is broken at event" in ran.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--from", "yesterday", "--to", "2027-01-01"), "--from: yesterday is not a date"),
        (("--from", "2027-01-01", "--to", "2026-01-01"), "--from must be before --to"),
    ],
)
def test_wrong_dates(rotated: House, options: tuple[str, ...], said: str) -> None:
    ran = rotated.run("report", "rotation", *options, "--max-age", "90d")
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
    assert "To do: " in ran.err


def test_a_change_of_a_policy_is_told_with_the_revision_of_the_configuration(rotated: House) -> None:
    rotated.change("rotate_every: 30d", "rotate_every: 60d")
    rotated.run("rotate", env={"ROTATOR_CONFIG_REV": "a1b2c3"})
    changes = asked(rotated).json["policy_changes"]
    assert [change["credential"] for change in changes] == ["mail", "web"]
    detail = changes[0]["detail"]
    assert (detail["old"]["rotate_every"], detail["new"]["rotate_every"]) == ("30d", "60d")
    assert (detail["revision"], len(detail["hash"])) == ("a1b2c3", 64)
    assert changes[0]["actor"] == "cli:ann@test"
