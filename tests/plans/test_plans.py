"""Whatever a release has left in the database, in every state, today's release brings to its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rotator.domain.model import OPEN_RETIREMENT, OPEN_ROTATION, Cause, RetirementReason
from rotator.domain.secret import Secret
from rotator.store import schema
from rotator.testbed.anthropic_emulator import AnthropicEmulator
from rotator.testbed.openai_emulator import OpenAIEmulator
from tests.engine.place import dotenv_value
from tests.plans.installation import Installation, empty, emulated, going
from tests.plans.record import RECORDED, RUNS

FILES = sorted(RECORDED.glob("*/*.json"))


@cache
def recorded(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


SNAPSHOTS = [
    pytest.param(path, situation, id=f"{path.parent.name}-{path.stem}: {situation}")
    for path in FILES
    for situation in recorded(path)["snapshots"]
]


@pytest.fixture(scope="module")
def emulators() -> Iterator[dict[str, OpenAIEmulator | AnthropicEmulator]]:
    with emulated("openai") as openai, emulated("anthropic") as anthropic:
        yield {"openai": openai, "anthropic": anthropic}


@pytest.fixture(scope="module")
def empties(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("empties")
    return {revision: empty(revision, folder / revision) for revision in schema.REVISIONS}


@pytest.mark.parametrize(("path", "situation"), SNAPSHOTS)
def test_it_is_gone_on_with(
    path: Path,
    situation: str,
    tmp_path: Path,
    emulators: dict[str, OpenAIEmulator | AnthropicEmulator],
    empties: dict[str, bytes],
) -> None:
    run = recorded(path)
    snapshot = run["snapshots"][situation]
    emulator = emulators[run["provider"]]
    web = Installation(tmp_path, emulator)
    web.restore(snapshot, run["events"], run["key"], empties[snapshot["revision"]])
    status = web.finish()
    assert (status["status"], status["rotation"], going(status)) == ("ok", None, [])
    current = status["current"]
    value = dotenv_value(web.file, f"{web.kind.upper()}_API_KEY")
    assert value is not None
    assert emulator.accepts(value)
    with web.place.service() as service:
        assert service.store.fingerprint(Secret(value)) == current["fingerprint"]
    if isinstance(emulator, OpenAIEmulator):
        made = emulator.keys()
        assert [key.id for key in made if key.state == "live"] == [current["key_id"]]
    web.place.verified()


def test_every_open_state_is_recorded() -> None:
    """A state, a cause or a reason that comes new has to be recorded with the release that brings it."""
    everything = " ".join(situation for path in FILES for situation in recorded(path)["snapshots"])
    for state in OPEN_ROTATION:
        assert f"rotation {state} (" in everything
    for taking in OPEN_RETIREMENT:
        assert f"retirement {taking} (" in everything
    for why in set(RetirementReason) - {RetirementReason.EXTRA}:
        assert f"({why})" in everything
    for cause in set(Cause) - {Cause.SCHEDULE, Cause.ADDED, Cause.DRIFT, Cause.UNPAIR}:
        assert f"({cause})" in everything


def test_this_release_has_recorded_everything_that_it_runs() -> None:
    assert [path.stem for path in FILES if path.parent.name == schema.REVISIONS[-1]] == sorted(
        act.__name__ for act in RUNS
    )
