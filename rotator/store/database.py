"""Connections to SQLite and PostgreSQL: how they are opened, how transactions begin, what their failures mean."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from rotator.domain.errors import SetupError, StoreUnavailable
from rotator.ports.store import StoredEvent
from rotator.store.group import GroupCommit

Clock = Callable[[], datetime]
Observe = Callable[[StoredEvent], None]

TOLD = "told"
"""Where a transaction keeps its events until it is committed: in `Connection.info`."""

PROOF = "proof"
"""And where it finds how its actor is known."""

_KNOWS_SYSTEM_AUTHORITIES = 160_000  # `sslrootcert=system`, of libpq 16
_LEFT = "left"
"""When a connection was last given back, by the monotonic clock: in its record's `info`."""

_IDLE_SECONDS = 5
"""A connection that was used so short a time ago is taken as it is; an older one is tried first."""

_LOCK_SECONDS = 10
_STATEMENT_SECONDS = 60
_POSTGRES = {
    "application_name": "keyturn",
    "connect_timeout": 5,
    # A server that vanished without a word is noticed within 15 seconds, idle or busy.
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
}


def _tls(url: URL) -> dict[str, str]:
    """What libpq is told of TLS: outside this machine, a server is believed by its certificate alone."""
    if not is_remote(url):
        return {}
    from psycopg import pq

    found = {"sslmode": "verify-full", "ssl_min_protocol_version": "TLSv1.2"}
    public = url.query.get("sslmode", "verify-full") == "verify-full" and pq.version() >= _KNOWS_SYSTEM_AUTHORITIES
    return {**found, "sslrootcert": "system"} if public else found


def is_remote(url: URL) -> bool:
    """Whether the way to it leaves this machine, as far as its host says."""
    hosts = str(url.host or url.query.get("host") or "").split(",")
    return url.get_backend_name() == "postgresql" and not all(map(_is_here, hosts))


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in ("", "localhost") or host.startswith(("/", "@"))  # a socket


def is_unverified(url: URL) -> bool:
    """Whether `sslmode` has anybody believed who answers from outside this machine."""
    return is_remote(url) and url.query.get("sslmode", "verify-full") != "verify-full"


def parse(url: str) -> URL:
    """The URL with its driver. Raises SetupError, without repeating it: it may hold a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    kind = parsed.get_backend_name() if parsed is not None else ""
    if parsed is not None and kind == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed.set(drivername="sqlite+pysqlite")
    # An @ in the host is one of the password that is not written as %40: the host would show its rest.
    if parsed is not None and kind == "postgresql" and parsed.database and "@" not in (parsed.host or ""):
        return parsed.set(drivername="postgresql+psycopg")
    message = "store.url names no database"
    remedy = (
        "write sqlite:///rotator.db or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, "
        "odd characters of the password as %40 and so on"
    )
    raise SetupError(message, reason="bad_store_url", remedy=remedy)


def connect(url: str) -> Engine:
    """An engine for an existing database; nothing is opened yet. Raises SetupError where a SQLite file is missing."""
    parsed = parse(url)
    if parsed.get_backend_name() == "postgresql":
        return _postgres(parsed)
    path = Path(str(parsed.database))
    if not path.is_file():
        message = f"there is no database {path}"
        remedy = "a new installation: `rotator init` or `rotator db upgrade`; else put the lost file back"
        raise SetupError(message, reason="no_database", remedy=remedy)
    if not os.access(path, os.R_OK | os.W_OK):
        message = f"the database {path} may not be read and written"
        remedy = "run as the user that owns the file"
        raise SetupError(message, reason="database_refused", remedy=remedy)
    return _sqlite(parsed, path)


def _sqlite(url: URL, path: Path) -> Engine:
    def open_file() -> sqlite3.Connection:
        # mode=rw: SQLite itself must never make a file, also not when it vanishes while we run.
        address = f"file:{quote(str(path.absolute()))}?mode=rw"
        return sqlite3.connect(address, uri=True, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False)

    engine = create_engine(url, creator=open_file, pool_timeout=_LOCK_SECONDS, max_overflow=20, hide_parameters=True)

    def prepare(connection: sqlite3.Connection, _record: Any) -> None:
        _write_ahead(connection)
        for pragma in ("synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", prepare)
    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch the file to its write-ahead log; a file that was switched before stays so.

    Of several that do so at once, all but one may be told SQLITE_BUSY at once: SQLite does not wait for them, as it
    does for other locks, lest they wait for each other. So we do.
    """
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= end:
                raise
            time.sleep(0.01)
        else:
            return


