"""The end of a leaked key: tried until the provider refuses it, and told with the time of each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rotator.domain.model import Cause
from rotator.domain.secret import Material
from rotator.domain.usage import HOUR, Sample, begin
from rotator.engine.incident import Incident, incidents
from rotator.ports.provider import Answer, Verdict
from rotator.testbed.openai_emulator import OpenAIEmulator
from tests.engine.place import Place
from tests.engine.test_guards import Patched
from tests.engine.test_iam import Deployer, deployer  # noqa: F401 - a fixture
from tests.engine.test_revoke import Web, web  # noqa: F401 - a fixture


def leaks(place: Place, name: str) -> list[Incident]:
    with place.service(unlock=False) as service:
        credential = service.store.credential(name)
        assert credential is not None
        return incidents(service.store.events(credential=name), service.store.samples(credential.id))


def accepts(times: int) -> Patched:
    """The provider accepts disabled keys for this many tries more."""
    left = [times]

    def make(authenticate: Callable[[Material], Answer]) -> Callable[[Material], Answer]:
        def slow(material: Material) -> Answer:
            answer = authenticate(material)
            if answer.verdict is Verdict.REFUSED and left[0]:
                left[0] -= 1
                return replace(answer, verdict=Verdict.ACCEPTED, why=None)
            return answer

        return slow

    return Patched("provider", authenticate=make)


def compromised(place: Place, name: str, **wished: Any) -> None:
    assert place.rotate(name, now=True, cause=Cause.COMPROMISED, patience=10, **wished)[name].completed


def test_a_disabled_key_is_tried_until_it_is_refused(deployer: Deployer) -> None:  # noqa: F811 - the fixture
    place = deployer.place
    deployer.write(soak="1h")
    place.rotate()
    old = next(iter(deployer.listed()))
    compromised(place, "deployer", because="INC-7")
    place.rotate(patience=2)
    assert deployer.listed()[old] == "Inactive"
    row = place.status("deployer")["previous"][0]
    assert (row["state"], row["reason"], row["step"]) == ("disabled", "soak", "delete")
    assert place.told("confirm.succeeded", "confirm.delayed") == ["confirm.succeeded"]
    (leak,) = leaks(place, "deployer")
    assert (leak.version, leak.key_id, leak.known_by.endswith("INC-7")) == (1, old, True)
    times = (timedelta(0), leak.current_after, leak.ended_after, leak.refused_after)
    assert None not in times
    assert list(times) == sorted(times)  # type: ignore[type-var] # none of them is None
    place.verified()


def test_one_that_is_accepted_still_is_revoked_and_not_yet_confirmed(deployer: Deployer) -> None:  # noqa: F811
    place = deployer.place
    deployer.write(soak="1h")
    place.rotate()
    compromised(place, "deployer", seam=accepts(1000))
    place.rotate(patience=1, seam=accepts(1000))
    row = place.status("deployer")["previous"][0]
    assert (row["state"], row["reason"], row["step"]) == ("disabled", "not_confirmed", "confirm")
    assert "the provider does not refuse it yet" in row["message"]
    (leak,) = leaks(place, "deployer")
    assert (leak.ended_after is None, leak.refused_after) == (False, None)
    assert [mark.done for mark in leak.marks if mark.step == "confirm"] == [False]
    place.rotate(patience=3)
    assert place.status("deployer")["previous"][0]["reason"] == "soak"
    (leak,) = leaks(place, "deployer")
    assert leak.refused_after is not None
    assert "next step is delete" in place.explain("deployer")


def test_its_soak_ends_also_where_it_was_never_refused(deployer: Deployer) -> None:  # noqa: F811
    place = deployer.place
    deployer.write(soak="1s")
    place.rotate()
    old = next(iter(deployer.listed()))
    compromised(place, "deployer", seam=accepts(1000))
    place.rotate(patience=4)
    place.rotate(patience=4)
    assert old not in deployer.listed()
    (leak,) = leaks(place, "deployer")
    assert leak.marks[-1].note == "not listed and refused"


def test_a_deleted_key_that_works_for_a_while_is_not_forgotten(web: Web, openai: OpenAIEmulator) -> None:  # noqa: F811
    place = web.place
    place.rotate()
    value = web.value()
    assert value is not None
    openai.delete_lag = 2.0
    compromised(place, "web")
    place.rotate(patience=0.2)
    (leak,) = leaks(place, "web")
    assert openai.accepts(value)
    assert leak.refused_after is None
    assert place.status("web")["previous"][0]["reason"] == "not_confirmed"
    place.rotate(patience=6)
    assert not openai.accepts(value)
    (leak,) = leaks(place, "web")
    assert leak.refused_after is not None
    assert leak.refused_after >= timedelta(seconds=1.5)


@pytest.mark.parametrize("told", [True, False])
def test_who_used_it_between_the_leak_and_its_end_is_told(web: Web, told: bool) -> None:  # noqa: F811
    place = web.place
    place.rotate()
    key = place.status("web")["current"]["key_id"]
    compromised(place, "web")
    place.rotate(patience=3)
    with place.service(unlock=False) as service:
        credential, now = service.store.credential("web"), service.store.now()
        assert credential is not None
        hour = Sample(key_id=key, at=begin(now, HOUR), width=HOUR, service="completions", requests=12, ours=not told)
        long_ago = replace(hour, at=hour.at - 3 * HOUR, requests=5)
        service.store.keep_samples(credential.id, [hour, long_ago], now)
    (leak,) = leaks(place, "web")
    used = [line for line in leak.used if "requests" in line]
    assert used == ([f"12 requests by completions, in the hour from {hour.at:%Y-%m-%d %H:%M} UTC"] if told else [])


def test_a_key_that_was_only_superseded_is_no_leak(web: Web) -> None:  # noqa: F811
    web.place.rotate()
    web.place.rotate("web", now=True)
    web.place.rotate(patience=3)
    assert leaks(web.place, "web") == []
