"""The ports as one worker has them: each call takes a moment, passes the baton, and may meet a fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from rotator.domain.errors import LostAnswer, QuotaExceeded, RateLimited, StoreUnavailable, Unavailable
from rotator.domain.model import Credential, CredentialId, Finding, Lease, Placement, Situation, Version, VersionId
from rotator.domain.secret import Material, Secret
from rotator.engine.work import Managed
from rotator.ports import destination, provider
from rotator.ports.provider import Answer, IssuedKey, Key, Verdict
from rotator.ports.store import Held, Installation, NewEvent, Store, StoredEvent, Write
from tests.simulation.baton import Actor
from tests.simulation.faults import EMPHASIS, OF_CALL, Fault
from tests.simulation.world import Account, By, Place, World, WorldKey

T = TypeVar("T")

HOUR = 3600.0

DOING = frozenset({"create", "set", "disable", "enable", "delete", "write"})
"""Calls that change something outside."""


class CrashedError(BaseException):
    """The worker's process is gone. Nothing catches it but the worker's next life."""


class OverrunError(BaseException):
    """A call takes longer than its budget: `effect` comes after so many seconds, with nobody listening."""

    def __init__(self, seconds: float, effect: Callable[[], object]) -> None:
        super().__init__()
        self.seconds = seconds
        self.effect = effect


class Worker(Actor):
    """One process of the service: its calls, and what it has seen and done. Also the engine's way with threads."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(name)
        self.world = world
        self.step = "take in"
        self.credential = ""  # that it works on
        self.dead = False
        self.lives = 0
        self.wrong_account = False
        self.host_jump = timedelta(0)
        self.began = 0.0  # when the step in hand began
        self.managed: Mapping[str, Managed] = {}
        self.epochs: dict[CredentialId, int] = {}
        self.seen: dict[str, tuple[float, dict[str, str]]] = {}  # by place: when it was last read, and what was there
        self.accepted: dict[str, float] = {}  # by key id: when the provider last accepted it
        profile = world.profile
        self._faults = {call: [f for f in faults if f in profile.only] for call, faults in OF_CALL.items()}
        self._weights = {call: [profile.likely.get(f, 1.0) for f in faults] for call, faults in self._faults.items()}
        rates = {call: profile.call_fault * EMPHASIS.get(call, 1) for call in OF_CALL}
        self._rates = {call: rate if self._faults[call] else 0.0 for call, rate in rates.items()}

    @property
    def holder(self) -> str:
        """Each life of a process is another holder."""
        return f'{{"host":"sim","pid":{self.lives},"worker":"{self.name}"}}'

    def crash(self) -> None:
        """End this life here."""
        self.dead = True
        self.world.oracle.trace(f"{self.name} crashes")
        raise CrashedError

    def fault(self, call: str) -> Fault | None:
        """Draw what goes wrong with a call."""
        world = self.world
        if world.random.random() >= self._rates[call] or world.calm:
            return None
        return world.random.choices(self._faults[call], self._weights[call])[0]

    def met(self, fault: Fault, call: str) -> None:
        """A fault takes effect."""
        self.world.coverage.note(self.step, fault)
        self.world.oracle.trace(f"{self.name}: {call} in {self.step}: {fault}")
        if self.step in ("push", "verify"):
            self.world.oracle.on_trouble(self.credential)

    def stall(self) -> None:
        """The whole process stops for a while, often for longer than its lease."""
        random = self.world.random
        leases = random.uniform(1.0, 4.0) if random.random() < self.world.profile.long_stop else random.random()
        self.world.baton.pause(leases * self.world.lease.total_seconds())
        self.alive()

    def alive(self) -> None:
        """A process that is gone makes no calls."""
        if self.dead:
            raise CrashedError

    def call(
        self, call: str, do: Callable[[], T], *, bound: float | None = None, meddle: Callable[[], None] | None = None
    ) -> T:
        """One outbound call. `bound` limits how much later than its start it may take effect, in seconds."""
        self.alive()
        world = self.world
        fault = self.fault(call)
        world.baton.pause(world.random.random() * 0.5)
        if fault is None:
            return do()
        self.met(fault, call)
        return self._faulty(call, do, fault, bound, meddle)

    def _faulty(
        self, call: str, do: Callable[[], T], fault: Fault, bound: float | None, meddle: Callable[[], None] | None
    ) -> T:
        world, random = self.world, self.world.random
        match fault:
            case Fault.CRASH_BEFORE:
                self.crash()
            case Fault.FAILED:
                if call == "create":
                    raise LostAnswer("5xx")
                raise Unavailable("5xx")
            case Fault.RATE_LIMITED:
                raise RateLimited("429", retry_after=random.uniform(1, 120))
            case Fault.LATE:
                longest = bound if bound is not None else (2 * HOUR if random.random() < 0.3 else 120.0)
                budget = world.budget.total_seconds()
                seconds = random.uniform(min(budget, longest), longest)
                raise OverrunError(seconds, do if call in DOING else lambda: None)
            case Fault.FROZEN_BEFORE:
                if bound is None:
                    self.stall()
                else:
                    world.baton.pause(random.uniform(0, bound))
                return do()
            case Fault.DROPPED:
                return None  # type: ignore[return-value]  # the acknowledgement of disable, delete and write
            case Fault.MEDDLED:
                assert meddle is not None
                meddle()
            case _:
                pass
        result = do()
        match fault:
            case Fault.CRASH_AFTER:
                self.crash()
            case Fault.FROZEN_AFTER:
                self.stall()
            case Fault.LOST:
                if call in DOING:
                    raise LostAnswer("cut off")
                raise Unavailable("cut off")
            case Fault.TWICE:
                world.later(random.uniform(0, bound if bound is not None else 300), do)
            case _:
                pass
        return result

    # threads

    def within(self, seconds: float, do: Callable[[], T], ended: Callable[[], None]) -> T:
        """A call over its budget is a lost answer; its effect comes later, and `ended` with it."""
        baton, began = self.world.baton, self.world.baton.now
        try:
            result = do()
        except OverrunError as overrun:
            effect = overrun.effect

            def end() -> None:
                try:
                    effect()
                finally:
                    ended()

            self.world.later(overrun.seconds, end)
            baton.pause(seconds)
            self.alive()
            raise LostAnswer(f"no answer within {seconds:g} s") from None
        except BaseException:
            ended()
            raise
        ended()
        if baton.now - began > seconds and self.world.random.random() < 0.5:
            raise LostAnswer(f"no answer within {seconds:g} s")
        return result

    def side_by_side(self, tasks: Sequence[Callable[[], None]]) -> None:
        """One after the other, in any order; a crash ends them all."""
        problem: Exception | None = None
        order = list(range(len(tasks)))
        if len(order) > 1:
            self.world.random.shuffle(order)
        for index in order:
            try:
                tasks[index]()
            except Exception as error:  # noqa: BLE001 - raised once all have run
                problem = problem or error
        if problem is not None:
            raise problem


