"""One play: an installation with a few credentials, workers, faults and people; then calm, and all must be well."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from random import Random
from typing import Literal

from rotator.domain.brownout import Brownout
from rotator.domain.errors import StoreUnavailable
from rotator.domain.hours import Hours, read_span
from rotator.domain.model import LAST_WAVE, Cause, Finding
from rotator.domain.policy import NotDue, Policy
from rotator.domain.template import Template
from rotator.engine.engine import Engine, Item, Progress
from rotator.engine.work import Limits, Managed, Surroundings, Target, Work
from rotator.ports import provider
from rotator.verifier.trail import verify_store
from tests.simulation.faults import Coverage, Profile
from tests.simulation.oracle import Oracle
from tests.simulation.people import People
from tests.simulation.ports import Choosing, Destination, Disabling, Issuing, Provider, Supplied
from tests.simulation.readers import Probe, Reload
from tests.simulation.stores import MakeStore, WorkerStore
from tests.simulation.worker import LATEST, CrashedError, Worker
from tests.simulation.world import Account, By, Place, World

PATIENCE: Sequence[Literal["wait", "abandon"]] = ("wait", "abandon")
MINUTE, HOUR, NONE = timedelta(minutes=1), timedelta(hours=1), timedelta(0)


@dataclass
class Setting:
    """One credential as the configuration has it now. Edits change it; workers see them when they read it anew."""

    name: str
    shape: type[Provider]
    capabilities: provider.Capabilities
    account: Account
    policy: Policy
    places: list[Place]
    pair: bool = False  # the key before the current one stands beside it, and readers are slow
    former: list[Place] = field(default_factory=list)  # taken out of the configuration

    def fields(self) -> Mapping[str, Template]:
        """What consumers read."""
        companions = {f"{name}_PREVIOUS": template.before() for name, template in self.main().items()}
        return {**self.main(), **(companions if self.pair else {})}

    def main(self) -> Mapping[str, Template]:
        """The fields that hold the key which a place serves."""
        called = self.name.upper()
        if len(self.capabilities.material) > 1:
            return {f"{called}_ID": Template("{access_key_id}"), f"{called}_SECRET": Template("{secret_access_key}")}
        return {called: Template("{secret}")}

    def managed(self, worker: Worker) -> Managed:
        """The same, wired for one worker."""
        return Managed(
            name=self.name,
            provider_name="sim",
            provider=self.shape(worker, self.account, self.name, self.capabilities),
            policy=self.policy,
            targets=[self._target(worker, place) for place in self.places],
            edition=repr((self.policy, self.capabilities, [place.name for place in self.places])),
        )

    def _target(self, worker: Worker, place: Place) -> Target:
        return Target(
            to=place.name,
            destination=Destination(worker, place, self.name),
            templates=self.fields(),
            wave=place.wave,
            reload=Reload(worker, place) if place.hooked else None,
            probe=Probe(worker, place) if place.hooked else None,
            lag=5 * MINUTE * self.pair,
        )


class SimulatedEngine(Engine):
    """The engine, with the name of the step in hand told to the worker."""

    worker: Worker

    def _do(self, work: Work, item: Item, *, counts: bool = True) -> bool:
        worker = self.worker
        worker.credential = work.managed.name
        worker.step, worker.began = _named(work, item), worker.world.baton.now
        try:
            return super()._do(work, item, counts=counts)
        finally:
            worker.step = "take in"

    def _watch(self, work: Work, findings: Sequence[Finding]) -> Sequence[Finding]:
        worker = self.worker
        worker.step, worker.began = "watch", worker.world.baton.now
        try:
            return super()._watch(work, findings)
        finally:
            worker.step = "take in"


def _is_due(engine: Engine, name: str) -> bool:
    try:
        return name in engine.due()
    except StoreUnavailable:
        return True  # a turn meets that too


def _named(work: Work, item: Item) -> str:
    rotation = work.situation.rotation
    if item.verb == "push" and rotation is not None and rotation.cause is Cause.PUT_BACK:
        return "put back"
    for row in work.situation.retirements:
        version = work.situation.version(row.version_id)
        if row.id == item.row_id and version is not None and version.key_id is None:
            return "locate"
    return str(item.verb)


class Episode:
    """The play itself. `run` raises ViolationError, or whatever else goes wrong in it."""

    def __init__(self, seed: str, profile: Profile, coverage: Coverage, make_store: MakeStore) -> None:
        self.random = Random(hashlib.sha256(seed.encode()).digest())
        self.world = World(self.random, profile, coverage)
        self.profile = profile
        self.store = make_store(self.world)
        self.oracle = self.world.oracle = Oracle(self.world, self.store)
        self.settings = {s.name: s for s in self._draw_settings()}
        self.workers = [Worker(self.world, f"w{n}") for n in range(self.random.randint(*profile.workers))]
        for worker in self.workers[1:]:
            worker.every = self.random.choice((0.0, 1800.0))
        self.people = People(self)
        self.watch = self.random.choice((5 * MINUTE, HOUR, 6 * HOUR))
        self.config_version = 0
        self.away: list[Setting] = []  # taken out of the configuration, for a while

    # the cast

    def _draw_settings(self) -> list[Setting]:
        random = self.random
        places = [self._place() for _ in range(random.randint(2, 3))]
        return [self._setting(f"c{n}", places) for n in range(random.randint(1, 2))]

    def _place(self) -> Place:
        conditional = self.random.random() >= self.profile.unconditional
        place = Place(f"p{len(self.world.places)}", conditional, fields={"NOTE": "not ours"})
        self.world.places[place.identity] = place
        if self.profile.hooked and self.random.random() < self.profile.hooked:
            place.hooked, place.wave = True, self.random.choice((1, 2, LAST_WAVE))
        return place

    def _setting(self, name: str, places: list[Place]) -> Setting:
        random, shape = self.random, self.random.choice(self.profile.shapes)
        unsettled = shape != "chosen" and random.random() < self.profile.unsettled
        settle = timedelta(seconds=random.choice((8, 60, 300)) if unsettled else 0)
        can_disable, slots = shape in ("slots", "disabling", "supplied"), shape == "slots"
        origins: dict[str, Literal["chosen", "supplied"]] = {"chosen": "chosen", "supplied": "supplied"}
        capabilities = provider.Capabilities(
            origin=origins.get(shape, "issued"),
            living=2 if slots else None,
            labels=shape in ("labelled", "disabling"),
            can_disable=can_disable,
            tells_last_use=slots and random.random() < 0.5,
            can_tell=shape != "chosen",
            settle=settle,
            default_fields={},
            material=("access_key_id", "secret_access_key") if slots else ("secret",),
        )
        policy = Policy(
            rotate_every=HOUR,
            grace=random.choice((NONE, 2 * MINUTE, 10 * MINUTE)),
            soak=random.choice((NONE, 2 * MINUTE, 10 * MINUTE)),
            require_idle=2 * MINUTE,
            min_interval=random.choice((NONE, 20 * MINUTE)),
            max_creates_per_day=50,
        )
        if self.profile.hooked:
            soak = random.choice((NONE, 5 * MINUTE, 20 * MINUTE))
            policy = replace(policy, wave_soak=soak, on_probe_failure=random.choice(PATIENCE))
        if self.profile.brownouts:
            policy = replace(policy, grace=random.choice((10, 20)) * MINUTE, brownout=self._brownout())
        classes: dict[str, type[Provider]] = {"chosen": Choosing, "labelled": Issuing, "supplied": Supplied}
        return Setting(
            name=name,
            shape=classes.get(shape, Disabling),
            capabilities=capabilities,
            account=Account(f"account:{name}", 2 if slots else None, settle.total_seconds()),
            policy=policy,
            places=random.sample(places, len(places) if self.profile.hooked else random.randint(1, 2)),
            pair=self.profile.pairs,
        )

    def _brownout(self) -> Brownout:
        hours = self.random.choice((Hours(), Hours(), Hours([read_span("08:00-20:00")])))
        after, lasts = self.random.choice((1, 2, 4)), self.random.choice((2, 5))
        return Brownout(after=after * MINUTE, lasts=lasts * MINUTE, hours=hours)

    # the play

    def run(self, rotations: int) -> None:
        """Until so many rotations are completed; then calm; then all must be well."""
        self.begin()
        baton = self.world.baton
        try:
            self._start_workers()
            self.people.start()
            while self.oracle.completed < rotations and baton.now < 3600 * 5 * (rotations + 5):
                baton.pause(600)
            self._calm_down()
        finally:
            baton.end()

    def begin(self) -> None:
        """Everything is on record; nobody works yet."""
        self.enroll(self.people.worker)
        self.oracle.ids = {c.name: c.id for c in self.store.credentials()}
        self.oracle.configured = lambda name: {
            p.identity for s in self.all_settings() if s.name == name for p in s.places
        }
        # One of several comes when something is ready that it knows of, or every hour.
        self.oracle.late = 2 * MINUTE if len(self.workers) == 1 else HOUR + 2 * MINUTE
        self.oracle.chosen = {s.name for s in self.settings.values() if not s.capabilities.can_tell}

    def end(self) -> None:
        """For a play that somebody else has driven: workers, calm, and all must be well."""
        self._start_workers()
        self._calm_down()

    def _start_workers(self) -> None:
        for worker in self.workers:
            self.world.baton.start(worker, partial(self._live, worker))

    def verify_trail(self) -> None:
        """The audit trail is whole. Costs as much as the play itself."""
        outcome = verify_store(self.store)
        self.oracle.require(outcome.problem is None, "I13", f"the trail is broken: {outcome.problem}")

    def enroll(self, worker: Worker) -> None:
        """What every process does when it starts, or reads the configuration anew."""
        self.store.enroll(dict.fromkeys(self.settings, "sim"), worker.name)

    def all_settings(self) -> list[Setting]:
        """Also those that are out of the configuration."""
        return [*self.settings.values(), *self.away]

    # one worker

    def _live(self, worker: Worker) -> None:
        """Life after life of one process."""
        while True:
            worker.begin_life()
            try:
                self._work(worker)
            except CrashedError:
                self.world.baton.pause(self.random.uniform(0, 300))

    def _work(self, worker: Worker) -> None:
        """Passes, whenever something may be ready."""
        baton, random = self.world.baton, self.random
        while True:
            version, engine = self.config_version, self._started(worker)
            due = dict.fromkeys(worker.managed, 0.0)
            while version == self.config_version or random.random() < 0.5:  # SIGHUP comes when it comes
                name = min(due, key=lambda n: (due[n], n))
                baton.pause(max(due[name] - baton.now, 0))
                if not _is_due(engine, name):  # another worker has been there in the meantime
                    due[name] = baton.now + 60
                    continue
                progress = engine.turn(name, None, self.world.database_time())
                self.look_at(progress)
                due[name] = baton.now + self._look_again(worker, progress)

    def _look_again(self, worker: Worker, progress: Progress) -> float:
        """A daemon comes when something is ready; a job comes now and then, whatever there is to do."""
        ready = self.next_look(progress)
        if worker.every:
            return worker.every * self.random.uniform(0.5, 1.5)
        return ready + self.random.random() * (20 if len(self.workers) > 1 else 2)

    def _started(self, worker: Worker) -> SimulatedEngine:
        """A process has read the configuration; now and then with the credentials of another account."""
        edited = self.profile.edits > 0 and not self.world.calm
        worker.wrong_account = edited and self.random.random() < 0.05
        engine = self.engine(worker)
        try:
            self.enroll(worker)
            engine.take_over()
        except StoreUnavailable:
            self.world.baton.pause(1)
        return engine

    def next_look(self, progress: Progress) -> float:
        """In how many seconds anything of this credential can go on."""
        tick = 3600.0
        if progress.held is not None:
            return 30.0
        if progress.trouble is not None:
            return 5.0
        times = [progress.ready_at]
        if isinstance(progress.decision, NotDue):
            times.append(progress.decision.until)
        waits = [(t - self.world.database_time()).total_seconds() for t in times if t is not None]
        return min([tick, *(max(wait, 0.0) for wait in waits)])

    def look_at(self, progress: Progress) -> None:
        """A turn's own trouble is the database's or the lease's; anything else is a bug."""
        if progress.trouble is not None and progress.trouble.reason == "bug":
            raise progress.trouble

    def engine(self, worker: Worker) -> SimulatedEngine:
        """The engine of one process, with the configuration as it is now."""
        worker.managed = {s.name: s.managed(worker) for s in self.settings.values()}
        engine = SimulatedEngine(
            store=WorkerStore(worker, self.store),
            fingerprint=self.store.fingerprint,
            managed=worker.managed,
            limits=Limits(lease=self.world.lease, call_budget=self.world.budget, watch=self.watch),
            around=self._around(worker),
        )
        engine.worker = worker
        return engine

    def _around(self, worker: Worker) -> Surroundings:
        def bug(_name: str, problem: Exception) -> None:
            raise BugError(problem) from problem

        return Surroundings(
            new_id=self.world.new_id,
            chance=self.random.random,
            monotonic=lambda: self.world.baton.now,
            host_time=lambda: self.world.time() + worker.host_jump,
            pause=self.world.baton.pause,
            stopping=lambda: False,
            actor=worker.name,
            holder=worker.holder,
            bug=bug,
            threads=worker,
        )

    # the end

    def _calm_down(self) -> None:
        """No faults any more. What is due by the clock is done, and one rotation more; then nothing is left open."""
        world = self.world
        world.calm = True
        world.database_back_at = 0.0
        self.people.mend_clocks()
        self.people.unpause_all()
        self.settings |= {setting.name: setting for setting in self.away}
        for setting in self.settings.values():
            setting.policy = replace(setting.policy, rotate_every=None)
        self.away, self.config_version = [], self.config_version + 1
        world.baton.pause(LATEST)  # what was sent before may still take effect until then
        self._settle_down("after the faults", strays=True)
        for name in self.settings:
            self.people.command(self.people.rotate_now, name)
        self._settle_down("after one more rotation", strays=False)

    def _settle_down(self, when: str, *, strays: bool) -> None:
        """`strays`: a key that was made long after its request was given up may wait for the next rotation."""
        for _ in range(12):
            self.world.baton.pause(3700)
            left = {s.name: self._left(s, strays=strays) for s in self.settings.values()}
            if not any(left.values()):
                return
            for name, what in left.items():
                if what:
                    self.oracle.trace(f"left: {what}")
                    self.people.command(self.people.tidy, name)
        self.oracle.require(False, "I10", f"{when}: " + "; ".join(what for what in left.values() if what))

    def _left(self, setting: Setting, *, strays: bool) -> str | None:
        """What is not well about a credential; None where all is."""
        situation = self.oracle.situation(setting.name)
        current = situation.current
        if situation.rotation is not None:
            row = situation.rotation
            return f"{setting.name} has an open rotation ({row.state}, {row.reason}: {row.message})"
        if situation.retirements:
            row2 = situation.retirements[0]
            return f"{setting.name} has an open retirement ({row2.state}, {row2.why}, {row2.reason}: {row2.message})"
        if current is None:
            return f"{setting.name} has no current key"
        keys = setting.account.keys.values()
        alive = [k.id for k in keys if k.alive and (k.by is By.US or k.id == current.key_id)]
        known = self.store.known_keys(current.account)
        if strays or self.oracle.restores:  # what a restored database cannot know, and carries no label
            alive = [key_id for key_id in alive if key_id in known]
        # A value that is ours alone lives nowhere but at the places, and deleting it asks nobody.
        if setting.capabilities.can_tell and alive != [current.key_id]:
            return f"{setting.name} has the keys {alive}, and {current.key_id} is current"
        shadows = [place.name for place in self.world.shadows.values() if place.fields]
        for place in setting.places:
            served = [self.world.called(v) for n, v in place.fields.items() if n.startswith(setting.name.upper())]
            if current.key_id not in served:
                return f"{place.name} serves {served} and not {current.key_id}"
        return f"a rehearsal has left {shadows}" if shadows else None


class BugError(BaseException):
    """The engine met an exception that it does not know."""

    def __init__(self, problem: Exception) -> None:
        super().__init__(problem)

    def __str__(self) -> str:
        return f"{type(self.args[0]).__name__}: {self.args[0]}"
