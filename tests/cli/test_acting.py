"""How verbs are done: `--dry-run`, `--request`, and the two that hurt: `revoke` and `retire --force`."""

from __future__ import annotations

import signal
import sqlite3

import pytest

from rotator.testbed.openai_emulator import OpenAIEmulator
from tests.cli.house import House, Ran, until


def whole(house: House) -> list[str]:
    """Every row of every table."""
    with sqlite3.connect(house.folder / "rotator.db") as database:
        return list(database.iterdump())


def rotated(house: House) -> str:
    """Two rotations; the id of the old key, in its grace."""
    house.rotate()
    old: str = house.status()["current"]["key_id"]
    house.rotate("--now", "web")
    return old


DRY = [
    ["abandon", "web"],
    ["rollback", "web"],
    ["reactivate", "web"],
    ["retire", "web", "--key", "OLD", "--force", "--reason", "r"],
    ["resume", "--all"],
    ["forget", "web", "--destination", "other"],
    ["drift", "overwrite", "web", "app"],
    ["drift", "accept", "web", "app"],
    ["drift", "ignore", "web", "app"],
    ["adopt", "web"],
    ["pause", "web", "--reason", "r"],
    ["unpause", "web"],
    ["revoke", "web"],
    ["supply", "web", "--stdin"],
    ["reconcile"],
]


def test_a_dry_run_of_every_verb_touches_nothing(house: House) -> None:
    old = rotated(house)
    house.rotate("mail")
    before, values = whole(house), house.values()
    said = {}
    for command in DRY:
        ran = house.run(*(old if word == "OLD" else word for word in command), "--dry-run")
        assert whole(house) == before, command
        assert "Traceback" not in ran.err
        said[" ".join(command[:2])] = ran
    assert house.values() == values
    assert said["rollback web"].status == 0
    lines = said["rollback web"].out.splitlines()
    assert lines[0] == "environment test; nothing is touched"
    assert "would record: rollback.succeeded web version 1" in lines
    assert "would record: rotation.started web version 1 rollback" in lines
    assert any(line.startswith("afterwards: A rotation (rollback, opened 20") for line in lines)
    assert lines[-1] == f"web: would be: version 1 ({old}) is to be current again"
    assert said["abandon web"].status == 2
    assert "web has no open rotation" in said["abandon web"].err
    assert "would record: pause.succeeded web" in said["pause web"].out
    assert "web: would be: nothing was blocked or waiting" in said["resume --all"].out


def test_a_dry_run_of_a_new_configuration_writes_no_row_either(house: House) -> None:
    before = whole(house)  # not even the pepper
    ran = house.run("adopt", "web", "--dry-run")
    assert ran.status == 2
    assert "there is no credential web on record" in ran.err
    assert whole(house) == before


def test_two_ways_at_once_are_refused(house: House) -> None:
    assert "two ways to do it" in house.run("rollback", "web", "--dry-run", "--request").err
    assert "--timeout goes with --request" in house.run("rollback", "web", "--timeout", "1s").err
    assert "--request goes with --now" in house.rotate("web", "--request").err
    assert "--request goes with neither" in house.rotate("--now", "web", "--request", "--dry-run").err
    assert "a request holds no secret" in house.run("adopt", "web", "--stdin", "--request").err


# requests


def asked(house: House, *command: str) -> tuple[Ran, Ran]:
    """A person without the sealing key asks; a pass with it comes meanwhile. How both end."""
    key = (house.folder / "rotator.key").rename(house.folder / "away.key")
    process = house.start(*command, "--request", "--timeout", "30s")
    until(lambda: house.happened("request.started"))
    key.rename(house.folder / "rotator.key")
    passed = house.rotate()
    return house.end(process), passed


def test_a_request_needs_the_database_only_and_ends_with_the_answer(house: House) -> None:
    old = rotated(house)
    ran, passed = asked(house, "rollback", "web", "--reason", "it broke")
    assert passed.status == 0
    assert (ran.status, ran.out.splitlines()) == (
        0,
        ["environment test", f"web: version 1 ({old}) is to be current again"],
    )
    assert "asked for: rollback of web; the next pass does it" in ran.err
    assert house.status()["current"]["key_id"] == old
    told = next(event for event in house.events() if event["event"] == "rollback.succeeded")
    assert (told["actor"], told["detail"]["because"]) == ("cli:ann@test", "it broke")


def test_a_request_that_is_refused_says_why(house: House) -> None:
    house.rotate()
    ran, _ = asked(house, "abandon", "web")
    assert ran.status == 1
    assert "web: refused: web has no open rotation (nothing_to_do)" in ran.err


