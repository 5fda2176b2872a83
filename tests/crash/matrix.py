"""One line of the crash matrix: every moment of one act in one world goes wrong in one way; then all must be well."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from rotator import wiring
from rotator.domain.errors import RotatorError
from tests.crash.acts import ACTS, interrupted, killed_after
from tests.crash.points import no_answer
from tests.crash.worlds import World
from tests.engine.place import Consumer

TRIES = 3
"""How often in a row the same thing goes wrong at the same moment, before it goes right again."""

KILLS = 100
"""How many moments of a run's time are tried."""

IN_A_ROW = 5
"""How many of them come before everything has to settle."""

GOLDEN = 0.6180339887
"""Multiples of it, without their whole part, are spread evenly however many there are."""

RENEWED = 100
"""After so many moments another credential takes the place of the first: `max_creates_per_day` has its limits."""

BETWEEN_LOOKS = 0.05
"""Seconds between two looks of the consumer."""


@dataclass
class Figures:
    """What one line of the matrix measured."""

    points: int = 0
    kills: int = 0
    unanswered: int = 0
    looks: int = 0
    dead: int = 0
    violations: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Line:
    """Runs one line. Every `stride`-th moment from `offset` on is tried."""

    def __init__(self, world: World, act: str, *, stride: int = 1, offset: int = 0) -> None:
        self.world = world
        self.act = act
        self.stride = stride
        self.offset = offset
        self.figures = Figures()
        self._open = ExitStack()
        self._service: wiring.Service | None = None

    def run(self, mode: str) -> Figures:
        """One of the modes below; each has a docstring."""
        modes: dict[str, Callable[[], Iterator[str]]] = {
            "killed": self._killed,
            "killed_anytime": self._killed_anytime,
            "killed_thrice": self._killed_thrice,
            "killed_twice": self._killed_twice,
            "unanswered": self._unanswered,
        }
        with self._open:
            self._begin()
            with Consumer(self.world.looks(), BETWEEN_LOOKS) as consumer:
                for moment in modes[mode]():
                    self._recover(moment)
            self.figures.looks, self.figures.dead = consumer.seen, consumer.dead
            self.world.place.verified()
        return self.figures

    @property
    def service(self) -> wiring.Service:
        """The service in this process that recovers."""
        assert self._service is not None
        return self._service

    def _begin(self) -> None:
        """A credential that was rotated once."""
        self.world.fresh()
        self._reopen()
        self.world.settle(self.service)

    def _reopen(self) -> None:
        self._open.close()
        self._service = self._open.enter_context(self.world.standing())

    # modes: each yields a moment's label once everything has gone wrong there

    def _killed(self) -> Iterator[str]:
        """Once, at one moment after the other, until a run is not killed any more."""
        at = 1 + self.offset
        while (label := self._kill(at)) is not None:
            yield label
            at += self.stride

    def _killed_thrice(self) -> Iterator[str]:
        """At the same moment of three tries in a row."""
        for label in self._labels():
            self._prepare()
            for _ in range(TRIES):
                self._kill(label, prepared=True)
            yield label

    def _killed_anytime(self) -> Iterator[str]:
        """By the clock, so also amid a call; several times in a row."""
        self._kill_after(None)  # this one also starts the server that forks
        began = time.monotonic()
        self._kill_after(None)
        lasts = time.monotonic() - began
        for row in range(KILLS // IN_A_ROW // self.stride):
            for place in range(IN_A_ROW):
                share = (row + place / IN_A_ROW) * GOLDEN % 1
                while not self._kill_after(lasts * share):
                    lasts *= 0.9  # it was quicker this time
            yield f"row {row + 1}"

    def _killed_twice(self) -> Iterator[str]:
        """At one moment of the first run, and at one of the run that recovers: every pair."""
        for number, first in enumerate(self._labels()):
            self._kill(first)
            seconds = self._count("go_on")
            self._recover(first)
            for second in seconds[number % self.stride :: self.stride]:
                self._kill(first)
                self._kill(second, act="go_on", prepared=True)
                yield f"{first}, then {second}"

    def _unanswered(self) -> Iterator[str]:
        """The request is lost, or its answer: in a process that lives on."""
        at = 1 + self.offset
        while (label := self._strike(at)) is not None:
            yield label
            at += self.stride

    # one moment

    def _kill(self, at: int | str, *, act: str | None = None, prepared: bool = False) -> str | None:
        if not prepared:
            self._prepare()
        place = self.world.place
        label = interrupted(place.file, self.world.name, act or self.act, at, place.folder / "moment")
        self.world.issuer.drain()  # what a dead client sent takes effect within its budget: the protocol relies on it
        self.figures.kills += label is not None
        return label

    def _kill_after(self, seconds: float | None) -> bool:
        killed = killed_after(seconds, self.world.place.file, self.world.name, self.act)
        self.world.issuer.drain()
        self.figures.kills += killed
        return killed

    def _strike(self, at: int | str, times: int = 1) -> str | None:
        self._prepare()
        points = self.world.points
        points.arm(at, no_answer, times)
        self._do(self.act)
        passed, struck = points.passed, points.struck
        points.disarm()
        self.figures.unanswered += struck
        if isinstance(at, int):
            return passed[at - 1] if struck else None
        return at

    def _labels(self) -> list[str]:
        """The distinct moments of the act when nobody disturbs it; `stride` and `offset` choose among them."""
        self._prepare()
        return self._count(self.act)[self.offset :: self.stride]

    def _count(self, act: str) -> list[str]:
        self.world.points.arm(None, no_answer)
        self._do(act)
        return list(dict.fromkeys(self.world.points.passed))

    def _do(self, act: str) -> None:
        with contextlib.suppress(RotatorError):  # a daemon would log it; the next pass goes on
            ACTS[act](self.service, self.world.name)

    def _prepare(self) -> None:
        """What the act begins with."""
        if self.act == "abandon":
            self._until_pushed()
        elif self.act == "adopt":
            self.world.fresh(by_hand=True)
            self._reopen()
        elif self.figures.points % RENEWED == RENEWED - 1:
            self._begin()

    def _until_pushed(self) -> None:
        world = self.world
        world.points.arm(_PUSHED, lambda _kind, _label: world.stop.set())
        self._do("rotate")
        world.stop.clear()
        world.points.disarm()
        if world.quiet(self.service):
            self.figures.violations.append("the rotation was not stopped once it had pushed")

    def _recover(self, moment: str) -> None:
        self.figures.points += 1
        if self.act == "adopt":
            self._do("adopt")  # whoever was interrupted does it again
        self.world.settle(self.service)
        found = self.world.violations(self.service)
        self.figures.violations += [f"{moment}: {violation}" for violation in found]
        self.world.place.bugs.clear()


_PUSHED = "after store.record[push.succeeded]"
