"""The store in memory keeps every promise of the port."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from rotator.ports.store import Store
from tests.contracts.store import StoreContract, VirtualClock
from tests.simulation.memory import MemoryStore


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def fresh_store(self, clock: VirtualClock) -> Callable[[], Store]:
        return lambda: MemoryStore(clock=clock, new_id=lambda: str(uuid4()))
