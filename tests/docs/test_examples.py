"""Every example that can run is run: configurations are loaded, marked commands are typed, code is executed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from rotator.config import load
from rotator.domain.errors import Conflict, Unavailable
from rotator.domain.secret import Material, Secret
from rotator.ports.provider import Issues, Verdict
from rotator.testbed.process import free_port
from tests.docs.generate import DOCS
from tests.docs.test_complete import ALL_PAGES, ROOT

BLOCK = re.compile(r"(?P<mark><!-- run -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)
PLAYED = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
"""Pages that are run as a whole, by test_pages.py."""
EXAMPLES = [
    pytest.param(match, id=f"{page.relative_to(ROOT)}-{number}")
    for page in ALL_PAGES
    for number, match in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8")))
]


_REPOSITORY = """git init --quiet
git add rotator.yaml
git -c user.name=a -c user.email=a@example.com commit --quiet --message first
git update-ref refs/remotes/origin/main HEAD"""


def examples(language: str, *, marked: bool = False, containing: str = "", played: bool = True) -> Sequence[object]:
    found = []
    for example in EXAMPLES:
        match = example.values[0]
        assert isinstance(match, re.Match)
        if not played and any(str(example.id).startswith(str(page.relative_to(ROOT))) for page in PLAYED):
            continue
        if match["language"] == language and containing in match["text"] and (match["mark"] or not marked):
            found.append(pytest.param(match["text"], id=example.id))
    return found


@pytest.mark.parametrize("text", examples("yaml", containing="providers:"))
def test_an_example_configuration_is_valid(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rotator.yaml"
    path.write_text(text, encoding="utf-8")
    assert load(path).credentials


@pytest.mark.parametrize("text", examples("yaml"))
def test_every_other_yaml_is_yaml(text: str) -> None:
    assert yaml.safe_load(text)


@pytest.mark.parametrize("text", examples("sh", marked=True, played=False))
def test_the_commands_of_an_example_work(text: str, tmp_path: Path) -> None:
    environment = shell(tmp_path)
    if "rotator init" not in text:
        subprocess.run(["rotator", "init"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    if "origin/main" in text:
        subprocess.run(["bash", "-euc", _REPOSITORY], cwd=tmp_path, env=environment, check=True, capture_output=True)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr


def shell(folder: Path) -> Mapping[str, str]:
    """An environment in which `rotate` and `rotator` are this checkout's, whatever is installed."""
    commands = folder / "bin"
    commands.mkdir()
    for name, first in (("rotator", ""), ("rotate", " rotate")):
        script = commands / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rotator{first} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    return {"PATH": f"{commands}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(folder), "LANG": "C.UTF-8"}


def module(page: str) -> types.ModuleType:
    """The Python of a page, executed."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    source = next(match["text"] for match in BLOCK.finditer(text) if match["language"] == "python")
    made = types.ModuleType(page)
    sys.modules[page] = made  # where pydantic looks names up
    exec(compile(source, page, "exec"), made.__dict__)
    return made


def test_the_example_of_a_provider_keeps_the_contract_of_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    example = module("writing-a-provider.md").Example
    monkeypatch.setenv("TOKEN", "token")
    settings = example.Settings.model_validate(
        {"url": f"http://127.0.0.1:{free_port()}", "admin_token": "env:TOKEN"}, context={"folder": Path()}
    )
    provider = example(settings, timedelta(seconds=1)).bind(example.Options(user="ci"))
    can_create: object = provider
    assert isinstance(can_create, Issues)
    for ask in (provider.account, provider.keys, lambda: provider.create("ci"), lambda: provider.delete("key")):
        with pytest.raises(Unavailable):
            ask()
    assert provider.authenticate(Material({"secret": Secret("key.x")})).verdict is Verdict.INCONCLUSIVE


def test_the_example_of_a_destination_compares_and_sets() -> None:
    example = module("writing-a-destination.md").Memory
    place = example("memory", example.Settings(), timedelta(seconds=1)).at("web")
    absent = place.read().revision
    first = place.write({"A": Secret("1")}, absent, "token")
    with pytest.raises(Conflict):
        place.write({"A": Secret("2")}, absent, "token")
    place.write({"B": Secret("2")}, first, "token")
    assert {name: value.reveal() for name, value in place.read().fields.items()} == {"A": "1", "B": "2"}
    with pytest.raises(ValueError, match="path"):
        example("memory", example.Settings(), timedelta(seconds=1)).at(None)
