"""What users give us may be wrong: exit status 2, a message that says what to do, and nothing changed."""

from __future__ import annotations

import base64
import secrets
import sqlite3
from pathlib import Path

import pytest

from tests.cli.house import House, Ran


def refused(ran: Ran, *told: str) -> None:
    """It ended with 2, saying all of this and what to do."""
    assert ran.status == 2
    assert not ran.out
    for words in told:
        assert words in ran.err
    assert "To do: " in ran.err


def test_a_missing_configuration_is_named_with_the_places_looked_at(house: House) -> None:
    (house.folder / "rotator.yaml").unlink()
    refused(house.rotate(), "there is no configuration file", "$ROTATOR_CONFIG", "/etc/rotator/rotator.yaml")
    refused(house.rotate("--config", "nowhere.yaml"), "nowhere.yaml, which --config names")


@pytest.mark.parametrize("text", ["credentials: {web: [", "\tcredentials: {}", "a: b: c", "- one\n- two\n", ""])
def test_bad_yaml_is_told_with_its_place(house: House, text: str) -> None:
    house.write(text)
    refused(house.rotate(), "rotator.yaml")
    assert not house.values()


def test_thirty_configuration_errors_are_told_at_once(house: House) -> None:
    wrong = "\n".join(f"  web{n}: {{provider: local, polizy: {{}}, destinations: [nowhere:{n}]}}" for n in range(15))
    house.write(f"providers: {{local: {{type: generated}}}}\ncredentials:\n{wrong}\n")
    ran = house.rotate()
    refused(ran, "30 problems in the configuration", "rotator.yaml:3", "credentials.web14", "did you mean `policy`?")
    assert len(ran.err.splitlines()) == 33


def test_an_unknown_credential_is_answered_with_the_nearest(house: House) -> None:
    for command in (["rotate", "wep"], ["status", "wep"], ["explain", "wep"], ["adopt", "wep"], ["abandon", "wep"]):
        ran = house.run(*command)
        assert ran.status == 2
        assert "did you mean web?" in ran.err.lower()


def test_a_wrong_sealing_key_is_refused_before_anything_happens(house: House) -> None:
    house.rotate()
    before = house.values()
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    (house.folder / "rotator.key").write_text(key, encoding="utf-8")
    refused(house.rotate("--now", "web"), "sealed under another key", "(wrong_sealing_key)")
    refused(house.run("resume", "web"), "(wrong_sealing_key)")
    assert house.values() == before
    checked = house.run("check")
    assert checked.status == 1
    assert "(wrong_sealing_key)" in checked.err


@pytest.mark.parametrize("text", [None, "", "dG9vIHNob3J0", "not base64 at all!"])
def test_a_missing_or_broken_sealing_key_is_refused(house: House, text: str | None) -> None:
    key = house.folder / "rotator.key"
    key.unlink()
    if text is not None:
        key.write_text(text, encoding="utf-8")
    refused(house.rotate(), "rotator.key" if text is None else "32 bytes in base64")
    assert not house.values()


def test_a_missing_database_does_not_look_like_a_new_installation(house: House) -> None:
    (house.folder / "rotator.db").unlink()
    for command in (["rotate"], ["status"], ["audit", "verify"], ["db", "status"]):
        refused(house.run(*command), "there is no database", "rotator.db", "put the lost file back")
    assert not (house.folder / "rotator.db").exists()
    made = house.run("db", "upgrade")
    assert made.status == 0
    assert "applied revision 0001" in made.out
    assert house.rotate().status == 0


def test_a_database_of_a_newer_release_is_left_alone(house: House) -> None:
    with sqlite3.connect(house.folder / "rotator.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    for command in (["rotate"], ["status"], ["db", "upgrade"], ["db", "status"]):
        refused(house.run(*command), "is of a newer version", "(schema_newer)")


def test_a_file_that_is_no_database_is_told(house: House) -> None:
    (house.folder / "rotator.db").write_bytes(b"this is not a database, it is a letter to a friend" * 100)
    refused(house.rotate(), "is not an intact SQLite database")


def test_a_configuration_of_another_environment_is_refused(house: House) -> None:
    house.change("environment: test", "environment: prod")
    refused(house.rotate(), "is of the environment 'test'", "'prod'", "(other_environment)")
    assert not house.values()


def test_a_database_that_does_not_answer_is_1_and_nothing_happens(house: House) -> None:
    house.change("environment: test", "environment: test\nstore: {url: 'postgresql://nobody@127.0.0.1:9/none'}")
    ran = house.rotate()
    assert ran.status == 1
    assert "does not answer: the connection is refused" in ran.err
    assert not house.values()


def test_a_secret_in_the_configuration_is_refused_and_not_repeated(house: House) -> None:
    key = (house.folder / "rotator.key").read_text(encoding="utf-8").strip()
    house.change("environment: test", f"environment: test\nseal: {{key: '{key}'}}")
    refused(house.rotate(), "use file:PATH, env:NAME")


def test_a_folder_that_cannot_be_written_is_told_by_init(house: House, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    refused(house.run("init", "--dir", str(tmp_path / "file")), "cannot write")


def test_an_unknown_command_and_option_are_usage_errors(house: House) -> None:
    ran = house.run("stauts")
    assert (ran.status, ran.out) == (2, "")
    assert "did you mean 'status'?" in ran.err
    assert house.run("status", "--jsn").status == 2
