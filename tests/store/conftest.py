"""New databases of both kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url
from sqlalchemy.schema import CreateSchema

from rotator.domain.secret import Secret
from rotator.sealers.local import LocalSealer, new_key
from rotator.store import schema
from rotator.store.database import Clock, connect
from rotator.store.keyring import Keyring
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


@pytest.fixture
def as_application() -> Callable[[str], str]:
    """The URL of a database that is set up, for the role that works with it: what its owner may do is not needed."""

    def granted(url: str) -> str:
        if url.startswith("sqlite"):
            return url
        with psycopg.connect(plain(url)) as connection:
            connection.execute(ROLES)
            connection.execute(_LOGIN)
        return make_url(url).set(username="works", password="works").render_as_string(hide_password=False)

    return granted


def plain(url: str) -> str:
    """The URL as psycopg takes it."""
    return url.replace("postgresql+psycopg:", "postgresql:")


ROLES = (Path(__file__).parents[2] / "deploy" / "postgres" / "roles.sql").read_bytes()
_LOGIN = b"""DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'works') THEN
        CREATE ROLE works LOGIN PASSWORD 'works' IN ROLE keyturn_app;
    END IF;
END $$"""


def _fresh_schema(database: str) -> str:
    # A schema is as good as a database to the store, and a hundred times cheaper to make and to shut down.
    schema = f"s{uuid4().hex}"
    engine = connect(database)
    with engine.begin() as connection:
        connection.execute(CreateSchema(schema))
    engine.dispose()
    options = {"options": f"-csearch_path={schema}"}
    return make_url(database).update_query_dict(options).render_as_string(hide_password=False)


def new_sealer(name: str = "file:rotator.key") -> LocalSealer:
    """A key of its own."""
    return LocalSealer(Secret(new_key()), name)


@pytest.fixture
def keyring() -> Keyring:
    return Keyring([new_sealer()])


@pytest.fixture
def opened(keyring: Keyring) -> Iterator[Stores]:
    """`opened(url, clock=None)` is a store on that database, upgraded first; closed at the end of the test.

    `role` gives the URL to open it by, once it is upgraded; other options are those of `open_store`.
    """

    def open_one(
        url: str, clock: Clock | None = None, role: Callable[[str], str] = lambda url: url, **options: Any
    ) -> SqlStore:
        schema.upgrade(url, "test", new_id, clock)
        given = {"keyring": keyring, "environment": "test", **options}
        store = open_store(role(url), new_id=new_id, clock=clock, **given)
        closing.callback(store.close)
        return store

    with ExitStack() as closing:
        yield open_one