# providers


class Provider:
    """Implements `ports.provider.Provider` for one worker. `account` is where its calls really go."""

    def __init__(self, worker: Worker, account: Account, credential: str, capabilities: provider.Capabilities) -> None:
        self.worker = worker
        self.world = worker.world
        self.right = account
        self.credential = credential
        self.capabilities = capabilities
        self._nowhere = Account("nowhere", None, 0)

    @property
    def _account(self) -> Account:
        if not self.worker.wrong_account:
            return self.right
        # The first rotation pins whatever account it finds, so being wrong begins after that.
        return self.right if self.world.oracle.situation(self.credential).current is None else self._nowhere

    @property
    def reaches_right(self) -> bool:
        """Whether calls go to the account that is meant."""
        return self._account is self.right

    def account(self) -> str:
        return self.worker.call("account", lambda: self._account.identity)

    def authenticate(self, material: Material) -> Answer:
        try:
            return self.worker.call("authenticate", lambda: self._answer(material))
        except RateLimited as limited:
            return Answer(verdict=Verdict.INCONCLUSIVE, why="429", retry_after=limited.retry_after)
        except Unavailable:
            return Answer(verdict=Verdict.INCONCLUSIVE, why="5xx")

    def _answer(self, material: Material) -> Answer:
        if not self.capabilities.can_tell:
            return Answer(verdict=Verdict.ACCEPTED)
        key = self._key_of(material)
        if key is None:
            return Answer(verdict=Verdict.REFUSED, why="401")
        accepted = self.world.accepts(key)
        if accepted != key.alive:
            self.worker.met(Fault.UNSETTLED, "authenticate")
        if not accepted:
            return Answer(verdict=Verdict.REFUSED, why="401")
        self.worker.accepted[key.id] = self.world.baton.now
        return Answer(verdict=Verdict.ACCEPTED, identity=self.right.identity)

    def _key_of(self, material: Material) -> WorldKey | None:
        return self.world.by_secret.get(material[self.capabilities.material[-1]].reveal())

    def keys(self) -> Sequence[Key]:
        return self.worker.call("keys", self._list)

    def _list(self) -> list[Key]:
        if not self.capabilities.can_tell:
            return []
        listed = []
        for key in list(self._account.keys.values()):
            shown = self.world.lists(key)
            if shown != key.exists:
                self.worker.met(Fault.UNSETTLED, "keys")
            if shown:
                listed.append(self._listed(key))
        return listed

    def _listed(self, key: WorldKey) -> Key:
        used = None
        if self.capabilities.tells_last_use:
            used = self.world.time() if self.world.serving(key) else key.used_at
        return Key(
            id=key.id,
            label=key.label if self.capabilities.labels else None,
            created_at=key.dated,
            enabled=key.alive,
            last_used_at=used,
            last_used_by="consumer" if used else None,
        )

    def identify(self, material: Material) -> str | None:
        key = self._key_of(material)
        return key.id if key else None

    def delete(self, key_id: str) -> None:
        self.world.oracle.taking("delete", self.worker, self, key_id)
        self.worker.call("delete", lambda: self._stop(key_id, for_good=True))

    def _stop(self, key_id: str, *, for_good: bool) -> None:
        key = self._account.keys.get(key_id)
        if key is not None:
            self.world.stop(self._account, key, By.US, for_good=for_good)


