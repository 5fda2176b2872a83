"""What a changed configuration would do: which keys are orphaned, what is due at once. Rows only; asks nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from rotator.domain.deadlines import HOUR
from rotator.domain.forecast import forecast
from rotator.domain.model import Cause, Placement, Situation, Version
from rotator.domain.policy import next_rotation_at
from rotator.engine import moving
from rotator.engine.plan import course
from rotator.engine.report import Report, question_of
from rotator.engine.work import Managed, Target

Danger = Literal["orphan", "stampede"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference: `+` added, `-` taken out, `~` changed. `danger` is what somebody should think about first."""

    sign: Literal["+", "-", "~"]
    credentials: Sequence[str] = ()  # none: it is the installation's
    what: str
    effect: str = ""
    danger: Danger | None = None

    def as_json(self) -> dict[str, object]:
        """The shape of `changes` in `diff --json`."""
        return {
            "sign": self.sign,
            "credentials": list(self.credentials),
            "what": self.what,
            "effect": self.effect or None,
            "danger": self.danger,
        }

    def __str__(self) -> str:
        """`~ web: rotate_every 90d→30d: due at once`."""
        who = self.credentials[0] if len(self.credentials) == 1 else ""
        return f"{self.sign} " + ": ".join(part for part in (who, self.what, self.effect) if part)


class Comparison:
    """Two configurations over the same rows. `report` is of the present one; None: the database is not looked at."""

    def __init__(
        self,
        report: Report | None,
        before: Mapping[str, Managed],
        after: Mapping[str, Managed],
        renamed: Mapping[str, str],
    ) -> None:
        self.report = report
        self.before = before
        self.after = after
        self.renamed = renamed
        self._known = {c.name: c for c in report.store.credentials()} if report is not None else {}

    def situation(self, name: str) -> Situation | None:
        """The rows of a credential, by its name in the present configuration; None: there are none, or no look."""
        known = self._known.get(name)
        return self.report.store.load(known.id) if self.report is not None and known is not None else None

    # what is added and taken out

    def added(self, name: str) -> Change:
        """A credential that the present configuration does not name."""
        situation = self.situation(name)
        if situation is not None and situation.current is not None:
            effect = f"it was taken out before, and goes on with version {situation.current.number}"
            return Change(sign="+", credentials=[name], what="managed again", effect=effect)
        then = {
            "issue": "where a value stands at a destination already, it is blocked",
            "adopt": "where a value stands at a destination already, that is adopted",
        }.get(self.after[name].policy.first or "ask", "where a value stands at a destination already, it asks first")
        return Change(sign="+", credentials=[name], what="will be issued its first key", effect=then)

    def taken_out(self, name: str, why_stuck: str | None) -> Change:
        """A credential that the changed configuration names no more. `why_stuck`: why open work cannot be finished."""
        if self.report is None:
            what = "taken out; its living keys become unmanaged"
            return Change(sign="-", credentials=[name], what=what, danger="orphan")
        situation = self.situation(name)
        living = _living(situation)
        if situation is None or not living:
            return Change(sign="-", credentials=[name], what="taken out", effect="no key of it lives")
        opened = situation.rotation is not None or bool(situation.retirements)
        effect = "what is open is finished" if opened else ""
        if opened and why_stuck is not None:
            effect = f"what is open cannot be finished ({why_stuck})"
        what = f"{_counted(len(living), 'living key')} {'becomes' if len(living) == 1 else 'become'} unmanaged"
        return Change(sign="-", credentials=[name], what=what, effect=effect, danger="orphan")

    def moved(self, name: str, former: str) -> Change:
        """A credential with another name, by `moved_from`."""
        problem = None
        if self.report is not None:
            problem = moving.hindrance(self.report.store, former, self.after[name])
        if problem is not None:
            what = f"cannot take over from {former}"
            return Change(sign="~", credentials=[name], what=what, effect=problem.message, danger="orphan")
        return Change(sign="~", credentials=[name], what=f"called {former} before", effect="keeps its keys and history")

    # what changes

    def provider(self, name: str, *, same_account: bool) -> Change | None:
        """Another entry of `providers:`."""
        former = self.renamed.get(name, name)
        old, new = self.before[former].provider_name, self.after[name].provider_name
        if old == new:
            return None
        what = f"provider {old}→{new}"
        living = _living(self.situation(former))
        if same_account:
            return Change(sign="~", credentials=[name], what=what, effect="the same account under another name")
        if self.report is not None and not living:
            return Change(sign="~", credentials=[name], what=what)
        count = _counted(len(living), "living key") if self.report is not None else "its living keys"
        effect = f"{count} of {old} cannot be taken away by {new}, and everything waits (wrong_account)"
        return Change(sign="~", credentials=[name], what=what, effect=effect, danger="orphan")

    def places(self, name: str) -> Iterator[Change]:
        """Destinations that are added, dropped, or written otherwise."""
        former = self.renamed.get(name, name)
        situation = self.situation(former)
        old, new = _by_identity(self.before[former]), _by_identity(self.after[name])
        for identity, targets in new.items():
            address = targets[0].destination.address
            if identity not in old:
                current = situation.current if situation is not None else None
                effect = "it is given the current key at once" if current is not None else ""
                where = f"{address} on another server" if address in _addresses(old) else address
                yield Change(sign="~", credentials=[name], what=f"destination {where} added", effect=effect)
            elif _fields(targets) != _fields(old[identity]):
                effect = "from the next rotation on"
                yield Change(sign="~", credentials=[name], what=f"fields of {address} changed", effect=effect)
        for identity, targets in old.items():
            if identity not in new:
                address = targets[0].destination.address
                where = f"{address} on the former server" if address in _addresses(new) else address
                yield self._dropped(name, targets[0], where, situation)

    def _dropped(self, name: str, target: Target, where: str, situation: Situation | None) -> Change:
        what = f"destination {where} dropped"
        if self.report is None:
            effect = "the key that stands there is not changed any more"
            return Change(sign="~", credentials=[name], what=what, effect=effect, danger="orphan")
        version = _served(target.destination.identity, situation)
        if version is None:
            return Change(sign="~", credentials=[name], what=what, effect="no living key stands there")
        effect = (
            f"it serves version {version.number}, which is not taken away before "
            f"`rotator forget {name} --destination {target.to}`"
        )
        return Change(sign="~", credentials=[name], what=what, effect=effect, danger="orphan")

    # when

    def begins(self, name: str, managed: Managed, within: timedelta) -> datetime | None:
        """When the next scheduled rotation would begin: by the real checks within a time, by the schedule after it."""
        situation = self.situation(self.renamed.get(name, name))
        if self.report is None or situation is None:
            return None
        question = replace(question_of(managed, situation, self.report.at), unplaced=False)
        ahead = forecast(question, course(managed, situation), self.report.at + within)
        planned = [coming.begins_at for coming in ahead.rotations if coming.cause is Cause.SCHEDULE and not coming.open]
        return planned[0] if planned else next_rotation_at(question)

    def edited(self, edits: str, names: Sequence[str]) -> Change:
        """The same edits of one or more credentials, and what that does to their schedules."""
        if self.report is None:
            many = f"{len(names)} credentials" if len(names) > 1 else ""
            return Change(sign="~", credentials=names, what=edits, effect=many)
        at = self.report.at
        sooner: list[datetime] = []
        usual: set[datetime] = set()
        changed: set[datetime] = set()
        spread = timedelta(0)
        for name in names:
            jitter = self.after[name].policy.jitter
            within = max(jitter, HOUR)
            old = self.begins(name, self.before[self.renamed.get(name, name)], within)
            new = self.begins(name, self.after[name], within)
            usual |= {old} if old is not None else set()
            changed |= {new} if new is not None else set()
            if new is not None and new <= at + within and (old is None or new < old):
                sooner.append(new)
                spread = max(spread, jitter)
        first, then = min(usual, default=None), min(changed, default=None)
        effect = _effect(names, sorted(sooner), at, spread)
        if not sooner and first != then:
            effect = f"{effect}{': ' if effect else ''}next rotation {_day(first)}→{_day(then)}"
        return Change(sign="~", credentials=names, what=edits, effect=effect)

    def stampedes(self, most: int) -> Iterator[Change]:
        """More scheduled rotations of one provider within an hour than that, which would not begin otherwise."""
        if self.report is None:
            return
        soon, names = self.report.at + HOUR, Counter[str]()
        for name, managed in self.after.items():
            former = self.renamed.get(name, name)
            new = self.begins(name, managed, HOUR) if former in self.before else None
            if new is None or new > soon:
                continue
            old = self.begins(name, self.before[former], HOUR)
            if old is None or old > soon:
                names[managed.provider_name] += 1
        for provider, count in sorted(names.items()):
            if count > most:
                what = f"{count} credentials of {provider} would be rotated within an hour"
                effect = f"more than {most} at once; a longer `jitter` or steps in between spread them"
                yield Change(sign="~", what=what, effect=effect, danger="stampede")


