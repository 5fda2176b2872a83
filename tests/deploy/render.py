"""What kustomize and helm make of deploy/, recorded, so that a run of the tests needs neither.

`make rendered KUBECTL=… HELM=…` writes it anew with the real programs. The first line of each file is the hash of what
it was made from, and a test fails where that has changed since.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
KUBERNETES, CHART = ROOT / "deploy" / "kubernetes", ROOT / "deploy" / "helm" / "keyturn"
FOLDER = Path(__file__).parent / "rendered"

EXAMPLE = FOLDER / "example"
"""An overlay as a user would write it: the CronJob with both components."""

_CHART = ["template", "keyturn", str(CHART), "--namespace", "keyturn"]
RENDERED: Mapping[str, tuple[Path, Sequence[str]]] = {
    "kustomize-cronjob": (KUBERNETES, ["kustomize", str(KUBERNETES / "overlays" / "cronjob")]),
    "kustomize-daemon": (KUBERNETES, ["kustomize", str(KUBERNETES / "overlays" / "daemon")]),
    "kustomize-example": (KUBERNETES, ["kustomize", str(EXAMPLE)]),
    "helm-cronjob": (CHART, [*_CHART, "--set", "mode=cronjob"]),
    "helm-daemon": (CHART, [*_CHART, "--set", "mode=daemon"]),
    "helm-sqlite": (CHART, [*_CHART, "--set", "mode=cronjob,persistence.enabled=true"]),
}
"""Name → what it is made from, and the arguments of kubectl or helm."""


def made_from(folder: Path) -> str:
    """The hash of every file in a folder, by name."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return whole.hexdigest()


def main(kubectl: str, helm: str) -> None:
    """Write all of them anew."""
    for name, (folder, arguments) in RENDERED.items():
        program = helm if name.startswith("helm") else kubectl
        made = subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout
        (FOLDER / f"{name}.yaml").write_text(f"# {made_from(folder)}\n{made}", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
