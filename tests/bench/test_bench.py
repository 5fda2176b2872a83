"""The measurements can be run, and the page says nothing that no script measures. What they find is not judged here."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.costs import COSTS, table
from bench.measure import RESULTS, Goal, Goals, used
from bench.page import SCRIPTS, figures
from bench.roles import Roles
from bench.schedule import Watched
from rotator.testbed.postgres import Postgres
from rotator.testbed.process import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "speed.md"


def goals(script: str) -> Goals:
    found: Goals = importlib.import_module(f"bench.{script}").GOALS
    return found


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_measures_all_that_has_a_goal(script: str, tmp_path: Path) -> None:
    tiny = importlib.import_module(f"bench.{script}").TINY
    command = [sys.executable, "-m", f"bench.{script}", *tiny, "--results", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PAGE.parents[1])
    assert ran.returncode in (0, 1), ran.stderr
    if "nothing was compared" in ran.stdout:  # with what is no dependency of ours, and not there
        assert (ran.returncode, list(tmp_path.iterdir())) == (0, [])
        return
    rows = json.loads((tmp_path / f"{script}.json").read_text())["rows"]
    assert {row["what"] for row in rows} >= {what for what, goal in goals(script).items() if goal is not None}
    assert f"### {script}" in figures(tmp_path)


def test_the_page_names_scripts_and_goals_that_exist() -> None:
    parts = re.split(r"^### ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert parts
    for part in parts:
        script, rows = part.split("\n", 1)[0], re.findall(r"^\| (?!what|--)(.+) \|$", part, re.MULTILINE)
        assert script in SCRIPTS
        assert f"python -m bench.{script}" in part
        for row in rows:
            what, _, _, _, goal, *_ = row.split(" | ")
            known = goals(script)[what]
            assert goal == ("" if known is None else str(known)), what


def test_every_kept_result_is_of_a_script() -> None:
    assert {file.stem for file in RESULTS.glob("*.json")} <= set(SCRIPTS)


def test_what_the_page_about_scale_goes_on_from_has_been_measured(tmp_path: Path) -> None:
    assert [line.split(" | ")[0] for line in table().splitlines()[2:]] == [f"| {cost.words}" for cost in COSTS]
    assert table(tmp_path).count("\n") == 2  # the head alone, where nothing was


def test_a_goal_is_met_at_its_very_value() -> None:
    assert Goal(at_most=2).met(2)
    assert not Goal(at_most=2).met(2.1)
    assert Goal(at_least=0.9).met(0.9)
    assert not Goal(at_least=0.9).met(0.8)


@pytest.mark.parametrize(
    ("given", "on_time"),
    [
        ([[4, 9, 14]], 1),
        ([[10.9]], 1),  # it was due at 5 at the latest, and by 20 the next one is not late
        ([[11.1]], 0),
        ([[1, 6]], 0),  # the next one was due at 11, and by 20 it has not come
        ([[]], 0),
        ([[4, 9, 14], []], 0.5),
    ],
)
def test_a_role_is_on_time_if_no_password_came_a_period_late(given: list[list[float]], on_time: float) -> None:
    assert Watched(given, lasted=20, period=5, cpu=0).on_time == on_time


def test_processor_time_of_backends_is_counted_while_they_live_and_after(postgres: Postgres) -> None:
    before = used(postgres.processes())
    with Roles(postgres).connect(superuser=True) as connection:
        connection.execute("SELECT sum(n) FROM generate_series(1, 2000000) n")
        living = used(postgres.processes())
    assert before < living
    assert wait_until(lambda: len(postgres.processes()) > 1 and used(postgres.processes()) >= living - 0.02, within=10)
