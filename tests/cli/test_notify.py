"""`notify test`, and what `check` says of routes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.house import House
from tests.notifiers.receiver import KEY, Receiver, receiving


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    folder = tmp_path / "receiver"
    folder.mkdir()
    with receiving(folder) as started:
        yield started


def give(house: House, *routes: str) -> None:
    house.change(
        "providers: {local", "notify:\n  routes:\n" + "".join(f"    {r}\n" for r in routes) + "providers: {local"
    )


def checks(house: House, *names: str) -> list[dict[str, Any]]:
    found = house.run("check", "--json", *names).json["checks"]
    return [one for one in found if one["check"] == "route"]


def test_a_test_goes_by_each_route_or_by_one_and_says_what_became_of_it(house: House, receiver: Receiver) -> None:
    (house.folder / "sign").write_text(KEY)
    give(
        house,
        f"ops: {{webhook: '{receiver.url}', sign: file:sign, quiet: {{hours: [MON-SUN]}}}}",
        "chat: {apprise: env:CHAT_URL}",
    )
    url = f"json://127.0.0.1:{receiver.port}/chat"
    every = house.run("notify", "test", env={"CHAT_URL": url})
    assert (every.status, every.err) == (0, "")
    assert every.out.splitlines() == [
        "environment test",
        f"ok       ops: webhook {receiver.url} has accepted the test",
        "ok       chat: apprise env:CHAT_URL has accepted the test",
    ]
    assert sorted(body["title"] for body in receiver.received) == [
        "[test] test of the route chat",
        "[test] test of the route ops",
    ]
    one = house.run("notify", "test", "ops")
    assert one.out.splitlines()[1:] == [f"ok       ops: webhook {receiver.url} has accepted the test"]
    receiver.kill()
    dead = house.run("notify", "test", "--json", env={"CHAT_URL": url})
    assert dead.status == 1
    assert [(r["route"], r["accepted"], r["reason"]) for r in dead.json["routes"]] == [
        ("ops", False, "unreachable"),
        ("chat", False, "not_accepted"),
    ]
    said = house.run("notify", "test", "ops")
    assert said.status == 1
    assert "cannot connect to" in said.err
    assert "To do: start the server, or correct its address" in said.err


def test_a_test_says_what_is_missing(house: House) -> None:
    none = house.run("notify", "test")
    assert none.status == 2
    assert "there is no route in" in none.err
    give(house, "oncall: {apprise: env:CHAT_URL}")
    wrong = house.run("notify", "test", "oncal")
    assert wrong.status == 2
    assert "no route is called oncal" in wrong.err
    assert "did you mean `oncall`?" in wrong.err
    unset = house.run("notify", "test")
    assert unset.status == 1
    assert "the environment variable CHAT_URL is not set" in unset.err
    assert "Traceback" not in unset.err


def test_check_tells_routes_that_cannot_work_or_tell_nothing_and_credentials_nobody_hears_of(house: House) -> None:
    assert checks(house) == []
    (house.folder / "sign").write_text(KEY)
    give(
        house,
        "web: {webhook: 'https://127.0.0.1:1/', sign: file:sign, select: team=web}",
        "nobody: {webhook: 'https://127.0.0.1:1/', sign: file:sign, select: team=wob}",
        "broken: {apprise: env:CHAT_URL, select: team=web}",
    )
    found = {one["subject"]: (one["outcome"], one["reason"]) for one in checks(house)}
    assert found == {
        "route web": ("ok", None),
        "route nobody": ("warning", "route_unused"),
        "route broken": ("failed", "not_accepted"),
        "notify": ("warning", "untold"),
    }
    (silent,) = (one for one in checks(house, "mail") if one["subject"] == "notify")
    assert silent["message"] == "no route tells anything of mail"
    house.change("select: team=wob", "events: [drift.*]")
    (silent,) = (one for one in checks(house) if one["subject"] == "notify")
    assert silent["message"].endswith("of mail")
    assert "drift.found" not in silent["message"]
    assert "credential.blocked" in silent["message"]
