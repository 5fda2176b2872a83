"""Env files on a real file system."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values
from pydantic import ValidationError

from rotator.destinations.env_file import EnvFile, FilePlace
from rotator.domain.errors import AccessDenied, Conflict, LostAnswer, Refused, RotatorError, Unavailable
from rotator.domain.model import WHOLE_BODY
from rotator.domain.secret import Secret
from rotator.ports.destination import Capabilities, Destination, Held, Reading
from tests.contracts.destination import (
    FIELD,
    NEW,
    OLD,
    OTHER,
    DestinationContract,
    ShadowContract,
    SurveyContract,
    found,
    put,
    shadow_of,
)

ROOT = os.geteuid() == 0
NOBODY = 65534 if ROOT else os.geteuid()

Build = Callable[..., FilePlace]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "web"
    made.mkdir(mode=0o755)
    return made


@pytest.fixture
def file(folder: Path) -> Path:
    return folder / ".env"


@pytest.fixture
def build(file: Path) -> Build:
    """Build a place; any setting can be given."""

    def build(path: Path = file, seconds: float = 5, **settings: Any) -> FilePlace:
        return EnvFile("web", EnvFile.Settings.model_validate(settings), timedelta(seconds=seconds)).at(str(path))

    return build


@pytest.fixture
def place(build: Build) -> FilePlace:
    return build()


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's rights, if we have them."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        if ROOT:
            os.seteuid(0)


class NobodySurveys:
    """A server of files that is looked through without root's rights."""

    def __init__(self, server: EnvFile, file: Path) -> None:
        self.server = server
        self.file = file

    def survey(self, _: Collection[str | None]) -> Iterator[Held | RotatorError]:
        with as_nobody():
            yield from self.server.survey([str(self.file)])


class AsNobody:
    """A destination that works without root's rights."""

    def __init__(self, place: Destination) -> None:
        self.place = place

    @property
    def capabilities(self) -> Capabilities:
        return self.place.capabilities

    @property
    def identity(self) -> str:
        return self.place.identity

    @property
    def address(self) -> str:
        return self.place.address

    def read(self) -> Reading:
        with as_nobody():
            return self.place.read()

    def preflight(self, fields: Mapping[str, object]) -> None:
        with as_nobody():
            self.place.preflight(fields)

    def write(self, fields: Mapping[str, Secret], expected: str, token: str) -> str:
        with as_nobody():
            return self.place.write(fields, expected, token)

    def shadow(self, token: str) -> AsNobody:
        return AsNobody(shadow_of(self.place, token))

    def remove(self) -> None:
        with as_nobody():
            self.place.remove()  # type: ignore[attr-defined]  # only of a shadow


