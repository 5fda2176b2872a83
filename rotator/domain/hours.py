"""Hours in which a scheduled rotation may begin: windows and blackouts, by the wall clock of a time zone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal

_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_DAY = timedelta(days=1)
_WHOLE_DAY = 24 * 60
_STRIDE = timedelta(days=8)
"""Longer than a week: what is weekly and does not begin within it never does."""

_WEEKLY = re.compile(r"(?P<days>[A-Za-z,-]+)?\s*(?:(?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d))?")
_DATED = re.compile(r"(2\d{3}-\d\d-\d\d)(?: (\d\d:\d\d))?/(2\d{3}-\d\d-\d\d)(?: (\d\d:\d\d))?")
_HOW = "is no span; write MON-FRI 22:00-04:00, SAT,SUN or 2026-12-20/2027-01-03"


@dataclass(frozen=True)
class Weekly:
    """Hours of some weekdays. One that does not end later than it begins ends on the next day."""

    text: str
    days: frozenset[int]  # that it begins on; Monday is 0
    start: int  # minutes after midnight
    end: int

    def __str__(self) -> str:
        return self.text

    def holds(self, local: datetime) -> bool:
        """Whether it covers what the wall clock shows."""
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        return (day in self.days and minute >= self.start) or ((day - 1) % 7 in self.days and minute < self.end)

    def edges(self, day: date) -> Iterator[datetime]:
        """When it begins, and ends again, by the wall clock, where it begins on this day."""
        if day.weekday() in self.days:
            midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - what the wall clock shows
            yield midnight + timedelta(minutes=self.start)
            yield midnight + timedelta(minutes=self.end) + (_DAY if self.end <= self.start else timedelta(0))


@dataclass(frozen=True)
class Dated:
    """From one moment of the wall clock to another."""

    text: str
    start: datetime  # naive
    end: datetime

    def __str__(self) -> str:
        return self.text

    def holds(self, local: datetime) -> bool:
        """Whether it covers what the wall clock shows."""
        return self.start <= local.replace(tzinfo=None) < self.end

    def edges(self, day: date) -> Iterator[datetime]:
        """Its beginning and its end, where they are on this day."""
        yield from (edge for edge in (self.start, self.end) if edge.date() == day)


Span = Weekly | Dated


def read_span(text: str) -> Span:
    """`MON-FRI 22:00-04:00`, `SAT,SUN`, `02:00-05:00`, `2026-12-20/2027-01-03` (both days whole). Raises ValueError."""
    text = " ".join(text.split())
    dated = _DATED.fullmatch(text)
    if dated:
        start_day, start, end_day, end = dated.groups()
        begins = _clock(start_day, start or "00:00")
        ends = _clock(end_day, end or "24:00")
        if ends <= begins:
            message = "ends before it begins"
            raise ValueError(message)
        return Dated(text, begins, ends)
    weekly = _WEEKLY.fullmatch(text)
    if not text or weekly is None:
        raise ValueError(_HOW)
    start, end = weekly["start"] or "00:00", weekly["end"] or "24:00"
    return Weekly(text, _days(weekly["days"]), _minutes(start), _minutes(end))


def _clock(day: str, at: str) -> datetime:
    try:
        return datetime.fromisoformat(day) + timedelta(minutes=_minutes(at))
    except ValueError:
        message = f"there is no {day} {at}"
        raise ValueError(message) from None


def _minutes(at: str) -> int:
    hours, minutes = int(at[:2]), int(at[3:])
    if minutes >= 60 or hours * 60 + minutes > _WHOLE_DAY:  # noqa: PLR2004 - minutes of an hour
        message = f"there is no {at}"
        raise ValueError(message)
    return hours * 60 + minutes


def _days(text: str | None) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.upper().split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            raise ValueError(_HOW)
        begin, end = _DAYS.index(first), _DAYS.index(last or first)
        found |= {(begin + step) % 7 for step in range((end - begin) % 7 + 1)}
    return frozenset(found)


@dataclass(frozen=True)
class Hours:
    """When something scheduled may begin: inside a window, where there are any, and never inside a blackout."""

    windows: Sequence[Span] = ()
    blackouts: Sequence[Span] = ()
    zone: tzinfo = UTC

    def closed(self, moment: datetime) -> Literal["blackout", "window"] | None:
        """What keeps it from beginning at this moment."""
        if not self.windows and not self.blackouts:
            return None
        local = moment.astimezone(self.zone)
        if any(span.holds(local) for span in self.blackouts):
            return "blackout"
        if self.windows and not any(span.holds(local) for span in self.windows):
            return "window"
        return None

    def opens(self, moment: datetime) -> datetime | None:
        """The first moment from this one on at which it may begin; None: never."""
        last = max([moment, *self._dated()]) + 2 * _STRIDE
        while moment < last:
            moment = self._after_blackout(moment)
            for edge in self._edges(moment, moment + _STRIDE):
                if self.closed(edge) is None:
                    return edge
            moment += _STRIDE
        return None

    def _after_blackout(self, moment: datetime) -> datetime:
        """At once to the end of a blackout of the calendar: it may last for years."""
        local = moment.astimezone(self.zone)
        ends = [span.end for span in self.blackouts if isinstance(span, Dated) and span.holds(local)]
        return max((end.replace(tzinfo=self.zone).astimezone(UTC) for end in ends), default=moment)

    def last_open(self, moment: datetime, since: datetime) -> datetime | None:
        """Where the last hours before this moment begin in which it might begin, but at most a day before they end.

        None where there are none from `since` on.
        """
        begins: datetime | None = None
        ends = later = moment
        while moment > since:
            low = max(moment - _STRIDE, since)
            for edge in reversed(self._edges(low, moment)):
                if self.closed(edge) is None:
                    ends = later if begins is None else ends
                    begins = edge
                    if begins <= ends - _DAY:
                        return ends - _DAY
                elif begins is not None:
                    return begins
                later = edge
            moment = low
        return begins

    def _dated(self) -> list[datetime]:
        spans = [span for span in (*self.windows, *self.blackouts) if isinstance(span, Dated)]
        return [edge.replace(tzinfo=UTC) + _DAY for span in spans for edge in (span.start, span.end)]

    def _edges(self, low: datetime, high: datetime) -> list[datetime]:
        """`low`, and every later moment before `high` at which anything may change, in order."""
        found = {low}
        day, last = low.astimezone(self.zone).date() - _DAY, high.astimezone(self.zone).date()
        while day <= last:
            for span in (*self.windows, *self.blackouts):
                for edge in span.edges(day):
                    found |= {edge.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
            day += _DAY
        found |= self._clock_changes(low, high)
        return sorted(edge for edge in found if low <= edge < high)

    def _clock_changes(self, low: datetime, high: datetime) -> set[datetime]:
        """Where the wall clock jumps it may jump over an edge."""
        found = set()
        while low < high:
            end = min(low + _DAY, high)
            if self._offset(low) != self._offset(end):
                before, after = low, end
                while after - before > timedelta(seconds=1):
                    middle = before + (after - before) / 2
                    before, after = (middle, after) if self._offset(middle) == self._offset(low) else (before, middle)
                found.add(after.replace(microsecond=0))
            low = end
        return found

    def _offset(self, moment: datetime) -> timedelta | None:
        return moment.astimezone(self.zone).utcoffset()
