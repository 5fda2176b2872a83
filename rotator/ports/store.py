"""The store: claims, guarded transitions, events, findings, placements, and the only clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from rotator.domain.model import (
    Account,
    Credential,
    CredentialId,
    Delivery,
    Finding,
    Follower,
    Lease,
    Placement,
    Request,
    RequestId,
    Retirement,
    Rotation,
    Sighting,
    Situation,
    Version,
    VersionId,
)
from rotator.domain.notices import Outgoing, Rows
from rotator.domain.reactions import Caps
from rotator.domain.secret import Material
from rotator.domain.usage import Sample, Sampling

Row = Version | Rotation | Retirement | Delivery | Request


@dataclass(frozen=True)
class Insert:
    """A new row. A violated uniqueness rule (one open rotation, one key id in an account) raises StaleLease."""

    row: Row


@dataclass(frozen=True)
class Update:
    """`row` as it is now in our hands → the fields to set. The row must still be in `row.state`: else StaleLease."""

    row: Row
    set: Mapping[str, Any]


class Prepared(Protocol):
    """What `Store.prepare` has fetched; the store's own affair."""


@dataclass(frozen=True)
class Seal:
    """Keep this material, sealed, until the version is retired. Replaces what is there.

    `prepared` is for material that must not be lost: with it nobody else is asked before it is sealed.
    """

    version_id: VersionId
    material: Material
    prepared: Prepared | None = None


@dataclass(frozen=True)
class DropSealed:
    """Forget the sealed material of a version."""

    version_id: VersionId


@dataclass(frozen=True)
class Place:
    """What now stands at (identity, field). Replaces the row of the same place."""

    placement: Placement


@dataclass(frozen=True)
class Unplace:
    """Forget what we put at a place (`forget`, a destination that is gone)."""

    identity: str
    field: str


@dataclass(frozen=True)
class Watched:
    """The credential's keys and places were looked at."""

    at: datetime


@dataclass(frozen=True)
class Room:
    """A guard: fewer than `most` rotations of this provider are moving. Else Crowded, and nothing is written.

    Blocked ones do not move, nor those that fail again and again, wait for long or let a wave soak: they keep nobody
    else waiting.
    """

    provider: str
    most: int


@dataclass(frozen=True)
class Count:
    """So much more of something that metrics tell: what, and the values of its labels. It guards nothing."""

    what: str
    labels: tuple[str, ...] = ()
    by: float = 1


Counts = Mapping[tuple[str, tuple[str, ...]], float]
"""What was counted, and its labels → how much since the database was set up."""

STUCK_AFTER = 3
"""A rotation (or a delivery of it) that failed as often as this in a row does not move."""

LONG_WAIT = timedelta(minutes=5)
"""Nor does one that waits for longer than this."""

Write = Insert | Update | Seal | DropSealed | Place | Unplace | Watched | Room | Count


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """A line of the audit trail to be. The store adds seq, time, hashes."""

    event: str  # `<step, verb or finding>.<outcome>`, see domain.events
    actor: str
    credential: str | None = None  # the name
    rotation: str | None = None
    version: int | None = None  # the number
    key_id: str | None = None
    destination: str | None = None
    attempt: int | None = None
    reason: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)  # JSON without floats


@dataclass(frozen=True, kw_only=True)
class StoredEvent:
    """A line of the audit trail as it is stored. `body` is RFC 8785 JSON of all keys but `hash`."""

    seq: int
    body: str
    hash: str


@dataclass(frozen=True)
class Held:
    """Somebody else has the lease."""

    lease: Lease


@dataclass(frozen=True, kw_only=True)
class Idle:
    """Nothing is to be done for a credential before `until`, says a worker whose configuration is of this edition."""

    until: datetime
    edition: str


@dataclass(frozen=True, kw_only=True)
class Pause:
    """Who stops a credential, for how long (None: until it is ended), and why."""

    by: str
    lasts: timedelta | None
    why: str


@dataclass(frozen=True, kw_only=True)
class Installation:
    """What the database says about itself."""

    id: str
    environment: str
    created_at: datetime
    last_pass_at: datetime | None
    home: Home | None = None  # as it was when it was last known to be right; None: never looked at
    anchored: bool = False  # whether a mark of its trail is kept outside


