"""What is shipped is what was looked at: pins, hashes and the bill of materials say the same."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")
_PIN = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[^\s;]+)(?: ; (?P<marker>.+?))? \\")


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def _constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {_name(name): version for name, version in pairs}


def _locked(lock: str) -> dict[str, tuple[str, str]]:
    """Package → version and marker."""
    found = (_PIN.fullmatch(line) for line in (ROOT / lock).read_text().splitlines())
    return {_name(m["name"]): (m["version"], m["marker"] or "") for m in found if m is not None}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_the_versions_of_the_constraints(lock: str) -> None:
    constraints, elsewhere = _constraints(), re.compile(r"sys_platform == '(win32|emscripten)'")
    for name, (version, marker) in _locked(lock).items():
        if name not in constraints:
            assert elsewhere.search(marker), f"{name} of {lock} is not pinned by constraints.txt: `make hashes`"
        else:
            assert version == constraints[name], f"{lock} is older than constraints.txt: `make hashes`"


def test_every_constraint_is_locked() -> None:
    assert _constraints().keys() <= _locked("requirements-dev.lock").keys()


def test_what_is_shipped_is_all_that_the_package_needs() -> None:
    needed = re.findall(
        r'^  "([\w-]+)',
        (ROOT / "pyproject.toml").read_text().split("dependencies = [")[1].split("]\n")[0],
        re.MULTILINE,
    )
    assert {_name(name) for name in needed} <= _locked("requirements.lock").keys()
    assert _locked("requirements.lock").items() <= _locked("requirements-dev.lock").items()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    blocks = [block for block in re.split(r"\n(?=\S)", text) if "==" in block]
    assert len(blocks) == len(_locked(lock))
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block
    assert "://" not in text


def test_the_bill_of_materials_names_what_is_shipped_with_its_hashes(tmp_path: Path) -> None:
    for name in ("requirements.lock", "pyproject.toml", "Makefile"):
        shutil.copy(ROOT / name, tmp_path)
    made = subprocess.run(
        ["make", "sbom", f"VENV={tmp_path}/venv", f"BIN={Path(sys.executable).parent}", "-o", f"{tmp_path}/venv/.dev"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    told = json.loads((tmp_path / "dist" / "keyturn.cdx.json").read_text())
    assert told["bomFormat"] == "CycloneDX"
    assert told["metadata"]["component"]["name"] == "keyturn"
    listed = {part["name"]: part for part in told["components"]}
    locked = _locked("requirements.lock")
    assert {_name(name): part["version"] for name, part in listed.items()} == {n: v for n, (v, _) in locked.items()}
    assert {part["purl"].partition("/")[0] for part in listed.values()} == {"pkg:pypi"}
    assert all(reference["hashes"] for part in listed.values() for reference in part["externalReferences"])
