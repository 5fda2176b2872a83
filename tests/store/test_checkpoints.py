"""Checkpoints are signed in time, stand in the trail, and are of exactly the events before them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from rotator.domain.errors import SetupError
from rotator.domain.secret import Secret
from rotator.ports.store import NewEvent
from rotator.store.checkpoints import SignedCheckpoints
from rotator.store.signing import Signer, new_seed
from rotator.store.store import SqlStore
from rotator.verifier.notes import Checkpoint, VerifierKey
from rotator.verifier.trail import verify_store
from tests.contracts.store import HOUR, MINUTE, VirtualClock
from tests.store.conftest import NewUrl, Stores

EVENTS = 10


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(new_url: NewUrl, opened: Stores, clock: VirtualClock) -> SqlStore:
    return opened(new_url(), clock)


@pytest.fixture
def signer() -> Signer:
    return Signer(Secret(new_seed()), "keyturn/test")


@pytest.fixture
def checkpoints(store: SqlStore, signer: Signer) -> SignedCheckpoints:
    return SignedCheckpoints(store.database, lambda: signer, events=EVENTS, every=HOUR)


def happen(store: SqlStore, times: int) -> None:
    store.note([NewEvent(event="push.succeeded", actor="test") for _ in range(times)])


def size(store: SqlStore) -> int:
    found = store.last_checkpoint()
    return found.size if found else 0


def test_the_first_pass_signs_what_is_there(store: SqlStore, signer: Signer, checkpoints: SignedCheckpoints) -> None:
    assert store.last_checkpoint() is None
    checkpoints.keep_up("test")
    found = store.last_checkpoint()
    assert found is not None
    assert (found.size, found.at) == (1, store.now())
    Checkpoint.parse(found.note).check([VerifierKey.parse(signer.verifier_key)])
    assert verify_store(store).checkpoints == 1


def test_one_is_signed_after_so_many_events(store: SqlStore, checkpoints: SignedCheckpoints) -> None:
    checkpoints.keep_up("test")
    happen(store, EVENTS - 1)
    checkpoints.keep_up("test")
    assert size(store) == 1
    happen(store, 1)
    checkpoints.keep_up("test")
    assert size(store) == 1 + 1 + EVENTS
    assert verify_store(store).checkpoints == 2


def test_one_is_signed_after_an_hour_also_when_nothing_happens(
    store: SqlStore, clock: VirtualClock, checkpoints: SignedCheckpoints
) -> None:
    checkpoints.keep_up("test")
    clock.advance(HOUR - MINUTE)
    checkpoints.keep_up("test")
    assert size(store) == 1
    clock.advance(MINUTE)
    checkpoints.keep_up("test")
    clock.advance(HOUR)
    checkpoints.keep_up("test")
    assert size(store) == 3
    assert verify_store(store).checkpoints == 3


def test_a_clock_that_was_put_back_does_not_end_it(
    store: SqlStore, clock: VirtualClock, checkpoints: SignedCheckpoints
) -> None:
    clock.advance(timedelta(days=300))
    checkpoints.keep_up("test")
    clock.advance(timedelta(days=-299))
    checkpoints.keep_up("test")
    assert size(store) == 2


def test_of_many_workers_one_signs(store: SqlStore, checkpoints: SignedCheckpoints) -> None:
    happen(store, EVENTS)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(checkpoints.keep_up, ["test"] * 24))
    assert store.head()[0] == 1 + EVENTS + 1


def test_one_can_be_had_at_any_time(store: SqlStore, checkpoints: SignedCheckpoints) -> None:
    happen(store, 3)
    asked = checkpoints.sign("test")
    assert asked.size == 4
    assert checkpoints.sign("test") == asked == store.last_checkpoint()


def test_without_its_key_nothing_is_signed(store: SqlStore) -> None:
    def missing() -> Signer:
        message = "cannot read the secret"
        raise SetupError(message)

    checkpoints = SignedCheckpoints(store.database, missing, events=EVENTS, every=HOUR)
    with pytest.raises(SetupError, match="cannot read"):
        checkpoints.keep_up("test")
    assert store.head()[0] == 1
