"""`rotator audit sinks` and `audit export --format`."""

from __future__ import annotations

import json

from tests.cli.house import House


def with_sinks(house: House, *, path: str = "audit.jsonl", require: str = "[]") -> None:
    sink = f"audit: {{sinks: {{archive: {{type: file, path: {path}}}}}, require_sink: {require}}}\n"
    house.change("environment: test\n", f"environment: test\n{sink}")


def test_without_sinks_it_says_so(house: House) -> None:
    ran = house.run("audit", "sinks")
    assert (ran.status, ran.err) == (0, "")
    assert "no sink is configured" in ran.out


def test_a_pass_sends_what_happens_in_it(house: House) -> None:
    with_sinks(house)
    assert house.rotate().status == 0
    sent = [json.loads(line) for line in (house.folder / "audit.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sent == house.events()[: len(sent)]
    assert sent[-1]["event"] == "rotation.succeeded"
    (row,) = house.run("audit", "sinks", "--json").json["sinks"]
    assert (row["name"], row["behind"], row["reason"]) == ("sink:archive", 0, None)
    assert "up to date" in house.run("audit", "sinks").out


def test_one_that_accepts_nothing_is_said_and_sent_to_once_it_is_mended(house: House) -> None:
    with_sinks(house, path="logs/audit.jsonl")
    assert house.rotate().status == 0
    ran = house.run("audit", "sinks")
    assert ran.status == 1
    assert "the sink archive accepts nothing since" in ran.err
    assert "No such file or directory" in ran.err
    assert "rotator audit sinks --send" in ran.err
    (house.folder / "logs").mkdir()
    assert house.run("audit", "sinks", "--send").status == 0
    sent = (house.folder / "logs" / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in sent] == house.events()[: len(sent)]


def test_what_holds_a_rotation_is_in_its_status(house: House) -> None:
    with_sinks(house, path="logs/audit.jsonl", require="[archive]")
    ran = house.rotate("--now", "web", "--timeout", "1s")
    assert ran.status == 1
    assert "the sink archive accepts nothing since" in ran.err
    assert house.status()["rotation"]["reason"] == "sink_behind"
    assert house.happened("create.started") == 0


def test_an_export_in_another_format(house: House) -> None:
    house.rotate()
    events = house.events()
    lines = house.run("audit", "export", "--format", "ocsf").lines
    assert [line["metadata"]["sequence"] for line in lines] == [event["seq"] for event in events]
    assert house.run("audit", "export", "--format", "cef").out.startswith("CEF:0|keyturn|rotator|")


def test_a_sink_that_is_taken_out_is_said_to_hold_the_trail_until_it_is_forgotten(house: House) -> None:
    with_sinks(house)
    assert house.rotate().status == 0
    ran = house.run("audit", "sinks", "--forget", "archive")
    assert (ran.status, "is configured, so it is not forgotten" in ran.err) == (2, True)
    house.change("audit: {sinks: {archive: {type: file, path: audit.jsonl}}, require_sink: []}\n", "")
    ran = house.run("audit", "sinks")
    assert (ran.status, "rotator audit sinks --forget archive" in ran.err) == (0, True)
    ran = house.run("audit", "sinks", "--forget", "archive")
    assert (ran.status, "the sink archive is forgotten" in ran.out, ran.err) == (0, True, "")
    assert house.events()[-1]["destination"] == "sink:archive"
    ran = house.run("audit", "sinks", "--forget", "archive")
    assert (ran.status, "no sink archive has ever been sent anything" in ran.err) == (2, True)


def test_check_tries_sinks_and_sends_nothing(house: House) -> None:
    with_sinks(house)
    found = {row["subject"]: row["outcome"] for row in house.run("check", "--json").json["checks"]}
    assert found["sink archive"] == "ok"
    assert not (house.folder / "audit.jsonl").exists()
    house.change("path: audit.jsonl", "path: logs/audit.jsonl")
    ran = house.run("check")
    assert (ran.status, "sink archive: cannot make" in ran.err) == (1, True)
