"""Claim → one step → record: the only loop. Daemon, CronJob and `rotate --now` all run it, on the same rows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import inf
from typing import Any, TypeGuard

from rotator.domain.errors import Busy, RotatorError, SetupError, StaleLease, StoreUnavailable, TemporaryError
from rotator.domain.events import Subject
from rotator.domain.model import (
    REUSES,
    Cause,
    CredentialId,
    Delivery,
    DeliveryState,
    Finding,
    Lease,
    Retirement,
    Rotation,
    RotationState,
    Situation,
    VersionState,
)
from rotator.domain.plans import taking_away, to_be_tried
from rotator.domain.policy import Decision, Due, NotDue, why_due
from rotator.engine import (
    adoption,
    brakes,
    brownout,
    creation,
    deadlines,
    grace,
    operator,
    pausing,
    reactivation,
    regress,
    rehearsal,
    removed,
    requests,
    retirement,
    revocation,
    rotation,
    sightings,
    signing,
    unpairing,
    urgency,
    watch,
    waves,
)
from rotator.engine.dry import DryWork
from rotator.engine.followers import Followers, Following, alongside
from rotator.engine.intake import question, take_in
from rotator.engine.line import Line
from rotator.engine.notify import Channel, Notifications
from rotator.engine.pace import Pace
from rotator.engine.tally import Tally
from rotator.engine.work import Limits, Managed, Surroundings, Work
from rotator.ports.sealer import Fingerprint
from rotator.ports.store import Anchor, Checkpoints, Held, Idle, Store

HELD_WAIT = 5.0
"""Seconds that `--now` waits for another worker before it says who that is."""

THREADS_AT_MOST = 32
"""Of all accounts together, unless one account is to have more."""

STEPS_AT_MOST = 1000
"""Far above what any turn needs; a turn that gets there does not make progress."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a person asked for: rotate now, or rotate because of a leak (of one key, or of all).

    With Cause.REHEARSAL: go on with the rehearsal that was begun, until nothing of it is left, and open nothing.
    """

    cause: Cause
    key: str | None = None
    because: str | None = None
    without: Sequence[str] = ()  # places, by name or address, that neither key waits for
    overwrite: bool = False  # what stands at a place may be overwritten, whoever put it there
    end_soak: bool = False  # our own disabled keys are deleted now
    said: bool = False  # an earlier turn of the same run has put it on record


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What one run did with one credential, and what it waits for."""

    name: str
    held: Lease | None = None  # somebody else works on it
    decision: Decision | None = None  # why nothing was opened
    joined: bool = False  # what was wished for is on record, as far as words go
    completed: bool = False  # a new key became current since the run began
    rotation: Rotation | None = None  # still open
    ready_at: datetime | None = None  # when anything can go on; None: not by itself
    rotation_ready_at: datetime | None = None
    browned_out: bool = False  # an old key is disabled for a while
    rehearsal_ready_at: datetime | None = None  # when a rehearsal, or the taking-away of its key, can go on
    trouble: RotatorError | None = None  # what stopped the turn itself


@dataclass(frozen=True)
class Item:
    """One thing to do: a step of a plan, and the row that it belongs to."""

    verb: Subject
    row_id: str
    do: Callable[[], None]
    told_first: bool = False  # it creates or takes away, and nothing about it is urgent: see `Followers.require`


