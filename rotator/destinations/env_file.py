"""A file that consumers read: fields of an env file, or one value as the whole file.

A write replaces the file by a rename under a lock on its folder, so that readers see the old or the new file and
never a part. Programs that do not take the lock (editors) can slip in between the last look and the rename, and an
edit in place that keeps the size is unseen if it falls into the very clock tick (some milliseconds) of our look.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, WithJsonSchema

from rotator.access import dotenv
from rotator.access.folder import Folder, Seen
from rotator.domain.errors import AccessDenied, Conflict, Refused, RotatorError, Unavailable
from rotator.domain.model import WHOLE_BODY
from rotator.domain.secret import Secret
from rotator.ports.destination import Capabilities, Held, Reading, shadow_path
from rotator.settings import FilePath, Settings

_ABSENT = "absent"
_MOUNTS = Path("/proc/self/mountinfo")


def _mode(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value) or int(value, 8) & 0o007:
        message = 'write the mode in quotes, without anything for others: "0640"'
        raise ValueError(message)
    return int(value, 8)


class EnvFileSettings(Settings):
    """One file, or a name for the files of this machine."""

    path: FilePath | None = None
    mode: Annotated[
        int | None, BeforeValidator(_mode), WithJsonSchema({"type": "string", "pattern": "^0?[0-7]{2}0$"})
    ] = None
    """None: as the file has it, 0600 for a new one."""
    host: str | None = None
    """Stands for this machine in the identity; needed where its host name changes, as in containers."""
    allowed_roots: list[FilePath] | None = None
    """Folders, links resolved: files are written below one of them or not at all. None: anywhere."""
    allow_tracked: bool = False
    allow_public_names: bool = False


class EnvFile:
    """Files of this machine."""

    Settings: ClassVar[type[EnvFileSettings]] = EnvFileSettings

    def __init__(self, name: str, settings: EnvFileSettings, timeout: timedelta) -> None:
        self.name = name
        self.settings = settings
        self.timeout = timeout.total_seconds()

    def parse(self, short: str) -> str:
        """Return the path in the short form, which is all of it. Raises ValueError with the reason."""
        if not short:
            message = "a path is needed, such as env-file:/srv/web/.env"
            raise ValueError(message)
        return short

    def at(self, path: str | None) -> FilePlace:
        """The file at this absolute path, or at the one of the settings."""
        if path is None and self.settings.path is not None:
            path = str(self.settings.path.absolute())
        if path is None or not path.isprintable() or not path.startswith("/") or Path(path).name in ("", ".."):
            message = f"{path!r} is not the absolute path of a file"
            raise ValueError(message)
        place = FilePlace(self, path)
        if not place.allowed:
            message = f"{path} is below none of `allowed_roots`"
            raise ValueError(message)
        return place

    def survey(self, paths: Collection[str | None]) -> Iterator[Held | RotatorError]:
        """Every env file below `allowed_roots`, and those that lie beside the files of the configuration.

        Links are not followed, and what a crashed write left is kept: nothing is changed.
        """
        named = [self.at(path).target for path in paths]
        roots = [Path(os.path.realpath(root)) for root in self.settings.allowed_roots or ()]
        beside = [file.parent for file in named if not any(file.is_relative_to(root) for root in roots)]
        found = {file for root in roots for file in _env_files(root)} | set(named)
        found |= {file for folder in beside for file in _env_files(folder, deep=False)}
        for file in sorted(found):
            held = self.at(str(file)).held()
            if held is not None:
                yield held

    def close(self) -> None:
        """There is no connection."""


@dataclass(frozen=True)
class FilePlace:
    """One file. A link is followed, and the file that it names is the place."""

    server: EnvFile
    path: str

    @property
    def capabilities(self) -> Capabilities:
        """Compare-and-set among those who take the lock, and seen at once."""
        return Capabilities(conditional=True, readable=True, propagation=timedelta(0), whole_body=True)

    @property
    def identity(self) -> str:
        """Machine and path, links resolved."""
        return f"env-file:{self.server.settings.host or socket.gethostname()}:{self.target}"

    @property
    def address(self) -> str:
        """The path as it was written."""
        return f"env-file:{self.path}"

    @property
    def allowed(self) -> bool:
        """Whether the file that is meant now, links resolved, is below one of the roots."""
        roots = self.server.settings.allowed_roots
        return roots is None or any(self.target.parent.is_relative_to(os.path.realpath(root)) for root in roots)

    def read(self) -> Reading:
        """All fields, and the whole body; what is no assignment is passed over."""
        with self._telling("read"), self._folder() as folder:
            folder.tidy()
            seen = folder.look()
        if seen is None or not seen.content:
            return Reading(fields={}, revision=seen.revision if seen else _ABSENT)
        text = seen.content.decode(errors="surrogateescape")
        fields = {**dotenv.read(text), WHOLE_BODY: text}
        return Reading(fields={name: _secret(value) for name, value in fields.items()}, revision=seen.revision)

    def held(self) -> Held | RotatorError | None:
        """The whole file, if there is one; an error where it cannot be read, or is too large to be an env file."""
        try:
            with self._telling("read"), self._folder() as folder:
                seen = folder.look()
        except RotatorError as problem:
            return problem
        if seen is None:
            return None
        text = seen.content.decode(errors="replace")
        return Held(identity=self.identity, address=self.address, field=None, text=Secret(text))

    def written_by_hand(self, fields: Mapping[str, str]) -> Sequence[str]:
        """A whole file beside it that takes its place, with the same owner and mode."""
        file, new = shlex.quote(self.path), shlex.quote(f"{self.path}.new")
        begun = [f"umask 077; [ -e {file} ] || : > {file}"]
        end = [f"chmod --reference={file} {new} && chown --reference={file} {new} && mv {new} {file}"]
        if WHOLE_BODY in fields:
            return [*begun, f'printf %s "{fields[WHOLE_BODY]}" > {new}', *end]
        kept = " ".join(f"-e '/^{name}=/d'" for name in fields)
        lines = [f"printf '%s=%s\\n' {name} \"{value}\" >> {new}" for name, value in fields.items()]
        return [*begun, f"sed {kept} {file} > {new}", *lines, *end]

    def preflight(self, fields: Mapping[str, object]) -> None:
        """Look for all that would stop a write, and whether git or a bundler would publish the secret."""
        self._refuse_names(fields)
        target = self.target
        with self._telling("write"), self._folder() as folder:
            seen = folder.look()
            folder.refuse_unsafe(seen)
            if not folder.writable():
                raise _problem(errno.EACCES, "write", self.address)
            if _is_mount_point(target):
                raise _problem(errno.EBUSY, "write", self.address)
            self._changed(seen, {name: Secret("x") for name in fields})
        if not self.server.settings.allow_tracked and _is_tracked(target, self.server.timeout):
            message = f"{self.path} is tracked by git, which would keep the secret for ever"
            remedy = "git rm --cached it and add it to .gitignore, or set allow_tracked: true"
            raise Refused(message, reason="tracked_by_git", remedy=remedy)

    def write(self, fields: Mapping[str, Secret], expected: str, token: str) -> str:
        """Replace the file, on condition that it is still at `expected`; it keeps owner, mode and attributes."""
        self._refuse_names(fields)
        with self._telling("write"), self._folder() as folder, folder.locked(self.server.timeout):
            folder.sweep()
            seen = folder.look()
            if (seen.revision if seen else _ABSENT) != expected:
                message = f"{self.address} was changed since we looked"
                raise Conflict(message)
            folder.refuse_unsafe(seen)
            return folder.replace(seen, self._changed(seen, fields), token, self.server.settings.mode)

    def shadow(self, token: str) -> FileShadow:
        """A file of its own in the same folder."""
        return FileShadow(self.server, shadow_path(str(self.target), token))

    @contextmanager
    def _folder(self) -> Iterator[Folder]:
        """The open folder. Raises Refused where it is below none of the roots, also if it was moved there just now."""
        with Folder.of(self.target) as folder:
            if not folder.is_below(self.server.settings.allowed_roots):
                message = f"{self.address} leads to a place below none of `allowed_roots`"
                remedy = "correct the link or the path, or add its folder to allowed_roots"
                raise Refused(message, reason="outside_roots", remedy=remedy)
            yield folder

    @property
    def target(self) -> Path:
        """The file that is meant now, links resolved."""
        return Path(os.path.realpath(self.path))

    def _refuse_names(self, fields: Mapping[str, object]) -> None:
        if WHOLE_BODY in fields and len(fields) > 1:
            message = f"{self.address} cannot hold one value and named fields at once"
            raise Refused(message, reason="mixed_fields", remedy="write either value or fields")
        public = [name for name in fields if name.startswith(dotenv.PUBLISHED)]
        if public and not self.server.settings.allow_public_names:
            message = f"bundlers publish what is called {public[0]}: every visitor could read it"
            remedy = "choose another name and call the API from the server, or set allow_public_names: true"
            raise Refused(message, reason="public_name", remedy=remedy)

    def _changed(self, seen: Seen | None, fields: Mapping[str, Secret]) -> bytes:
        values = {name: secret.reveal() for name, secret in fields.items()}
        try:
            if WHOLE_BODY in values:
                return values[WHOLE_BODY].encode()
        except UnicodeEncodeError:
            message = f"the value for {self.address} is not Unicode text"
            raise Refused(message, reason="unquotable", remedy="rotate again, to another value") from None
        text = seen.content.decode(errors="surrogateescape") if seen else ""
        return dotenv.change(text, values).encode(errors="surrogateescape")

    @contextmanager
    def _telling(self, doing: str) -> Iterator[None]:
        """Turn errors of the file system into ours."""
        try:
            yield
        except OSError as failed:
            raise _problem(failed.errno, doing, self.address) from None


@dataclass(frozen=True)
class FileShadow(FilePlace):
    """A file that a rehearsal makes and takes away."""

    def remove(self) -> None:
        """Unlink the file and what a crashed write left beside it, for good."""
        with self._telling("write"), self._folder() as folder, folder.locked(self.server.timeout):
            folder.sweep()
            folder.unlink()

    @property
    def target(self) -> Path:
        """Never what a link of this name leads to: that would be somebody else's file."""
        folder, name = os.path.split(self.path)
        return Path(os.path.realpath(folder)) / name


