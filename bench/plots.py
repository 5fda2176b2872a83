"""Figures of bench/results/ as pictures for the page about speed: SVG, made by hand, read by whoever cannot see them.

Each has its own background and follows the reader's light or dark; lines differ by marks and dashes as well as colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from bench import kept, memory, tick
from bench.measure import RESULTS

FOLDER = Path(__file__).parents[1] / "docs" / "plots"

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 48, 56  # of the frame, from the edges

_STYLE = """
svg { font: 13px system-ui, sans-serif }
.paper { fill: #ffffff } text { fill: #1f2328 } .title { font-size: 15px; font-weight: 600 }
.grid { stroke: #d1d9e0 } .line { fill: none; stroke-width: 2 }
.line0 { stroke: #0969da } .line1 { stroke: #bc4c00; stroke-dasharray: 7 4 }
.mark0 { fill: #0969da } .mark1 { fill: #bc4c00 }
@media (prefers-color-scheme: dark) {
.paper { fill: #0d1117 } text { fill: #e6edf3 } .grid { stroke: #3d444d }
.line0 { stroke: #4493f8 } .mark0 { fill: #4493f8 } .line1 { stroke: #f0883e } .mark1 { fill: #f0883e }
}
"""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Lines by name, over one axis from 0 or by powers of ten."""

    title: str
    across: str
    up: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    powers: bool = False  # the axis across goes by them

    @property
    def said(self) -> str:
        """All of it in words."""
        each = (f"{name}: " + ", ".join(f"{y:g} at {x:,g}" for x, y in line) for name, line in self.lines.items())
        return f"{self.up} by {self.across}. " + "; ".join(each) + "."


def ticks(folder: Path = RESULTS) -> Plot:
    """What a daemon costs while there is nothing to do."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in kept.rows("tick", tick.QUICK, folder):
        database, _, size = row["case"].partition(", ")
        lines.setdefault(database, []).append((kept.numbers(size)[0], kept.numbers(row["detail"])[0]))
    return Plot(title="A tick with nothing due", across="credentials", up="ms", lines=lines, powers=True)


def replicas(folder: Path = RESULTS) -> Plot:
    """What several processes do together."""
    rates = kept.rates(folder)
    linear = [(number, round(number * rates[1], 2)) for number in rates]
    lines = {"measured": [*rates.items()], "one process, times their number": linear}
    return Plot(title="Rotations by replicas", across="replicas", up="rotations/s", lines=lines)


def memories(folder: Path = RESULTS) -> Plot:
    """What a daemon holds."""
    rows = [row for what in (memory.FEW, memory.MANY) for row in kept.rows("memory", what, folder)]
    found = [(kept.numbers(row["case"])[0], kept.numbers(row["detail"])) for row in rows]
    lines = {
        "a daemon": [(size, ours) for size, (ours, *_) in found],
        memory.BARE: [(size, bare) for size, (_, bare, *_) in found],
    }
    return Plot(title="Memory of a daemon with nothing to do", across="credentials", up="MB", lines=lines)


PLOTS: Mapping[str, Callable[[Path], Plot]] = {"replicas": replicas, "memory": memories, "tick": ticks}
"""Script → the picture of its figures."""


def shown(script: str, folder: Path = RESULTS) -> str:
    """The picture in a page of docs/."""
    plot = PLOTS[script](folder)
    return f"![{plot.title}: {plot.said}]({FOLDER.name}/{script}.svg)"


def write(folder: Path = FOLDER) -> None:
    """All of them anew, of what is kept."""
    folder.mkdir(exist_ok=True)
    for script, plot in PLOTS.items():
        (folder / f"{script}.svg").write_text(drawn(plot(RESULTS)), encoding="utf-8")


def drawn(plot: Plot) -> str:
    """The picture as SVG. The same plot gives the same bytes."""
    points = [point for line in plot.lines.values() for point in line]
    across = _powers([x for x, _ in points]) if plot.powers else _steps(max((x for x, _ in points), default=1))
    up = _steps(max((y for _, y in points), default=1))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="t d">',
        f'<title id="t">{escape(plot.title)}</title>',
        f'<desc id="d">{escape(plot.said)}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text class="title" x="{LEFT}" y="24">{escape(plot.title)}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 12}" text-anchor="end">{escape(plot.across)}</text>',
        f'<text x="{LEFT - 8}" y="{TOP - 8}" text-anchor="end">{escape(plot.up)}</text>',
    ]

    def x(value: float) -> float:
        low, high, place = across[0], across[-1], value
        if plot.powers:
            low, high, place = math.log10(low), math.log10(high), math.log10(value)
        return LEFT + (WIDTH - LEFT - RIGHT) * (place - low) / (high - low)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / up[-1]

    for value in up:
        lines.append(f'<path class="grid" d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,g}</text>')
    for value in across:
        lines.append(f'<path class="grid" d="M{x(value):.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        lines.append(f'<text x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{value:,g}</text>')
    for number, (name, line) in enumerate(plot.lines.items()):
        way = "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in line)
        lines.append(f'<path class="line line{number}" d="M{way}"/>')
        lines += [_mark(number, x(a), y(b)) for a, b in line]
        beside = WIDTH - RIGHT - 8, 20 + 18 * number
        lines.append(_mark(number, beside[0], beside[1] - 4))
        lines.append(f'<text x="{beside[0] - 12}" y="{beside[1]}" text-anchor="end">{escape(name)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _mark(number: int, x: float, y: float) -> str:
    """A disc for the first line, a square for the second."""
    if number == 0:
        return f'<circle class="mark0" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    return f'<rect class="mark1" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'


def _steps(most: float) -> Sequence[float]:
    """From 0 to at least this, four to ten steps of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(most / 4))
    step = next(size * power for size in (1, 2, 5, 10) if most / (size * power) <= 6)  # noqa: PLR2004 - lines enough
    return [round(step * number, 10) for number in range(math.ceil(most / step) + 1)]


def _powers(values: Sequence[float]) -> Sequence[float]:
    """The powers of ten around these."""
    low, high = math.floor(math.log10(min(values, default=1))), math.ceil(math.log10(max(values, default=10)))
    return [10.0**power for power in range(low, max(high, low + 1) + 1)]
