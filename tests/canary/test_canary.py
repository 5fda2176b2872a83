"""Unique secrets through everything that goes well and badly, and a search for them in every place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rotator.testbed.aws import Aws
from rotator.testbed.gate import Gate
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.testbed.openbao import OpenBao
from rotator.testbed.postgres import Postgres
from tests.canary.places import PLACES
from tests.canary.run import Run
from tests.conftest import Canaries

Start = Callable[..., Run]

STORES = pytest.mark.parametrize("store", ["sqlite", "postgres"])


@pytest.fixture
def start(
    tmp_path: Path,
    openai: OpenAIEmulator,
    openbao: OpenBao,
    aws: Aws,
    gate_to: Callable[[str], Gate],
    request: pytest.FixtureRequest,
) -> Iterator[Start]:
    """`start("postgres", leaks=…)` is an installation that has done everything that goes well."""

    runs: list[Run] = []

    def start(store: str, leaks: tuple[str, ...] = ()) -> Run:
        postgres: Postgres | None = request.getfixturevalue("postgres") if store == "postgres" else None
        run = Run(tmp_path / "house", openai, openbao, aws, gate_to, postgres, leaks)
        runs.append(run)
        run.well()
        return run

    yield start
    for run in runs:
        run.listening.stop()


def found(run: Run) -> dict[str, list[str]]:
    """Place → the pieces of it in which a secret is, and how it is spelt there. Every place is there."""
    canaries = Canaries(*run.secrets())
    hits: dict[str, list[str]] = {}
    for name, place in PLACES.items():
        pieces = list(place.look(run))
        hits[name] = [f"{piece}: {spelt}" for piece, content in pieces for spelt in canaries.found_in(content)]
    return hits


@STORES
def test_no_secret_is_anywhere_else(start: Start, store: str) -> None:
    run = start(store)
    run.badly()
    run.tell()
    assert found(run) == {name: [] for name in PLACES}
    secrets = run.secrets()
    assert len(secrets) > 12, "there was something to find"
    assert Canaries(*secrets).found_in(run.env.read_bytes()), "the search finds what is there"
    for name in PLACES.keys() - {"temporary folders", "beside the files"}:
        assert sum(len(content) for _, content in PLACES[name].look(run)) > 100, (
            f"{name}: there was something to search"
        )
    assert b"this is a bug: ValueError at " in run.told_of_bugs
    assert b"the calls that led there" in run.told_of_bugs
    assert b"exit status 1: " in run.out + run.err, "what the hook said is shown"


@STORES
def test_without_the_guards_every_place_is_hit(start: Start, store: str) -> None:
    """The control: a search that finds nothing proves something only where it can find."""
    run = start(store, leaks=tuple(PLACES))
    run.told_of_bugs += run.command("rotate", "--now", "web", "-vv", "--timeout", "0s", leaks=("bug",))
    run.tell()
    hits = found(run)
    missed = [name for name, pieces in hits.items() if not pieces]
    assert missed == [], "not one of its secrets is in these places"
    packed = {name for name, _ in PLACES["support bundle"].look(run)}
    assert {piece.rpartition(": ")[0] for piece in hits["support bundle"]} == packed, "each member is searched"


def test_a_careless_line_is_redacted(start: Start) -> None:
    """Whatever is used is logged, and the formatter keeps it out."""
    run = start("sqlite", leaks=("remembered",))
    assert run.err.count(b"it is \xe2\x80\xa6") > 20
    assert found(run)["log lines"] == []
