"""Where a trail is read from: exported files, and a database that is read without the service."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from .events import Malformed, Row
from .trail import PRUNE, Head, Start, parsed

_EVENTS = "SELECT seq, body, hash, at, event, credential, rotation FROM event ORDER BY seq"
_FIRST = "SELECT min(seq) FROM event"
_HEAD = "SELECT seq, hash, tree FROM head"
_PRUNES = f"SELECT body FROM event WHERE event = '{PRUNE}' ORDER BY seq DESC"  # noqa: S608 - a constant
_SEQ = re.compile(rb'"seq":(\d{1,18}),"version":(?:null|\d+)\}$')
_SQLITE = b"SQLite format 3\x00"


class Unreadable(Exception):
    """A source cannot be read. The message says which and why; it never holds a password."""


class Source(Protocol):
    """A part of a trail."""

    name: str

    def first(self) -> int | None:
        """The number of its first event, where it has one that says it."""
        ...

    def rows(self) -> Iterator[Row | Malformed]:
        """Its events, in the order in which they stand."""
        ...

    def prunes(self) -> Iterator[bytes]:
        """The texts of the events that tell of a prune."""
        ...

    def head(self) -> Head | None:
        """The end that it remembers, where it does."""
        ...


@dataclass
class Export:
    """A file of JSON lines."""

    name: str
    path: Path

    def first(self) -> int | None:
        """By its text."""
        return next((_seq(row) for row in self.rows()), None)

    def rows(self) -> Iterator[Row | Malformed]:
        """Line by line."""
        with self._open() as lines:
            yield from parsed(lines)

    def prunes(self) -> Iterator[bytes]:
        """Found by their text."""
        mark = f'"event":"{PRUNE}"'.encode()
        with self._open() as lines:
            yield from (row.body for row in parsed(line for line in lines if mark in line) if isinstance(row, Row))

    def head(self) -> None:
        """It has none: a cut tail shows in the count alone."""

    def _open(self) -> Any:
        try:
            return self.path.open("rb")
        except OSError as problem:
            message = f"cannot read {self.name}: {problem.strerror}"
            raise Unreadable(message) from None


@dataclass
class Database:
    """One snapshot of a database. `connection` follows PEP 249."""

    name: str
    connection: Any
    batch: Any  # a cursor that reads the events in parts

    def first(self) -> int | None:
        """By its number."""
        found = self._ask(_FIRST).fetchone()[0]
        return None if found is None else int(found)

    def rows(self) -> Iterator[Row | Malformed]:
        """By their numbers, with what stands beside their texts."""
        self.batch.execute(_EVENTS)
        for seq, body, hashed, at, event, credential, rotation in self.batch:
            columns = (_moment(at), str(_text(event)), _text(credential), _text(rotation))
            yield Row(_bytes(body), str(_text(hashed)), seq, columns)

    def prunes(self) -> Iterator[bytes]:
        """Newest first."""
        yield from (_bytes(body) for (body,) in self._ask(_PRUNES).fetchall())

    def head(self) -> Head:
        """The row of its own that it keeps for that."""
        row = self._ask(_HEAD).fetchone()
        try:
            return Head(int(row[0]), str(_text(row[1])), [bytes.fromhex(step) for step in json.loads(row[2])])
        except (TypeError, ValueError):
            return Head(0, "", ())

    def _ask(self, query: str) -> Any:
        cursor = self.connection.cursor()
        cursor.execute(query)
        return cursor


@contextmanager
def opened(names: Sequence[str]) -> Iterator[list[Source]]:
    """Open them: files of JSON lines (`-` is stdin), a SQLite file, `sqlite:///FILE`, `postgresql://…`.

    Raises Unreadable.
    """
    with ExitStack() as closing:
        yield [closing.enter_context(_opened(name)) for name in names]


@contextmanager
def _opened(name: str) -> Iterator[Source]:
    if name.startswith(("postgresql:", "postgresql+", "postgres:")):
        with _postgres(name) as database:
            yield database
    elif name == "-":
        with tempfile.NamedTemporaryFile() as copy:  # it is read twice
            copy.writelines(sys.stdin.buffer)
            copy.flush()
            yield Export("stdin", Path(copy.name))
    elif name.startswith("sqlite:///") or _is_sqlite(Path(name)):
        with _sqlite(Path(name.removeprefix("sqlite:///"))) as database:
            yield database
    else:
        yield Export(name, Path(name))


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError as problem:
        message = f"cannot read {path}: {problem.strerror}"
        raise Unreadable(message) from None


@contextmanager
def _sqlite(path: Path) -> Iterator[Source]:
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, isolation_level=None)
        connection.text_factory = bytes  # also what is no UTF-8
        try:
            connection.execute("BEGIN")
            yield Database(f"the database {path}", connection, connection.cursor())
        finally:
            connection.close()
    except sqlite3.Error as problem:
        message = f"cannot read the database {path}: {problem}"
        raise Unreadable(message) from None


@contextmanager
def _postgres(url: str) -> Iterator[Source]:
    try:
        import psycopg
    except ImportError:
        message = "reading a PostgreSQL database needs the package psycopg; or verify an export of it"
        raise Unreadable(message) from None
    try:
        address = re.sub(r"^postgres(ql)?(\+\w+)?:", "postgresql:", url)
        with psycopg.connect(address, connect_timeout=10) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            batch = connection.cursor("trail")
            batch.itersize = 2000
            yield Database("the database", connection, batch)
    except psycopg.Error as problem:
        message = f"cannot read the PostgreSQL database: {type(problem).__name__} {problem.sqlstate or ''}".rstrip()
        raise Unreadable(message) from None


def joined(sources: Sequence[Source]) -> Iterator[Row | Malformed]:
    """One after the other, each only as far as the next one does not go: an export may overlap what comes after it."""
    firsts = [source.first() for source in sources]
    for number, source in enumerate(sources):
        limit = next((first for first in firsts[number + 1 :] if first is not None), None)
        for row in source.rows():
            if limit is not None and isinstance(row, Row) and (_seq(row) or 0) >= limit:
                break
            yield row


def start(sources: Sequence[Source]) -> Start:
    """What comes before their first event, by the events of prunes among them; nothing, where none of them tells."""
    first = next((found for source in sources if (found := source.first()) is not None), 1)
    told = (Start.pruned(_loaded(body)) for source in sources for body in source.prunes()) if first > 1 else ()
    return next((found for found in told if found is not None and found.after == first - 1), Start())


def head(sources: Sequence[Source]) -> Head | None:
    """The end that the last of them remembers."""
    return sources[-1].head() if sources else None


def _loaded(body: bytes) -> dict[str, Any]:
    try:
        event = json.loads(body)
    except ValueError:
        event = None
    return event if isinstance(event, dict) else {}


def _seq(row: Row | Malformed) -> int | None:
    found = _SEQ.search(row.body) if isinstance(row, Row) else None
    return int(found[1]) if found else None


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def _text(value: Any) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _moment(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return str(_text(value))
