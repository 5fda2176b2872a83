"""A short run of `make chaos`, so that it is known to work."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.chaos import run


def test_a_short_run_of_chaos_hurts_nobody(tmp_path: Path) -> None:
    figures = run(tmp_path, seed=1, seconds=6, daemons=2)
    assert figures.violations == []
    assert figures.dead == 0
    assert figures.looks > 0
    assert figures.rotations > 0
    assert figures.faults.total() > 0
