"""One record: guarded writes to the rows of one credential, in the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    bindparam,
    delete,
    insert,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from rotator.domain.errors import StaleLease
from rotator.domain.model import CredentialId, Delivery, Request, Retirement, Rotation, Version, VersionId
from rotator.ports.store import Count, DropSealed, Insert, Place, Room, Row, Seal, Unplace, Update, Watched, Write
from rotator.store import accounts, material, tables

TABLES: Mapping[type[Row], Table] = {
    Version: tables.version,
    Rotation: tables.rotation,
    Retirement: tables.retirement,
    Delivery: tables.delivery,
    Request: tables.request,
}
_FIXED = {"id", "credential_id"}

NOT_HERE = "material is sealed before the transaction begins, and what is counted is added at its end"
"""Of a write that is none of the rows."""

# Built once, as in `reading`. What an update sets is what else is given to it.
_INSERT = {kind: insert(table) for kind, table in TABLES.items()}
_GUARDED = {
    kind: update(table).where(table.c.id == bindparam("row"), table.c.state == bindparam("from_state"))
    for kind, table in TABLES.items()
}
_UNPLACE = delete(tables.placement).where(
    tables.placement.c.identity == bindparam("at"),
    tables.placement.c.field == bindparam("named"),
    tables.placement.c.credential_id == bindparam("mine"),
)


def _placing(insert: sqlite.Insert | postgresql.Insert) -> sqlite.Insert | postgresql.Insert:
    key = ("identity", "field")
    others = {name: value for name, value in insert.excluded.items() if name not in key}
    return insert.on_conflict_do_update(index_elements=key, set_=others)


_PLACE = {
    "sqlite": _placing(sqlite.insert(tables.placement)),
    "postgresql": _placing(postgresql.insert(tables.placement)),
}
_CREDENTIAL = update(tables.credential).where(tables.credential.c.id == bindparam("row"))


@dataclass(frozen=True)
class Keep:
    """A Seal whose material is encrypted already."""

    version_id: VersionId
    blob: bytes


def apply(connection: Connection, credential_id: CredentialId, writes: list[Write | Keep], now: datetime) -> None:
    """Apply the writes in order. Raises StaleLease where one of them meets a row it did not expect."""
    for write in writes:
        try:
            _apply(connection, credential_id, write, now)
        except IntegrityError as problem:
            raise in_the_way(problem) from None


def _apply(connection: Connection, credential_id: CredentialId, write: Write | Keep, now: datetime) -> None:
    match write:
        case Insert(row):
            check_owner(row.credential_id, credential_id)
            connection.execute(_INSERT[type(row)], values(row))
        case Update(row, changes):
            check_owner(row.credential_id, credential_id)
            check_changes(row, changes)
            _update(connection, row, changes)
        case Keep(version_id, blob):
            material.keep(connection, version_id, blob, at=now)
        case DropSealed(version_id):
            material.forget(connection, version_id)
        case Place(placement):
            check_owner(placement.credential_id, credential_id)
            connection.execute(_PLACE[connection.dialect.name], values(placement))
        case Unplace(identity, field):
            connection.execute(_UNPLACE, {"at": identity, "named": field, "mine": credential_id})
        case Watched(at):
            connection.execute(_CREDENTIAL, {"row": credential_id, "watched_at": at})
        case Room():
            accounts.require_room(connection, write, now)
        case Seal() | Count():
            raise TypeError(NOT_HERE)


def _update(connection: Connection, row: Row, changes: Mapping[str, Any]) -> None:
    # Nothing to set is still a guard: the row must be where we think it is.
    values = {"row": row.id, "from_state": row.state, **(changes or {"state": row.state})}
    changed = connection.execute(_GUARDED[type(row)], values)
    if changed.rowcount != 1:
        message = f"the {TABLES[type(row)].name} {row.id} is no longer {row.state}"
        raise StaleLease(message)


def check_changes(row: Row, changes: Mapping[str, Any]) -> None:
    """Raise ValueError where one of the changes is not to be made."""
    table = TABLES[type(row)]
    wrong = [name for name in changes if name in _FIXED or name not in table.c]
    if wrong:
        message = f"{', '.join(wrong)} of a {table.name} cannot be set"
        raise ValueError(message)


def values(row: Any) -> dict[str, Any]:
    """A row's columns."""
    return {column.name: getattr(row, column.name) for column in fields(row)}


def check_owner(owner: CredentialId, leased: CredentialId) -> None:
    """Raise ValueError unless a row's owner is the one whose lease is held."""
    if owner != leased:
        message = f"a row of credential {owner} is not written under the lease of {leased}"
        raise ValueError(message)


def in_the_way(problem: IntegrityError) -> StaleLease | IntegrityError:
    """What a violated rule of uniqueness means; the problem itself where it was another kind of rule."""
    rule = violated_rule(problem)
    return problem if rule is None else StaleLease(f"another row stands in the way ({rule})")


def violated_rule(problem: IntegrityError) -> str | None:
    """The name of the uniqueness rule that was violated; None where it was another kind of rule."""
    original = problem.orig
    if isinstance(original, sqlite3.Error):
        if original.sqlite_errorname not in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"):
            return None
        # SQLite tells the columns: `UNIQUE constraint failed: version.account, version.key_id`.
        columns = str(original).rpartition(": ")[2]
        return _RULES.get(columns, columns)
    if getattr(original, "sqlstate", None) != "23505":  # unique_violation
        return None
    return str(original.diag.constraint_name)  # type: ignore[union-attr]


def _rules() -> dict[str, str]:
    found = {}
    for table in tables.METADATA.tables.values():
        for constraint in table.constraints:
            if isinstance(constraint, UniqueConstraint | PrimaryKeyConstraint):
                found[_columns(table, constraint.columns)] = str(constraint.name)
        for index in table.indexes:
            if index.unique:
                found[_columns(table, index.columns)] = str(index.name)
    return found


def _columns(table: Table, columns: Iterable[ColumnElement[Any]]) -> str:
    return ", ".join(f"{table.name}.{column.key}" for column in columns)


_RULES = _rules()
