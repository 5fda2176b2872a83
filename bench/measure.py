"""What the measurements share: ratios with their spread, goals, what a process has used, and the table of results."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
"""Where figures are kept, a file for each script."""

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a ratio should be: one of the two is given."""

    at_most: float | None = None
    at_least: float | None = None

    def met(self, ratio: float) -> bool:
        """Whether it is."""
        return self.at_least <= ratio if self.at_least is not None else ratio <= (self.at_most or 0)

    def __str__(self) -> str:
        return f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"


Goals = Mapping[str, Goal | None]
"""What a script measures → its goal; None: there is none, it is good to know."""


@dataclass(frozen=True)
class Cost:
    """What something took of this process, in seconds."""

    wall: float
    cpu: float


def cost(act: Callable[[], object]) -> Cost:
    """Of doing it once, all threads included."""
    began, used = time.perf_counter(), time.process_time()
    act()
    return Cost(time.perf_counter() - began, time.process_time() - used)


def cpu(pid: int) -> float:
    """Processor seconds of a living process and of those of its children that have ended."""
    return sum(_ticks(pid)) / _TICKS


def _ticks(pid: int) -> tuple[int, int]:
    """Of a process, and of those of its children that have ended."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    user, kernel, childrens_user, childrens_kernel = map(int, stat.rpartition(")")[2].split()[11:15])
    return user + kernel, childrens_user + childrens_kernel


def used(pids: Iterable[int]) -> float:
    """Processor seconds of a server's living processes and of those of their children that have ended.

    A process is asked in two ways, each of which tells too little: its ticks, which round many that work for a moment
    each down to nothing, and the nanoseconds of its threads, which are those that have not ended.
    """
    total = 0.0
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile, and is its parent's now
            threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
            living = sum(int(thread.read_text(encoding="ascii").split()[0]) for thread in threads) / 1e9
            mine, children = _ticks(pid)
            total += max(living, mine / _TICKS) + children / _TICKS
    return total


def resident(pid: int) -> float:
    """MB of memory that a living process holds."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison: the median of the ratios of its rounds, the lowest and the highest."""

    what: str
    case: str
    against: str
    ratio: float
    low: float
    high: float
    rounds: int
    detail: str
    goal: str | None
    met: bool | None


class Results:
    """The rows of one run of a script. Printed as they come; kept by `end`."""

    def __init__(self, script: str, goals: Goals, folder: Path = RESULTS) -> None:
        self.rows: list[Row] = []
        self._script = script
        self._goals = goals
        self._folder = folder
        self._load = os.getloadavg()[0]
        self._command = shlex.join(["python", "-m", f"bench.{script}", *sys.argv[1:]])

    def add(self, what: str, case: str, against: str, ratios: Sequence[float], detail: str = "") -> None:
        """A comparison; `what` is one of the goals' names."""
        goal, ratio = self._goals[what], statistics.median(ratios)
        row = Row(
            what=what,
            case=case,
            against=against,
            ratio=ratio,
            low=min(ratios),
            high=max(ratios),
            rounds=len(ratios),
            detail=detail,
            goal=None if goal is None else str(goal),
            met=None if goal is None else goal.met(ratio),
        )
        self.rows.append(row)
        verdict = "" if goal is None else f"; {goal}: {'met' if row.met else 'MISSED'}"
        print(f"{what}, {case}, against {against}: {spread(ratios)}{verdict}\n    {detail}", flush=True)

    def end(self) -> int:
        """Keep the figures; 1 if a goal was missed."""
        load = f"{self._load:.1f} before, {os.getloadavg()[0]:.1f} after, on {os.cpu_count()} cores"
        print(f"load average {load}")
        content: dict[str, Any] = {
            "script": self._script,
            "command": self._command,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "load": load,
            "rows": [asdict(row) for row in self.rows],
        }
        self._folder.mkdir(exist_ok=True)
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        (self._folder / f"{self._script}.json").write_text(text, encoding="utf-8")
        return 0 if all(row.met is not False for row in self.rows) else 1


def spread(figures: Sequence[float], unit: str = "") -> str:
    """Median, and from where to where."""
    return f"{statistics.median(figures):.3g}{unit} ({min(figures):.3g} to {max(figures):.3g})"


def parser(doc: str | None) -> argparse.ArgumentParser:
    """What the command line of every script has."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--results", type=Path, default=RESULTS, help="the folder where figures are kept")
    return made
