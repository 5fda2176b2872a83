"""What a record makes of what was known, as far as that is certain: the rest is read. Each question is a journey."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from typing import Any

from rotator.domain.model import (
    Delivery,
    Placement,
    Request,
    Retirement,
    RetirementState,
    Rotation,
    RotationState,
    Situation,
    Version,
    VersionState,
)
from rotator.ports.store import Insert, Place, Row, Unplace, Update, Write

_GONE: Mapping[type[Row], AbstractSet[str]] = {
    Version: {VersionState.RETIRED},
    Retirement: {RetirementState.DELETED, RetirementState.CANCELLED},
    Rotation: {RotationState.COMPLETED, RotationState.ABANDONED},
    Delivery: frozenset(),
}
"""States in which a row may be no part of a situation: whether it is, only the database says."""

_PLAIN = (str, int, datetime, type(None))  # what comes back from the database as it was given


def foreseen(before: Situation, writes: Iterable[Write]) -> tuple[Situation, AbstractSet[type]]:
    """The rows after these writes, and of which kinds they have to be read again.

    The credential's own row and the open rotation are read in any case, and stay here as they were.
    """
    rows: dict[type, dict[str, Any]] = {
        Version: {row.id: row for row in before.versions},
        Delivery: {row.id: row for row in before.deliveries},
        Retirement: {row.id: row for row in before.retirements},
        Rotation: {} if before.rotation is None else {before.rotation.id: before.rotation},
    }
    placements = {(row.identity, row.field): row for row in before.placements}
    unsure: set[type] = set()
    for write in writes:
        match write:
            case Insert(Request()) | Update(Request()):
                pass
            case Update(row, changes) if row.id in rows[type(row)] and _stays(row, changes):
                rows[type(row)][row.id] = replace(rows[type(row)][row.id], **changes)
            case Insert(row) | Update(row):
                unsure.add(type(row))
            case Place(row) if (row.identity, row.field) in placements and not before.unacknowledged:
                placements[row.identity, row.field] = row
            case Place() | Unplace():
                unsure.add(Placement)
            case _:
                pass
    after = replace(
        before,
        versions=list(rows[Version].values()),
        deliveries=list(rows[Delivery].values()),
        retirements=list(rows[Retirement].values()),
        placements=list(placements.values()),
    )
    return after, unsure


def _stays(row: Row, changes: Mapping[str, Any]) -> bool:
    """Whether the row is part of the situation, as before, and what it will be is known."""
    gone = _GONE[type(row)]
    counted = "sent_at" in changes  # among the creates of a day
    plain = all(isinstance(value, _PLAIN) for value in changes.values())
    return plain and not counted and row.state not in gone and changes.get("state") not in gone
