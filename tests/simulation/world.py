"""The truth: keys at providers, values at places, and who did what to them. The oracle believes nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING

from rotator.domain.errors import Conflict, QuotaExceeded, StoreUnavailable
from rotator.domain.model import LAST_WAVE
from tests.simulation.baton import Baton
from tests.simulation.faults import Coverage, Fault, Profile

if TYPE_CHECKING:
    from tests.simulation.oracle import Oracle

START = datetime(2026, 11, 23, 9, 0, 0, tzinfo=UTC)


DOWN = "the database does not answer"


class By(StrEnum):
    """Who did something."""

    US = "us"
    PERSON = "a person"


@dataclass(eq=False, slots=True)
class WorldKey:
    """One key as it really is."""

    id: str
    secret: str
    label: str | None
    credential: str
    by: By
    made_at: float
    dated: datetime
    listed_from: float = 0.0
    works_from: float = 0.0
    alive: bool = True
    exists: bool = True
    dead_by: By | None = None
    dead_at: float = 0.0
    dead_dated: datetime = START  # by the database's clock
    refused_from: float = 0.0  # a deleted key may work for a moment longer
    unlisted_from: float = 0.0
    used_at: datetime | None = None


@dataclass(eq=False)
class Account:
    """One principal at a provider."""

    identity: str
    living: int | None
    settle: float  # how long it may not agree with itself
    down_until: float = 0.0  # until then it does not answer
    keys: dict[str, WorldKey] = field(default_factory=dict)


@dataclass(eq=False)
class Place:
    """One destination. `put` says of each field who put it there, and when."""

    name: str
    conditional: bool
    fields: dict[str, str] = field(default_factory=dict)
    put: dict[str, tuple[By, float]] = field(default_factory=dict)
    revision: int = 1
    hooked: bool = False  # its readers are told and asked
    wave: int = LAST_WAVE
    heard: dict[str, float] = field(default_factory=dict)  # value → when they last read it
    ill_until: float = 0.0  # they do not work until then

    @property
    def identity(self) -> str:
        """Like a server and a path."""
        return f"place:{self.name}"


class World:
    """Everything that is outside the engine and its database, on one virtual clock."""

    def __init__(self, random: Random, profile: Profile, coverage: Coverage) -> None:
        self.random = random
        self.profile = profile
        self.coverage = coverage
        self.baton = Baton(random)
        self.calm = False  # no faults any more
        self.forced: dict[str, Fault] = {}  # call → what goes wrong the next time
        self.database_jump = timedelta(0)  # how far the database's clock is off
        self.budget = timedelta(seconds=20)  # of a call
        self.lease = timedelta(seconds=60)
        self.jumped_at = 0.0
        self.database_back_at = 0.0  # until then it does not answer
        self.places: dict[str, Place] = {}  # by identity
        self.shadows: dict[str, Place] = {}  # those of rehearsals, which nobody reads
        self.by_secret: dict[str, WorldKey] = {}
        self.oracle: Oracle = None  # type: ignore[assignment]  # given by its maker, which needs the world
        self._made = 0
        self._dated = (-1.0, START)

    # time

    def time(self) -> datetime:
        """True time, as a date."""
        return START + timedelta(seconds=self.baton.now)

    def database_time(self) -> datetime:
        """The store's clock. It is asked far more often than it moves."""
        if self._dated[0] != self.baton.now:
            self._dated = (self.baton.now, self.time() + self.database_jump)
        return self._dated[1]

    def jump(self, by: timedelta) -> None:
        """The store's clock is set."""
        self.database_jump += by
        self.jumped_at = self.baton.now
        self._dated = (-1.0, START)

    def new_id(self) -> str:
        """As random as a UUID, and the same for the same seed."""
        digits = f"{self.random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    # the database

    def database_goes_down(self) -> None:
        """It breaks the connection, and does not answer for a while."""
        self.database_back_at = self.baton.now + self.random.choice((0.1, 1.0, 30.0, 120.0)) * self.random.random()
        raise StoreUnavailable(DOWN)

    def database_answers(self) -> None:
        """Raise StoreUnavailable unless it does."""
        if self.baton.now < self.database_back_at:
            self.baton.pause(0.1)
            raise StoreUnavailable(DOWN)

    # keys

    def issue(
        self, account: Account, credential: str, label: str | None, by: By, secret: str | None = None
    ) -> WorldKey:
        """A new key. Raises QuotaExceeded where all slots are taken."""
        present = sum(1 for key in account.keys.values() if key.exists)
        if account.living is not None and present >= account.living:
            message = f"{account.identity} holds {present} keys"
            raise QuotaExceeded(message)
        self._made += 1
        now = self.baton.now
        key = WorldKey(
            id=f"key-{self._made}",
            secret=secret or f"sk-{self._made}-{self.random.getrandbits(64):016x}",
            label=label,
            credential=credential,
            by=by,
            made_at=now,
            dated=self.time().replace(microsecond=0),
            listed_from=now + self.lag(account),
            works_from=now + self.lag(account),
        )
        account.keys[key.id] = key
        self.by_secret[key.secret] = key
        self.oracle.trace(f"{key.id} is made by {by} for {credential}")
        return key

    def lag(self, account: Account) -> float:
        """How long until the account agrees with itself about a change."""
        if self.calm or not account.settle or self.random.random() < 0.6:
            return 0.0
        return self.random.random() * account.settle

    def stop(self, account: Account, key: WorldKey, by: By, *, for_good: bool) -> None:
        """Disable or delete a key."""
        now = self.baton.now
        if key.alive:
            key.alive, key.dead_by = False, by
            key.dead_at, key.dead_dated = now, self.database_time()
            key.refused_from = now + self.lag(account) / 10
            self.oracle.trace(f"{key.id} is {'deleted' if for_good else 'disabled'} by {by}")
            self.oracle.died(key, by)
        if for_good and key.exists:
            key.exists = False
            key.unlisted_from = now + self.lag(account) / 10

    def start(self, account: Account, key: WorldKey) -> None:
        """Undo disable."""
        if key.exists and not key.alive:
            key.alive, key.dead_by = True, None
            key.works_from = self.baton.now + self.lag(account)
            self.oracle.trace(f"{key.id} is enabled")

    def accepts(self, key: WorldKey) -> bool:
        """What the provider says of a key at this moment; while it does not agree with itself, either."""
        now = self.baton.now
        if key.alive:
            return now >= key.works_from or self.random.random() < 0.3
        return now < key.refused_from and self.random.random() < 0.5

    def lists(self, key: WorldKey) -> bool:
        """Whether a list shows the key at this moment."""
        now = self.baton.now
        if key.exists:
            return now >= key.listed_from or self.random.random() < 0.3
        return now < key.unlisted_from and self.random.random() < 0.5

    # places

    def put(self, place: Place, fields: dict[str, str | None], by: By, expected: int | None = None) -> int:
        """Set fields (None: take away). Raises Conflict where a conditional place is not at `expected`."""
        if expected is not None and place.conditional and place.revision != expected:
            message = f"{place.name} is at revision {place.revision}, not at {expected}"
            raise Conflict(message)
        before = dict(place.fields)
        for name, value in fields.items():
            old = self.by_secret.get(place.fields.get(name, ""))
            if old is not None:
                old.used_at = self.time()
            if value is None:
                place.fields.pop(name, None)
            else:
                place.fields[name] = value
            place.put[name] = (by, self.baton.now)
        place.revision += 1
        self.oracle.wrote(place, before, fields, by)
        return place.revision

    def remove(self, shadow: Place) -> None:
        """Take a shadow away: afterwards it is as if nothing ever stood there."""
        shadow.fields, shadow.put, shadow.revision = {}, {}, 1
        self.oracle.trace(f"{shadow.name} is removed")

    def serving(self, key: WorldKey) -> list[tuple[Place, str]]:
        """Where the key stands."""
        return [(place, name) for place in self.places.values() for name, v in place.fields.items() if v == key.secret]

    def later(self, seconds: float, do: Callable[[], object]) -> None:
        """Something happens by itself."""

        def quietly() -> None:
            with suppress(Conflict, QuotaExceeded):  # refused, and nobody is there to be told
                do()

        self.baton.at(self.baton.now + seconds, quietly)

    def meddle(self, place: Place) -> None:
        """A person changes a place by hand: something beside our fields, or our fields themselves."""
        random = self.random
        names = [name for name in place.fields if name != "NOTE"]
        if not names or random.random() < 0.5:
            self.put(place, {"NOTE": f"note {random.getrandbits(32)}"}, By.PERSON)
            return
        name = random.choice(names)
        key = self.by_secret.get(place.fields[name])
        ours = [k.secret for k in self.by_secret.values() if key is not None and k.credential == key.credential]
        values: list[str | None] = [f"by hand {random.getrandbits(32)}", None]
        if ours and key is not None:
            values.append(random.choice(ours))
        value = random.choice(values)
        self.oracle.trace(f"a person puts {self.called(value)} at {place.name} {name}")
        self.put(place, {name: value}, By.PERSON)

    def called(self, value: str | None) -> str:
        """A value as traces name it."""
        key = self.by_secret.get(value or "")
        return key.id if key else repr(value)
