"""One process of the service: each of its calls takes a moment, passes the baton, and may meet a fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from rotator.domain.errors import LostAnswer, RateLimited, Unavailable
from rotator.domain.model import CredentialId
from rotator.engine.work import Managed
from tests.simulation.baton import Actor
from tests.simulation.faults import EMPHASIS, OF_CALL, RARE, RARE_FACTOR, Fault
from tests.simulation.world import World

T = TypeVar("T")

LATEST = 7200.0
"""Seconds after which a call that got no answer takes effect at the latest."""

NO_ANSWER = "no answer, or one that says nothing"

DOING = frozenset({"create", "set", "disable", "enable", "delete", "write", "reload", "shadow", "remove"})
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
        self.every = 0.0  # seconds between its looks at a credential; 0: whenever something is ready
        self.dead = False
        self.lives = 0
        self.wrong_account = False
        self.host_jump = timedelta(0)
        self.began = 0.0  # when the step in hand began
        self.managed: Mapping[str, Managed] = {}
        self.epochs: dict[CredentialId, int] = {}
        self.seen: dict[
            tuple[str, str], tuple[float, dict[str, str]]
        ] = {}  # credential, place → when read, what was there
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

    def begin_life(self) -> None:
        """A process starts, and remembers nothing."""
        self.dead, self.lives, self.step = False, self.lives + 1, "take in"
        self.seen, self.accepted = {}, {}

    def crash(self) -> None:
        """End this life here."""
        self.dead = True
        self.world.oracle.trace(f"{self.name} crashes")
        raise CrashedError

    def fault(self, call: str) -> Fault | None:
        """Draw what goes wrong with a call."""
        world = self.world
        if world.forced and call in world.forced:
            return world.forced.pop(call)
        rate = self._rates[call] * (RARE_FACTOR if self.step in RARE else 1)
        if world.random.random() >= rate or world.calm:
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
        self,
        call: str,
        do: Callable[[], T],
        *,
        moment: float = 0.5,
        bound: float | None = None,
        meddle: Callable[[], None] | None = None,
    ) -> T:
        """One call of a port, which takes up to a moment and may meet a fault.

        `bound` limits by how many seconds it may take effect later than it was made; `meddle` is what a person does
        to its object just after.
        """
        self.alive()
        fault = self.fault(call)
        self.world.baton.pause(self.world.random.random() * moment)
        if fault is None:
            return do()
        self.met(fault, call)
        if fault is Fault.DROPPED:
            return None  # type: ignore[return-value]  # the acknowledgement of disable, delete and write
        self._before(fault, call, do, bound)
        result = do()
        if fault is Fault.MEDDLED and meddle is not None:
            meddle()
        self._after(fault, call, do, bound)
        return result

    def _before(self, fault: Fault, call: str, do: Callable[[], object], bound: float | None) -> None:
        """What goes wrong before anything is done."""
        random = self.world.random
        match fault:
            case Fault.CRASH_BEFORE:
                self.crash()
            case Fault.FAILED:
                raise LostAnswer(NO_ANSWER) if call == "create" else Unavailable(NO_ANSWER)
            case Fault.RATE_LIMITED:
                raise RateLimited(NO_ANSWER, retry_after=random.uniform(1, 120))
            case Fault.LATE:
                longest = bound if bound is not None else (LATEST if random.random() < 0.3 else 120.0)
                seconds = random.uniform(min(self.world.budget.total_seconds(), longest), longest)
                raise OverrunError(seconds, do if call in DOING else lambda: None)
            case Fault.FROZEN_BEFORE if bound is not None:
                self.world.baton.pause(random.uniform(0, bound))
            case Fault.FROZEN_BEFORE:
                self.stall()
            case Fault.OUTAGE_BEFORE:
                self.world.database_goes_down()
            case _:
                pass

    def _after(self, fault: Fault, call: str, do: Callable[[], object], bound: float | None) -> None:
        """What goes wrong once it is done."""
        match fault:
            case Fault.CRASH_AFTER:
                self.crash()
            case Fault.FROZEN_AFTER:
                self.stall()
            case Fault.LOST:
                raise LostAnswer(NO_ANSWER) if call in DOING else Unavailable(NO_ANSWER)
            case Fault.TWICE:
                within = 0.9 * self.world.budget.total_seconds()  # of its sending; what is fenced may come when it will
                self.world.later(self.world.random.uniform(0, min(bound, within) if bound is not None else 300), do)
            case Fault.OUTAGE_AFTER:
                self.world.database_goes_down()
            case _:
                pass

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
            raise LostAnswer(NO_ANSWER) from None
        except BaseException:
            ended()
            raise
        ended()
        if baton.now - began > seconds and self.world.random.random() < 0.5:
            raise LostAnswer(NO_ANSWER)
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
