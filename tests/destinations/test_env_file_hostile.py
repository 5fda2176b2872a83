"""Env files among people who mean harm, and on file systems that are full, read-only or mounted: real ones.

Where mounts are permitted (root, or user namespaces) these file systems are mounted for a test; where they are not,
the same answers of the kernel are had by other means, so that each test says something everywhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator.destinations.env_file import EnvFile, FilePlace
from rotator.domain.errors import Refused, RotatorError
from tests.contracts.destination import FIELD, NEW, OLD, found, put

ROOT = Path(__file__).parents[2]
RACES = 10_000


def place(path: Path, **settings: Any) -> FilePlace:
    return EnvFile("web", EnvFile.Settings.model_validate(settings), timedelta(seconds=5)).at(str(path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "srv" / "web"
    made.mkdir(parents=True, mode=0o755)
    return made


# roots


def test_a_path_outside_of_the_roots_is_an_error_of_the_configuration(tmp_path: Path, folder: Path) -> None:
    for path in (tmp_path / "elsewhere" / ".env", folder / ".." / ".." / ".env", tmp_path / "srv-2" / ".env"):
        with pytest.raises(ValueError, match="allowed_roots"):
            place(path, allowed_roots=[str(tmp_path / "srv")])
    made = place(folder / ".env", allowed_roots=["/nowhere", str(tmp_path / "srv")])
    made.preflight({FIELD: None})
    put(made, NEW)
    assert found(made) == NEW


@pytest.mark.parametrize("link", ["file", "folder"])
def test_a_link_that_leads_out_of_the_roots_is_refused_whenever_it_is_made(
    tmp_path: Path, folder: Path, link: str
) -> None:
    made = place(folder / ".env", allowed_roots=[str(tmp_path / "srv")])
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ".env").write_text(f"{FIELD}={OLD}\n")
    if link == "file":
        (folder / ".env").symlink_to(outside / ".env")
    else:
        folder.rmdir()
        folder.symlink_to(outside)
    for call in (made.read, lambda: made.preflight({FIELD: None}), lambda: put(made, NEW, "absent")):
        with pytest.raises(Refused) as told:
            call()
        assert told.value.reason == "outside_roots"
    assert (outside / ".env").read_text() == f"{FIELD}={OLD}\n"


# races


def test_a_parent_that_is_swapped_all_the_time_never_has_us_write_elsewhere(tmp_path: Path, folder: Path) -> None:
    """10,000 times a thread puts another folder, a link out of the roots, in the place of ours and back."""
    outside, kept, root = tmp_path / "outside", tmp_path / "srv" / "kept", [str(tmp_path / "srv")]
    outside.mkdir()
    (outside / ".env").write_text("THEIRS=1\n")
    (folder / ".env").write_text("OURS=1\n")
    trap = tmp_path / "srv" / "trap"
    trap.symlink_to(outside)
    made = place(folder / ".env", allowed_roots=root)
    swapped, over = [0], threading.Event()

    def swap() -> None:
        while swapped[0] < RACES and not over.is_set():
            folder.rename(kept)
            trap.rename(folder)
            folder.rename(trap)
            kept.rename(folder)
            swapped[0] += 1
        over.set()

    racing = threading.Thread(target=swap)
    racing.start()
    wrote = tried = 0
    try:
        while not over.is_set():
            tried += 1
            with suppress(RotatorError):
                put(made, f"{NEW}{tried}", made.read().revision)
                wrote += 1
    finally:
        over.set()
        racing.join()
    assert swapped[0] == RACES
    assert tried > 50
    assert wrote > 0
    assert (outside / ".env").read_text() == "THEIRS=1\n"
    assert sorted(entry.name for entry in outside.iterdir()) == [".env"]
    assert found(made) is not None


def test_a_file_that_becomes_a_link_pipe_or_twin_in_a_race_is_never_written_through(
    tmp_path: Path, folder: Path
) -> None:
    """10,000 times a thread makes the file another thing: a link, a named pipe, a hard link, nothing, a file."""
    theirs, file = tmp_path / "srv" / "theirs", folder / ".env"
    theirs.write_text("THEIRS=1\n")
    over, turns = threading.Event(), [0]

    def change() -> None:
        spare = folder / "spare"
        while turns[0] < RACES and not over.is_set():
            kind = turns[0] % 4
            with suppress(OSError):
                spare.unlink()
            if kind == 0:
                spare.symlink_to(theirs)
            elif kind == 1:
                os.mkfifo(spare)
            elif kind == 2:
                spare.hardlink_to(theirs)
            else:
                spare.write_text("OURS=1\n")
            spare.replace(file)
            turns[0] += 1
        over.set()

    made, tried = place(file, allowed_roots=[str(folder)]), 0
    racing = threading.Thread(target=change)
    racing.start()
    try:
        while not over.is_set():
            tried += 1
            with suppress(RotatorError):
                put(made, NEW, made.read().revision)
    finally:
        over.set()
        racing.join()
    assert turns[0] == RACES
    assert tried > 50
    assert theirs.read_text() == "THEIRS=1\n"


# file systems

UNSHARED = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
MAY_MOUNT = subprocess.run([*UNSHARED, "true"], capture_output=True, check=False).returncode == 0
"""Whether this machine lets us have mounts of our own; seen by nobody else, and gone with the process."""

CODE = """
import os, resource, signal, sys
from datetime import timedelta
from pathlib import Path
from rotator.destinations.env_file import EnvFile
from rotator.domain.errors import RotatorError
from rotator.domain.secret import Secret
place = EnvFile('web', EnvFile.Settings(), timedelta(seconds=5)).at(sys.argv[1] + '/.env')
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
before = place.read()
def told(call):
    try: call()
    except RotatorError as problem: return problem.reason
def write(): place.write({'KEY': Secret('x' * 60000)}, before.revision, 'token')
"""

SYSTEMS = {
    "full": ('mount -t tmpfs -o size=32k tmpfs .; cd "$1"; echo OLD=1 > .env', ["disk_full"]),
    "read-only": ("echo OLD=1 > .env; mount --bind . .; mount -o remount,bind,ro .", ["read_only"]),
    "one file": ("echo OLD=1 > .env; mount --bind .env .env", ["bind_mount"]),
}
INSTEAD = {
    "full": "resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))",
    "read-only": "def no(*a, true=os.open, **k):\n"
    "    if a[1] & os.O_CREAT: raise OSError(30, '')\n"
    "    return true(*a, **k)\nos.open = no",
    "one file": "def no(*a, **k): raise OSError(16, '')\nos.replace = no",
}
"""Where mounts are not permitted: a limit of the kernel's, or the answers that it gives on such a file system."""


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_file_system_that_takes_no_write_leaves_the_old_file_and_nothing_else(folder: Path, system: str) -> None:
    script, reasons = SYSTEMS[system]
    code = f"{CODE}\n{'' if MAY_MOUNT else INSTEAD[system]}\n"
    code += "print([told(write)], place.read() == before, os.listdir(sys.argv[1]))"
    script = script if MAY_MOUNT else "echo OLD=1 > .env"
    command = ["sh", "-ec", f'cd "$1"; {script}; exec "$2" -c "$3" "$1"', "sh", str(folder), sys.executable, code]
    done = subprocess.run(
        [*(UNSHARED if MAY_MOUNT else []), *command],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.strip() == f"{reasons} True ['.env']"
