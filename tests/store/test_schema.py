"""Where databases come from, and how a wrong one is told."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, Inspector, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from rotator.domain.errors import SetupError, StoreUnavailable
from rotator.domain.model import (
    Credential,
    Delivery,
    Finding,
    Lease,
    Placement,
    Retirement,
    Rotation,
    Version,
)
from rotator.ports.store import NewEvent
from rotator.store import schema, tables
from rotator.store.audit import export
from rotator.store.database import connect
from rotator.store.store import open_store
from rotator.testbed.postgres import Postgres
from rotator.verifier.trail import verify_store
from tests.contracts.store import at_once
from tests.store.conftest import NewUrl, Stores, new_id

Engines = Callable[[str], Engine]


@pytest.fixture
def engine_of() -> Iterator[Engines]:
    engines: list[Engine] = []

    def open_one(url: str) -> Engine:
        engines.append(connect(url))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.dispose()


@pytest.fixture
def url(new_url: NewUrl) -> str:
    """An upgraded database."""
    url = new_url()
    schema.upgrade(url, "prod", new_id)
    return url


def refusal(url: str, environment: str | None = None) -> SetupError:
    with pytest.raises(SetupError) as refused:
        open_store(url, new_id=new_id, environment=environment)
    assert refused.value.remedy
    return refused.value


# Migrations and tables agree


def test_the_migrations_make_the_tables_of_this_release(url: str, engine_of: Engines) -> None:
    with engine_of(url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.METADATA) == []


def test_the_migrations_make_every_rule_of_the_tables(url: str, new_url: NewUrl, engine_of: Engines) -> None:
    unmigrated = new_url()
    if unmigrated.startswith("sqlite"):
        Path(str(make_url(unmigrated).database)).touch()
    tables.METADATA.create_all(engine_of(unmigrated))
    wanted = described(inspect(engine_of(unmigrated)))
    migrated = described(inspect(engine_of(url)))
    assert migrated.pop("alembic_version")
    assert migrated == wanted
    rules = str(wanted)
    assert all(name in rules for name in ("one_open_rotation", "one_standing_finding", "ck_version_state"))


def described(inspector: Inspector) -> dict[str, Any]:
    """All that a database knows of its tables, in an order of its own."""

    def in_order(found: list[Any]) -> list[str]:
        return sorted(str({key: plain(value) for key, value in row.items()}) for row in found)

    def plain(value: Any) -> Any:
        return {key: str(item) for key, item in value.items()} if isinstance(value, dict) else str(value)

    return {
        table: {
            "columns": in_order(inspector.get_columns(table)),
            "key": inspector.get_pk_constraint(table),
            "indexes": in_order(inspector.get_indexes(table)),
            "unique": in_order(inspector.get_unique_constraints(table)),
            "checks": in_order(inspector.get_check_constraints(table)),
            "references": in_order(inspector.get_foreign_keys(table)),
        }
        for table in inspector.get_table_names()
    }


def test_the_recorded_plans_are_of_this_schema() -> None:
    """Until a revision is released it changes in place: then `make record-plans` writes what is recorded anew."""
    folder = Path(__file__).parents[1] / "plans" / "recorded" / schema.REVISIONS[-1]
    files = list(folder.glob("*.json"))
    assert files
    for file in files:
        run = json.loads(file.read_text(encoding="utf-8"))
        rows = {"event": run["events"][:1]}
        for snapshot in run["snapshots"].values():
            rows |= {name: found[:1] for name, found in snapshot["rows"].items()}
        for name, (row,) in rows.items():
            assert set(row) == set(tables.METADATA.tables[name].c.keys()), f"{name}: run `make record-plans`"


def test_this_release_knows_all_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.migrations()))
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    assert tuple(script.revision for script in scripts)[::-1] == schema.REVISIONS


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        (Credential, tables.credential),
        (Version, tables.version),
        (Rotation, tables.rotation),
        (Retirement, tables.retirement),
        (Delivery, tables.delivery),
        (Placement, tables.placement),
        (Lease, tables.lease),
        (Finding, tables.finding),
    ],
)
def test_a_column_is_called_as_its_field(kind: Any, table: Any) -> None:
    beside = {"idle_until", "edition"} if kind is Lease else set()  # told at its end, by nobody who holds it
    assert {field.name for field in fields(kind)} | beside == set(table.c.keys())


# SQLite gives the indexes of UNIQUE rules names of its own.
UNNAMED = {"uq_version_credential_id_number": [f"sqlite_autoindex_version_{number}" for number in (1, 2, 3)]}


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (f"SELECT * FROM rotation WHERE credential_id = ? AND {tables.ROTATION_IS_OPEN}", "one_open_rotation"),
        (f"SELECT * FROM retirement WHERE credential_id = ? AND {tables.RETIREMENT_IS_OPEN}", "open_retirements"),
        ("SELECT * FROM version WHERE credential_id = ?", "uq_version_credential_id_number"),
        ("SELECT * FROM delivery WHERE rotation_id = ? ORDER BY position", "deliveries_of_rotation"),
        ("SELECT max(closed_at) FROM rotation WHERE credential_id = ?", "closed_rotations"),
        ("SELECT * FROM event WHERE credential = ? AND seq > 5 ORDER BY seq", "events_of_credential"),
    ],
)
def test_what_is_asked_all_the_time_has_an_index(tmp_path: Path, engine_of: Engines, query: str, index: str) -> None:
    url = f"sqlite:///{tmp_path}/plan.db"
    schema.upgrade(url, "prod", new_id)
    with engine_of(url).connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", ("x",)).all()
    assert any(f"INDEX {name}" in row.detail for row in plan for name in (index, *UNNAMED.get(index, ())))


# Making and upgrading


def test_a_new_database_says_who_it_is_and_begins_its_trail(new_url: NewUrl, opened: Stores) -> None:
    store = opened(new_url())
    assert store.installation().environment == "test"
    (line,) = export(store)
    assert '"event":"init.succeeded"' in line
    assert verify_store(store).count == 1


def test_upgrading_again_does_nothing(url: str) -> None:
    with_one_event = open_store(url, new_id=new_id)
    before = with_one_event.installation()
    assert schema.upgrade(url, "prod", new_id) == ()
    assert with_one_event.installation() == before
    assert with_one_event.head()[0] == 1
    with_one_event.close()


def test_what_is_pending_is_told_and_applied(new_url: NewUrl) -> None:
    url = new_url()
    if url.startswith("sqlite"):
        Path(str(make_url(url).database)).touch()
    assert schema.standing(url).applied is None
    assert schema.standing(url).missing == schema.REVISIONS
    assert schema.upgrade(url, "prod", new_id) == schema.REVISIONS
    assert schema.standing(url).applied == schema.REVISIONS[-1]
    assert schema.standing(url).missing == ()


def test_several_that_upgrade_at_once_make_one_installation(new_url: NewUrl) -> None:
    for _ in range(3):
        url = new_url()
        outcomes = at_once(6, lambda _, url: schema.upgrade(url, "prod", new_id), url)
        assert sorted(outcomes) == [()] * 5 + [schema.REVISIONS], outcomes
        store = open_store(url, new_id=new_id, environment="prod")
        assert store.head()[0] == 1
        store.close()


def test_several_processes_that_upgrade_at_once_make_one_installation(new_url: NewUrl) -> None:
    url = new_url()
    script = (
        "import sys, uuid; from rotator.store import schema; "
        "schema.upgrade(sys.argv[1], 'p', lambda: str(uuid.uuid4()))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    started = [subprocess.Popen([sys.executable, "-c", script, url], env=environment) for _ in range(4)]
    assert [process.wait(60) for process in started] == [0] * 4
    store = open_store(url, new_id=new_id, environment="p")
    assert store.head()[0] == 1
    store.close()


def test_the_file_is_readable_by_its_owner_only(tmp_path: Path, opened: Stores) -> None:
    path = tmp_path / "rotator.db"
    before = os.umask(0)
    try:
        store = opened(f"sqlite:///{path}")
        store.note([NewEvent(event="init.started", actor="test")])
        files = sorted(tmp_path.iterdir())
        assert [file.name for file in files] == ["rotator.db", "rotator.db-shm", "rotator.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    finally:
        os.umask(before)


def test_the_file_is_kept_safe_against_a_loss_of_power(tmp_path: Path, opened: Stores) -> None:
    with opened(f"sqlite:///{tmp_path}/rotator.db").database.engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}


def test_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be made: No such file or directory") as refused:
        schema.upgrade(f"sqlite:///{tmp_path}/none/rotator.db", "prod", new_id)
    assert refused.value.reason == "no_database"


def test_an_upgrade_that_fails_leaves_nothing_half_made(
    new_url: NewUrl, monkeypatch: pytest.MonkeyPatch, engine_of: Engines
) -> None:
    def fail(*_: Any) -> None:
        message = "the machine stops here"
        raise RuntimeError(message)

    url = new_url()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "_set_up", fail)
        with pytest.raises(RuntimeError):
            schema.upgrade(url, "prod", new_id)
    assert inspect(engine_of(url)).get_table_names() == []
    assert schema.upgrade(url, "prod", new_id) == schema.REVISIONS


# Opening


def test_a_missing_file_is_told_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "rotator.db"
    problem = refusal(f"sqlite:///{path}")
    assert problem.reason == "no_database"
    assert str(path) in problem.message
    assert "rotator init" in str(problem.remedy)
    with pytest.raises(SetupError):
        schema.standing(f"sqlite:///{path}")
    assert not path.exists()


def test_a_file_that_vanishes_while_we_run_is_not_made_anew(tmp_path: Path, opened: Stores) -> None:
    path = tmp_path / "rotator.db"
    store = opened(f"sqlite:///{path}")
    store.close()
    path.unlink()
    with pytest.raises(StoreUnavailable, match="unable to open"):
        store.installation()
    assert not path.exists()


def test_an_empty_file_is_an_old_schema(tmp_path: Path) -> None:
    path = tmp_path / "rotator.db"
    path.touch()
    problem = refusal(f"sqlite:///{path}")
    assert problem.reason == "schema_outdated"
    assert "rotator db upgrade" in str(problem.remedy)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rotator.db"
    path.write_text("environment: prod\n" * 100)
    assert refusal(f"sqlite:///{path}").reason == "database_damaged"
    with pytest.raises(SetupError):
        schema.upgrade(f"sqlite:///{path}", "prod", new_id)
    assert path.read_text() == "environment: prod\n" * 100


def test_a_database_of_a_newer_release_is_left_alone(url: str, engine_of: Engines) -> None:
    with engine_of(url).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    problem = refusal(url)
    assert problem.reason == "schema_newer"
    assert "newer version" in problem.message
    with pytest.raises(SetupError, match="newer version"):
        schema.upgrade(url, "prod", new_id)


def test_another_environment_is_refused(url: str) -> None:
    problem = refusal(url, environment="staging")
    assert problem.reason == "other_environment"
    assert "'prod'" in problem.message
    assert "'staging'" in problem.message
    with pytest.raises(SetupError, match="environment"):
        schema.upgrade(url, "staging", new_id)
    open_store(url, new_id=new_id, environment="prod").close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "rotator.db",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://me:pass-word@host/rotator",
        "postgresql://me:pass-word@host",
        "postgresql://me:pass-word@host:port/rotator",
        "postgresql://me:p@pass-word@host/rotator",
    ],
)
def test_a_url_that_names_no_database_is_told_without_its_password(url: str) -> None:
    problem = refusal(url)
    assert problem.reason == "bad_store_url"
    assert "pass-word" not in f"{problem} {problem.remedy}"


# PostgreSQL


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(StoreUnavailable) as refused:
        open_store("postgresql://me:pass-word@127.0.0.1:1/rotator", new_id=new_id)
    assert refused.value.message == "the database rotator at 127.0.0.1:1 does not answer: the connection is refused"
    assert refused.value.__suppress_context__


def test_a_database_that_is_not_there_is_told(postgres: Postgres) -> None:
    url = postgres.url("no_such_database")
    problem = refusal(url)
    assert problem.reason == "no_database"
    assert "no_such_database at 127.0.0.1" in problem.message
    with pytest.raises(SetupError, match="no such database"):
        schema.upgrade(url, "prod", new_id)


def test_a_wrong_password_is_told_and_not_shown(postgres: Postgres) -> None:
    url = make_url(postgres.url()).set(password="pass-word").render_as_string(hide_password=False)
    problem = refusal(url)
    assert problem.reason == "database_refused"
    assert "pass-word" not in f"{problem} {problem.remedy}"


# The trail


@pytest.mark.parametrize("change", ["UPDATE event SET hash = 'x'", "DELETE FROM event"])
def test_events_are_only_added(url: str, engine_of: Engines, change: str) -> None:
    with engine_of(url).connect() as connection, pytest.raises(DBAPIError, match="events are only added"):
        connection.execute(text(change))


def test_events_are_not_emptied_out(postgres: Postgres, engine_of: Engines) -> None:
    url = postgres.fresh_url("trail")
    schema.upgrade(url, "prod", new_id)
    with engine_of(url).connect() as connection, pytest.raises(DBAPIError, match="events are only added"):
        connection.execute(text("TRUNCATE event"))


def test_the_developers_alembic_runs_the_same_migrations(tmp_path: Path, engine_of: Engines) -> None:
    path = tmp_path / "scratch.db"
    path.touch()
    root = schema.migrations().parent
    command = [sys.executable, "-m", "alembic", "-x", f"url=sqlite:///{path}", "upgrade", "head"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)
    assert set(tables.METADATA.tables) < set(inspect(engine_of(f"sqlite:///{path}")).get_table_names())
