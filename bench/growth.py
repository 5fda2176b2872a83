"""What a rotation leaves in the database, and what it and a look (`engine.watch`) ask of it, on both databases.

Sizes are those after `VACUUM FULL` (of SQLite: `VACUUM`), with indexes, so that they are what stays; how far the files
have grown until then stands beside them.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event, text, update

from bench import fleet
from bench.measure import Goals, Results, cost, parser
from bench.scripts import ours
from bench.stubs import Stub
from rotator import wiring
from rotator.config import load
from rotator.store import tables
from rotator.store.database import Database
from rotator.testbed.postgres import Postgres

STAYS, TABLE, GROWN = "bytes that stay of a rotation", "bytes that stay in one table", "how far the files have grown"
ASKED, HEAD = "statements of a rotation", "transactions that append to the trail"
LOG, HOT = "write-ahead log of a rotation", "updates of the leases that touch no index"
CONNECTIONS, LOOK = "connections of one process", "processor time of a look at one credential"
GOALS: Goals = dict.fromkeys((STAYS, TABLE, GROWN, ASKED, HEAD, LOG, HOT, CONNECTIONS, LOOK))
TINY = ("--credentials", "2", "--rounds", "1")

KB = 1024
WORKERS = 8
NOTED = 0.005
"""A table with less of all that stays is not worth a line."""

_FLUSHED = 1.5  # seconds after which PostgreSQL has added up what a session did


@dataclass
class Tally:
    """What is asked of a database: statements, commits, those that append to the trail, connections at once."""

    counts: Counter[str] = field(default_factory=Counter)
    most: int = 0
    _open: int = 0

    @contextmanager
    def listening(self, engine: Engine) -> Iterator[None]:
        """For so long."""
        heard: dict[str, Callable[..., Any]] = {
            "after_cursor_execute": self._executed,
            "begin": lambda _: self._add("transactions"),
            "commit": lambda _: self._add("commits"),
            "checkout": self._taken,
            "checkin": self._given_back,
        }
        for name, hear in heard.items():
            event.listen(engine, name, hear)
        try:
            yield
        finally:
            for name, hear in heard.items():
                event.remove(engine, name, hear)

    def each(self, count: int) -> Mapping[str, float]:
        """What one of so many has asked."""
        return {what: number / count for what, number in self.counts.items()}

    def said(self, count: int) -> str:
        """The same in words."""
        each = self.each(count)
        statements = f"{each['statements']:.0f} statements in {each['transactions']:.0f} transactions"
        return f"{statements}, {each['commits']:.0f} of which write"

    def _executed(self, _connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        self._add("statements")
        if "keyturn_record(" in statement:  # which is a transaction by itself
            self._add("commits")
            self.counts["appends"] += parameters["drafts"] != "[]"
        elif statement.lstrip().upper().startswith("INSERT INTO EVENT"):
            self._add("appends")

    def _add(self, what: str) -> None:
        self.counts[what] += 1

    def _taken(self, *_: Any) -> None:
        self._open += 1
        self.most = max(self.most, self._open)

    def _given_back(self, *_: Any) -> None:
        self._open -= 1


@contextmanager
def _outside(engine: Engine) -> Iterator[Any]:
    """A connection that is in no transaction."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


def sizes(engine: Engine) -> Mapping[str, int]:
    """Table → its bytes, indexes included."""
    with _outside(engine) as connection:
        if engine.dialect.name == "sqlite":
            query = "SELECT m.tbl_name, sum(s.pgsize) FROM dbstat s JOIN sqlite_master m USING (name) GROUP BY 1"
        else:
            query = "SELECT relname, pg_total_relation_size(relid) FROM pg_stat_user_tables"
        return {name: int(size) for name, size in connection.execute(text(query)).all()}


def vacuumed(engine: Engine) -> Mapping[str, int]:
    """The same, once nothing is in the files but rows."""
    if engine.dialect.name == "sqlite":  # ours begins a transaction with every connection, in which it would refuse
        with closing(engine.raw_connection()) as connection:
            connection.cursor().execute("VACUUM")
    else:
        with _outside(engine) as connection:
            connection.execute(text("VACUUM FULL"))
    return sizes(engine)


