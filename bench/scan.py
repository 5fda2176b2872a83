"""Looking for leaked keys: `rotator scan` against `detect-secrets scan`, over the same tree of real source code.

Ours looks for the keys of one installation, whatever they look like, plain and encoded; the other one for what looks
like a secret. So time is compared; what is found is counted for ours alone, which must miss none and print none.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import sqlalchemy
import yaml

from bench.measure import Goal, Goals, Results, parser

TIME, FOUND, PRINTED = "time of a scan", "planted keys that are found", "planted keys that are printed"
GOALS: Goals = {TIME: Goal(at_most=1), FOUND: Goal(at_least=1), PRINTED: Goal(at_most=0)}
TINY = ("--credentials", "3", "--rounds", "1", "--files", "20")

ROTATOR = [sys.executable, "-m", "rotator"]
OTHER = [sys.executable, "-m", "detect_secrets", "scan", "--all-files"]


def installation(folder: Path, credentials: int) -> list[str]:
    """One with generated keys; gives them."""
    names = [f"key-{number}" for number in range(credentials)]
    entries = {
        name: {"provider": "local", "destinations": [{"to": "app", "fields": {f"KEY_{number}": "{secret}"}}]}
        for number, name in enumerate(names)
    }
    content = {
        "environment": "bench",
        "providers": {
            "local": {"type": "generated", "alphabet": "abcdefghijkmnopqrstuvwxyz0123456789+/=&%", "length": 40}
        },
        "destinations": {"app": {"type": "env-file", "path": "app.env"}},
        "credentials": entries,
    }
    (folder / "rotator.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    for command in (["init"], ["rotate"]):
        run([*ROTATOR, *command], folder)
    lines = (folder / "app.env").read_text(encoding="utf-8").splitlines()
    return [line.partition("=")[2].strip("'\"") for line in lines if line.startswith("KEY_")]


def run(command: Sequence[str], folder: Path) -> str:
    """Its output. Exit statuses 0 and 1 are results."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    return done.stdout + done.stderr


def planted(tree: Path, keys: Sequence[str]) -> int:
    """Every key in plain, base64, URL- and JSON-escaped, each in a file of its own; says how many that are."""
    for number, key in enumerate(keys):
        forms = {
            "plain.env": f"KEY={key}\n",
            "base64.yaml": f"data:\n  key: {base64.b64encode(key.encode()).decode()}\n",
            "url.txt": f"https://app:{quote(key, safe='')}@db/x\n",
            "json.json": json.dumps({"a": {"key": key}}),
        }
        for name, text in forms.items():
            (tree / f"{number}-{name}").write_text(text, encoding="utf-8")
    return 4 * len(keys)


def source_code(tree: Path, files: int) -> float:
    """Copy this many files of a large library; says how many MB they are."""
    found = sorted(Path(sqlalchemy.__file__).parent.rglob("*.py"))
    size = 0
    for number in range(files):
        source = found[number % len(found)]
        shutil.copy(source, tree / f"{number}-{source.name}")
        size += source.stat().st_size
    return size / 1e6


def seconds(command: Sequence[str], folder: Path) -> float:
    """How long it takes as a process."""
    began = time.perf_counter()
    run(command, folder)
    return time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if a goal is missed."""
    options = parser(__doc__)
    options.add_argument("--credentials", type=int, default=50)
    options.add_argument("--files", type=int, default=1000)
    options.add_argument("--rounds", type=int, default=3)
    asked = options.parse_args(arguments)
    results = Results("scan", GOALS, asked.results)
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        tree = folder / "tree"
        tree.mkdir()
        keys = installation(folder, asked.credentials)
        count, size = planted(tree, keys), source_code(tree, asked.files)
        ours, other = [*ROTATOR, "scan", "--json", "tree"], [*OTHER, "tree"]
        said = run(ours, folder)
        rows = json.loads(said[: said.rindex("}") + 1])["findings"]
        found = {row["file"] for row in rows if row["rule"] == "managed-key"}
        rounds = [(seconds(other, folder), seconds(ours, folder)) for _ in range(asked.rounds)]
    case = f"{asked.files:,} files, {size:.0f} MB, {asked.credentials} keys"
    theirs, own = (min(column) for column in zip(*rounds, strict=True))
    detail = f"{own:.1f} s against {theirs:.1f} s; {size / own:.1f} MB/s"
    results.add(TIME, case, "detect-secrets 1.5", [one / other for other, one in rounds], detail)
    results.add(FOUND, case, "all that were planted", [len(found) / count], f"{len(found)} of {count}, in four forms")
    printed = sum(key in said for key in keys)
    results.add(PRINTED, case, "all keys", [printed / len(keys)], f"{printed} of {len(keys)}")
    return results.end()


if __name__ == "__main__":
    sys.exit(main())
