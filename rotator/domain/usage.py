"""How keys are used: samples in buckets of time, what is kept of them for how long, and what they come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

HOURS_KEPT = timedelta(days=63)
"""Nine weeks: the eight that an hour of the week is compared with, and the one at hand. Then hours become days."""

DAYS_KEPT = timedelta(days=400)
"""A year, and some weeks to compare it with."""

MILLION = 1_000_000
"""Costs are kept as whole millionths of the currency, so that they add up."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The use of one key in one bucket, as its provider accounts for it. All but the last four tell buckets apart.

    What a provider does not tell is empty or 0. One that tells only the last use of a key gives the bucket of that
    moment, with `last_at` and no requests.
    """

    key_id: str
    at: datetime  # its begin
    width: timedelta  # HOUR or DAY
    service: str = ""
    model: str = ""
    region: str = ""
    address: str = ""  # where requests came from
    ours: bool = False  # our own check of the key
    requests: int = 0
    cost: int = 0  # in millionths
    currency: str = ""
    last_at: datetime | None = None

    @property
    def used(self) -> bool:
        """Whether it tells of any use by others."""
        return not self.ours and (self.requests > 0 or self.last_at is not None)

    @property
    def bucket(self) -> Sample:
        """What tells it from the samples of other buckets."""
        return replace(self, requests=0, cost=0, currency="", last_at=None)

    @property
    def surely_at(self) -> datetime:
        """The latest moment at which there surely was use."""
        return self.last_at or self.at


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How far the use of a credential's keys is on record."""

    since: datetime  # from when on
    at: datetime  # the last look


@dataclass(frozen=True, kw_only=True)
class Change:
    """Something that was done to keys at the provider, as its own audit log tells."""

    id: str  # of the entry
    at: datetime
    what: str  # as the provider names it, such as `api_key.created`
    about: str  # the id of the key, or of whatever it was done to
    by: str  # who did it, in words
    address: str = ""


def begin(moment: datetime, width: timedelta) -> datetime:
    """The begin of the bucket of a moment. Buckets are of UTC."""
    moment = moment.astimezone(UTC)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return day if width == DAY else day.replace(hour=moment.hour)


def rolled_before(now: datetime) -> datetime:
    """Hours that begin before this become days. What begins later needs nothing to be done about it."""
    return begin(now - HOURS_KEPT, DAY)


def rolled_up(samples: Iterable[Sample], now: datetime) -> tuple[list[Sample], list[Sample]]:
    """What is due: the days that hours have become, in all; and the samples that are kept no more."""
    held = list(samples)
    old = [s for s in held if s.width == HOUR and s.at < rolled_before(now)]
    days = {s.bucket: s for s in held if s.width == DAY}
    grown: dict[Sample, Sample] = {}
    for hour in old:
        day = replace(hour, at=begin(hour.at, DAY), width=DAY)
        so_far = grown.get(day.bucket) or days.get(day.bucket)
        grown[day.bucket] = day if so_far is None else _added(so_far, day)
    return list(grown.values()), [*old, *(s for s in held if s.width == DAY and s.at < now - DAYS_KEPT)]


def _added(one: Sample, other: Sample) -> Sample:
    moments = [moment for moment in (one.last_at, other.last_at) if moment is not None]
    return replace(
        one,
        requests=one.requests + other.requests,
        cost=one.cost + other.cost,
        currency=one.currency or other.currency,
        last_at=max(moments, default=None),
    )


@dataclass
class Record:
    """What the samples of one credential come to, whichever of its keys was used; without our own checks."""

    hours: dict[datetime, int] = field(default_factory=dict)  # in which it was used → requests, of the last weeks
    costs: dict[datetime, int] = field(default_factory=dict)  # of each day, in millionths
    currency: str = ""
    first: dict[tuple[str, str], datetime] = field(default_factory=dict)  # (`model`, its name) → first seen
    uses: list[datetime] = field(default_factory=list)  # moments of surely known use, in no order
    last: dict[str, datetime] = field(default_factory=dict)  # key id → the last surely known use

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Record:
        """All of them."""
        record = cls()
        for sample in samples:
            record.add(sample)
        return record

    def add(self, sample: Sample) -> None:
        """One more."""
        if sample.cost:
            day = begin(sample.at, DAY)
            self.costs[day] = self.costs.get(day, 0) + sample.cost
            self.currency = sample.currency or self.currency
        if not sample.used:
            return
        for kind in ("service", "model", "region"):
            if name := getattr(sample, kind):
                self.first[kind, name] = min(self.first.get((kind, name), sample.at), sample.at)
        if sample.width == HOUR:
            self.hours[sample.at] = self.hours.get(sample.at, 0) + sample.requests
        at = sample.surely_at
        self.uses.append(at)
        self.last[sample.key_id] = max(self.last.get(sample.key_id, at), at)
