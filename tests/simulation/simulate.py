"""Many plays, one after the other; each has its own seed and replays by itself."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from rotator.domain.secret import Secret
from rotator.store import schema
from rotator.store.sealing import AesGcmSealer, new_key
from rotator.store.store import SqlStore, open_store

from tests.simulation.episode import BugError, Episode, OpenStore
from tests.simulation.faults import PROFILES, Coverage, Profile
from tests.simulation.memory import MemoryStore
from tests.simulation.oracle import ViolationError
from tests.simulation.world import START, World

PLAY = 25
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

    def line(self) -> str:
        """The figures."""
        faults = sum(self.coverage.reached.values())
        return (
            f"{self.rotations} rotations in {self.plays} plays, {self.abandoned} abandoned, {faults} faults, "
            f"{self.coverage.share:.1%} of step × fault, 0 violations; {self.rate:.0f} rotations/s of processor time"
        )


class FoundError(Exception):
    """A play went wrong: its seed, and the end of its story."""

    def __init__(self, seed: int, store: str, profile: str, problem: BaseException, story: str) -> None:
        super().__init__(
            f"{problem!r}\n{story}\nreplay: make simulate SEED={seed} ROTATIONS={PLAY} STORE={store} PROFILE={profile}"
        )
        self.seed = seed
        self.problem = problem


def in_memory(world: World) -> OpenStore:
    """A fresh store in memory."""
    return MemoryStore(clock=world.database_time, new_id=world.new_id, dead=lambda _: False)


class OnSqlite:
    """A fresh SQLite file for each play, copied from one that was set up once."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="simulation-")
        self._empty = Path(self._folder.name) / "empty.db"
        self._sealer = AesGcmSealer(Secret(new_key()))
        self._open: SqlStore | None = None

    def __call__(self, world: World) -> OpenStore:
        if not self._empty.exists():
            schema.upgrade(f"sqlite:///{self._empty}", "test", lambda: "simulation", lambda: START)
        if self._open is not None:
            self._open.close()
        path = self._empty.with_name("play.db")
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(self._empty, path)
        url = f"sqlite:///{path}"
        self._open = open_store(url, new_id=world.new_id, sealer=self._sealer, clock=world.database_time)
        return self._open


STORES: dict[str, Callable[[World], OpenStore]] = {"memory": in_memory, "sql": OnSqlite()}


def simulate(
    seed: int,
    rotations: int,
    store: str = "memory",
    profile: str | Profile = "everything",
    *,
    told: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Play until so many rotations are completed. Raises FoundError at the first play that goes wrong."""
    mix = PROFILES[profile] if isinstance(profile, str) else profile
    report, began = Report(), time.process_time()
    while report.rotations < rotations:
        play = Episode(f"{seed + report.plays}", mix, report.coverage, STORES[store])
        try:
            play.run(min(PLAY, rotations))
            if store != "memory" or report.plays % TRAILS == 0:
                play.verify_trail()
        except (Exception, BugError, ViolationError) as problem:
            raise FoundError(seed + report.plays, store, mix.name, problem, play.oracle.story()) from problem
        report.plays += 1
        report.rotations += play.oracle.completed
        report.abandoned += play.oracle.abandoned
        report.seconds = time.process_time() - began
        told(report)
    return report


__all__ = ["FoundError", "Report", "ViolationError", "simulate"]
