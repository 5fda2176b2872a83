"""Providers and destinations as one worker has them: the real ports, onto the world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

from rotator.domain.errors import QuotaExceeded, RateLimited, Unavailable
from rotator.domain.secret import Material, Secret
from rotator.ports import destination, provider
from rotator.ports.provider import Answer, IssuedKey, Key, Verdict
from tests.simulation.faults import Fault
from tests.simulation.worker import Worker
from tests.simulation.world import Account, By, Place, WorldKey

T = TypeVar("T")

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

    def _call(self, call: str, do: Callable[[], T], *, bound: float | None = None) -> T:
        if self.world.baton.now < self.right.down_until and not self.world.calm:
            self.worker.alive()
            message = "503"
            raise Unavailable(message)
        return self.worker.call(call, do, bound=bound)

    def account(self) -> str:
        return self._call("account", lambda: self._account.identity)

    def authenticate(self, material: Material) -> Answer:
        try:
            return self._call("authenticate", lambda: self._answer(material))
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
        names = self.capabilities.material
        key = self.world.by_secret.get(material[names[-1]].reveal())
        whole = key is not None and (len(names) == 1 or material[names[0]].reveal() == key.id)
        return key if whole else None  # the parts of two keys are none

    def keys(self) -> Sequence[Key]:
        return self._call("keys", self._list)

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
        self._call("delete", lambda: self._stop(key_id, for_good=True))

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
            return self._call("create", lambda: self._create(label), bound=bound)
        except (RateLimited, QuotaExceeded, Unavailable):
            self.world.oracle.not_created(self.credential)
            raise

    def _create(self, label: str) -> IssuedKey:
        key = self.world.issue(self._account, self.credential, label, By.US)
        fields = dict.fromkeys(self.capabilities.material, key.secret)
        if len(fields) > 1:
            fields[self.capabilities.material[0]] = key.id
        return IssuedKey(key_id=key.id, material=Material.of(**fields), issued_at=key.dated)


class Stopping(Provider):
    """It can disable keys."""

    def disable(self, key_id: str) -> None:
        self.world.oracle.taking("disable", self.worker, self, key_id)
        # What protects a key that is brought back from a late disable is waiting, as with places without
        # compare-and-set.
        bound = 1.9 * self.world.budget.total_seconds()
        self._call("disable", lambda: self._stop(key_id, for_good=False), bound=bound)

    def enable(self, key_id: str) -> None:
        self.world.oracle.enabling(self.worker, self, key_id)
        self._call("enable", lambda: self._enable(key_id))

    def _enable(self, key_id: str) -> None:
        key = self._account.keys.get(key_id)
        if key is not None:
            self.world.start(self._account, key)


class Disabling(Stopping, Issuing):
    """It makes the value, and can disable it."""


class Supplied(Stopping):
    """A person makes the value. Which key it is can be told only of keys that its own list shows."""

    def instructions(self) -> str:
        return "make a key at the console"

    def identify(self, material: Material) -> str | None:
        key = self._key_of(material)
        listed = self._call("keys", self._list)
        return key.id if key is not None and key.id in {found.id for found in listed} else None


class Choosing(Provider):
    """We make the value."""

    def generate(self) -> Material:
        return Material.of(secret=f"gen-{self.world.random.getrandbits(128):032x}")

    def set(self, material: Material) -> str:
        self.world.oracle.setting(self.worker, self, material)
        return self._call("set", lambda: self._set(material))

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
        return self.worker.call("read", self._read, meddle=partial(self.world.meddle, self.place))

    def _read(self) -> destination.Reading:
        place = self.place
        self.worker.seen[self.credential, place.identity] = (self.world.baton.now, dict(place.fields))
        fields = {name: Secret(value) for name, value in place.fields.items()}
        return destination.Reading(fields=fields, revision=str(place.revision))

    def preflight(self, fields: Mapping[str, object]) -> None:
        """Anything can be written here."""

    def write(self, fields: Mapping[str, Secret], expected: str, token: str) -> str:
        values: dict[str, str | None] = {name: value.reveal() for name, value in fields.items()}
        revision = int(expected)
        self.world.oracle.writing(self.worker, self, values, revision)
        # All that protects a place without compare-and-set is that a call's effect comes within its budget, or while
        # the next worker waits out another one: so says the design, and so the world keeps to it.
        bound = None if self.place.conditional else 1.9 * self.world.budget.total_seconds()
        done = self.worker.call("write", lambda: self._write(values, revision), bound=bound)
        return done or str(revision + 1)  # an acknowledgement that names a revision, and nothing was done

    def _write(self, values: dict[str, str | None], expected: int) -> str:
        return str(self.world.put(self.place, values, By.US, expected))

    def shadow(self, token: str) -> Shadow:
        place = Place(f"{self.place.name}.rehearsal-{token}", conditional=True)
        return Shadow(self.worker, self.world.shadows.setdefault(place.identity, place), self.credential)


class Shadow(Destination):
    """A place that a rehearsal makes. Once it is gone it is as if it never was: no revision tells a late write."""

    def read(self) -> destination.Reading:
        return self.worker.call("read", self._read)  # no person knows of it

    def write(self, fields: Mapping[str, Secret], expected: str, token: str) -> str:
        values: dict[str, str | None] = {name: value.reveal() for name, value in fields.items()}
        self.world.oracle.writing(self.worker, self, values, int(expected))
        bound = 1.9 * self.world.budget.total_seconds()  # waiting is all that protects it: so says the design
        return self.worker.call("shadow", lambda: self._write(values, int(expected)), bound=bound)

    def remove(self) -> None:
        self.world.oracle.removing(self.worker, self)
        self.worker.call("remove", lambda: self.world.remove(self.place))
        if self.place.fields:
            message = "acknowledged, and never done"
            raise Unavailable(message)
