"""No guard can go unnoticed: with any one taken out, the suite that is named for it fails, and says what is wrong.

Left to `make mutants`: those whose killer starts OpenBao, AWS and the OpenAI emulator, waits for real time, or plays
hundreds of rotations until it sees it, which takes some seconds for each.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from docs.model.setting import GUARDS
from rotator.engine import creation
from tests.mutants import killers
from tests.mutants.killers import ROOT, BySimulation, ByTest, run
from tests.mutants.patches import nothing, without
from tests.mutants.table import MUTANTS

QUICK = [name for name, mutant in MUTANTS.items() if not mutant.slow]


@pytest.mark.parametrize("name", QUICK)
def test_the_mutant_dies(name: str) -> None:
    verdict = MUTANTS[name].killer.kill(name, MUTANTS[name].take_out, in_suite=True)
    assert verdict.problem is None


def test_each_guard_of_the_model_is_taken_out_of_the_code_as_well() -> None:
    assert GUARDS.keys() <= MUTANTS.keys()


def test_what_is_left_to_the_long_run_is_not_most_of_it() -> None:
    assert len(QUICK) > 0.5 * len(MUTANTS)
    for name in MUTANTS.keys() - set(QUICK):
        killer = MUTANTS[name].killer
        if isinstance(killer, BySimulation):
            continue
        assert isinstance(killer, ByTest), name
        path, _, test = killer.test.partition("::")
        assert (ROOT / path).exists(), name
        if "::" not in test:
            assert f"def {test.partition('[')[0]}(" in (ROOT / path).read_text(), name


def test_the_page_names_each_mutant() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    assert [name for name in MUTANTS if f"| {name} |" not in page] == []


def test_a_mutant_that_changes_nothing_survives() -> None:
    of_simulation = replace(_simulated("intent"), rotations=20, play_length=20)
    assert of_simulation.kill("intent", nothing).problem == "survived 20 rotations"
    killer = MUTANTS["AAD"].killer
    assert isinstance(killer, ByTest)
    assert {name: told["outcome"] for name, told in run([killer.test]).items()} == {killer.test: "passed"}


def test_a_mutant_that_only_breaks_things_is_no_proper_death() -> None:
    def broken(*_given: object) -> None:
        raise TypeError

    verdict = _simulated("intent").kill("intent", without(creation, "_issue", broken))
    assert (verdict.problem or "").startswith("not as expected: BugError(TypeError")
    killer = MUTANTS["AAD"].killer
    assert isinstance(killer, ByTest)
    assert (replace(killer, says="something else").kill("AAD", nothing).problem or "").startswith("not as expected")


def test_a_killer_that_always_fails_kills_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def always(tests: list[str], mutant: str = "") -> dict[str, dict[str, str]]:
        return {tests[0]: {"outcome": "failed", "when": "call", "kind": "AssertionError", "text": mutant}}

    monkeypatch.setattr(killers, "run", always)
    verdict = ByTest(test="a_test", says="AAD").kill("AAD", nothing)
    assert (verdict.problem or "").startswith("also with the guard")


def _simulated(name: str) -> BySimulation:
    killer = MUTANTS[name].killer
    assert isinstance(killer, BySimulation)
    return killer
