"""A record in one round trip: PostgreSQL's `keyturn_record` does what `records` and `audit` do by statements.

So each record is one journey to a database that may be far away, and the end of the trail is locked for no journey at
all. The function is made by the migrations; what is written is the same, whichever way it goes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.exc import DatabaseError, IntegrityError

from rotator.domain.errors import StaleLease
from rotator.domain.model import CredentialId, Lease
from rotator.ports.store import (
    Count,
    DropSealed,
    Insert,
    NewEvent,
    Place,
    Room,
    Seal,
    StoredEvent,
    Unplace,
    Update,
    Watched,
    Write,
)
from rotator.store import audit, records, tables, tallies
from rotator.store.columns import json_value
from rotator.store.database import PROOF, TOLD, Database
from rotator.store.keyring import key_of

_CALL = (
    "SELECT recorded_at, first_seq, previous_hash FROM keyturn_record("
    "%(credential)s, %(epoch)s, %(given)s, %(writes)s::jsonb, %(drafts)s::jsonb, %(counts)s::jsonb, %(forget)s)"
)
_STALE = "KT001"  # the function's own SQLSTATE


def possible(database: Database, writes: Sequence[Write | records.Keep]) -> bool:
    """Whether the database can do it; counting the rotations of an account is done by statements."""
    return database.engine.dialect.name == "postgresql" and not any(isinstance(write, Room) for write in writes)


def record(
    connection: Connection,
    lease: Lease,
    writes: Sequence[Write | records.Keep],
    events: Sequence[NewEvent],
    counts: Sequence[Count],
    *,
    given: datetime | None,
    forget: bool,
) -> Sequence[StoredEvent]:
    """Apply the writes under the lease and append the events, in a transaction of its own.

    `given`: the time; None is the database's. `forget`: what is sealed of a credential at rest. Raises StaleLease.
    """
    proof = connection.info.get(PROOF)
    events = [audit.proved(event, proof) for event in events]
    drafts = [audit.draft(event) for event in events]
    sums = [(what, json.dumps(labels), by) for what, labels, by in tallies.summed([*audit.counted(events), *counts])]
    values = {
        "credential": lease.credential_id,
        "epoch": lease.epoch,
        "given": given,
        "writes": json.dumps([_write(write, lease.credential_id) for write in writes]),
        "drafts": json.dumps([_draft(event, draft) for event, draft in zip(events, drafts, strict=True)]),
        "counts": json.dumps(sums),
        "forget": forget,
    }
    at, seq, previous_hash = _called(connection, values)
    if not drafts:
        return ()
    stored = audit.chained(drafts, seq=seq, at=at, previous_hash=previous_hash)
    connection.info.setdefault(TOLD, []).extend(stored)
    return stored


def _called(connection: Connection, values: Mapping[str, Any]) -> Sequence[Any]:
    try:
        return connection.exec_driver_sql(_CALL, values).one()
    except IntegrityError as problem:
        raise records.in_the_way(problem) from None
    except DatabaseError as problem:
        if getattr(problem.orig, "sqlstate", None) != _STALE:
            raise
        raise StaleLease(problem.orig.diag.message_primary) from None  # type: ignore[union-attr]


def _write(write: Write | records.Keep, leased: CredentialId) -> Mapping[str, Any]:
    """What the function does for a write: insert, put (in place of what is there), update or delete a row."""
    match write:
        case Insert(row):
            records.check_owner(row.credential_id, leased)
            done = _done("insert", records.TABLES[type(row)], records.values(row))
        case Update(row, changes):
            records.check_owner(row.credential_id, leased)
            records.check_changes(row, changes)
            # Nothing to set is still a guard: the row must be where we think it is.
            set_ = changes or {"state": row.state}
            done = _done("update", records.TABLES[type(row)], set_, id=row.id, state=row.state)
        case records.Keep(version_id, blob):
            values = {"version_id": version_id, "material": blob, "sealed_under": key_of(blob)}
            done = _done("put", tables.sealed, values, key="version_id", at="sealed_at")
        case DropSealed(version_id):
            done = _done("delete", tables.sealed, {"version_id": version_id})
        case Place(placement):
            records.check_owner(placement.credential_id, leased)
            done = _done("put", tables.placement, records.values(placement), key="identity, field")
        case Unplace(identity, field):
            values = {"identity": identity, "field": field, "credential_id": leased}
            done = _done("delete", tables.placement, values)
        case Watched(at):
            done = _done("update", tables.credential, {"watched_at": at}, id=leased)
        case Seal() | Room() | Count():
            raise TypeError(records.NOT_HERE)
    return done


def _done(do: str, table: Table, values: Mapping[str, Any], **more: str) -> Mapping[str, Any]:
    row = {name: json_value(table.c[name].type, value) for name, value in values.items()}
    return {"do": do, "table": table.name, "row": row, **more}


def _draft(event: NewEvent, draft: audit.Draft) -> Mapping[str, Any]:
    return {"text": draft.text, **audit.searched(event)}
