"""The oracle: believes only the world, and checks the invariants of the protocol at every step.

It stands outside the engine. Of the database it reads what was committed, never what the engine holds in memory.
What a person does is never our fault; so of each value and each death it knows whose they are.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rotator.domain.model import (
    Cause,
    CredentialId,
    Delivery,
    DeliveryState,
    Lease,
    Retirement,
    RetirementReason,
    RetirementState,
    Rotation,
    RotationState,
    Situation,
    Version,
    VersionId,
    VersionState,
)
from rotator.domain.secret import Material
from rotator.ports.store import Held, Insert, NewEvent, Store, Update, Write
from tests.simulation.world import By, Place, World, WorldKey

if TYPE_CHECKING:
    from tests.simulation.ports import Destination, Provider
    from tests.simulation.worker import Worker

DAY = timedelta(days=1)
CLOCK_APART = timedelta(minutes=5)
NO_TIME = timedelta(0)
GENTLE = (RetirementReason.SUPERSEDED, RetirementReason.EXTRA)


class ViolationError(BaseException):
    """An invariant does not hold. `invariant` is its number. Nothing in the engine catches it."""

    def __init__(self, invariant: str, message: str) -> None:
        super().__init__(invariant, message)  # as given: it has to come back whole from another process
        self.invariant = invariant

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.args[1]}"


@dataclass(frozen=True)
class Push:
    """A write that was announced: what may now be sent to one place, once."""

    rotation: str
    version: int
    base_revision: str


class Oracle:
    """Told of every call before it goes out, of every effect, and of every commit."""

    def __init__(self, world: World, store: Store) -> None:
        self.world = world
        self.store = store
        self.ids: dict[str, CredentialId] = {}
        self.log: deque[tuple[float, str]] = deque(maxlen=120)
        self.on_trouble: Callable[[str], None] = lambda _: None  # a fault while a key is given out
        self.on_disable: Callable[[str], None] = lambda _: None
        self.completed = 0
        self.abandoned = 0
        self.refused = 0  # values that people supplied
        self.effects: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self._started: Counter[tuple[str, str, int]] = Counter()  # verb, credential, version: announced, not yet called
        self._pushes: dict[tuple[str, str], Push] = {}  # credential, destination
        self._removals: set[tuple[str, str]] = set()  # credential, address of a shadow
        self._sent: set[str] = set()
        self._creates: dict[str, list[datetime]] = defaultdict(list)
        self._created_at: dict[str, float] = defaultdict(lambda: -1e9)
        self._created_before: dict[str, float] = {}
        self._until: dict[tuple[CredentialId, int], float] = {}
        self._version_of: dict[str, VersionId] = {}  # by key id
        self._ever: dict[tuple[str, VersionId], None] = {}  # the same, also what a restore has undone; in its order
        self._rotations: dict[str, Rotation] = {}
        self._open: dict[CredentialId, str] = {}
        self._pinned: dict[str, dict[str, Delivery]] = defaultdict(dict)  # rotation → place → delivery
        self._verified: dict[str, set[str]] = defaultdict(set)
        self._verified_at: dict[tuple[str, str], float] = {}  # rotation, place
        self._given_at: dict[tuple[str, str], float] = {}  # place, value: since when we have it there
        self._opened_at: dict[str, float] = {}
        self._guards: dict[str, Mapping[tuple[str, str], tuple[float, dict[str, str]]]] = {}
        self._without: dict[str, Sequence[str]] = {}  # key id → places that its end does not wait for
        self.allowed: dict[tuple[str, str], str] = {}  # place, field → a value that a person gave to us
        self.configured: Callable[[str], set[str]] = lambda _: set()  # a credential's places of today
        self._forgotten: set[tuple[str, str]] = set()  # key id, place: what a restore has undone on record
        self.restores = 0
        self.chosen: set[str] = set()  # credentials whose values are ours alone, and live nowhere else
        self.unconfirmed = False  # the database went back in time, and no person has confirmed it yet
        self.paused: dict[str, float] = {}  # credential → since when a person has stopped it
        self._left_out: dict[str, set[str]] = defaultdict(set)  # rotation → places that it does not wait for
        self.late = DAY  # by how much a worker may be late with what is due
        self._dimmed: dict[tuple[str, int], tuple[float, bool]] = {}  # credential, version: since when, and in the calm
        self.excused: set[tuple[str, str]] = set()  # credential, place: a person said that nobody reads there

    # the story

    def trace(self, what: str) -> None:
        """One line of what happened."""
        self.log.append((self.world.baton.now, what))

    def story(self) -> str:
        """The last lines of what happened."""
        return "\n".join(f"{at:12.3f}  {what}" for at, what in self.log)

    def require(self, holds: bool, invariant: str, message: str) -> None:
        """Raise ViolationError unless it holds."""
        if not holds:
            self.trace(f"VIOLATION {invariant}: {message}")
            raise ViolationError(invariant, message)

    def situation(self, credential: str) -> Situation:
        """What is committed about a credential."""
        return self.store.load(self.ids[credential])

    # effects

    def wrote(self, place: Place, before: Mapping[str, str], fields: Mapping[str, str | None], by: By) -> None:
        """A place has changed."""
        self.trace(f"{by} wrote {place.name}@{place.revision}: {', '.join(map(self.world.called, fields.values()))}")
        if by is not By.US:
            return
        self.effects["write"] += 1
        for name, value in fields.items():
            key = self.world.by_secret.get(value or "")
            if key is None:
                public = any(value == k.id for k in self.world.by_secret.values()) if "_ID" in name else False
                self.require(public, "I1", f"{place.name} was given {name}, which is no key at all")
                continue
            self.excused.discard((key.credential, place.identity))  # somebody reads there again
            if before.get(name) != value:
                self._given_at[place.identity, key.secret] = self.world.baton.now
            ours = key.alive or key.dead_by is not By.US
            ours = ours or (self.restores > 0 and key.credential in self.chosen)  # nobody can tell that it was replaced
            self.require(ours, "I1", f"{place.name} was given {key.id}, which we had taken away")
            self._kept_foreign(place, name, before.get(name), key)

    def _kept_foreign(self, place: Place, name: str, old: str | None, key: WorldKey) -> None:
        """A value that is not ours is never overwritten, but where a person allowed it."""
        if old is None or not place.conditional or self.allowed.get((place.identity, name)) == old:
            return
        was = self.world.by_secret.get(old)
        ours = was is not None and (was.by is By.US or was.id in self._version_of) and was.credential == key.credential
        self.require(ours, "I8", f"a value that a person put at {place.name} was overwritten with {key.id}")

    def died(self, key: WorldKey, by: By) -> None:
        """A key does not work any more."""
        if by is not By.US:
            return
        self.effects["taken"] += 1
        guard = self._guards.get(key.id, {})
        without = self._without.get(key.id, ())
        left = [place.name for place in self.world.shadows.values() if key.secret in place.fields.values()]
        self.require(not left, "rehearsal", f"{key.id} is taken away while it stands at {left}")
        for place, name in self.world.serving(key):
            who, at = place.put[name]
            if (key.credential, place.identity) in self.excused or place.identity in without:
                continue
            if (key.id, place.identity) in self._forgotten and place.identity not in self.configured(key.credential):
                continue  # given in the hours that the restore undid, and not configured any more: nobody can know
            looked_at = guard.get((key.credential, place.identity), (-1.0, {}))[0]  # not any more, once it is taken out
            self.require(
                who is By.PERSON and at >= looked_at, "I1", f"{key.id} was taken away while {place.name} serves it"
            )

    # calls

    def creating(self, worker: Worker, provider: Provider, label: str) -> None:
        """A request for a new key goes out."""
        version_id = VersionId(label.rpartition("rotator/")[2])
        version = self.store.version(version_id)
        self.require(version is not None, "I5", "a key is created without an intent on record")
        assert version is not None
        self.require(version_id not in self._sent, "I5", f"the request for version {version.number} is sent twice")
        self._sent.add(version_id)
        self.require(provider.reaches_right, "I3", "a key is created in an account that was not pinned")
        self._announced("create", provider.credential, version.number)
        self._trusted(worker, provider.credential)
        self._within_limits(worker, provider.credential)

    def _within_limits(self, worker: Worker, credential: str) -> None:
        """I12: by the database's clock, whatever it does; or in truth, where that clock was set meanwhile."""
        situation, policy = self.situation(credential), worker.managed[credential].policy
        now, rotation = self.world.database_time(), situation.rotation
        cause = rotation.cause if rotation else Cause.MANUAL
        recent = [moment for moment in self._creates[credential] if moment > now - DAY]
        most = policy.max_creates_per_day + (3 if cause is Cause.COMPROMISED else 0)
        self.require(len(recent) < most, "I12", f"{len(recent) + 1} keys of {credential} in a day")
        if cause in (Cause.FIRST, Cause.SCHEDULE) and recent:
            truly = timedelta(seconds=self.world.baton.now - self._created_at[credential])
            apart = max(now - max(recent), truly) + self.world.lease  # a request goes out by then after its intent
            self.require(apart >= policy.min_interval, "I12", f"two keys of {credential} {apart} apart")
        self._creates[credential].append(now)
        self._created_before[credential] = self._created_at[credential]
        self._created_at[credential] = self.world.baton.now

    def not_created(self, credential: str) -> None:
        """The request was refused: it does not count."""
        self._creates[credential].pop()
        self._created_at[credential] = self._created_before[credential]

    def setting(self, worker: Worker, provider: Provider, material: Material) -> None:
        """A value that we chose goes out."""
        pending = [v for v in self.situation(provider.credential).versions if v.state is VersionState.PENDING]
        sealed = any(self.store.material(v.id) == material for v in pending)
        self.require(sealed, "I5", "a value is set that is not sealed on record")
        self._trusted(worker, provider.credential)

    def writing(self, worker: Worker, destination: Destination, values: Mapping[str, str | None], base: int) -> None:
        """A write goes out."""
        credential, place = destination.credential, destination.place
        push = self._pushes.pop((credential, place.identity), None)
        self.require(push is not None, "I13", f"a write to {place.name} was not announced")
        assert push is not None
        self.require(push.base_revision == str(base), "I8", f"a write to {place.name} is not on the recorded revision")
        pinned = self._pinned[push.rotation].get(place.identity)
        self.require(pinned is not None, "I16", f"{place.name} is not among the places that the rotation has pinned")
        assert pinned is not None
        self.require(set(values) == set(pinned.templates), "I16", f"{sorted(values)} are not the pinned fields")
        key = next((k for v in values.values() if (k := self.world.by_secret.get(v or "")) is not None), None)
        version = self.store.version(self._version_of[key.id]) if key and key.id in self._version_of else None
        self.require(
            version is not None and version.number == push.version, "I13", f"{place.name} is given another version"
        )
        same = all(place.fields.get(name) == value for name, value in values.items())
        rotation = self.situation(credential).rotation
        rewrites = rotation is not None and rotation.rewrites
        fencing = self._rotations[push.rotation].cause is Cause.PUT_BACK or rewrites
        needless = same and place.revision == base and not fencing
        self.require(not needless, "I11", f"{place.name} is given once more what it has")
        self._in_its_wave(worker, credential, push, pinned)
        self._trusted(worker, credential)

    def _in_its_wave(self, worker: Worker, credential: str, push: Push, pinned: Delivery) -> None:
        """Without haste a place is given a new key only once the waves before are verified, and have soaked."""
        rotation = self.situation(credential).rotation
        if rotation is None or rotation.id != push.rotation or not rotation.gentle or self.restores:
            return
        if pinned.identity in self._left_out[push.rotation]:
            return  # the rotation does not wait for it, so nothing has to wait for the others
        soak = worker.managed[credential].policy.wave_soak.total_seconds()
        for identity, delivery in self._pinned[push.rotation].items():
            if delivery.wave < pinned.wave and identity not in self._left_out[push.rotation]:
                at = self._verified_at.get((push.rotation, identity), self.world.baton.now)
                done = identity in self._verified[push.rotation] and self.world.baton.now - at >= soak
                self.require(
                    done, "waves", f"{pinned.to} is given a key before {delivery.to} is verified and has soaked"
                )

    def removing(self, worker: Worker, shadow: Destination) -> None:
        """A shadow is about to be removed: where one may stand, that was announced."""
        announced = (shadow.credential, shadow.address) in self._removals
        self.require(announced or not shadow.place.fields, "I13", f"removing {shadow.address} was not announced")
        self._trusted(worker, shadow.credential)

    def taking(self, call: str, worker: Worker, provider: Provider, key_id: str) -> None:
        """A key is about to be disabled or deleted."""
        credential = provider.credential
        version_id = self._version_of.get(key_id)
        self.require(version_id is not None, "I3", f"{key_id} is taken away and is not on record")
        assert version_id is not None
        situation, version = self.situation(credential), self.store.version(version_id)
        assert version is not None
        self._trusted(worker, credential)
        if self._started["revoke", credential, version.number]:  # by a person, whoever reads it
            self.require(provider.reaches_right, "I3", f"{key_id} is revoked in an account that was not pinned")
            self._without[key_id] = list(self.world.places)
            return
        self._announced(call, credential, version.number)
        apart = abs(self.world.database_time() - self.world.time() - worker.host_jump)
        sane = apart <= CLOCK_APART or self.world.jumped_at >= worker.began
        self.require(sane, "I17", f"{key_id} is taken away while the clocks are {apart} apart")
        self.require(provider.reaches_right, "I3", f"{key_id} is taken away in an account that was not pinned")
        going = version.state in (VersionState.PREVIOUS, VersionState.DISABLED, VersionState.CONDEMNED)
        self.require(going or version.state is VersionState.RETIRED, "I3", f"{key_id} is {version.state}")
        retirement = situation.retirement_of(version.id)
        if retirement is not None:
            begun = retirement.disable_started if call == "disable" else retirement.delete_started
            self.require(begun, "I3", f"{call} of {key_id} is not committed")
            self._in_time(call, provider, version, retirement)
        else:
            self.require(version.state is VersionState.RETIRED, "I3", f"{key_id} has no retirement")
        self._guarded(worker, credential, situation, version, retirement)

    def _in_time(self, call: str, provider: Provider, version: Version, retirement: Retirement) -> None:
        """I17: grace and soak have passed by the database's clock, or in truth where that clock was set meanwhile."""
        if retirement.why not in GENTLE:
            return
        can_disable = provider.capabilities.can_disable
        if retirement.state is RetirementState.BROWNED_OUT:
            self._in_brownout(call, version, retirement)
            return
        wait = retirement.grace + (NO_TIME if can_disable else retirement.soak)
        truly = timedelta(seconds=self.world.baton.now - self._opened_at.get(retirement.id, 0.0))
        since = max(self.world.database_time() - retirement.opened_at, truly)
        self.require(since >= wait, "I17", f"{version.key_id} is taken away {since} after cutover, grace {wait}")
        key = provider.right.keys[version.key_id or ""]
        if call == "delete" and can_disable and key.exists and key.dead_by is By.US:
            truly = timedelta(seconds=self.world.baton.now - key.dead_at)
            soaked = max(self.world.database_time() - key.dead_dated, truly)
            self.require(soaked >= retirement.soak, "I17", f"{version.key_id} is deleted after a soak of {soaked}")

    def _in_brownout(self, call: str, version: Version, retirement: Retirement) -> None:
        """It is disabled, not before its time, and nothing more."""
        self.require(call == "disable", "I17", f"{version.key_id} is deleted in its brownout")
        after = retirement.brownout_after or NO_TIME
        truly = timedelta(seconds=self.world.baton.now - self._opened_at.get(retirement.id, 0.0))
        since = max(self.world.database_time() - retirement.opened_at, truly)
        self.require(since >= after, "I17", f"{version.key_id} is disabled {since} after cutover, brownout {after}")

    def _guarded(
        self, worker: Worker, credential: str, situation: Situation, version: Version, retirement: Retirement | None
    ) -> None:
        """I2, I9: all destinations were read, and the current key authenticated, in this very step."""
        without = () if retirement is None else retirement.without
        for target in worker.managed[credential].targets:
            identity = target.destination.identity
            if identity in without:
                continue
            at = worker.seen.get((credential, identity), (-1.0, {}))[0]
            self.require(at >= worker.began, "I9", f"{version.key_id} goes, and {identity} was not read before")
        assert version.key_id is not None
        self._guards[version.key_id] = dict(worker.seen)
        self._without[version.key_id] = without
        current = situation.current
        if current is None:
            alone = retirement is None or retirement.why not in (*GENTLE, RetirementReason.COMPROMISED)
            self.require(alone, "I2", f"{version.key_id} goes, and no other key is current")
            return
        self.require(current.id != version.id, "I2", f"{version.key_id} is the current key")
        if not worker.managed[credential].provider.capabilities.can_tell or current.key_id is None:
            return
        at = worker.accepted.get(current.key_id, -1.0)
        self.require(at >= worker.began, "I2", f"{version.key_id} goes, and {current.key_id} was not tried before")

    def enabling(self, worker: Worker, provider: Provider, key_id: str) -> None:
        """A disabled key is about to be brought back."""
        version = self.store.version(self._version_of[key_id])
        assert version is not None
        self._announced("enable", provider.credential, version.number)
        row = self.situation(provider.credential).retirement_of(version.id)
        dimmed = row is not None and row.state is RetirementState.BROWNED_OUT
        self._trusted(worker, provider.credential, gives_back=dimmed)
        self.require(version.compromised_at is None, "I3", f"{key_id} has leaked and is enabled")

    def _announced(self, verb: str, credential: str, number: int) -> None:
        told = self._started[verb, credential, number]
        self.require(told > 0, "I13", f"{verb} of version {number} of {credential} was not announced")
        self._started[verb, credential, number] = told - 1
        self.effects[verb] += 1

    def _trusted(self, worker: Worker, credential: str, *, gives_back: bool = False) -> None:
        """I7: the lease outlasts the budget of what is about to go out. I18: and the database is confirmed.

        A pause does not keep what a brownout has disabled.
        """
        self.require(not self.unconfirmed, "I18", f"{worker.name} acts on a restored database that nobody confirmed")
        if not gives_back:
            self._not_paused(worker, credential)
        credential_id = self.ids[credential]
        epoch = worker.epochs.get(credential_id, 0)
        left = self._until.get((credential_id, epoch), 0.0) - self.world.baton.now
        budget = self.world.budget.total_seconds()
        self.require(left >= budget, "I7", f"a call of {worker.name} goes out with {left:.1f} s of its lease left")

    def _not_paused(self, worker: Worker, credential: str) -> None:
        """What a person has paused before this step began goes on only for the sake of a leak."""
        since = self.paused.get(credential)
        if since is None or since >= worker.began:
            return
        situation = self.situation(credential)
        if not situation.credential.paused(self.world.database_time()):
            return
        urgent = situation.rotation is not None and situation.rotation.urgent
        leaked = any(r.why is RetirementReason.COMPROMISED for r in situation.retirements)
        self.require(urgent or leaked, "pause", f"{worker.name} acts on {credential}, which is paused")

    # the database as a whole

    def restored(self) -> None:
        """The rows are those of the past; what happened outside is not undone. No worker goes on with what it had."""
        self.restores += 1
        self._started.clear()
        self._pushes.clear()
        on_record = ((key_id, self.store.version(version_id)) for key_id, version_id in self._ever)
        self._version_of = {key_id: v.id for key_id, v in on_record if v is not None and v.key_id == key_id}
        self._open.clear()
        self.paused.clear()
        for place in self.world.places.values():
            keys = [key for value in place.fields.values() if (key := self.world.by_secret.get(value)) is not None]
            recorded = {p.version_id for p in self.store.placed(place.identity).values()} - {None}  # a person's values
            lost = [key for key in keys if self._version_of.get(key.id) not in recorded]
            self._forgotten |= {(key.id, place.identity) for key in lost}
        for name, credential_id in self.ids.items():
            situation = self.situation(name)
            self._creates[name] = list(situation.creates)
            if situation.rotation is None:
                continue
            self._open[credential_id] = situation.rotation.id
            done = {d.identity for d in situation.deliveries if d.state is DeliveryState.VERIFIED}
            self._verified[situation.rotation.id] = done

    # commits

    def claimed(self, worker: Worker, outcome: Lease | Held, ttl: timedelta) -> Lease | Held:
        """A lease was asked for."""
        if isinstance(outcome, Lease):
            worker.epochs[outcome.credential_id] = outcome.epoch
            self._until[outcome.credential_id, outcome.epoch] = self.world.baton.now + ttl.total_seconds()
        return outcome

    def renewed(self, lease: Lease, ttl: timedelta) -> Lease:
        """A lease was extended."""
        self._until[lease.credential_id, lease.epoch] = self.world.baton.now + ttl.total_seconds()
        return lease

    def recorded(self, worker: Worker, lease: Lease, writes: Sequence[Write], events: Sequence[NewEvent]) -> None:
        """A transaction was committed."""
        row = self.store.lease(lease.credential_id)
        ours = row is not None and row.epoch == lease.epoch and not row.released
        ours = ours and row is not None and row.until > self.world.database_time()
        self.require(ours, "I7", f"{worker.name} wrote under a lease that it had lost")
        for write in writes:
            match write:
                case Insert(row=found):
                    self._inserted(found)
                case Update(row=found, set=changes):
                    self._updated(found, changes)
                case _:
                    pass
        for event in events:
            self._happened(worker, event)

    def _inserted(self, row: Any) -> None:
        match row:
            case Version(key_id=str() as key_id):
                self._known_as(key_id, row.id)
            case Rotation():
                self.require(row.credential_id not in self._open, "I6", "a second rotation was opened")
                self._open[row.credential_id] = row.id
                self._rotations[row.id] = row
            case Retirement():
                self._opened_at[row.id] = self.world.baton.now
            case Delivery():
                self._pinned[row.rotation_id][row.identity] = row
                if row.without:
                    self._left_out[row.rotation_id].add(row.identity)
            case _:
                pass

    def _known_as(self, key_id: str, version_id: VersionId) -> None:
        self._version_of[key_id] = version_id
        self._ever[key_id, version_id] = None

    def _updated(self, row: Any, changes: Mapping[str, Any]) -> None:
        match row:
            case Version() if changes.get("key_id"):
                if row.awaited:
                    self._supplied(row, changes)
                self._known_as(changes["key_id"], row.id)
            case Rotation() if changes.get("state") in (RotationState.COMPLETED, RotationState.ABANDONED):
                self._open.pop(row.credential_id, None)
            case Delivery():
                same = not changes.keys() & {"identity", "templates", "address", "to"}
                self.require(same, "I16", f"the target {row.to} of an open rotation was changed")
                if changes.get("without"):
                    self._left_out[row.rotation_id].add(row.identity)
                if changes.get("state") is DeliveryState.PLANNED:
                    self._verified[row.rotation_id].discard(row.identity)
            case _:
                pass

    def _supplied(self, version: Version, changes: Mapping[str, Any]) -> None:
        """The key of a person was taken: it is this credential's, new, and works. From here on it is ours."""
        key = next(key for key in self.world.by_secret.values() if key.id == changes["key_id"])
        sealed = self.store.material(version.id)
        self.require(sealed is not None and sealed["secret"].reveal() == key.secret, "I5", f"{key.id} is not sealed")
        self.require(self.ids[key.credential] == version.credential_id, "I3", f"{key.id} is of {key.credential}")
        self.require(key.id not in self._version_of, "I5", f"{key.id} is taken for a second version")
        self.require(key.dead_by is not By.US, "I1", f"{key.id} is taken, and we had taken it away")
        key.by = By.US

    def _happened(self, worker: Worker, event: NewEvent) -> None:
        self.told[event.event] += 1
        self.trace(
            f"{worker.name}: {event.event} {event.credential} v{event.version}"
            + (f" → {event.destination}" if event.destination else "")
            + (f" ({event.reason})" if event.reason else "")
        )
        if event.event == "replace.succeeded":
            self._may_be_replaced(worker, event)
        if event.credential is None or event.version is None:
            return
        match event.event:
            case "create.started" | "delete.started" | "enable.started" | "revoke.started":
                self._started[event.event.partition(".")[0], event.credential, event.version] += 1
            case "push.started":
                assert event.rotation is not None
                place = self._place(event)
                base = str(event.detail["base_revision"])
                self._pushes[event.credential, place] = Push(event.rotation, event.version, base)
            case "verify.succeeded" if event.destination is not None:
                self._read_back(worker, event)
            case "remove.started":
                self._removals.add((event.credential, event.detail["address"]))
            case "disable.started" | "brownout.started":
                self._disabling(event.event, event.credential, event.version)
            case "promote.succeeded" | "restore.succeeded":
                self._ended(event)
            case "abandon.succeeded":
                self.abandoned += 1
            case _:
                pass

    def _ended(self, event: NewEvent) -> None:
        (self._promoted if event.event == "promote.succeeded" else self._restored)(event)

    def _disabling(self, event: str, credential: str, number: int) -> None:
        self._started["disable", credential, number] += 1
        self.on_disable(credential)
        if event == "brownout.started":
            self._dimmed[credential, number] = (self.world.baton.now, self.world.calm)

    def _restored(self, event: NewEvent) -> None:
        """What we had disabled for a while works again; where nothing goes wrong, in time."""
        assert event.credential is not None
        assert event.version is not None
        key = next(k for k in self.world.by_secret.values() if k.id == event.key_id)
        alive = key.alive or key.dead_by is By.PERSON or not key.exists
        self.require(alive, "brownout", f"{key.id} counts as enabled again, and is not")
        began, calm = self._dimmed[event.credential, event.version]
        row = next(r for r in self.situation(event.credential).retirements if self._version_of[key.id] == r.version_id)
        lasted, lasts = timedelta(seconds=self.world.baton.now - began), row.brownout_for or NO_TIME
        self.require(not calm or lasted <= lasts + self.late, "brownout", f"the brownout of {key.id} lasted {lasted}")

    def _may_be_replaced(self, worker: Worker, event: NewEvent) -> None:
        """A person has said so of what stands there, as it was read just now."""
        assert event.credential is not None
        prefix = event.credential.upper()
        for target in worker.managed[event.credential].targets:
            if event.destination in (target.to, target.destination.address):
                _, fields = worker.seen[event.credential, target.destination.identity]
                for name, value in fields.items():
                    if name.startswith(prefix):
                        self.allowed[target.destination.identity, name] = value

    def _place(self, event: NewEvent) -> str:
        pinned = self._pinned[event.rotation or ""]
        return next(identity for identity, d in pinned.items() if d.to == event.destination)

    def _read_back(self, worker: Worker, event: NewEvent) -> None:
        """I9: what stands there was read in this step, and is this version's value."""
        identity = self._place(event)
        at, fields = worker.seen.get((event.credential or "", identity), (-1.0, {}))
        served = [value for name, value in fields.items() if not name.endswith("_PREVIOUS")]
        keys = [self.world.by_secret[value] for value in served if value in self.world.by_secret]
        version = self.store.version(self._version_of.get(keys[0].id, VersionId(""))) if keys else None
        mine = [k for k in keys if k.credential == event.credential]
        version = self.store.version(self._version_of.get(mine[0].id, VersionId(""))) if mine else version
        right = version is not None and version.number == event.version and at >= worker.began
        self.require(right, "I9", f"{identity} counts as verified and was not read back as version {event.version}")
        self._verified[event.rotation or ""].add(identity)
        self._verified_at[event.rotation or "", identity] = self.world.baton.now
        if mine:
            self._heard(event, identity, mine[0])

    def _heard(self, event: NewEvent, identity: str, key: WorldKey) -> None:
        """The readers have read the key since we put it there, unless somebody else has a hand in it."""
        place = self.world.places.get(identity)
        if place is None:
            return  # a shadow, which nobody reads
        ours = place.hooked and place.conditional and key.secret in place.fields.values() and not self.restores
        given, heard = self._given_at.get((identity, key.secret)), place.heard.get(key.secret, -1.0)
        holds = not ours or given is None or heard >= given
        self.require(holds, "hooks", f"{identity} counts as verified, and its readers were not told of {key.id}")

    def _promoted(self, event: NewEvent) -> None:
        rotation = event.rotation or ""
        missing = self._pinned[rotation].keys() - self._verified[rotation] - self._left_out[rotation]
        self.require(not missing, "I9", f"version {event.version} was promoted, not verified at {sorted(missing)}")
        self.completed += 1
