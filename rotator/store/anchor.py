"""The anchor: a small file outside the database that remembers how far the trail had come."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from rotator.domain.errors import SetupError
from rotator.ports.store import Mark


class FileAnchor:
    """A JSON file, replaced as a whole. Holds no secret."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Mark | None:
        """The mark; None where there is no file. Raises SetupError where it cannot be read."""
        try:
            found = json.loads(self._path.read_text(encoding="ascii"))
            return Mark(install=str(found["install"]), seq=int(found["seq"]), hash=str(found["hash"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as problem:
            message = f"the anchor {self._path} cannot be read: {type(problem).__name__}"
            remedy = "put the right file back; or move it away, and `rotator reconcile`"
            raise SetupError(message, reason="bad_anchor", remedy=remedy) from None

    def write(self, mark: Mark) -> None:
        """Replace the file. Raises SetupError where that cannot be."""
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}.new")
        try:
            with new.open("w", encoding="ascii") as file:
                json.dump(asdict(mark), file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError as problem:
            message = f"the anchor {self._path} cannot be written: {problem.strerror}"
            raise SetupError(message, reason="bad_anchor", remedy="let the service's user write there") from None
