"""Files that are written for people: whole or not at all, and for their owner alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from rotator.domain.errors import SetupError


def replace(path: Path, parts: Iterable[str]) -> None:
    """Replace the file by a whole one, readable by its owner alone, so that nobody ever reads half of it.

    Raises SetupError.
    """
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            half.replace(path)
        except BaseException:
            with suppress(OSError):
                half.unlink()
            raise
    except OSError as problem:
        message = f"cannot write {path}: {problem.strerror}"
        raise SetupError(message, remedy="choose another file") from None