def _postgres(url: URL) -> Engine:
    import psycopg

    arguments = {name: value for name, value in {**_POSTGRES, **_tls(url)}.items() if name not in url.query}
    engine = create_engine(
        url,
        connect_args=arguments,
        pool_size=10,
        max_overflow=20,
        pool_timeout=_LOCK_SECONDS,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
    )

    def prepare(connection: Any, _record: Any) -> None:
        # As statements, not as start-up options: connection poolers refuse those.
        connection.execute(f"SET lock_timeout = '{_LOCK_SECONDS}s'")
        connection.execute(f"SET statement_timeout = '{_STATEMENT_SECONDS}s'")
        connection.execute(f"SET idle_in_transaction_session_timeout = '{_STATEMENT_SECONDS}s'")
        connection.commit()

    def try_if_idle(connection: Any, record: Any, _proxy: Any) -> None:
        # SQLAlchemy's own pre-ping would be a journey to the server before each of the many that are made one after
        # the other; what breaks within these seconds is noticed by the next statement, and the pool thrown away then.
        left = record.info.get(_LEFT)
        if left is not None and time.monotonic() - left >= _IDLE_SECONDS:
            try:
                engine.dialect.do_ping(connection)
            except psycopg.Error:
                raise InvalidatePoolError from None

    def leave(_connection: Any, record: Any) -> None:
        record.info[_LEFT] = time.monotonic()

    event.listen(engine, "connect", prepare)
    event.listen(engine, "checkout", try_if_idle)
    event.listen(engine, "checkin", leave)
    return engine


@dataclass(frozen=True)
class Proof:
    """How it is known who acts in this process; goes into the detail of its events."""

    actor: str
    how: Mapping[str, Any]  # JSON


class Database:
    """One database: short transactions, the time, and failures in our own words."""

    def __init__(
        self, engine: Engine, clock: Clock | None = None, observe: Observe = lambda _: None, proof: Proof | None = None
    ) -> None:
        self.engine = engine
        self._proof = proof
        self._observe = observe
        self.where = place(engine.url)
        self._clock = clock
        embedded = engine.dialect.name == "sqlite"
        self._group = GroupCommit(self._transaction, _LOCK_SECONDS) if embedded else None

    def time(self) -> datetime | None:
        """The given clock, or the host's for SQLite; None where the database itself has to be asked."""
        if self._clock is not None:
            return self._clock()
        return datetime.now(UTC) if self.engine.dialect.name != "postgresql" else None

    def now(self, connection: Connection) -> datetime:
        """The given clock; else PostgreSQL's own at this moment, or the host's for SQLite."""
        known = self.time()
        if known is not None:
            return known
        # now() would be the transaction's start. It is asked so often that SQLAlchemy's way would show.
        moment = connection.exec_driver_sql("SELECT clock_timestamp()").scalar()
        assert isinstance(moment, datetime)
        return moment.astimezone(UTC)

    @contextmanager
    def ask(self) -> Iterator[Connection]:
        """For one statement: it needs no transaction around it, which PostgreSQL would be told of twice.

        Raises StoreUnavailable.
        """
        with self.answering(), self.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execution_options(isolation_level="AUTOCOMMIT")
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot of everything, for several reads. Nothing is written. Raises StoreUnavailable."""
        with self.answering(), self.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            else:  # takes no lock, so it cannot fail; and reads are so many that SQLAlchemy's way would show
                connection.connection.cursor().execute("BEGIN")
            yield connection

    @contextmanager
    def write(self, *, at_once: bool = False) -> Iterator[Connection]:
        """One transaction that may write, committed at the end; then its events are told. Raises StoreUnavailable.

        Where the failure came with the commit, the outcome is unknown. `at_once`: for a single statement, which
        PostgreSQL commits by itself.
        """
        told: list[StoredEvent] = []
        with self.answering(), self._writing(at_once=at_once) as connection:
            connection.info[PROOF] = self._proof
            connection.info[TOLD] = told
            yield connection
        for stored in told:
            self._observe(stored)

    def _writing(self, *, at_once: bool) -> AbstractContextManager[Connection]:
        if self._group is not None:
            return self._group.write()
        return self.ask() if at_once else self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self.engine.connect() as connection, connection.begin():
            if connection.dialect.name == "sqlite":
                # IMMEDIATE: a writer that began as a reader could not wait for its turn, it would fail.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turn the driver's failures into StoreUnavailable (with the database, never with a password)."""
        try:
            yield
        except PoolTimeout:
            message = f"the database {self.where} does not answer: all connections are busy"
            raise StoreUnavailable(message) from None
        except DBAPIError as problem:
            told = _explain(problem, self.where)
            if told is None:
                raise
            raise told from None


