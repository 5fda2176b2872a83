"""`rotator leak report`: whoever reports, each key once, capped, and no value is shown or kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.house import House

STRANGE = "CANARY-none-of-ours-0123456789"


@pytest.fixture
def rotated(house: House) -> House:
    assert house.rotate().status == 0
    return house


def acting(house: House, reaction: str = "compromised") -> None:
    house.change("    provider: local\n    labels: {team: web}", f"    on: {{leak: {reaction}}}\n    provider: local")


def findings(house: House) -> list[dict[str, Any]]:
    return [f for f in house.run("status", "--json").json["findings"] if f["kind"] == "leak"]


def github(value: str) -> str:
    return json.dumps(
        [{"token": value, "type": "key", "url": "https://github.com/octo/repo/blob/a/b.txt", "source": "c"}]
    )


def alert(value: str) -> str:
    return json.dumps({"number": 7, "secret_type": "key", "secret": value, "html_url": "https://github.com/o/r/7"})


def gitguardian(value: str) -> str:
    occurrences = [{"match": value, "type": "apikey", "line_start": 1}]
    found = {"filename": "deploy/.env", "incidents": [{"policy": "Secrets", "occurrences": occurrences}]}
    return json.dumps({"scans": [{"id": "x", "entities_with_incidents": [found]}], "total_incidents": 1})


def trufflehog(value: str) -> str:
    data = {"Data": {"Git": {"file": "deploy/.env", "commit": "abc", "line": 3}}}
    other = {"DetectorName": "x", "Raw": STRANGE, "SourceMetadata": data}
    return "\n".join(json.dumps(line) for line in ({"SourceMetadata": data, "Raw": value, "RawV2": value}, other))


def test_a_leaked_key_is_told_and_replaced_when_a_person_says_so(rotated: House) -> None:
    old = rotated.values()["WEB"]
    ran = rotated.run("leak", "report", "--where", "pastebin", stdin=f"{old}\n{STRANGE}\n{old}\n")
    assert ran.status == 1
    assert "web: version 1 (gen-" in ran.err
    assert "seen at pastebin, still works: nothing is done about it yet" in ran.err
    assert "rotate --now web --compromised --key gen-" in ran.err
    assert "1 of 3 values are no key on record" in ran.out
    assert len(findings(rotated)) == 1
    ran = rotated.run("leak", "report", "--yes", stdin=old)
    assert (ran.status, "is replaced as compromised by the next pass" in ran.out) == (0, True)
    assert rotated.rotate().status == 0
    assert rotated.values()["WEB"] != old
    assert findings(rotated) == [], "it was answered"
    events = rotated.events()
    assert [e["detail"]["where"] for e in events if e["event"] == "leak.failed"] == [["pastebin"]]
    assert STRANGE not in json.dumps(events)
    assert "compromised.succeeded" in [e["event"] for e in events]
    ran = rotated.run("leak", "report", stdin=old)
    assert (ran.status, "is taken away already" in ran.out) == (0, True)


def test_the_policy_has_it_replaced_by_itself_and_once(rotated: House) -> None:
    acting(rotated)
    old = rotated.values()["WEB"]
    report = rotated.run("leak", "report", "--json", stdin=github(old)).json
    (key,) = report["keys"]
    assert (key["became"], key["where"]) == ("asked", ["https://github.com/octo/repo/blob/a/b.txt"])
    again = rotated.run("leak", "report", "--json", stdin="\n".join([old] * 100 + [STRANGE] * 100)).json
    assert (again["keys"][0]["became"], again["unmatched"]) == ("held", 1)
    assert "cool_down" in again["keys"][0]["why"]
    assert rotated.rotate().status == 0
    assert rotated.values()["WEB"] != old
    asked = [e for e in rotated.events() if e["event"] == "request.started"]
    assert [(e["actor"], e["detail"]["reported_by"]) for e in asked] == [("reaction:leak", "cli:ann@test")]
    assert len([e for e in rotated.events() if e["event"] == "rotation.succeeded"]) == 3


@pytest.mark.parametrize("form", [alert, gitguardian, trufflehog])
def test_reports_of_those_who_find_keys_are_read(rotated: House, form: Any) -> None:
    (rotated.folder / "report.json").write_text(form(rotated.values()["WEB"]))
    ran = rotated.run("leak", "report", "--json", "report.json")
    (key,) = ran.json["keys"]
    assert (key["credential"], key["became"], ran.status) == ("web", "open", 1)
    assert key["where"] in (["https://github.com/o/r/7"], ["deploy/.env"])


def test_a_storm_of_reports_is_capped_and_what_is_held_is_asked_about(house: House) -> None:
    names = [f"app-{number}" for number in range(5)]
    entries = "".join(
        f"  {name}:\n    provider: local\n    on: {{leak: compromised}}\n"
        f"    destinations: [{{to: app, fields: {{{name.replace('-', '_').upper()}: '{{secret}}'}}}}]\n"
        for name in names
    )
    text = (house.folder / "rotator.yaml").read_text()
    house.write(text[: text.index("credentials:")] + f"credentials:\n{entries}")
    assert house.rotate().status == 0
    values = list(house.values().values())
    ran = house.run("leak", "report", "--json", stdin="\n".join(values * 200))
    became = [key["became"] for key in ran.json["keys"]]
    assert (sorted(became), ran.status) == (["asked"] * 3 + ["held"] * 2, 1)
    assert house.rotate().status == 0
    assert sum(1 for name, value in house.values().items() if value not in values) == 3


def test_what_the_policy_ignores_is_passed_over(rotated: House) -> None:
    acting(rotated, "ignore")
    ran = rotated.run("leak", "report", stdin=rotated.values()["WEB"])
    assert (ran.status, "is passed over" in ran.out, findings(rotated)) == (0, True, [])


def test_mistakes_are_told(rotated: House) -> None:
    ran = rotated.run("leak", "report", stdin='{"token": ')
    assert (ran.status, "neither JSON nor JSON lines" in ran.err) == (2, True)
    ran = rotated.run("leak", "report", "gone.json")
    assert (ran.status, "cannot read gone.json: No such file" in ran.err) == (2, True)
    ran = rotated.run("leak", "report", stdin="[]")
    assert (ran.status, "there is no value in this report" in ran.out) == (0, True)
    ran = rotated.on_terminal("leak", "report", typed=f"{rotated.values()['WEB']}\ny\n")
    assert ran.status == 0
    assert "is replaced as compromised by the next pass" in ran.said
