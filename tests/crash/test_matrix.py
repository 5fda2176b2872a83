"""The crash matrix: no moment at which a run ends, or an answer is lost, costs a key, a value or an outage.

`make crash-matrix` tries every moment of every line and prints the table; with STRIDE=3 every third, for a shorter
time. The plain test run tries a slice.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.crash.conftest import Build
from tests.crash.matrix import Line

STRIDE = int(os.environ.get("CRASH_STRIDE", "0"))
"""Of the full matrix; 0 is the slice of the plain test run."""

ISSUERS = ("openai", "aws-iam", "generated")
SHELVES = ("vault-kv", "aws-secrets-manager", "env-file")
STORES = ("sqlite", "postgresql")
MODES = ("killed", "killed_thrice", "unanswered")
DIAGONAL = tuple(zip(ISSUERS, SHELVES, strict=True))
TWO = "vault-kv+env-file"

Lines = Iterator[tuple[str, str, str, str, str, int]]


def full() -> Lines:
    """Every line: act, mode, issuer, shelves, store; and its stride."""
    for mode, issuer, shelf, store in itertools.product(MODES, ISSUERS, SHELVES, STORES):
        yield "rotate", mode, issuer, shelf, store, STRIDE
    for act, mode, (issuer, shelf), store in itertools.product(
        ("abandon", "adopt", "rehearse"), MODES, DIAGONAL, STORES
    ):
        yield act, mode, issuer, shelf, store, STRIDE
    for store in STORES:
        yield "rotate", "killed_anytime", "openai", TWO, store, STRIDE
    yield "rotate", "killed_twice", "openai", TWO, "sqlite", STRIDE


def part() -> Lines:
    """What the plain test run tries: fifty kills by the clock on each database, and some of everything else."""
    for store in STORES:
        yield "rotate", "killed_anytime", "openai", TWO, store, 2
    for number, (issuer, shelf) in enumerate(itertools.product(ISSUERS, SHELVES)):
        yield "rotate", "killed", issuer, shelf, STORES[number % 2], 40
    for number, (issuer, shelf) in enumerate(DIAGONAL):
        yield "rotate", "unanswered", issuer, shelf, STORES[number % 2], 40
    yield "rotate", "killed_thrice", "aws-iam", "env-file", "sqlite", 30
    yield "rotate", "killed_twice", "openai", TWO, "sqlite", 50
    yield "abandon", "killed", "openai", "env-file", "postgresql", 40
    yield "adopt", "killed", "aws-iam", "vault-kv", "sqlite", 50
    yield "rehearse", "killed", "openai", "vault-kv", "sqlite", 30


LINES = tuple(full() if STRIDE else part())


@pytest.mark.timeout(4 * 3600 if STRIDE else 300)
@pytest.mark.parametrize("line", LINES, ids=["-".join(line[:5]) for line in LINES])
def test_no_moment_costs_a_key_or_an_answer(
    line: tuple[str, str, str, str, str, int], build: Build, record_property: Callable[[str, Any], None]
) -> None:
    act, mode, issuer, shelves, store, stride = line
    figures = Line(build(issuer, shelves, store), act, stride=stride, offset=LINES.index(line) % stride).run(mode)
    record_property("line", " ".join(line[:5]))
    record_property("figures", figures.as_dict())
    assert figures.violations == []
    assert figures.dead == 0
    assert figures.points > 0
    assert figures.looks > figures.points
