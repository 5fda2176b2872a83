"""Many processes append to one trail at once, and it does not fork. `make appends` is the long run."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor

import pytest

from rotator.ports.store import NewEvent
from rotator.store.store import open_store
from rotator.verifier.trail import verify_store
from tests.store.conftest import NewUrl, Stores, new_id

WRITERS = 8
APPENDS = int(os.environ.get("APPENDS", "50"))


def append(url: str, writer: int) -> None:
    """One process: every event is a transaction of its own."""
    store = open_store(url, new_id=new_id)
    for number in range(APPENDS):
        store.note([NewEvent(event="push.succeeded", actor=f"writer-{writer}", attempt=number)])
    store.close()


@pytest.mark.timeout(0 if APPENDS > 1000 else 300)
@pytest.mark.parametrize("new_url", ["postgres"], indirect=True)
def test_eight_writers_make_one_trail(new_url: NewUrl, opened: Stores) -> None:
    url = new_url()
    store = opened(url)
    began = time.monotonic()
    with ProcessPoolExecutor(WRITERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(append, [url] * WRITERS, range(WRITERS)))
    took = time.monotonic() - began
    found = verify_store(store)
    print(f"\n{WRITERS} writers appended {APPENDS} events each in {took:.1f} s; {found.count} events verified")  # noqa: T201
    assert (found.count, found.problem) == (1 + WRITERS * APPENDS, None)