@contextmanager
def opening() -> Iterator[None]:
    """While a database is opened, what only a person can put right is a SetupError."""
    try:
        yield
    except StoreUnavailable as problem:
        if problem.reason == StoreUnavailable.reason:
            raise
        raise SetupError(problem.message, reason=problem.reason, remedy=problem.remedy) from None


def place(url: URL) -> str:
    """The database as messages name it: a path, or host, port and name. Never a user or password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    host = url.host or url.query.get("host") or "local socket"
    return f"{url.database} at {host}{f':{url.port}' if url.port else ''}"


# What libpq says of a connection that was not made; it gives no SQLSTATE then.
_REFUSALS = (
    ("does not exist", "no_database", "there is no such database or user", "create the database and its owner first"),
    ("authentication failed", "database_refused", "user name or password are refused", "check store.url"),
    ("no password supplied", "database_refused", "it asks for a password", "check store.url"),
    (
        "does not support SSL",
        "database_untrusted",
        "it does not speak TLS",
        "turn TLS on there; where the way to it is trusted all the same, add `?sslmode=disable` to store.url",
    ),
    (
        "certificate",
        "database_untrusted",
        "its certificate is not trusted",
        "add `?sslrootcert=FILE` with its authority to store.url, and give the host as the certificate has it",
    ),
    ("no pg_hba.conf entry", "database_refused", "it refuses this host, user or database", "check pg_hba.conf"),
)
_NOT_REACHED = (
    ("refused", "the connection is refused"),
    ("timeout", "no answer in time"),
    ("translate host name", "the host name is unknown"),
    ("resolve host", "the host name is unknown"),
    ("starting up", "it is starting"),
    ("shutting down", "it is shutting down"),
    ("too many", "it has too many connections"),
    ("No such file", "there is no such socket"),
    ("SSL", "there is no agreement on TLS"),
)
_STATES = (  # https://www.postgresql.org/docs/current/errcodes-appendix.html
    ("53100", "its disk is full"),
    ("53300", "it has too many connections"),
    ("55P03", f"a lock was not free within {_LOCK_SECONDS} s"),
    ("57014", f"a statement took longer than {_STATEMENT_SECONDS} s"),
    ("40", "transactions got into each other's way"),
    ("57P", "it is restarting"),
    ("25006", "it is a read-only standby"),
)


def _explain(problem: DBAPIError, where: str) -> StoreUnavailable | SetupError | None:
    """Our words for a failure of the connection; None where the statement itself is wrong."""
    original = problem.orig
    if isinstance(original, sqlite3.Error):
        return _explain_sqlite(problem, original, where)
    state = getattr(original, "sqlstate", None) or ""
    broken = isinstance(problem, OperationalError | InterfaceError) or problem.connection_invalidated
    if state == "42501":
        message = f"the database {where} refuses this: its role may not do it"
        remedy = "what changes tables, or takes events out, is done as their owner: `store.owner`; see deploy/postgres"
        return SetupError(message, reason="database_refused", remedy=remedy)
    if not broken and state != "25006":
        return None
    why = next((words for start, words in _STATES if state.startswith(start)), None)
    text = str(original)
    if why is None and not state:
        for fragment, reason, words, remedy in _REFUSALS:
            if fragment in text:
                message = f"the database {where} cannot be used: {words}"
                return StoreUnavailable(message, reason=reason, remedy=remedy)
        why = next((words for fragment, words in _NOT_REACHED if fragment in text), None)
    tail = why or (f"SQLSTATE {state}" if state else "the connection broke")
    return StoreUnavailable(f"the database {where} does not answer: {tail}")


def _explain_sqlite(problem: DBAPIError, original: sqlite3.Error, where: str) -> StoreUnavailable | SetupError | None:
    code = getattr(original, "sqlite_errorname", "")
    if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        message = f"{where} is not an intact SQLite database"
        return SetupError(message, reason="database_damaged", remedy="restore it from a backup")
    if isinstance(problem, OperationalError) and code != "SQLITE_ERROR":
        # SQLITE_ERROR is a wrong statement. The texts of the others are SQLite's own constants.
        return StoreUnavailable(f"the database {where} does not answer: {original}")
    return None
