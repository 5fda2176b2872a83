"""SIGKILL before and after every call to the outside and every commit of a rotation, found by counting.

`make crash-matrix` tries every point; the plain test run tries every 25th, so that a new step is met all the same.
"""

from __future__ import annotations

import functools
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from rotator.testbed.aws import Aws
from rotator.testbed.gate import Gate
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.testbed.openbao import OpenBao
from rotator.wiring import Seam
from tests.engine.place import Consumer, Place
from tests.engine.test_iam import Deployer
from tests.engine.test_kill import Fleet, until_quiet
from tests.processes import forked

T = TypeVar("T")

STRIDE = int(os.environ.get("CRASH_STRIDE", "25"))

CALLS = {
    "provider": ("account", "create", "set", "authenticate", "keys", "disable", "delete"),
    "destination": ("read", "preflight", "write"),
    "store": ("claim", "renew", "record", "find", "clear", "release", "pass_ended"),
}


class KilledAt(Seam):
    """Counts the moments before and after each call, and kills this process at the n-th."""

    def __init__(self, moment: int) -> None:
        self._left = moment
        self._counting = threading.Lock()

    def wrap(self, port: T, kind: str) -> T:
        for name in CALLS[kind]:
            call = getattr(port, name, None)
            if call is not None:
                object.__setattr__(port, name, self._counted(call))
        return port

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self._moment()
            result = call(*args, **kwargs)
            self._moment()
            return result

        return counted

    def _moment(self) -> None:
        with self._counting:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def rotate_and_die(file: str, moment: int) -> None:
    """A process that rotates everything, and dies at that moment; exit status 0 where there is no such moment."""
    from rotator import wiring
    from rotator.config import load
    from rotator.domain.model import Cause
    from rotator.engine.engine import Wish

    with wiring.opened(load(Path(file)), wiring.surroundings(), seam=KilledAt(moment)) as service:
        service.running().run(list(service.managed), Wish(cause=Cause.MANUAL), timedelta(seconds=20))


def moments(place: Place) -> Iterator[int]:
    """Kill at one moment after the other; ends when a run was not killed."""
    for moment in itertools.count(1, STRIDE):
        process = forked.Process(target=rotate_and_die, args=(str(place.file), moment))
        process.start()
        process.join(60)
        yield moment
        if process.exitcode == 0:
            return
        assert process.exitcode == -signal.SIGKILL


@pytest.mark.timeout(3600)
def test_no_crash_point_loses_a_key_or_an_answer(
    place: Place, openai: OpenAIEmulator, openbao: OpenBao, gate_to: Callable[[str], Gate]
) -> None:
    fleet = Fleet(place, openai, openbao, gate_to)
    place.rotate()
    tried = 0
    with Consumer([fleet.works, fleet.env_works]) as consumer:
        for moment in moments(place):
            openai.drain()
            until_quiet(fleet, moment)
            tried += 1
    print(f"{tried} crash points, {consumer.seen} looks, {consumer.dead} dead")  # noqa: T201 - the figure of `make crash-matrix`
    assert consumer.dead == 0
    assert tried > 100 // STRIDE
    place.verified()
    fleet.client.adapter.close()


@pytest.mark.timeout(3600)
def test_no_crash_point_fills_the_slots_of_a_user(embedded: Place, aws: Aws, gate_to: Callable[[str], Gate]) -> None:
    embedded.engine = {"lease": "3s", "call_budget": "1s", "workers": 4}
    embedded.policy["max_creates_per_day"] = 1000
    deployer = Deployer(embedded, aws, gate_to(aws.url))
    embedded.rotate(patience=10)
    tried = 0
    with Consumer([deployer.works]) as consumer:
        for moment in moments(embedded):
            for _ in range(5):
                embedded.rotate(patience=5)
                status = embedded.status("deployer")
                if status["status"] == "ok":
                    break
            assert status["status"] == "ok", (moment, embedded.explain("deployer"))
            assert deployer.listed() == {status["current"]["key_id"]: "Active"}, (moment, embedded.explain("deployer"))
            assert deployer.works() is True
            tried += 1
    print(f"{tried} crash points, {consumer.seen} looks, {consumer.dead} dead")  # noqa: T201 - the figure of `make crash-matrix`
    assert consumer.dead == 0
    embedded.verified()
    deployer.iam.close()
    deployer.manager.close()
