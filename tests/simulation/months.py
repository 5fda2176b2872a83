"""One credential over months: the real engine on a virtual clock, and only such trouble as a test makes."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from rotator.domain.errors import Unavailable
from rotator.domain.model import Finding, Situation
from rotator.domain.policy import Policy
from rotator.domain.secret import Material, Secret
from rotator.domain.template import Template
from rotator.engine.engine import Engine, Progress
from rotator.engine.work import Limits, Managed, Surroundings, Target
from rotator.ports import destination, provider
from rotator.ports.provider import Answer, IssuedKey, Key, Verdict
from tests.simulation.memory import MemoryStore

T = TypeVar("T")

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
NAME = "web"
SOON = timedelta(minutes=2)
"""What is ready so soon is followed in the same pass."""

PLAIN = provider.Capabilities(
    origin="issued",
    living=None,
    labels=True,
    can_disable=False,
    tells_last_use=False,
    can_tell=True,
    settle=timedelta(minutes=1),
    default_fields={"KEY": "{secret}"},
    material=("secret",),
)
"""Like OpenAI."""

SLOTS = replace(PLAIN, living=2, can_disable=True, labels=False, settle=timedelta(minutes=5))
"""Like IAM."""


@dataclass
class Made:
    """A key as it really is."""

    id: str
    label: str
    made_at: datetime
    enabled: bool = True
    stopped_at: datetime | None = None


@dataclass
class Months:
    """`step` makes time pass and a pass run. `down` are the parts of the world that do not answer."""

    capabilities: provider.Capabilities
    policy: Policy
    life: timedelta | None = None
    watch: timedelta = timedelta(seconds=1)
    now: datetime = START
    down: set[str] = field(default_factory=set)
    keys: dict[str, Made] = field(default_factory=dict)
    place: dict[str, Secret] = field(default_factory=dict)
    revision: int = 0

    def __post_init__(self) -> None:
        self._chance = random.Random(7)
        self.store = MemoryStore(clock=lambda: self.now, new_id=self._new_id)
        self.store.enroll({NAME: "p"}, "test")

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128)))

    # time

    def _seconds(self) -> float:
        return (self.now - START).total_seconds()

    def step(self, by: timedelta) -> Progress:
        """So much later a pass runs, and follows what is ready soon."""
        self.now += by
        progress = self._turn()
        for _ in range(50):
            at = progress.ready_at
            if progress.trouble is not None or at is None or at > self.now + SOON:
                break
            self.now = max(self.now, at)
            progress = self._turn()
        return progress

    def tick(self, by: timedelta) -> bool:
        """So much later a pass comes by, and looks if there is anything to do."""
        self.now += by
        due = bool(self._engine().due())
        if due:
            self._turn()
        return due

    def _turn(self) -> Progress:
        progress = self._engine().turn(NAME, None, self.now)
        assert progress.trouble is None, progress.trouble
        return progress

    def _engine(self) -> Engine:
        def bug(_name: str, problem: Exception) -> None:
            raise AssertionError from problem

        around = Surroundings(
            new_id=self._new_id,
            chance=self._chance.random,
            monotonic=self._seconds,
            host_time=lambda: self.now,
            pause=lambda _: None,
            stopping=lambda: False,
            actor="test",
            holder="{}",
            bug=bug,
            threads=_Inline(),
        )
        limits = Limits(watch=self.watch)
        managed = {NAME: self.managed()}
        return Engine(
            store=self.store, fingerprint=self.store.fingerprint, managed=managed, limits=limits, around=around
        )

    def managed(self) -> Managed:
        target = Target(to="place", destination=_Place(self), templates={"KEY": Template("{secret}")})
        bound = (_Disabling if self.capabilities.can_disable else _Issuing)(self)
        return Managed(
            name=NAME,
            provider_name="p",
            provider=bound,
            policy=self.policy,
            targets=[target],
            edition=repr(self.policy),
        )

    # what is on record

    @property
    def situation(self) -> Situation:
        return self.store.load(self.store.credentials()[0].id)

    def findings(self, kind: str) -> list[Finding]:
        """All that were ever found."""
        return [f for f in self.store.tables.findings.values() if f.kind == kind]

    def told(self, event: str) -> list[datetime]:
        """When an event happened."""
        return [at for told, at in self.store.tables.events if told.event == event]

    def alive(self) -> list[Made]:
        return [key for key in self.keys.values() if key.stopped_at is None]

    def answers(self, part: str) -> None:
        """Raise where a part of the world does not."""
        if part in self.down:
            message = f"the {part} does not answer"
            raise Unavailable(message)


class _Issuing:
    def __init__(self, world: Months) -> None:
        self.world = world
        self.capabilities = world.capabilities

    def account(self) -> str:
        self.world.answers("provider")
        return "account"

    def authenticate(self, material: Material) -> Answer:
        self.world.answers("provider")
        key = self.world.keys.get(material["secret"].reveal())
        alive = key is not None and key.stopped_at is None
        return Answer(verdict=Verdict.ACCEPTED if alive else Verdict.REFUSED, identity="me" if alive else None)

    def keys(self) -> Sequence[Key]:
        self.world.answers("provider")
        made = self.world.keys.values()
        listed = [key for key in made if key.stopped_at is None or not key.enabled]
        return [
            Key(
                id=key.id,
                label=key.label if self.capabilities.labels else None,
                created_at=key.made_at,
                expires_at=self._expires(key),
                enabled=key.enabled,
            )
            for key in listed
        ]

    def _expires(self, key: Made) -> datetime | None:
        return None if self.world.life is None else key.made_at + self.world.life

    def identify(self, material: Material) -> str | None:
        return material["secret"].reveal()

    def create(self, label: str) -> IssuedKey:
        self.world.answers("provider")
        key = Made(f"key-{len(self.world.keys) + 1}", label, self.world.now)
        self.world.keys[key.id] = key
        return IssuedKey(
            key_id=key.id,
            material=Material.of(secret=key.id),
            issued_at=key.made_at,
            expires_at=self._expires(key),
        )

    def delete(self, key_id: str) -> None:
        self.world.answers("provider")
        key = self.world.keys[key_id]
        key.enabled, key.stopped_at = True, key.stopped_at or self.world.now


class _Disabling(_Issuing):
    def disable(self, key_id: str) -> None:
        self.world.answers("provider")
        key = self.world.keys[key_id]
        key.enabled, key.stopped_at = False, key.stopped_at or self.world.now

    def enable(self, key_id: str) -> None:
        self.world.answers("provider")
        if (key := self.world.keys.get(key_id)) is not None:
            key.enabled, key.stopped_at = True, None


class _Place:
    identity = address = "place:one"
    capabilities = destination.Capabilities(conditional=True, readable=True, propagation=timedelta(0), whole_body=False)

    def __init__(self, world: Months) -> None:
        self.world = world

    def read(self) -> destination.Reading:
        self.world.answers("destination")
        return destination.Reading(fields=dict(self.world.place), revision=str(self.world.revision))

    def preflight(self, fields: Mapping[str, object]) -> None:
        self.world.answers("destination")

    def write(self, fields: Mapping[str, Secret], expected: str, token: str) -> str:
        self.world.answers("destination")
        assert expected == str(self.world.revision)
        self.world.place |= fields
        self.world.revision += 1
        return str(self.world.revision)


class _Inline:
    """One thing after the other."""

    def within(self, seconds: float, do: Callable[[], T], ended: Callable[[], None]) -> T:
        try:
            return do()
        finally:
            ended()

    def side_by_side(self, tasks: Sequence[Callable[[], None]]) -> None:
        for task in tasks:
            task()