def written(engine: Engine) -> Counter[str]:
    """Bytes of the log so far, and updates of leases (PostgreSQL only)."""
    time.sleep(_FLUSHED)
    with _outside(engine) as connection:
        log = connection.scalar(text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"))
        of_leases = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'lease'"
        updates, hot = connection.execute(text(of_leases)).one()
    return Counter({"log": int(log), "updates": int(updates), "hot": int(hot)})


def forget_looks(database: Database) -> None:
    """Every credential is to be looked at, as it is once `engine.watch` is over."""
    with database.write() as connection:
        connection.execute(update(tables.credential).values(watched_at=None))
        connection.execute(update(tables.lease).values(idle_until=None))


def measure(results: Results, kind: str, file: Path, stub: Stub, names: Sequence[str], rounds: int) -> None:
    """Rotate them all once, and then so many times more, which counts; then look at each."""
    rotated, looked, count = Tally(), Tally(), len(names) * rounds
    with wiring.opened(load(file), wiring.surroundings()) as service:
        engine, database = service.running(), service.store.database.engine
        ours(engine, names)
        before, log = vacuumed(database), written(database) if kind == "PostgreSQL" else Counter[str]()
        with rotated.listening(database):
            used = [cost(lambda: ours(engine, names)).cpu for _ in range(rounds)]
        grown = sizes(database)
        log = written(database) - log if kind == "PostgreSQL" else log
        after = vacuumed(database)
        forget_looks(service.store.database)
        stub.calls()
        with looked.listening(database):
            look = cost(lambda: engine.run(engine.due(), None, timedelta(0))).cpu / len(names)
        calls = stub.calls()[0].total() / len(names)
    stays = {name: (after[name] - before.get(name, 0)) / count for name in after if name in tables.METADATA.tables}
    all_of_it = max(sum(stays.values()), 1.0)  # of very few rotations, all may have found room
    results.add(STAYS, kind, "a kB", [all_of_it / KB], f"{all_of_it:,.0f} bytes, of {count} rotations")
    for name, size in sorted(stays.items(), key=lambda row: -row[1]):
        if size >= NOTED * all_of_it:
            results.add(TABLE, f"{kind}, `{name}`", "all tables", [size / all_of_it], f"{size:,.0f} bytes")
    files = sum(grown[name] - before.get(name, 0) for name in stays) / count
    results.add(GROWN, kind, "what stays", [files / all_of_it], f"{files:,.0f} bytes a rotation")
    each = rotated.each(count)
    results.add(ASKED, kind, "its transactions", [each["statements"] / each["transactions"]], rotated.said(count))
    share = [each["appends"] / each["commits"]]
    results.add(HEAD, kind, "all that write", share, f"{each['appends']:.0f} of {each['commits']:.0f}")
    results.add(CONNECTIONS, kind, f"its {WORKERS} workers", [rotated.most / WORKERS], f"{rotated.most} at once")
    if log:
        size, updates = log["log"] / count, log["updates"] / count
        results.add(LOG, kind, "what stays", [size / all_of_it], f"{size:,.0f} bytes")
        results.add(HOT, kind, "all updates of leases", [log["hot"] / log["updates"]], f"{updates:.1f} of a rotation")
    rotations = [one / len(names) for one in used]
    detail = f"{look * 1000:.0f} ms against {statistics.median(rotations) * 1000:.0f} ms; {calls:.0f} calls, "
    results.add(LOOK, kind, "of a rotation", [look / one for one in rotations], detail + looked.said(len(names)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; there are no goals to miss."""
    options = parser(__doc__)
    options.add_argument("--credentials", type=int, default=40)
    options.add_argument("--rounds", type=int, default=5, help="rotations of each that count")
    asked = options.parse_args(arguments)
    results, names = Results("growth", GOALS, asked.results), fleet.names(asked.credentials)
    with Postgres() as postgres:
        for kind, url in {"SQLite": fleet.EMBEDDED, "PostgreSQL": postgres.fresh_url()}.items():
            with Stub() as stub, tempfile.TemporaryDirectory() as folder:
                accounts, urls = {"aws": names}, {"aws": stub.url}
                file = fleet.write(Path(folder), accounts, urls, store=url, workers=WORKERS)
                measure(results, kind, file, stub, names, asked.rounds)
    return results.end()


if __name__ == "__main__":
    sys.exit(main())
