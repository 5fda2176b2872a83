"""Both databases keep every promise of the port, PostgreSQL also to a role that owns nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rotator.ports.store import Store
from tests.contracts.store import StoreContract, VirtualClock
from tests.store.conftest import NewUrl, Stores


class TestSqlStore(StoreContract):
    @pytest.fixture
    def fresh_store(
        self, new_url: NewUrl, opened: Stores, as_application: Callable[[str], str], clock: VirtualClock
    ) -> Callable[[], Store]:
        return lambda: opened(new_url(), clock, as_application)