class Issuing(Provider):
    """It makes the value."""

    def create(self, label: str) -> IssuedKey:
        self.world.oracle.creating(self.worker, self, label)
        # Without labels a key is known by the moment of its making, which is within the budget: so says the design.
        bound = None if self.capabilities.labels else self.world.budget.total_seconds()
        try:
            return self.worker.call("create", lambda: self._create(label), bound=bound)
        except (RateLimited, QuotaExceeded):
            self.world.oracle.not_created(self.credential)
            raise

    def _create(self, label: str) -> IssuedKey:
        key = self.world.issue(self._account, self.credential, label, By.US)
        fields = {name: key.secret for name in self.capabilities.material}
        if len(fields) > 1:
            fields[self.capabilities.material[0]] = key.id
        return IssuedKey(key_id=key.id, material=Material.of(**fields), issued_at=key.dated)


class Disabling(Issuing):
    """It can also disable keys."""

    def disable(self, key_id: str) -> None:
        self.world.oracle.taking("disable", self.worker, self, key_id)
        self.worker.call("disable", lambda: self._stop(key_id, for_good=False))

    def enable(self, key_id: str) -> None:
        self.worker.call("enable", lambda: self._enable(key_id))

    def _enable(self, key_id: str) -> None:
        key = self._account.keys.get(key_id)
        if key is not None:
            self.world.start(key)


class Choosing(Provider):
    """We make the value."""

    def generate(self) -> Material:
        return Material.of(secret=f"gen-{self.world.random.getrandbits(128):032x}")

    def set(self, material: Material) -> str:
        self.world.oracle.setting(self.worker, self, material)
        return self.worker.call("set", lambda: self._set(material))

    def _set(self, material: Material) -> str:
        key = self._key_of(material)
        if key is None:
            key = self.world.issue(self._account, self.credential, None, By.US, material["secret"].reveal())
        return key.id


# destinations


