"""As the role of deploy/postgres/roles.sql the trail cannot be changed; that the store works, `test_contract` shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from rotator.ports.store import NewEvent
from rotator.store import schema
from rotator.store.store import open_store
from rotator.store.tables import METADATA
from rotator.testbed.postgres import Postgres
from tests.store.conftest import ROLES, new_id, plain


@dataclass(frozen=True)
class Urls:
    """One database for its owner, who is no superuser, and for the application."""

    owner: str
    app: str

    def in_schema(self, called: str) -> Urls:
        def within(url: str) -> str:
            changed = make_url(url).update_query_dict({"options": f"-csearch_path={called}"})
            return changed.render_as_string(hide_password=False)

        return Urls(owner=within(self.owner), app=within(self.app))

    def prepare(self) -> None:
        schema.upgrade(self.owner, "test", new_id)
        with psycopg.connect(plain(self.owner)) as connection:
            connection.execute(ROLES)


@pytest.fixture(scope="session")
def urls(postgres: Postgres) -> Urls:
    """A database whose owner is an ordinary role; `app` is a login with the application's role."""
    url = make_url(postgres.fresh_url("roles"))
    database = url.database
    with psycopg.connect(plain(postgres.url()), autocommit=True) as connection:
        connection.execute("CREATE ROLE trail_owner LOGIN CREATEROLE PASSWORD 'owner'")
        connection.execute(f'ALTER DATABASE "{database}" OWNER TO trail_owner')
    urls = Urls(
        owner=url.set(username="trail_owner", password="owner").render_as_string(hide_password=False),
        app=url.set(username="trail_app", password="app").render_as_string(hide_password=False),
    )
    with psycopg.connect(plain(urls.owner)) as connection:
        connection.execute("CREATE SCHEMA first AUTHORIZATION trail_owner")
    urls.in_schema("first").prepare()
    with psycopg.connect(plain(postgres.url())) as connection:  # another test of this server may have made the role
        connection.execute("CREATE ROLE trail_app LOGIN PASSWORD 'app' IN ROLE keyturn_app")
    return urls.in_schema("first")


@pytest.fixture
def fresh(urls: Urls) -> Callable[[], Urls]:
    """A new schema each time, set up by the owner."""

    def make() -> Urls:
        called = f"s{uuid4().hex}"
        with psycopg.connect(plain(urls.owner)) as connection:
            connection.execute(f"CREATE SCHEMA {called}")
        made = urls.in_schema(called)
        made.prepare()
        return made

    return make


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET body = '{}'",
        "UPDATE event SET credential = NULL WHERE seq = 1",
        "DELETE FROM event WHERE seq = 1",
        "TRUNCATE event",
        "DELETE FROM head",
        "TRUNCATE head",
        "INSERT INTO head VALUES (2, 0, '', '[]')",
        "UPDATE head SET seq = seq - 1",
        "UPDATE head SET hash = 'x'",
        "ALTER TABLE event DISABLE TRIGGER event_append_only",
        "ALTER TABLE event DISABLE TRIGGER ALL",
        "DROP TRIGGER event_append_only ON event",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        "CREATE RULE forget AS ON INSERT TO event DO INSTEAD NOTHING",
        "DROP TABLE event",
        "CREATE TABLE mine (one integer)",
        "SET session_replication_role = replica",
        "SET ROLE trail_owner",
        "DELETE FROM version",
        "DELETE FROM install",
    ],
)
def test_the_application_cannot_change_the_trail(urls: Urls, statement: str) -> None:
    store = open_store(urls.app, new_id=new_id)
    store.note([NewEvent(event="push.succeeded", actor="test") for _ in range(3)])
    before = list(store.events()), store.head()
    refused = (psycopg.errors.InsufficientPrivilege, psycopg.errors.RaiseException)
    with psycopg.connect(plain(urls.app)) as connection, pytest.raises(refused):
        connection.execute(statement)
    assert (list(store.events()), store.head()) == before
    store.close()


def test_its_owner_is_refused_as_well_who_has_to_switch_that_off_first(fresh: Callable[[], Urls]) -> None:
    for statement in ("UPDATE event SET body = '{}'", "DELETE FROM event", "TRUNCATE event", "DELETE FROM head"):
        with psycopg.connect(plain(fresh().owner)) as connection, pytest.raises(psycopg.errors.RaiseException):
            connection.execute(statement)


def test_every_table_is_decided_about() -> None:
    granted = re.findall(r"GRANT [A-Z, ]+\s+ON ([a-z_, ]+) TO keyturn_app", ROLES.decode())
    named = {table.strip() for tables in granted for table in tables.split(",")}
    assert named == {*METADATA.tables, "alembic_version"}


def test_the_script_may_be_repeated_and_takes_back_what_was_given_by_hand(fresh: Callable[[], Urls]) -> None:
    urls = fresh()
    with psycopg.connect(plain(urls.owner)) as connection:
        connection.execute("GRANT ALL ON event TO keyturn_app")
        connection.execute(ROLES)
    query = "SELECT privilege_type FROM information_schema.role_table_grants WHERE table_name = 'event' "
    query += "AND grantee = 'keyturn_app' AND table_schema = current_schema() ORDER BY 1"
    with psycopg.connect(plain(urls.owner)) as connection:
        assert [row[0] for row in connection.execute(query)] == ["INSERT", "SELECT"]
