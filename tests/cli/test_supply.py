"""The command `supply`, and `resume --gone`: a person makes the key, and takes the old one away."""

from __future__ import annotations

import pytest

from tests.cli.house import House

ANOTHER = "the-key-of-a-person-0123456789"
THIRD = "another-key-of-a-person-0123456789"


@pytest.fixture
def assisted(house: House) -> House:
    """`web` is a key of a service that we cannot talk to."""
    house.change("{local: {type: generated}}", "{local: {type: generated}, hand: {type: manual}}")
    house.change(
        "  web:\n    provider: local\n",
        "  web:\n    provider: hand\n    options: {instructions: ask the partner}\n    policy: {grace: 0s, soak: 0s}\n",
    )
    for value in (ANOTHER, THIRD):
        house.canaries.watch(value)
    return house


def test_a_pass_says_what_a_person_has_to_do_and_supply_takes_the_key(assisted: House) -> None:
    ran = assisted.rotate()
    assert ran.status == 1
    assert "awaiting_human" in ran.said
    assert "a person has to make the new key by 20" in ran.said
    assert "ask the partner" in ran.said
    assert "rotator supply web" in ran.said
    assert assisted.values() == {}

    ran = assisted.run("supply", "web", "--stdin", "--reason", "from the partner", stdin=f"{ANOTHER}\n")
    assert ran.status == 0
    assert "web: version 1 (manual-" in ran.out
    (told,) = [event for event in assisted.events() if event["event"] == "supply.succeeded"]
    assert (told["actor"], told["detail"]["because"]) == ("cli:ann@test", "from the partner")

    assert assisted.rotate("web").status == 0
    assert assisted.values() == {"WEB": ANOTHER}


def test_supply_asks_on_a_terminal_and_does_not_show_the_key(assisted: House) -> None:
    assisted.rotate("--now", "web")
    ran = assisted.on_terminal("supply", "web", typed=f"{ANOTHER}\n")
    assert ran.status == 0
    assert "ask the partner" in ran.out
    assert ANOTHER not in ran.out
    assert assisted.status()["rotation"]["state"] == "created"


def test_supply_takes_no_value_on_the_command_line_and_asks_nobody_without_a_terminal(assisted: House) -> None:
    assisted.rotate("--now", "web")
    assert assisted.run("supply", "web", "a-value").status == 2
    ran = assisted.run("supply", "web")
    assert ran.status == 2
    assert "give the value on stdin, with --stdin" in ran.err


@pytest.mark.parametrize("stdin", ["", "\n", "one\ntwo\n"])
def test_supply_refuses_a_value_of_the_wrong_shape(assisted: House, stdin: str) -> None:
    assisted.rotate("--now", "web")
    ran = assisted.run("supply", "web", "--stdin", stdin=stdin)
    assert ran.status == 2
    assert "1 are expected: secret" in ran.err


def test_supply_says_where_nothing_waits_for_a_key(assisted: House) -> None:
    ran = assisted.run("supply", "web", "--stdin", stdin=f"{ANOTHER}\n")
    assert ran.status == 2
    assert "no rotation of web waits for a key (nothing_to_do)" in ran.err
    ran = assisted.run("supply", "mail", "--stdin", stdin=f"{ANOTHER}\n")
    assert ran.status == 2
    assert "the keys of mail are made by the service itself" in ran.err


def test_a_person_says_that_the_old_key_is_gone(assisted: House) -> None:
    for value in (ANOTHER, THIRD):
        assisted.rotate("--now", "web")
        assert assisted.run("supply", "web", "--stdin", stdin=f"{value}\n").status == 0
        ran = assisted.rotate("web")
    assert ran.status == 1
    (old,) = assisted.status()["previous"]
    assert f"rotator resume web --gone {old['key_id']}" in ran.said
    ran = assisted.run("resume", "--all", "--gone", old["key_id"])
    assert ran.status == 2
    assert "go with exactly one NAME" in ran.err
    ran = assisted.run("resume", "web", "--gone", old["key_id"])
    assert ran.status == 0
    assert f"{old['key_id']} is recorded as gone" in ran.out
    assert assisted.status()["previous"] == []
    assert assisted.rotate("web").status == 0


def test_dry_run_and_check_know_a_provider_that_asks_a_person(assisted: House) -> None:
    assert assisted.run("check").status == 0
    assisted.rotate("--now", "web")
    ran = assisted.rotate("--dry-run", "web")
    assert "would go on with the open rotation at create (blocked)" in ran.out
    assert assisted.run("supply", "web", "--stdin", stdin=f"{ANOTHER}\n").status == 0
    assert assisted.rotate("web").status == 0
    ran = assisted.rotate("--dry-run", "--now", "web")
    assert "web: would rotate (asked for), ask a person for the key and push to env-file:" in ran.out


def test_what_is_awaited_can_be_supplied_while_paused_and_after_it_left_the_configuration(assisted: House) -> None:
    assisted.rotate("--now", "web")
    assert assisted.run("pause", "web", "--reason", "a freeze").status == 0
    assert assisted.run("supply", "web", "--stdin", stdin=f"{ANOTHER}\n").status == 0
    assert assisted.run("unpause", "web").status == 0
    assert assisted.rotate("web").status == 0
    assisted.rotate("--now", "web")
    text = (assisted.folder / "rotator.yaml").read_text(encoding="utf-8")
    start, end = text.index("  web:\n"), text.index("  mail:\n")
    assisted.write(text[:start] + text[end:])
    assisted.rotate()
    assert assisted.run("supply", "web", "--stdin", stdin=f"{THIRD}\n").status == 0
    assisted.rotate()
    assert assisted.values() == {"WEB": THIRD}
