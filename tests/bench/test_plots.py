"""The plots are those of the figures that are kept, the same bytes each time, and say in words what they show."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import plots
from bench.measure import RESULTS

SVG = "{http://www.w3.org/2000/svg}"
PAGE = Path(__file__).parents[2] / "docs" / "speed.md"


def contrast(one: str, other: str) -> float:
    """Of two colours, as WCAG 2 reckons it."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    bright, dark = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("script", plots.PLOTS)
def test_a_plot_is_of_the_figures_that_are_kept(script: str, tmp_path: Path) -> None:
    plots.write(tmp_path)
    made, kept = (folder / f"{script}.svg" for folder in (tmp_path, plots.FOLDER))
    assert made.read_bytes() == kept.read_bytes(), f"{script}.svg is old: `make docs`"
    assert plots.shown(script) in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("script", plots.PLOTS)
def test_a_plot_says_what_it_shows_and_shows_every_point_inside_its_frame(script: str) -> None:
    plot = plots.PLOTS[script](RESULTS)
    root = ET.fromstring(plots.drawn(plot))
    title, desc = root[0], root[1]
    assert root.get("role") == "img"
    assert (title.tag, title.get("id"), title.text) == (f"{SVG}title", "t", plot.title)
    assert (desc.tag, desc.get("id"), desc.text) == (f"{SVG}desc", "d", plot.said)
    assert root.get("aria-labelledby") == "t d"
    points = [point for line in plot.lines.values() for point in line]
    assert points
    assert all(f"{y:g} at {x:,g}" in plot.said for x, y in points)
    for line in root.iter(f"{SVG}path"):
        if "line" in str(line.get("class")).split():
            for x, y in re.findall(r"([\d.]+) ([\d.]+)", str(line.get("d"))):
                assert plots.LEFT <= float(x) <= plots.WIDTH - plots.RIGHT
                assert plots.TOP <= float(y) <= plots.HEIGHT - plots.BOTTOM


def test_it_can_be_read_in_the_light_and_in_the_dark_and_fetches_nothing() -> None:
    drawn = plots.drawn(plots.replicas())
    light, dark = drawn.split("prefers-color-scheme: dark")
    for style in (light, dark):
        (paper,) = re.findall(r"\.paper \{ fill: (#\w{6})", style)
        (ink,) = re.findall(r"text \{ fill: (#\w{6})", style)
        marks = re.findall(r"\.(?:line|mark)\d \{ (?:stroke|fill): (#\w{6})", style)
        assert contrast(paper, ink) >= 7
        assert len(marks) == 4
        assert all(contrast(paper, mark) >= 4.5 for mark in marks)
    assert "url(" not in drawn
    assert "href" not in drawn


@pytest.mark.parametrize("most", [0.3, 1, 4.97, 6.1, 145, 999, 1_000_000])
def test_an_axis_reaches_as_far_as_what_it_shows_in_a_few_steps(most: float) -> None:
    steps = plots._steps(most)
    assert steps[0] == 0
    assert steps[-2] < most <= steps[-1]
    assert 4 <= len(steps) <= 8