@dataclass(frozen=True, kw_only=True)
class Home:
    """Where a database lives, by what its server or file says of itself: a copy lives elsewhere."""

    place: str | None  # None: it does not tell
    timeline: int | None = None  # goes on at each fail-over and each restore to an earlier moment, on PostgreSQL


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One event of one installation's trail, remembered outside the database."""

    install: str
    seq: int
    hash: str


class Anchor(Protocol):
    """A place outside the database that remembers how far the trail had come. Shared by all workers.

    Both methods raise SetupError where the place cannot be used.
    """

    def read(self) -> Mark | None:
        """The mark; None where there is none."""
        ...

    def write(self, mark: Mark) -> None:
        """Replace it, wholly or not at all."""
        ...


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What was signed of the trail."""

    size: int  # the first so many events
    at: datetime  # when
    note: str  # C2SP tlog-checkpoint


class Checkpoints(Protocol):
    """Who signs the trail. Shared by all workers.

    Both methods raise SetupError where the key cannot be read, StoreUnavailable.
    """

    def keep_up(self, actor: str) -> None:
        """Sign a checkpoint where one is due, by the store's clock. Its event is `checkpoint.succeeded`."""
        ...

    def sign(self, actor: str) -> Checkpoint:
        """Sign one now; where nothing has happened since the newest but that one's own event, give that one."""
        ...


