"""Installations of any combination, and the table at the end of `make crash-matrix`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rotator.testbed.openai_emulator import OpenAIEmulator
from tests.crash.worlds import EnvFile, GeneratedValues, IamKeys, Issuer, Manager, OpenAIKeys, Shelf, Vault, World
from tests.engine.place import Place

Build = Callable[[str, str, str], World]


@pytest.fixture
def build(tmp_path: Path, request: pytest.FixtureRequest, openai: OpenAIEmulator) -> Build:
    """`build(issuer, shelves, store)` is a world of these; several shelves are joined by `+`."""
    server = request.getfixturevalue
    issuers: dict[str, Callable[[], Issuer]] = {
        "openai": lambda: OpenAIKeys(openai, tmp_path),
        "aws-iam": lambda: IamKeys(server("aws"), tmp_path),
        "generated": GeneratedValues,
    }
    kinds: dict[str, Callable[[], Shelf]] = {
        "vault-kv": lambda: Vault(server("openbao"), tmp_path),
        "aws-secrets-manager": lambda: Manager(server("aws"), tmp_path),
        "env-file": lambda: EnvFile(tmp_path),
    }

    def built(issuer: str, shelves: str, store: str) -> World:
        place = Place(tmp_path)
        if store == "postgresql":
            url = tmp_path / "database-url"
            url.write_text(server("postgres").fresh_url("crash"))
            place.store_url = f"file:{url.name}"
        slow = "aws" in issuer + shelves  # moto is
        place.engine = {"lease": "3s" if slow else "1s", "call_budget": "1s" if slow else "500ms", "workers": 4}
        place.policy["max_creates_per_day"] = 1000
        return World(place, issuers[issuer](), [kinds[shelf]() for shelf in shelves.split("+")])

    return built


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What each line of the matrix measured. `tests.crash.test_matrix` records it."""
    found = [
        (dict(report.user_properties)["line"], dict(report.user_properties)["figures"])
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call" and "figures" in dict(report.user_properties)
    ]
    if not found:
        return
    columns = ("points", "kills", "unanswered", "looks", "dead", "violations")
    sums: dict[str, int] = defaultdict(int)
    write = terminalreporter.write_line
    write("")
    write(
        f"{'act':8} {'mode':14} {'provider':10} {'destination':20} {'store':11}" + "".join(f"{c:>11}" for c in columns)
    )
    for line, figures in sorted(found):
        counted = {c: len(figures[c]) if c == "violations" else figures[c] for c in columns}
        act, mode, issuer, shelf, store = line.split(" ")
        write(f"{act:8} {mode:14} {issuer:10} {shelf:20} {store:11}" + "".join(f"{counted[c]:11,}" for c in columns))
        for column, value in counted.items():
            sums[column] += value
    write(f"{f'{len(found)} lines':67}" + "".join(f"{sums[c]:11,}" for c in columns))
