"""The schema's revision: what the database has, what this release needs, and the way from one to the other.

A migration has two halves: `upgrade` only adds, so that the release before works on; `contract`, where there is one,
takes away what only older releases need. So a release runs on its own schema, and on the next until that is contracted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, column, func, insert, inspect, select, table, text, update

from rotator.domain.errors import SetupError
from rotator.domain.events import Outcome, Subject, name
from rotator.ports.store import NewEvent
from rotator.store import audit, tables
from rotator.store.database import Clock, Database, connect, opening, parse

REVISIONS = ("0001",)
"""All revisions by their numbers; the last is the one this release needs. Here, so that opening needs no alembic."""

_UPGRADE_LOCK = 0x6B657974  # any number that nobody else takes in this database: "keyt"
_PATIENCE = "10min"  # for the others that upgrade at this moment


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a database has: the revision that was applied last, and the last one that was contracted; None: nothing."""

    where: str
    applied: str | None
    contracted: str | None

    @property
    def missing(self) -> tuple[str, ...]:
        """What this release still has to apply. Raises SetupError `schema_newer`, `schema_contracted`."""
        known, known_here = len(REVISIONS), f"known here: {REVISIONS[-1]}"
        if self.applied is not None and _number(self.applied) > known + 1:
            message = f"the database {self.where} is of a newer version (schema {self.applied}, {known_here})"
            raise SetupError(message, reason="schema_newer", remedy="run the newer release on it")
        if self.contracted is not None and _number(self.contracted) > known:
            message = f"the database {self.where} was contracted to schema {self.contracted} ({known_here})"
            remedy = "run the newer release on it: what this one needs was taken away"
            raise SetupError(message, reason="schema_contracted", remedy=remedy)
        return REVISIONS[_number(self.applied) if self.applied is not None else 0 :]

    @property
    def ahead(self) -> bool:
        """Whether the next release has been here already: this one runs on its schema."""
        return self.applied is not None and _number(self.applied) > len(REVISIONS)


def _number(revision: str) -> int:
    """One that nobody numbered is newer than everything."""
    return int(revision) if revision.isdecimal() else sys.maxsize


def standing(url: str) -> Standing:
    """What an existing database has. Raises as `connect`, StoreUnavailable."""
    database = Database(connect(url))
    try:
        with opening(), database.read() as connection:
            return _standing(connection, database.where)
    finally:
        database.engine.dispose()


def check(database: Database) -> None:
    """Raise SetupError unless this release can work on the database: it has its schema, or the next release's."""
    with database.read() as connection:
        missing = _standing(connection, database.where).missing
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

    Only adds: the release before works on. Makes the SQLite file, readable by its owner only, where there is none:
    nothing else does. Everything happens in one transaction.
    Raises SetupError (as `Standing.missing`, `other_environment`, as `connect`), StoreUnavailable.
    """
    _make_file(url)
    with _alone(url, clock) as (database, connection):
        missing = _standing(connection, database.where).missing
        if missing:
            _migrate(connection)
        _set_up(database, connection, environment, new_id, actor)
    return missing


def contract(url: str) -> tuple[str, ...]:
    """Take away what only older releases need, and return the revisions contracted. May be repeated, also at once.

    From here on, releases before the last of them refuse the database: none may be running. Raises as `upgrade`, and
    SetupError `schema_outdated`.
    """
    with _alone(url) as (database, connection):
        found = _standing(connection, database.where)
        if found.missing:
            message = f"the database {database.where} lacks the schema's revision {', '.join(found.missing)}"
            raise SetupError(message, reason="schema_outdated", remedy="run `rotator db upgrade` first")
        steps = contractions(found)
        with _operations(connection):
            for take_away in steps.values():
                take_away()
        if steps:
            connection.execute(update(tables.install).values(contracted=max(steps)))
    return tuple(steps)


def contractions(found: Standing) -> Mapping[str, Callable[[], None]]:
    """What this release could take away, by revision: what is there, or comes with what is missing."""
    from alembic.script import ScriptDirectory

    done = _number(found.contracted) if found.contracted is not None else 0
    scripts = [ScriptDirectory(str(migrations())).get_revision(revision) for revision in REVISIONS[done:]]
    return {s.revision: s.module.contract for s in scripts if hasattr(s.module, "contract")}


def open_work(url: str) -> tuple[int, int]:
    """How many rotations and retirements are open, on whatever schema. Raises as `standing`."""
    database = Database(connect(url))
    try:
        with opening(), database.read() as connection:
            if _standing(connection, database.where).applied is None:
                return 0, 0
            return (
                _count(connection, "rotation", tables.ROTATION_IS_OPEN),
                _count(connection, "retirement", tables.RETIREMENT_IS_OPEN),
            )
    finally:
        database.engine.dispose()


def _count(connection: Connection, name: str, condition: str) -> int:
    return connection.scalar(select(func.count()).select_from(table(name)).where(text(condition))) or 0


@contextmanager
def _alone(url: str, clock: Clock | None = None) -> Iterator[tuple[Database, Connection]]:
    """One transaction beside which nobody else changes the schema."""
    database = Database(connect(url), clock)
    try:
        with opening(), database.write() as connection:
            if connection.dialect.name == "postgresql":
                # The others' turn may take long, and so may our own statements; but whoever works at this moment is
                # not made to wait behind us for a table's lock.
                connection.execute(text(f"SET LOCAL lock_timeout = '{_PATIENCE}'"))
                connection.execute(text("SET LOCAL statement_timeout = 0"))
                connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
                connection.execute(text("SET LOCAL lock_timeout = '10s'"))
            yield database, connection
    finally:
        database.engine.dispose()


def migrations() -> Path:
    """The folder of the migrations: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def _standing(connection: Connection, where: str) -> Standing:
    if not inspect(connection).has_table("alembic_version"):
        return Standing(where=where, applied=None, contracted=None)
    applied: str | None = connection.scalar(select(column("version_num")).select_from(table("alembic_version")))
    contracted: str | None = connection.scalar(select(tables.install.c.contracted))
    return Standing(where=where, applied=applied, contracted=contracted)


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


@contextmanager
def _operations(connection: Connection) -> Iterator[None]:
    """What `op` does in a migration, it does here."""
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    with Operations.context(MigrationContext.configure(connection)):
        yield


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
    install["contracted"] = REVISIONS[0]  # it has nothing to take away
    connection.execute(insert(tables.install).values(install))
    connection.execute(insert(tables.head).values(one=1, seq=0, hash=audit.FIRST_PREVIOUS_HASH, tree=()))
    detail = {"environment": environment, "install": identity}
    event = NewEvent(event=name(Subject.INIT, Outcome.SUCCEEDED), actor=actor, detail=detail)
    audit.append(connection, now, [event])
