"""The store in a database: implements `ports.store.Store` on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property

from sqlalchemy import Engine, select, update

from rotator.domain.errors import PermanentError, SetupError
from rotator.domain.model import (
    Account,
    Credential,
    CredentialId,
    Finding,
    Follower,
    Lease,
    Placement,
    Request,
    RequestId,
    Sighting,
    Situation,
    Version,
    VersionId,
)
from rotator.domain.notices import Outgoing, Rows
from rotator.domain.reactions import Caps
from rotator.domain.secret import Material
from rotator.domain.usage import Sample, Sampling
from rotator.ports.store import (
    Checkpoint,
    Count,
    Counts,
    Held,
    Home,
    Idle,
    Installation,
    NewEvent,
    Pause,
    Prepared,
    Seal,
    StoredEvent,
    Write,
)
from rotator.store import (
    accounts,
    audit,
    checkpoints,
    enrolment,
    findings,
    fleet,
    followers,
    homes,
    leases,
    material,
    notices,
    one_trip,
    reading,
    records,
    requests,
    samples,
    schema,
    sightings,
    tables,
    tallies,
)
from rotator.store.database import Clock, Database, Observe, Proof, connect, opening
from rotator.store.foreseen import foreseen
from rotator.store.keyring import Keyring
from rotator.store.keyring import Prepared as DataKeyAtHand
from rotator.store.material import Fingerprinting, Vault
from rotator.store.sealing_keys import SealingKeys

_PAGE = 1000


def open_store(
    url: str,
    *,
    new_id: Callable[[], str],
    keyring: Keyring | None = None,
    clock: Clock | None = None,
    environment: str | None = None,
    observe: Observe = lambda _: None,
    dry: bool = False,
    proof: Proof | None = None,
    keeps: bool = True,
) -> SqlStore:
    """Open an existing database and check that it is the right one; None as environment is not checked.

    `observe` is told each event of this process once it is committed. `dry`: a sealing key is not tried before it is
    needed, for the first one that a database sees is noted there. Without `keeps`, material is dropped as soon as its
    credential is at rest.

    Raises SetupError with reason `bad_store_url`, `no_database`, `database_refused`, `schema_outdated`,
    `schema_newer`, `other_environment`, or, where a keyring is given, `wrong_sealing_key` and what keeps a sealer from
    working; StoreUnavailable where a server does not answer, and Unavailable where that of a sealer does not.
    """
    store = SqlStore(
        connect(url), new_id=new_id, clock=clock, keyring=keyring, observe=observe, keeps=keeps, proof=proof
    )
    try:
        with opening():
            schema.check(store.database)
            schema.check_environment(store.installation().environment, environment, store.database.where)
            if keyring is not None and not dry:
                _ = store.fingerprint
                store.forget_at_rest()
    except PermanentError as problem:  # of a sealer, which only a person can put right
        store.close()
        raise SetupError(problem.message, reason=problem.reason, remedy=problem.remedy) from None
    except BaseException:
        store.close()
        raise
    return store


class SqlStore:
    """One database with an up-to-date schema. Methods may be called from several threads.

    `new_id` makes the ids of the rows that the store makes itself. A given `clock` wins over the database's.
    Without a keyring everything works but `fingerprint`, `material` and recording a Seal.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        new_id: Callable[[], str],
        clock: Clock | None = None,
        keyring: Keyring | None = None,
        observe: Observe = lambda _: None,
        proof: Proof | None = None,
        keeps: bool = True,
    ) -> None:
        self.database = Database(engine, clock, observe, proof)
        self._new_id = new_id
        self._keyring = keyring
        self._keeps = keeps

    def close(self) -> None:
        """Close all connections, those of the sealers included."""
        self.database.engine.dispose()
        if self._keyring is not None:
            self._keyring.close()

    def now(self) -> datetime:
        """The database's clock on PostgreSQL, the host's on SQLite, unless one was given."""
        known = self.database.time()
        if known is not None:
            return known
        with self.database.ask() as connection:
            return self.database.now(connection)

    def installation(self) -> Installation:
        """Identity and environment of this database."""
        with self.database.ask() as connection:
            found = homes.installation(connection)
        if found is None:
            message = f"the database {self.database.where} was never set up"
            raise SetupError(message, reason="schema_outdated", remedy="run `rotator db upgrade`")
        return found

    def home(self) -> Home:
        """PostgreSQL's system identifier, the database's own number in it, and its timeline; SQLite's inode."""
        return homes.home(self.database)

    def settle_in(self, home: Home, *, anchored: bool) -> None:
        """Note that this is the right place."""
        with self.database.write() as connection:
            values = {"home": home.place, "timeline": home.timeline, "anchored": anchored}
            connection.execute(update(tables.install).values(values))

    def pass_ended(self) -> None:
        """Note the time of the last pass."""
        with self.database.write() as connection:
            connection.execute(update(tables.install).values(last_pass_at=self.database.now(connection)))

    def count(self, counts: Sequence[Count]) -> None:
        """Add what belongs to no record."""
        with self.database.write() as connection:
            tallies.add(connection, counts)

    def counts(self) -> Counts:
        """All that was ever counted."""
        with self.database.ask() as connection:
            return tallies.all_of(connection)

    def fleet(self) -> Iterator[Situation]:
        """Every credential, by name, some hundred at a time."""
        return fleet.situations(self.database)

    def drilled(self, credential_ids: Sequence[CredentialId]) -> Mapping[CredentialId, datetime]:
        """When each of these was last rehearsed to the end."""
        return fleet.drilled(self.database, credential_ids)

    @cached_property
    def fingerprint(self) -> Fingerprinting:
        """Fingerprints under this installation's pepper. Raises SetupError without the right sealing key."""
        return self._vault.unlock()

    def material(self, version_id: VersionId) -> Material | None:
        """The unsealed material of a version. Raises SetupError without the right sealing key."""
        return self._vault.material(version_id)

    def prepare(self, version_id: VersionId) -> Prepared | None:
        """A data key for what this version's material will be."""
        return self._vault.prepare(version_id)

    def sealing_keys(self, actor: str) -> SealingKeys:
        """The key-encryption keys on record, for whoever changes them."""
        return SealingKeys(self.database, self._vault, actor)

    def forget_at_rest(self) -> None:
        """Drop what was kept of credentials at rest before they were to be kept no more."""
        if not self._keeps:
            with self.database.write() as connection:
                material.forget_at_rest(connection)

    @cached_property
    def _vault(self) -> Vault:
        return Vault(self.database, self.installation().id, self._keyring)

    def enroll(
        self,
        names: Mapping[str, str],
        actor: str,
        entries: Mapping[str, str] | None = None,
        revision: str | None = None,
    ) -> Sequence[Credential]:
        """Make the rows agree with the configuration's names → providers; return all credentials."""
        return enrolment.enroll(self.database, names, entries or {}, actor, self._new_id, revision)

    def move(self, credential_id: CredentialId, name: str, event: NewEvent) -> bool:
        """Give a credential another name; say whether that changed anything."""
        return enrolment.move(self.database, credential_id, name, event)

    def unfinished(self) -> Mapping[str, str | None]:
        """Name → the entry last kept, of every credential with something open."""
        with self.database.ask() as connection:
            return enrolment.unfinished(connection)

    def credentials(self) -> Sequence[Credential]:
        """All credentials, by name."""
        with self.database.ask() as connection:
            return enrolment.credentials(connection)

    def credential(self, name: str) -> Credential | None:
        """The one of this name."""
        with self.database.ask() as connection:
            return enrolment.credential(connection, name)

    def pause(self, credential_id: CredentialId, pause: Pause | None, event: NewEvent) -> bool:
        """Pause a credential, or end its pause; say whether that changed anything."""
        return enrolment.pause(self.database, credential_id, pause, event)

    def ask(self, request: Request, event: NewEvent) -> None:
        """Record what a person wants done."""
        requests.ask(self.database, request, event)

    def react(self, request: Request, event: NewEvent, caps: Caps) -> str | None:
        """Record a reaction, unless the caps hold it: then say why."""
        return requests.react(self.database, request, event, caps)

    def requests(self, credential_id: CredentialId) -> Sequence[Request]:
        """Those that stand, oldest first."""
        with self.database.ask() as connection:
            return requests.standing(connection, credential_id)

    def request(self, request_id: RequestId) -> Request | None:
        """One request."""
        with self.database.ask() as connection:
            return requests.find(connection, request_id)

    def load(self, credential_id: CredentialId) -> Situation:
        """Everything on record about one credential. Raises LookupError where there is none of this id."""
        with self.database.read() as connection:
            return reading.situation(connection, credential_id, self.database.time())

    def reload(self, lease: Lease, before: Situation, writes: Sequence[Write]) -> Situation:
        """The same after these writes under the lease, with as few questions as they allow."""
        known = reading.Known(*foreseen(before, writes), lease.epoch)
        with self.database.read() if known.unsure else self.database.ask() as connection:
            found = reading.again(connection, lease.credential_id, self.database.time(), known)
        return self.load(lease.credential_id) if found is None else found

    def version(self, version_id: VersionId) -> Version | None:
        """One version row of any credential."""
        with self.database.ask() as connection:
            return reading.version(connection, version_id)

    def fingerprints(self) -> Mapping[str, tuple[str, Version]]:
        """Fingerprint → credential name and version, of every key that ever was on record."""
        with self.database.ask() as connection:
            return reading.fingerprints(connection)

    def known_keys(self, account: str, among: Collection[str] | None = None) -> Mapping[str, str]:
        """Key id → credential name."""
        with self.database.ask() as connection:
            return reading.known_keys(connection, account, among)

    def account(self, provider: str) -> Account:
        """How a provider account fares."""
        with self.database.ask() as connection:
            return accounts.find(connection, provider)

    def note_account(self, provider: str, change: Callable[[Account], Account]) -> Account:
        """Change that row under a lock."""
        return accounts.note(self.database, provider, change)

    def sight(self, sighting: Sighting, event: NewEvent) -> bool:
        """Note a consumer's word; say whether it names another key than the one before."""
        return sightings.note(self.database, sighting, event)

    def sightings(self, credential_id: CredentialId) -> Sequence[Sighting]:
        """The last word of each consumer."""
        with self.database.ask() as connection:
            return sightings.of(connection, credential_id)

    def sampling(self, credential_id: CredentialId) -> Sampling | None:
        """How far use is on record; None: nobody has looked."""
        with self.database.ask() as connection:
            return samples.look(connection, credential_id)

    def samples(self, credential_id: CredentialId) -> Sequence[Sample]:
        """The use on record."""
        with self.database.ask() as connection:
            return samples.of(connection, credential_id)

    def keep_samples(self, credential_id: CredentialId, found: Sequence[Sample], since: datetime) -> None:
        """Note a look at the use of keys."""
        samples.keep(self.database, credential_id, found, since)

    def placed(self, identity: str) -> Mapping[str, Placement]:
        """Field → placement."""
        with self.database.ask() as connection:
            return reading.placed(connection, identity)

    def lease(self, credential_id: CredentialId) -> Lease | None:
        """The lease row; None where it was never claimed."""
        with self.database.ask() as connection:
            return leases.find(connection, credential_id)

    def claim(self, credential_id: CredentialId, holder: str, ttl: timedelta) -> Lease | Held:
        """Take the lease; Held also where this very holder has it already."""
        return leases.claim(self.database, credential_id, holder, ttl)

    def renew(self, lease: Lease, ttl: timedelta) -> Lease:
        """Extend a lease that is still ours."""
        return leases.renew(self.database, lease, ttl)

    def release(self, lease: Lease, idle: Idle | None = None) -> None:
        """Say that every call made under the lease has ended, and until when the credential is idle."""
        leases.release(self.database, lease, idle)

    def due(self, within: timedelta) -> Sequence[str]:
        """The names of the credentials that are not idle; no time of it may be further away than this."""
        with self.database.read() as connection:
            return leases.due(connection, self.database.now(connection), within)

    def stir(self, editions: Mapping[str, str]) -> None:
        """Wake those that another edition of their configuration has left idle."""
        leases.stir(self.database, editions)

    def record(self, lease: Lease, writes: Sequence[Write], events: Sequence[NewEvent]) -> Sequence[StoredEvent]:
        """Apply the writes in their order, then append the events, in one transaction.

        The order matters, since the rules hold at every moment: what makes room (the current version that becomes
        previous, the rotation that closes) stands before what takes it, and a row before those that name it.
        """
        ready = [self._encrypted(write) for write in writes if not isinstance(write, Count)]
        counts = [write for write in writes if isinstance(write, Count)]
        database = self.database
        if one_trip.possible(database, ready):
            with database.write(at_once=True) as connection:
                given = database.time()
                return one_trip.record(connection, lease, ready, events, counts, given=given, forget=not self._keeps)
        with database.write() as connection:
            now = leases.hold(database, connection, lease)
            records.apply(connection, lease.credential_id, ready, now)
            if not self._keeps:
                material.forget_at_rest(connection, lease.credential_id)
            return audit.append(connection, now, events, counts)

    def _encrypted(self, write: Write) -> Write | records.Keep:
        if isinstance(write, Seal):
            prepared = write.prepared if isinstance(write.prepared, DataKeyAtHand) else None
            return records.Keep(write.version_id, self._vault.seal(write.version_id, write.material, prepared))
        return write

    def note(self, events: Sequence[NewEvent]) -> Sequence[StoredEvent]:
        """Append events that change no row."""
        with self.database.write() as connection:
            return audit.append(connection, self.database.now(connection), events)

    def find(self, finding: Finding, event: NewEvent) -> bool:
        """Record a finding unless it stands already; say whether it is new."""
        return findings.find(self.database, finding, event)

    def clear(self, kind: str, subject: str, event: NewEvent) -> bool:
        """Clear a finding; say whether one stood."""
        return findings.clear(self.database, kind, subject, event)

    def ignore(self, kind: str, subject: str, event: NewEvent) -> bool:
        """Ignore a standing finding; say whether one stood unignored."""
        return findings.ignore(self.database, kind, subject, event)

    def found_since(self, kind: str, subject: str, since: datetime) -> int:
        """How often this was found since then."""
        with self.database.ask() as connection:
            return findings.found_since(connection, kind, subject, since)

    def findings(self, of: CredentialId | None = None) -> Sequence[Finding]:
        """The uncleared ones, oldest first; of one credential, with those that stop all."""
        with self.database.ask() as connection:
            return findings.uncleared(connection, of)

    def standing(self, kind: str, subject: str | None = None) -> Finding | None:
        """The uncleared one of this kind and subject; without a subject, the oldest of the kind."""
        with self.database.ask() as connection:
            return findings.standing(connection, kind, subject)

    def events(
        self, after: int = 0, *, credential: str | None = None, limit: int | None = None
    ) -> Iterator[StoredEvent]:
        """The trail in order, from the event after `after`; of one credential; at most `limit`.

        Read page by page, each in its own short transaction: events that come meanwhile are given too.
        """
        left = limit
        while left is None or left > 0:
            with self.database.read() as connection:
                page = reading.events(connection, after, credential, _PAGE if left is None else min(left, _PAGE))
            yield from page
            if len(page) < _PAGE:
                return
            after, left = page[-1].seq, None if left is None else left - len(page)

    def followers(self) -> Mapping[str, Follower]:
        """All that ever followed the trail, by name."""
        with self.database.ask() as connection:
            return followers.known(connection)

    def forget_follower(self, name: str, event: NewEvent) -> bool:
        """Forget how far it has come."""
        return followers.forget(self.database, name, event)

    def note_follower(self, name: str, change: Callable[[Follower], Follower]) -> Follower:
        """Change that row under a lock."""
        return followers.note(self.database, name, change)

    def head(self) -> tuple[int, str]:
        """Seq and hash of the last event, as remembered apart from the trail; 0 and 64 zeros before the first."""
        with self.database.ask() as connection:
            end = audit.end(connection)
            return end.seq, end.hash

    def last_checkpoint(self) -> Checkpoint | None:
        """The newest signed one on record."""
        with self.database.ask() as connection:
            return checkpoints.last(connection)

    def last_event_at(self) -> datetime | None:
        """The time of the last event, for comparing it with the clock."""
        table = tables.event
        with self.database.ask() as connection:
            return connection.scalar(select(table.c.at).order_by(table.c.seq.desc()).limit(1))

    def notices(self, route: str) -> Rows:
        """The rows of a route, by key."""
        with self.database.ask() as connection:
            return notices.of_route(connection, route)

    def keep_notices(
        self, follower: str, turn: str, route: str, *, put: Sequence[Outgoing], drop: Sequence[str], seq: int
    ) -> bool:
        """Replace rows and move the cursor, while it is this turn that sends."""
        return notices.keep(self.database, follower, turn, route, put, drop, seq)