class Engine:
    """Runs whatever is due or unfinished, for the credentials of one configuration and one database."""

    def __init__(
        self,
        *,
        store: Store,
        fingerprint: Fingerprint,
        managed: Mapping[str, Managed],
        limits: Limits,
        around: Surroundings,
        anchor: Anchor | None = None,
        checkpoints: Checkpoints | None = None,
        left_out: Mapping[str, str] | None = None,
        following: Sequence[Following] = (),
        channels: Sequence[Channel] = (),
    ) -> None:
        """`left_out`: names of what is open and cannot be finished, and why; see `removed`.

        `following` is told the trail while a run lasts, and people are told by `channels`.
        """
        self.store = store
        self.fingerprint = fingerprint
        self.managed = managed
        self.limits = limits
        self.around = around
        self.anchor = anchor
        self.checkpoints = checkpoints
        self.left_out = left_out or {}
        self.followers = Followers(store, following, limits, around)
        self.tally = Tally()
        self.notifications = Notifications(store, managed, channels, limits, around)
        self._paces = {
            m.provider_name: Pace(limits.in_flight, m.calls_per_second, around.monotonic) for m in managed.values()
        }

    # one credential

    @contextmanager
    def hold(self, name: str) -> Iterator[Work]:
        """Claim a credential for the time of the block. Raises Busy where another living worker has it."""
        if name in self.left_out:
            raise removed.problem(name, self.left_out[name])
        credential_id, asked_at = self.credential_id(name), self.around.monotonic()
        claimed = self.store.claim(credential_id, self.around.holder, self.limits.lease)
        if isinstance(claimed, Held):
            raise HeldByOther(claimed.lease)
        work = Work(store=self.store, lease=claimed, asked_at=asked_at, **self._given(name))
        try:
            with self.around.doing(work.turn):
                yield work
            work.record_notes()
        finally:
            if work.calls_ended:
                self.store.release(work.lease, work.idle)

    def _given(self, name: str) -> dict[str, Any]:
        managed = self.managed[name]
        return {
            "fingerprint": self.fingerprint,
            "managed": managed,
            "limits": self.limits,
            "around": self.around,
            "pace": self._paces[managed.provider_name],
            "tally": self.tally,
        }

    @contextmanager
    def dry(self, name: str) -> Iterator[DryWork]:
        """A credential for a dry run: held from nobody, and nothing done with it is recorded."""
        if name in self.left_out:
            raise removed.problem(name, self.left_out[name])
        credential_id, asked_at = self.credential_id(name), self.around.monotonic()
        last = self.store.lease(credential_id)
        lease = Lease(
            credential_id=credential_id,
            holder=self.around.holder,
            epoch=last.epoch if last else 0,
            until=self.store.now() + self.limits.lease,
            released=False,
            fenced_at=last.fenced_at if last else None,
        )
        yield DryWork(self.store, lease=lease, asked_at=asked_at, **self._given(name))

    def credential_id(self, name: str) -> CredentialId:
        """The row of a credential; `enroll` has made one for each name of the configuration."""
        credential = self.store.credential(name)
        if credential is not None:
            return credential.id
        message = f"there is no credential {name} on record"
        raise SetupError(message, reason="unknown_credential", remedy="a pass puts it there: `rotate`")

    def take_over(self) -> None:
        """A configuration is in force from now on: what it says differently is due. To be called once."""
        self.store.stir({name: managed.edition for name, managed in self.managed.items()})

    def due(self) -> list[str]:
        """The names of this configuration that a pass has to look at now; costs what is due, not what there is."""
        return [name for name in self.store.due(self.limits.watch) if name in self.managed or name in self.left_out]

    def turn(self, name: str, wish: Wish | None, began: datetime) -> Progress:
        """Hold a credential and do everything that is ready. Never raises for the credential's own trouble."""
        try:
            regress.look_at_database(self.store, self.anchor, self.around)
            with self.hold(name) as work:
                return self._turn(work, wish, began)
        except HeldByOther as held:
            return Progress(name=name, held=held.lease)
        except StaleLease as stale:
            return self._overtaken(name, stale)
        except RotatorError as trouble:
            return Progress(name=name, trouble=trouble)
        except Exception as problem:  # noqa: BLE001 - a bug in one credential never stops the others
            self.around.bug(name, problem)
            message = f"unexpected {type(problem).__name__}; this is a bug, see the log"
            return Progress(name=name, trouble=TemporaryError(message, reason="bug"))

    def _overtaken(self, name: str, stale: StaleLease) -> Progress:
        try:
            return Progress(name=name, ready_at=self.store.now(), trouble=stale)
        except StoreUnavailable as down:
            return Progress(name=name, trouble=down)

    def _turn(self, work: Work, wish: Wish | None, began: datetime) -> Progress:
        self._contain(work)
        asked = requests.carry_out(work) or wish is not None
        if not asked:
            sightings.collect(work)
        findings, dimmed = self.store.findings(work.credential.id), brownout.lasting(work)
        held = self._held(work, findings, began if asked else None)
        progress = self._work_on(work, wish, began) if held is None else self._give_back(work, held, began)
        deadlines.tell(work)
        brownout.tell(work, dimmed)
        if (wish is None or progress.completed) and (held is None or held.reason == "reconcile"):
            findings = self._watch(work, findings)
        if held is None and not asked:
            work.idle = self._idle(work, progress, findings)
        return progress

    def _idle(self, work: Work, progress: Progress, findings: Sequence[Finding]) -> Idle | None:
        """Until when nothing is to be done, as far as this turn knows; None: who is due looks again.

        At the latest until the next watch, which would notice whatever nobody has told.
        """
        decision, watched = progress.decision, watch.due_at(work, findings)
        waits_for_others = isinstance(decision, NotDue) and decision.reason in ("not_adopted", "no_material")
        if waits_for_others or watched is None or work.managed.removed or self.around.stopping():
            return None
        credential = work.situation.credential
        times = [watched, progress.ready_at, credential.paused_until if credential.paused(work.now()) else None]
        if isinstance(decision, NotDue):
            times.append(decision.until)
        return Idle(until=min(at for at in times if at is not None), edition=work.managed.edition)

    def _contain(self, work: Work) -> None:
        """A key that a person has revoked is made to stop working before anything else, whatever stops other work."""
        for row in revocation.uncontained(work.situation):
            at = ready_at(row)
            if at is not None and at <= work.now():
                self._do(work, Item(Subject.REVOKE, row.id, functools.partial(revocation.contain, work, row)))

    def _work_on(self, work: Work, wish: Wish | None, began: datetime) -> Progress:
        decision: Decision | None = None
        hurried = wish is not None
        wish, without = self._join(work, wish, began)
        for _ in range(STEPS_AT_MOST):
            if self.around.stopping():
                break
            grace.grow(work)
            item = next_item(work, hurried=hurried)
            if item is not None and self._do(work, item):
                continue
            if item is not None:
                break
            if work.situation.rotation is not None or _rehearses(wish):
                break
            taken = take_in(work) if wish is None else take_in(work, wish.cause, without=without, because=wish.because)
            decision = taken.decision
            if not taken.opened and self._adopted(work, decision):
                continue
            if not taken.opened:
                break
            if isinstance(decision, Due) and wish is not None and decision.cause is wish.cause:
                wish = None
        else:
            message = "this credential makes no progress"
            raise TemporaryError(message, reason="bug")
        return replace(self._progress(work, decision, began), joined=True)

    def _give_back(self, work: Work, held: NotDue, began: datetime) -> Progress:
        """Nothing is done now, but for what a brownout has disabled: a provider that fails is no reason to leave it so.

        With `reconcile` not even that: these rows may be of the past.
        """
        dimmed = brownout.lasting(work) if held.reason != "reconcile" else ()
        for row in dimmed:
            if is_ready(row, work.now()) and (item := _retirement_item(work, row)) is not None:
                self._do(work, item, counts=False)  # nor does its failure keep the brake on for others
        progress = self._progress(work, held, began)
        if held.reason == "reconcile":
            return replace(progress, ready_at=None, rotation_ready_at=None)
        times = [held.until or progress.ready_at, *(ready_at(row) for row in brownout.lasting(work))]
        at = min((t for t in times if t is not None), default=None)
        return replace(progress, ready_at=at, rotation_ready_at=None)

    def _held(self, work: Work, findings: Sequence[Finding], asked_at: datetime | None) -> NotDue | None:
        """Why nothing at all is done now, whatever is ready."""

        def anything_to_do() -> bool:
            return next_item(work) is not None or isinstance(why_due(question(work)), Due)

        return regress.held(findings) or brakes.held(work, asked_at, anything_to_do)

    def _watch(self, work: Work, findings: Sequence[Finding]) -> Sequence[Finding]:
        """After the work, and under the same lease: look whether anything has changed that nobody told us.

        Gives what is found by then.
        """
        if work.managed.removed or self.around.stopping() or not work.calls_ended:
            return findings
        at = watch.due_at(work, findings)
        if at is not None and work.now() < at:
            return findings
        try:
            watch.watch(work)
        except RotatorError:
            raise
        except Exception as problem:  # noqa: BLE001 - a bug in looking stops no work
            self.around.bug(work.managed.name, problem)
        return self.store.findings(work.credential.id)

    def _adopted(self, work: Work, decision: Decision) -> bool:
        """`first: adopt`: take over what stands at the destinations, where that needs no person's choice."""
        waits = isinstance(decision, NotDue) and decision.reason == "not_adopted"
        if not waits or work.managed.policy.first != "adopt":
            return False
        try:
            adoption.adopt(work, because="first: adopt")
        except SetupError:  # the finding `not_adopted` stands, and says how a person does it
            return False
        return True

    def _fulfilled(self, work: Work, began: datetime) -> bool:
        done = work.situation.last_completed_at
        # Later than now: dated by a clock that has been set back since, so not done in this run.
        return done is not None and began <= done <= work.now()

    def _join(self, work: Work, wish: Wish | None, began: datetime) -> tuple[Wish | None, Collection[str]]:
        """`--now` joins an open rotation; `--compromised` hurries what is being retired as well.

        Gives what is left to wish for, and the identities of the places that it does not wait for.
        """
        if wish is None or _rehearses(wish):
            return wish, ()
        if self._fulfilled(work, began):
            return None, ()
        needed, without = urgency.join(
            work,
            wish.cause,
            key=wish.key,
            without=wish.without,
            overwrite=wish.overwrite,
            end_soak=wish.end_soak,
            because=wish.because,
            said=wish.said,
        )
        if not needed:
            return None, without
        open_now = work.situation.rotation
        return (None if open_now is not None and open_now.cause not in REUSES else wish), without

    def _do(self, work: Work, item: Item, *, counts: bool = True) -> bool:
        """Do it and learn from it; False where the account's brake is on now, so that the turn ends.

        `counts`: whether a failure is one for the brake.
        """
        done = False
        try:
            with work.step(item.verb, item.row_id):
                if item.told_first:
                    self.followers.require()
                item.do()
            done = True
        except StaleLease:
            work.still_ours()
        except StoreUnavailable:
            raise
        except RotatorError as error:
            self._note(work, item, error)
        except Exception as problem:  # noqa: BLE001 - a bug is logged, counted, delayed
            self.around.bug(work.managed.name, problem)
            message = f"unexpected {type(problem).__name__}; this is a bug, see the log"
            self._note(work, item, TemporaryError(message, reason="bug"))
        if not counts:
            work.blamed = None
        return brakes.learn(work, done=done)

    def _note(self, work: Work, item: Item, error: RotatorError) -> None:
        work.make_sure()
        rows: list[Rotation | Retirement] = list(work.situation.retirements)
        if work.situation.rotation is not None:
            rows.append(work.situation.rotation)
        for row in rows:
            if row.id == item.row_id:
                work.failed(row, item.verb, error)

    def _progress(self, work: Work, decision: Decision | None, began: datetime) -> Progress:
        situation = work.situation
        rotation_at = rotation_ready_at(situation)
        if situation.rotation is not None and pausing.holds(work, situation.rotation):
            rotation_at = situation.credential.paused_until
        moving = [r for r in situation.retirements if not pausing.holds(work, r)]
        rehearsed = [ready_at(r) for r in moving if _was_never_current(situation, r)]
        rehearsed += [rotation_at] if rehearsal.is_open(situation) else []
        times = [rotation_at, *(ready_at(r) for r in moving)]
        if _busy(decision):
            times.append(decision.until)
        return Progress(
            name=work.managed.name,
            decision=decision,
            completed=self._fulfilled(work, began),
            rotation=situation.rotation,
            ready_at=min((t for t in times if t is not None), default=None),
            rotation_ready_at=times[0],
            browned_out=bool(brownout.lasting(work)),
            rehearsal_ready_at=min((t for t in rehearsed if t is not None), default=None),
        )

    # many credentials

    def run(
        self, names: Iterable[str], wish: Wish | None, patience: timedelta, *, stays: bool = False
    ) -> dict[str, Progress]:
        """Work on these credentials side by side; follow waits that end within `patience`, leave longer ones as rows.

        With a wish a credential is finished when its rotation is closed or blocked; without one, when nothing of it
        can go on within the patience. `stays`: a brownout is seen to its end all the same, for who knows when the next
        run is. Always ends with one Progress for each name.
        """
        began = self.store.now()
        end = self.around.monotonic() + patience.total_seconds()
        held_until = self.around.monotonic() + HELD_WAIT
        results: dict[str, Progress] = {}
        names = list(dict.fromkeys(names))
        line = Line(names, self.around.monotonic(), self._account_of, self._is_own)
        running: dict[Future[Progress], str] = {}
        wishes = dict.fromkeys(names, wish) if wish is not None else {}
        self.followers.prove()
        turns = {**self.followers.turns, **self.notifications.turns(closing=stays)}
        with alongside(turns, self.around), ThreadPoolExecutor(max_workers=self._threads(names)) as pool:
            while line or running:
                now = self.around.monotonic()
                most = 0 if self.around.stopping() else self.limits.workers
                for name in line.begin(now, running.values(), most):
                    running[pool.submit(self.turn, name, wishes.get(name), began)] = name
                if not running and (self.around.stopping() or not line):
                    break
                if not running:
                    self.around.pause(max(line.next_at(now) - now, 0))
                    continue
                done, _ = wait(running, timeout=0.1, return_when=FIRST_COMPLETED)
                for future in done:
                    name = running.pop(future)
                    results[name] = future.result()
                    if wish is not None and results[name].joined:
                        wishes[name] = replace(wish, said=True)
                    seen_to_its_end = stays and wish is None and results[name].browned_out
                    again = self._again(results[name], wish, inf if seen_to_its_end else end, held_until)
                    if again is not None and not self.around.stopping():
                        line.put(name, again)
                if done:
                    signing.keep_up(self.store, self.checkpoints, self.around)
        self._ended(wish)
        return {name: results.get(name, Progress(name=name)) for name in names}

    def _threads(self, names: Iterable[str]) -> int:
        accounts = len(set(map(self._account_of, names)))
        return min(self.limits.workers * max(accounts, 1), max(THREADS_AT_MOST, self.limits.workers))

    def _account_of(self, name: str) -> str:
        managed = self.managed.get(name)
        return managed.provider_name if managed is not None else ""

    def _ended(self, wish: Wish | None) -> None:
        """Leave what outlives a run."""
        if counts := self.tally.take():
            self.store.count(counts)
        if wish is None:
            self.store.pass_ended()
        signing.keep_up(self.store, self.checkpoints, self.around)
        regress.drop_anchor(self.store, self.anchor, self.around)

    def _is_own(self, name: str) -> bool:
        """Whether it is a credential of ours: what others are still changed with. It comes last."""
        managed = self.managed.get(name)
        return managed is not None and managed.own

    def _again(self, progress: Progress, wish: Wish | None, end: float, held_until: float) -> float | None:
        """When this credential is looked at again in this run (monotonic seconds), or None."""
        now = self.around.monotonic()
        if progress.held is not None:
            if progress.held.holder == self.around.holder:  # a call of ours is over its budget and not back yet
                wake = now + max((progress.held.until - self.store.now()).total_seconds(), 0.25)
                return wake if wake <= end else None
            return now + 0.25 if wish is not None and now < held_until else None
        at = progress.ready_at
        if _rehearses(wish):
            at = progress.rehearsal_ready_at
        elif wish is not None and progress.completed and progress.trouble is None:
            at = None  # what is open now is not what was asked for: a place that was left out
        elif wish is not None:
            at = progress.rotation_ready_at or (progress.ready_at if self._still_wished(progress) else None)
        if progress.trouble is not None and not isinstance(progress.trouble, StaleLease | StoreUnavailable):
            return None
        if isinstance(progress.trouble, StoreUnavailable):
            return now + 1 if now + 1 < end else None
        if at is None:
            return None
        wake = now + max((at - self.store.now()).total_seconds(), 0.01)
        return wake if wake <= end else None

    def _still_wished(self, progress: Progress) -> bool:
        """Whether the wish was held up by something of ours that ends soon, such as a slot in retirement."""
        held_up = isinstance(progress.decision, NotDue) and progress.decision.reason == "slot_in_retirement"
        held_up = held_up or _busy(progress.decision)
        return progress.trouble is not None or (held_up and not progress.completed)


