"""Signals, and two processes at once."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.house import House, until


def pushing(house: House) -> subprocess.Popen[str]:
    """A `rotate --now web` that waits for the lock on its place, and would do so for long."""
    house.change("call_budget: 2s", "call_budget: 50s")
    house.change("lease: 6s", "lease: 100s")
    process = house.start("rotate", "--now", "web", "-v")
    until(lambda: house.status()["rotation"] is not None and house.status()["rotation"]["step"] == "push")
    return process


def said(process: subprocess.Popen[str], words: str) -> None:
    """Wait until a process has said this on stderr."""
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    pytest.fail(f"it never said {words!r}")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_parks_the_step_and_the_next_pass_goes_on(house: House, number: signal.Signals, status: int) -> None:
    house.rotate()
    with house.locked():
        process = pushing(house)
        process.send_signal(number)
        said(process, "stopping after the step in hand")
    ran = house.end(process)
    assert ran.status == status
    assert f"stopped by {number.name}; parked: web at verify; `rotate` goes on" in ran.err
    assert house.status()["rotation"]["step"] == "verify"
    assert house.rotate().status == 0
    assert house.status()["current"]["version"] == 2
    assert house.happened("create.succeeded") == 3  # two first keys, and this one: none was made twice


def test_a_leak_of_everything_that_is_interrupted_goes_on_without_replacing_the_new_keys(house: House) -> None:
    house.change("engine: {", "engine: {workers: 1, ")
    house.rotate()
    house.change("call_budget: 2s", "call_budget: 50s")
    house.change("lease: 6s", "lease: 100s")
    with house.locked():
        process = house.start("rotate", "--compromised", "--all", "--yes", "-v")
        until(lambda: house.status()["rotation"] is not None and house.status()["rotation"]["step"] == "push")
        process.send_signal(signal.SIGINT)
        said(process, "stopping after the step in hand")
    ran = house.end(process)
    assert ran.status == 130
    assert "1 of 2 were not begun: mail" in ran.err
    (moment,) = re.findall(r"--made-before (\S+)", ran.err)
    assert house.rotate().status == 0
    assert house.status()["current"]["version"] == 2
    again = ("--compromised", "--all", "--yes", "--made-before", moment)
    assert "web" not in house.rotate(*again, "--dry-run").out
    assert house.rotate(*again).status == 0
    assert (house.status("web")["current"]["version"], house.status("mail")["current"]["version"]) == (2, 2)
    wrong = house.rotate("--made-before", moment)
    assert (wrong.status, "--made-before goes with --now and --compromised" in wrong.err) == (2, True)
    assert "write 2026-11-27T04:00:00Z" in house.rotate("--now", "web", "--made-before", "noon").err


def test_a_second_signal_ends_at_once_and_the_next_pass_goes_on(house: House) -> None:
    with house.locked():
        process = pushing(house)
        process.send_signal(signal.SIGTERM)
        said(process, "stopping after the step in hand")
        process.send_signal(signal.SIGTERM)
        ran = house.end(process)
    assert ran.status == 143
    assert "ended at once" in ran.err
    assert house.rotate("web", "--linger", "30s").status == 0
    assert house.status()["current"]["version"] == 1
    assert house.happened("create.succeeded") == 1


def test_a_command_that_only_waits_is_interrupted_without_a_traceback(house: House) -> None:
    process = house.start("wait", "web", "--for", "current")
    said(process, "waiting until web is current")
    process.send_signal(signal.SIGINT)
    ran = house.end(process)
    assert ran.status == 130
    assert ran.err.split("\n")[-2] == "rotator: interrupted"


def test_of_two_at_once_one_rotates_and_the_other_says_who(house: House) -> None:
    with house.locked():
        first = pushing(house)
        ran = house.rotate("--now", "web")
    assert ran.status == 75
    assert f"web: another worker has it: process {first.pid} on " in ran.err
    assert "To do: " in ran.err
    assert house.end(first).status == 0
    assert house.happened("create.started") == 1


def test_of_two_at_once_the_second_is_content_with_what_the_first_makes(house: House) -> None:
    with house.locked():
        first = pushing(house)
        second = house.start("rotate", "--now", "web", "-v")
        said(second, "begins with web")
    assert house.end(first).status == 0
    assert house.end(second).status == 0
    assert house.status()["current"]["version"] == 1
    assert house.happened("create.started") == 1


def test_a_pass_goes_on_without_a_credential_that_somebody_has(house: House) -> None:
    with house.locked():
        first = pushing(house)
        ran = house.rotate()
    assert ran.status == 0
    assert f"web: another worker has it: process {first.pid} on " in ran.err
    assert "1 held by another worker" in ran.out
    assert "mail: version 1 is current" in ran.out
    assert house.end(first).status == 0


def test_a_verb_says_who_holds_the_credential(house: House) -> None:
    with house.locked():
        first = pushing(house)
        ran = house.run("abandon", "web")
    assert ran.status == 75
    assert f"web is held by another worker: process {first.pid} on " in ran.err
    assert house.end(first).status == 0


def test_a_process_with_secrets_in_memory_leaves_no_core_dump_and_no_file_for_others(house: House) -> None:
    with house.locked():
        process = pushing(house)
        facts = Path(f"/proc/{process.pid}")
        limits = (facts / "limits").read_text(encoding="utf-8")
        core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"]
        assert "Umask:\t0077" in (facts / "status").read_text(encoding="utf-8")
    assert house.end(process).status == 0
