"""One worker's hold on one credential: its lease, its row of facts, its outbound calls and its records."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

from rotator.domain.deadlines import Terms
from rotator.domain.errors import (
    AccessDenied,
    LostAnswer,
    PermanentError,
    RateLimited,
    RotatorError,
    StaleLease,
    StoreUnavailable,
    TemporaryError,
    Unavailable,
    WrongAccount,
)
from rotator.domain.events import Outcome, Subject, name
from rotator.domain.model import (
    LAST_WAVE,
    WHOLE_BODY,
    Account,
    Credential,
    Delivery,
    Finding,
    Lease,
    Placement,
    Retirement,
    Rotation,
    RotationState,
    Situation,
    Version,
    VersionId,
)
from rotator.domain.plans import HOLDS
from rotator.domain.policy import Policy
from rotator.domain.reactions import Caps, Reaction
from rotator.domain.secret import Material, Secret
from rotator.domain.template import Template
from rotator.engine.pace import LONGEST, Pace, ahead
from rotator.engine.tally import Tally
from rotator.engine.threads import Concurrency, Threads
from rotator.ports.consumer import Consumer, Drop
from rotator.ports.destination import Destination
from rotator.ports.doing import Doing, Lookout, nobody
from rotator.ports.hook import Hook, Occasion
from rotator.ports.provider import Answer, Dates, Key, Provider, Verdict
from rotator.ports.sealer import Fingerprint
from rotator.ports.store import Count, DropSealed, Idle, NewEvent, Seal, Store, StoredEvent, Update, Write

P = ParamSpec("P")
T = TypeVar("T")

Waiter = Rotation | Retirement | Delivery

MOVING: Mapping[str, Any] = {
    "attempt": 0,
    "not_before": None,
    "blocked": False,
    "reason": None,
    "message": None,
    "remedy": None,
    "since": None,
}
"""The waiting columns of a row that has nothing to wait for."""

AWAITING = "awaiting_human"
"""Why a row is blocked that has not failed: the plan itself has a person do its next step."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One place of a credential, as today's configuration has it."""

    to: str
    destination: Destination
    templates: Mapping[str, Template]
    wave: int = LAST_WAVE
    reload: Hook | None = None  # tells its readers to read anew
    probe: Hook | None = None  # asks whether they work
    lag: timedelta = timedelta(0)  # how long after our write a reader may still hold what stood there before

    @property
    def main(self) -> Mapping[str, Template]:
        """The fields that hold the key which the place serves, without their companions."""
        return {field: template for field, template in self.templates.items() if not template.companion}


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A consumer that reads its key at its start, and where from."""

    consumer: Consumer
    reads: str | None = None  # the name of a destination; None: any of them


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a credential's keys may do at most, as its configuration says."""

    networks: tuple[str, ...] | None = None  # `allowed_ips`: from where they work; None: nobody has said
    confirmed: date | None = None  # when a person last looked at the allow list of a console
    policies: tuple[str | Mapping[str, Any], ...] | None = None  # `expect_policies`: names, ARNs or documents
    budget: int | None = None  # a calendar month, in millionths of the provider's currency


