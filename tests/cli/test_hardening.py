"""What processes of ours give up, looked at from outside while they work: /proc of the commands as users start them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from rotator.cli import hardening
from tests.cli.house import ROOT, House, until

BIN = Path(sys.executable).parent

ENTRIES: Mapping[str, list[str]] = {
    "rotate": [str(BIN / "rotate"), "--now", "web"],
    "rotator": [str(BIN / "rotator"), "rotate", "--now", "web"],
    "python -m rotator": [sys.executable, "-m", "rotator", "adopt", "web", "--yes"],
    "daemon": [str(BIN / "rotator"), "daemon"],
    "a command that only looks": [str(BIN / "rotator"), "status"],
}

AS_MERE_OWNER = [
    sys.executable,
    "-c",
    # SYS_PTRACE, SYS_ADMIN and PERFMON make root more than an owner; only root can drop them, and has to.
    "import ctypes, os, sys; drop = ctypes.CDLL(None).prctl; [drop(24, c, 0, 0, 0) for c in (19, 21, 38)]; "  # noqa: ISC004 - one line of code
    "os.execvp(sys.argv[1], sys.argv[1:])",
]
"""What a command begins with that is to have the rights of its user, and no more: also where root runs the tests."""


def looked_into(pid: int) -> subprocess.CompletedProcess[str]:
    """What another program of the same user gets of a process's memory: its environment stands for it."""
    command = [*AS_MERE_OWNER, "cat", f"/proc/{pid}/environ"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def fifo(house: House) -> Path:
    """The configuration is a named pipe: whoever reads it waits there, as hardened as it will ever be."""
    file = house.folder / "waiting.yaml"
    os.mkfifo(file)
    return file


@pytest.mark.parametrize("entry", ENTRIES)
def test_no_dump_no_look_inside_and_files_of_its_own_from_the_first_moment(
    house: House, fifo: Path, entry: str
) -> None:
    command = [*AS_MERE_OWNER, *ENTRIES[entry], "--config", str(fifo)]
    environ = house.environ({"SSLKEYLOGFILE": str(house.folder / "keys"), "SPY": "me"})
    process = subprocess.Popen(command, cwd=house.folder, env=environ, stderr=subprocess.DEVNULL)
    try:
        opened: list[int] = []
        writer = threading.Thread(target=lambda: opened.append(os.open(fifo, os.O_WRONLY)))  # waits for the reader
        writer.start()
        writer.join(60)
        about = Path("/proc") / str(process.pid)
        status = dict(line.partition(":")[::2] for line in (about / "status").read_text().splitlines())
        limits = {line[:26].strip(): line[26:].split()[:2] for line in (about / "limits").read_text().splitlines()}
        assert status["Umask"].strip() == "0077"
        assert limits["Max core file size"] == ["0", "0"]
        looked = looked_into(process.pid)
        assert looked.returncode != 0
        assert "Permission denied" in looked.stderr
        assert "SPY" not in looked.stdout
        for descriptor in opened:
            os.close(descriptor)
    finally:
        process.kill()
        process.wait()


def test_the_look_into_a_process_that_is_not_hardened_succeeds() -> None:
    with subprocess.Popen([*AS_MERE_OWNER, "sleep", "60"], env={**os.environ, "SPY": "me"}) as process:
        try:
            until(lambda: "SPY=me" in looked_into(process.pid).stdout)
        finally:
            process.kill()


def test_sessions_of_tls_are_not_logged_although_the_environment_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    code = (
        "import ssl; from rotator.cli.hardening import harden; "
        "print(ssl.create_default_context().keylog_filename); harden(); "
        "print(ssl.create_default_context().keylog_filename)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.split() == [str(tmp_path / "keys"), "None"]


ENDS = {
    "the process": "fail(secret)",
    "a-thread": "t = threading.Thread(target=fail, args=(secret,), name='a-thread'); t.start(); t.join()",
    "the end of a": "class Odd:\n    def __del__(self): fail(secret)\nodd = Odd(); del odd",
}


@pytest.mark.parametrize("end", ENDS)
def test_what_nobody_catches_is_told_by_its_place_without_text_and_locals(end: str) -> None:
    code = (
        "import threading\nfrom rotator import logs\nfrom rotator.cli.hardening import harden\n"
        "logs.set_up(2)\nharden()\nsecret = ''.join(['CANARY', '-of-a-local'])\n"
        f"def fail(value): raise ValueError(value)\n{ENDS[end]}\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert f"{end}" in ran.stderr
    assert "this is a bug: ValueError at <string>:7 in fail" in ran.stderr
    assert "the calls that led there" in ran.stderr
    assert "CANARY-of-a-local" not in ran.stderr


def test_a_system_without_these_means_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    before = os.umask(0o022)
    monkeypatch.setitem(sys.modules, "resource", None)
    try:
        with caplog.at_level("INFO", "rotator"):
            hardening.harden()
    finally:
        sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
        os.umask(before)
    assert "core dumps could not be switched off" in caplog.text
