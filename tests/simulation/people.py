"""The people around the service: operators with their verbs, editors of the configuration, hands at the consoles."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rotator.domain.errors import PermanentError, QuotaExceeded, RotatorError, SetupError
from rotator.domain.model import Cause, Delivery, Placement, Retirement, Rotation, VersionState
from rotator.domain.policy import wait_for_a_key
from rotator.domain.secret import Material
from rotator.engine import (
    adoption,
    drift,
    operator,
    pausing,
    reactivation,
    reconcile,
    regress,
    rehearsal,
    revocation,
    rollback,
)
from rotator.engine.engine import Engine, Wish
from rotator.engine.shadows import shadow_at
from rotator.engine.supply import supply
from rotator.engine.work import Work
from tests.simulation.memory import MemoryStore
from tests.simulation.ports import Supplied
from tests.simulation.worker import CrashedError, Worker
from tests.simulation.world import By, WorldKey

if TYPE_CHECKING:
    from tests.simulation.episode import Episode, Setting

MINUTE, HOUR, NONE = timedelta(minutes=1), timedelta(hours=1), timedelta(0)
TEN_YEARS = timedelta(days=3652)


class People:
    """What people do to one installation, as chance has it. Each kind has its own rate."""

    def __init__(self, play: Episode) -> None:
        self.play = play
        self.world = play.world
        self.random = play.random
        self.worker = Worker(self.world, "operator")
        self.doubter = Worker(self.world, "doubter")  # gives rotations up just when something has been pushed
        self.maker = Worker(self.world, "maker")  # makes the keys that only a person can make
        self.rehearser = Worker(self.world, "rehearser")
        self._doubted: str | None = None
        self._regrets = False
        self.furthest = NONE  # how far the clock ever stood ahead

    def start(self) -> None:
        """Let them begin."""
        profile, baton = self.world.profile, self.world.baton
        for rate, act in (
            (profile.people, self.meddle),
            (profile.edits, self.edit),
            (profile.clocks, self.set_clock),
            (profile.outages, self.provider_goes_down),
            (profile.restores, self.back_up),
        ):
            self._now_and_then(rate, act)
        if profile.operators:
            baton.start(self.worker, lambda: self._operate(profile.operators))
            baton.start(self.doubter, self._doubt)
            self.world.oracle.on_trouble = self._doubtful
            self.world.oracle.on_disable = self._regretful
        if profile.rehearsals:
            baton.start(self.rehearser, lambda: self._rehearse(profile.rehearsals))
        if any(setting.shape is Supplied for setting in self.play.all_settings()):
            baton.start(self.maker, self._make)

    def _now_and_then(self, rate: float, act: Callable[[], None]) -> None:
        if not rate:
            return

        def again() -> None:
            if not self.world.calm:
                act()
                self.world.later(self.random.expovariate(rate / 3600), again)

        self.world.later(self.random.expovariate(rate / 3600), again)

    # hands at the consoles

    def meddle(self) -> None:
        """Somebody changes a place or a key by hand."""
        random, setting = self.random, self.random.choice(self.play.all_settings())
        match random.randrange(6):
            case 0 | 1 | 2:
                self.world.meddle(random.choice(list(self.world.places.values())))
            case 3 | 4:
                self._stranger(setting)
            case _:
                keys = [key for key in setting.account.keys.values() if key.exists]
                if keys:
                    self.world.stop(setting.account, random.choice(keys), By.PERSON, for_good=True)

    def _stranger(self, setting: Setting) -> None:
        if setting.shape.__name__ == "Choosing":
            return
        with suppress(QuotaExceeded):
            self.world.issue(setting.account, setting.name, None, By.PERSON)

    # the configuration

    def edit(self) -> None:
        """Somebody edits the configuration; workers read it when they come to it."""
        play, random = self.play, self.random
        play.config_version += 1
        if play.away and random.random() < 0.7:
            setting = play.away.pop()
            play.settings[setting.name] = setting
            self.world.oracle.trace(f"{setting.name} is put back into the configuration")
            return
        setting = random.choice(list(play.settings.values()))
        match random.randrange(5):
            case 0 if len(play.settings) > 1:
                play.away.append(play.settings.pop(setting.name))
                self.world.oracle.trace(f"{setting.name} is taken out of the configuration")
            case 1 if len(setting.places) > 1:
                place = random.choice(setting.places)
                setting.places = [p for p in setting.places if p is not place]
                self.world.oracle.trace(f"{place.name} is taken out of {setting.name}")
            case 2 | 3:
                others = [p for p in self.world.places.values() if p not in setting.places]
                if others:
                    place = random.choice(others)
                    setting.places = [*setting.places, place]
                    self.world.oracle.trace(f"{place.name} is added to {setting.name}")
            case _:
                waits = (NONE, 2 * MINUTE, 10 * MINUTE)
                setting.policy = replace(
                    setting.policy,
                    grace=random.choice(waits),
                    soak=random.choice(waits),
                    min_interval=random.choice(waits),
                )

    # machines

    def provider_goes_down(self) -> None:
        """An account answers nothing but 503 for a while: long enough for the brake."""
        account = self.random.choice(self.play.all_settings()).account
        account.down_until = self.world.baton.now + self.random.expovariate(1 / 1800)

    def back_up(self) -> None:
        """The database as it is now comes back some time later; every process that used it has gone by then."""
        store = self.play.store
        if not isinstance(store, MemoryStore):
            return
        backup = store.snapshot()

        def restore() -> None:
            if self.world.calm or self.world.oracle.unconfirmed:
                return
            store.restore(backup)
            self.world.oracle.trace("the database is restored from a backup")
            for worker in (*self.play.workers, self.worker, self.doubter, self.maker, self.rehearser):
                worker.dead = True
            self.world.oracle.restored()
            self.world.oracle.unconfirmed = True
            self.world.database_back_at = self.world.baton.now + 60

        self.world.later(self.random.uniform(0, 6 * 3600), restore)

    # clocks

    def set_clock(self) -> None:
        """A clock is set: the database's alone, or all of them (one host)."""
        random, world = self.random, self.world
        years = random.random() < 0.15
        by = random.choice((-1, 1)) * (TEN_YEARS if years else timedelta(seconds=random.uniform(1, 400)))
        together = random.random() < 0.5
        self._jump(by, together=together)
        world.later(random.uniform(60, 2 * 3600), lambda: self._jump(-by, together=together))

    def _jump(self, by: timedelta, *, together: bool) -> None:
        if self.world.calm:
            return
        self.world.jump(by)
        self.furthest = max(self.furthest, self.world.database_jump)
        self.world.oracle.trace(f"the database's clock jumps by {by}{', all hosts with it' if together else ''}")
        if together:
            for worker in (*self.play.workers, self.worker, self.doubter, self.maker, self.rehearser):
                worker.host_jump += by

    def mend_clocks(self) -> None:
        """All clocks agree again, and none is behind what was ever recorded."""
        self.world.jump(self.furthest - self.world.database_jump)
        for worker in (*self.play.workers, self.worker, self.doubter, self.maker, self.rehearser):
            worker.host_jump = self.world.database_jump

    # operators

    def _operate(self, rate: float) -> None:
        while self._comes(rate):
            name = self.random.choice(sorted(self.play.settings))
            self.command(self._verb(), name)

    def _comes(self, rate: float) -> bool:
        """Wait until a person who comes so often an hour comes again; nobody does once it is calm."""
        self.world.baton.pause(self.random.expovariate(rate / 3600))
        return not self.world.calm

    def _rehearse(self, rate: float) -> None:
        while self._comes(rate):
            self.command(self.rehearse, self.random.choice(sorted(self.play.settings)), self.rehearser)

    def rehearse(self, worker: Worker, name: str) -> None:
        """`rotate --rehearse`: until nothing of it can go on, or patience ends."""
        with self._hold(worker, name) as work:
            worker.step, worker.began = "rehearse", self.world.baton.now
            rehearsal.begin(work)
        engine, baton = self._engine(worker, name), self.world.baton
        began, end = self.world.database_time(), baton.now + 600
        while baton.now < end:
            progress = engine.turn(name, Wish(cause=Cause.REHEARSAL), began)
            self.play.look_at(progress)
            if progress.held is None and progress.trouble is None and progress.rehearsal_ready_at is None:
                return
            baton.pause(max(1.0, min(self.play.next_look(progress), 60.0)))

    def _doubtful(self, credential: str) -> None:
        if self._doubted is None and not self.world.calm and self.random.random() < 0.4 * self.world.profile.operators:
            self._doubted = credential
            self.world.baton.at(self.world.baton.now + self.random.expovariate(1 / 20), self.doubter)

    def _regretful(self, credential: str) -> None:
        """Somebody misses a key as soon as it is disabled."""
        if self._doubted is None and not self.world.calm and self.random.random() < 0.5 * self.world.profile.operators:
            self._doubted, self._regrets = credential, True
            self.world.baton.at(self.world.baton.now + self.random.expovariate(1 / 60), self.doubter)

    def _doubt(self) -> None:
        while True:
            self.world.baton.park()
            if self._regrets:
                if self._doubted in self.play.settings:
                    self.command(self.go_back, self._doubted or "", self.doubter)
                self._doubted, self._regrets = None, False
                continue
            name, end = self._doubted or "", self.world.baton.now + 300
            while self.world.baton.now < end and self.world.oracle.situation(name).rotation is not None:
                if name not in self.play.settings or self.command(self.abandon, name, self.doubter):
                    break
                self.world.baton.pause(5)
            self._doubted = None

    def _verb(self) -> Callable[[Worker, str], None]:
        verbs = [
            self.rotate_now,
            self.abandon,
            self.resume,
            self.compromised,
            self.tidy,
            self.urge,
            self.go_back,
            self.pause,
            self.settle_drift,
        ]
        weights = [2, 2, 1, 1, 5, 1, 3, 1, 2]
        return self.random.choices(verbs, weights)[0]

    def command(self, verb: Callable[[Worker, str], None], name: str, worker: Worker | None = None) -> bool:
        """A process of its own, which may be killed like any other. Say whether it did what it was asked."""
        worker = worker or self.worker
        worker.begin_life()
        self.play.enroll(worker)
        self.world.oracle.trace(f"operator: {verb.__name__} {name}")
        try:
            verb(worker, name)
        except CrashedError:
            return False
        except RotatorError as error:
            self.world.oracle.trace(f"operator is told: {error.reason}: {error.message}")
            return False
        return True

    def rotate_now(self, worker: Worker, name: str, wish: Wish | None = None) -> None:
        """`rotate --now`: until the new key is current, or it is blocked, or patience ends."""
        wish = wish or Wish(cause=Cause.MANUAL)
        engine, baton = self._engine(worker, name), self.world.baton
        began, end = self.world.database_time(), baton.now + 600
        while baton.now < end:
            progress = engine.turn(name, wish, began)
            self.play.look_at(progress)
            if progress.completed or (progress.rotation is not None and progress.rotation.blocked):
                return
            if isinstance(progress.trouble, PermanentError):
                return
            baton.pause(max(1.0, min(self.play.next_look(progress), 60.0)))

    def compromised(self, worker: Worker, name: str) -> None:
        """`rotate --compromised`, of all keys or of one."""
        versions = [v for v in self.world.oracle.situation(name).versions if v.state.living and v.key_id]
        key = self.random.choice([None, *(v.key_id for v in versions)])
        self.rotate_now(worker, name, Wish(cause=Cause.COMPROMISED, key=key))

    def abandon(self, worker: Worker, name: str) -> None:
        """`rotator abandon`, when something is open."""
        with self._hold(worker, name) as work:
            worker.step = "abandon"
            operator.abandon(work)

    def resume(self, worker: Worker, name: str) -> None:
        """`rotator resume`."""
        with self._hold(worker, name) as work:
            worker.step = "resume"
            operator.resume(work)

    def urge(self, worker: Worker, name: str) -> None:
        """`rotate --now` with one of the words that people add to it."""
        place = self.random.choice(self.play.settings[name].places)
        words: list[dict[str, Any]] = [{"without": [place.name]}, {"overwrite": True}, {"end_soak": True}]
        cause = self.random.choice((Cause.MANUAL, Cause.MANUAL, Cause.COMPROMISED))
        self.rotate_now(worker, name, Wish(cause=cause, **self.random.choice(words)))

    def go_back(self, worker: Worker, name: str) -> None:
        """`rollback`, `reactivate` or `retire`, of a key that was replaced."""
        with self._hold(worker, name) as work:
            worker.step = "go back"
            replaced = [v for v in work.situation.versions if v.state in reactivation.REPLACED and v.key_id]
            if not replaced:
                return
            version = self.random.choice(replaced)
            match self.random.randrange(5):
                case 0 | 1:
                    rollback.rollback(work)
                case 2 | 3:
                    reactivation.reactivate(work, key=version.key_id)
                case _:
                    reactivation.retire(work, key=version.key_id or "")

    def pause(self, worker: Worker, name: str) -> None:
        """`rotator pause` or `unpause`."""
        store = self.play.engine(worker).store
        credential = next(c for c in store.credentials() if c.name == name)
        if credential.paused_at is not None:
            self._unpause(name)
            return
        lasts = timedelta(seconds=self.random.uniform(60, 3 * 3600))
        pausing.pause(store, credential, actor=worker.name, why="a freeze", lasts=lasts)
        self.world.oracle.paused[name] = self.world.baton.now
        self.world.later(lasts.total_seconds() / 2, lambda: self.world.oracle.paused.pop(name, None))

    def _unpause(self, name: str) -> None:
        store = self.play.store
        credential = next(c for c in store.credentials() if c.name == name)
        self.world.oracle.paused.pop(name, None)
        pausing.unpause(store, credential, actor="operator", because=None)

    def unpause_all(self) -> None:
        """Nothing is stopped by a person any more."""
        for name in self.world.oracle.ids:
            self._unpause(name)

    def settle_drift(self, worker: Worker, name: str) -> None:
        """`drift accept`, `overwrite` or `ignore`, of what stands at a place."""
        decide = self.random.choice((drift.accept, drift.accept, drift.overwrite, drift.ignore))
        place = self.random.choice(self.play.settings[name].places)
        with self._hold(worker, name) as work:
            worker.step, worker.began = "drift", self.world.baton.now
            decide(work, place.name)

    def reconcile(self, worker: Worker) -> None:
        """`rotator reconcile`: look at what is shown, and confirm it."""
        for _ in range(20):
            engine = self.play.engine(worker)
            try:
                shown = reconcile.pictures(engine)
                self.world.oracle.unconfirmed = False
                reconcile.confirm(engine, shown, (), None)
            except RotatorError as error:
                self.world.oracle.unconfirmed = regress.standing(self.play.store) is not None
                self.world.oracle.trace(f"reconcile: {error.reason}: {error.message}")
                self.world.baton.pause(60)
            else:
                return

    def _hold(self, worker: Worker, name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a context manager of the engine's
        return self._engine(worker, name).hold(name)

    def _engine(self, worker: Worker, name: str) -> Engine:
        if name not in self.play.settings:  # it was taken out of the configuration since
            raise SetupError(name, reason="unknown_credential")
        return self.play.engine(worker)

    # keys that only a person can make

    def _make(self) -> None:
        """Now and then somebody sees to what waits for a key: late, and before calm also wrong, or twice."""
        while True:
            self.world.baton.pause(self.random.expovariate(1 / 600))
            names = sorted(name for name, s in self.play.settings.items() if s.shape is Supplied)
            if names:
                self.command(self.supply, self.random.choice(names), self.maker)

    def supply(self, worker: Worker, name: str) -> None:
        """`rotator supply`. What is refused changes nothing, whatever it is."""
        setting = self.play.settings[name]
        for value in self._values(setting):
            with self._hold(worker, name) as work:
                worker.step, worker.began = "supply", self.world.baton.now
                before = replace(work.situation, creates=())  # which the clock dates anew
                try:
                    supply(work, Material.of(secret=value))
                except SetupError:
                    self.world.oracle.refused += 1
                    same = replace(self.world.oracle.situation(name), creates=()) == before
                    self.world.oracle.require(same, "supply", f"{name}: a value was refused, and something changed")
                    raise

    def _values(self, setting: Setting) -> list[str]:
        """One that was made just now, or something else, or it twice."""
        random = self.random
        if not self.world.calm and random.random() < 0.4:
            return [random.choice(["", "mistyped", *(key.secret for key in self.world.by_secret.values())])]
        target = self.world.oracle.situation(setting.name).target
        if target is None or not target.awaited:
            return ["there is nothing to make a key for"]
        value = self.world.issue(setting.account, setting.name, None, By.PERSON).secret
        return [value] * random.choice((1, 1, 2))

    # what a person does who reads `status` and follows the remedies

    def tidy(self, worker: Worker, name: str) -> None:
        """Do what the remedies of everything that waits or is blocked say."""
        setting = self.play.settings.get(name)
        if setting is None:
            return
        if regress.standing(self.play.store) is not None:
            self.reconcile(worker)
        if self.world.calm:
            self._retire_kept(worker, name)
        situation = self.world.oracle.situation(name)
        rows: list[Rotation | Retirement | Delivery] = [*situation.deliveries, *situation.retirements]
        if situation.rotation is not None:
            rows.append(situation.rotation)
        reasons = {row.reason: row.blocked for row in rows if row.reason}
        waits = [reason for reason, blocked in reasons.items() if blocked or reason.startswith("destination")]
        again = False
        for reason in sorted(waits):
            again = self._remedy(setting, reason) or again
        if waits:
            self.resume(worker, name)
        if again or reasons.keys() & {"current_refused", "no_other_key", "destination_missing", "destination_foreign"}:
            self.rotate_now(worker, name)
        if self.world.calm and situation.rotation is None:
            self._put_right(setting)
        if (self.world.calm or not rows) and not self._works(setting):
            self._delete_strangers(setting)
            self._replace(setting)
            self.rotate_now(worker, name)

    def _retire_kept(self, worker: Worker, name: str) -> None:
        """What was reactivated, and nobody needs any more."""
        with self._hold(worker, name) as work:
            for version in reactivation.kept_versions(work):
                reactivation.retire(work, key=version.key_id or "")

    def _delete_strangers(self, setting: Setting) -> None:
        """At the console: keys that nobody knows, and those that are to go and stand nowhere."""
        known = dict(self.world.oracle.store.known_keys(setting.account.identity))
        for version in self.world.oracle.situation(setting.name).versions:
            if version.state is VersionState.CONDEMNED:
                known.pop(version.key_id or "", None)
        for key in list(setting.account.keys.values()):
            if key.exists and key.id not in known and not self.world.serving(key):
                self.world.stop(setting.account, key, By.PERSON, for_good=True)

    def _works(self, setting: Setting) -> bool:
        current = self.world.oracle.situation(setting.name).current
        key = setting.account.keys.get(current.key_id or "") if current else None
        return key is not None and key.alive

    def _put_right(self, setting: Setting) -> None:
        """By hand: the current key's value, where something else stands; and nothing where nobody should read."""
        for place in self.world.places.values():
            left = [name for name in place.fields if name in setting.fields() and place not in setting.places]
            if left:
                self.world.put(place, dict.fromkeys(left), By.PERSON)
        current = self.world.oracle.situation(setting.name).current
        key = setting.account.keys.get(current.key_id or "") if current else None
        if key is None or not key.alive:
            return
        for place in setting.places:
            values = dict.fromkeys(setting.fields(), key.secret)
            values |= {name: key.id for name in values if "_ID" in name}
            if any(place.fields.get(name) != value for name, value in values.items()):
                self.world.put(place, dict(values), By.PERSON)

    def _remedy(self, setting: Setting, reason: str) -> bool:
        """Say whether a new rotation is needed as well."""
        match reason:
            case "foreign" | "missing" | "destination_foreign" | "destination_missing":
                self._replace(setting)
            case "slot_full" | "destination_serves_condemned":
                return self._make_room(setting, full=reason == "slot_full")
            case "awaiting_human":
                self.supply(self.worker, setting.name)
            case "destination_removed":
                self._forget(setting)
            case "ambiguous_keys":
                self._settle(setting)
            case "key_refused" if self._give_up_enabled(setting.name):
                return False
            case "key_refused" | "wrong_identity":
                self.abandon(self.worker, setting.name)
                return True
            case _:
                return False
        return False

    def _make_room(self, setting: Setting, *, full: bool) -> bool:
        if self.world.calm:
            self._put_right(setting)
        self._delete_strangers(setting)
        if self.world.calm and full and self._revoke_leaked(setting):
            return True
        if self.world.calm and full and self._stuck_for_a_key(setting):
            self.abandon(self.worker, setting.name)
            self.roll_back(self.worker, setting.name)
        return False

    def _revoke_leaked(self, setting: Setting) -> bool:
        """Revoke the key that the rotation names as in its way, where that one has leaked; say whether it had."""
        situation = self.world.oracle.situation(setting.name)
        remedy = (situation.rotation.remedy if situation.rotation else None) or ""
        leaked = [v.key_id for v in situation.versions if v.compromised_at and f"--key {v.key_id}`" in remedy]
        if not leaked:
            return False
        with self._hold(self.worker, setting.name) as work:
            revocation.revoke(work, key=leaked[0])
        return True

    def _stuck_for_a_key(self, setting: Setting) -> bool:
        """The old key waits for a new one, and the new one for the old one's slot."""
        situation = self.world.oracle.situation(setting.name)
        key = setting.account.keys.get(situation.current.key_id or "") if situation.current else None
        return wait_for_a_key(situation) or (key is not None and not key.alive)

    def roll_back(self, worker: Worker, name: str) -> None:
        """`rotator rollback`."""
        with self._hold(worker, name) as work:
            rollback.rollback(work)

    def _give_up_enabled(self, name: str) -> bool:
        """What was reactivated and does not work goes after all. Say whether there was such a key."""
        situation = self.world.oracle.situation(name)
        row = next((r for r in situation.retirements if r.wanted_back and r.reason == "key_refused"), None)
        version = situation.version(row.version_id) if row else None
        if version is None or (situation.rotation is not None and situation.rotation.target_id == version.id):
            return False
        with self._hold(self.worker, name) as work:
            reactivation.retire(work, key=version.key_id or "")
        return True

    def _replace(self, setting: Setting) -> None:
        with self._hold(self.worker, setting.name) as work:
            adoption.allow_replacing(work, [t.to for t in work.managed.targets], None)

    def _forget(self, setting: Setting) -> None:
        situation = self.world.oracle.situation(setting.name)
        configured = {p.identity for p in setting.places}
        rows = [d for d in situation.deliveries if d.identity in self.world.places]  # no shadows
        pinned = [d for d in rows if d.identity not in configured]
        if pinned:
            setting.places = [*setting.places, *(self.world.places[d.identity] for d in pinned)]
            self.play.config_version += 1
            return
        with self._hold(self.worker, setting.name) as work:
            everywhere: list[Placement | Delivery] = [*situation.placements]
            for unheard in situation.unacknowledged.values():
                everywhere += unheard
            for standing in situation.shadows.values():
                for shadow in standing:
                    self.world.remove(self.world.shadows[shadow.identity])
                everywhere += standing
            for given in everywhere:
                if given.identity not in configured and self._can_forget(work, given):
                    self.world.oracle.excused.add((setting.name, given.identity))
                    operator.forget_destination(work, given.address)
                    return

    def _can_forget(self, work: Work, given: Placement | Delivery) -> bool:
        return not isinstance(given, Delivery) or shadow_at(work.managed, given) is None

    def _settle(self, setting: Setting) -> None:
        known = self.world.oracle.store.known_keys(setting.account.identity)
        unknown = [key for key in setting.account.keys.values() if key.exists and key.id not in known]
        rows = [r for r in self.world.oracle.situation(setting.name).retirements if r.reason == "ambiguous_keys"]
        version = self.world.oracle.store.version(rows[0].version_id) if rows else None
        if version is None:
            return
        with self._hold(self.worker, setting.name) as work:
            if version.key_id is not None:
                located = setting.account.keys[version.key_id]
                self._answer(work, located)
                return
            mine = [key for key in unknown if key.label is not None and key.label.endswith(version.id)]
            keep = [key.id for key in unknown if key not in mine]
            operator.resume(work, delete=mine[0].id if mine else None, keep=keep)

    def _answer(self, work: Work, located: WorldKey) -> None:
        if located.by is By.US:
            operator.resume(work, delete=located.id)
        else:
            operator.resume(work, keep=[located.id])
