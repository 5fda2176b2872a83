"""What comes back from a call that ran in a thread of its own."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from rotator.domain.errors import Refused, RotatorError
from rotator.engine.threads import Threads
from rotator.providers.openai import OpenAI
from rotator.testbed.gate import Answer, Gate, Lose
from rotator.testbed.openai_emulator import OpenAIEmulator
from tests.conftest import Canaries


def called(do: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as told:  # noqa: PT011 - whichever it is, it is looked through
        Threads().within(5, do, lambda: None)
    return told.value


def held(problem: BaseException) -> Iterator[object]:
    """All that a crash reporter could find: exceptions of the chain, what hangs on them, and the locals of frames."""
    each: BaseException | None = problem
    while each is not None:
        yield from (each, each.args, vars(each), *vars(each).values())
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if "rotator" in frame.f_code.co_filename and "threads.py" not in frame.f_code.co_filename:
                yield from frame.f_locals.values()
        each = each.__cause__ or each.__context__


@pytest.mark.parametrize("fault", [Lose(), Answer(401), Answer(500)], ids=str)
def test_a_problem_of_an_adapter_carries_no_request(
    openai: OpenAIEmulator, gate_to: Callable[[str], Gate], fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = gate_to(openai.url.removesuffix("/v1"))
    monkeypatch.setenv("ADMIN", openai.admin_key)
    settings = OpenAI.Settings.model_validate({"admin_key": "env:ADMIN", "base_url": gate.url + "/v1"})
    adapter = OpenAI(settings, timedelta(seconds=5))
    provider = adapter.bind(
        OpenAI.Options.model_validate({"project": openai.project, "service_account": openai.service_account})
    )
    gate.on(lambda _request: True, fault, times=None)
    problem = called(provider.keys)
    adapter.close()
    assert isinstance(problem, RotatorError)
    found = list(held(problem))
    assert not [one for one in found if isinstance(one, httpx.Request | httpx.Response | httpx.HTTPError)]
    assert not Canaries(openai.admin_key).found_in(repr(found))


def test_no_frame_of_a_bug_keeps_its_locals() -> None:
    def first(secret: str) -> None:
        raise ValueError(len(secret))

    def call() -> None:
        try:
            first("a secret in a local")
        except ValueError:
            second = "another one"
            raise KeyError(len(second)) from None

    problem: BaseException | None = called(call)
    places = []
    while problem is not None:
        for frame, line in traceback.walk_tb(problem.__traceback__):
            if frame.f_code.co_name in ("first", "call"):
                places.append((frame.f_code.co_name, line))
                assert frame.f_locals == {} or "secret" not in repr(frame.f_locals)
        problem = problem.__context__
    assert {name for name, _ in places} == {"first", "call"}, "where it happened is still known"


def test_our_problems_come_without_what_led_to_them() -> None:
    def call() -> None:
        try:
            httpx.get("http://127.0.0.1:1/?secret", trust_env=False)
        except httpx.ConnectError:
            message = "no"
            raise Refused(message) from None

    problem = called(call)
    assert problem.__context__ is None
    assert problem.__cause__ is None
