"""Releases side by side: the one before works on, until somebody says that it may not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import inspect

from rotator.domain.errors import SetupError
from rotator.store import schema
from rotator.store.database import connect
from rotator.store.store import open_store
from tests.cli.house import ROOT
from tests.contracts.store import at_once
from tests.store.conftest import NewUrl, new_id

HEAD = "import sqlalchemy as sa\nfrom alembic import op\n\nrevision = '{0}'\ndown_revision = '{1}'\n\n\n"
RENAMING = """
def upgrade():
    op.add_column("finding", sa.Column("severity", sa.Text(), nullable=False, server_default="low"))


def contract():
    op.drop_column("finding", "urgent")
"""
ADDING = """
def upgrade():
    op.create_table("brand_new", sa.Column("id", sa.Text(), primary_key=True))
"""
LATER = {"0002": RENAMING, "0003": ADDING}
"""What releases to come may migrate."""

Release = Callable[[str], AbstractContextManager[None]]

AS = """
import sys
from pathlib import Path
from rotator.store import schema
schema.REVISIONS = tuple(sys.argv.pop(1).split(","))
folder = Path(sys.argv.pop(1))
schema.migrations = lambda: folder
from rotator.cli import rotator
rotator()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The migrations of this release and of those to come."""
    made = tmp_path / "migrations"
    shutil.copytree(schema.migrations(), made, ignore=shutil.ignore_patterns("__pycache__"))
    for revision, body in LATER.items():
        text = HEAD.format(revision, f"{int(revision) - 1:04}") + body
        (made / "versions" / f"{revision}_later.py").write_text(text, encoding="utf-8")
    return made


def known(last: str) -> tuple[str, ...]:
    return tuple(f"{number:04}" for number in range(1, int(last) + 1))


@pytest.fixture
def release(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    """`with release("0002"):` is a release that needs this revision."""

    @contextmanager
    def made(last: str) -> Iterator[None]:
        only = folder.with_name(f"migrations-{last}")
        shutil.copytree(folder, only, dirs_exist_ok=True)
        for file in (only / "versions").glob("*_later.py"):
            if file.name[:4] > last:
                file.unlink()
        with monkeypatch.context() as patch:
            patch.setattr(schema, "REVISIONS", known(last))
            patch.setattr(schema, "migrations", lambda: only)
            yield

    return made


def opens(url: str) -> None:
    open_store(url, new_id=new_id, environment="prod").close()


def refusal(url: str) -> str:
    with pytest.raises(SetupError) as refused:
        opens(url)
    assert refused.value.remedy
    return refused.value.reason


def columns(url: str, table: str) -> set[str]:
    engine = connect(url)
    try:
        return {column["name"] for column in inspect(engine).get_columns(table)}
    finally:
        engine.dispose()


def test_a_release_works_one_version_ahead_and_not_two(new_url: NewUrl, release: Release) -> None:
    url = new_url()
    schema.upgrade(url, "prod", new_id)
    with release("0002"):
        assert refusal(url) == "schema_outdated"
        assert schema.upgrade(url, "prod", new_id) == ("0002",)
        opens(url)
    opens(url)  # rolled back to this release
    assert schema.upgrade(url, "prod", new_id) == ()
    assert schema.standing(url).ahead
    with release("0003"):
        assert schema.upgrade(url, "prod", new_id) == ("0003",)
    assert refusal(url) == "schema_newer"
    with pytest.raises(SetupError):
        schema.upgrade(url, "prod", new_id)
    with release("0002"):
        opens(url)


def test_an_upgrade_takes_nothing_away_and_contracting_does(new_url: NewUrl, release: Release) -> None:
    url = new_url()
    schema.upgrade(url, "prod", new_id)
    with release("0002"):
        with pytest.raises(SetupError) as refused:
            schema.contract(url)
        assert refused.value.reason == "schema_outdated"
        schema.upgrade(url, "prod", new_id)
        assert columns(url, "finding") >= {"urgent", "severity"}
        assert list(schema.contractions(schema.standing(url))) == ["0002"]
        assert schema.contract(url) == ("0002",)
        assert "urgent" not in columns(url, "finding")
        assert schema.contract(url) == ()
        opens(url)
    assert refusal(url) == "schema_contracted"
    with pytest.raises(SetupError, match="contracted to schema 0002"):
        schema.upgrade(url, "prod", new_id)


def test_contracting_counts_only_what_takes_something_away(new_url: NewUrl, release: Release) -> None:
    url = new_url()
    with release("0003"):
        schema.upgrade(url, "prod", new_id)
        assert schema.contract(url) == ("0002",)
        assert schema.standing(url).contracted == "0002"
    with release("0002"):
        opens(url)


def test_contracting_that_fails_leaves_everything_as_it_was(new_url: NewUrl, release: Release, folder: Path) -> None:
    broken = folder / "versions" / "0002_later.py"
    broken.write_text(broken.read_text(encoding="utf-8") + "    op.drop_column('finding', 'no_such_column')\n")
    url = new_url()
    with release("0002"):
        schema.upgrade(url, "prod", new_id)
        with pytest.raises(Exception, match="no_such_column"):
            schema.contract(url)
        assert "urgent" in columns(url, "finding")
    opens(url)


def test_several_contract_at_once(new_url: NewUrl, release: Release) -> None:
    url = new_url()
    with release("0002"):
        schema.upgrade(url, "prod", new_id)
        outcomes = at_once(4, lambda _, url: schema.contract(url), url)
    assert sorted(outcomes) == [(), (), (), ("0002",)]


def test_replicas_of_two_releases_that_start_at_once(new_url: NewUrl, folder: Path, tmp_path: Path) -> None:
    """As during a roll-out: each runs `rotator db upgrade` before it begins."""
    url = new_url()
    schema.upgrade(url, "prod", new_id)
    (tmp_path / "url").write_text(url)
    (tmp_path / "rotator.yaml").write_text("environment: prod\nstore: {url: 'file:url'}\n")
    (folder / "versions" / "0003_later.py").unlink()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ROTATOR_ACTOR": "test"}
    newer = [sys.executable, "-c", AS, "0001,0002", str(folder), "db", "upgrade"]
    older = [sys.executable, "-m", "rotator", "db", "upgrade"]
    started = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
        for command in (newer, older, newer, older)
    ]
    said = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert sum("applied revision 0002" in text for text in said) == 1
    assert schema.standing(url).applied == "0002"


def test_what_is_pending_and_how_much_is_open_can_be_asked_before(folder: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ROTATOR_ACTOR": "test"}

    def run(*command: str, revisions: str = "0001,0002,0003") -> subprocess.CompletedProcess[str]:
        full = [sys.executable, "-c", AS, revisions, str(folder), *command]
        return subprocess.run(full, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)

    def plain(*command: str) -> subprocess.CompletedProcess[str]:
        full = [sys.executable, "-m", "rotator", *command]
        return subprocess.run(full, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)

    assert plain("init").returncode == 0
    assert plain("rotate", "--linger", "0s").returncode == 0
    assert plain("rotate", "--now", "session-secret").returncode == 0
    asked = run("db", "upgrade", "--check")
    assert asked.returncode == 2
    for words in (
        "schema 0001; this release needs 0003",
        "pending: 0002, 0003",
        "to contract, once no older release runs: 0002",
        "open: 0 rotations, 1 retirement",
    ):
        assert words in asked.stdout
    assert "E-SCHEMA-OUTDATED" in asked.stderr
    assert schema.standing(f"sqlite:///{tmp_path}/rotator.db").applied == "0001"
    (folder / "versions" / "0003_later.py").rename(folder / "0003_later.py")
    done = run("db", "upgrade", revisions="0001,0002")
    assert (done.returncode, done.stderr) == (0, "")
    assert "applied revision 0002" in done.stdout
    assert "once no older release runs, `rotator db upgrade --contract` contracts 0002" in done.stdout
    again = plain("db", "upgrade", "--check")
    assert again.returncode == 0
    assert "the database has the next release's schema, 0002, and this one works on it" in again.stdout
    assert plain("rotate", "--now", "session-secret").returncode == 0  # a roll-back of the program
    contracted = run("db", "upgrade", "--contract", revisions="0001,0002")
    assert "contracted revision 0002; older releases refuse the database from here on" in contracted.stdout
    refused = plain("rotate")
    assert refused.returncode == 2
    assert "E-SCHEMA-CONTRACTED" in refused.stderr
    assert plain("db", "upgrade", "--check", "--contract").returncode == 2
