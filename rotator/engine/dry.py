"""A dry run: a verb does its real work on rows that are remembered, not recorded, and changes nothing outside.

It may look: at the database, the provider and the destinations. What is not known to be a look is not done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar, cast

from rotator.domain.errors import StaleLease, Unsafe
from rotator.domain.events import Subject
from rotator.domain.model import (
    Account,
    CredentialId,
    Delivery,
    Finding,
    Lease,
    Placement,
    Retirement,
    Rotation,
    Situation,
    Version,
    VersionId,
)
from rotator.domain.secret import Material
from rotator.engine.work import Work
from rotator.ports.provider import Key
from rotator.ports.store import (
    DropSealed,
    Insert,
    NewEvent,
    Pause,
    Place,
    Seal,
    Store,
    StoredEvent,
    Unplace,
    Update,
    Write,
)

P = ParamSpec("P")
T = TypeVar("T")

READS = frozenset(
    {
        "now",
        "installation",
        "home",
        "head",
        "unfinished",
        "version",
        "known_keys",
        "account",
        "lease",
        "requests",
        "request",
        "sightings",
        "found_since",
        "last_event_at",
        "events",
    }
)
"""The methods of a store that only read, and say the same in a dry run."""

LOOKS = frozenset({"account", "authenticate", "identify", "keys", "preflight", "read", "with_use"})
"""The calls of providers and destinations that change nothing."""

ENDS = frozenset({"disable", "delete"})
"""Those that a verb makes itself, and a dry run only pretends."""


class DryStore:
    """A store (`ports.store.Store`) that reads the real one, remembers what it is given, and writes nothing."""

    def __init__(self, real: Store) -> None:
        self.events_to_be: list[NewEvent] = []
        self._real = real
        self._situations: dict[CredentialId, Situation] = {}
        self._sealed: dict[VersionId, Material | None] = {}
        self._places: dict[tuple[str, str], Placement | None] = {}
        self._findings = list(real.findings())
        self._credentials = list(real.credentials())

    def __getattr__(self, name: str) -> Any:
        if name in READS:
            return getattr(self._real, name)
        message = f"{name} is nothing that a dry run does"
        raise AttributeError(message)

    # rows

    def credentials(self) -> Sequence[Any]:
        """As they would be."""
        return self._credentials

    def load(self, credential_id: CredentialId) -> Situation:
        """As it would be."""
        if credential_id not in self._situations:
            self._situations[credential_id] = self._real.load(credential_id)
        credential = next(c for c in self._credentials if c.id == credential_id)
        return replace(self._situations[credential_id], credential=credential)

    def reload(self, lease: Lease, _before: Situation, _writes: Sequence[Write]) -> Situation:
        """As it would be."""
        return self.load(lease.credential_id)

    def material(self, version_id: VersionId) -> Material | None:
        """As it would be."""
        return self._sealed[version_id] if version_id in self._sealed else self._real.material(version_id)

    def prepare(self, version_id: VersionId) -> None:
        """Nothing is sealed."""

    def placed(self, identity: str) -> Mapping[str, Placement]:
        """As it would be."""
        found = {**self._real.placed(identity)}
        for (at, field), placement in self._places.items():
            if at == identity and placement is not None:
                found[field] = placement
            elif at == identity:
                found.pop(field, None)
        return found

    def record(self, lease: Lease, writes: Sequence[Write], events: Sequence[NewEvent]) -> Sequence[StoredEvent]:
        """Remember both. The guards hold as ever."""
        self._situations[lease.credential_id] = _after(self.load(lease.credential_id), writes)
        for write in writes:
            match write:
                case Seal(version_id, material):
                    self._sealed[version_id] = material
                case DropSealed(version_id):
                    self._sealed[version_id] = None
                case Place(placement):
                    self._places[placement.identity, placement.field] = placement
                case Unplace(identity, field):
                    self._places[identity, field] = None
        return self.note(events)

    def pause(self, credential_id: CredentialId, pause: Pause | None, event: NewEvent) -> bool:
        """Whether it would change anything."""
        known, now = next(c for c in self._credentials if c.id == credential_id), self._real.now()
        wanted = replace(
            known,
            paused_at=None if pause is None else known.paused_at or now,
            paused_by=None if pause is None else pause.by,
            paused_until=None if pause is None or pause.lasts is None else now + pause.lasts,
            pause_reason=None if pause is None else pause.why,
        )
        if wanted == known:
            return False
        self._credentials[self._credentials.index(known)] = wanted
        self.note([event])
        return True

    # events and findings

    def note(self, events: Sequence[NewEvent]) -> Sequence[StoredEvent]:
        """Remember them."""
        self.events_to_be += events
        return ()

    def find(self, finding: Finding, event: NewEvent) -> bool:
        """Whether it would be new."""
        if any((f.kind, f.subject) == (finding.kind, finding.subject) for f in self._findings):
            return False
        self._findings.append(finding)
        self.note([event])
        return True

    def clear(self, kind: str, subject: str, event: NewEvent) -> bool:
        """Whether one would be cleared."""
        left = [f for f in self._findings if (f.kind, f.subject) != (kind, subject)]
        if len(left) == len(self._findings):
            return False
        self._findings = left
        self.note([event])
        return True

    def findings(self, of: CredentialId | None = None) -> Sequence[Finding]:
        """Those that would stand."""
        return [f for f in self._findings if of is None or f.credential_id == of or f.kind == Subject.RECONCILE]

    def standing(self, kind: str, subject: str | None = None) -> Finding | None:
        """The one that would stand."""
        return next((f for f in self._findings if f.kind == kind and subject in (None, f.subject)), None)

    def ignore(self, kind: str, subject: str, event: NewEvent) -> bool:
        """Whether one would be ignored that is not yet."""
        for position, found in enumerate(self._findings):
            if (found.kind, found.subject) == (kind, subject) and found.ignored_at is None:
                self._findings[position] = replace(found, ignored_at=self._real.now())
                self.note([event])
                return True
        return False

    # what belongs to work

    def note_account(self, provider: str, change: Callable[[Account], Account]) -> Account:
        """As it would be."""
        return change(self._real.account(provider))

    def renew(self, lease: Lease, ttl: timedelta) -> Lease:
        """There is no lease: nobody is kept out, and nothing is written."""
        return replace(lease, until=self._real.now() + ttl)


def _after(at: Situation, writes: Sequence[Write]) -> Situation:
    """A situation once these are recorded. StaleLease where one of them meets a row that it did not expect."""
    opened = [at.rotation] if at.rotation is not None else []
    known: list[Any] = [*at.versions, *opened, *at.deliveries, *at.retirements]
    rows: dict[str, Any] = {row.id: row for row in known}
    places = {(p.identity, p.field): p for p in at.placements}
    for write in writes:
        match write:
            case Insert(row):
                rows[row.id] = row
            case Update(row, changes):
                if row.id not in rows or rows[row.id].state is not row.state:
                    message = f"{row.id} is no longer {row.state}"
                    raise StaleLease(message)
                rows[row.id] = replace(rows[row.id], **changes)
            case Place(placement):
                places[placement.identity, placement.field] = placement
            case Unplace(identity, field):
                places.pop((identity, field), None)
    rotation = next((r for r in rows.values() if isinstance(r, Rotation) and r.open), None)
    return replace(
        at,
        versions=sorted((r for r in rows.values() if isinstance(r, Version)), key=lambda v: v.number),
        rotation=rotation,
        deliveries=[r for r in rows.values() if isinstance(r, Delivery) and rotation and r.rotation_id == rotation.id],
        retirements=[r for r in rows.values() if isinstance(r, Retirement) and r.open],
        placements=list(places.values()),
    )


class DryWork(Work):
    """Work on a credential that holds no lease and makes no call that changes anything."""

    def __init__(self, store: Store, **given: Any) -> None:
        self.dry = DryStore(store)
        self._ended: set[str] = set()
        super().__init__(store=cast(Store, self.dry), **given)

    def call(self, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A look is made; anything else raises Unsafe."""
        _only_looks(do)
        return super().call(do, *args, **kwargs)

    def ask(self, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for the provider, where a key that would be ended is one from then on."""
        if _name(do) in ENDS:
            self._ended.add(str(args[0]))
            return cast(T, None)
        _only_looks(do)
        answer = super().ask(do, *args, **kwargs)
        if _name(do) == "keys" and self._ended:
            keys = cast(Sequence[Key], answer)
            return cast(T, [key for key in keys if key.id not in self._ended])
        return answer


def _name(do: Callable[..., Any]) -> str:
    return getattr(do, "__name__", "")


def _only_looks(do: Callable[..., Any]) -> None:
    if _name(do) not in LOOKS:
        message = f"{_name(do) or 'this call'} is nothing that a dry run does"
        raise Unsafe(message)
