"""Signed checkpoints: each stands in the trail itself, as the event right after those that it was signed of."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import Connection, select, text

from rotator.domain.events import Outcome, Subject, name
from rotator.ports.store import Checkpoint, NewEvent
from rotator.store import audit, merkle, tables
from rotator.store.database import Database
from rotator.store.signing import Signer

_LAST = (
    select(tables.event.c.seq, tables.event.c.at, tables.event.c.body)
    .where(text(tables.EVENT_IS_CHECKPOINT))
    .order_by(tables.event.c.seq.desc())
    .limit(1)
)


def last(connection: Connection) -> Checkpoint | None:
    """The newest one on record."""
    row = connection.execute(_LAST).one_or_none()
    if row is None:
        return None
    return Checkpoint(size=row.seq - 1, at=row.at, note=json.loads(row.body)["detail"]["checkpoint"])


class SignedCheckpoints:
    """Implements `ports.store.Checkpoints` for one database. `signer` reads the key: only when one is signed."""

    def __init__(self, database: Database, signer: Callable[[], Signer], *, events: int, every: timedelta) -> None:
        self._database = database
        self._signer = signer
        self._events = events
        self._every = every

    def keep_up(self, actor: str) -> None:
        """Sign one where so many events or so much time have passed since the last one."""
        with self._database.read() as connection:
            if not self._due(connection):
                return
        self._sign(actor, even_if_not_due=False)

    def sign(self, actor: str) -> Checkpoint:
        """Sign one now, unless the newest is of all events but its own."""
        return self._sign(actor, even_if_not_due=True)

    def _sign(self, actor: str, *, even_if_not_due: bool) -> Checkpoint:
        signer = self._signer()
        with self._database.write() as connection:
            head = audit.lock(connection)
            before = last(connection)
            if before is not None and (before.size + 1 == head.seq if even_if_not_due else not self._due(connection)):
                return before  # another worker was faster
            note = signer.checkpoint(head.seq, merkle.root(head.tree))
            event = NewEvent(
                event=name(Subject.CHECKPOINT, Outcome.SUCCEEDED), actor=actor, detail={"checkpoint": note}
            )
            now = self._database.now(connection)
            audit.append(connection, now, [event])
            return Checkpoint(size=head.seq, at=now, note=note)

    def _due(self, connection: Connection) -> bool:
        before = last(connection)
        if before is None:
            return True
        seq = connection.execute(select(tables.head.c.seq)).scalar_one()
        age = self._database.now(connection) - before.at
        # Younger than nothing: the clock was put back, and an hour is over sooner than it thinks.
        return seq - before.size - 1 >= self._events or not timedelta(0) <= age < self._every
