"""`rotate --rehearse`: everything but the switch, and no trace of it, wherever it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from rotator.domain.model import Cause
from rotator.engine import rehearsal, stopwatch
from rotator.engine.engine import Progress, Wish
from rotator.wiring import Seam
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import Consumer, Place
from tests.engine.test_guards import reason
from tests.engine.test_iam import Deployer, deployer  # noqa: F401 - a fixture


def rehearse(place: Place, name: str = "web", *, patience: float = 10, seam: Seam | None = None) -> Progress:
    """As `rotate --rehearse` does it."""
    with place.service(seam) as service:
        engine = service.running()
        with engine.hold(name) as work:
            rehearsal.begin(work, "drill")
        done = engine.run([name], Wish(cause=Cause.REHEARSAL), timedelta(seconds=patience))[name]
    if place.bugs:
        raise place.bugs[0]
    if done.trouble is not None:
        raise done.trouble
    return done


def listing(web: OpenAIWeb) -> Any:
    """Everything that stands in the folder of the paths, old versions included."""
    folder = web.paths[0].rpartition("/")[0]
    names = web.client.secrets.kv.v2.list_secrets(folder)["data"]["keys"]
    read = web.client.secrets.kv.v2.read_secret_metadata
    return {name: read(f"{folder}/{name}")["data"]["versions"].keys() for name in names}


def test_a_rehearsal_does_everything_but_the_switch_and_leaves_no_trace(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    keys, stands, current = web.live(), listing(web), web.place.status("web")["current"]
    web.place.events.clear()
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        rehearse(web.place)
    assert (web.live(), listing(web)) == (keys, stands)
    assert consumer.dead == 0
    assert len(web.emulator.creates) == 2
    status = web.place.status("web")
    assert (status["status"], status["previous"], status["current"]["key_id"]) == ("ok", [], current["key_id"])
    told = [e["event"] for e in web.place.events if e["destination"] is None]
    assert told == [
        "rehearsal.started",
        "create.started",
        "create.succeeded",
        "authenticate.succeeded",
        "push.succeeded",
        "verify.succeeded",
        "retirement.started",
        "drain.succeeded",
        "delete.started",
        "delete.succeeded",
        "retirement.succeeded",
        "rehearsal.succeeded",
    ]
    assert web.place.told("remove.started", "remove.succeeded") == ["remove.started", "remove.succeeded"] * 2
    web.place.verified()
