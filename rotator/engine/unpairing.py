"""Before an old key is taken away, no place holds it beside the current one any more (`mode: pair`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rotator.domain.events import Outcome, Subject
from rotator.domain.model import Cause, Retirement, RetirementReason, Rotation
from rotator.engine import retirement
from rotator.engine.intake import open_rotation
from rotator.engine.retirement import StandsBeside, version_of
from rotator.engine.work import Work
from rotator.ports.store import Insert


def drain(work: Work, row: Retirement) -> None:
    """planned → drained. Where a place holds the version beside the current one, that is rewritten first.

    The rewriting is a rotation of its own, opened when all else would let the version go. Where another is open, it
    waits for that one: it may write there anyway.
    """
    try:
        retirement.drain(work, row)
    except StandsBeside as found:
        if work.situation.rotation is None:
            _open(work, row, found.addresses)
        raise


def _open(work: Work, row: Retirement, addresses: Sequence[str]) -> None:
    current = work.situation.current
    if current is None:
        return
    work.material(current)  # nothing is opened that could not write; raises, and says what to do
    places = [t for t in work.managed.targets if t.destination.address in addresses]
    rows = open_rotation(work, Cause.UNPAIR, current.account, current, places=places)
    if row.why is RetirementReason.COMPROMISED:
        rows = [_urgent(insert) for insert in rows]
    told = work.event(
        Subject.ROTATION,
        Outcome.STARTED,
        version=current.id,
        reason=Cause.UNPAIR.value,
        message=f"version {version_of(work, row).number} is taken away, and stands beside it",
    )
    work.record(rows, [told])


def _urgent(insert: Insert) -> Insert:
    """A leak passes a pause, and so does what its end needs."""
    return Insert(replace(insert.row, urgent=True)) if isinstance(insert.row, Rotation) else insert
