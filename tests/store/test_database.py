"""Locks, clocks and outages: what a real database adds to the contract."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.engine import make_url

from rotator.domain.errors import StoreUnavailable
from rotator.domain.model import Lease
from rotator.domain.secret import Material
from rotator.ports.store import Insert, Place, Seal, Store
from rotator.store import leases, tables
from rotator.store.columns import moment_text
from rotator.store.database import connect
from rotator.store.store import SqlStore
from rotator.testbed.postgres import Postgres
from rotator.verifier.trail import verify_store
from tests.contracts.store import (
    HOUR,
    MINUTE,
    START,
    VirtualClock,
    Work,
    at_once,
    happened,
    holder_elsewhere,
)
from tests.store.conftest import NewUrl, Stores, plain


def test_a_take_over_waits_for_a_record_that_has_begun(new_url: NewUrl, opened: Stores) -> None:
    clock = VirtualClock()
    store = opened(new_url(), clock)
    work = Work(store)
    with ThreadPoolExecutor(1) as pool:
        with store.database.write() as connection:
            leases.hold(store.database, connection, work.lease)
            clock.advance(HOUR)
            taking = pool.submit(store.claim, work.id, holder_elsewhere(), MINUTE)
            time.sleep(0.2)
            assert not taking.done()
        taken = taking.result(10)
    assert isinstance(taken, Lease)
    assert taken.epoch == 2


def test_a_record_that_waited_until_its_lease_ended_writes_nothing(new_url: NewUrl, opened: Stores) -> None:
    store = opened(new_url())
    work = Work(store)
    with ThreadPoolExecutor(1) as pool:
        with store.database.write() as connection:
            leases.lock(store.database, connection, work.id)
            connection.execute(update(tables.lease).values(until=store.now() + timedelta(seconds=1)))
        with store.database.write() as connection:
            leases.lock(store.database, connection, work.id)
            late = pool.submit(store.record, work.lease, [Insert(work.rotation())], [])
            time.sleep(1.2)
            assert not late.done()
        assert "expired" in str(late.exception(10))
    assert work.load().rotation is None


def test_what_is_loaded_is_of_one_moment(new_url: NewUrl, opened: Stores) -> None:
    store = opened(new_url(), VirtualClock())
    work = Work(store)
    with store.database.read() as connection:
        before = connection.scalar(select(tables.head.c.seq))
        work.record(Place(work.placement()), events=[happened()])
        assert connection.scalar(select(tables.head.c.seq)) == before
        assert connection.execute(select(tables.placement)).all() == []


def test_several_processes_append_to_one_chain(new_url: NewUrl, opened: Stores) -> None:
    url = new_url()
    stores = [opened(url) for _ in range(4)]

    def write(number: int) -> None:
        for _ in range(25):
            stores[number].note([happened(), happened()])

    assert at_once(4, write) == [None] * 4
    verification = verify_store(stores[0])
    assert (verification.count, verification.problem) == (1 + 4 * 25 * 2, None)


def test_a_sealed_row_needs_its_version(new_url: NewUrl, opened: Stores) -> None:
    store = opened(new_url())
    work = Work(store)
    with pytest.raises(Exception, match=r"(?i)foreign key") as refused:
        work.record(Seal(work.version().id, Material.of(secret="sk-cAnArY0123456789")))
    assert "cAnArY" not in str(refused.value)


# Clocks


def test_sqlite_takes_the_time_of_the_host(tmp_path: Path, opened: Stores) -> None:
    store = opened(f"sqlite:///{tmp_path}/rotator.db")
    assert abs(store.now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_postgresql_takes_its_own_time_also_inside_a_transaction(postgres: Postgres, opened: Stores) -> None:
    store = opened(postgres.fresh_url("clock"))
    with store.database.write() as connection:
        first, second = store.database.now(connection), store.database.now(connection)
    assert first < second
    assert second.tzinfo is UTC


def test_a_lease_ends_by_the_time_of_the_database(new_url: NewUrl, opened: Stores) -> None:
    store = opened(new_url())
    (web,) = store.enroll({"web": "openai"}, "me")
    lease = store.claim(web.id, holder_elsewhere("a"), timedelta(milliseconds=50))
    assert isinstance(lease, Lease)
    deadline = time.monotonic() + 10
    while not isinstance(taken := store.claim(web.id, holder_elsewhere("b"), MINUTE), Lease):
        assert time.monotonic() < deadline
    assert taken.fenced_at is not None
    assert taken.fenced_at >= lease.until


def test_times_are_stored_so_that_their_texts_are_in_order(tmp_path: Path, opened: Stores) -> None:
    store = opened(f"sqlite:///{tmp_path}/rotator.db")
    work = Work(store)
    elsewhere = START.astimezone(datetime.fromisoformat("2026-11-23T09:00:00+05:30").tzinfo)
    whole = START.replace(microsecond=0)
    work.insert(work.version(sent_at=elsewhere), work.version(sent_at=whole))
    with store.database.read() as connection:
        texts = connection.exec_driver_sql("SELECT sent_at FROM version ORDER BY sent_at").scalars().all()
    assert texts == ["2026-11-23T09:00:00.000000Z", "2026-11-23T09:00:00.123456Z"]
    with pytest.raises(ValueError, match="no time zone"):
        moment_text(START.replace(tzinfo=None))


def test_a_time_without_a_zone_is_a_mistake(new_url: NewUrl, opened: Stores) -> None:
    work = Work(opened(new_url()))
    with pytest.raises(Exception, match="no time zone"):
        work.insert(work.version(sent_at=START.replace(tzinfo=None)))


# Outages


def test_the_first_connections_to_a_new_file_wait_for_each_other(tmp_path: Path) -> None:
    """While one switches to the write-ahead log, SQLite tells another that it is busy, and does not wait."""
    path = tmp_path / "new.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    engine = connect(f"sqlite:///{path}")
    with ThreadPoolExecutor(1) as pool:
        connecting = pool.submit(lambda: engine.connect().close())
        time.sleep(0.2)
        assert not connecting.done()
        other.execute("COMMIT")
        connecting.result(10)
    other.close()
    engine.dispose()


def test_a_locked_file_is_an_outage(tmp_path: Path, opened: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rotator.store.database._LOCK_SECONDS", 0.1)
    path = tmp_path / "rotator.db"
    store = opened(f"sqlite:///{path}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match=r"rotator\.db does not answer: database is locked"):
        store.note([happened()])
    other.close()
    store.note([happened()])


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server of our own, to stop and start."""
    with Postgres() as server:
        yield server


