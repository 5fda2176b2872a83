"""What must notice: the simulator, or one test. Each must also be content when the guard is back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import pytest

from tests.mutants.patches import TakeOut
from tests.simulation.faults import Profile
from tests.simulation.oracle import ViolationError
from tests.simulation.simulate import PLAY, FoundError, simulate

ROOT = Path(__file__).parents[2]
MUTANT, REPORT = "KEYTURN_MUTANT", "KEYTURN_MUTANT_REPORT"
"""Variables that name the mutant to apply, and the file that takes what the tests said."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a mutant. `problem`: why that is no proper death; None where it is one."""

    by: str
    after: str = "-"
    seconds: float = 0.0
    problem: str | None = None


class Killer(Protocol):
    """Runs something with the guard taken out, and without."""

    def kill(self, name: str, take_out: TakeOut, *, in_suite: bool = False) -> Verdict:
        """Never raises for what the mutant does. `in_suite`: the same run has the test with the guard as well."""
        ...


@dataclass(frozen=True, kw_only=True)
class BySimulation:
    """The oracle of the simulation names one of these invariants, within so many rotations."""

    invariants: frozenset[str]
    profile: str | Profile = "everything"
    store: str = "memory"
    rotations: int = 4000
    play_length: int = PLAY
    seed: int = 1

    def kill(self, name: str, take_out: TakeOut, *, in_suite: bool = False) -> Verdict:
        mix = self.profile if isinstance(self.profile, str) else self.profile.name
        by, began = f"simulation ({mix}{', SQL' if self.store == 'sql' else ''})", time.process_time()
        with pytest.MonkeyPatch.context() as patch:
            take_out(patch)
            try:
                simulate(self.seed, self.rotations, self.store, self.profile, play_length=self.play_length)
            except FoundError as caught:
                found = caught
            else:
                return Verdict(by=by, problem=f"survived {self.rotations} rotations")
        after, seconds = f"{found.rotations} rotations", time.process_time() - began
        violation = found.problem
        if not isinstance(violation, ViolationError) or violation.invariant not in self.invariants:
            return Verdict(by=by, after=after, seconds=seconds, problem=f"not as expected: {found}")
        by = f"{by}: {violation.invariant}"
        try:
            simulate(found.seed, self.play_length, self.store, self.profile)
        except FoundError as again:
            return Verdict(by=by, after=after, seconds=seconds, problem=f"also with the guard: {again}")
        return Verdict(by=by, after=after, seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class ByTest:
    """This test fails by an assertion whose text has these words in it."""

    test: str
    says: str

    def kill(self, name: str, take_out: TakeOut, *, in_suite: bool = False) -> Verdict:
        by, began = self.test.rpartition("::")[2], time.monotonic()
        failed = run([self.test], name)
        seconds = time.monotonic() - began
        verdict = Verdict(by=by, after="1 test", seconds=seconds)
        match failed:
            case {self.test: {"outcome": "failed", "when": "call", "kind": kind, "text": text}}:
                if kind not in ASSERTIONS or self.says not in text:
                    return replaced(verdict, f"not as expected: {kind}: {text}")
            case _:
                return replaced(verdict, f"survived: {failed}")
        content = {} if in_suite else run([self.test])
        if not in_suite and content.get(self.test, {}).get("outcome") != "passed":
            return replaced(verdict, f"also with the guard: {content}")
        return verdict


ASSERTIONS = ("AssertionError", "Failed")
"""`Failed` is what pytest raises where an expected exception did not come."""


def replaced(verdict: Verdict, problem: str) -> Verdict:
    """The verdict, with what is wrong about it."""
    return Verdict(by=verdict.by, after=verdict.after, seconds=verdict.seconds, problem=problem)


def run(tests: list[str], mutant: str = "") -> dict[str, dict[str, str]]:
    """What each test came to, in a process of its own; empty where pytest itself did not get so far."""
    with TemporaryDirectory(prefix="mutants-") as folder:
        report = Path(folder) / "report.json"
        given = {**os.environ, "PYTHONPATH": str(ROOT), MUTANT: mutant, REPORT: str(report)}
        given.pop("PYTEST_XDIST_WORKER", None)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "tests.mutants.plugin", "-p", "no:cacheprovider"]
        subprocess.run([*command, *tests], cwd=ROOT, env=given, capture_output=True, check=False, timeout=280)
        told: dict[str, dict[str, str]] = json.loads(report.read_text()) if report.exists() else {}
        return told
