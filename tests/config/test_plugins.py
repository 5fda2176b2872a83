"""Adapters from outside, registered by entry points; real packages on the path, as an installer would leave them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rotator.config import json_schema
from tests.config.sample import BASE, load_text, problems_with

PROVIDER = """
from datetime import timedelta
from rotator.ports.provider import Capabilities
from rotator.settings import Settings

class NoSettings(Settings):
    colour: str = "red"

class Bound:
    capabilities = Capabilities(
        origin="chosen", living=1, labels=False, can_disable=False, tells_last_use=False, can_tell=True,
        settle=timedelta(0), default_fields={}, material=("username", "password"),
    )

class Database:
    Settings = NoSettings
    Options = NoSettings
    def __init__(self, settings, timeout): ...
    def bind(self, options): return Bound()
"""


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    info = site / "colours-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: colours\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[rotator.providers]\ncolours = colours_plugin:Database\nbroken = colours_plugin:Gone\n"
        "old = colours_plugin:Bound\n"
    )
    (site / "colours_plugin.py").write_text(PROVIDER)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "colours_plugin", raising=False)


def config(policy: str, entry: str = "sm:a") -> str:
    keys = f"provider: colours, policy: {{{policy}}}, destinations: [{entry}]"
    return f"{BASE}credentials: {{key: {{{keys}}}}}\n".replace("providers:", "providers:\n  colours: {}")


def test_a_type_from_outside_is_a_type(tmp_path: Path) -> None:
    entry = "{to: sm, path: a, fields: {A: '{username}:{password}'}}"
    found = load_text(tmp_path, config("allow_downtime: true", entry))
    assert found.providers["colours"].settings.colour == "red"


def test_a_provider_of_one_key_needs_a_word_about_downtime(tmp_path: Path) -> None:
    entry = "{to: sm, path: a, fields: {A: '{username}:{password}'}}"
    (problem,) = problems_with(tmp_path, config("", entry))
    assert problem.place == "credentials.key.policy"
    assert problem.hint == "write `allow_downtime: true` if that is meant"


def test_a_key_of_several_parts_has_no_default_field(tmp_path: Path) -> None:
    (problem,) = problems_with(tmp_path, config("allow_downtime: true"))
    assert problem.message == "`fields` is missing: the provider's keys have several parts"


def test_types_that_cannot_be_used_are_problems_not_crashes(tmp_path: Path) -> None:
    problems = problems_with(tmp_path, "providers: {broken: {}, old: {}, colour: {}}\n")
    assert [problem.place for problem in problems] == [
        "providers.broken.type",
        "providers.old.type",
        "providers.colour.type",
    ]
    assert "cannot be loaded from colours_plugin:Gone: AttributeError" in problems[0].message
    assert "has no Settings and no Options and no bind" in problems[1].message


def test_the_schema_knows_types_from_outside_and_leaves_out_broken_ones() -> None:
    known = json_schema()["properties"]["providers"]["properties"]
    assert "colours" in known
    assert "broken" not in known
