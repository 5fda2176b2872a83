"""New databases of both kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import make_url
from sqlalchemy.schema import CreateSchema

from rotator.domain.secret import Secret
from rotator.store import schema
from rotator.store.database import Clock, connect
from rotator.store.sealing import AesGcmSealer, new_key
from rotator.store.store import SqlStore, open_store
from rotator.testbed.postgres import Postgres

NewUrl = Callable[[], str]
Stores = Callable[..., SqlStore]


def new_id() -> str:
    return str(uuid4())


@pytest.fixture(params=["sqlite", "postgres"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> NewUrl:
    """`new_url()` is the URL of a database that does not exist yet (SQLite) or is empty (PostgreSQL)."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path}/{uuid4()}.db"
    database: str = request.getfixturevalue("postgres_database")
    return lambda: _fresh_schema(database)


@pytest.fixture(scope="session")
def postgres_database(postgres: Postgres) -> str:
    """One database for many tests."""
    return postgres.fresh_url("store")


def _fresh_schema(database: str) -> str:
    # A schema is as good as a database to the store, and a hundred times cheaper to make and to shut down.
    schema = f"s{uuid4().hex}"
    engine = connect(database)
    with engine.begin() as connection:
        connection.execute(CreateSchema(schema))
    engine.dispose()
    options = {"options": f"-csearch_path={schema}"}
    return make_url(database).update_query_dict(options).render_as_string(hide_password=False)


@pytest.fixture
def sealer() -> AesGcmSealer:
    return AesGcmSealer(Secret(new_key()))


@pytest.fixture
def opened(sealer: AesGcmSealer) -> Iterator[Stores]:
    """`opened(url, clock=None)` is a store on that database, upgraded first; closed at the end of the test."""

    def open_one(url: str, clock: Clock | None = None) -> SqlStore:
        schema.upgrade(url, "test", new_id, clock)
        store = open_store(url, new_id=new_id, clock=clock, sealer=sealer, environment="test")
        closing.callback(store.close)
        return store

    with ExitStack() as closing:
        yield open_one
