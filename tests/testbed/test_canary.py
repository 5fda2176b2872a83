"""The watch over leaked secrets finds them, in every spelling and in what a test prints."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import Canaries

ODD = 'pass/"word+é= &'


@pytest.mark.parametrize("before", ["", "a", "ab", "user:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_is_found_wherever_the_secret_begins(before: str, encode: object) -> None:
    canaries = Canaries()
    secret = canaries()
    assert callable(encode)
    text = encode(f"{before}{secret}@host".encode()).decode()
    assert canaries.found_in(text) == ["base64"]


@pytest.mark.parametrize(
    "spelling", [ODD, json.dumps(ODD), quote(ODD, safe=""), ODD.encode().hex(), ODD.encode().hex().upper()]
)
def test_every_spelling_is_found(spelling: str) -> None:
    canaries = Canaries()
    canaries.watch(ODD)
    assert canaries.found_in(f"before {spelling} after")
    assert canaries.found_in(f"before {spelling} after".encode())


def test_other_text_is_not_taken_for_a_secret() -> None:
    canaries = Canaries()
    canaries()
    assert canaries.found_in("CANARY") == []


def test_a_test_that_prints_or_logs_a_secret_fails(tmp_path: Path) -> None:
    conftest = Path(__file__).parents[1] / "conftest.py"
    (tmp_path / "conftest.py").write_text(conftest.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "test_them.py").write_text(
        "import logging\n"
        "def test_clean(canary): canary(); print('nothing')\n"
        "def test_printed(canary): print(canary().encode().hex())\n"
        "def test_logged(canary): logging.getLogger('rotator.x').debug('%s', canary())\n"
        "def test_unregistered(): print('CANARY-0')\n",
        encoding="utf-8",
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    assert "4 passed, 3 errors" in done.stdout
