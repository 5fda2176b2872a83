"""What is searched: files as git knows them or as they lie there, archives in memory, git history, and places."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rotator.domain.errors import SetupError
from rotator.ports.destination import Held

LARGEST = 50_000_000
"""Bytes of one file, and of all that one archive holds: more is left out, and told."""

MOST_MEMBERS = 20_000
_BINARY_IN = 8000  # bytes; as git tells
_CHUNK = 4_000_000
_BATCH = 64  # files
_METADATA = {".git", ".hg", ".svn"}
_ENVIRONMENT = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "GIT_DIR", "GIT_WORK_TREE")
_GIT = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false")


@dataclass(frozen=True)
class Piece:
    """A text, and what it is called. `lines` has the number of each line where they do not count from 1."""

    where: str
    text: bytes
    lines: Sequence[int] = ()
    commit: str | None = None


@dataclass(frozen=True)
class LeftOut:
    """What was not searched, and why."""

    where: str
    why: str


@dataclass(frozen=True)
class Files:
    """A few files."""

    paths: Sequence[str]

    def pieces(self) -> Iterator[Piece | LeftOut]:
        """What each holds, archives opened."""
        for path in self.paths:
            try:
                size = Path(path).stat().st_size
                if size > LARGEST:
                    yield LeftOut(path, f"larger than {LARGEST // 1_000_000} MB")
                    continue
                data = Path(path).read_bytes()
            except OSError as problem:
                yield LeftOut(path, problem.strerror or "cannot be read")
                continue
            yield from _opened(path, data, LARGEST)


@dataclass(frozen=True)
class History:
    """Some commits, as `git log` prints them."""

    repository: str
    log: bytes = field(repr=False)

    def pieces(self) -> Iterator[Piece | LeftOut]:
        """The message of each commit, and the lines that it added to each file."""
        for entry in self.log.split(b"\0"):
            head, _, rest = entry.partition(b"\n")
            commit = head.decode("ascii", "replace")[:12]
            if not commit:
                continue
            message, begin, diff = rest.partition(b"\ndiff --")
            yield Piece(f"{self.repository}: message of commit {commit}", message, commit=commit)
            for part in re.split(rb"(?m)^diff --", diff) if begin else ():
                piece = _added(part, commit)
                if piece is not None:
                    yield piece


Batch = Files | History | Piece


def standing(held: Held) -> Piece:
    """What stands at a place of a destination's server."""
    where = held.address if held.field is None else f"{held.address} ({held.field})"
    return Piece(where, held.text.reveal().encode(errors="replace"))


def files(paths: Sequence[str], *, ignored: bool) -> Iterator[Files]:
    """What lies under the paths. In a work tree of git, without what its ignore files name, unless `ignored`."""
    batch: list[str] = []
    for path in paths:
        for found in _under(path, ignored=ignored):
            batch.append(found)
            if len(batch) == _BATCH:
                yield Files(tuple(batch))
                batch.clear()
    if batch:
        yield Files(tuple(batch))


def _under(path: str, *, ignored: bool) -> Iterator[str]:
    named = Path(path)
    if named.is_file():
        yield path
        return
    if not named.is_dir():
        message = f"there is no file or folder {path}"
        raise SetupError(message, reason="no_such_path", remedy="name what is to be searched; - is stdin")
    for found in _walked(named) if ignored or not in_work_tree(path) else _listed(named):
        if found.is_file() and not found.is_symlink():
            yield str(found)


def _listed(folder: Path) -> Iterator[Path]:
    listed = _run(str(folder), "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", ".")
    return (folder / os.fsdecode(name) for name in listed.split(b"\0") if name)


def _walked(top: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name not in _METADATA)
        yield from (Path(folder, name) for name in sorted(names))


def in_work_tree(path: str) -> bool:
    """Whether git is here and the folder belongs to a repository of it."""
    folder = Path(path).absolute()
    return shutil.which("git") is not None and any((up / ".git").exists() for up in (folder, *folder.parents))


def was_committed(file: Path) -> bool:
    """Whether any commit of its repository has a version of the file. Without git, or where it fails, nobody knows."""
    if not in_work_tree(str(file.parent)):
        return False
    try:
        return bool(_run(str(file.parent), "log", "--all", "--max-count=1", "--format=%H", "--", file.name))
    except SetupError:
        return False


