"""A pytest plugin: takes the guard out that the environment names, and writes down what each test came to."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.mutants.killers import MUTANT, REPORT
from tests.mutants.table import MUTANTS

_PATCH = pytest.MonkeyPatch()
_TOLD: dict[str, dict[str, str]] = {}


def pytest_collection_finish() -> None:
    """All modules are imported: what they took by name is what they will use, as in production."""
    if name := os.environ[MUTANT]:
        MUTANTS[name].take_out(_PATCH)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the first failure of each test, or that it passed."""
    report = yield
    if _TOLD.get(item.nodeid, {}).get("outcome") != "failed":
        problem = call.excinfo
        _TOLD[item.nodeid] = {
            "outcome": report.outcome,
            "when": report.when,
            "kind": problem.type.__name__ if problem else "",
            "text": report.longreprtext,
        }
    return report


def pytest_sessionfinish() -> None:
    """Hand over what was told."""
    _PATCH.undo()
    Path(os.environ[REPORT]).write_text(json.dumps(_TOLD))
