"""A brownout: an old key is disabled for a while in working hours, so that a forgotten reader shows in time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.domain.hours import Hours
from rotator.domain.model import Retirement

LATEST = timedelta(days=28)
"""How long after the grace its hours are waited for, where they were missed before."""


@dataclass(frozen=True, kw_only=True)
class Brownout:
    """What a policy wants: so long after cutover, for so long, at these hours. Shorter than the grace."""

    after: timedelta
    lasts: timedelta
    hours: Hours


def begins(row: Retirement, hours: Hours, now: datetime) -> datetime | None:
    """When the brownout of a retirement may begin, from now on, so that it begins and ends in its hours.

    None where they leave it no room between its `after` and the end of the grace. One that was missed, or is tried
    once more, may begin later.
    """
    if row.brownout_after is None or row.brownout_for is None:
        return None
    first, last = row.opened_at + row.brownout_after, row.opened_at + row.grace - row.brownout_for
    if fits(hours, row.brownout_for, first, last) is None:
        return None
    return fits(hours, row.brownout_for, max(first, now), max(last, now + LATEST))


def fits(hours: Hours, lasts: timedelta, first: datetime, last: datetime) -> datetime | None:
    """The first moment of these two, or between them, at which the hours are open, and still are after such a time."""
    while first <= last:
        opens = hours.opens(first)
        if opens is None or opens > last:
            return None
        if hours.closed(opens + lasts) is None:
            return opens
        first = opens + lasts
    return None
