"""What the scripts have kept in bench/results/: their rows, and the figures in them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.measure import RESULTS

Row = Mapping[str, Any]

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def rows(script: str, what: str, folder: Path = RESULTS) -> Sequence[Row]:
    """The rows of one comparison, in the order in which they were measured; none where the script was never run."""
    return [row for row in _run(script, folder).get("rows", ()) if row["what"] == what]


def command(script: str, folder: Path = RESULTS) -> str:
    """What was typed to measure them."""
    return str(_run(script, folder)["command"])


def _run(script: str, folder: Path) -> Mapping[str, Any]:
    file = folder / f"{script}.json"
    found: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


def numbers(text: str) -> Sequence[float]:
    """All that stand in a case or a detail, in order. A detail begins with what was measured of us."""
    return [float(found.replace(",", "")) for found in _NUMBER.findall(text)]


def rates(folder: Path = RESULTS) -> Mapping[int, float]:
    """Replicas → rotations per second of all of them together, as `bench.replicas` has measured it."""
    found: dict[int, float] = {}
    for row in rows("replicas", "throughput of replicas, of linear", folder):
        several, one, *_ = numbers(row["detail"])
        found |= {1: one, int(numbers(row["case"])[0]): several}
    return dict(sorted(found.items()))


def seconds_of_a_rotation() -> float:
    """Of one rotation by itself, where each of its calls takes 100 ms."""
    found = rows("scripts", "wall time of one rotation")
    return next(numbers(row["detail"])[0] / 1000 for row in found if row["case"] == "100 ms a call")


def provider_calls_of_a_rotation() -> float:
    """From the first call to the provider to the last one, its old key's deletion included."""
    row, *_ = rows("drill", "time of the whole drill")
    return float(re.findall(r"(\d+) calls to the provider", row["detail"])[0])
