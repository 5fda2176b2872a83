"""`status`, `explain`, `policy`, `schema`, `audit` and `db`: looks that change nothing and need no sealing key."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, BrokenBarrierError, Thread
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.cli.house import ROOT, House

SCHEMAS = ROOT / "docs" / "schemas"


def valid(documents: Iterable[Any], schema: str) -> None:
    """They are as the published schema says."""
    described = json.loads((SCHEMAS / f"{schema}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(described)
    for document in documents:
        Draft202012Validator(described).validate(document)


def test_status_as_json_is_as_its_schema_says_in_every_situation(house: House) -> None:
    documents = [house.run("status", "--json").json]
    house.rotate()
    house.rotate("--now", "web")
    documents.append(house.run("status", "--json").json)
    with house.locked():
        assert house.rotate("--now", "web", "--timeout", "1s").status == 1
        documents.append(house.run("status", "--json").json)
    (house.folder / "app.env").write_text("WEB=a-value-of-somebody-else-0123456789\n", encoding="utf-8")
    house.rotate("--now", "web", "--timeout", "5s")
    documents.append(house.run("status", "--json").json)
    valid(documents, "status")
    seen = [[entry["status"] for entry in document["credentials"]] for document in documents]
    assert seen == [
        ["never_rotated", "never_rotated"],
        ["ok", "retiring"],
        ["ok", "rotating"],
        ["ok", "blocked"],
    ]


def test_rotate_as_json_prints_its_events_as_they_are_exported_and_then_the_result(house: House) -> None:
    *events, last = house.rotate("--json").lines
    exported = {event["seq"]: event for event in house.events()}
    assert {event["event"] for event in events} >= {"create.started", "push.succeeded", "promote.succeeded"}
    assert all(exported[event["seq"]] == event for event in events)
    assert last.keys() == {"result"}
    assert [entry["name"] for entry in last["result"]["credentials"]] == ["mail", "web"]
    valid(events, "event")
    valid([last["result"]], "status")


def test_rotate_as_json_is_limited_to_what_it_touched(house: House) -> None:
    house.rotate()
    (last,) = house.rotate("--json").lines
    assert last["result"]["credentials"] == []
    *_, last = house.rotate("--now", "web", "--json").lines
    assert [entry["name"] for entry in last["result"]["credentials"]] == ["web"]


def test_the_export_is_as_its_schema_says_and_verifies_apart_from_the_database(house: House) -> None:
    house.rotate()
    valid(house.events(), "event")
    ran = house.run("audit", "export", "--output", "trail.jsonl")
    trail = house.folder / "trail.jsonl"
    assert (ran.status, ran.said) == (0, "")
    assert trail.stat().st_mode & 0o777 == 0o600
    assert "is intact: " in house.run("audit", "verify", "trail.jsonl").out
    assert house.run("audit", "verify", "-", stdin=trail.read_text(encoding="utf-8")).status == 0


def test_a_changed_export_is_found_out(house: House) -> None:
    house.rotate()
    lines = house.run("audit", "export").out.splitlines()
    lines[4] = lines[4].replace("cli:ann@test", "cli:bob@test")
    (house.folder / "trail.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    ran = house.run("audit", "verify", "trail.jsonl")
    assert ran.status == 1
    assert "the trail of trail.jsonl is broken at event 5: its hash does not fit its text" in ran.err
    told = house.run("audit", "verify", "trail.jsonl", "--json").json
    assert (told["ok"], told["problem"]["seq"]) == (False, 5)
    assert house.run("audit", "verify", "nowhere.jsonl").status == 2


def test_a_changed_database_is_found_out(house: House) -> None:
    house.rotate()
    assert house.run("audit", "verify").status == 0
    with sqlite3.connect(house.folder / "rotator.db") as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute("UPDATE event SET body = replace(body, 'cli:ann@test', 'cli:bob@test') WHERE seq = 3")
    database.close()
    ran = house.run("audit", "verify")
    assert ran.status == 1
    assert "the trail of the database is broken at event 3" in ran.err
    assert "(broken_chain)" in ran.err


def test_the_log_shows_the_last_events_of_one_credential(house: House) -> None:
    house.rotate()
    lines = house.run("audit", "log", "--credential", "web", "-n", "2").out.splitlines()
    assert len(lines) == 2
    assert lines[-1].endswith("web rotation.succeeded version 1 [cli:ann@test]")
    (event,) = house.run("audit", "log", "-n", "1", "--json").lines
    valid([event], "event")


def test_status_shows_a_line_for_each_credential(house: House) -> None:
    house.rotate()
    first, heads, mail, web = house.run("status").out.splitlines()
    assert first.startswith("environment test, 20")
    assert "last pass 20" in first
    assert heads.split() == ["CREDENTIAL", "STATUS", "VERSION", "NEXT", "ROTATION", "DRILLED", "DESTINATIONS", "WHY"]
    assert mail.split()[:2] == ["mail", "ok"]
    assert "app current" in web


def test_status_can_be_limited(house: House) -> None:
    house.rotate()
    assert "mail" not in house.run("status", "web").out
    assert "web" not in house.run("status", "-l", "team=mail").out.replace(str(house.folder), "")
    assert house.run("status", "--quiet").said == ""


@pytest.mark.parametrize("verb", ["status", "plan"])
def test_a_long_list_is_shown_in_pages(house: House, verb: str) -> None:
    house.rotate()
    first = house.run(verb, "--limit", "1", "--json").json
    second = house.run(verb, "--limit", "1", "--after", first["next"], "--json").json
    names = [[entry["name"] for entry in page["credentials"]] for page in (first, second)]
    assert names == [["mail"], ["web"]]
    assert second["next"] is None
    valid([first, second], verb)
    assert "next" not in house.run(verb, "--json").json
    said = house.run(verb, "--limit", "1").out
    assert f"1 more: `rotator {verb} --after mail`" in said
    assert "web" not in said.partition("1 more")[0]
    assert "more:" not in house.run(verb, "--after", "mail").out
    assert [e["name"] for e in house.run(verb, "web", "mail", "--limit", "5", "--json").json["credentials"]] == [
        "mail",
        "web",
    ]
    assert house.run(verb, "--limit", "0").status == 2


def test_a_credential_that_was_taken_out_is_still_shown(house: House) -> None:
    house.rotate()
    text = (house.folder / "rotator.yaml").read_text(encoding="utf-8")
    house.write(text[: text.index("  mail:")])
    house.rotate()
    assert house.status("mail")["status"] == "unmanaged"
    assert "mail is unmanaged" in house.run("explain", "mail").out
    assert "unmanaged" in house.run("status").out


def test_looks_need_no_sealing_key(house: House) -> None:
    house.rotate()
    (house.folder / "rotator.key").unlink()
    for command in ("status", "explain web", "plan", "policy web", "audit log", "rotate --dry-run"):
        assert house.run(*command.split()).status == 0


def test_explain_says_which_keys_live_who_serves_them_and_what_happens_next(house: House) -> None:
    house.rotate()
    house.rotate("--now", "web")
    said = house.run("explain", "web").out
    assert "Version 2 (gen-" in said
    assert f"env-file:{house.folder}/app.env serves version 2 (current)" in said
    assert "Version 1 is not gone yet because: the old key keeps working until then (grace)." in said
    assert "`rotator reactivate web --key gen-" in said
    assert "The check slot_to_come decides: not due (not_due) until 20" in said
    assert "`rotate --now web` does not wait." in said
    told = house.run("explain", "web", "--json").json
    assert told["explanation"] == said.splitlines()[1:]
    assert told["decision"].items() >= {"check": "slot_to_come", "due": False, "reason": "not_due"}.items()
    house.run("pause", "web", "--reason", "freeze")
    said = house.run("explain", "web").out
    assert "The check paused decides: paused by cli:ann@test until it is unpaused: freeze (paused)." in said
    assert "`rotator unpause web` ends the pause." in said


def test_policy_says_where_each_value_comes_from(house: House) -> None:
    house.change("labels: {team: web}", "policy: {grace: 2h}")
    lines = {line.split()[0]: line.split()[1:] for line in house.run("policy", "web").out.splitlines()}
    assert lines["grace"] == ["2h", "credential,", "rotator.yaml:11"]
    assert lines["soak"] == ["1h", "defaults,", "rotator.yaml:7"]
    assert lines["jitter"] == ["0s", "built-in"]
    values = house.run("policy", "web", "--json").json["policy"]
    assert values["grace"] == {"value": "2h", "from": "credential, rotator.yaml:11"}


def test_policy_shows_windows_blackouts_and_max_age(house: House) -> None:
    hours = "windows: ['SAT 02:00-04:00', SUN], blackouts: [2026-12-20/2027-01-03], timezone: Europe/London"
    house.change("labels: {team: web}", f"policy: {{rotate_every: 30d, max_age: 40d, {hours}}}")
    values = house.run("policy", "web", "--json").json["policy"]
    assert values["windows"]["value"] == "SAT 02:00-04:00; SUN"
    assert values["blackouts"]["value"] == "2026-12-20/2027-01-03"
    assert values["max_age"]["value"] == "40d"
    found = [c for c in house.run("check", "web", "--json").json["checks"] if c["check"] == "schedule"]
    assert [c["message"] for c in found] == [
        "every 30d, no key older than 40d, only SAT 02:00-04:00, only SUN, not 2026-12-20/2027-01-03"
    ]


def test_the_trail_of_a_renamed_credential_goes_back_to_its_first_name(house: House) -> None:
    house.rotate()
    before = house.run("audit", "log", "--credential", "mail", "--json").out.splitlines()
    house.change("  mail:\n", "  post:\n    moved_from: mail\n")
    assert house.rotate().status == 0
    after = house.run("audit", "log", "--credential", "post", "--json").out.splitlines()
    assert before
    assert after[: len(before)] == before
    assert '"move.succeeded"' in after[len(before)]


def test_the_schema_describes_the_configuration(house: House) -> None:
    import yaml

    described = house.run("schema").json
    document = yaml.safe_load((house.folder / "rotator.yaml").read_text(encoding="utf-8"))
    Draft202012Validator(described).validate(document)


def test_the_state_of_the_schema_is_told(house: House) -> None:
    ran = house.run("db", "status")
    assert ran.status == 0
    assert "schema 0001; this release needs 0001" in ran.out
    assert house.run("db", "status", "--json").json["pending"] == []
    assert "nothing to do" in house.run("db", "upgrade").out


def test_check_tries_everything_and_changes_nothing(house: House) -> None:
    before = house.events()
    ran = house.run("check")
    assert ran.status == 0
    assert ran.out.splitlines()[-1] == "8 checks: 0 failed, 1 warnings"  # nobody signs the trail here
    assert house.events() == before
    assert not house.values()


def test_check_names_what_failed_with_the_remedy_and_tries_the_rest(house: House) -> None:
    (house.folder / "other").rmdir()
    ran = house.run("check")
    assert ran.status == 1
    assert "failed   mail: env-file:" in ran.err
    assert "To do: " in ran.err
    assert "ok       web: env-file:" in ran.out
    told = house.run("check", "--json").json
    assert told["ok"] is False
    assert [row["reason"] for row in told["checks"] if row["outcome"] == "failed"] == ["no_such_folder"]
    assert house.run("check", "web").status == 0


class Together(BaseHTTPRequestHandler):
    """Answers only when another request stands beside this one."""

    both = Barrier(2)

    def do_GET(self) -> None:
        try:
            self.both.wait(10)
            self.send_error(403)
        except BrokenBarrierError:
            self.send_error(500)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server spells it
        """Say nothing."""


def test_check_tries_everything_side_by_side(house: House) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Together)
    Thread(target=server.serve_forever, daemon=True).start()
    vault = (
        f"{{type: vault-kv, address: 'http://127.0.0.1:{server.server_port}', auth: {{method: token, token: env:T}}}}"
    )
    house.change("destinations:\n  app:", f"destinations:\n  one: {vault}\n  two: {vault}\n  app:")
    house.change("[{to: app,", "[{to: one, path: a}, {to: two, path: b}, {to: app,")
    told = house.run("check", "web", "--json", env={"T": "a-token"}).json
    server.shutdown()
    server.server_close()
    failed = [row for row in told["checks"] if (row["check"], row["outcome"]) == ("destination", "failed")]
    assert [row["subject"] for row in failed] == ["one:secret/a", "two:secret/b"]
    assert not Together.both.broken


def test_check_says_on_a_terminal_what_it_waits_for(house: House) -> None:
    ran = house.on_terminal("check", env={"COLUMNS": "160"})
    assert ran.status == 0
    assert re.search(r"0 of \d+ done; waiting for database and sealing key, .* and \d+ more", ran.out)
    assert "done; waiting" not in house.run("check").said


def test_check_warns_of_a_credential_that_nothing_rotates(house: House) -> None:
    house.change(", rotate_every: 30d", "")
    ran = house.run("check")
    assert ran.status == 0
    assert "warning  web: policy: it is rotated only by hand (by_hand)" in ran.err


def test_check_says_what_hooks_there_are_and_runs_none(house: House) -> None:
    told = house.folder / "told"
    reload, probe = f'{{command: [sh, -c, "touch {told}"]}}', "{command: [./not-there, x]}"
    house.change('{WEB: "{secret}"}', f'{{WEB: "{{secret}}"}}, reload: {reload}, probe: {probe}')
    ran = house.run("check", "web", "--json")
    assert ran.status == 0
    found = [c for c in ran.json["checks"] if c["check"] == "hook"]
    address = f"env-file:{house.folder}/app.env"
    assert [(c["subject"], c["outcome"]) for c in found] == [
        (f"reload of {address}", "ok"),
        (f"probe of {address}", "warning"),
    ]
    assert found[1]["message"] == f"command not-there x: there is no program {house.folder}/not-there"
    assert found[1]["reason"] == "probe_failed"
    assert not told.exists()


def test_check_names_a_missing_variable(house: House) -> None:
    house.change("providers: {", "providers: {openai: {admin_key: env:NOT_SET_ANYWHERE}, ")
    house.change(
        "  mail:\n    provider: local",
        "  mail:\n    provider: openai\n    options: {project: proj_a, service_account: s}",
    )
    ran = house.run("check", "mail")
    assert ran.status == 1
    assert "the environment variable NOT_SET_ANYWHERE is not set" in ran.err
    assert "export NOT_SET_ANYWHERE" in ran.err


@pytest.mark.parametrize("file", ["status", "event", "plan", "diff"])
def test_the_schemas_are_published(file: str) -> None:
    assert Path(SCHEMAS / f"{file}.schema.json").is_file()


def test_looks_take_a_selector_by_label_and_by_owner(house: House) -> None:
    entry = "    labels: {team: mail}\n"
    house.change(entry, entry + "    owner: mail@example.com\n    runbook: https://wiki.example/mail\n")
    house.rotate()
    assert [
        one["name"] for one in house.run("status", "-l", "owner=mail@example.com", "--json").json["credentials"]
    ] == ["mail"]
    one = house.run("explain", "-l", "owner=mail@example.com")
    assert "mail is ok." in one.out
    assert "Owner: mail@example.com" in one.out
    assert "Runbook: https://wiki.example/mail" in one.out
    several = json.loads(house.run("explain", "-l", "provider=local", "--json").out)
    assert [found["credentials"][0]["name"] for found in several] == ["web", "mail"]
    assert [found["name"] for found in json.loads(house.run("policy", "-l", "team", "--json").out)] == ["web", "mail"]
    assert house.run("wait", "-l", "team", "--for", "current").out.split("\n")[:2] == [
        "mail is current",
        "web is current",
    ]
    told = house.run("audit", "log", "-l", "team=mail", "--json").lines
    assert {event["credential"] for event in told} == {"mail"}
    refused = house.run("explain")
    assert refused.status == 2
    assert "a selection is needed: NAME... or -l LABELS" in refused.err
