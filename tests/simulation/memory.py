"""A store in memory that keeps every promise of the port: for runs of millions of rotations.

It is fast because rows are frozen (a snapshot is a copy of dictionaries), because what `load` gave is given again
until a row of the credential changes, and because the trail's lines are written out only when somebody reads them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from operator import attrgetter
from typing import Any, TypeVar, overload

from rotator.domain.errors import Crowded, StaleLease
from rotator.domain.events import Outcome, Subject, name
from rotator.domain.model import (
    OPEN_RETIREMENT,
    OPEN_ROTATION,
    REUSES,
    Account,
    Cause,
    Credential,
    CredentialId,
    Delivery,
    DeliveryState,
    Finding,
    Follower,
    Lease,
    Placement,
    Request,
    RequestId,
    RequestState,
    Retirement,
    RetirementReason,
    RetirementState,
    Rotation,
    RotationState,
    Sighting,
    Situation,
    Version,
    VersionId,
    VersionState,
    creates_of_a_day,
)
from rotator.domain.notices import Outgoing, Rows
from rotator.domain.reactions import ACTOR, Caps
from rotator.domain.secret import Material
from rotator.domain.usage import Sample, Sampling, rolled_up
from rotator.ports.sealer import Fingerprint
from rotator.ports.store import (
    LONG_WAIT,
    STUCK_AFTER,
    Checkpoint,
    Count,
    Counts,
    DropSealed,
    Held,
    Home,
    Idle,
    Insert,
    Installation,
    NewEvent,
    Pause,
    Place,
    Room,
    Row,
    Seal,
    StoredEvent,
    Unplace,
    Update,
    Watched,
    Write,
)
from rotator.store.audit import FIRST_PREVIOUS_HASH, line
from rotator.store.enrolment import moved, policy_change
from rotator.store.holder import provably_dead
from rotator.store.leases import IMPOSSIBLE
from rotator.store.material import Fingerprinting

T = TypeVar("T")

DAY = timedelta(hours=24)
LONG_AGO = datetime.min.replace(tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)
_FIXED = {"id", "credential_id"}
_NAMES = {kind: {f.name for f in fields(kind)} for kind in (Version, Rotation, Retirement, Delivery, Request)}


@dataclass
class Tables:
    """All rows. Flat dictionaries of frozen values, so that a change is undone, and a state copied, entry by entry."""

    rows: dict[str, Row] = field(default_factory=dict)
    of: dict[tuple[CredentialId, type], tuple[str, ...]] = field(default_factory=dict)  # ids of what is not closed
    completed: dict[CredentialId, tuple[datetime, ...]] = field(default_factory=dict)  # when new keys became current
    sent: dict[CredentialId, tuple[str, ...]] = field(default_factory=dict)  # deliveries that may be left behind
    taken: dict[tuple[str, ...], str] = field(default_factory=dict)  # what the uniqueness rules allow once → row id
    sealed: dict[VersionId, Material] = field(default_factory=dict)
    placements: dict[tuple[str, str], Placement] = field(default_factory=dict)
    credentials: dict[CredentialId, Credential] = field(default_factory=dict)
    sightings: dict[tuple[CredentialId, str], Sighting] = field(default_factory=dict)
    samples: dict[CredentialId, tuple[Sampling, tuple[Sample, ...]]] = field(default_factory=dict)
    entries: dict[CredentialId, str] = field(default_factory=dict)
    leases: dict[CredentialId, Lease] = field(default_factory=dict)
    idle: dict[CredentialId, Idle] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    findings: dict[str, Finding] = field(default_factory=dict)
    followers: dict[str, Follower] = field(default_factory=dict)
    notices: dict[str, dict[str, Outgoing]] = field(default_factory=dict)  # of each route, by key
    events: list[tuple[NewEvent, datetime]] = field(default_factory=list)
    lines: list[StoredEvent] = field(default_factory=list)  # of the first so many events
    last_pass_at: datetime | None = None
    counted: dict[tuple[str, tuple[str, ...]], float] = field(default_factory=dict)
    home: Home | None = None
    anchored: bool = False

    def copy(self) -> Tables:
        """Another state of the same rows."""
        return Tables(**{f.name: _copied(getattr(self, f.name)) for f in fields(self)})


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | list) else value


@dataclass(frozen=True)
class Loaded:
    """What `load` gave, and from when until when it would give the same as long as no row changes."""

    situation: Situation
    since: datetime
    until: datetime


class MemoryStore:
    """Implements `ports.store.Store`. `dead` tells which holders of leases are proved dead."""

    def __init__(
        self,
        *,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        pepper: bytes = b"pepper",
        dead: Callable[[str], bool] = provably_dead,
    ) -> None:
        self.now = clock
        self.fingerprint: Fingerprint = Fingerprinting(pepper)
        self.tables = Tables()
        self._new_id = new_id
        self._dead = dead
        self._lock = threading.RLock()
        self._loaded: dict[CredentialId, Loaded] = {}
        self._lives_at = 1  # another number after each restore, as a file has
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self._set_up = (new_id(), clock())
        self.note([NewEvent(event=name(Subject.INIT, Outcome.SUCCEEDED), actor="setup")])

    # the database as a whole

    def installation(self) -> Installation:
        tables, (install, created_at) = self.tables, self._set_up
        return Installation(
            id=install,
            environment="test",
            created_at=created_at,
            last_pass_at=tables.last_pass_at,
            home=tables.home,
            anchored=tables.anchored,
        )

    def home(self) -> Home:
        return Home(place=f"memory {self._lives_at}")

    def settle_in(self, home: Home, *, anchored: bool) -> None:
        self.tables.home, self.tables.anchored = home, anchored

    def count(self, counts: Sequence[Count]) -> None:
        with self._lock:
            for count in counts:
                kind = (count.what, count.labels)
                self.tables.counted[kind] = self.tables.counted.get(kind, 0) + count.by

    def counts(self) -> Counts:
        with self._lock:
            events = Counter(event.event for event, _ in self.tables.events)
            return {**self.tables.counted, **{("events", (name,)): float(n) for name, n in events.items()}}

    def fleet(self) -> Iterator[Situation]:
        for credential in self.credentials():
            yield replace(self.load(credential.id), unacknowledged={}, shadows={})

    def drilled(self, credential_ids: Sequence[CredentialId]) -> Mapping[CredentialId, datetime]:
        found: dict[CredentialId, datetime] = {}
        every = [row for row in self.tables.rows.values() if isinstance(row, Retirement)]  # no index has closed ones
        for row in every:
            ended = (row.why, row.state) == (RetirementReason.REHEARSED, RetirementState.DELETED)
            if ended and row.credential_id in credential_ids and row.closed_at is not None:
                found[row.credential_id] = max(row.closed_at, found.get(row.credential_id, row.closed_at))
        return found

    def pass_ended(self) -> None:
        self.tables.last_pass_at = self.now()

    def snapshot(self) -> Tables:
        """A backup."""
        with self._lock:
            return self.tables.copy()

    def restore(self, backup: Tables, *, elsewhere: bool = True) -> None:
        """The database as it was at that time; `elsewhere`: and it can be told that it is another one."""
        with self._lock:
            self.tables = backup.copy()
            self._lives_at += elsewhere
            self._loaded.clear()

    # credentials

    def enroll(
        self,
        names: Mapping[str, str],
        actor: str,
        entries: Mapping[str, str] | None = None,
        revision: str | None = None,
    ) -> Sequence[Credential]:
        with self._lock:
            known = {c.name: c for c in self.tables.credentials.values()}
            told = []
            for called in sorted({*known, *names}):
                event = self._enroll(called, known.get(called), names.get(called), actor)
                if event is not None:
                    told.append(event)
            ids = {c.name: c.id for c in self.credentials()}
            for called, entry in sorted((entries or {}).items()):
                kept = self.tables.entries.get(ids[called])
                told += policy_change(called, kept, entry, actor, revision) if kept is not None else []
            self._append(told)
            self.tables.entries |= {ids[called]: entry for called, entry in (entries or {}).items()}
            return self.credentials()

    def move(self, credential_id: CredentialId, name: str, event: NewEvent) -> bool:
        with self._lock:
            there = next((c for c in self.tables.credentials.values() if c.name == name), None)
            if there is not None and (there.id == credential_id or not self._give_way(there.id, credential_id)):
                return False
            self.tables.credentials[credential_id] = replace(self.tables.credentials[credential_id], name=name)
            self._loaded.pop(credential_id, None)
            self.tables.idle.pop(credential_id, None)
            mine = [f for f in self.findings() if f.credential_id == credential_id]
            for finding in mine:
                self.tables.findings[finding.id] = replace(finding, cleared_at=self.now())
            self._append([event, *(moved(event, finding.kind) for finding in sorted(mine, key=attrgetter("kind")))])
            return True

    def _give_way(self, there: CredentialId, to: CredentialId) -> bool:
        at = self.load(there)
        if at.versions or at.rotation or at.placements:
            return False
        for finding in self.tables.findings.values():
            if finding.credential_id == there:
                self.tables.findings[finding.id] = replace(finding, credential_id=to)
        for rows in (self.tables.credentials, self.tables.leases, self.tables.entries, self.tables.idle):
            rows.pop(there, None)
        for word in [word for word in self.tables.sightings if word[0] == there]:
            del self.tables.sightings[word]
        self.tables.samples.pop(there, None)
        return True

    def unfinished(self) -> Mapping[str, str | None]:
        found = [(c, self.load(c.id)) for c in self.credentials()]
        return {c.name: self.tables.entries.get(c.id) for c, at in found if at.rotation or at.retirements}

    def _enroll(self, called: str, known: Credential | None, provider: str | None, actor: str) -> NewEvent | None:
        managed = provider is not None
        detail = {"provider": provider} if managed else {}
        if known is None:
            assert provider is not None
            new = CredentialId(self._new_id())
            changed = Credential(id=new, name=called, provider=provider, managed=True, created_at=self.now())
        else:
            changed = replace(known, managed=managed, provider=provider or known.provider)
            if changed == known:
                return None
            if managed and known.provider != provider:
                detail["provider_before"] = known.provider
        self.tables.credentials[changed.id] = changed
        self._loaded.pop(changed.id, None)
        self.tables.idle.pop(changed.id, None)
        subject = Subject.ENROLL if managed else Subject.UNMANAGE
        return NewEvent(event=name(subject, Outcome.SUCCEEDED), actor=actor, credential=called, detail=detail)

    def credentials(self) -> Sequence[Credential]:
        return sorted(self.tables.credentials.values(), key=lambda c: c.name)

    def credential(self, name: str) -> Credential | None:
        return next((c for c in self.tables.credentials.values() if c.name == name), None)

    def pause(self, credential_id: CredentialId, pause: Pause | None, event: NewEvent) -> bool:
        with self._lock:
            known, now = self.tables.credentials[credential_id], self.now()
            until = None if pause is None or pause.lasts is None else now + pause.lasts
            wanted = replace(
                known,
                paused_at=None if pause is None else now,
                paused_by=None if pause is None else pause.by,
                paused_until=until,
                pause_reason=None if pause is None else pause.why,
            )
            if replace(wanted, paused_at=known.paused_at) == known:
                return False
            self.tables.credentials[credential_id] = wanted
            self._loaded.pop(credential_id, None)
            self.tables.idle.pop(credential_id, None)
            self._append([event])
            return True

    def account(self, provider: str) -> Account:
        return self.tables.accounts.get(provider) or Account(provider=provider)

    def note_account(self, provider: str, change: Callable[[Account], Account]) -> Account:
        with self._lock:
            self.tables.accounts[provider] = after = change(self.account(provider))
            return after

    def ask(self, request: Request, event: NewEvent) -> None:
        with self._lock:
            self.tables.rows[request.id] = request
            self._file(request, new=True)
            self.tables.idle.pop(request.credential_id, None)
            self._append([event])

    def react(self, request: Request, event: NewEvent, caps: Caps) -> str | None:
        with self._lock:
            rows = [row for row in self.tables.rows.values() if isinstance(row, Request)]
            since = request.asked_at - caps.looks_back
            held = caps.why_held(request, [r for r in rows if r.actor.startswith(ACTOR) and r.asked_at > since])
            if held is None:
                self.ask(request, event)
            return held

    def requests(self, credential_id: CredentialId) -> Sequence[Request]:
        standing: list[Request] = self._rows_of(credential_id, Request)
        return sorted(standing, key=lambda r: (r.asked_at, r.id))

    def request(self, request_id: RequestId) -> Request | None:
        found = self.tables.rows.get(request_id)
        return found if isinstance(found, Request) else None

    # reading

    def load(self, credential_id: CredentialId) -> Situation:
        with self._lock:
            found, now = self._loaded.get(credential_id), self.now()
            if found is None or not found.since <= now < found.until:
                situation = self._situation(credential_id, now)
                moments = [*self._sent(credential_id), *self.tables.completed.get(credential_id, ())]
                until = situation.creates[0] + DAY if situation.creates else NEVER
                found = Loaded(situation, max(moments, default=LONG_AGO), until)
                if found.since <= now:  # what is dated in the future is looked at again each time
                    self._loaded[credential_id] = found
            return found.situation

    def reload(self, lease: Lease, _before: Situation, _writes: Sequence[Write]) -> Situation:
        return self.load(lease.credential_id)

    def _sent(self, credential_id: CredentialId) -> list[datetime]:
        return [v.sent_at for v in self._rows_of(credential_id, Version) if v.sent_at is not None]

    def _situation(self, credential_id: CredentialId, now: datetime) -> Situation:
        credential = self.tables.credentials.get(credential_id)
        if credential is None:
            message = f"there is no credential {credential_id}"
            raise LookupError(message)
        versions = sorted(self._rows_of(credential_id, Version), key=_number)
        rotations: list[Rotation] = self._rows_of(credential_id, Rotation)
        rotation = rotations[0] if rotations else None
        retirements: list[Retirement] = self._rows_of(credential_id, Retirement)
        named = {r.version_id for r in retirements}
        if rotation is not None and rotation.target_id is not None:
            named.add(rotation.target_id)
        newest = next((v for v in reversed(versions) if v.state is VersionState.RETIRED), None)
        placements = [p for p in self.tables.placements.values() if p.credential_id == credential_id]
        moments = [v.current_at for v in versions if v.state is VersionState.CURRENT]
        moments += [moment for moment in self.tables.completed.get(credential_id, ()) if moment <= now]
        return Situation(
            credential=credential,
            versions=[v for v in versions if v.state is not VersionState.RETIRED or v is newest or v.id in named],
            rotation=rotation,
            deliveries=() if rotation is None else self._deliveries(rotation),
            retirements=sorted(retirements, key=lambda r: (r.opened_at, r.id)),
            placements=sorted(placements, key=lambda p: (p.identity, p.field)),
            last_completed_at=max((m for m in moments if m is not None), default=None),
            creates=creates_of_a_day([v.sent_at for v in versions if v.sent_at is not None], now),
            unacknowledged=self._left_behind(credential_id, shadows=False) if retirements else {},
            shadows=self._left_behind(credential_id, shadows=True) if retirements else {},
        )

    def _left_behind(self, credential_id: CredentialId, *, shadows: bool) -> dict[VersionId, list[Delivery]]:
        """By living version: what its rehearsal may have left, or the writes of which nobody has heard."""
        rows, found = self.tables.rows, dict[VersionId, list[Delivery]]()
        for row_id in self.tables.sent.get(credential_id, ()):
            row = rows[row_id]
            assert isinstance(row, Delivery)
            rotation = rows[row.rotation_id]
            assert isinstance(rotation, Rotation)
            target = rows.get(rotation.target_id or "")
            left = row.started and rotation.state is RotationState.ABANDONED and target is not None
            if not left or (rotation.cause is Cause.REHEARSAL) is not shadows:
                continue
            unheard = row.state is DeliveryState.PLANNED and not self._written(row, rotation)
            if isinstance(target, Version) and target.state is not VersionState.RETIRED and (shadows or unheard):
                found.setdefault(target.id, []).append(row)
        return {version_id: sorted(left, key=lambda d: (d.position, d.id)) for version_id, left in found.items()}

    def _written(self, row: Delivery, rotation: Rotation) -> bool:
        """Whether its place was written after the rotation was given up."""
        of_place = (p for p in self.tables.placements.values() if p.identity == row.identity)
        own = (p for p in of_place if p.credential_id == row.credential_id)
        return rotation.closed_at is not None and any(p.placed_at >= rotation.closed_at for p in own)

    def _rows_of(self, credential_id: CredentialId, kind: type[Any]) -> list[Any]:
        rows = self.tables.rows
        return [rows[row_id] for row_id in self.tables.of.get((credential_id, kind), ())]

    def _deliveries(self, rotation: Rotation) -> Sequence[Delivery]:
        found: list[Delivery] = self._rows_of(rotation.credential_id, Delivery)
        return sorted((d for d in found if d.rotation_id == rotation.id), key=lambda d: (d.position, d.id))

    def material(self, version_id: VersionId) -> Material | None:
        return self.tables.sealed.get(version_id)

    def prepare(self, version_id: VersionId) -> None:
        """Nothing is fetched from anywhere."""

    def version(self, version_id: VersionId) -> Version | None:
        found = self.tables.rows.get(version_id)
        return found if isinstance(found, Version) else None

    def known_keys(self, account: str, among: Collection[str] | None = None) -> Mapping[str, str]:
        with self._lock:
            tables, known = self.tables, {}
            if among is not None:
                rows = {key_id: tables.taken.get(("key_id", account, key_id)) for key_id in among}
                return {
                    key_id: tables.credentials[tables.rows[row_id].credential_id].name
                    for key_id, row_id in rows.items()
                    if row_id is not None
                }
            for rule, row_id in tables.taken.items():
                if rule[:2] == ("key_id", account):
                    known[rule[2]] = tables.credentials[tables.rows[row_id].credential_id].name
            return known

    def placed(self, identity: str) -> Mapping[str, Placement]:
        with self._lock:
            return {field: p for (at, field), p in self.tables.placements.items() if at == identity}

    def sight(self, sighting: Sighting, event: NewEvent) -> bool:
        with self._lock:
            at = (sighting.credential_id, sighting.consumer)
            before = self.tables.sightings.get(at)
            if before is not None and before.seen_at >= sighting.seen_at:
                return False
            self.tables.sightings[at] = sighting
            if before is not None and before.fingerprint == sighting.fingerprint:
                return False
            self.tables.idle.pop(sighting.credential_id, None)
            self._append([event])
            return True

    def sightings(self, credential_id: CredentialId) -> Sequence[Sighting]:
        found = self.tables.sightings
        return [found[at] for at in sorted(found) if at[0] == credential_id] if found else ()

    def sampling(self, credential_id: CredentialId) -> Sampling | None:
        kept = self.tables.samples.get(credential_id)
        return kept[0] if kept else None

    def samples(self, credential_id: CredentialId) -> Sequence[Sample]:
        kept = self.tables.samples.get(credential_id)
        return kept[1] if kept else ()

    def keep_samples(self, credential_id: CredentialId, found: Sequence[Sample], since: datetime) -> None:
        with self._lock:
            now, before = self.now(), self.sampling(credential_id)
            kept = {sample.bucket: sample for sample in (*self.samples(credential_id), *found)}
            days, gone = rolled_up(kept.values(), now)
            for sample in gone:
                del kept[sample.bucket]
            kept |= {day.bucket: day for day in days}
            rows = tuple(sorted(kept.values(), key=lambda s: (s.key_id, s.at, s.width)))
            self.tables.samples[credential_id] = Sampling(since=before.since if before else since, at=now), rows

    # leases

    def lease(self, credential_id: CredentialId) -> Lease | None:
        return self.tables.leases.get(credential_id)

    def claim(self, credential_id: CredentialId, holder: str, ttl: timedelta) -> Lease | Held:
        with self._lock:
            last, now = self.tables.leases.get(credential_id), self.now()
            in_force = last is not None and not last.released and now < last.until <= now + IMPOSSIBLE * ttl
            if last and in_force and not self._dead(last.holder):
                return Held(last)
            fenced_at = None if last is None else last.fenced_at if last.released else now
            mine = Lease(
                credential_id=credential_id,
                holder=holder,
                epoch=last.epoch + 1 if last else 1,
                until=now + ttl,
                released=False,
                fenced_at=fenced_at,
            )
            self.tables.leases[credential_id] = mine
            self.tables.idle.pop(credential_id, None)
            if last is not None and not last.released:
                self.count([Count("lease_takeovers")])
            return mine

    def renew(self, lease: Lease, ttl: timedelta) -> Lease:
        with self._lock:
            now = self._hold(lease)
            longer = changed(lease, {"until": now + ttl})
            self.tables.leases[lease.credential_id] = longer
            return longer

    def release(self, lease: Lease, idle: Idle | None = None) -> None:
        with self._lock:
            row = self.tables.leases.get(lease.credential_id)
            if row is not None and row.epoch == lease.epoch:
                self.tables.leases[lease.credential_id] = changed(row, {"released": True, "fenced_at": lease.fenced_at})
                if idle is not None and not self.requests(lease.credential_id):
                    self.tables.idle[lease.credential_id] = idle

    def due(self, within: timedelta) -> Sequence[str]:
        with self._lock:
            now, idle = self.now(), self.tables.idle
            waiting = [(idle[c.id].until if c.id in idle else LONG_AGO, c.name) for c in self.credentials()]
            return [name for until, name in sorted(waiting) if not now < until <= now + within]

    def stir(self, editions: Mapping[str, str]) -> None:
        with self._lock:
            for credential in self.credentials():
                idle = self.tables.idle.get(credential.id)
                if idle is not None and editions.get(credential.name, idle.edition) != idle.edition:
                    del self.tables.idle[credential.id]

    def _hold(self, lease: Lease) -> datetime:
        row, now = self.tables.leases.get(lease.credential_id), self.now()
        if row is None or row.epoch != lease.epoch:
            message = f"the lease of epoch {lease.epoch} was taken over"
            raise StaleLease(message)
        if row.released or row.until <= now:
            message = f"the lease of epoch {lease.epoch} has {'been released' if row.released else 'expired'}"
            raise StaleLease(message)
        return now

    # recording

    def record(self, lease: Lease, writes: Sequence[Write], events: Sequence[NewEvent]) -> Sequence[StoredEvent]:
        with self._lock:
            self._hold(lease)
            self._undo.clear()
            self._loaded.pop(lease.credential_id, None)
            try:
                for write in writes:
                    self._apply(lease.credential_id, write)
                told = self._append(events)
            except BaseException:
                for table, key, before in reversed(self._undo):
                    if before is None:
                        table.pop(key, None)
                    else:
                        table[key] = before
                self._loaded.clear()
                raise
            self.count([write for write in writes if isinstance(write, Count)])
            return told

    def _set(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Set an entry, or take it away (None); undone where the record fails."""
        self._undo.append((table, key, table.get(key)))
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value

    def _apply(self, leased: CredentialId, write: Write) -> None:  # noqa: C901 - one case for each kind of write
        tables = self.tables
        match write:
            case Insert(row):
                _check_owner(row.credential_id, leased)
                self._take(row, _rules(row), ())
                self._set(tables.rows, row.id, row)
                self._file(row, new=True)
            case Update(row, changes):
                _check_owner(row.credential_id, leased)
                self._update(row, changes)
            case Seal(version_id, material):
                self._set(tables.sealed, version_id, material)
            case DropSealed(version_id):
                self._set(tables.sealed, version_id, None)
            case Place(placement):
                _check_owner(placement.credential_id, leased)
                at = (placement.identity, placement.field)
                before = tables.placements.get(at)
                if before is not None:
                    self._loaded.pop(before.credential_id, None)
                self._set(tables.placements, at, placement)
            case Watched(at):
                self._set(tables.credentials, leased, replace(tables.credentials[leased], watched_at=at))
            case Room():
                self._require_room(write)
            case Count():
                pass  # added once nothing can fail any more
            case Unplace(identity, field_name):
                found = tables.placements.get((identity, field_name))
                if found is not None and found.credential_id == leased:
                    self._set(tables.placements, (identity, field_name), None)

    def _require_room(self, room: Room) -> None:
        moving = 0
        for credential in self.tables.credentials.values():
            if credential.provider == room.provider:
                moving += sum(1 for r in self._rows_of(credential.id, Rotation) if self._moves(r))
        if moving >= room.most:
            message = f"{moving} rotations of {room.provider} are under way"
            raise Crowded(message)

    def _moves(self, rotation: Rotation) -> bool:
        if rotation.blocked or rotation.attempt >= STUCK_AFTER or rotation.wave_until is not None:
            return False
        if rotation.not_before is not None and rotation.not_before > self.now() + LONG_WAIT:
            return False
        return not any(d.blocked or d.attempt >= STUCK_AFTER for d in self._deliveries(rotation))

    def _update(self, row: Row, changes: Mapping[str, Any]) -> None:
        kind = type(row)
        wrong = [n for n in changes if n in _FIXED or n not in _NAMES[kind]]
        if wrong:
            message = f"{', '.join(wrong)} of a {kind.__name__.lower()} cannot be set"
            raise ValueError(message)
        stands = self.tables.rows.get(row.id)
        if stands is None or stands.state is not row.state:
            message = f"the {kind.__name__.lower()} {row.id} is no longer {row.state}"
            raise StaleLease(message)
        after = changed(stands, changes)
        if "state" in changes or "key_id" in changes:
            self._take(after, _rules(after), _rules(stands))
        self._set(self.tables.rows, row.id, after)
        self._file(after, new=False)

    def _file(self, row: Row, *, new: bool) -> None:
        """Keep at hand what `load` gives: open work only, and all versions."""
        tables, kin = self.tables, (row.credential_id, type(row))
        if isinstance(row, Rotation) and _made_current(row):
            moments = tables.completed.get(row.credential_id, ())
            self._set(tables.completed, row.credential_id, (*moments, row.closed_at))
        sent = tables.sent.get(row.credential_id, ())
        if isinstance(row, Delivery) and row.started and row.id not in sent:
            self._set(tables.sent, row.credential_id, (*sent, row.id))
        elif isinstance(row, Rotation) and row.state is RotationState.COMPLETED and sent:
            left = tuple(i for i in sent if getattr(tables.rows[i], "rotation_id", None) != row.id)
            self._set(tables.sent, row.credential_id, left)
        closed = not row.open if isinstance(row, Rotation | Retirement) else False
        closed = closed or (isinstance(row, Request) and row.state is not RequestState.STANDING)
        if closed and not new:
            left = tuple(i for i in tables.of.get(kin, ()) if i != row.id)
            self._set(tables.of, kin, left)
            if isinstance(row, Rotation):
                self._set(tables.of, (row.credential_id, Delivery), ())
        elif new and not closed:
            self._set(tables.of, kin, (*tables.of.get(kin, ()), row.id))

    def _take(self, row: Row, rules: Sequence[tuple[str, ...]], before: Sequence[tuple[str, ...]]) -> None:
        taken = self.tables.taken
        for rule in before:
            if rule not in rules:
                self._set(taken, rule, None)
        for rule in rules:
            if taken.get(rule, row.id) != row.id:
                message = f"another row stands in the way ({rule[0]})"
                raise StaleLease(message)
            self._set(taken, rule, row.id)

    # findings

    def find(self, finding: Finding, event: NewEvent) -> bool:
        with self._lock:
            if self._standing(finding.kind, finding.subject):
                return False
            self.tables.findings[finding.id] = finding
            self._append([event])
            return True

    def clear(self, kind: str, subject: str, event: NewEvent) -> bool:
        with self._lock:
            found = self._standing(kind, subject)
            if found is None:
                return False
            self.tables.findings[found.id] = replace(found, cleared_at=self.now())
            self._append([event])
            return True

    def ignore(self, kind: str, subject: str, event: NewEvent) -> bool:
        with self._lock:
            found = self._standing(kind, subject)
            if found is None or found.ignored_at is not None:
                return False
            self.tables.findings[found.id] = replace(found, ignored_at=self.now())
            self._append([event])
            return True

    def found_since(self, kind: str, subject: str, since: datetime) -> int:
        about = (f for f in self.tables.findings.values() if f.kind == kind and f.subject == subject)
        return sum(1 for f in about if f.found_at >= since)

    def findings(self, of: CredentialId | None = None) -> Sequence[Finding]:
        standing = (f for f in self.tables.findings.values() if f.cleared_at is None)
        wanted = (f for f in standing if of is None or f.credential_id == of or f.kind == Subject.RECONCILE)
        return sorted(wanted, key=lambda f: (f.found_at, f.id))

    def standing(self, kind: str, subject: str | None = None) -> Finding | None:
        found = (f for f in self.findings() if f.kind == kind and subject in (None, f.subject))
        return next(found, None)

    def _standing(self, kind: str, subject: str) -> Finding | None:
        about = (f for f in self.tables.findings.values() if f.kind == kind and f.subject == subject)
        return next((f for f in about if f.cleared_at is None), None)

    # the trail

    def note(self, events: Sequence[NewEvent]) -> Sequence[StoredEvent]:
        with self._lock:
            return self._append(events)

    def _append(self, events: Sequence[NewEvent]) -> Told:
        for event in events:
            _refuse_floats(event.detail)
        now, start = self.now(), len(self.tables.events)
        self.tables.events.extend((event, now) for event in events)
        return Told(self, start, len(self.tables.events))

    def lines(self, end: int) -> list[StoredEvent]:
        """The stored lines of the first so many events, at least."""
        with self._lock:
            tables = self.tables
            for seq in range(len(tables.lines) + 1, end + 1):
                event, at = tables.events[seq - 1]
                previous = tables.lines[-1].hash if tables.lines else FIRST_PREVIOUS_HASH
                tables.lines.append(line(event, seq=seq, at=at, previous_hash=previous))
            return tables.lines

    def events(
        self, after: int = 0, *, credential: str | None = None, limit: int | None = None
    ) -> Iterator[StoredEvent]:
        return islice(self._events(after, credential), limit)

    def _events(self, seq: int, credential: str | None) -> Iterator[StoredEvent]:
        while seq < len(self.tables.events):
            if credential in (None, self.tables.events[seq][0].credential):
                yield self.lines(seq + 1)[seq]
            seq += 1

    def followers(self) -> Mapping[str, Follower]:
        with self._lock:
            return dict(sorted(self.tables.followers.items()))

    def forget_follower(self, name: str, event: NewEvent) -> bool:
        with self._lock:
            if self.tables.followers.pop(name, None) is None:
                return False
            self._append([event])
            return True

    def note_follower(self, name: str, change: Callable[[Follower], Follower]) -> Follower:
        with self._lock:
            before = self.tables.followers.get(name) or Follower(name=name)
            self.tables.followers[name] = after = change(before)
            return after

    def notices(self, route: str) -> Rows:
        with self._lock:
            return dict(sorted(self.tables.notices.get(route, {}).items()))

    def keep_notices(
        self, follower: str, turn: str, route: str, *, put: Sequence[Outgoing], drop: Sequence[str], seq: int
    ) -> bool:
        with self._lock:
            row = self.tables.followers.get(follower)
            if row is None or row.taken_by != turn:
                return False
            rows = self.tables.notices.setdefault(route, {})
            for key in drop:
                rows.pop(key, None)
            rows.update({one.key: one for one in put})
            self.tables.followers[follower] = replace(row, seq=seq)
            return True

    def head(self) -> tuple[int, str]:
        """Seq and hash of the last event."""
        count = len(self.tables.events)
        return (count, self.lines(count)[-1].hash) if count else (0, FIRST_PREVIOUS_HASH)

    def last_checkpoint(self) -> Checkpoint | None:
        for seq in range(len(self.tables.events), 0, -1):
            event, at = self.tables.events[seq - 1]
            if event.event == "checkpoint.succeeded":
                return Checkpoint(size=seq - 1, at=at, note=event.detail["checkpoint"])
        return None

    def last_event_at(self) -> datetime | None:
        return self.tables.events[-1][1] if self.tables.events else None


