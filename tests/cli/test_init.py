"""`init`: starter files that work, and never a file overwritten."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from rotator.cli.starter import CONFIGURATION, IGNORED
from rotator.config import load
from tests.cli.house import House
from tests.conftest import Canaries


@pytest.fixture
def bare(tmp_path: Path, canary: Canaries) -> House:
    """A folder with nothing in it."""
    folder = tmp_path / "bare"
    folder.mkdir()
    return House(folder, canary)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_what_init_writes_works_at_once(bare: House) -> None:
    made = bare.run("init")
    assert (made.status, made.err) == (0, "")
    assert "Back it up now" in made.out
    assert "Next: `rotator check`, then `rotate`" in made.out
    assert mode(bare.folder / "rotator.key") == 0o600
    assert mode(bare.folder / "rotator.db") == 0o600
    checked = bare.run("check")
    assert (checked.status, checked.err) == (0, "")
    assert bare.rotate().status == 0
    assert bare.values().keys() == {"SESSION_SECRET"}
    assert mode(bare.folder / "app.env") == 0o600
    bare.prove_silence()


def test_everything_secret_that_comes_to_be_is_among_the_lines_for_gitignore(bare: House) -> None:
    made = bare.run("init")
    bare.rotate()
    for line in IGNORED:
        assert f"\n  {line}\n" in made.out
    (bare.folder / ".gitignore").write_text("\n".join(IGNORED), encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=bare.folder, check=True)
    seen = subprocess.run(
        ["git", "status", "--porcelain"], cwd=bare.folder, check=True, capture_output=True, text=True
    ).stdout
    assert seen.split() == ["??", ".gitignore", "??", "rotator.yaml"]


def test_init_overwrites_nothing_and_names_what_exists(bare: House) -> None:
    bare.run("init")
    bare.rotate()
    before = {path.name: path.read_bytes() for path in bare.folder.iterdir()}
    again = bare.run("init")
    assert again.status == 0
    assert again.out.count("exists and is left as it is") == 4
    assert {path.name: path.read_bytes() for path in bare.folder.iterdir()} == before


def test_init_makes_what_a_configuration_of_ones_own_names(bare: House) -> None:
    (bare.folder / "rotator.yaml").write_text("seal: {key: file:my.key}\nstore: {url: 'sqlite:///my.db'}\n")
    assert bare.run("init").status == 0
    assert {path.name for path in bare.folder.iterdir()} >= {"my.key", "my.db"}
    assert not (bare.folder / "rotator.key").exists()


def test_init_in_another_folder_makes_it_and_names_the_file_in_what_follows(bare: House) -> None:
    made = bare.run("init", "--dir", "deep/down")
    assert made.status == 0
    assert "rotator check --config deep/down/rotator.yaml" in made.out
    assert bare.run("check", "--config", "deep/down/rotator.yaml").status == 0


def test_a_lost_key_is_not_replaced_where_a_database_needs_it(bare: House) -> None:
    bare.run("init")
    (bare.folder / "rotator.key").unlink()
    ran = bare.run("init")
    assert ran.status == 2
    assert "put the key back from its backup" in ran.err
    assert not (bare.folder / "rotator.key").exists()


def test_init_with_a_wrong_configuration_makes_nothing(bare: House) -> None:
    (bare.folder / "rotator.yaml").write_text("credential: {}\n", encoding="utf-8")
    ran = bare.run("init")
    assert ran.status == 2
    assert "did you mean `credentials`?" in ran.err
    assert [path.name for path in bare.folder.iterdir()] == ["rotator.yaml"]


def test_the_examples_in_the_starter_file_are_right(tmp_path: Path) -> None:
    example = re.compile(r"^( *)# ( *)(- |[a-z-]+:)", re.MULTILINE)
    head, sep, rest = CONFIGURATION.partition("environment:")
    path = tmp_path / "rotator.yaml"
    path.write_text(head + sep + example.sub(r"\1\2\3", rest), encoding="utf-8")
    config = load(path)
    assert list(config.credentials) == ["session-secret", "openai-web", "deployer"]
    assert list(config.providers) == ["local", "openai", "aws"]
    assert list(config.destinations) == ["app", "vault", "sm"]
