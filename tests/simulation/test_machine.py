"""The same world, driven by Hypothesis: what it finds, it makes as short as it can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.simulation.episode import BugError, Episode
from tests.simulation.faults import OF_CALL, PROFILES, Coverage, Fault
from tests.simulation.oracle import ViolationError
from tests.simulation.people import People
from tests.simulation.stores import STORES
from tests.simulation.worker import CrashedError, Worker

QUIET = replace(PROFILES["calm"], name="machine", workers=(2, 2))
"""Nothing happens by chance: the machine says what goes wrong, and when."""

FAULTS = [(call, fault) for call, faults in OF_CALL.items() for fault in faults]
VERBS: list[Callable[[People, Worker, str], None]] = [
    People.rotate_now, People.abandon, People.resume, People.compromised,
    People.urge, People.go_back, People.pause, People.settle_drift, People.tidy,
]  # fmt: skip


class Machine(RuleBasedStateMachine):
    """Turns of two workers, faults, time, verbs and hands, in any order; then calm, and all must be well."""

    @initialize(seed=some.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.play = Episode(f"machine {seed}", QUIET, Coverage(), STORES["memory"])
        self.play.begin()

    @contextmanager
    def judged(self) -> Iterator[None]:
        """A violation is a failure like any other, so that Hypothesis looks for a shorter way to it."""
        try:
            yield
        except (ViolationError, BugError) as problem:
            message = f"{problem}\n{self.play.oracle.story()}"
            raise AssertionError(message) from problem

    @rule(number=some.integers(0, 1), name=some.integers(0, 1))
    def turn(self, number: int, name: int) -> None:
        worker, names = self.play.workers[number], sorted(self.play.settings)
        with self.judged():
            if worker.dead:
                worker.begin_life()
            try:
                engine = self.play.engine(worker)
                progress = engine.turn(names[name % len(names)], None, self.play.world.database_time())
            except CrashedError:
                return
            self.play.look_at(progress)

    @rule(fault=some.sampled_from(FAULTS))
    def next_call_fails(self, fault: tuple[str, Fault]) -> None:
        call, how = fault
        self.play.world.forced[call] = how

    @rule(seconds=some.sampled_from((1, 30, 120, 700, 3700)))
    def time_passes(self, seconds: int) -> None:
        with self.judged():
            self.play.world.baton.pause(seconds)

    @rule(verb=some.sampled_from(VERBS), name=some.integers(0, 1))
    def somebody_commands(self, verb: Callable[[People, Worker, str], None], name: int) -> None:
        names = sorted(self.play.settings)
        with self.judged():
            bound = getattr(self.play.people, verb.__name__)
            self.play.people.command(bound, names[name % len(names)])

    @rule()
    def somebody_meddles(self) -> None:
        with self.judged():
            self.play.people.meddle()

    @rule()
    def a_clock_jumps(self) -> None:
        self.play.people.set_clock()

    def teardown(self) -> None:
        if not hasattr(self, "play"):
            return
        self.play.world.forced.clear()
        try:
            with self.judged():
                self.play.end()
        finally:
            self.play.world.baton.end()


def test_no_short_story_violates_anything() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
