"""The part of PromQL that our rules use, over the syntax tree of promql-parser: no library evaluates PromQL in Python.

What is not evaluated here raises, so a rule cannot pass by being misunderstood. Where promtool is installed, it
evaluates the same series, and has to agree (`tests/web/test_alerts.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import promql_parser as syntax

from tests.web.scrape import Scrape

Labels = frozenset[tuple[str, str]]
Vector = Mapping[Labels, float]
Timeline = Sequence[tuple[float, Scrape]]
"""Seconds since the epoch, and what was scraped then, in order."""

_COMPARE: dict[str, Callable[[float, float], bool]] = {">": lambda a, b: a > b, "==": lambda a, b: a == b}
_COUNT: dict[str, Callable[[float, float], float]] = {"-": lambda a, b: a - b, "/": lambda a, b: a / b}


def evaluate(text: str, timeline: Timeline) -> Vector:
    """The value at the end of the timeline. An empty vector: no alert."""
    found = _value(syntax.parse(text), timeline)
    assert isinstance(found, Mapping)
    return found


def selectors(node: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """The metrics that an expression names, with the labels that it matches by."""
    if isinstance(node, syntax.VectorSelector):
        yield str(node.name), {m.name: m.value for m in node.matchers.matchers}
        return
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        if hasattr(node, name):
            yield from selectors(getattr(node, name))
    for argument in getattr(node, "args", None) or ():
        yield from selectors(argument)


def grouped(node: Any) -> Iterator[str]:
    """The labels that an expression groups by."""
    if isinstance(node, syntax.AggregateExpr) and node.modifier is not None:
        yield from node.modifier.labels
    for name in ("lhs", "rhs", "expr"):
        if hasattr(node, name):
            yield from grouped(getattr(node, name))
    for argument in getattr(node, "args", None) or ():
        yield from grouped(argument)


def _value(node: Any, timeline: Timeline) -> Vector | float:
    if isinstance(node, syntax.NumberLiteral):
        return float(node.val)
    if isinstance(node, syntax.ParenExpr):
        return _value(node.expr, timeline)
    if isinstance(node, syntax.VectorSelector):
        return _select(node, timeline[-1][1], named=True)
    if isinstance(node, syntax.Call):
        return _call(node, timeline)
    if isinstance(node, syntax.AggregateExpr):
        return _sum(node, timeline)
    assert isinstance(node, syntax.BinaryExpr), node
    return _binary(str(node.op), _value(node.lhs, timeline), _value(node.rhs, timeline))


def _select(node: Any, scrape: Scrape, *, named: bool) -> Vector:
    def fits(labels: Mapping[str, str]) -> bool:
        return all(_matches(matcher, labels.get(matcher.name, "")) for matcher in node.matchers.matchers)

    found = {labels: value for (name, labels), value in scrape.items() if name == node.name and fits(dict(labels))}
    return {labels | {("__name__", str(node.name))} if named else labels: value for labels, value in found.items()}


def _matches(matcher: Any, value: str) -> bool:
    kind = matcher.op
    if kind == syntax.MatchOp.Equal:
        return bool(matcher.value == value)
    if kind == syntax.MatchOp.NotEqual:
        return bool(matcher.value != value)
    return (re.fullmatch(matcher.value, value) is not None) is bool(kind == syntax.MatchOp.Re)


def _call(node: Any, timeline: Timeline) -> Vector | float:
    if node.func.name == "time":
        return timeline[-1][0]
    (argument,) = node.args
    if node.func.name == "absent":
        return {} if _value(argument, timeline) else {frozenset(): 1.0}
    assert node.func.name == "increase", node.func.name
    return _increase(argument, timeline)


def _increase(node: Any, timeline: Timeline) -> Vector:
    """Without the extrapolation to the ends of the range."""
    since = timeline[-1][0] - node.range.total_seconds()
    seen: dict[Labels, list[float]] = {}
    for at, scrape in timeline:
        if at > since:
            for labels, value in _select(node.vector_selector, scrape, named=False).items():
                seen.setdefault(labels, []).append(value)
    return {
        labels: sum(max(after - before, 0) for before, after in pairwise(values))
        for labels, values in seen.items()
        if len(values) > 1
    }


def _sum(node: Any, timeline: Timeline) -> Vector:
    found, by = _value(node.expr, timeline), set(node.modifier.labels) if node.modifier is not None else set()
    assert isinstance(found, Mapping)
    sums: dict[Labels, float] = {}
    for labels, value in found.items():
        kept = frozenset(pair for pair in labels if pair[0] in by)
        sums[kept] = sums.get(kept, 0) + value
    return sums


def _binary(sign: str, left: Vector | float, right: Vector | float) -> Vector:
    pairs = _pairs(left, right)
    if sign in _COMPARE:
        return {labels: a for labels, (a, b) in pairs.items() if _COMPARE[sign](a, b)}
    return {_unnamed(labels): _COUNT[sign](a, b) for labels, (a, b) in pairs.items() if sign != "/" or b}


def _pairs(left: Vector | float, right: Vector | float) -> dict[Labels, tuple[float, float]]:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return {labels: (value, right[labels]) for labels, value in left.items() if labels in right}
    if isinstance(left, Mapping):
        assert isinstance(right, float)
        return {labels: (value, right) for labels, value in left.items()}
    assert isinstance(right, Mapping)
    return {labels: (left, value) for labels, value in right.items()}


def _unnamed(labels: Labels) -> Labels:
    return frozenset(pair for pair in labels if pair[0] != "__name__")
