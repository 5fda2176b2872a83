"""Tallies: sums for metrics, kept beside the rows so that they outlive whoever counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from rotator.ports.store import Count, Counts
from rotator.store.tables import tally as table


def _adding(insert: sqlite.Insert | postgresql.Insert) -> sqlite.Insert | postgresql.Insert:
    more = {"value": table.c.value + insert.excluded.value}
    return insert.on_conflict_do_update(index_elements=[table.c.what, table.c.labels], set_=more)


_ADD = {"sqlite": _adding(sqlite.insert(table)), "postgresql": _adding(postgresql.insert(table))}


def add(connection: Connection, counts: Iterable[Count]) -> None:
    """Add to the sums. To be a transaction's last act, after the lock of the trail's head: others wait for the rows."""
    rows = [{"what": what, "labels": labels, "value": value} for what, labels, value in summed(counts)]
    if rows:
        connection.execute(_ADD[connection.dialect.name], rows)


def summed(counts: Iterable[Count]) -> Sequence[tuple[str, Sequence[str], float]]:
    """What, labels and by how much: in one order for all, so that no two wait for each other."""
    sums: defaultdict[tuple[str, tuple[str, ...]], float] = defaultdict(float)
    for count in counts:
        sums[count.what, count.labels] += count.by
    return [(what, list(labels), sums[what, labels]) for what, labels in sorted(sums)]


def all_of(connection: Connection) -> Counts:
    """What was counted since the database was set up."""
    return {(row.what, tuple(row.labels)): row.value for row in connection.execute(select(table))}
