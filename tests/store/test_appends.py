"""Many processes append to one trail at once, and it does not fork. `make appends` is the long run."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta

import pytest

from rotator.domain.model import Lease
from rotator.ports.store import NewEvent
from rotator.store.holder import this_process
from rotator.store.store import open_store
from rotator.verifier.trail import verify_store
from tests.store.conftest import NewUrl, Stores, new_id

WRITERS = 8
APPENDS = int(os.environ.get("APPENDS", "50"))


def append(url: str, writer: int) -> None:
    """One process: every event is a transaction of its own, of statements and of a record in turn."""
    store = open_store(url, new_id=new_id)
    credential = store.credential(f"w{writer}")
    assert credential is not None
    lease = store.claim(credential.id, this_process(credential.name), timedelta(hours=1))
    assert isinstance(lease, Lease)
    for number in range(APPENDS):
        event = NewEvent(event="push.succeeded", actor=credential.name, attempt=number)
        if number % 2:
            store.note([event])
        else:
            store.record(lease, [], [event])
    store.close()


@pytest.mark.timeout(0 if APPENDS > 1000 else 300)
@pytest.mark.parametrize("new_url", ["postgres"], indirect=True)
def test_eight_writers_make_one_trail(new_url: NewUrl, opened: Stores) -> None:
    url = new_url()
    store = opened(url)
    store.enroll({f"w{writer}": "openai" for writer in range(WRITERS)}, "test")
    before = store.head()[0]
    began = time.monotonic()
    with ProcessPoolExecutor(WRITERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        writers = [pool.submit(append, url, writer) for writer in range(WRITERS)]
    took = time.monotonic() - began
    assert [str(problem) for writer in writers if (problem := writer.exception())] == []
    found = verify_store(store)
    print(f"\n{WRITERS} writers appended {APPENDS} events each in {took:.1f} s; {found.count} events verified")  # noqa: T201
    assert (found.count, found.problem) == (before + WRITERS * APPENDS, None)
