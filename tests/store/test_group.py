"""Writers of one process on SQLite: turns in order, one commit for those who wait; who fails, fails alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, event

from rotator.domain.errors import StoreUnavailable
from rotator.store.group import MOST, GroupCommit

LONG = 20.0


class Pause:
    """Is called in a turn, and lets it last."""

    def __init__(self) -> None:
        self._begun, self._over = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self._begun.set()
        assert self._over.wait(LONG)

    def has_begun(self) -> None:
        assert self._begun.wait(LONG)

    def end(self) -> None:
        self._over.set()


class Notes:
    """A table of words, written through a group."""

    def __init__(self, engine: Engine, patience: float = LONG) -> None:
        self.engine = engine
        self.commits = 0
        self.breaks: Exception | None = None
        self.group = GroupCommit(self.transaction, patience)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE note (word TEXT UNIQUE)")
        event.listen(engine, "commit", self._count)

    def _count(self, _: Connection) -> None:
        self.commits += 1

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with self.engine.connect() as connection, connection.begin():
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            if self.breaks is not None:
                raise self.breaks

    def write(self, word: str, then: Callable[[], object] = lambda: None) -> None:
        with self.group.write() as connection:
            connection.exec_driver_sql("INSERT INTO note VALUES (?)", (word,))
            then()

    @property
    def words(self) -> list[str]:
        """In the order in which they were written."""
        with self.engine.connect() as connection:
            return [str(word) for (word,) in connection.exec_driver_sql("SELECT word FROM note ORDER BY rowid")]

    def wait_for(self, waiting: int) -> None:
        """Until so many wait for their turn."""
        end = time.monotonic() + LONG
        while self.group._waiting != waiting:
            assert time.monotonic() < end
            time.sleep(0.001)


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Notes]:
    arguments = {"check_same_thread": False, "isolation_level": None}
    engine = create_engine(f"sqlite:///{tmp_path / 'notes.db'}", connect_args=arguments, max_overflow=100)
    yield Notes(engine)
    engine.dispose()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(100) as pool:
        yield pool


def queued(
    notes: Notes, pool: ThreadPoolExecutor, words: list[str], then: Callable[[], object] = lambda: None
) -> tuple[Future[None], list[Future[None]]]:
    """One writes, and meanwhile the others come, one after the other."""
    pause = Pause()
    first = pool.submit(notes.write, "first", lambda: [do() for do in (pause, then)])
    pause.has_begun()
    others = []
    for number, word in enumerate(words, 1):
        others.append(pool.submit(notes.write, word))
        notes.wait_for(number)
    pause.end()
    return first, others


def test_who_comes_meanwhile_is_committed_with_the_first_in_the_order_of_coming(
    notes: Notes, pool: ThreadPoolExecutor
) -> None:
    words = [f"word-{number}" for number in range(20)]
    first, others = queued(notes, pool, words)
    for future in (first, *others):
        future.result(LONG)
    assert notes.words == ["first", *words]
    assert notes.commits == 1


def test_a_group_has_an_end_though_others_wait(notes: Notes, pool: ThreadPoolExecutor) -> None:
    words = [f"word-{number}" for number in range(MOST + 10)]
    first, others = queued(notes, pool, words)
    for future in (first, *others):
        future.result(LONG)
    assert notes.words == ["first", *words]
    assert notes.commits == 2


def test_nobody_is_told_of_success_before_the_commit(notes: Notes, pool: ThreadPoolExecutor) -> None:
    notes.breaks = OSError("the disk is full")
    first, others = queued(notes, pool, ["second", "third"])
    assert isinstance(first.exception(LONG), OSError)
    for future in others:
        assert isinstance(future.exception(LONG), StoreUnavailable)
    assert notes.words == []
    notes.breaks = None
    notes.write("fourth")
    assert notes.words == ["fourth"]


def test_what_fails_in_its_turn_takes_nobody_along(notes: Notes, pool: ThreadPoolExecutor) -> None:
    first, (second, again, third) = queued(notes, pool, ["second", "second", "third"])
    assert "UNIQUE" in str(again.exception(LONG))
    for future in (first, second, third):
        future.result(LONG)
    assert notes.words == ["first", "second", "third"]


def test_where_the_first_fails_the_next_begins_anew(notes: Notes, pool: ThreadPoolExecutor) -> None:
    notes.write("second")
    first, (second, third) = queued(notes, pool, ["second", "third"], then=lambda: 1 // 0)
    assert isinstance(first.exception(LONG), ZeroDivisionError)
    assert "UNIQUE" in str(second.exception(LONG))
    third.result(LONG)
    assert notes.words == ["second", "third"]


def test_who_gets_no_turn_in_time_is_told_and_keeps_nobody(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    arguments = {"check_same_thread": False, "isolation_level": None}
    engine = create_engine(f"sqlite:///{tmp_path / 'notes.db'}", connect_args=arguments)
    notes = Notes(engine, patience=0.2)
    pause = Pause()
    first = pool.submit(notes.write, "first", pause)
    pause.has_begun()
    with pytest.raises(StoreUnavailable, match=r"no turn to write came within 0\.2 s"):
        notes.write("second")
    pause.end()
    first.result(LONG)
    assert notes.words == ["first"]
    engine.dispose()


def test_many_threads_lose_nothing(notes: Notes, pool: ThreadPoolExecutor) -> None:
    each, threads = 25, 32

    def many(thread: int) -> None:
        for number in range(each):
            notes.write(f"{thread}-{number}")

    running = [pool.submit(many, thread) for thread in range(threads)]
    for future in running:
        future.result(LONG)
    assert sorted(notes.words) == sorted(f"{n}-{i}" for n in range(threads) for i in range(each))
    assert notes.commits < each * threads