def _env_files(top: Path, *, deep: bool = True) -> Iterator[Path]:
    """What is called as env files are: `.env`, `.env.local`, `app.env`."""
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if deep and name != ".git"]
        for name in names:
            file = Path(folder, name)
            if (name.endswith(".env") or name.startswith(".env.")) and file.is_file() and not file.is_symlink():
                yield file


def _secret(value: str) -> Secret:
    """What is no UTF-8 text cannot be ours, so it need not survive."""
    return Secret(value.encode(errors="surrogateescape").decode(errors="replace"))


def _is_mount_point(target: Path) -> bool:
    """Whether the file itself is mounted, as containers do it: such a file cannot be replaced."""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False  # not Linux: the write will tell
    points = (re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), line.split(" ")[4]) for line in mounts)
    return str(target) in points


def _is_tracked(target: Path, timeout: float) -> bool:
    """Whether git has this file in its index. Without git, or in a repository that git distrusts, nobody knows."""
    git = shutil.which("git")
    if git is None or not any((folder / ".git").exists() for folder in target.parents):
        return False
    command = [git, "-c", "core.fsmonitor=false", "ls-files", "--error-unmatch", "--", target.name]
    ours = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}  # our secrets are not for it
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, cwd=target.parent, env=ours, capture_output=True, timeout=timeout, check=False)
        return done.returncode == 0
    return False


def _problem(number: int | None, doing: str, address: str) -> RotatorError:
    """What an error of the file system means for this place."""
    name = errno.errorcode.get(number or 0, "an error")
    message = f"cannot {doing} {address}: {name}"
    match number:
        case errno.ENOENT | errno.ENOTDIR:
            return Refused(
                f"the folder of {address} is not there", reason="no_such_folder", remedy="make it, or mount it"
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            remedy = "let the user of this service read and write the folder and the file"
            reason = "read_only" if doing == "write" else "missing_permission"
            return AccessDenied(message, reason=reason, remedy=remedy)
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return Unavailable(message, reason="disk_full", remedy="make room; the old file stands as it was")
        case errno.EBUSY:
            message = f"{address} is a mount of a single file, which cannot be replaced"
            return Refused(message, reason="bind_mount", remedy="mount its folder instead")
        case errno.ELOOP | errno.EISDIR | errno.ENAMETOOLONG:
            return Refused(message, reason="not_a_file", remedy="name a file")
        case _:
            return Unavailable(message)
