"""The operator's verbs: `adopt`, `resume`, `abandon`, `forget`, `wait`."""

from __future__ import annotations

import pytest

from tests.cli.house import House

THEIRS = "a-value-that-was-always-there-0123456789"


def give(house: House, value: str = THEIRS) -> None:
    """Consumers have had this value all along."""
    (house.folder / "app.env").write_text(f"WEB={value}\n", encoding="utf-8")


def test_adopt_records_the_living_key_and_changes_nothing(house: House) -> None:
    give(house)
    ran = house.run("adopt", "web", "--reason", "moving in")
    assert ran.status == 0
    assert "web: recorded version 1 (gen-" in ran.out
    assert "as the current key; nothing was changed" in ran.out
    assert house.values() == {"WEB": THEIRS}
    told = next(event for event in house.events() if event["event"] == "adopt.succeeded")
    assert (told["actor"], told["detail"]["because"]) == ("cli:ann@test", "moving in")
    assert house.rotate("web").status == 0
    assert house.values() == {"WEB": THEIRS}
    assert house.rotate("--now", "web").status == 0
    assert house.values() != {"WEB": THEIRS}


def test_adopt_says_where_there_is_nothing_to_adopt(house: House) -> None:
    ran = house.run("adopt", "web")
    assert ran.status == 2
    assert "no destination of web holds a value (nothing_to_adopt)" in ran.err
    assert "To do: " in ran.err


def test_adopt_takes_a_value_from_stdin(house: House) -> None:
    ran = house.run("adopt", "web", "--stdin", stdin=f"{THEIRS}\n")
    assert ran.status == 0
    assert house.status()["current"]["version"] == 1
    house.canaries.watch(THEIRS)


@pytest.mark.parametrize("stdin", ["", "\n", "one\ntwo\n"])
def test_adopt_refuses_a_value_of_the_wrong_shape(house: House, stdin: str) -> None:
    ran = house.run("adopt", "web", "--stdin", stdin=stdin)
    assert ran.status == 2
    assert "1 are expected: secret" in ran.err


def test_adopt_asks_for_a_value_on_a_terminal_and_does_not_show_it(house: House) -> None:
    house.canaries.watch(THEIRS)
    ran = house.on_terminal("adopt", "web", typed=f"{THEIRS}\n")
    assert ran.status == 0
    assert "type it, nothing is shown" in ran.out
    assert THEIRS not in ran.out
    assert house.status()["current"]["version"] == 1


def test_adopt_asks_nobody_without_a_terminal(house: House) -> None:
    ran = house.run("adopt", "web", "--value")
    assert ran.status == 2
    assert "with --stdin" in ran.err


def test_what_stands_there_may_be_given_up(house: House) -> None:
    give(house)
    ran = house.run("adopt", "web", "--replace", "app")
    assert ran.status == 0
    assert "may be overwritten by the next rotation" in ran.out
    assert house.rotate("web").status == 0
    assert house.values() != {"WEB": THEIRS}


def test_a_value_in_the_way_of_an_open_rotation_may_be_given_up(house: House) -> None:
    house.rotate()
    give(house)
    assert house.rotate("--now", "web").status == 1
    assert house.run("adopt", "web", "--replace", "app").status == 0
    assert house.rotate("web").status == 0
    assert house.values() != {"WEB": THEIRS}


def test_an_extra_key_needs_its_name(house: House) -> None:
    ran = house.run("adopt", "web", "--as", "previous")
    assert ran.status == 2
    assert "--as previous needs --key ID" in ran.err


def test_an_extra_key_that_the_provider_does_not_list_is_refused(house: House) -> None:
    house.rotate()
    ran = house.run("adopt", "web", "--as", "previous", "--key", "gen-1", "--yes")
    assert ran.status == 2
    assert "the provider does not list gen-1" in ran.err


def test_abandon_gives_a_rotation_up_and_the_next_pass_puts_the_old_key_back(house: House) -> None:
    house.rotate()
    before = house.values()
    with house.locked():
        assert house.rotate("--now", "web", "--timeout", "1s").status == 1
    ran = house.run("abandon", "web", "--reason", "wrong moment")
    assert ran.status == 0
    assert "`rotate web` does it now" in ran.out
    assert house.rotate("web").status == 0
    assert house.values() == before
    entry = house.status()
    assert (entry["current"]["version"], entry["rotation"]) == (1, None)


def test_verbs_without_anything_to_do_say_so(house: House) -> None:
    house.rotate()
    assert "web has no open rotation" in house.run("abandon", "web").err
    assert "web: nothing was blocked or waiting" in house.run("resume", "web").out
    assert "web has no ambiguous key to settle" in house.run("resume", "web", "--delete", "key_1").err


def test_resume_needs_a_selection(house: House) -> None:
    assert "a selection is needed" in house.run("resume").err
    assert "go with exactly one NAME" in house.run("resume", "--all", "--keep", "key_1").err
    house.rotate()
    assert house.run("resume", "--all").status == 0
    assert house.run("resume", "-l", "team=web").status == 0


def test_a_removed_destination_is_forgotten_only_when_told_so(house: House) -> None:
    house.change("destinations: [{to: app,", "destinations: [{to: other, fields: {W: '{secret}'}}, {to: app,")
    house.rotate()
    house.change("{to: other, fields: {W: '{secret}'}}, ", "")
    ran = house.run("forget", "web", "--destination", "other")
    assert ran.status == 2
    assert "needs --yes" in ran.err
    assert house.run("forget", "web", "--destination", "app", "--yes").status == 2
    ran = house.run("forget", "web", "--destination", "other", "--yes", "--reason", "nobody reads it")
    assert ran.status == 0
    assert f"web: env-file:{house.folder}/other/other.env is forgotten" in ran.out


def test_wait_ends_when_it_is_true_or_hopeless_or_too_late(house: House) -> None:
    late = house.run("wait", "web", "--for", "current", "--timeout", "1s")
    assert late.status == 1
    assert "web is not current yet; it is never_rotated" in late.err
    house.rotate()
    assert house.run("wait", "web", "--for", "current").out == "web is current\n"
    assert house.run("wait", "web", "--for", "retired", "--quiet").said == ""
    house.rotate("--now", "web")
    assert house.run("wait", "web", "--for", "retired", "--timeout", "0s").status == 1
    give(house)
    house.rotate("--now", "web")
    hopeless = house.run("wait", "web", "--for", "current")
    assert hopeless.status == 1
    assert "web is blocked: " in hopeless.err


def test_compromised_after_adopting_says_what_goes(house: House) -> None:
    give(house)
    house.run("adopt", "web")
    ran = house.rotate("--compromised", "web", "--yes")
    assert ran.status == 0
    assert "web: version 1 is gone" in ran.out
