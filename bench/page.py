"""What stands on the page about speed: the figures that are kept in bench/results/."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import plots
from bench.measure import RESULTS

SCRIPTS = (
    *("scripts", "peers", "openbao", "schedule", "replicas", "drill"),
    *("slow", "commits", "memory", "tick", "help", "verify", "scan", "growth", "policy"),
)
"""Every script, in the order of the page."""


def figures(folder: Path = RESULTS) -> str:
    """How many goals are met, then a table for each script that has been run."""
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in map(folder.joinpath, _files()) if file.exists()]
    judged = [row for run in runs for row in run["rows"] if row["goal"] is not None]
    met = sum(row["met"] for row in judged)
    return "\n".join(
        [f"{met} of {len(judged)} comparisons meet their goal.", "", *(t for run in runs for t in _part(run, folder))]
    )


def _files() -> Iterator[str]:
    return (f"{script}.json" for script in SCRIPTS)


def _part(run: dict[str, Any], folder: Path) -> Iterator[str]:
    module = importlib.import_module(f"bench.{run['script']}")
    yield f"### {run['script']}"
    yield ""
    yield " ".join((module.__doc__ or "").split())
    yield ""
    yield f"`{run['command']}`, {run['at'][:10]}, load average {run['load']}:"
    yield ""
    yield "| what | of | compared with | ratio | goal | | figures |"
    yield "|---|---|---|---|---|---|---|"
    for row in run["rows"]:
        ratio = f"**{_short(row['ratio'])}** ({_short(row['low'])} to {_short(row['high'])})"
        verdict = {True: "met", False: "**missed**", None: ""}[row["met"]]
        cells = (row["what"], row["case"], row["against"], ratio, row["goal"] or "", verdict, row["detail"])
        yield f"| {' | '.join(cells)} |"
    yield ""
    if run["script"] in plots.PLOTS:
        yield plots.shown(run["script"], folder)
        yield ""


def _short(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"  # noqa: PLR2004 - three digits at the most tell anything