def _rehearses(wish: Wish | None) -> bool:
    return wish is not None and wish.cause is Cause.REHEARSAL


def _was_never_current(situation: Situation, row: Retirement) -> bool:
    version = situation.version(row.version_id)
    return version is not None and version.state is VersionState.CONDEMNED


def _busy(decision: Decision | None) -> TypeGuard[NotDue]:
    return isinstance(decision, NotDue) and decision.reason == "account_busy"


class HeldByOther(Busy):
    """Busy, with the lease that is in the way."""

    def __init__(self, lease: Lease) -> None:
        super().__init__("another worker has this credential")
        self.lease = lease


def ready_at(row: Rotation | Retirement | Delivery) -> datetime | None:
    """When a row can go on: None while blocked; the distant past where nothing keeps it."""
    if row.blocked:
        return None
    return row.not_before or LONG_AGO


def is_ready(row: Retirement, now: datetime) -> bool:
    """Whether a retirement can go on now."""
    at = ready_at(row)
    return brownout.misdated(row, now) or (at is not None and at <= now)


LONG_AGO = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

_WAITING_DELIVERIES = {
    RotationState.AUTHENTICATED: DeliveryState.PLANNED,
    RotationState.PUSHED: DeliveryState.PUSHED,
}


def rotation_ready_at(situation: Situation) -> datetime | None:
    """When the open rotation can go on: its own wait, and the earliest of the deliveries it is at."""
    row = situation.rotation
    if row is None:
        return None
    own, end = ready_at(row), rehearsal.ends_at(row)
    state = _WAITING_DELIVERIES.get(row.state)
    times = [ready_at(d) for d in waves.at_hand(situation) if d.state is state and not d.without]
    known = [t for t in times if t is not None]
    if own is not None and times:
        own = max(own, min(known)) if known else None
    return own if end is None else min(own or end, end)


