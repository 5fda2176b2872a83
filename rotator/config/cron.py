"""Cron lines in a time zone, and how far their slots are apart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

REFERENCE = datetime(2024, 1, 1, tzinfo=UTC)
"""Any will do; a fixed one judges a file alike on every day."""

_CRON_FIELDS = 5
_SLOTS = 400  # more than a year of daily slots, so that both clock changes are among them
_LAST_YEAR = 2100  # 29 February on a Sunday comes once in 28 years


@dataclass(frozen=True)
class CronSchedule:
    """A cron line in a time zone: five fields, Debian's rules, local times that a clock change skips come later."""

    expression: str
    zone: ZoneInfo

    def __post_init__(self) -> None:
        """Raises ValueError where the line is no cron line or names a date that never comes."""
        if len(self.expression.split()) != _CRON_FIELDS:
            message = "a cron line has five fields: minute, hour, day, month, weekday"
            raise ValueError(message)
        self.next_after(REFERENCE)

    def next_after(self, moment: datetime) -> datetime:
        """The first slot later than `moment`, in UTC."""
        from cronsim import CronSim, CronSimError

        try:
            for slot in CronSim(self.expression, moment.astimezone(self.zone)):
                at: datetime = slot.astimezone(UTC)
                if at > moment:  # the hour that a clock change repeats may bring one from before
                    return at
        except CronSimError as problem:
            message = f"is not a cron line: {str(problem).lower()}"
            raise ValueError(message) from None
        except (AssertionError, ValueError, OverflowError):
            message = "is not a cron line"
            raise ValueError(message) from None
        message = "names a date that never comes"
        raise ValueError(message)


@lru_cache(maxsize=256)
def gaps(schedule: CronSchedule) -> tuple[timedelta, timedelta]:
    """The shortest and the longest time between two of the next 400 slots; of rarer lines, until 2100."""
    slots = [schedule.next_after(REFERENCE)]
    while len(slots) < _SLOTS and slots[-1].year < _LAST_YEAR:
        slots.append(schedule.next_after(slots[-1]))
    between = [later - earlier for earlier, later in pairwise(slots)]
    return min(between), max(between)
