"""The stores of a simulation: the database that all workers share, and one worker's way to it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, TypeVar

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
from rotator.domain.secret import Material, Secret
from rotator.domain.usage import Sample, Sampling
from rotator.ports.sealer import Fingerprint
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
    Store,
    StoredEvent,
    Write,
)
from rotator.sealers.local import LocalSealer, new_key
from rotator.store import schema
from rotator.store.keyring import Keyring
from rotator.store.store import SqlStore, open_store
from rotator.verifier.trail import Chain
from tests.simulation.memory import MemoryStore
from tests.simulation.worker import Worker
from tests.simulation.world import START, World

T = TypeVar("T")


class OpenStore(Store, Chain, Protocol):
    """A store as the simulation opens it."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Under its pepper."""
        ...


MakeStore = Callable[[World], OpenStore]


def in_memory(world: World) -> OpenStore:
    """A fresh store in memory."""
    return MemoryStore(clock=world.database_time, new_id=world.new_id, dead=lambda _: False)


class OnSqlite:
    """A fresh SQLite file for each play, copied from one that was set up once."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")  # a file system in memory, where there is one: nothing has to outlive us
        self._folder = TemporaryDirectory(prefix="simulation-", dir=memory if memory.is_dir() else None)
        self._empty = Path(self._folder.name) / "empty.db"
        self._keyring = Keyring([LocalSealer(Secret(new_key()), "file:rotator.key")])
        self._open: SqlStore | None = None

    def __call__(self, world: World) -> OpenStore:
        if not self._empty.exists():
            schema.upgrade(f"sqlite:///{self._empty}", "test", lambda: "simulation", lambda: START)
        if self._open is not None:
            self._open.close()
        path = self._empty.with_name("play.db")
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(self._empty, path)
        url = f"sqlite:///{path}"
        self._open = open_store(url, new_id=world.new_id, keyring=self._keyring, clock=world.database_time)
        return self._open


STORES: dict[str, Callable[[World], OpenStore]] = {"memory": in_memory, "sql": OnSqlite()}


class WorkerStore:
    """One worker's way to the shared database."""

    def __init__(self, worker: Worker, store: Store) -> None:
        self.worker = worker
        self.world = worker.world
        self.real = store

    def _call(self, call: str, do: Callable[[], T]) -> T:
        self.worker.alive()
        self.world.database_answers()

        def while_it_lives() -> T:
            self.worker.alive()  # a restore ends every connection
            return do()

        return self.worker.call(call, while_it_lives, moment=0.02)

    def _read(self, do: Callable[[], T]) -> T:
        self.worker.alive()
        self.world.database_answers()
        return do()

    def now(self) -> datetime:
        return self._read(self.world.database_time)

    def installation(self) -> Installation:
        return self._read(self.real.installation)

    def enroll(
        self,
        names: Mapping[str, str],
        actor: str,
        entries: Mapping[str, str] | None = None,
        revision: str | None = None,
    ) -> Sequence[Credential]:
        return self._read(lambda: self.real.enroll(names, actor, entries, revision))

    def unfinished(self) -> Mapping[str, str | None]:
        return self._read(self.real.unfinished)

    def credentials(self) -> Sequence[Credential]:
        return self._read(self.real.credentials)

    def credential(self, name: str) -> Credential | None:
        return self._read(lambda: self.real.credential(name))

    def home(self) -> Home:
        return self._read(self.real.home)

    def settle_in(self, home: Home, *, anchored: bool) -> None:
        self._read(lambda: self.real.settle_in(home, anchored=anchored))

    def head(self) -> tuple[int, str]:
        return self._read(self.real.head)

    def move(self, credential_id: CredentialId, name: str, event: NewEvent) -> bool:
        return self._call("find", lambda: self.real.move(credential_id, name, event))

    def pause(self, credential_id: CredentialId, pause: Pause | None, event: NewEvent) -> bool:
        return self._call("find", lambda: self.real.pause(credential_id, pause, event))

    def account(self, provider: str) -> Account:
        return self._read(lambda: self.real.account(provider))

    def note_account(self, provider: str, change: Callable[[Account], Account]) -> Account:
        return self._call("account row", lambda: self.real.note_account(provider, change))

    def ask(self, request: Request, event: NewEvent) -> None:
        self._call("find", lambda: self.real.ask(request, event))

    def react(self, request: Request, event: NewEvent, caps: Caps) -> str | None:
        return self._call("find", lambda: self.real.react(request, event, caps))

    def requests(self, credential_id: CredentialId) -> Sequence[Request]:
        return self._read(lambda: self.real.requests(credential_id))

    def request(self, request_id: RequestId) -> Request | None:
        return self._read(lambda: self.real.request(request_id))

    def load(self, credential_id: CredentialId) -> Situation:
        return self._call("load", lambda: self.real.load(credential_id))

    def reload(self, lease: Lease, before: Situation, writes: Sequence[Write]) -> Situation:
        return self._call("load", lambda: self.real.reload(lease, before, writes))

    def material(self, version_id: VersionId) -> Material | None:
        return self._read(lambda: self.real.material(version_id))

    def prepare(self, version_id: VersionId) -> Prepared | None:
        return self._read(lambda: self.real.prepare(version_id))

    def version(self, version_id: VersionId) -> Version | None:
        return self._read(lambda: self.real.version(version_id))

    def known_keys(self, account: str, among: Collection[str] | None = None) -> Mapping[str, str]:
        return self._read(lambda: self.real.known_keys(account, among))

    def sight(self, sighting: Sighting, event: NewEvent) -> bool:
        return self._call("find", lambda: self.real.sight(sighting, event))

    def sampling(self, credential_id: CredentialId) -> Sampling | None:
        return self._read(lambda: self.real.sampling(credential_id))

    def samples(self, credential_id: CredentialId) -> Sequence[Sample]:
        return self._read(lambda: self.real.samples(credential_id))

    def keep_samples(self, credential_id: CredentialId, samples: Sequence[Sample], since: datetime) -> None:
        self._call("find", lambda: self.real.keep_samples(credential_id, samples, since))

    def sightings(self, credential_id: CredentialId) -> Sequence[Sighting]:
        return self._read(lambda: self.real.sightings(credential_id))

    def placed(self, identity: str) -> Mapping[str, Placement]:
        return self._read(lambda: self.real.placed(identity))

    def lease(self, credential_id: CredentialId) -> Lease | None:
        return self._read(lambda: self.real.lease(credential_id))

    def claim(self, credential_id: CredentialId, holder: str, ttl: timedelta) -> Lease | Held:
        oracle = self.world.oracle
        return self._call(
            "claim", lambda: oracle.claimed(self.worker, self.real.claim(credential_id, holder, ttl), ttl)
        )

    def renew(self, lease: Lease, ttl: timedelta) -> Lease:
        oracle = self.world.oracle
        return self._call("renew", lambda: oracle.renewed(self.real.renew(lease, ttl), ttl))

    def release(self, lease: Lease, idle: Idle | None = None) -> None:
        self._call("release", lambda: self.real.release(lease, idle))

    def due(self, within: timedelta) -> Sequence[str]:
        return self._read(lambda: self.real.due(within))

    def stir(self, editions: Mapping[str, str]) -> None:
        self._read(lambda: self.real.stir(editions))

    def record(self, lease: Lease, writes: Sequence[Write], events: Sequence[NewEvent]) -> Sequence[StoredEvent]:
        def do() -> Sequence[StoredEvent]:
            oracle = self.world.oracle
            stored = self.real.record(lease, writes, events)
            oracle.recorded(self.worker, lease, writes, events)
            return stored

        return self._call("record", do)

    def note(self, events: Sequence[NewEvent]) -> Sequence[StoredEvent]:
        return self._read(lambda: self.real.note(events))

    def find(self, finding: Finding, event: NewEvent) -> bool:
        return self._call("find", lambda: self.real.find(finding, event))

    def clear(self, kind: str, subject: str, event: NewEvent) -> bool:
        return self._call("clear", lambda: self.real.clear(kind, subject, event))

    def ignore(self, kind: str, subject: str, event: NewEvent) -> bool:
        return self._call("find", lambda: self.real.ignore(kind, subject, event))

    def found_since(self, kind: str, subject: str, since: datetime) -> int:
        return self._read(lambda: self.real.found_since(kind, subject, since))

    def findings(self, of: CredentialId | None = None) -> Sequence[Finding]:
        return self._read(lambda: self.real.findings(of))

    def standing(self, kind: str, subject: str | None = None) -> Finding | None:
        return self._read(lambda: self.real.standing(kind, subject))

    def count(self, counts: Sequence[Count]) -> None:
        self.real.count(counts)

    def counts(self) -> Counts:
        return self.real.counts()

    def fleet(self) -> Iterator[Situation]:
        return self.real.fleet()

    def drilled(self, credential_ids: Sequence[CredentialId]) -> Mapping[CredentialId, datetime]:
        return self._read(lambda: self.real.drilled(credential_ids))

    def pass_ended(self) -> None:
        self._read(self.real.pass_ended)

    def last_checkpoint(self) -> Checkpoint | None:
        return self._read(self.real.last_checkpoint)

    def last_event_at(self) -> datetime | None:
        return self._read(self.real.last_event_at)

    def events(
        self, after: int = 0, *, credential: str | None = None, limit: int | None = None
    ) -> Iterator[StoredEvent]:
        return self.real.events(after, credential=credential, limit=limit)

    def followers(self) -> Mapping[str, Follower]:
        return self._read(self.real.followers)

    def forget_follower(self, name: str, event: NewEvent) -> bool:
        return self._call("note", lambda: self.real.forget_follower(name, event))

    def note_follower(self, name: str, change: Callable[[Follower], Follower]) -> Follower:
        return self._call("follower row", lambda: self.real.note_follower(name, change))

    def notices(self, route: str) -> Rows:
        return self._read(lambda: self.real.notices(route))

    def keep_notices(
        self, follower: str, turn: str, route: str, *, put: Sequence[Outgoing], drop: Sequence[str], seq: int
    ) -> bool:
        return self._call("notices", lambda: self.real.keep_notices(follower, turn, route, put=put, drop=drop, seq=seq))