@dataclass(frozen=True, kw_only=True)
class Managed:
    """A credential as today's configuration has it, or had it last: how to reach what the rows have pinned."""

    name: str
    provider_name: str
    provider: Provider
    policy: Policy
    targets: Sequence[Target]
    calls_per_second: float | None = None  # what the provider's account takes of one process
    removed: bool = False  # the configuration names it no more: what is open is finished, nothing new is opened
    owner: str | None = None  # who is told
    labels: Mapping[str, str] = field(default_factory=dict)
    runbook: str | None = None  # where a person looks up what to do
    consumers: Sequence[Reader] = ()  # read their key at their start
    heartbeats: Sequence[str] = ()  # names of consumers that have to say that they hold a newer key
    drop: Drop | None = None  # where consumers leave word
    bounds: Bounds = field(default_factory=Bounds)
    on: Mapping[str, Reaction] = field(default_factory=dict)  # check → what is done about it
    own: bool = False  # one of its places is where we read a credential of our own
    edition: str = ""  # of all that the configuration says about it: another one is looked at anew

    @property
    def settle(self) -> timedelta:
        """How long a new key may be refused, or be missing from lists."""
        return self.provider.capabilities.settle if self.policy.settle is None else self.policy.settle

    @property
    def terms(self) -> Terms:
        """How long its keys may work, and what it takes to replace one."""
        return self.policy.terms(settle=self.settle, can_disable=self.provider.capabilities.can_disable)

    def left_out(self, placed: Placement) -> bool:
        """Whether the field is not written any more, though its place still is. A whole body leaves no field over."""
        fields = {f for t in self.targets if t.destination.identity == placed.identity for f in t.templates}
        return bool(fields) and not {placed.field, WHOLE_BODY} & fields and placed.field != WHOLE_BODY

    def target_at(self, identity: str) -> Target | None:
        """The place with this identity, if it is still configured."""
        return next((t for t in self.targets if t.destination.identity == identity), None)

    def entry_of(self, delivery: Delivery) -> Target | None:
        """The entry that a delivery is for. Where two write to one place, the one that writes the same fields."""
        at = [t for t in self.targets if t.destination.identity == delivery.identity]
        return next((t for t in at if t.templates.keys() == delivery.templates.keys()), at[0] if at else None)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """`engine:` of the configuration. `call_budget` is shorter than `lease`; back-off doubles from first to most."""

    lease: timedelta = timedelta(seconds=60)
    call_budget: timedelta = timedelta(seconds=20)
    workers: int = 8
    in_flight: int = 8  # rotations of one provider account that move at once, and calls to it from one process
    brake_failures: int = 5  # in a row at one provider account: then it is left alone
    brake_pause: timedelta = timedelta(minutes=15)
    caps: Caps = field(default_factory=Caps)
    watch: timedelta = timedelta(minutes=5)  # between two looks at a credential that nobody asked for
    sample: timedelta = timedelta(minutes=15)  # between two looks at the use of its keys
    retry_first: timedelta = timedelta(seconds=2)
    retry_most: timedelta = timedelta(minutes=15)

    def back_off(self, attempt: int, chance: float, retry_after: float | None = None) -> timedelta:
        """Doubling with full jitter between `retry.first` and `retry.most`; what the other side asked for wins."""
        if retry_after is not None:
            return timedelta(seconds=retry_after)
        doubled = self.retry_first.total_seconds() * 2.0 ** min(attempt, 30)
        return self.retry_first / 4 + timedelta(seconds=min(doubled, self.retry_most.total_seconds()) * chance)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Everything from outside that is neither a port nor configuration; tests give their own."""

    new_id: Callable[[], str]
    chance: Callable[[], float]  # in [0, 1)
    monotonic: Callable[[], float]  # seconds
    host_time: Callable[[], datetime]  # aware UTC, to compare with the store's
    pause: Callable[[float], object]  # sleep for seconds, or less
    stopping: Callable[[], bool]  # a signal came: finish the step in hand, begin no other
    actor: str
    holder: str
    observe: Callable[[StoredEvent], None] = field(default=lambda _: None)  # told each event by the store
    bug: Callable[[str, Exception], None] = field(default=lambda _name, _problem: None)
    doing: Lookout = field(default=nobody)  # told what is being done while it is
    threads: Concurrency = field(default_factory=Threads)


class Work:
    """What a step may do. Every record is guarded by the lease; every call has a budget."""

    def __init__(
        self,
        *,
        store: Store,
        fingerprint: Fingerprint,
        managed: Managed,
        lease: Lease,
        asked_at: float,
        limits: Limits,
        around: Surroundings,
        pace: Pace | None = None,
        tally: Tally | None = None,
    ) -> None:
        """`asked_at`: the monotonic moment before the lease was asked for. It may have run out before it was given."""
        self.store = store
        self.fingerprint = fingerprint
        self.managed = managed
        self.limits = limits
        self.around = around
        self._lease = lease
        self._trusted_until = asked_at + limits.lease.total_seconds()
        self._renewing = threading.Lock()
        self._counting = threading.Lock()  # apart: a call that ends does not wait for a renewal
        self._recording = threading.RLock()  # places that are written side by side record into one situation
        self._running = 0
        self.pace = pace or Pace(limits.in_flight, managed.calls_per_second, around.monotonic)
        self.tally = tally or Tally()
        self._step: Doing | None = None  # the one at hand
        self._unsealed: dict[VersionId, Material] = {}
        self._noted: list[Update] = []  # recorded with whatever is recorded next
        self.asked = False  # whether the step at hand has asked the provider
        self.blamed: RotatorError | None = None  # the provider's failure in the step at hand
        self.idle: Idle | None = None  # what the lease is released with
        self.situation: Situation = store.load(lease.credential_id)
        self._sure = True  # that this is what is on record

    # facts

    @property
    def provider(self) -> Provider:
        """The credential's provider."""
        return self.managed.provider

    @property
    def credential(self) -> Credential:
        """The credential's row."""
        return self.situation.credential

    @property
    def lease(self) -> Lease:
        """The lease as we hold it."""
        return self._lease

    def now(self) -> datetime:
        """The store's time."""
        return self.store.now()

    def findings(self) -> list[Finding]:
        """What stands about this credential."""
        return [f for f in self.store.findings(self.credential.id) if f.credential_id == self.credential.id]

    def rotation(self) -> Rotation:
        """The open rotation; a step of it is running."""
        if self.situation.rotation is None:
            message = "no rotation is open"
            raise StaleLease(message)
        return self.situation.rotation

    def target(self) -> Version:
        """The version that the open rotation wants to make current."""
        version = self.situation.target
        if version is None:
            message = "the rotation has no target"
            raise StaleLease(message)
        return version

    def version(self, version_id: VersionId) -> Version | None:
        """A version's row, of whichever credential."""
        return self.situation.version(version_id) or self.store.version(version_id)

    def refresh(self) -> None:
        """Read the rows anew."""
        with self._recording:
            self._see(self.store.load(self.credential.id))

    def _see(self, situation: Situation) -> None:
        self.situation, self._sure = situation, True
        for noted in self._noted:
            self._show(noted)

    def make_sure(self) -> None:
        """Read the rows anew where it is not known what became of the last record."""
        if not self._sure:
            self.refresh()

    def _show(self, noted: Update) -> None:
        versions = [replace(v, **noted.set) if v.id == noted.row.id else v for v in self.situation.versions]
        self.situation = replace(self.situation, versions=versions)

    # steps

    @contextmanager
    def step(self, verb: Subject, row_id: str) -> Iterator[None]:
        """Around a step of the rotation, or of the retirement, with this id."""
        rows = [r for r in (self.situation.rotation, *self.situation.retirements) if r is not None and r.id == row_id]
        self._step = Doing(
            kind="step",
            name=verb.value,
            credential=self.managed.name,
            rotation=next((row.id for row in rows if isinstance(row, Rotation)), None),
            retirement=next((row.id for row in rows if isinstance(row, Retirement)), None),
            attempt=rows[0].attempt if rows else 0,
        )
        began = self.around.monotonic()
        try:
            with self.around.doing(self._step):
                yield
        finally:
            self._step = None
            self.tally.step_took(verb.value, self.around.monotonic() - began)

    @property
    def turn(self) -> Doing:
        """What is done outside of any step: while a rotation is open, it is for that."""
        rotation = self.situation.rotation
        return Doing(kind="turn", name="turn", credential=self.managed.name, rotation=rotation.id if rotation else None)

    # calls

    def call(self, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one outbound call within its budget, under a lease that will outlast it.

        Raises LostAnswer where the budget is over: the call may still take effect, so the lease is then not
        released but left to expire.
        """
        with self._telling(do):
            return self._call(lambda: do(*args, **kwargs), lambda: None)

    def ask(self, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """One call to the provider, within its budget and at the pace of its account.

        Raises RateLimited, having sent nothing, where the account's turn does not come within a call's budget.
        """
        named = getattr(do, "__name__", "call")
        self._wait_for_turn(self.provider.capabilities.requests.get(named, 1))
        self.asked = True
        status = "bug"
        try:
            with self._telling(do, self.managed.provider_name):
                answer = self._call(lambda: do(*args, **kwargs), self.pace.leave)
            status = answer.verdict.value if isinstance(answer, Answer) else "ok"
        except RotatorError as error:
            status = error.reason
            if isinstance(error, RateLimited) and error.retry_after is not None:
                self._hold_account(error.retry_after)
            if isinstance(error, Unavailable | LostAnswer | AccessDenied | WrongAccount):
                self.blamed = error
            raise
        else:
            return answer
        finally:
            self.tally.called(self.managed.provider_name, named, status)

    def with_use(self, key: Key) -> Key:
        """A listed key with its last use, as far as the provider tells it. Asks only where lists do not say."""
        return self.ask(self.provider.with_use, key) if isinstance(self.provider, Dates) else key

    def _telling(self, do: Callable[..., Any], provider: str | None = None) -> AbstractContextManager[object]:
        within = self._step or self.turn
        named = getattr(do, "__qualname__", type(do).__name__)
        return self.around.doing(replace(within, kind="call", name=named, provider=provider))

    def _wait_for_turn(self, requests: int) -> None:
        end = self.around.monotonic() + self.limits.call_budget.total_seconds()
        while wait := self.pace.enter(requests):
            if self.around.monotonic() + wait > end or self.around.stopping():
                message = f"calls to {self.managed.provider_name} have to wait for their turn"
                raise RateLimited(message, retry_after=wait)
            self.around.pause(min(wait, 0.25))

    def _hold_account(self, seconds: float) -> None:
        """The account asked for a pause: every worker that begins a turn hears of it."""
        seconds = min(seconds, LONGEST.total_seconds())
        self.pace.hold(seconds)
        now = self.now()
        until = now + timedelta(seconds=seconds)

        def later(row: Account) -> Account:
            known = row.not_before if ahead(row.not_before, now, LONGEST) else None
            return replace(row, not_before=max(until, known or until))

        self.store.note_account(self.managed.provider_name, later)

    def _call(self, do: Callable[[], T], ended: Callable[[], None]) -> T:
        budget = self.limits.call_budget.total_seconds()

        def has_ended() -> None:
            with self._counting:
                self._running -= 1
            ended()

        try:
            self._keep_lease(budget)
        except BaseException:
            ended()
            raise
        latest = self.around.monotonic() + budget

        def send() -> T:
            if self.around.monotonic() > latest:  # SIGSTOP, or a machine that slept: others may have it by now
                message = "this process was stopped for longer than a call may take; nothing was sent"
                raise StaleLease(message)
            return do()

        with self._counting:
            self._running += 1
        return self.around.threads.within(budget, send, has_ended)

    @contextmanager
    def noting_late_calls(self, *, answered: bool = False) -> Iterator[None]:
        """Around a call that would hurt if it took effect late. After a lost answer it may, for one more budget.

        That is noted on the lease, as after taking over an expired one: `outwait_late_calls` of every later
        step waits for it, of this worker and of the next. `answered`: also after an answer, since the network may
        deliver such a request once more.
        """
        try:
            yield
        except LostAnswer:
            self._fence()
            raise
        if answered:
            self._fence()

    def _fence(self) -> None:
        try:
            now = self.store.now()
        except StoreUnavailable:  # by our own clock then: the lost answer must be what the caller hears of
            left = timedelta(seconds=self._trusted_until - self.around.monotonic())
            now = self._lease.until - left
        with self._renewing:
            self._lease = replace(self._lease, fenced_at=now)

    def outwait_late_calls(self) -> None:
        """Raise TemporaryError while a call of an expired worker, or of ours without an answer, may take effect."""
        if self._lease.fenced_at is None:
            return
        wait = (self._lease.fenced_at + self.limits.call_budget - self.now()).total_seconds()
        if wait > 0:
            message = "an earlier call got no answer and may still take effect"
            raise TemporaryError(message, reason="fenced", retry_after=wait)

    @property
    def calls_ended(self) -> bool:
        """Whether every call made under the lease has come back."""
        return self._running == 0

    def still_ours(self) -> None:
        """Renew the lease and read the rows anew; StaleLease where it is ours no more."""
        with self._renewing:
            self._renew()
        self.refresh()

    def _keep_lease(self, seconds: float) -> None:
        """Renew until the lease is good for so long: a renewal may itself be answered late."""
        with self._renewing:
            while self._trusted_until - self.around.monotonic() <= seconds:
                self._renew()

    def _renew(self) -> None:
        started = self.around.monotonic()
        self._lease = self.store.renew(self._lease, self.limits.lease)
        self._trusted_until = started + self.limits.lease.total_seconds()

    # keys

    def kept(self, version: Version) -> Material | None:
        """The unsealed material of a version, if it is on record. Unsealed once for each time the lease is held."""
        material = self._unsealed.get(version.id) or self.store.material(version.id)
        if material is not None:
            self._unsealed[version.id] = material
        return material

    def material(self, version: Version) -> Material:
        """The unsealed material of a version. Raises PermanentError where it is not kept."""
        material = self.kept(version)
        if material is None:
            message = f"the value of version {version.number} is not on record"
            raise PermanentError(message, reason="no_material", remedy="rotate to a new key instead")
        return material

    def identify(self, material: Material) -> str | None:
        """The id of a key; None where the provider does not know it."""
        found = self.ask(self.provider.identify, material)
        return self.id_to_keep(found) if found is not None else None

    def id_to_keep(self, key_id: str) -> str:
        """A key's id as rows and events may have it.

        One that is made from the value is hashed once more, with the pepper: else whoever reads the database could try
        out what a person may have chosen.
        """
        if not self.provider.capabilities.ids_from_values:
            return key_id
        kind, _, _ = key_id.partition("-")
        return f"{kind}-{self.fingerprint(Secret(key_id))[:12]}"

    def authenticate(self, version: Version, material: Material) -> Answer:
        """Ask the provider about a key, and note that this use of it was ours.

        The note is recorded with the next record, or at the end of the turn. If it is lost in a crash, our use counts
        as a consumer's: the key is held longer than it needs to be.
        """
        answer = self.ask(self.provider.authenticate, material)
        if answer.verdict is Verdict.INCONCLUSIVE and answer.retry_after is None:
            self.blamed = Unavailable(answer.why or "the provider did not say")
        changes: dict[str, Any] = {"checked_at": self.now()}
        if answer.identity is not None and version.identity is None:
            changes["identity"] = answer.identity
        with self._recording:
            self._noted.append(Update(version, changes))
            self._show(self._noted[-1])
        return answer

    def may_be_unlisted(self, version: Version) -> bool:
        """Whether a version is so young that the provider's lists may not have its key yet."""
        return self.now() < (version.sent_at or version.current_at or version.created_at) + self.managed.settle

    def facts(self, version: Version) -> dict[str, str]:
        """The public facts that templates may name."""
        return {
            "key_id": version.key_id or "",
            "version": str(version.number),
            "fingerprint": version.fingerprint or "",
        }

    def run_hook(self, hook: Hook, target: Target, version: Version) -> None:
        """Run a hook of a place for a version, within a call's budget. Raises TemporaryError where it fails."""
        occasion = Occasion(
            credential=self.managed.name,
            address=target.destination.address,
            facts=self.facts(version),
            material=self.material(version),
        )
        self.call(hook.run, occasion)

    # records

    def record(self, writes: Sequence[Write], events: Sequence[NewEvent]) -> None:
        """Commit under the lease and read the rows anew."""
        for write in writes:
            if isinstance(write, Seal | DropSealed):
                self._unsealed.pop(write.version_id, None)
        counts = [*self.tally.take(), *_closing(self.managed.provider_name, writes)]
        with self._recording:
            known, all_writes = self._sure, [*self._noted, *writes, *counts]
            self._sure = False
            try:
                self.store.record(self._lease, all_writes, events)
            except StaleLease:
                self._noted.clear()
                raise
            self._noted.clear()
            of = self.credential.id
            self._see(self.store.reload(self._lease, self.situation, all_writes) if known else self.store.load(of))

    @contextmanager
    def acting_for(self, actor: str) -> Iterator[None]:
        """What is done in the block is another's doing, in the trail and on the rows."""
        around = self.around
        self.around = replace(around, actor=actor)
        try:
            yield
        finally:
            self.around = around

    def record_notes(self) -> None:
        """Commit what was only noted, if it can be: it is not worth a failure."""
        if self._noted:
            with suppress(StaleLease, StoreUnavailable):
                self.record([], [])

    def record_surely(self, writes: Sequence[Write], events: Sequence[NewEvent], done: Callable[[], bool]) -> None:
        """Commit what must not be lost while the lease lasts, though the database falters.

        `done` looks at the refreshed rows: a commit whose answer was lost is not repeated.
        """
        while True:
            try:
                return self.record(writes, events)
            except StoreUnavailable:
                if self._trusted_until - self.around.monotonic() < 1:
                    raise
            self.around.pause(0.2)
            try:
                self.refresh()
            except StoreUnavailable:
                continue
            if done():
                return None

    def event(
        self,
        subject: Subject,
        outcome: Outcome,
        *,
        version: VersionId | None = None,
        destination: str | None = None,
        attempt: int | None = None,
        reason: str | None = None,
        **detail: Any,
    ) -> NewEvent:
        """An event about this credential; the version's number and key id are filled in from the rows."""
        found = self.situation.version(version) if version else None
        rotation = self.situation.rotation
        return NewEvent(
            event=name(subject, outcome),
            actor=self.around.actor,
            credential=self.managed.name,
            rotation=rotation.id if rotation else None,
            version=found.number if found else None,
            key_id=found.key_id if found else None,
            destination=destination,
            attempt=attempt,
            reason=reason,
            detail=detail,
        )

    # waiting

    def wait(self, row: Waiter, verb: Subject, until: datetime, reason: str, message: str) -> None:
        """Note a planned wait: no attempt is burnt."""
        since = row.since if row.reason == reason else self.now()
        changes = {"not_before": until, "reason": reason, "message": message, "remedy": None, "since": since}
        if row.reason == reason and row.not_before is not None and row.not_before >= self.now():
            return  # already known; nothing new to tell
        self.record(
            [Update(row, changes)],
            [self._told(row, verb, Outcome.DELAYED, row.attempt, reason, message)],
        )

    def await_person(self, row: Waiter, verb: Subject, message: str, remedy: str) -> None:
        """Note that only a person can go on. No failure, so no attempt is burnt; told once for the same message."""
        known = row.reason == AWAITING
        changes = {
            **MOVING,
            "blocked": True,
            "reason": AWAITING,
            "message": message,
            "remedy": remedy,
            "since": row.since if known and row.since else self.now(),
        }
        told = self._told(row, verb, Outcome.BLOCKED, 1, AWAITING, message)
        self.record([Update(row, changes)], [] if known and row.message == message else [told])

    def failed(self, row: Waiter, verb: Subject, error: RotatorError) -> None:
        """Note why a step did not come about: with a time to try again, or blocked for a person."""
        now = self.now()
        attempt = row.attempt + 1
        changes: dict[str, Any] = {
            "attempt": attempt,
            "reason": error.reason,
            "message": error.message,
            "remedy": error.remedy,
            "since": row.since if row.since and _goes_on(row.reason, error.reason) else now,
        }
        if isinstance(error, PermanentError):
            resume = f"then `rotator resume {self.managed.name}`"
            remedy = f"{error.remedy}; {resume}" if error.remedy and "rotator" not in error.remedy else error.remedy
            changes |= {"not_before": None, "blocked": True, "remedy": remedy or resume}
            outcome = Outcome.BLOCKED
        else:
            retry_after = error.retry_after if isinstance(error, TemporaryError) else None
            pause = self.limits.back_off(attempt, self.around.chance(), retry_after)
            changes |= {"not_before": now + pause, "blocked": False}
            outcome = Outcome.DELAYED
        told = self._told(row, verb, outcome, attempt, error.reason, error.message)
        # A wait of days is one line, and a few more: at the 2nd, 4th, 8th … attempt for the same reason.
        repeats = outcome is Outcome.DELAYED and row.reason == error.reason and attempt & (attempt - 1)
        retry = [Count("retries", (verb.value, error.reason))] if outcome is Outcome.DELAYED else []
        self.record([Update(row, changes), *retry], [] if repeats else [told])

    def _told(self, row: Waiter, verb: Subject, outcome: Outcome, attempt: int, reason: str, message: str) -> NewEvent:
        version: VersionId | None
        destination = None
        if isinstance(row, Retirement):
            version = row.version_id
        else:
            version = self.situation.rotation.target_id if self.situation.rotation else None
        if isinstance(row, Delivery):
            destination = row.to
        event = self.event(
            verb, outcome, version=version, destination=destination, attempt=attempt, reason=reason, message=message
        )
        return replace(event, rotation=None) if isinstance(row, Retirement) else event


def _closing(provider: str, writes: Sequence[Write]) -> Iterator[Count]:
    """The rotations that these writes close."""
    for write in writes:
        if isinstance(write, Update) and isinstance(write.row, Rotation):
            state = write.set.get("state")
            if state in (RotationState.COMPLETED, RotationState.ABANDONED):
                yield Count("rotations", (provider, write.row.cause.value, state.value))


def _goes_on(before: str | None, now: str) -> bool:
    """Whether it is still the same that a row waits for: that another consumer holds the key is no new hold."""
    return before == now or {before, now} <= HOLDS
