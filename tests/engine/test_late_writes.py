"""What docs/model found: a write, or a deletion, that has not happened when it is believed to have, or happens late."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from rotator.engine import operator
from rotator.ports.provider import Answer, Verdict
from rotator.testbed.gate import Refuse
from tests.engine.conftest import OpenAIWeb
from tests.engine.test_guards import NO_WRITES, Crash, Patched
from tests.engine.test_iam import Deployer, deployer  # noqa: F401 - a fixture
from tests.engine.test_rotation import is_write


def first_does_nothing(method: Callable[..., Any]) -> Callable[..., Any]:
    """The first call is acknowledged, with the revision that it was conditional on, and does not happen."""
    lies: list[bool] = []

    def write(fields: Mapping[str, Any], expected: str, token: str) -> Any:
        if not lies:
            lies.append(True)
            return expected
        return method(fields, expected, token)

    return write


def then_die(method: Callable[..., Any]) -> Callable[..., Any]:
    """The write takes effect, and nobody is told."""

    def write(fields: Mapping[str, Any], expected: str, token: str) -> Any:
        method(fields, expected, token)
        raise Crash

    return write


def _no_answer(_material: object) -> Answer:
    return Answer(verdict=Verdict.INCONCLUSIVE)


def test_a_put_back_whose_write_did_not_happen_is_written_again_though_the_value_is_right(
    web_embedded: OpenAIWeb,
) -> None:
    web = web_embedded
    web.place.rotate()
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=0.5)
    with web.place.service() as service, service.running().hold("web") as work:
        operator.abandon(work)
    web.vault_gate.clear()
    web.place.rotate(patience=10, seam=Patched("destination", write=first_does_nothing))
    for number, writes in enumerate((3, 2)):  # the first place was given the abandoned key, too
        found = web.client.secrets.kv.v2.read_secret_version(web.paths[number], raise_on_deleted_version=True)
        assert found["data"]["metadata"]["version"] == writes
    assert "verify.failed" in web.place.told()
    assert web.works(0) is True
    assert web.works(1) is True


def test_a_first_key_is_kept_while_a_write_of_it_may_still_reach_an_empty_place(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate(patience=1, seam=NO_WRITES)
    first = web.live()
    assert len(first) == 1
    with web.place.service() as service, service.running().hold("web") as work:
        operator.abandon(work)
    web.place.rotate(patience=1, seam=NO_WRITES)
    assert first[0] in web.live()
    assert web.place.status("web")["previous"][0]["reason"] == "destination_missing"
    web.place.rotate(patience=10)  # the next key is written there, and a late write of the first one fails
    assert web.live() == [web.place.status("web")["current"]["key_id"]]
    assert first[0] not in web.live()


def test_a_first_key_that_was_given_to_nobody_goes_at_once(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate(patience=0.5, seam=Patched("provider", authenticate=lambda _: _no_answer))
    first = web.live()
    assert len(first) == 1
    with web.place.service() as service, service.running().hold("web") as work:
        operator.abandon(work)
    web.place.rotate(patience=2, seam=NO_WRITES)
    assert first[0] not in web.live()


def test_an_abandoned_key_is_kept_while_a_place_that_was_removed_may_serve_it(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    old = web.live()
    with pytest.raises(Crash):
        web.place.rotate("web", now=True, seam=Patched("destination", write=then_die))
    web.write(paths=web.paths[:1])
    with web.place.service() as service, service.running().hold("web") as work:
        operator.abandon(work)
    web.place.rotate(patience=10)
    assert web.works(1) is True
    assert web.place.status("web")["previous"][0]["reason"] == "destination_removed"
    with web.place.service() as service, service.running().hold("web") as work:
        operator.forget_destination(work, "second", "nobody reads there")
        operator.resume(work)
    web.place.rotate(patience=10)
    assert web.live() == old


def test_a_disabled_key_counts_as_deleted_when_it_is_listed_no_more(deployer: Deployer) -> None:  # noqa: F811
    place = deployer.place
    place.rotate(patience=10)
    old = next(iter(deployer.listed()))
    lies = Patched("provider", delete=lambda _: lambda _key: None)
    place.rotate("deployer", now=True, patience=10, seam=lies)
    for _ in range(20):
        if any(event["reason"] == "not_confirmed" for event in place.events):
            break
        place.rotate(patience=1, seam=lies)
    assert deployer.listed()[old] == "Inactive"
    assert "delete.succeeded" not in place.told()
    place.rotate(patience=10)
    assert old not in deployer.listed()
