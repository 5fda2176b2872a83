"""A fresh installation for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rotator import wiring
from rotator.sealers.local import new_key
from rotator.store import schema
from tests.cli.house import House, new_house
from tests.conftest import Canaries


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and an empty database: making them once saves a second in each test."""
    folder = tmp_path_factory.mktemp("template")
    key = folder / "rotator.key"
    key.write_text(f"{new_key()}\n", encoding="utf-8")
    key.chmod(0o600)
    schema.upgrade(f"sqlite:///{folder}/rotator.db", "test", wiring.new_id)
    return folder


@pytest.fixture
def house(tmp_path: Path, template: Path, canary: Canaries) -> Iterator[House]:
    """An installation with two credentials, `web` and `mail`; no command may say a secret of it."""
    made = new_house(tmp_path / "house", template, canary)
    yield made
    made.prove_silence()