class FileNeighbour:
    """A consumer that uses python-dotenv, and an editor that writes in place."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> Mapping[str, Any]:
        return dotenv_values(self.file) if self.file.exists() else {}

    def write(self, fields: Mapping[str, str]) -> None:
        self.file.write_text("".join(f"{name}='{value}'\n" for name, value in fields.items()))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that users who are not root can reach; pytest's own ones are closed to them."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)
        Path(made).chmod(0o755)


class TestEnvFile(DestinationContract, ShadowContract, SurveyContract):
    @pytest.fixture
    def beside(self, folder: Path) -> Callable[[], list[str]]:
        return lambda: sorted(entry.name for entry in folder.iterdir())

    @pytest.fixture
    def twin(self, build: Build, folder: Path, tmp_path: Path) -> Destination:
        return build(tmp_path / "web" / ".." / "web" / ".env")

    @pytest.fixture
    def elsewhere(self, build: Build, folder: Path) -> Destination:
        return build(folder / ".env.local")

    @pytest.fixture
    def neighbour(self, file: Path) -> FileNeighbour:
        return FileNeighbour(file)

    @pytest.fixture
    def surveying(self, place: FilePlace) -> EnvFile:
        return place.server

    @pytest.fixture
    def path(self, file: Path) -> Path:
        return file

    @pytest.fixture
    def surveying_denied(self, build: Build, open_folder: Path) -> NobodySurveys:
        open_folder.chmod(0)
        return NobodySurveys(build().server, open_folder / ".env")

    @pytest.fixture
    def denied(self, build: Build, open_folder: Path) -> Destination:
        open_folder.chmod(0)
        return AsNobody(build(open_folder / ".env"))


def test_a_survey_keeps_to_env_files_and_goes_below_allowed_roots(build: Build, tmp_path: Path) -> None:
    root = tmp_path / "srv"
    for name in ("a/.env", "a/deep/app.env", "a/.env.local", "a/notes.txt", "b/.git/x.env"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("A=1\n")
    (root / "a/link.env").symlink_to(root / "a/notes.txt")
    (root / "a/large.env").write_bytes(b"x" * 2_000_000)
    server = build(root / "a" / ".env", allowed_roots=[str(root)]).server
    shown = list(server.survey([str(root / "a" / ".env")]))
    places = [one.address.removeprefix(f"env-file:{root}/") for one in shown if isinstance(one, Held)]
    assert places == ["a/.env", "a/.env.local", "a/deep/app.env"]
    assert [type(one).__name__ for one in shown if not isinstance(one, Held)] == ["Refused"]
    assert len(list(build(root / "a" / ".env").server.survey([str(root / "a" / ".env")]))) == 3


def beside(file: Path) -> list[str]:
    """What else is in the folder."""
    return sorted(path.name for path in file.parent.iterdir() if path != file)


def test_comments_order_and_line_ends_are_kept(place: FilePlace, file: Path) -> None:
    file.write_bytes(b"# mine \xff\r\n\r\nexport OPENAI_API_KEY = 'old' # ours\r\nB=2")
    put(place, NEW)
    assert file.read_bytes() == f"# mine \xff\r\n\r\nexport OPENAI_API_KEY={NEW} # ours\r\nB=2".encode("latin-1")


def test_bytes_that_are_no_text_are_read_as_such(place: FilePlace, file: Path) -> None:
    file.write_bytes(b"A=\xff\nB=\xc3\xa4\n")
    assert found(place, "A") == "\N{REPLACEMENT CHARACTER}"
    assert found(place, "B") == "ä"


def test_a_file_that_readers_take_differently_is_found_out_beforehand(place: FilePlace, file: Path) -> None:
    for text in (f"{FIELD}=1\n{FIELD}=2\n", "A='1\n", "A=1\\\n"):
        file.write_text(text)
        for call in (lambda: place.preflight({FIELD: None}), lambda: put(place, NEW)):
            with pytest.raises(Refused):
                call()
        assert file.read_text() == text
    assert beside(file) == []


def test_the_shadow_of_a_link_stands_beside_the_file_that_it_names(build: Build, folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.env"
    link.symlink_to(folder / ".env")
    shadow = shadow_of(build(link))
    put(shadow, NEW)
    assert [entry.name for entry in folder.iterdir()] == [".env.rehearsal-1a2b3c4d"]
    shadow.remove()
    assert list(folder.iterdir()) == []


def test_removing_a_shadow_never_follows_a_link_that_somebody_put_there(place: FilePlace, folder: Path) -> None:
    theirs = folder / "theirs"
    theirs.write_text("A=1\n")
    shadow = shadow_of(place)
    (folder / ".env.rehearsal-1a2b3c4d").symlink_to(theirs)
    with pytest.raises(Refused):
        shadow.preflight({FIELD: None})
    shadow.remove()
    assert [entry.name for entry in folder.iterdir()] == ["theirs"]


def test_what_a_crashed_write_of_a_shadow_left_goes_with_it(place: FilePlace, folder: Path) -> None:
    shadow = shadow_of(place)
    put(shadow, NEW)
    (folder / "..env.rehearsal-1a2b3c4d.rotator-x").write_text(NEW)
    shadow.remove()
    assert list(folder.iterdir()) == []


def test_a_new_file_is_for_its_owner_only(place: FilePlace, file: Path) -> None:
    before = os.umask(0)
    try:
        put(place, NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660, 0o644, 0o400])
def test_the_mode_is_kept(place: FilePlace, file: Path, mode: int) -> None:
    file.write_text("A=1\n")
    file.chmod(mode)
    put(place, NEW)
    assert stat.S_IMODE(file.stat().st_mode) == mode


def test_the_mode_of_the_settings_wins(build: Build, file: Path) -> None:
    file.write_text("A=1\n")
    file.chmod(0o644)
    put(build(mode="0640"), NEW)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_the_owner_is_kept(place: FilePlace, file: Path) -> None:
    file.write_text("A=1\n")
    os.chown(file, NOBODY, NOBODY if ROOT else -1)
    before = file.stat()
    put(place, NEW)
    assert (file.stat().st_uid, file.stat().st_gid) == (before.st_uid, before.st_gid)
    assert file.stat().st_uid == NOBODY


def test_access_lists_and_attributes_are_kept(place: FilePlace, file: Path) -> None:
    file.write_text("A=1\n")
    entries = [(1, 6, 2**32 - 1), (2, 4, NOBODY), (4, 0, 2**32 - 1), (16, 4, 2**32 - 1), (32, 0, 2**32 - 1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    with suppress(OSError):  # a file system without them
        os.setxattr(file, "user.note", b"mine")
        os.setxattr(file, "system.posix_acl_access", acl)
    before = {name: os.getxattr(file, name) for name in os.listxattr(file)}
    mode = file.stat().st_mode
    put(place, NEW)
    assert {name: os.getxattr(file, name) for name in os.listxattr(file)} == before
    assert file.stat().st_mode == mode


def test_a_file_of_somebody_else_is_refused(place: FilePlace, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("A=1\n")
    base = place.read().revision
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    for call in (lambda: place.preflight({FIELD: None}), lambda: put(place, NEW, base)):
        with pytest.raises(Refused) as told:
            call()
        assert told.value.reason == "foreign_owner"


def test_a_group_that_cannot_be_given_is_refused(place: FilePlace, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("A=1\n")
    status, fstat = file.stat(), os.fstat

    def with_other_group(descriptor: int) -> os.stat_result:
        true = fstat(descriptor)
        other = [*true]
        other[5] += true.st_ino != status.st_ino
        return os.stat_result(other, {name: getattr(true, name) for name in ("st_mtime_ns", "st_ctime_ns")})

    def forbidden(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "fstat", with_other_group)
    monkeypatch.setattr(os, "fchown", forbidden)
    with pytest.raises(Refused) as told:
        put(place, NEW)
    assert told.value.reason == "foreign_owner"
    assert file.read_text() == "A=1\n"
    assert beside(file) == []


def test_a_link_stays_and_its_target_is_replaced(build: Build, file: Path, tmp_path: Path) -> None:
    file.write_text("A=1\n")
    link = tmp_path / "linked.env"
    link.symlink_to("web/.env")
    put(build(link), NEW)
    assert link.readlink() == Path("web/.env")
    assert file.read_text() == f"A=1\n{FIELD}={NEW}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["linked.env", "web"]
    assert build(link).identity == build().identity


def test_a_link_to_nothing_is_an_absent_place(build: Build, file: Path, tmp_path: Path) -> None:
    link = tmp_path / "linked.env"
    link.symlink_to(file)
    assert build(link).read().revision == build().read().revision
    put(build(link), NEW)
    assert file.read_text() == f"{FIELD}={NEW}\n"


def test_a_file_with_two_names_is_refused(place: FilePlace, file: Path) -> None:
    file.write_text("A=1\n")
    (file.parent / "twin").hardlink_to(file)
    for call in (lambda: place.preflight({FIELD: None}), lambda: put(place, NEW)):
        with pytest.raises(Refused) as told:
            call()
        assert told.value.reason == "hard_link"


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "device"])
def test_what_is_no_file_is_refused_at_once(build: Build, file: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "loop":
        file.symlink_to(file.name)
    place = build(Path("/dev/null")) if kind == "device" else build()
    for call in (place.read, lambda: place.preflight({FIELD: None}), lambda: put(place, NEW, "absent")):
        with pytest.raises(Refused) as told:
            call()
        assert told.value.reason == "not_a_file"


def test_a_file_that_is_far_too_large_is_refused(place: FilePlace, file: Path) -> None:
    file.write_bytes(b"#" * 1024 * 1024)
    assert place.read().revision
    file.write_bytes(b"#" * 1024 * 1024 + b"\n")
    with pytest.raises(Refused) as told:
        place.read()
    assert told.value.reason == "too_large"


@pytest.mark.parametrize("sticky", [False, True])
def test_a_folder_where_anybody_may_write_is_refused_unless_it_is_sticky(
    place: FilePlace, folder: Path, sticky: bool
) -> None:
    folder.chmod(0o1777 if sticky else 0o777)
    if sticky:
        place.preflight({FIELD: None})
        assert put(place, NEW)
        return
    for call in (lambda: place.preflight({FIELD: None}), lambda: put(place, NEW)):
        with pytest.raises(Refused) as told:
            call()
        assert told.value.reason == "unsafe_folder"


def test_a_missing_folder_is_told_and_not_taken_for_an_absent_file(build: Build, folder: Path) -> None:
    (folder / "file").write_text("")
    for path in (folder / "no" / ".env", folder / "file" / ".env"):
        place = build(path)
        for call in (place.read, lambda: place.preflight({FIELD: None}), lambda: put(place, NEW, "absent")):  # noqa: B023
            with pytest.raises(Refused) as told:
                call()
            assert told.value.reason == "no_such_folder"


def test_a_folder_that_we_may_only_read_is_told_beforehand(build: Build, open_folder: Path) -> None:
    (open_folder / ".env").write_text(f"{FIELD}={OLD}\n")
    os.chown(open_folder / ".env", NOBODY, -1)
    open_folder.chmod(0o555)
    place = AsNobody(build(open_folder / ".env"))
    assert found(place) == OLD
    for call in (lambda: place.preflight({FIELD: None}), lambda: put(place, NEW)):
        with pytest.raises(AccessDenied) as told:
            call()
        assert told.value.reason == "read_only"
    assert found(place) == OLD


def test_a_lock_of_somebody_else_is_waited_for(build: Build, file: Path) -> None:
    file.write_text(f"{FIELD}={OLD}\n")
    descriptor = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(Unavailable) as told:
            put(build(seconds=0.1), NEW)
        assert told.value.reason == "locked"
        assert found(build(seconds=0)) == OLD
        release = threading.Timer(0.1, fcntl.flock, (descriptor, fcntl.LOCK_UN))
        release.start()
        assert put(build(), NEW)
        release.join()
    finally:
        os.close(descriptor)


FAILURES: Mapping[str, tuple[int, type[Exception], str]] = {
    "write": (errno.ENOSPC, Unavailable, "disk_full"),
    "fchmod": (errno.EDQUOT, Unavailable, "disk_full"),
    "fsync": (errno.EIO, Unavailable, "unavailable"),
    "replace": (errno.EBUSY, Refused, "bind_mount"),
    "open": (errno.EROFS, AccessDenied, "read_only"),
}


@pytest.mark.parametrize("call", FAILURES)
def test_a_failure_leaves_the_old_file_and_nothing_else(
    place: FilePlace, file: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    number, kind, reason = FAILURES[call]
    file.write_text("A=1\n")
    base, true = place.read(), getattr(os, call)

    def failing(*arguments: Any, **options: Any) -> Any:
        if call == "open" and not arguments[1] & os.O_CREAT:
            return true(*arguments, **options)
        if call == "write":
            true(arguments[0], bytes(arguments[1])[:5])  # the disk took a part
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(kind) as told:
            put(place, NEW, base.revision)
    assert told.value.reason == reason  # type: ignore[attr-defined]
    assert file.read_text() == "A=1\n"
    assert beside(file) == []
    assert place.read() == base
    assert put(place, NEW, base.revision)


def test_a_rename_that_may_not_last_is_a_lost_answer(
    place: FilePlace, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, fsync = put(place, OLD), os.fsync

    def failing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(LostAnswer):
            put(place, NEW, base)
    assert found(place) == NEW
    assert beside(file) == []
    with pytest.raises(Conflict):
        put(place, NEW, base)


def child(code: str, file: Path) -> subprocess.CompletedProcess[str]:
    """Run code that has `place` in another process."""
    start = (
        "import os, resource, signal\nfrom datetime import timedelta\n"
        "from rotator.destinations.env_file import EnvFile\nfrom rotator.domain.secret import Secret\n"
        f"place = EnvFile('web', EnvFile.Settings(), timedelta(seconds=5)).at({str(file)!r})\n"
    )
    return subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, check=False)


def test_a_real_limit_of_the_kernel_leaves_the_old_file(place: FilePlace, file: Path) -> None:
    file.write_text("A=1\n")
    done = child(
        "resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))\n"
        "try: place.write({'KEY': Secret('x' * 4096)}, place.read().revision, 'token')\n"
        "except Exception as told: print(told.reason, os.listdir(os.path.dirname(place.path)))\n",
        file,
    )
    assert done.stdout == "disk_full ['.env']\n"
    assert file.read_text() == "A=1\n"


@pytest.mark.parametrize("call", ["write", "fchmod", "fsync", "replace"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_leaves_the_old_or_the_new_file_and_the_next_look_tidies(
    place: FilePlace, file: Path, call: str, when: str
) -> None:
    base = put(place, OLD)
    kill = "os.kill(os.getpid(), signal.SIGKILL)"
    done = child(
        f"true = os.{call}\n"
        f"def killing(*a, **k):\n"
        f"    {kill if when == 'before' else ''}\n    true(*a, **k)\n    {kill}\n"
        f"base = place.read().revision\nos.{call} = killing\n"
        f"place.write({{{FIELD!r}: Secret({NEW!r})}}, base, 'token')\n",
        file,
    )
    assert done.returncode == -signal.SIGKILL
    renamed = (call, when) == ("replace", "after")
    assert file.read_text() == f"{FIELD}={NEW if renamed else OLD}\n"
    assert beside(file) == ([] if renamed else ["..env.rotator-token"])
    if call == "write":
        put(place, OTHER, base)  # a write tidies too
    else:
        assert found(place) == (NEW if renamed else OLD)
    assert beside(file) == []


def test_only_what_we_left_is_removed(place: FilePlace, file: Path) -> None:
    (file.parent / "..env.rotator-old").write_text(OLD)
    kept = ["..env.rotator-folder", "..env.rotator-link", ".env.rotator-x", "..env.swp", "..env.local.rotator-y"]
    (file.parent / kept[0]).mkdir()
    (file.parent / kept[1]).symlink_to("/etc/passwd")
    for name in kept[2:]:
        (file.parent / name).write_text("theirs")
    place.read()
    assert beside(file) == sorted(kept)


def test_what_a_writer_is_just_making_is_left_to_it(place: FilePlace, file: Path) -> None:
    made = file.parent / "..env.rotator-now"
    made.write_text(NEW)
    descriptor = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        place.read()
        assert made.exists()
    finally:
        os.close(descriptor)
    place.read()
    assert not made.exists()


def test_a_leftover_that_cannot_be_removed_is_logged_and_the_look_goes_on(
    build: Build, open_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = open_folder / "..env.rotator-old"
    left.write_text(OLD)
    os.chown(left, NOBODY, -1)
    open_folder.chmod(0o555)
    assert dict(AsNobody(build(open_folder / ".env")).read().fields) == {}
    assert "cannot remove what a crashed write left" in caplog.text
    assert left.exists()


def test_a_reader_never_sees_a_part_of_a_file(place: FilePlace, file: Path) -> None:
    sizes = {value: f"{FIELD}={value}\n" for value in (OLD * 300, NEW * 100)}
    put(place, next(iter(sizes)))
    seen: set[str] = set()
    over = threading.Event()

    def reading() -> None:
        while not over.is_set():
            seen.add(file.read_text())

    reader = threading.Thread(target=reading)
    reader.start()
    try:
        revision = place.read().revision
        for _ in range(60):
            for value in sizes:
                revision = put(place, value, revision)
    finally:
        over.set()
        reader.join()
    assert seen == set(sizes.values())


def test_every_write_has_a_revision_of_its_own(place: FilePlace) -> None:
    revisions = ["absent"]
    for _ in range(40):
        revisions.append(put(place, NEW, revisions[-1]))
    assert len(set(revisions)) == len(revisions)
    assert all(re.fullmatch(r"[0-9]+:[0-9]+:[0-9]+:[0-9]+", revision) for revision in revisions[1:])


def test_a_write_within_the_clock_tick_of_the_last_one_waits_for_the_next(
    place: FilePlace, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, fstat = put(place, OLD), os.fstat
    old, left = file.stat(), [5]

    def same_tick(descriptor: int) -> os.stat_result:
        true = fstat(descriptor)
        if left[0] == 0 or true.st_ino == old.st_ino or not stat.S_ISREG(true.st_mode):
            return true
        left[0] -= 1
        return os.stat_result(tuple(true), {"st_mtime_ns": true.st_mtime_ns, "st_ctime_ns": old.st_ctime_ns})

    monkeypatch.setattr(os, "fstat", same_tick)
    assert put(place, NEW, base) == place.read().revision
    assert left == [0]


def test_an_edit_between_our_look_and_the_rename_is_kept(
    place: FilePlace, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, fsync = put(place, OLD), os.fsync

    def edited(descriptor: int) -> None:
        fsync(descriptor)
        file.write_text("A=by hand\n")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", edited)
        with pytest.raises(Conflict):
            put(place, NEW, base)
    assert file.read_text() == "A=by hand\n"
    assert beside(file) == []


def test_a_file_that_is_being_written_in_place_is_looked_at_again(
    place: FilePlace, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("A=1\n")
    pread, left = os.pread, [2]

    def busy(descriptor: int, length: int, offset: int) -> bytes:
        content = pread(descriptor, length, offset)
        if left[0] > 0:
            left[0] -= 1
            file.write_text(file.read_text() + "B=2\n")
        return content

    monkeypatch.setattr(os, "pread", busy)
    assert place.read().fields[WHOLE_BODY].reveal() == "A=1\nB=2\nB=2\n"
    left[0], before = 1, file.read_text()

    def same_size(descriptor: int, length: int, offset: int) -> bytes:
        content = pread(descriptor, length, offset)
        if left[0] > 0:
            left[0] -= 1
            file.write_text(before.replace("B", "C"))
        return content

    monkeypatch.setattr(os, "pread", same_size)
    assert place.read().fields[WHOLE_BODY].reveal() == before.replace("B", "C")
    monkeypatch.setattr(os, "pread", busy)
    left[0] = 99
    with pytest.raises(Unavailable) as told:
        place.read()
    assert told.value.reason == "changing"


def test_a_file_that_is_mounted_by_itself_is_found_out_beforehand(
    place: FilePlace, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("A=1\n")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 2 0:1 / /proc rw - proc proc rw\n3 2 0:1 /x {file} rw - ext4 /dev/x rw\n")
    monkeypatch.setattr("rotator.destinations.env_file._MOUNTS", mounts)
    with pytest.raises(Refused) as told:
        place.preflight({FIELD: None})
    assert told.value.reason == "bind_mount"
    monkeypatch.setattr("rotator.destinations.env_file._MOUNTS", tmp_path / "none")
    place.preflight({FIELD: None})


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


def test_a_file_that_git_tracks_is_refused(build: Build, file: Path, folder: Path, tmp_path: Path) -> None:
    git(tmp_path, "init")
    file.write_text("A=1\n")
    link = tmp_path / "link"
    link.symlink_to(file)
    build().preflight({FIELD: None})
    git(folder, "add", "-f", ".env")
    for place in (build(), build(link)):
        with pytest.raises(Refused) as told:
            place.preflight({FIELD: None})
        assert told.value.reason == "tracked_by_git"
    build(folder / ".env.local").preflight({FIELD: None})
    build(allow_tracked=True).preflight({FIELD: None})


def test_git_is_not_needed_and_not_waited_for(
    build: Build, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    build().preflight({FIELD: None})
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nexec /bin/sleep 20\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    build(seconds=0.1).preflight({FIELD: None})


def test_our_secrets_are_not_in_the_environment_of_git(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init")
    noted = tmp_path / "noted"
    spy = tmp_path / "git"
    spy.write_text(f"#!/bin/sh\n/usr/bin/env > {noted}\necho $* >> {noted}\nexit 1\n")
    spy.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("OPENAI_ADMIN_KEY", OLD)
    build().preflight({FIELD: None})
    assert "ls-files" in noted.read_text()
    assert OLD not in noted.read_text()


@pytest.mark.parametrize("name", ["NEXT_PUBLIC_KEY", "VITE_KEY", "REACT_APP_KEY", "PUBLIC_KEY", "EXPO_PUBLIC_KEY"])
def test_a_name_that_bundlers_publish_is_refused(build: Build, file: Path, name: str) -> None:
    for call in (lambda: build().preflight({name: None}), lambda: put(build(), NEW, "absent", field=name)):
        with pytest.raises(Refused) as told:
            call()
        assert told.value.reason == "public_name"
        assert name in told.value.message
    assert not file.exists()
    build(allow_public_names=True).preflight({name: None})
    put(build(allow_public_names=True), NEW, field=name)


def test_one_value_may_be_the_whole_file(place: FilePlace, file: Path) -> None:
    pem = "-----BEGIN KEY-----\n'M\\I${IE}\n-----END KEY-----\n"
    place.preflight({WHOLE_BODY: None})
    first = put(place, pem, field=WHOLE_BODY)
    assert file.read_text() == pem
    assert found(place, WHOLE_BODY) == pem
    put(place, NEW, first, field=WHOLE_BODY)
    assert file.read_text() == NEW
    with pytest.raises(Refused) as told:
        put(place, f"{NEW}\ud800", field=WHOLE_BODY)
    assert told.value.reason == "unquotable"
    with pytest.raises(Refused) as told:
        place.preflight({WHOLE_BODY: None, FIELD: None})
    assert told.value.reason == "mixed_fields"


def test_an_empty_file_has_no_fields_and_a_revision(place: FilePlace, file: Path) -> None:
    file.write_text("")
    assert dict(place.read().fields) == {}
    with pytest.raises(Conflict):
        put(place, NEW, "absent")
    put(place, NEW)


def test_the_identity_names_machine_and_file(build: Build, file: Path) -> None:
    assert build(host="blue").identity == f"env-file:blue:{file.resolve()}"
    assert build().identity.split(":")[1] == os.uname().nodename
    assert build().address == f"env-file:{file}"


def test_the_path_is_that_of_the_entry_or_of_the_settings(tmp_path: Path) -> None:
    settings = EnvFile.Settings.model_validate({"path": "web/.env"}, context={"folder": tmp_path})
    server = EnvFile("web", settings, timedelta(seconds=1))
    assert server.at(None).address == f"env-file:{tmp_path}/web/.env"
    assert server.at("/srv/.env").address == "env-file:/srv/.env"
    assert server.parse("/srv/.env") == "/srv/.env"


@pytest.mark.parametrize("path", [None, "", ".env", "srv/.env", "/", "/srv/..", "/srv/a\0b", "/srv/a\nb", "~/.env"])
def test_a_path_that_cannot_be_is_refused(path: str | None) -> None:
    with pytest.raises(ValueError, match="path"):
        EnvFile("web", EnvFile.Settings(), timedelta(seconds=1)).at(path)


def test_an_empty_short_form_is_refused() -> None:
    with pytest.raises(ValueError, match="path"):
        EnvFile("web", EnvFile.Settings(), timedelta(seconds=1)).parse("")


@pytest.mark.parametrize("mode", [0o640, 640, "640x", "0644", "0601", "u=rw", "1640", ""])
def test_a_mode_that_is_unclear_or_open_to_others_is_refused(mode: object) -> None:
    with pytest.raises(ValidationError, match="0640"):
        EnvFile.Settings.model_validate({"mode": mode})


@pytest.mark.parametrize(("mode", "number"), [("0640", 0o640), ("600", 0o600), (None, None)])
def test_a_mode_is_read_as_octal(mode: str | None, number: int | None) -> None:
    assert EnvFile.Settings.model_validate({"mode": mode}).mode == number