def next_item(work: Work, *, hurried: bool = False) -> Item | None:
    """The next thing that is ready: lost answers first, what is given back, the rotation, what is taken away.

    `hurried`: a person waits for something else, so no brownout is begun.
    """
    situation, now = work.situation, work.now()
    intents = creation.lost_intents(work)
    if intents:
        row_id = situation.rotation.id if situation.rotation else ""
        why = "the worker that sent the request did not live to record an answer"
        return Item(Subject.CREATE, row_id, lambda: creation.lost(work, intents[0], why))
    ready = [r for r in situation.retirements if is_ready(r, now) and not r.uncontained and not pausing.holds(work, r)]
    ready = [r for r in ready if not (hurried and to_be_tried(r))]
    given_back = {r.id for r in ready if r.wanted_back} | {r.id for r in brownout.lasting(work)}
    unlocated = {r.id for r in creation.unlocated_keys(work)}
    ready.sort(key=lambda r: (r.id not in unlocated, r.id not in given_back))
    if ready and (ready[0].id in unlocated or ready[0].id in given_back):
        return _retirement_item(work, ready[0])
    at = rotation_ready_at(situation)
    frozen = situation.rotation is not None and pausing.holds(work, situation.rotation)
    failed = rehearsal.failure(situation, now)
    if situation.rotation is not None and failed is not None and not frozen:
        why, message = failed
        give_up = functools.partial(operator.give_up_rehearsal, work, reason=why, why=message)
        return Item(Subject.ABANDON, situation.rotation.id, give_up)
    if situation.rotation is not None and at is not None and at <= now and not frozen:
        row = situation.rotation
        verb, do = rotation.STEPS[row.state]
        creates = verb is Subject.CREATE and row.cause not in REUSES
        return Item(verb, row.id, lambda: do(work), told_first=creates and not row.urgent)
    return _retirement_item(work, ready[0]) if ready else None


def _retirement_item(work: Work, row: Retirement) -> Item | None:
    step = taking_away(row, can_disable=work.provider.capabilities.can_disable)
    if step is None:
        return None
    steps = {**retirement.STEPS, **brownout.STEPS, Subject.DRAIN: unpairing.drain, Subject.ENABLE: reactivation.enable}
    do = steps[step.verb]
    takes_away = step.verb not in (Subject.ENABLE, Subject.RESTORE)
    return Item(step.verb, row.id, lambda: do(work, row), told_first=takes_away and not row.leaked)
