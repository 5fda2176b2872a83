"""What an auditor asks about a period, told from the trail alone: which keys, how old each became, how each died.

Every line names the events that it rests on, so that whoever draws a sample can look them up in an export. What the
trail cannot tell is said, never guessed: a key whose making nobody has seen has a greatest age of "at least".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rotator.domain.events import Outcome, Subject, name
from rotator.engine.ledger import EXCEPTIONS, Course, Json, Ledger, Life
from rotator.engine.report import stamp


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the report is about."""

    since: datetime
    until: datetime
    now: datetime
    max_age: timedelta
    names: Sequence[str] | None = None  # None: all that ever were
    owners: Mapping[str, str] = field(default_factory=dict)
    blind: Mapping[str, str] = field(default_factory=dict)  # name → why nobody can see keys that are not managed


def report(ledger: Ledger, asked: Asked) -> dict[str, Any]:
    """The report, as JSON."""
    return _Period(ledger, asked).report()


class _Period:
    def __init__(self, ledger: Ledger, asked: Asked) -> None:
        self.ledger = ledger
        self.asked = asked
        self.since, self.until = asked.since, min(asked.until, asked.now)

    def report(self) -> dict[str, Any]:
        keys = [self._key(life) for life in self._lives()]
        unknown = [*self._unknown()]
        older = [key for key in keys if key["older"]]
        verdict = "older" if older else "unknown" if unknown else "within"
        return {
            "report": "rotation",
            "from": stamp(self.since),
            "to": stamp(self.asked.until),
            "made_at": stamp(self.asked.now),
            "max_age_seconds": int(self.asked.max_age.total_seconds()),
            "credentials": list(self.asked.names) if self.asked.names is not None else None,
            "verdict": verdict,
            "unknown": unknown,
            "population": {
                "start": self._population(self.since),
                "end": self._population(self.until),
                "between": self._between(),
            },
            "keys": keys,
            "rotations": [self._rotation(c) for c in self._courses()],
            "exceptions": [self._told(e) for e in self._events(lambda e: e["event"] in EXCEPTIONS)],
            "pauses": self._pauses(),
            "policy_changes": [
                self._told(e) for e in self._events(lambda e: e["event"] == name(Subject.POLICY, Outcome.SUCCEEDED))
            ],
            "trail": self._trail(),
        }

    def _about(self, credential: str | None) -> bool:
        return self.asked.names is None or credential in self.asked.names

    def _lives(self) -> list[Life]:
        everyone = (*self.ledger.lives.values(), *self.ledger.strangers)
        found = [life for life in everyone if self._about(life.credential) and life.proof != "never made"]
        found = [life for life in found if life.overlaps(self.since, self.until)]
        return sorted(found, key=lambda life: (life.credential, life.version is None, life.version or 0, life.seen_at))

    def _key(self, life: Life) -> dict[str, Any]:
        oldest = life.oldest(self.until)
        return {
            "credential": life.credential,
            "owner": self.asked.owners.get(life.credential),
            "managed": life.version is not None,
            "version": life.version,
            "key_id": life.key_id,
            "made_at": stamp(life.made_at),
            "first_seen_at": stamp(life.seen_at),
            "current_at": stamp(life.current_at),
            "disabled_at": stamp(life.disabled_at),
            "gone_at": stamp(life.ended_at),
            "proof": life.proof,
            "oldest_seconds": int(oldest.total_seconds()),
            "at_least": life.made_at is None,
            "older": oldest > self.asked.max_age,
            "events": life.events,
        }

    # population

    def _population(self, moment: datetime) -> dict[str, Any]:
        spans = self.ledger.managed.items()
        names = [
            n for n, own in spans if self._about(n) and any(b <= moment and (e is None or e > moment) for b, e in own)
        ]
        living = [life for life in self._lives() if life.lives_at(moment)]
        return {
            "at": stamp(moment),
            "credentials": sorted(names),
            "keys": [_named(life) for life in living if life.version is not None],
            "unmanaged": [_named(life) for life in living if life.version is None],
        }

    def _between(self) -> dict[str, Any]:
        begun = [n for n, own in self.ledger.managed.items() if self._about(n) and any(self._in(b) for b, _ in own)]
        ended = [n for n, own in self.ledger.managed.items() if self._about(n) and any(self._in(e) for _, e in own)]
        lives = self._lives()
        return {
            "credentials_added": sorted(begun),
            "credentials_removed": sorted(ended),
            "keys_added": [_named(life) for life in lives if self._in(life.made_at or life.seen_at)],
            "keys_gone": [_named(life) for life in lives if self._in(life.stopped_at)],
        }

    def _in(self, moment: datetime | None) -> bool:
        return moment is not None and self.since < moment <= self.until

    # rotations

    def _courses(self) -> list[Course]:
        found = [c for c in self.ledger.courses.values() if self._about(c.credential)]
        return [c for c in found if c.opened_at < self.until and (c.ended_at is None or c.ended_at > self.since)]

    def _rotation(self, course: Course) -> dict[str, Any]:
        old = [
            self.ledger.lives[course.credential, n]
            for n in course.replaced
            if (course.credential, n) in self.ledger.lives
        ]
        return {
            "rotation": course.id,
            "credential": course.credential,
            "cause": course.cause,
            "why": course.why,
            "actor": course.actor,
            "opened_at": stamp(course.opened_at),
            "ended_at": stamp(course.ended_at),
            "outcome": course.outcome or "open",
            "reason": course.reason,
            "version": course.version,
            "steps": course.steps,
            "old_keys": [
                {
                    **_named(life),
                    "disabled_at": stamp(life.disabled_at),
                    "gone_at": stamp(life.ended_at),
                    "proof": life.proof,
                    "events": life.events,
                }
                for life in old
            ],
            "events": course.events,
        }

    # what people did

    def _events(self, wanted: Callable[[Json], bool]) -> Iterator[Json]:
        for event in self.ledger.told:
            at = datetime.fromisoformat(event["at"])
            about = event["credential"] is None or self._about(event["credential"])
            if wanted(event) and about and self.since <= at <= self.until:
                yield event

    def _told(self, event: Json) -> dict[str, Any]:
        return {
            "at": event["at"],
            "event": event["event"],
            "credential": event["credential"],
            "owner": self.asked.owners.get(event["credential"] or ""),
            "actor": event["actor"],
            "reason": event["detail"].get("because") or event["detail"].get("message") or event["reason"],
            "detail": event["detail"],
            "events": [event["seq"]],
        }

    def _pauses(self) -> list[dict[str, Any]]:
        """Those that lasted at any time of the period, whenever they were begun."""
        pauses: list[dict[str, Any]] = []
        lasting: dict[str, dict[str, Any]] = {}
        ends = {name(Subject.PAUSE, Outcome.SUCCEEDED), name(Subject.UNPAUSE, Outcome.SUCCEEDED)}
        for event in (e for e in self.ledger.told if e["event"] in ends and self._about(e["credential"])):
            before = lasting.pop(event["credential"], None)
            if before is not None:
                before["ended_at"] = min(event["at"], before["ended_at"] or event["at"])
                before["events"].append(event["seq"])
            if event["event"] == name(Subject.PAUSE, Outcome.SUCCEEDED):
                lasting[event["credential"]] = {
                    "credential": event["credential"],
                    "owner": self.asked.owners.get(event["credential"]),
                    "actor": event["actor"],
                    "reason": event["detail"].get("because"),
                    "lasts": event["detail"].get("lasts"),
                    "began_at": event["at"],
                    "ended_at": None,
                    "events": [event["seq"]],
                }
                pauses.append(lasting[event["credential"]])
        return [p for p in pauses if datetime.fromisoformat(p["began_at"]) <= self.until and self._lasted(p)]

    def _lasted(self, pause: Json) -> bool:
        return pause["ended_at"] is None or datetime.fromisoformat(pause["ended_at"]) > self.since

    # the trail itself

    def _trail(self) -> dict[str, Any]:
        first, last = self.ledger.first, self.ledger.last
        return {
            "first_event": first[0] if first else None,
            "last_event": last[0] if last else None,
            "last_hash": last[2] if last else None,
            "checkpoints": {"start": self._checkpoint(self.since), "end": self._checkpoint(self.until, after=True)},
        }

    def _checkpoint(self, moment: datetime, *, after: bool = False) -> dict[str, Any] | None:
        """The last one before the period; the first one after its end, or the last one before it."""
        signed = [e for e in self.ledger.told if e["event"] == name(Subject.CHECKPOINT, Outcome.SUCCEEDED)]
        before = [e for e in signed if datetime.fromisoformat(e["at"]) <= moment]
        later = [e for e in signed if datetime.fromisoformat(e["at"]) > moment]
        found = later[0] if after and later else before[-1] if before else None
        if found is None:
            return None
        return {"at": found["at"], "event": found["seq"], "checkpoint": found["detail"].get("checkpoint")}

    def _unknown(self) -> Iterator[str]:
        """What the trail cannot tell, in sentences."""
        first = self.ledger.first
        if self.asked.until > self.asked.now:
            yield f"the period is not over: this is how it stood at {stamp(self.asked.now)}"
        if first is None or first[1] > self.since:
            begin = stamp(first[1]) if first else "ever"
            yield f"the trail begins at {begin}, after the beginning of the period: what there was before is not known"
        elif first[0] > 1:
            yield f"the events before {first[0]} are not here any more: keys that were made before them may be missing"
        for life in self._lives():
            called = f"the key {life.key_id or '(id unknown)'} of {life.credential}"
            if life.made_at is None:
                yield f"when {called} was made is not known: it is at least as old as said"
            if life.sent and not life.key_id:
                yield f"whether a key was made for version {life.version} of {life.credential} is not known"
        for credential, why in sorted(self.asked.blind.items()):
            if self._about(credential):
                yield f"whether there are keys beside those of {credential} that nobody manages is not known: {why}"


def _named(life: Life) -> dict[str, Any]:
    return {"credential": life.credential, "version": life.version, "key_id": life.key_id}
