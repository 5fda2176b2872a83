"""Runs the migrations: in the transaction that `rotator db upgrade` gives, or on `alembic -x url=...`."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from rotator.store.database import Database, connect
from rotator.store.tables import METADATA


def run(connection: Connection) -> None:
    # transactional_ddl: SQLite can take a half-made schema back as well, once it is told where to begin.
    context.configure(connection=connection, target_metadata=METADATA, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


def run_on_given_url() -> None:
    engine = connect(context.get_x_argument(as_dictionary=True)["url"])
    with Database(engine).write() as connection:
        run(connection)
    engine.dispose()


given = context.config.attributes.get("connection")
if given is None:
    run_on_given_url()
else:
    run(given)