_number = attrgetter("number")


class Told(Sequence[StoredEvent]):
    """Events as they are stored, written out when they are looked at."""

    def __init__(self, store: MemoryStore, start: int, end: int) -> None:
        self._store, self._range = store, range(start, end)

    def __len__(self) -> int:
        return len(self._range)

    @overload
    def __getitem__(self, index: int) -> StoredEvent: ...
    @overload
    def __getitem__(self, index: slice) -> list[StoredEvent]: ...
    def __getitem__(self, index: int | slice) -> StoredEvent | list[StoredEvent]:
        lines = self._store.lines(self._range.stop)
        if isinstance(index, slice):
            return [lines[number] for number in self._range[index]]
        return lines[self._range[index]]


def changed(row: T, changes: Mapping[str, Any]) -> T:
    """`dataclasses.replace` without calling the constructor, which for rows of twenty columns is most of the cost."""
    new: T = object.__new__(type(row))
    new.__dict__.update(row.__dict__)
    new.__dict__.update(changes)
    return new


def _made_current(row: Rotation) -> bool:
    """Whether it is completed, with a key that was new."""
    return row.state is RotationState.COMPLETED and row.cause not in REUSES and row.closed_at is not None


def _check_owner(owner: CredentialId, leased: CredentialId) -> None:
    if owner != leased:
        message = f"a row of credential {owner} is not written under the lease of {leased}"
        raise ValueError(message)


def _rules(row: Row) -> tuple[tuple[str, ...], ...]:
    """What this row takes and no other row may have: the unique indexes of `store.tables`."""
    if isinstance(row, Version):
        rules: list[tuple[str, ...]] = [("number", row.credential_id, str(row.number))]
        if row.key_id is not None:
            rules.append(("key_id", row.account, row.key_id))
        if row.state is VersionState.CURRENT:
            rules.append(("one_current_version", row.credential_id))
        return tuple(rules)
    if isinstance(row, Rotation) and row.state in OPEN_ROTATION:
        return (("one_open_rotation", row.credential_id),)
    if isinstance(row, Retirement) and row.state in OPEN_RETIREMENT:
        return (("one_open_retirement", row.version_id),)
    return ()


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        message = "an event's detail holds no floats: they are not written the same way everywhere"
        raise TypeError(message)
    if isinstance(value, Mapping):
        for item in value.values():
            _refuse_floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)
