"""How long the steps of a rehearsal took, by the times of its events: each from the end of the one before."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rotator.domain.events import Outcome, Subject, name
from rotator.ports.store import StoredEvent

Body = Mapping[str, Any]
"""One event, as the trail has it."""

STEPS = (
    Subject.CREATE,
    Subject.AUTHENTICATE,
    Subject.PUSH,
    Subject.VERIFY,
    Subject.REMOVE,
    Subject.DRAIN,
    Subject.DISABLE,
    Subject.DELETE,
)
"""The steps of a rehearsal in their order. Where the provider cannot disable, that one is left out."""

_AT_EACH_PLACE = (Subject.PUSH, Subject.VERIFY, Subject.REMOVE)
REFUSED_AND_GONE = "not listed and refused"
"""How a deletion is confirmed where the provider can tell and the value is on record."""

NONE = timedelta(0)


@dataclass(frozen=True)
class Lap:
    """One step that was done: what it took, and what of that at each place."""

    step: Subject
    took: timedelta
    places: Mapping[str, timedelta]  # by the destination's name


@dataclass(frozen=True)
class Rehearsed:
    """What the trail says of one rehearsal."""

    laps: Sequence[Lap]
    succeeded: bool
    failed: Body | None = None  # its `rehearsal.failed`
    refused: bool = False  # the provider was seen to refuse the key at the end

    @property
    def stopped_at(self) -> str:
        """The step that it did not come past."""
        done = {lap.step for lap in self.laps}
        return next(step.value for step in (*STEPS, Subject.REHEARSAL) if step not in done)

    def until(self, steps: Sequence[Subject]) -> timedelta | None:
        """The time from the beginning to the end of the first of these steps that was done; None where none was.

        What it took to take the shadows away is not in it: nothing of the kind is done in earnest.
        """
        took = NONE
        for lap in self.laps:
            took += NONE if lap.step is Subject.REMOVE else lap.took
            if lap.step in steps:
                return took
        return None

    @property
    def current_after(self) -> timedelta | None:
        """How long it would take until a new key is verified at every place."""
        return self.until([Subject.VERIFY])

    @property
    def dead_after(self) -> timedelta | None:
        """How long until a leaked key is dead: disabled, or deleted where the provider cannot disable."""
        return self.until([Subject.DISABLE, Subject.DELETE])

    @property
    def refused_after(self) -> timedelta | None:
        """How long until its provider has been seen to refuse it; None where nobody can tell."""
        return self.until([Subject.DELETE]) if self.refused else None


def read(trail: Iterable[StoredEvent], rotation: str) -> Rehearsed:
    """The rehearsal with this rotation's id, from its credential's trail."""
    return _read([json.loads(event.body) for event in trail], rotation)


def summary(trail: Iterable[StoredEvent], version: int, now: datetime, confirmed: str) -> dict[str, Any]:
    """What `rehearsal.succeeded` tells: milliseconds of each step, of which the deletion of this version ends now.

    `confirmed` says how it is known that the key is gone.
    """
    bodies: list[Body] = [json.loads(event.body) for event in trail]
    made = [b for b in bodies if b["version"] == version and b["event"] == _done(Subject.CREATE)]
    if not made:  # the credential had another name then
        return {}
    told = {"event": _done(Subject.DELETE), "detail": {"confirmed": confirmed}}
    end = {**made[-1], **told, "rotation": None, "at": now.isoformat()}
    found = _read([*bodies, end], made[-1]["rotation"])
    return {
        "took_ms": {lap.step.value: _ms(lap.took) for lap in found.laps},
        "current_after_ms": _ms(found.current_after or NONE),
        "dead_after_ms": _ms(found.dead_after or NONE),
        **({"refused_after_ms": _ms(found.refused_after)} if found.refused_after is not None else {}),
    }


def last(trail: Iterable[StoredEvent]) -> Body | None:
    """The end of the last rehearsal, `rehearsal.succeeded` or `rehearsal.failed`; None where there was none."""
    ends = (name(Subject.REHEARSAL, Outcome.SUCCEEDED), name(Subject.REHEARSAL, Outcome.FAILED))
    found = None
    for event in trail:
        if '"rehearsal.' in event.body:  # most are not, and reading them takes time
            body = json.loads(event.body)
            found = body if body["event"] in ends else found
    return found


def _ms(took: timedelta) -> int:
    return round(took / timedelta(milliseconds=1))


def _read(bodies: Sequence[Body], rotation: str) -> Rehearsed:
    numbers = {b["version"] for b in bodies if b["rotation"] == rotation and b["event"] == _done(Subject.CREATE)}
    own = [b for b in bodies if b["rotation"] == rotation or b["version"] in numbers - {None}]
    began = next((_at(b) for b in own if b["event"] == name(Subject.REHEARSAL, Outcome.STARTED)), None)
    laps = [] if began is None else _laps(own, began)
    failed = [b for b in own if b["event"] == name(Subject.REHEARSAL, Outcome.FAILED)]
    ends = [b["detail"].get("confirmed") for b in own if b["event"] == _done(Subject.DELETE)]
    succeeded = any(b["event"] == _done(Subject.REHEARSAL) for b in own)
    return Rehearsed(laps, succeeded, failed[-1] if failed else None, REFUSED_AND_GONE in ends)


def _laps(own: Sequence[Body], began: datetime) -> list[Lap]:
    laps, before = [], began
    for step in STEPS:
        ends = [b for b in own if b["event"] == _done(step)]
        if step not in (Subject.REMOVE, Subject.CREATE):
            ends = [b for b in ends if b["destination"] is None]
        if ends:
            end = max(_at(b) for b in ends)
            laps.append(Lap(step, max(end - before, NONE), _places(own, step)))
            before = max(end, before)
    return laps


def _places(own: Sequence[Body], step: Subject) -> dict[str, timedelta]:
    """What a step took at each place, from its last start to its end; verifying has no start of its own."""
    started: dict[str, datetime] = {}
    took: dict[str, timedelta] = {}
    for body in own if step in _AT_EACH_PLACE else ():
        place = body["destination"]
        if place is not None and body["event"] == name(step, Outcome.STARTED):
            started[place] = _at(body)
        elif place in started and body["event"] == _done(step):
            took[place] = _at(body) - started[place]
    return took


def _done(step: Subject) -> str:
    return name(step, Outcome.SUCCEEDED)


def _at(body: Body) -> datetime:
    return datetime.fromisoformat(body["at"])
