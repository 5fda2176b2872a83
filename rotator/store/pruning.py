"""Taking the oldest events out of the database, once they are exported: the chain goes on from where it was cut."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, text

from rotator.domain.errors import SetupError
from rotator.domain.events import Outcome, Subject, name
from rotator.ports.store import NewEvent, StoredEvent
from rotator.store import audit, merkle, reading, tables
from rotator.store.database import Database

_PRUNED = name(Subject.PRUNE, Outcome.SUCCEEDED)
_PAGE = 1000
_EVENT = tables.event.c


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Events that may go: from the first one in the database to one that a checkpoint ends at."""

    first: int
    last: int
    hash: str  # of the last one
    tree: Sequence[str]  # of everything up to there, see `merkle`


@dataclass(frozen=True, order=True)
class Kept:
    """From which event on they stay, and why."""

    seq: int
    why: str


def limits(connection: Connection, since: datetime) -> list[Kept]:
    """What keeps events: they are younger than `since`, or something that is open began then."""
    opened = {
        "a rotation is open": select(func.min(tables.rotation.c.opened_at)).where(text(tables.ROTATION_IS_OPEN)),
        "a retirement is open": select(func.min(tables.retirement.c.opened_at)).where(text(tables.RETIREMENT_IS_OPEN)),
        "a request stands": select(func.min(tables.request.c.asked_at)).where(text(tables.REQUEST_STANDS)),
        "a finding stands": select(func.min(tables.finding.c.found_at)).where(text(tables.FINDING_STANDS)),
    }
    began = {why: connection.scalar(query) for why, query in opened.items()}
    found = []
    for why, at in {"they are younger": since, **began}.items():
        seq = connection.scalar(select(func.min(_EVENT.seq)).where(_EVENT.at >= at)) if at is not None else None
        if seq is not None:
            found.append(Kept(seq, why))
    for follower, sent in connection.execute(select(tables.follower.c.name, tables.follower.c.seq)):
        found.append(Kept(sent + 1, f"{follower} has been sent no more than those before"))
    return found


def segment(database: Database, before: int) -> Segment | None:
    """The longest one that ends at a checkpoint, and before this event; None where there is none."""
    with database.read() as connection:
        first = connection.scalar(select(func.min(_EVENT.seq)))
        of = select(func.max(_EVENT.seq)).where(text(tables.EVENT_IS_CHECKPOINT), _EVENT.seq <= before)
        checkpoint = connection.scalar(of)
        if first is None or checkpoint is None or checkpoint <= first:
            return None
        tree = _tree_before(connection, first)
    hashed = ""
    for page in _pages(database, first - 1, checkpoint - 1):
        tree = merkle.grown(tree, page[0].seq - 1, [event.body for event in page])
        hashed = page[-1].hash
    return Segment(first=first, last=checkpoint - 1, hash=hashed, tree=tree)


def _pages(database: Database, after: int, last: int) -> Iterator[Sequence[StoredEvent]]:
    while after < last:
        with database.read() as connection:
            page = reading.events(connection, after, None, min(_PAGE, last - after))
        yield page
        after = page[-1].seq


def _tree_before(connection: Connection, first: int) -> Sequence[str]:
    if first == 1:
        return ()
    for body in connection.scalars(select(_EVENT.body).where(_EVENT.event == _PRUNED).order_by(_EVENT.seq.desc())):
        detail = json.loads(body)["detail"]
        if detail["last"] == first - 1:
            tree: list[str] = detail["tree"]
            return tree
    message = f"events 1 to {first - 1} are missing, and no event says that they were pruned"
    raise SetupError(message, reason="broken_chain", remedy="`rotator audit verify`")


def prune(database: Database, going: Segment, export: str, actor: str, reason: str | None) -> int:
    """Delete the events of a segment and append the event that says so; return how many went.

    `export` is the SHA-256 of the file that they are in. To be called as the owner of the tables: nobody else may
    switch off, for this one transaction, what refuses deletions. Raises SetupError where the trail has changed since.
    """
    detail = {
        "first": going.first, "last": going.last, "hash": going.hash, "tree": list(going.tree), "export": export,
    }  # fmt: skip
    with database.write() as connection:
        audit.lock(connection)
        first = connection.scalar(select(func.min(_EVENT.seq)))
        if first != going.first:
            message = "somebody else has pruned the trail in the meantime"
            raise SetupError(message, reason="pruned_meanwhile", remedy="look at `rotator audit log`, and try again")
        with _deletions_allowed(connection):
            gone = connection.execute(delete(tables.event).where(_EVENT.seq <= going.last)).rowcount
        event = NewEvent(event=_PRUNED, actor=actor, reason=reason, detail=detail)
        audit.append(connection, database.now(connection), [event])
        return gone


@contextmanager
def _deletions_allowed(connection: Connection) -> Iterator[None]:
    """Within the transaction nobody else sees it; where it fails, everything is as before."""
    if connection.dialect.name == "sqlite":
        query = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = 'event_no_delete'"
        trigger = str(connection.exec_driver_sql(query).scalar_one())
        connection.exec_driver_sql("DROP TRIGGER event_no_delete")
        yield
        connection.exec_driver_sql(trigger)
    else:
        connection.exec_driver_sql("ALTER TABLE event DISABLE TRIGGER event_append_only")
        yield
        connection.exec_driver_sql("ALTER TABLE event ENABLE TRIGGER event_append_only")
