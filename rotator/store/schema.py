"""The schema's revision: what the database has, what this release needs, and the way from one to the other."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, column, func, insert, inspect, select, table

from rotator.domain.errors import SetupError
from rotator.domain.events import Outcome, Subject, name
from rotator.ports.store import NewEvent
from rotator.store import audit, tables
from rotator.store.database import Clock, Database, connect, opening, parse

REVISIONS = ("0001",)
"""All revisions, oldest first; the last is the one this release needs. Here, so that opening needs no alembic."""

_UPGRADE_LOCK = 0x6B657974  # any number that nobody else takes in this database: "keyt"


def current(url: str) -> str | None:
    """The revision of an existing database, None where nothing was set up. Raises as `connect`, StoreUnavailable."""
    database = Database(connect(url))
    try:
        with opening():
            return _revision(database)
    finally:
        database.engine.dispose()


def pending(url: str) -> tuple[str, ...]:
    """The revisions that `upgrade` would apply. Raises SetupError `schema_newer`, and as `current`."""
    return _missing(current(url), parse(url).database or "")


def check(database: Database) -> None:
    """Raise SetupError unless the database has exactly the revision of this release."""
    missing = _missing(_revision(database), database.where)
    if missing:
        message = f"the database {database.where} lacks the schema's revision {', '.join(missing)}"
        raise SetupError(message, reason="schema_outdated", remedy="run `rotator db upgrade`")


def check_environment(recorded: str, configured: str | None, where: str) -> None:
    """Raise SetupError where the configuration is of another environment; None is not checked."""
    if configured is not None and configured != recorded:
        message = f"the database {where} is of the environment {recorded!r}, the configuration of {configured!r}"
        remedy = "correct `environment` or `store.url` in the configuration"
        raise SetupError(message, reason="other_environment", remedy=remedy)


def upgrade(
    url: str, environment: str, new_id: Callable[[], str], clock: Clock | None = None, *, actor: str = "setup"
) -> tuple[str, ...]:
    """Bring the database to this release's schema and return the revisions applied. May be repeated, also at once.

    Makes the SQLite file, readable by its owner only, where there is none: nothing else does. Everything happens in
    one transaction. Raises SetupError (`schema_newer`, `other_environment`, as `connect`), StoreUnavailable.
    """
    _make_file(url)
    database = Database(connect(url), clock)
    try:
        with opening(), database.write() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
            missing = _missing(_applied(connection), database.where)
            if missing:
                _migrate(connection)
            _set_up(database, connection, environment, new_id, actor)
        return missing
    finally:
        database.engine.dispose()


def migrations() -> Path:
    """The folder of the migrations: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def _revision(database: Database) -> str | None:
    with database.read() as connection:
        return _applied(connection)


def _applied(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    applied: str | None = connection.scalar(select(column("version_num")).select_from(table("alembic_version")))
    return applied


def _missing(revision: str | None, where: str) -> tuple[str, ...]:
    if revision is None:
        return REVISIONS
    if revision not in REVISIONS:
        message = f"the database {where} is of a newer version (schema {revision}, known here: {REVISIONS[-1]})"
        raise SetupError(message, reason="schema_newer", remedy="run the newer release on it")
    return REVISIONS[REVISIONS.index(revision) + 1 :]


def _make_file(url: str) -> None:
    parsed = parse(url)
    if parsed.get_backend_name() != "sqlite":
        return
    path = Path(str(parsed.database))
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass  # made before, or by somebody else at this moment
    except OSError as problem:
        message = f"the database {path} cannot be made: {problem.strerror}"
        raise SetupError(message, reason="no_database", remedy="make its folder, writable for this user") from None


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _set_up(
    database: Database, connection: Connection, environment: str, new_id: Callable[[], str], actor: str
) -> None:
    """The rows that every database has. An installation keeps its id for ever: sealed values are bound to it."""
    recorded = connection.scalar(select(tables.install.c.environment))
    if recorded is not None:
        check_environment(recorded, environment, database.where)
        return
    now = database.now(connection)
    identity = new_id()
    install = {"one": 1, "id": identity, "environment": environment, "created_at": now, "anchored": False}
    connection.execute(insert(tables.install).values(install))
    connection.execute(insert(tables.head).values(one=1, seq=0, hash=audit.FIRST_PREVIOUS_HASH))
    detail = {"environment": environment, "install": identity}
    event = NewEvent(event=name(Subject.INIT, Outcome.SUCCEEDED), actor=actor, detail=detail)
    audit.append(connection, now, [event])
