"""The readers of a place: they hold what they read last, read anew when they are told, and do not always take to it."""

from __future__ import annotations

from rotator.domain.errors import TemporaryError
from rotator.ports.hook import Occasion
from tests.simulation.worker import Worker
from tests.simulation.world import Place


class _AtPlace:
    """What both hooks of a place are made of."""

    def __init__(self, worker: Worker, place: Place) -> None:
        self.worker = worker
        self.world = worker.world
        self.place = place

    def trouble(self) -> str | None:
        """None is seen beforehand."""
        return None


class Reload(_AtPlace):
    """Implements `ports.hook.Hook`: the readers of a place read what stands there."""

    name = "reload"

    def run(self, occasion: Occasion) -> None:
        self.worker.call("reload", self._read)

    def _read(self) -> None:
        world, place = self.world, self.place
        world.oracle.trace(f"the readers of {place.name} read anew")
        for value in place.fields.values():
            place.heard[value] = world.baton.now
        place.ill_until = 0.0
        if not world.calm and world.random.random() < 0.2:
            place.ill_until = world.baton.now + world.random.expovariate(1 / 3600)


class Probe(_AtPlace):
    """Implements `ports.hook.Hook`: whether they work."""

    name = "probe"

    def run(self, occasion: Occasion) -> None:
        self.worker.call("probe", self._ask)

    def _ask(self) -> None:
        world = self.world
        blinks = world.random.random() < 0.1
        if not world.calm and (blinks or world.baton.now < self.place.ill_until):
            message = "503"
            raise TemporaryError(message)
