"""Until when keys may work, and when replacing one has to begin so that it is gone in time. Facts and the clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from rotator.domain.model import RetirementState, Situation, Version, VersionState

HOUR = timedelta(hours=1)

WORKING = (VersionState.PENDING, VersionState.CURRENT, VersionState.PREVIOUS, VersionState.CONDEMNED)
"""A version in one of these states may have a key that works. A disabled one does not."""


def room(limit: timedelta) -> timedelta:
    """What is kept free for retries before a key's time is up: 5 % of it, at least an hour."""
    return max(HOUR, limit / 20)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How long a key may work, and what it takes to replace one."""

    max_age: timedelta | None = None
    grace: timedelta
    soak: timedelta
    settle: timedelta
    waves: timedelta = timedelta(0)  # how long they soak, all together
    can_disable: bool

    @property
    def overlap(self) -> timedelta:
        """How long the old key works beside the new one: without `disable`, the soak counts as more grace."""
        return self.grace if self.can_disable else self.grace + self.soak

    def lead(self, limit: timedelta) -> timedelta:
        """How long before its time is up a key's replacement has to begin."""
        return self.overlap + self.settle + self.waves + room(limit)


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """A key's time is up `at`; for it to be gone by then, its replacement begins at `start`."""

    version: Version
    why: Literal["max_age", "expires"]
    since: datetime  # its age counts from here
    at: datetime
    start: datetime
    message: str

    @property
    def earliest(self) -> datetime:
        """No window before this moment is taken for it: a key is not replaced at less than half of its time."""
        return self.start - max(self.start - self.since, timedelta(0)) / 2

    @property
    def warn_at(self) -> datetime:
        """The last moment to say that it will not be gone in time: half of the room for retries is left."""
        return self.at - room(self.at - self.since) / 2


def born(version: Version) -> datetime:
    """Since when a key may have been there: the earliest of what we and its provider know."""
    moments = (version.issued_at, version.sent_at, version.created_at)
    return min(moment for moment in moments if moment is not None)


def deadlines(version: Version, terms: Terms) -> Iterator[Deadline]:
    """What limits the time of a version's key: `max_age`, and the provider's own expiry."""
    since = born(version)
    ends: list[tuple[Literal["max_age", "expires"], datetime, str]] = []
    if terms.max_age is not None:
        ends.append(("max_age", since + terms.max_age, "reaches its max_age"))
    if version.expires_at is not None:
        ends.append(("expires", version.expires_at, "expires"))
    for why, at, words in ends:
        message = f"version {version.number} {words} at {at:%Y-%m-%d %H:%M} UTC"
        start = at - terms.lead(max(at - since, timedelta(0)))
        yield Deadline(version=version, why=why, since=since, at=at, start=start, message=message)


def first_deadline(situation: Situation, terms: Terms) -> Deadline | None:
    """The one that the next rotation has to keep: of the current key, and of those that go with it."""
    waiting = [v for v in situation.versions if _goes_with_the_next(v, situation)]
    found = [deadline for version in waiting for deadline in deadlines(version, terms)]
    return min(found, key=lambda deadline: deadline.start, default=None)


def _goes_with_the_next(version: Version, situation: Situation) -> bool:
    """The current one, and one that a person has reactivated."""
    if version.state is VersionState.CURRENT:
        return True
    row = situation.retirement_of(version.id)
    return version.state is VersionState.PREVIOUS and (row is None or row.wanted_back)


def passed(situation: Situation, terms: Terms, now: datetime) -> list[Deadline]:
    """Those of working keys that are over."""
    return [d for d in _of_working(situation, terms) if now > d.at and (d.why == "max_age" or _is_current(d))]


def missed(situation: Situation, terms: Terms, now: datetime) -> list[Deadline]:
    """Those of working keys that will not be kept any more, or only just: said before it is so."""
    late = [d for d in _of_working(situation, terms) if _gone_by(d.version, situation, terms, now) > d.warn_at]
    return [d for d in late if d.why == "max_age" or _is_current(d) or (_is_promised(d) and now <= d.at)]


def _of_working(situation: Situation, terms: Terms) -> Iterator[Deadline]:
    for version in situation.versions:
        if _works(version, situation) and version.key_id is not None:
            yield from deadlines(version, terms)


def _works(version: Version, situation: Situation) -> bool:
    """Whether its key may work, or will again after a brownout."""
    row = situation.retirement_of(version.id)
    return version.state in WORKING or (row is not None and row.state is RetirementState.BROWNED_OUT)


def _is_current(deadline: Deadline) -> bool:
    return deadline.version.state is VersionState.CURRENT


def _is_promised(deadline: Deadline) -> bool:
    """Whether somebody may still rely on a key that is being replaced."""
    return deadline.version.state is VersionState.PREVIOUS and deadline.version.compromised_at is None


def _gone_by(version: Version, situation: Situation, terms: Terms, now: datetime) -> datetime:
    """The earliest moment at which the key can have stopped working."""
    row = situation.retirement_of(version.id)
    if row is not None and not row.wanted_back:
        return max(now, row.gone_from or now)
    promised = situation.rotation.grace if situation.rotation is not None else timedelta(0)
    return now + max(terms.overlap, promised)
