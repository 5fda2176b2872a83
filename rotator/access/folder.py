"""One file in its folder, looked at and replaced safely: whole or not at all, under a lock, all but the content kept.

All is done by the folder's descriptor, so that nobody can put another folder in its place between two steps. Errors
are OSErrors and ours.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rotator.domain.errors import Conflict, LostAnswer, Refused, Unavailable

_LARGEST = 1024 * 1024  # bytes; nobody's env file, but somebody's log
_LOCK_POLL = 0.01  # seconds
_LOOKS = 5  # at a file that somebody is writing in place
_log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class Seen:
    """A file as it was at one moment."""

    content: bytes
    status: os.stat_result
    attributes: Mapping[str, bytes]  # extended ones: access lists are among them

    @property
    def revision(self) -> str:
        """Inode, size and times: no hash of the content, since revisions are stored and the content is secret."""
        return _revision(self.status)


def _revision(status: os.stat_result) -> str:
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


@dataclass(frozen=True)
class Folder:
    """The open folder of one file."""

    descriptor: int
    name: str

    @classmethod
    @contextmanager
    def of(cls, target: Path) -> Iterator[Self]:
        """Open the folder of this file, whose links are resolved."""
        try:
            descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            message = f"there is no folder {target.parent}"
            raise Refused(message, reason="no_such_folder", remedy="make it, or mount it") from None
        try:
            yield cls(descriptor, target.name)
        finally:
            os.close(descriptor)

    def is_below(self, roots: Sequence[Path] | None) -> bool:
        """Whether this very folder, however it was reached, is one of these or in one; None: any is."""
        if roots is None:
            return True
        where = Path(f"/proc/self/fd/{self.descriptor}").readlink()  # of the open folder, not of a name
        return any(where.is_relative_to(os.path.realpath(root)) for root in roots)

    @contextmanager
    def locked(self, timeout: float) -> Iterator[None]:
        """Hold the lock on the folder. Raises Unavailable (locked) if others hold it for so many seconds."""
        until = time.monotonic() + timeout
        while not self._lock():
            if time.monotonic() >= until:
                message = f"somebody has held the lock on the folder of {self.name} for {timeout:g} s"
                raise Unavailable(message, reason="locked", remedy="find the process: lsof on the folder")
            time.sleep(_LOCK_POLL)
        try:
            yield
        finally:
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def _lock(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def tidy(self) -> None:
        """Sweep, unless a write is going on. A failure is logged only: readers go on reading."""
        if not self._leftovers():
            return
        try:
            with self.locked(0):
                self.sweep()
        except Unavailable:
            pass  # the writer has swept
        except OSError as failed:
            _log.warning("cannot remove what a crashed write left beside %s: %s", self.name, failed.strerror)

    def sweep(self) -> None:
        """Remove what a crashed write left. Only under the lock."""
        for leftover in self._leftovers():
            os.unlink(leftover, dir_fd=self.descriptor)

    @property
    def _prefix(self) -> str:
        """How our temporary files begin."""
        return f".{self.name}.rotator-"

    def _leftovers(self) -> list[str]:
        found = []
        with os.scandir(self.descriptor) as entries:
            for entry in entries:
                # Where anybody may write, what others put there under such a name is none of our business.
                with suppress(FileNotFoundError):
                    if (
                        entry.name.startswith(self._prefix)
                        and entry.is_file(follow_symlinks=False)
                        and os.geteuid() in (0, entry.stat(follow_symlinks=False).st_uid)
                    ):
                        found.append(entry.name)
        return found

    def look(self) -> Seen | None:
        """Read the file, whole: never what somebody is just writing in place. None: there is none."""
        try:
            # Non-blocking, since a named pipe would keep us waiting for its writer.
            file = os.open(self.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.descriptor)
        except FileNotFoundError:
            return None
        try:
            for _ in range(_LOOKS):
                before = os.fstat(file)
                self._refuse_other_than_file(before)
                content = os.pread(file, _LARGEST, 0)
                after = os.fstat(file)
                if _revision(before) == _revision(after) and len(content) == after.st_size:
                    return Seen(content, after, _attributes(file))
        finally:
            os.close(file)
        message = f"{self.name} is being written by somebody else"
        raise Unavailable(message, reason="changing")

    def _refuse_other_than_file(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            message = f"{self.name} is no file, but a folder, pipe or device"
            raise Refused(message, reason="not_a_file", remedy="name a file")
        if status.st_size > _LARGEST:
            message = f"{self.name} is larger than a megabyte"
            raise Refused(message, reason="too_large", remedy="name another file")

    def writable(self) -> bool:
        """Whether we may make and rename files here."""
        return os.access(".", os.W_OK | os.X_OK, dir_fd=self.descriptor, effective_ids=True)

    def refuse_unsafe(self, seen: Seen | None) -> None:
        """Refuse to replace what others could tamper with, or what we could not make again as it was."""
        mode = os.fstat(self.descriptor).st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            message = f"anybody may write to the folder of {self.name}"
            raise Refused(message, reason="unsafe_folder", remedy="chmod o-w the folder")
        if seen is None:
            return
        if seen.status.st_nlink > 1:
            message = f"{self.name} has other names (hard links), which would keep the old content"
            raise Refused(message, reason="hard_link", remedy="take the other names away, or make them symbolic links")
        if os.geteuid() not in (0, seen.status.st_uid):
            raise self._foreign_owner()

    def _foreign_owner(self) -> Refused:
        message = f"{self.name} belongs to a user or group that we cannot give a new file to"
        remedy = "chown it to the user of this service, or run this service as its owner"
        return Refused(message, reason="foreign_owner", remedy=remedy)

    def replace(self, seen: Seen | None, content: bytes, token: str, mode: int | None) -> str:
        """Put a new file in the place of the one that was seen; return its revision. Only under the lock.

        Owner and extended attributes are kept, and the mode where None is given; a new file gets 0600. Raises
        Conflict where another file stands there by now. In all failures but LostAnswer the old file is untouched.
        """
        temporary = f"{self._prefix}{token}"
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=self.descriptor)
        try:
            _write_all(file, content)
            self._dress(file, seen, mode)
            os.fsync(file)
            self._refuse_changed(seen)
            os.replace(temporary, self.name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
            return self._settled(file)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=self.descriptor)
            raise
        finally:
            os.close(file)

    def unlink(self) -> None:
        """Take the file away for good; none is success. Only under the lock."""
        with suppress(FileNotFoundError):
            os.unlink(self.name, dir_fd=self.descriptor)
        os.fsync(self.descriptor)

    def _dress(self, file: int, seen: Seen | None, mode: int | None) -> None:
        """Give the new file owner, attributes and mode of the old one."""
        kept = 0o600
        if seen is not None:
            kept = stat.S_IMODE(seen.status.st_mode) & 0o777
            self._give_away(file, seen.status)
            for name, value in seen.attributes.items():
                os.setxattr(file, name, value)
        os.fchmod(file, kept if mode is None else mode)
        # Once the old file is gone its inode may be given to a third one: then only the time tells them apart.
        while seen is not None and os.fstat(file).st_ctime_ns == seen.status.st_ctime_ns:
            time.sleep(0.001)
            os.utime(file)

    def _give_away(self, file: int, like: os.stat_result) -> None:
        new = os.fstat(file)
        if (new.st_uid, new.st_gid) == (like.st_uid, like.st_gid):
            return
        try:
            os.fchown(file, like.st_uid, like.st_gid)
        except PermissionError:
            raise self._foreign_owner() from None

    def _refuse_changed(self, seen: Seen | None) -> None:
        try:
            stands = _revision(os.stat(self.name, dir_fd=self.descriptor, follow_symlinks=False))
        except FileNotFoundError:
            stands = None
        if stands != (seen.revision if seen else None):
            message = f"{self.name} was changed while we wrote"
            raise Conflict(message)

    def _settled(self, file: int) -> str:
        """Make the rename durable. It was made already, so a failure leaves us not knowing."""
        try:
            os.fsync(self.descriptor)
            return _revision(os.fstat(file))
        except OSError:
            message = f"{self.name} was replaced, and the disk does not say whether for good"
            raise LostAnswer(message) from None


def _write_all(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def _attributes(file: int) -> Mapping[str, bytes]:
    """The extended attributes that somebody set. Those of the system's own security come with the folder."""
    if sys.platform != "linux":
        return {}
    try:
        names = os.listxattr(file)
    except OSError:  # the file system has none
        return {}
    return {name: os.getxattr(file, name) for name in names if name.startswith(("user.", "system.posix_acl"))}
