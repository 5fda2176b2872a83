"""Where a database lives: what tells the one that was set up here from a copy of it, or from an earlier state."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, select, text

from rotator.ports.store import Home, Installation
from rotator.store import tables
from rotator.store.database import Database

_INSTALLATION = select(tables.install)
_IDENTIFIER = "SELECT system_identifier::text FROM pg_control_system()"
_MAY_ASK = "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')"
_NUMBER = "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"
_TIMELINE = text(  # of the log that is written now; a standby writes none
    "SELECT CASE WHEN NOT pg_is_in_recovery() THEN substring(pg_walfile_name(pg_current_wal_lsn()) FROM 1 FOR 8) END"
)
_PLACE = "place"
"""Where a connection keeps what cannot change while it lasts: in `Connection.info`."""


def installation(connection: Connection) -> Installation | None:
    """What the database says about itself; None where it was never set up."""
    row = connection.execute(_INSTALLATION).one_or_none()
    if row is None:
        return None
    known = row.home is not None
    return Installation(
        id=row.id,
        environment=row.environment,
        created_at=row.created_at,
        last_pass_at=row.last_pass_at,
        home=Home(place=row.home, timeline=row.timeline) if known else None,
        anchored=row.anchored,
    )


def home(database: Database) -> Home:
    """Where it lives now."""
    url = database.engine.url
    if url.get_backend_name() == "sqlite":
        # A copy of the file, and a backup that is put in its place, have another number; a file that is moved keeps it.
        try:
            return Home(place=f"inode {Path(str(url.database)).stat().st_ino}")
        except OSError:  # it is gone: the next statement says so
            return Home(place=None)
    with database.ask() as connection:
        if _PLACE not in connection.info:
            may = connection.scalar(text(_MAY_ASK))
            identifier = connection.scalar(text(_IDENTIFIER)) if may else "unknown"
            connection.info[_PLACE] = f"system {identifier}, database {connection.scalar(text(_NUMBER))}"
        timeline = connection.scalar(_TIMELINE)
        return Home(place=connection.info[_PLACE], timeline=None if timeline is None else int(timeline, 16))