def test_a_server_that_stops_and_comes_back_is_an_outage_in_between(server: Postgres, opened: Stores) -> None:
    url = server.fresh_url("outage")
    store = opened(url)
    work = Work(store)
    before = work.load()
    server.stop()
    calls: list[Callable[[Store], object]] = [
        lambda store: store.now(),
        lambda store: store.load(work.id),
        lambda store: store.claim(work.id, holder_elsewhere(), MINUTE),
        lambda store: store.record(work.lease, [Insert(work.rotation())], [happened()]),
        lambda store: list(store.events()),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable) as outage:
            call(store)
        assert str(make_url(url).password) not in outage.value.message
        assert f"outage_1 at 127.0.0.1:{server.port}" in outage.value.message
    server.start()
    assert work.load() == before
    work.insert(work.rotation())


def test_a_connection_that_has_been_idle_is_tried_before_it_is_used(
    postgres: Postgres, opened: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rotator.store.database._IDLE_SECONDS", 0)
    store = opened(postgres.fresh_url("idle"))
    with store.database.ask() as connection:
        victim = connection.scalar(text("SELECT pg_backend_pid()"))
    with psycopg.connect(plain(postgres.url())) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (victim,))
    assert store.installation().environment


def test_a_server_that_ends_a_connection_in_a_transaction_is_an_outage(postgres: Postgres, opened: Stores) -> None:
    store = opened(postgres.fresh_url("cut"))

    def cut() -> None:
        with store.database.write() as connection:
            victim = connection.scalar(text("SELECT pg_backend_pid()"))
            connection.execute(update(tables.install).values(last_pass_at=START))
            with store.database.read() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": victim})

    with pytest.raises(StoreUnavailable, match="restarting"):
        cut()
    assert store.installation().last_pass_at is None


def test_a_lock_that_is_not_free_in_time_is_an_outage(
    postgres: Postgres, opened: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rotator.store.database._LOCK_SECONDS", 1)
    store = opened(postgres.fresh_url("lock"))
    work = Work(store)
    with store.database.write() as connection:
        leases.hold(store.database, connection, work.lease)
        with pytest.raises(StoreUnavailable, match="lock was not free"):
            store.claim(work.id, holder_elsewhere(), MINUTE)


def test_a_statement_and_a_lock_have_a_time_limit(postgres: Postgres, opened: Stores) -> None:
    store = opened(postgres.fresh_url("limits"))
    with store.database.read() as connection:
        limits = {name: connection.scalar(text(f"SHOW {name}")) for name in ("lock_timeout", "statement_timeout")}
    assert limits == {"lock_timeout": "10s", "statement_timeout": "1min"}


def test_many_threads_get_their_turn(new_url: NewUrl, opened: Stores) -> None:
    store: SqlStore = opened(new_url())

    def use(_: int) -> None:
        for _ in range(5):
            store.installation()
            store.pass_ended()

    assert at_once(24, use) == [None] * 24
