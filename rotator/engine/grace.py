"""How long an old key is kept for its readers: what was promised may grow, and never shrinks."""

from __future__ import annotations

from datetime import timedelta

from rotator.domain.errors import TemporaryError
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import Retirement, RetirementReason, RetirementState
from rotator.domain.plans import drain_from, pace
from rotator.engine.work import MOVING, Target, Work
from rotator.ports.store import NewEvent, Update, Write

PROMISED = (RetirementReason.SUPERSEDED, RetirementReason.EXTRA)
"""What keeps working for those who still read it. Any other reason takes a key away that nobody should use."""

UNREAD = (RetirementReason.COMPROMISED, RetirementReason.LOST_ANSWER, RetirementReason.REHEARSED)
"""What nobody should read any more, or never could."""


def grow(work: Work) -> None:
    """Give retirements that are planned the grace of today's policy, where it is longer than the one pinned.

    Told once for each; nothing changes where the policy was shortened. May be repeated.
    """
    writes: list[Write] = []
    told: list[NewEvent] = []
    for row in work.situation.retirements:
        grace, _ = pace_of(work, row.why)
        if (
            row.state is not RetirementState.PLANNED
            or row.why not in PROMISED
            or row.wanted_back
            or row.forced
            or row.grace >= grace
        ):
            continue
        until = drain_from(row.opened_at, grace, row.soak, can_disable=work.provider.capabilities.can_disable)
        message = "the policy gives the old key a longer grace now"
        changes: dict[str, object] = {"grace": grace}
        if until > work.now():
            changes |= {**MOVING, "not_before": until, "reason": "grace", "message": message, "since": row.opened_at}
        writes.append(Update(row, changes))
        event = work.event(
            Subject.DRAIN,
            Outcome.DELAYED,
            version=row.version_id,
            reason="grace",
            message=message,
            until=f"{until:%Y-%m-%dT%H:%M:%SZ}",
        )
        told.append(event)
    if writes:
        work.record(writes, told)


def outwait_readers(work: Work, retirement: Retirement) -> None:
    """Raise TemporaryError while readers of a place may still hold what stood there before our last write.

    Grace alone is long enough where all places are written before cutover. This is for what is written later: a
    put-back, a place that was left out, drift that was overwritten. What has leaked does not wait for its readers.
    """
    slow = [t for t in work.managed.targets if t.lag and t.destination.identity not in retirement.without]
    for target in slow if retirement.why not in UNREAD else ():
        _outwait(work, target)


def _outwait(work: Work, target: Target) -> None:
    now = work.now()
    written = max(
        (p.placed_at for p in work.situation.placements_at(target.destination.identity).values()), default=None
    )
    if written is None or written + target.lag <= now:
        return
    message = f"{target.destination.address} was written at {written:%Y-%m-%d %H:%M:%S} UTC, and is read slowly"
    wait = min(written + target.lag - now, target.lag)  # what lies in the future was dated by another clock
    raise TemporaryError(message, reason="readers_lag", retry_after=wait.total_seconds())


def pace_of(
    work: Work, why: RetirementReason, grace: timedelta | None = None, soak: timedelta | None = None
) -> tuple[timedelta, timedelta]:
    """The grace and the soak of a retirement of this reason, from those given, or from today's policy's."""
    capabilities, policy = work.provider.capabilities, work.managed.policy
    return pace(
        why,
        grace=policy.grace if grace is None else grace,
        soak=policy.soak if soak is None else soak,
        settle=work.managed.settle,
        labels=capabilities.labels,
        can_disable=capabilities.can_disable,
    )
