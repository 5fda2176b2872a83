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
