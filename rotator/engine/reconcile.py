"""After a restore, a fail-over or a copy: what the world has and the rows do not, taken up once it is confirmed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rotator.domain.errors import SetupError
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import RetirementReason, RotationState, Version, VersionState
from rotator.engine import adoption, drift, regress
from rotator.engine import rotation as rotation_steps
from rotator.engine.drift import Drift
from rotator.engine.engine import Engine
from rotator.engine.labels import called, labelled
from rotator.engine.places import Look, look
from rotator.engine.retirement import open_retirement
from rotator.engine.work import MOVING, Target, Work
from rotator.ports.provider import Key
from rotator.ports.store import Insert, Mark, Update, Write

LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """How the world differs from the rows of one credential, in words that stay the same while it does."""

    name: str
    account: str
    lines: Sequence[str]
    served: Sequence[tuple[Drift, Sequence[tuple[Target, Look]]]]  # unknown keys that consumers read, newest first
    extra: Sequence[Key]  # keys with our label and no row that no destination serves
    left: Sequence[str]  # what confirming does not change: what settles each

    @property
    def asks(self) -> bool:
        """Whether there is anything to confirm."""
        return bool(self.served or self.extra)


def look_at(work: Work) -> Picture:
    """Ask the provider and read every destination. Raises where one of them does not answer; changes nothing."""
    account = work.ask(work.provider.account)
    keys = work.ask(work.provider.keys)
    lines: list[str] = []
    left: list[str] = []
    served: dict[str, tuple[Drift, list[tuple[Target, Look]]]] = {}
    for target in work.managed.targets:
        seen = look(work, target.destination, target.templates)
        found = drift.classify(work, target, seen)
        if found is None:
            continue
        lines.append(found.what)
        if found.key is not None:
            served.setdefault(found.key.id, (found, []))[1].append((target, seen))
        else:
            left.append(f"{target.destination.address} is left as it is; {found.remedy}")
    mine = [key for key in regress.unknown_labels(work, keys) if called(key) == work.managed.name]
    extra = [key for key in mine if key.id not in served]
    lines += [f"the key {key.id} ({key.label}) is not on record, and no destination serves it" for key in extra]
    gone = _gone(work, keys)
    lines += [f"version {v.number} ({v.key_id}), {v.state} on record, is gone at the provider" for v in gone]
    if any(version.state is VersionState.CURRENT for version in gone):
        left.append(f"the current key stays gone; `rotate --now {work.managed.name}` makes another one")
    newest_first = sorted(served.values(), key=lambda s: (s[0].key and s[0].key.created_at) or LONG_AGO, reverse=True)
    return Picture(name=work.managed.name, account=account, lines=lines, served=newest_first, extra=extra, left=left)


def _gone(work: Work, keys: Sequence[Key]) -> list[Version]:
    if not work.provider.capabilities.can_tell:
        return []
    listed = {key.id for key in keys}
    return [v for v in work.situation.versions if v.state.living and v.key_id and v.key_id not in listed]


def effects(picture: Picture, keep: Collection[str]) -> list[str]:
    """What confirming would do, beside going on."""
    lines = []
    for position, (found, places) in enumerate(picture.served):
        assert found.key is not None
        addresses = ", ".join(target.destination.address for target, _ in places)
        if position == 0:
            lines.append(f"{found.key.id}, served at {addresses}, becomes the current key and is written everywhere")
        else:
            lines.append(f"{found.key.id}, served at {addresses}, is taken away once nothing serves it any more")
    for key in picture.extra:
        becomes = "is left alone" if key.id in keep else "is taken away after grace and soak, unless it is used"
        lines.append(f"{key.id} {becomes}")
    return [*lines, *picture.left]


def pictures(engine: Engine, *, dry: bool = False) -> list[Picture]:
    """Of every credential that is configured, each under its lease. Raises what stops a look, with its name."""
    found = []
    for name in engine.managed:
        with engine.dry(name) if dry else engine.hold(name) as work:
            found.append(look_at(work))
    return found


def confirm(engine: Engine, shown: Sequence[Picture], keep: Collection[str], because: str | None) -> None:
    """Take up what was shown and let the installation go on. May be repeated after a crash at any point.

    Raises SetupError with reason `changed` where the world is another one by now.
    """
    for picture in shown:
        with engine.hold(picture.name) as work:
            now = look_at(work)
            if (now.lines, now.account) != (picture.lines, picture.account):
                message = f"what {picture.name} has at the provider and the destinations has changed meanwhile"
                raise SetupError(message, reason="changed", remedy="`rotator reconcile` again, and look at it anew")
            _take_up(work, now, keep, because)
    _go_on(engine, {p.name: p.lines for p in shown if p.lines}, because)


def _take_up(work: Work, picture: Picture, keep: Collection[str], because: str | None) -> None:
    if picture.served and work.situation.rotation is not None:
        _close_rotation(work, because)
    # Oldest first: each steps back for the next, and the newest stays current.
    for found, places in reversed(picture.served):
        rotation = work.situation.rotation
        if rotation is not None:
            work.record([_closed(work)], [work.event(Subject.ROTATION, Outcome.FAILED, reason="reconcile")])
        told = work.event(Subject.ADOPT, Outcome.SUCCEEDED, reason=VersionState.CURRENT.value, because=because)
        drift.take_over(work, found, places, picture.account, told)
    for key in picture.extra:
        _take_extra(work, key, picture.account, because, keep=key.id in keep)
    held = [r for r in (work.situation.rotation, *work.situation.retirements) if r and r.reason == "reconcile"]
    work.record([Update(row, dict(MOVING)) for row in held], [])


def _close_rotation(work: Work, because: str | None) -> None:
    """What these rows were about is the past: a newer key is out already."""
    rotation_steps.abandon(
        work, work.rotation(), reason="reconcile", why="the database went back in time", because=because
    )


def _closed(work: Work) -> Update:
    changes = {"state": RotationState.ABANDONED, "closed_at": work.now(), **MOVING, "reason": "reconcile"}
    return Update(work.rotation(), changes)


def _take_extra(work: Work, key: Key, account: str, because: str | None, *, keep: bool) -> None:
    """A key of ours that nothing serves: into retirement, or on record as one that is left alone."""
    number = max((v.number for v in work.situation.versions), default=0) + 1
    state = VersionState.RETIRED if keep else VersionState.PREVIOUS
    version = adoption.new_version(work, account, number, state, key, None)
    version = replace(version, id=labelled(key) or version.id, retired_at=work.now() if keep else None)
    rows: list[Write] = [Insert(version)]
    if not keep:
        rows.append(open_retirement(work, version, RetirementReason.EXTRA))
    told = work.event(
        Subject.ADOPT,
        Outcome.SUCCEEDED,
        reason=state.value,
        because=because,
        issued_at=adoption.made_at(key.created_at),
    )
    work.record(rows, [replace(told, version=number, key_id=key.id)])


def _go_on(engine: Engine, differences: Mapping[str, Sequence[str]], because: str | None) -> None:
    """Note that the database is the right one, where it lives and how far it is; then clear what stood in the way."""
    store, around = engine.store, engine.around
    home = store.home()
    store.settle_in(home, anchored=False)
    told = {name: list(lines) for name, lines in differences.items()}
    done = regress.event(Subject.RECONCILE, Outcome.SUCCEEDED, around, because=because, differences=told)
    store.note([done])
    if engine.anchor is not None:
        seq, last = store.head()
        engine.anchor.write(Mark(install=store.installation().id, seq=seq, hash=last))
        store.settle_in(home, anchored=True)
    for finding in store.findings():
        if finding.kind == regress.RECONCILE:
            store.clear(finding.kind, finding.subject, regress.event(Subject.RECONCILE, Outcome.CLEARED, around))
