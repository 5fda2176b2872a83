"""What hooks are run for in these tests."""

from __future__ import annotations

import pytest

from rotator.domain.secret import Material
from rotator.ports.hook import Occasion
from tests.conftest import Canaries


@pytest.fixture
def occasion(canary: Canaries) -> Occasion:
    return Occasion(
        credential="web",
        address="env-file:/srv/web/.env",
        facts={"key_id": "key_7", "version": "7", "fingerprint": "0a1b"},
        material=Material.of(secret=canary()),
    )