def _effect(names: Sequence[str], begins: Sequence[datetime], at: datetime, spread: timedelta) -> str:
    many = f"{len(names)} credentials" if len(names) > 1 else ""
    if not begins:
        return many
    counted = "due at once" if len(begins) == len(names) else f"{len(begins)} due at once"
    if begins[-1] > at + HOUR:
        first = sum(1 for begin in begins if begin <= at + HOUR)
        counted += f", spread over {_span(spread)} by jitter"
        counted += f" ({first} of them within an hour)" if first else ""
    separator = " " if len(begins) == len(names) else ": "
    return f"{many}{separator}{counted}" if many else counted


def _span(span: timedelta) -> str:
    hours = round(span / HOUR)
    return f"{hours // 24} d" if hours % 24 == 0 else f"{hours} h"


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment is not None else "none"


def _living(situation: Situation | None) -> list[Version]:
    return [v for v in situation.versions if v.state.living and v.key_id] if situation is not None else []


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _by_identity(managed: Managed) -> dict[str, list[Target]]:
    found: dict[str, list[Target]] = {}
    for target in managed.targets:
        found.setdefault(target.destination.identity, []).append(target)
    return found


def _addresses(places: Mapping[str, Sequence[Target]]) -> set[str]:
    return {target.destination.address for targets in places.values() for target in targets}


def _fields(targets: Sequence[Target]) -> dict[str, str]:
    return {field: template.text for target in targets for field, template in target.templates.items()}


def _served(identity: str, situation: Situation | None) -> Version | None:
    """The living version that was last put at a place."""
    placed: Sequence[Placement] = situation.placements if situation is not None else ()
    for row in placed:
        version = situation.version(row.version_id) if situation is not None and row.version_id else None
        if row.identity == identity and version is not None and version.state.living:
            return version
    return None
