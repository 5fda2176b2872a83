"""A folder where consumers leave word: one file for each, `CREDENTIAL/CONSUMER`, that holds a fingerprint."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rotator.domain.errors import Unavailable
from rotator.ports.consumer import Word, Words

_FINGERPRINT = re.compile(r"[0-9a-f]{32}")
_LARGEST = 256  # bytes
_MOST = 1000  # files
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class FileDrop:
    """The folder of one credential. When a file was written is when its consumer said so.

    Others write there, so nothing is followed out of it, and nothing in it can keep us waiting or fill our memory.
    Files whose name begins with a dot, and empty ones, are on their way.
    """

    folder: Path

    def read(self) -> Words:
        """All files. Unavailable where the folder is there and cannot be read."""
        words: list[Word] = []
        problems: list[str] = []
        try:
            with _opened(self.folder, _FOLDER) as folder:
                entries = os.listdir(folder)  # noqa: PTH208 - by its descriptor, so that it stays this folder
                names = sorted(name for name in entries if not name.startswith("."))
                for name in names[:_MOST]:
                    try:
                        words += _word(folder, name)
                    except (_Unfit, OSError) as problem:
                        why = problem.strerror if isinstance(problem, OSError) else str(problem)
                        problems.append(f"{_shown(name)}: {why}")
        except FileNotFoundError:
            return Words()
        except OSError as problem:
            message = f"cannot read the drop {self.folder}: {problem.strerror}"
            raise Unavailable(message) from None
        if len(names) > _MOST:
            problems.append(f"there are more than {_MOST} files")
        return Words(words=words, problems=problems)


class _Unfit(Exception):
    """A file that is no word of a consumer."""


def _word(folder: int, name: str) -> Iterator[Word]:
    with _opened(name, _FILE, folder) as file:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            message = "is no regular file"
            raise _Unfit(message)
        content = os.read(file, _LARGEST + 1).strip()
    if not content:
        return
    text = content.decode("ascii", errors="replace")
    if not _FINGERPRINT.fullmatch(text):
        message = "holds no fingerprint"
        raise _Unfit(message)
    yield Word(consumer=name, fingerprint=text, at=datetime.fromtimestamp(status.st_mtime, UTC))


@contextmanager
def _opened(path: Path | str, flags: int, folder: int | None = None) -> Iterator[int]:
    number = os.open(path, flags, dir_fd=folder)
    try:
        yield number
    finally:
        os.close(number)


def _shown(name: str) -> str:
    return name if name.isprintable() and len(name) < _LARGEST else repr(name)[:_LARGEST]