def test_a_request_stands_when_nobody_waits_for_it_any_more(house: House) -> None:
    house.rotate()
    late = house.rotate("--now", "web", "--request", "--timeout", "0s", "--reason", "r")
    assert late.status == 1
    assert "no worker has done it yet: web; it stands" in late.err
    process = house.start("resume", "web", "--request")
    until(lambda: house.happened("request.started") == 2)
    process.send_signal(signal.SIGINT)
    ran = house.end(process)
    assert ran.status == 130
    assert "it stands, and the next pass does it" in ran.err
    assert house.run("explain", "web").out.count("Requested: ") == 2
    assert house.rotate().status == 0
    assert house.happened("request.succeeded") == 2
    assert house.status()["current"]["version"] == 2


def test_a_daemon_does_what_is_asked_for(house: House) -> None:
    rotated(house)
    daemon = house.start("daemon", "--interval", "1s")
    try:
        ran = house.run("reactivate", "web", "--request", "--timeout", "30s")
        assert ran.status == 0
        assert "is kept" in ran.out
    finally:
        daemon.terminate()
        house.end(daemon)


# what hurts


@pytest.fixture
def with_openai(house: House, openai: OpenAIEmulator) -> House:
    (house.folder / "admin").write_text(openai.admin_key)
    house.change(
        "providers: {local: {type: generated}}",
        f"providers: {{local: {{type: generated}}, openai: {{admin_key: 'file:admin', base_url: '{openai.url}'}}}}",
    )
    quick = "policy: {settle: 0s}"
    options = f"{{project: {openai.project}, service_account: {openai.service_account}}}"
    house.change(
        "  web:\n    provider: local\n",
        f"  web:\n    provider: openai\n    owner: ann@example.com\n    options: {options}\n    {quick}\n",
    )
    assert house.rotate("web").status == 0
    return house


def test_revoke_says_what_breaks_asks_and_works_without_the_sealing_key(
    with_openai: House, openai: OpenAIEmulator
) -> None:
    house, value = with_openai, with_openai.values()["WEB"]
    (house.folder / "rotator.key").rename(house.folder / "away.key")
    assert "it needs --yes" in house.run("revoke", "web").err
    no = house.on_terminal("revoke", "web", typed="n\n")
    assert no.status == 1
    assert f"OUTAGE to come: served by env-file:{house.folder}/app.env (seen 20" in no.out
    assert "is deleted at openai, for it cannot disable keys, at once and for good" in no.out
    assert "to be told: owner ann@example.com, labels team=web" in no.out
    assert "`rotate --compromised web` makes a new key first" in no.out
    assert openai.accepts(value)
    dry = house.run("revoke", "web", "--dry-run")
    assert "would record: revoke.succeeded web version 1" in dry.out
    assert "afterwards: web is blocked: OUTAGE: version 1 (" in dry.out
    assert openai.accepts(value)
    ran = house.run("revoke", "web", "--yes", "--reason", "INC-9")
    assert ran.status == 0
    assert "works no more at openai" in ran.out
    assert "To do: `rotate --now web`" in ran.err
    assert not openai.accepts(value)
    assert house.run("status").status == 1
    (house.folder / "away.key").rename(house.folder / "rotator.key")
    assert house.rotate("--now", "web").status == 0
    assert openai.accepts(house.values()["WEB"])


def test_a_request_to_revoke_is_done_by_the_next_pass(with_openai: House, openai: OpenAIEmulator) -> None:
    house, value = with_openai, with_openai.values()["WEB"]
    process = house.start("revoke", "web", "--yes", "--request")
    until(lambda: house.happened("request.started"))
    house.rotate()
    assert house.end(process).status == 0
    assert not openai.accepts(value)


def test_what_is_nobodys_to_revoke_is_refused_before_anything_is_asked(house: House) -> None:
    house.rotate()
    ran = house.run("revoke", "web", "--yes")
    assert ran.status == 2
    assert "nobody but its readers knows the value of web" in ran.err
    assert "`rotate --compromised web`" in ran.err
    assert "--key and --all-keys exclude each other" in house.run("revoke", "web", "--key", "k", "--all-keys").err


def test_retire_force_says_what_it_goes_past(house: House) -> None:
    old = rotated(house)
    assert "say why: --reason TEXT" in house.run("retire", "web", "--key", old, "--force", "--yes").err
    assert "it needs --yes" in house.run("retire", "web", "--key", old, "--force", "--reason", "r").err
    no = house.on_terminal("retire", "web", "--key", old, "--force", "--reason", "r", typed="n\n")
    assert f"web: goes past what holds version 1 ({old}): grace: the old key keeps working" in no.out
    assert house.status()["previous"] != []
    ran = house.run("retire", "web", "--key", old, "--force", "--reason", "r", "--yes")
    assert ran.status == 0
    assert "web: version 1 is gone" in ran.out
    assert house.status()["previous"] == []