def history(paths: Sequence[str]) -> Iterator[History]:
    """Every commit that any branch, tag or stash of the repositories leads to. Raises SetupError where git fails."""
    for path in paths:
        folder = path if Path(path).is_dir() else str(Path(path).parent)
        if not in_work_tree(folder):
            message = f"{folder} is in no git repository, or there is no git"
            raise SetupError(message, reason="no_repository", remedy="leave --history out, or name a repository")
        flags = ("--all", "-p", "-c", "--unified=0", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames")
        yield from _log(folder, ("log", *flags, "--format=%x00%H%n%B"))


def _log(folder: str, command: Sequence[str]) -> Iterator[History]:
    process = subprocess.Popen(
        _command(folder, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment()
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        left = b""
        while data := process.stdout.read(_CHUNK):
            whole, end, left = (left + data).rpartition(b"\0")
            if end:
                yield History(folder, whole)
        yield History(folder, left)
        said = process.stderr.read()
        if process.wait() != 0:
            raise _failed(folder, said)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def _run(folder: str, *command: str) -> bytes:
    done = subprocess.run(_command(folder, command), capture_output=True, env=_environment(), check=False)
    if done.returncode != 0:
        raise _failed(folder, done.stderr)
    return done.stdout


def _command(folder: str, command: Sequence[str]) -> list[str]:
    return ["git", "-C", folder, *_GIT, *command]


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}


def _failed(folder: str, said: bytes) -> SetupError:
    lines = said.decode("utf-8", "replace").strip().splitlines() or ["no word why"]
    message = f"git cannot read {folder}: {lines[0]}"
    return SetupError(message, reason="no_repository", remedy="--no-ignore searches the files without git")


_HUNK = re.compile(rb"^@@+ .*\+(\d+)(?:,\d+)? @@+")


def _added(part: bytes, commit: str) -> Piece | None:
    """The added lines of one file; of a merge, those that are in none of its parents."""
    path, number = "", 0
    text: list[bytes] = []
    lines: list[int] = []
    for line in part.split(b"\n"):
        if line.startswith(b"+++ ") and not text:
            path = line[4:].strip(b'"\t').removeprefix(b"b/").decode("utf-8", "replace")
        elif hunk := _HUNK.match(line):
            number = int(hunk[1])
        elif path and number and line[:1] in (b"+", b" "):
            text.append(line.lstrip(b"+") if line.startswith(b"++") else line[1:])
            lines.append(number)
            number += 1
    return Piece(path, b"\n".join(text), lines, commit) if text else None


# archives

_BROKEN = (
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
    OSError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)
_DEEPEST = 3


def _opened(where: str, data: bytes, room: int, depth: int = 0) -> Iterator[Piece | LeftOut]:
    """The texts in it. `room` is how many bytes it may unpack to."""
    form = _form(data)
    if form is None or depth == _DEEPEST:
        yield _text(where, data)
        return
    try:
        for name, inside in form(data, room):
            room -= len(inside)
            if room < 0:
                yield LeftOut(where, f"holds more than {LARGEST // 1_000_000} MB; the rest of it")
                return
            yield from _opened(f"{where}!{name}" if name else where, inside, room, depth + 1)
    except _BROKEN:
        yield LeftOut(where, "an archive that cannot be opened, or not wholly")


def _text(where: str, data: bytes) -> Piece | LeftOut:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Piece(where, data.decode("utf-16", "replace").encode())
    return LeftOut(where, "binary") if b"\0" in data[:_BINARY_IN] else Piece(where, data)


Form = Callable[[bytes, int], Iterator[tuple[str, bytes]]]


def _form(data: bytes) -> Form | None:
    if data.startswith(b"PK\x03\x04"):
        return _zip
    if data.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")) or data[257:262] == b"ustar":
        return _tar
    return None


def _count(members: int) -> None:
    if members == MOST_MEMBERS:
        message = "too many members"
        raise ValueError(message)


def _zip(data: bytes, room: int) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for number, member in enumerate(archive.infolist()):
            _count(number)
            if not member.is_dir():
                with archive.open(member) as file:
                    yield member.filename, file.read(room + 1)


def _tar(data: bytes, room: int) -> Iterator[tuple[str, bytes]]:
    """A tar file, compressed or not; or what was compressed alone."""
    try:
        archive = tarfile.open(fileobj=io.BytesIO(data), mode="r:*")  # noqa: SIM115 - closed below
    except tarfile.ReadError:
        form: Any = {b"\x1f": gzip, b"B": bz2, b"\xfd": lzma}.get(data[:1])
        if form is None:
            raise
        with form.open(io.BytesIO(data)) as unpacked:
            yield "", unpacked.read(room + 1)
        return
    with archive:
        for number, member in enumerate(archive):
            _count(number)
            file = archive.extractfile(member) if member.isreg() else None
            if file is not None:
                yield member.name, file.read(room + 1)
