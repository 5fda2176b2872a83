"""Commands and what is taken out of the configuration."""

from __future__ import annotations

import pytest

from tests.cli.house import CONFIGURATION, House

OF_ANOTHER_PROVIDER = CONFIGURATION.replace(
    "local: {type: generated}}", "local: {type: generated}, theirs: {type: generated}}"
).replace("mail:\n    provider: local", "mail:\n    provider: theirs")


def remove_mail(house: House) -> None:
    text = (house.folder / "rotator.yaml").read_text(encoding="utf-8")
    house.write(text[: text.index("  mail:")])


@pytest.fixture
def retiring(house: House) -> House:
    """`mail` was rotated twice and taken out while its old key waits for its grace."""
    house.rotate()
    assert house.rotate("--now", "mail").status == 0
    remove_mail(house)
    return house


@pytest.fixture
def stranded(house: House) -> House:
    """As above, and its provider was taken out too."""
    house.write(OF_ANOTHER_PROVIDER)
    house.rotate()
    assert house.rotate("--now", "mail").status == 0
    remove_mail(house)
    house.change(", theirs: {type: generated}", "")
    return house


def test_a_pass_works_on_what_is_still_open(retiring: House) -> None:
    retiring.change("grace: 1h", "grace: 0s")  # pinned for what is open
    ran = retiring.rotate()
    assert ran.status == 0
    assert "test: 2 credentials: 1 retiring, 1 ok" in ran.out
    assert "mail: would" not in ran.out
    status = next(line for line in retiring.run("status").out.splitlines() if line.startswith("mail"))
    assert "unmanaged; " in status
    assert "is being retired" in status
    assert "what is open is finished, and nothing new is opened" in retiring.run("explain", "mail").out


def test_nothing_new_is_opened_by_any_command(retiring: House) -> None:
    before = retiring.happened("rotation.started")
    ran = retiring.rotate("--now", "mail")
    assert ran.status == 1
    assert "mail was not rotated: the configuration does not name it any more (unmanaged)" in ran.err
    assert retiring.rotate("--now", "--all").status == 0
    assert retiring.happened("rotation.started") == before + 1  # of web
    assert "mail: nothing to rotate, the configuration does not name it" in retiring.rotate("--dry-run").out
    for verb in (["rollback", "mail"], ["retire", "mail", "--key", "k"], ["drift", "overwrite", "mail", "other"]):
        ran = retiring.run(*verb)
        assert ran.status == 2
        assert "one that was taken out is put back first" in ran.err


def test_what_is_open_can_be_paused_resumed_and_given_up(house: House) -> None:
    house.rotate()
    (house.folder / "other" / "other.env").write_text("MAIL=somebody-s\n", encoding="utf-8")
    assert house.rotate("--now", "mail").status == 1
    remove_mail(house)
    house.rotate()
    assert house.run("pause", "mail", "--reason", "a look").status == 0
    assert house.run("unpause", "mail").status == 0
    assert house.happened("enroll.succeeded") == 2
    assert "mail: cleared foreign" in house.run("resume", "--all").out
    assert house.run("abandon", "mail").status == 0
    assert house.status("mail")["rotation"] is None


def test_what_cannot_be_finished_is_told_and_the_others_are_rotated(stranded: House) -> None:
    ran = stranded.rotate("--now", "web")
    assert ran.status == 0
    ran = stranded.rotate()
    assert ran.status == 1
    assert "mail is blocked: mail was taken out of the configuration" in ran.err
    assert "(provider_removed)" in ran.err
    assert "To do: put that back until `rotator explain mail` shows nothing open, or mail itself" in ran.err
    assert stranded.rotate("--fail-on", "new").status == 0
    assert stranded.run("status").status == 1
    assert "mail: nothing; it was taken out" in stranded.rotate("--dry-run").out
    found = stranded.run("status", "--json").json["findings"]
    assert [(f["kind"], f["credential"]) for f in found] == [("provider_removed", "mail")]
    assert stranded.happened("provider_removed.found") == 1


@pytest.mark.parametrize(
    "command",
    [
        ["rotate", "mail"],
        ["rotate", "--now", "mail"],
        ["rotate", "--compromised", "mail", "--yes"],
        ["rotate", "--dry-run", "mail"],
        ["abandon", "mail"],
        ["resume", "mail"],
        ["forget", "mail", "--destination", "other", "--yes"],
        ["pause", "mail", "--reason", "why"],
    ],
)
def test_a_command_about_it_says_what_is_missing(stranded: House, command: list[str]) -> None:
    ran = stranded.run(*command)
    assert ran.status == 1
    assert "no provider is called `theirs`" in ran.err
    assert "(provider_removed)" in ran.err


def test_resuming_all_resumes_the_others(stranded: House) -> None:
    ran = stranded.run("resume", "--all")
    assert ran.status == 1
    assert "web: nothing was blocked or waiting" in ran.out
    assert "(provider_removed)" in ran.err