class Destination:
    """Implements `ports.destination.Destination` for one worker."""

    def __init__(self, worker: Worker, place: Place, credential: str) -> None:
        self.worker = worker
        self.world = worker.world
        self.place = place
        self.credential = credential
        self.identity = place.identity
        self.address = f"sim:{place.name}"
        self.capabilities = destination.Capabilities(
            conditional=place.conditional, readable=True, propagation=timedelta(0), whole_body=False
        )

    def read(self) -> destination.Reading:
        return self.worker.call("read", self._read)

    def _read(self) -> destination.Reading:
        place = self.place
        self.worker.seen[place.identity] = (self.world.baton.now, dict(place.fields))
        fields = {name: Secret(value) for name, value in place.fields.items()}
        return destination.Reading(fields=fields, revision=str(place.revision))

    def preflight(self, fields: Mapping[str, object]) -> None:
        """Anything can be written here."""

    def write(self, fields: Mapping[str, Secret], expected: str, token: str) -> str:  # noqa: ARG002
        values: dict[str, str | None] = {name: value.reveal() for name, value in fields.items()}
        revision = int(expected)
        self.world.oracle.writing(self.worker, self, values, revision)
        # All that protects a place without compare-and-set is that a call's effect comes within its budget, or while
        # the next worker waits out another one: so says the design, and so the world keeps to it.
        bound = None if self.place.conditional else 1.9 * self.world.budget.total_seconds()
        meddle = partial(self.world.meddle, self.place)
        done = self.worker.call("write", lambda: self._write(values, revision), bound=bound, meddle=meddle)
        return done or str(revision + 1)  # an acknowledgement that names a revision, and nothing was done

    def _write(self, values: dict[str, str | None], expected: int) -> str:
        return str(self.world.put(self.place, values, By.US, expected))


# the store


class WorkerStore:
    """One worker's way to the shared database."""

    def __init__(self, worker: Worker, store: Store) -> None:
        self.worker = worker
        self.world = worker.world
        self.real = store

    def _call(self, call: str, do: Callable[[], T]) -> T:
        worker, world = self.worker, self.world
        worker.alive()
        self._answers()
        fault = worker.fault(call)
        world.baton.pause(world.random.random() * 0.02)
        if fault is None:
            return do()
        worker.met(fault, call)
        match fault:
            case Fault.CRASH_BEFORE:
                worker.crash()
            case Fault.FROZEN_BEFORE:
                worker.stall()
            case Fault.OUTAGE_BEFORE:
                self._goes_down()
            case _:
                pass
        result = do()
        match fault:
            case Fault.CRASH_AFTER:
                worker.crash()
            case Fault.FROZEN_AFTER:
                worker.stall()
            case Fault.OUTAGE_AFTER:
                self._goes_down()
            case _:
                pass
        return result

    def _goes_down(self) -> None:
        random = self.world.random
        seconds = random.choice((0.1, 1.0, 30.0, 120.0)) * random.random()
        self.world.database_back_at = self.world.baton.now + seconds
        raise StoreUnavailable("connection lost")

    def _answers(self) -> None:
        if self.world.baton.now < self.world.database_back_at:
            self.world.baton.pause(0.1)
            raise StoreUnavailable("connection refused")

    def _read(self, do: Callable[[], T]) -> T:
        self.worker.alive()
        self._answers()
        return do()

    def now(self) -> datetime:
        return self._read(self.world.database_time)

    def installation(self) -> Installation:
        return self._read(self.real.installation)

    def enroll(self, names: Mapping[str, str], actor: str) -> Sequence[Credential]:
        return self._read(lambda: self.real.enroll(names, actor))

    def credentials(self) -> Sequence[Credential]:
        return self._read(self.real.credentials)

    def load(self, credential_id: CredentialId) -> Situation:
        return self._call("load", lambda: self.real.load(credential_id))

    def material(self, version_id: VersionId) -> Material | None:
        return self._read(lambda: self.real.material(version_id))

    def version(self, version_id: VersionId) -> Version | None:
        return self._read(lambda: self.real.version(version_id))

    def known_keys(self, account: str) -> Mapping[str, str]:
        return self._read(lambda: self.real.known_keys(account))

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

    def release(self, lease: Lease) -> None:
        self._call("release", lambda: self.real.release(lease))

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

    def findings(self) -> Sequence[Finding]:
        return self._read(self.real.findings)

    def pass_ended(self) -> None:
        self._read(self.real.pass_ended)

    def last_event_at(self) -> datetime | None:
        return self._read(self.real.last_event_at)

    def events(self, after: int = 0) -> Any:
        return self.real.events(after)
