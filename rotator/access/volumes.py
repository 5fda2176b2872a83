"""Which files of this machine outlive its container, by /proc/self/mountinfo (proc_pid_mountinfo(5))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rotator.domain.errors import PermanentError

MOUNTS = Path("/proc/self/mountinfo")

_IN_MEMORY = {"tmpfs", "ramfs"}
_EMPTY_DIR = "/volumes/kubernetes.io~empty-dir/"  # where the kubelet keeps an emptyDir, which is gone with its pod
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class _Mount:
    point: Path
    source: str  # the folder of the file system that is seen there
    kind: str


class Volumes:
    """The file systems as this process sees them. Raises PermanentError where the system does not tell."""

    def __init__(self, mountinfo: Path = MOUNTS) -> None:
        try:
            lines = mountinfo.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except OSError as problem:
            message = f"this system does not tell what it has mounted: {mountinfo}: {problem.strerror}"
            raise PermanentError(message, reason="no_volume", remedy="run it in the pod itself") from None
        self._mounts = [_parsed(line) for line in lines]

    def why_lost(self, path: Path) -> str | None:
        """Why a file there would be gone with the container; None where it stands on a volume of its own."""
        path = path.resolve()
        # The last one of those that are mounted over each other is the one that is seen.
        under = [mount for mount in self._mounts if path.is_relative_to(mount.point)]
        mount = max(reversed(under), key=lambda each: len(each.point.parts), default=None)
        if mount is None or mount.point == Path("/") or mount.kind == "overlay":
            return "is in the container's own file system"
        if mount.kind in _IN_MEMORY:
            return f"is in memory ({mount.kind} at {mount.point})"
        return f"is in an emptyDir ({mount.point})" if _EMPTY_DIR in mount.source + "/" else None


def _parsed(line: str) -> _Mount:
    fields, _, after = line.partition(" - ")
    _, _, _, source, point, *_ = fields.split(" ")
    return _Mount(Path(_plain(point)), _plain(source), after.split(" ")[0])


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)