class Store(Protocol):
    """One database. Methods may be called from several threads.

    Every method raises StoreUnavailable where the database does not answer; reads may be repeated. `record` is
    one transaction and is not repeated by itself: after StoreUnavailable its outcome is unknown until `load`.
    """

    def now(self) -> datetime:
        """The only source of time, aware UTC: the database's clock on PostgreSQL, the host's on SQLite."""
        ...

    def installation(self) -> Installation:
        """Identity and environment of this database."""
        ...

    def home(self) -> Home:
        """Where this database lives now."""
        ...

    def settle_in(self, home: Home, *, anchored: bool) -> None:
        """Note that this is the right place, and whether a mark is kept outside."""
        ...

    def head(self) -> tuple[int, str]:
        """Seq and hash of the last event; 0 and 64 zeros before the first."""
        ...

    def enroll(
        self,
        names: Mapping[str, str],
        actor: str,
        entries: Mapping[str, str] | None = None,
        revision: str | None = None,
    ) -> Sequence[Credential]:
        """Make the rows agree with the configuration's names → providers; return all credentials.

        Missing rows are inserted, rows without a name become `managed=False` and come back when named again.
        Each change has its event (`enroll.succeeded`, `unmanage.succeeded`). `entries`, by name, are kept for
        `unfinished`; those of other credentials stay. One that comes with another `policy` than the one kept is told
        as `policy.succeeded`, with the `revision` of the configuration. May be repeated.
        """
        ...

    def move(self, credential_id: CredentialId, name: str, event: NewEvent) -> bool:
        """Give a credential another name; False where it has it, or one with keys does. Needs no lease.

        A row of that name without keys gives way. Standing findings of both are cleared (reason `moved`), to be found
        anew. May be repeated.
        """
        ...

    def unfinished(self) -> Mapping[str, str | None]:
        """Name → the entry last kept (None: none ever was), of every credential with a rotation or retirement open."""
        ...

    def credentials(self) -> Sequence[Credential]:
        """All credentials, by name."""
        ...

    def credential(self, name: str) -> Credential | None:
        """The one of this name."""
        ...

    def pause(self, credential_id: CredentialId, pause: Pause | None, event: NewEvent) -> bool:
        """Pause a credential, or end its pause (None); say whether that changed anything. May be repeated.

        Needs no lease: a worker that has one sees it at its next step.
        """
        ...

    def ask(self, request: Request, event: NewEvent) -> None:
        """Record what a person wants done. Needs no lease: whoever has one next does it, and updates the row."""
        ...

    def react(self, request: Request, event: NewEvent, caps: Caps) -> str | None:
        """`ask`, for a reaction that no person asked for; where the caps hold it nothing is written, and it says why.

        No two are weighed at once, whichever processes they come from.
        """
        ...

    def requests(self, credential_id: CredentialId) -> Sequence[Request]:
        """Those of a credential that stand, oldest first."""
        ...

    def request(self, request_id: RequestId) -> Request | None:
        """One request, whatever became of it."""
        ...

    def load(self, credential_id: CredentialId) -> Situation:
        """Everything on record about one credential, from one snapshot."""
        ...

    def reload(self, lease: Lease, before: Situation, writes: Sequence[Write]) -> Situation:
        """What `load` would give, where only these were recorded under the lease since `before` was loaded under it.

        Whoever does not have the lease changes the credential's own row at most; so what these writes leave alone is
        not read again, unless somebody else has the lease by now.
        """
        ...

    def material(self, version_id: VersionId) -> Material | None:
        """The unsealed material of a version, or None where it is not kept. Needs the sealing key.

        Raises SetupError (`wrong_sealing_key`), PermanentError (`sealed_tampered`), and as `ports.sealer.Sealer`.
        """
        ...

    def prepare(self, version_id: VersionId) -> Prepared | None:
        """Fetch what sealing a version's material will need from elsewhere. Changes nothing; may be repeated.

        Raises SetupError, and as `ports.sealer.Sealer`: then no key is asked for that could not be kept.
        """
        ...

    def version(self, version_id: VersionId) -> Version | None:
        """One version row of any credential: tells whether a label at the provider is ours."""
        ...

    def known_keys(self, account: str, among: Collection[str] | None = None) -> Mapping[str, str]:
        """Key id → credential name, of every version row of the account, retired ones included.

        `among`: of these key ids only; an account may have had very many.
        """
        ...

    def account(self, provider: str) -> Account:
        """How a provider account fares; a new one where nothing is on record."""
        ...

    def note_account(self, provider: str, change: Callable[[Account], Account]) -> Account:
        """Change that row, nobody else meanwhile; return it as it is then. `change` may be called twice."""
        ...

    def sight(self, sighting: Sighting, event: NewEvent) -> bool:
        """Note a consumer's word, unless a newer one of it is on record. Needs no lease.

        The event is appended, and True returned, where it says another fingerprint than before, or is the first.
        """
        ...

    def sightings(self, credential_id: CredentialId) -> Sequence[Sighting]:
        """The last word of each consumer of a credential, by the consumers' names."""
        ...

    def sampling(self, credential_id: CredentialId) -> Sampling | None:
        """How far the use of a credential's keys is on record; None: nobody has looked yet."""
        ...

    def samples(self, credential_id: CredentialId) -> Sequence[Sample]:
        """The use on record, by key and then by time."""
        ...

    def keep_samples(self, credential_id: CredentialId, samples: Sequence[Sample], since: datetime) -> None:
        """Note a look: these take the place of samples of the same buckets, and what is old is rolled up or goes.

        `since`: from when on use is on record, if this is the first look. Needs no lease; may be repeated.
        """
        ...

    def placed(self, identity: str) -> Mapping[str, Placement]:
        """Field → placement, for one destination, whoever put it there."""
        ...

    def lease(self, credential_id: CredentialId) -> Lease | None:
        """The lease row as it stands, held or not."""
        ...

    def claim(self, credential_id: CredentialId, holder: str, ttl: timedelta) -> Lease | Held:
        """Take the lease if it is free, expired, or its holder is provably dead on this host. Epoch + 1.

        `holder` is JSON of {host, boot, pid, started}. An expired or orphaned lease sets `fenced_at`.
        """
        ...

    def renew(self, lease: Lease, ttl: timedelta) -> Lease:
        """Extend a lease that is still ours; else StaleLease. `fenced_at` is written as the lease has it."""
        ...

    def release(self, lease: Lease, idle: Idle | None = None) -> None:
        """Say that every call made under the lease has come back. No error where it is ours no more.

        `fenced_at` is written as the lease has it: a call that came back without an answer may still take effect.
        The credential is due again when `idle` says so; without it, or where a request stands, at once.
        """
        ...

    def due(self, within: timedelta) -> Sequence[str]:
        """The names of the credentials that a worker should look at now, those that wait longest first.

        That is each one that was claimed since it was last left idle, whoever did what with it; whose time has come;
        whose time is further away than `within`, by a clock that has been set back since; and each one that a person
        or a consumer has told something about (`ask`, `pause`, `move`, `sight`). Costs what is due, not what is there.
        """
        ...

    def stir(self, editions: Mapping[str, str]) -> None:
        """Make those due that were left idle by another edition of their configuration. Name → edition; all at once."""
        ...

    def record(self, lease: Lease, writes: Sequence[Write], events: Sequence[NewEvent]) -> Sequence[StoredEvent]:
        """Apply all writes and append all events in one transaction, under the lease.

        Locks the lease row, checks epoch and time; every guarded update must change exactly one row, else
        StaleLease and nothing is written.
        """
        ...

    def note(self, events: Sequence[NewEvent]) -> Sequence[StoredEvent]:
        """Append events that change no row."""
        ...

    def find(self, finding: Finding, event: NewEvent) -> bool:
        """Record a finding unless an uncleared one of the same kind and subject stands; say whether it is new."""
        ...

    def clear(self, kind: str, subject: str, event: NewEvent) -> bool:
        """Clear the finding of this kind and subject, if it stands; say whether one did."""
        ...

    def findings(self, of: CredentialId | None = None) -> Sequence[Finding]:
        """The uncleared ones, oldest first; those that a person ignores are among them.

        `of`: only those of this credential, and those that stop all of them (`reconcile`).
        """
        ...

    def standing(self, kind: str, subject: str | None = None) -> Finding | None:
        """The uncleared one of this kind and subject; without a subject, the oldest of the kind."""
        ...

    def ignore(self, kind: str, subject: str, event: NewEvent) -> bool:
        """Note that a person wants to hear no more of a standing finding; say whether one stands unignored."""
        ...

    def found_since(self, kind: str, subject: str, since: datetime) -> int:
        """How often this was found since then, cleared or not."""
        ...

    def count(self, counts: Sequence[Count]) -> None:
        """Add what belongs to no record."""
        ...

    def counts(self) -> Counts:
        """All that was ever counted. The store itself counts `events`, by name, and `lease_takeovers`."""
        ...

    def fleet(self) -> Iterator[Situation]:
        """Every credential by name, as `load` gives it, but for what only a worker asks: `unacknowledged`, `shadows`.

        `creates` are those that were recorded within two days: where clocks jump further, `load` knows better.
        Read some hundred at a time, each of them from one snapshot.
        """
        ...

    def drilled(self, credential_ids: Sequence[CredentialId]) -> Mapping[CredentialId, datetime]:
        """When a rehearsal of each of these last went to its end, its key gone; those that had none are missing."""
        ...

    def pass_ended(self) -> None:
        """Note the time of the last pass."""
        ...

    def last_checkpoint(self) -> Checkpoint | None:
        """The newest signed one on record."""
        ...

    def last_event_at(self) -> datetime | None:
        """The time of the newest event: a clock behind it has been set back."""
        ...

    def events(
        self, after: int = 0, *, credential: str | None = None, limit: int | None = None
    ) -> Iterator[StoredEvent]:
        """The trail in order, from the event after `after`; with a name, of that credential alone; at most `limit`."""
        ...

    def followers(self) -> Mapping[str, Follower]:
        """By name, all that ever followed the trail: what none of them has accepted is still needed."""
        ...

    def forget_follower(self, name: str, event: NewEvent) -> bool:
        """Forget how far it has come, so that what it lacks may be pruned; say whether it was known."""
        ...

    def note_follower(self, name: str, change: Callable[[Follower], Follower]) -> Follower:
        """Change that row, a new one where there is none, nobody else meanwhile; return it as it is then.

        `change` may be called twice, and may not use the store.
        """
        ...

    def notices(self, route: str) -> Rows:
        """What a route of notifications has to say, or has said and that still holds: its rows, by key."""
        ...

    def keep_notices(  # one transaction, so that nothing is lost between the trail and these rows
        self, follower: str, turn: str, route: str, *, put: Sequence[Outgoing], drop: Sequence[str], seq: int
    ) -> bool:
        """Replace these rows of a route, forget those of the keys `drop`, and move the follower's cursor to `seq`.

        Only while it is `turn` that sends for the follower: else False, and nothing is written.
        """
        ...
