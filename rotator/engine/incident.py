"""What became of a leaked key, by the times of its events: known, replaced everywhere, ended, refused; and its use."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rotator.domain.events import Outcome, Subject, name
from rotator.domain.model import RetirementReason
from rotator.domain.usage import HOUR, Sample
from rotator.engine.stopwatch import REFUSED_AND_GONE
from rotator.ports.store import StoredEvent

Body = Mapping[str, Any]
"""One event, as the trail has it."""

_NEW = (Subject.CREATE, Subject.AUTHENTICATE, Subject.PUSH, Subject.VERIFY, Subject.PROMOTE)
_OLD = (Subject.DRAIN, Subject.REVOKE, Subject.DISABLE, Subject.CONFIRM, Subject.DELETE)
_ENDS = (Subject.REVOKE, Subject.DISABLE, Subject.DELETE)


REFUSED = "refused by the provider"
_REFUSED = (REFUSED, REFUSED_AND_GONE)


def _done(subject: Subject) -> str:
    return name(subject, Outcome.SUCCEEDED)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One thing that was done about it."""

    step: Subject
    at: datetime
    after: timedelta  # since the leak was known
    version: int
    place: str | None  # the destination's name
    note: str | None
    done: bool = True  # False: it was tried, and is tried again


@dataclass(frozen=True, kw_only=True)
class Incident:
    """One leaked key."""

    version: int
    key_id: str | None
    known_at: datetime
    known_by: str  # in words
    marks: Sequence[Mark]
    used: Sequence[str]  # in words: by whom it was used between the leak and its end, as far as anybody tells

    @property
    def current_after(self) -> timedelta | None:
        """How long it took until the new key was verified everywhere; None while it is not, or none was needed."""
        return self._after(mark for mark in self.marks if mark.step is Subject.PROMOTE)

    @property
    def ended_after(self) -> timedelta | None:
        """How long until the provider said that the leaked one is disabled or deleted; None while it has not."""
        return self._after(mark for mark in self.marks if mark.step in _ENDS)

    @property
    def refused_after(self) -> timedelta | None:
        """How long until the provider was seen to refuse it; None: it was not, or not yet."""
        return self._after(mark for mark in self.marks if mark.done and mark.note in _REFUSED)

    @staticmethod
    def _after(marks: Iterable[Mark]) -> timedelta | None:
        return next((mark.after for mark in marks), None)


def incidents(trail: Iterable[StoredEvent], samples: Sequence[Sample]) -> list[Incident]:
    """Every leaked or revoked key of a credential, from its trail, the oldest first."""
    bodies: list[Body] = [json.loads(event.body) for event in trail]
    found = []
    for number in sorted(_leaked(bodies)):
        begin = next(b for b in bodies if number in _leaked([b], bodies))
        known_at = _at(begin)
        later = [b for b in bodies if _at(b) >= known_at]
        marks = list(_marks(later, number, known_at))
        key = next((b["key_id"] for b in bodies if b["version"] == number and b["key_id"]), None)
        last = marks[-1].at if marks and marks[-1].version == number else None
        found.append(
            Incident(
                version=number,
                key_id=key,
                known_at=known_at,
                known_by=_known_by(begin),
                marks=marks,
                used=[*_accounted(samples, key, known_at, last), *_told(later, number)],
            )
        )
    return found


def _leaked(bodies: Iterable[Body], before: Sequence[Body] = ()) -> set[int]:
    """The versions that these events say have leaked, or are to end at once. `before`: the trail that they are of."""
    found = set()
    for body in bodies:
        about = body["version"]
        if body["event"] == name(Subject.LEAK, Outcome.FOUND) or body["event"].startswith(f"{Subject.REVOKE}."):
            found.add(about)
        elif body["event"] == _done(Subject.COMPROMISED):
            found.add(about if about is not None else _current(before or bodies, _at(body)))
        elif body["reason"] == RetirementReason.COMPROMISED and body["event"] == _done(Subject.DRAIN):
            found.add(about)
    return {number for number in found if number is not None}


def _current(bodies: Iterable[Body], at: datetime) -> int | None:
    numbers = [b["version"] for b in bodies if b["event"] == _done(Subject.PROMOTE) and _at(b) <= at]
    return numbers[-1] if numbers else None


def _marks(later: Sequence[Body], number: int, known_at: datetime) -> Iterator[Mark]:
    new = next((b["version"] for b in later if b["event"] == _done(Subject.PROMOTE) and b["version"] > number), None)
    if new is None:  # not yet: the one that is being made
        new = next((b["version"] for b in later if b["event"] == _done(Subject.CREATE)), None)
    steps = {number: _OLD, new: _NEW}
    still_accepted = False
    for body in later:
        word, _, outcome = body["event"].rpartition(".")
        if word not in steps.get(body["version"], ()):
            continue
        done = outcome == Outcome.SUCCEEDED
        if not done and (still_accepted or (word, outcome) != (Subject.CONFIRM, Outcome.DELAYED)):
            continue  # of all that was tried in vain, only that the provider accepts the key still is told, once
        still_accepted |= not done
        yield Mark(
            step=Subject(word),
            at=_at(body),
            after=_at(body) - known_at,
            version=body["version"],
            place=body["destination"],
            note=_note(body) if done else body["detail"].get("message"),
            done=done,
        )


def _note(body: Body) -> str | None:
    if body["event"] == _done(Subject.CONFIRM):
        return REFUSED
    if body["event"] == _done(Subject.PROMOTE):
        return "current everywhere"
    found: str | None = body["detail"].get("confirmed") or body["detail"].get("how")
    return found


def _known_by(body: Body) -> str:
    why = body["detail"].get("because") or body["detail"].get("message")
    return f"{body['event'].partition('.')[0]} by {body['actor']}{f': {why}' if why else ''}"


def _accounted(samples: Sequence[Sample], key: str | None, since: datetime, until: datetime | None) -> Iterator[str]:
    """What the samples show: every bucket of which a part lies between the leak and the end of the key."""
    for sample in samples:
        if sample.key_id != key or not sample.used or sample.at + sample.width <= since:
            continue
        if sample.last_at is not None and sample.last_at < since:
            continue
        if until is not None and sample.at > until:
            continue
        by = " ".join(filter(None, (sample.service, sample.model, sample.region, sample.address)))
        span = "hour" if sample.width == HOUR else "day"
        when = f"last at {sample.last_at:%H:%M:%S}" if sample.last_at else f"{sample.requests} requests"
        yield f"{when}{f' by {by}' if by else ''}, in the {span} from {sample.at:%Y-%m-%d %H:%M} UTC"


def _told(later: Sequence[Body], number: int) -> Iterator[str]:
    """What its retirement has put on record as evidence."""
    for body in later:
        if body["version"] != number:
            continue
        if body["event"] == _done(Subject.DRAIN) and body["detail"].get("usage"):
            yield str(body["detail"]["usage"])
        for said in body["detail"].get("consumers") or ():
            yield ", ".join(f"{key} {value}" for key, value in said.items() if value not in (None, False))


def _at(body: Body) -> datetime:
    return datetime.fromisoformat(body["at"])
