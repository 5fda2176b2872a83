"""Many plays, one after the other; each has its own seed and replays by itself."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tests.simulation.episode import BugError, Episode
from tests.simulation.faults import PROFILES, Coverage, Profile
from tests.simulation.oracle import ViolationError
from tests.simulation.stores import STORES

PLAY = 40
"""Rotations of one play."""

TRAILS = 20
"""Of so many plays in memory one has its trail written out and verified: the chain is the store's, not the engine's."""


@dataclass
class Report:
    """What so many rotations met."""

    rotations: int = 0
    plays: int = 0
    abandoned: int = 0
    seconds: float = 0.0
    coverage: Coverage = field(default_factory=Coverage)

    @property
    def rate(self) -> float:
        """Rotations for each second of processor time."""
        return self.rotations / self.seconds if self.seconds else 0.0

    def add(self, other: Report) -> None:
        """Count another run in."""
        self.rotations += other.rotations
        self.plays += other.plays
        self.abandoned += other.abandoned
        self.seconds += other.seconds
        self.coverage.reached.update(other.coverage.reached)

    def line(self) -> str:
        """The figures."""
        faults = sum(self.coverage.reached.values())
        return (
            f"{self.rotations} rotations in {self.plays} plays, {self.abandoned} abandoned, {faults} faults, "
            f"{self.coverage.share:.1%} of step and fault; {self.rate:.0f} rotations/s of processor time"
        )


class FoundError(Exception):
    """A play went wrong: its seed, the end of its story, and how many rotations it took to find."""

    def __init__(
        self, seed: int, store: str, profile: str, problem: BaseException, story: str, rotations: int, each: int
    ) -> None:
        super().__init__(seed, store, profile, problem, story, rotations, each)
        self.told = (
            f"{problem!r}\n{story}\nreplay: make simulate SEED={seed} ROTATIONS={each} STORE={store} PROFILE={profile}"
        )
        self.seed = seed
        self.problem = problem
        self.rotations = rotations

    def __str__(self) -> str:
        return self.told


def simulate(
    seed: int,
    rotations: int,
    store: str = "memory",
    profile: str | Profile = "everything",
    *,
    play_length: int = PLAY,
) -> Report:
    """Play until so many rotations are completed. Raises FoundError at the first play that goes wrong.

    A play ends after `play_length` rotations: what happens only once in each is met more often in short ones.
    """
    mix = PROFILES[profile] if isinstance(profile, str) else profile
    report, began, each = Report(), time.process_time(), min(play_length, rotations)
    while report.rotations < rotations:
        play = Episode(f"{seed + report.plays}", mix, report.coverage, STORES[store])
        try:
            play.run(each)
            if store != "memory" or report.plays % TRAILS == 0:
                play.verify_trail()
        except (Exception, BugError, ViolationError) as problem:
            completed = report.rotations + play.oracle.completed
            story = play.oracle.story()
            raise FoundError(seed + report.plays, store, mix.name, problem, story, completed, each) from problem
        report.plays += 1
        report.rotations += play.oracle.completed
        report.abandoned += play.oracle.abandoned
        report.seconds = time.process_time() - began
    return report


__all__ = ["FoundError", "Report", "ViolationError", "simulate"]
