"""The long-running service: real processes, real signals, real databases."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time
from contextlib import closing

import pytest

from rotator.testbed.postgres import Postgres
from tests.cli.house import CONFIGURATION, House, until
from tests.daemon.conftest import SHORT, Start, another_pass


def current(house: House, name: str = "web") -> int:
    version = house.status(name)["current"]
    return version["version"] if version else 0


def test_the_first_tick_comes_at_once_and_tells_its_events(house: House, start: Start) -> None:
    daemon = start("--interval", "1h", env={"ROTATOR_ACTOR": ""})
    daemon.says("web create.started")
    until(lambda: current(house) == 1 and current(house, "mail") == 1)
    assert daemon.stop() == 0
    assert "test: 2 credentials, database " in daemon.said
    assert "a tick every 1h" in daemon.said
    assert daemon.said.count("promote.succeeded version 1") == 2
    assert "stopped by SIGTERM; nothing is half done" in daemon.said
    assert house.events()[-1]["actor"].startswith("daemon:")


def test_ticks_that_do_nothing_say_nothing(house: House, start: Start) -> None:
    house.rotate()
    daemon = start("--interval", "100ms")
    for _ in range(3):
        another_pass(house)
    assert daemon.stop(signal.SIGINT) == 0
    said = [line.partition("rotator: ")[2] for line in daemon.said.splitlines()]
    assert [line.split()[0] for line in said] == ["test:", "SIGINT:", "stopped"]


def rotates(house: House) -> None:
    """Wait until a new version of `web` is current."""
    before = current(house)
    until(lambda: current(house) > before)


def slow(house: House) -> None:
    """A push may take long here."""
    house.change("call_budget: 2s", "call_budget: 50s")
    house.change("lease: 6s", "lease: 100s")


def at_push(house: House) -> bool:
    rotation = house.status()["rotation"]
    return rotation is not None and rotation["step"] == "push"


def test_sigterm_in_a_step_lets_it_end_and_the_next_daemon_goes_on(house: House, start: Start) -> None:
    slow(house)
    with house.locked():
        daemon = start()
        until(lambda: at_push(house))
        daemon.send(signal.SIGTERM)
        daemon.says("SIGTERM: stopping after the step in hand")
        assert daemon.process.poll() is None
    began = time.monotonic()
    assert daemon.ended() == 0
    assert time.monotonic() - began < 10
    assert re.search(r"stopped by SIGTERM; parked: (mail, )?web; ", daemon.said)  # mail may have got as far, or further
    following = start("--interval", "1s")
    until(lambda: current(house) == 1)
    assert following.stop() == 0
    assert house.happened("create.started") == 2  # web and mail, each once


def test_sigterm_ends_a_wait_within_a_tick(house: House, start: Start) -> None:
    house.change("grace: 1h, soak: 1h", "grace: 40s, soak: 0s")
    for _ in range(2):
        assert house.rotate("--now", "web").status == 0
    daemon = start("--interval", "2m")
    until(lambda: current(house, "mail") == 1)
    began = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - began < 10
    assert len(house.status()["previous"]) == 1


@pytest.mark.parametrize("again", [False, True], ids=["grace", "second signal"])
def test_a_step_that_outlasts_the_grace_is_named_and_gone_on_with(house: House, start: Start, again: bool) -> None:
    slow(house)
    with house.locked():
        daemon = start("--grace", "30s" if again else "300ms")
        until(lambda: at_push(house))
        until(lambda: house.happened("push.started") == 2)
        daemon.send(signal.SIGTERM)
        daemon.says("stopping after the step in hand")
        if again:
            daemon.send(signal.SIGTERM)
        assert daemon.ended() == 1
    assert re.search("under way: .*web at push.started", daemon.said)
    following = start("--interval", "1s")
    until(lambda: current(house) == 1)
    assert following.stop() == 0
    assert house.happened("create.started") == 2


def test_sighup_puts_a_valid_configuration_in_force_and_a_broken_one_not(house: House, start: Start) -> None:
    daemon = start("--interval", "300ms")
    until(lambda: current(house) == 1)
    house.write(CONFIGURATION.replace("provider: local", "provder: local"))
    daemon.send(signal.SIGHUP)
    daemon.says("To do: correct the file")
    assert daemon.said.count("the configuration before stays in force: rotator.yaml:") >= 2
    another_pass_of_the_old(house)
    third = '  new: {provider: local, destinations: [{to: app, fields: {NEW: "{secret}"}}]}\n'
    house.write(CONFIGURATION + third)
    daemon.send(signal.SIGHUP)
    daemon.says("test: 3 credentials")
    daemon.says("new create.started")
    until(lambda: current(house, "new") == 1)
    assert daemon.stop() == 0
    assert current(house) == 1


def test_what_a_new_configuration_cannot_finish_is_told_once_and_stops_nobody(house: House, start: Start) -> None:
    two = CONFIGURATION.replace("local: {type: generated}", "local: {type: generated}, theirs: {type: generated}")
    house.write(two.replace("mail:\n    provider: local", "mail:\n    provider: theirs"))
    house.rotate()
    assert house.rotate("--now", "mail").status == 0
    daemon = start("--interval", "200ms")
    another_pass(house)
    house.write(CONFIGURATION[: CONFIGURATION.index("  mail:")].replace("rotate_every: 30d", "rotate_every: 1s"))
    daemon.send(signal.SIGHUP)
    daemon.says("(provider_removed)")
    for _ in range(2):
        rotates(house)
    assert daemon.stop() == 0
    assert daemon.said.count("no provider is called `theirs`") == 2  # as an event, and as what stops the turn
    assert daemon.said.count("(provider_removed)") == 1
    assert house.status("mail")["status"] == "blocked"


def another_pass_of_the_old(house: House) -> None:
    """Looked at with the configuration that the daemon has, since the file is broken."""
    broken = (house.folder / "rotator.yaml").read_text(encoding="utf-8")
    house.write(CONFIGURATION)
    try:
        another_pass(house)
    finally:
        house.write(broken)


def test_a_valid_configuration_that_does_not_fit_the_database_is_not_used(house: House, start: Start) -> None:
    daemon = start("--interval", "300ms")
    until(lambda: current(house) == 1)
    house.change("environment: test", "environment: other")
    daemon.send(signal.SIGHUP)
    daemon.says("the configuration before stays in force: the database")
    assert "(other_environment)" in daemon.said
    house.write(CONFIGURATION)
    another_pass(house)
    assert daemon.stop() == 0


def test_a_missing_database_or_a_wrong_configuration_ends_it_with_2(house: House) -> None:
    (house.folder / "rotator.db").rename(house.folder / "elsewhere.db")
    ran = house.run("daemon")
    assert ran.status == 2
    assert "there is no database" in ran.err
    house.change("type: generated", "type: nothing")
    assert house.run("daemon").status == 2
    assert house.run("daemon", "--interval", "0s").status == 2


def test_an_old_schema_is_waited_for(house: House, start: Start) -> None:
    for file in house.folder.glob("rotator.db*"):
        file.unlink()
    (house.folder / "rotator.db").touch()
    daemon = start("--interval", "200ms")
    daemon.says("To do: run `rotator db upgrade`")
    assert house.run("db", "upgrade").status == 0
    until(lambda: current(house) == 1)
    assert daemon.stop() == 0
    assert daemon.said.count("(schema_outdated)") == 1


def test_a_schema_that_was_contracted_under_a_running_daemon_is_left_alone(house: House, start: Start) -> None:
    daemon = start("--interval", "200ms")
    until(lambda: current(house) == 1)
    with closing(
        sqlite3.connect(house.folder / "rotator.db", isolation_level=None)
    ) as database:  # as a newer release does
        database.execute("UPDATE install SET contracted = '0002'")
        daemon.says("(schema_contracted)")
        before = database.execute("SELECT last_pass_at FROM install").fetchone()
        assert daemon.stop() == 0
        assert database.execute("SELECT last_pass_at FROM install").fetchone() == before


def test_what_waiting_cannot_repair_ends_it_later_too(house: House, start: Start) -> None:
    for file in house.folder.glob("rotator.db*"):
        file.unlink()
    (house.folder / "rotator.db").touch()
    daemon = start("--interval", "200ms")
    daemon.says("To do: run `rotator db upgrade`")
    house.change("environment: test", "environment: other")
    assert house.run("db", "upgrade").status == 0
    assert daemon.ended() == 2
    assert "other_environment" in daemon.said


def test_a_database_that_stops_is_survived(house: House, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    with Postgres() as server:
        monkeypatch.setenv("DATABASE_URL", server.fresh_url("daemon"))
        house.write(SHORT.format(url="env:DATABASE_URL"))
        assert house.run("db", "upgrade").status == 0
        daemon = start("--interval", "500ms")
        until(lambda: current(house) >= 1)
        server.stop()
        daemon.says("(database_unavailable)")
        second = start("--interval", "500ms")
        second.says("waiting: the database")
        assert "To do: see that the database runs" in second.said
        server.start()
        daemon.says("what was in the way is gone: ")
        second.says("test: 1 credential, database")
        rotates(house)
        assert daemon.stop() == 0
        assert second.stop() == 0
        assert house.run("audit", "verify").status == 0


def makers(house: House) -> set[str]:
    """Whose commands have made keys."""
    return {event["actor"].partition(":")[0] for event in house.events() if event["event"] == "create.started"}


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_two_daemons_and_people_share_the_rows(
    house: House,
    start: Start,
    database: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = "sqlite:///rotator.db"
    if database == "postgresql":
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("postgres").fresh_url("daemon"))
        url = "env:DATABASE_URL"
    house.write(SHORT.format(url=url))
    assert house.run("db", "upgrade").status == 0
    daemons = [start("--interval", every, env={"ROTATOR_ACTOR": f"daemon:{every}"}) for every in ("300ms", "500ms")]
    for _ in range(10):  # until both have made keys: who comes first is chance
        people = [house.start("rotate", "--now", "web") for _ in range(2)]
        assert {house.end(process).status for process in people} <= {0, 75}
        rotates(house)
        if current(house) >= 4 and makers(house) == {"daemon", "cli"}:
            break
    assert [daemon.stop() for daemon in daemons] == [0, 0]
    for daemon in daemons:
        with pytest.raises(ProcessLookupError):
            os.kill(daemon.process.pid, 0)
    events = house.events()
    started = [event["version"] for event in events if event["event"] == "create.started"]
    assert started == list(range(1, len(started) + 1))
    assert len(started) >= 4
    assert makers(house) == {"daemon", "cli"}
    assert house.run("audit", "verify").status == 0
