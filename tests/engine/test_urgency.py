"""`--without`, `--overwrite` and `--end-soak`: what a person may add where `--now` or `--compromised` would wait."""

from __future__ import annotations

import pytest

from rotator.domain.errors import SetupError
from rotator.domain.model import Cause
from rotator.testbed.gate import Refuse
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import Consumer
from tests.engine.test_going_back import LONG, held, soaking
from tests.engine.test_guards import reason
from tests.engine.test_iam import Deployer, deployer  # noqa: F401 - a fixture
from tests.engine.test_rotation import is_write


@pytest.mark.parametrize("cause", [Cause.COMPROMISED, Cause.MANUAL])
def test_an_unreachable_place_does_not_keep_the_old_key_alive_where_a_person_says_so(
    web: OpenAIWeb, cause: Cause
) -> None:
    web.write(policy=LONG if cause is Cause.COMPROMISED else {})
    web.place.rotate()
    old = web.live()
    with Consumer([lambda: web.works(0)]) as consumer:
        with web.vault_gate.down():
            done = web.place.rotate(
                "web", now=True, cause=cause, without=["second"], because="host is dead", patience=5
            )
            assert done["web"].completed
        assert not set(old) & set(web.live())
        states = {row["to"]: row["state"] for row in web.place.status("web")["destinations"]}
        assert states == {"first": "current", "second": "previous"}
        assert web.works(1) is False, "that is what the person was asked to agree to"
        web.place.rotate(patience=5)
    assert consumer.dead == 0
    assert web.works(1) is True
    assert web.value(1) == web.value(0)
    assert reason(web.place) == ("ok", None)
    assert len(web.emulator.creates) == 2
    told = next(e for e in web.place.events if e["event"] == "rotation.started" and e["detail"].get("without"))
    assert told["detail"]["because"] == "host is dead"
    web.place.verified()


def test_the_place_that_was_left_out_is_written_first_when_it_answers(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    with web.vault_gate.down():
        web.place.rotate("web", now=True, without=["second"], patience=5)
    web.place.events.clear()
    web.place.rotate(patience=5)
    pushed = [e["destination"] for e in web.place.events if e["event"] == "push.started"]
    assert pushed == ["second"]


def test_without_frees_a_rotation_that_is_open_and_stuck(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    old = web.live()[0]
    web.vault_gate.on(is_write, Refuse(), times=None)
    assert not web.place.rotate("web", now=True, patience=1)["web"].completed
    assert web.place.rotate("web", now=True, without=["second"], patience=5)["web"].completed
    assert old not in web.live()
    assert "without.succeeded" in web.place.told()
    web.vault_gate.clear()
    web.place.rotate(patience=5)
    assert web.works(1) is True


def test_a_second_leak_is_not_held_up_by_the_place_that_is_still_owed_the_first_key(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    with web.vault_gate.down():
        for creates in (2, 3):
            done = web.place.rotate("web", now=True, cause=Cause.COMPROMISED, without=["second"], patience=5)
            assert done["web"].completed
            assert len(web.emulator.creates) == creates
            assert web.live() == [web.place.status("web")["current"]["key_id"]]
    web.place.rotate(patience=5)
    assert web.value(1) == web.value(0)


def test_other_old_keys_still_wait_for_the_place_that_was_left_out(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    with web.vault_gate.down():
        web.place.rotate("web", now=True, without=["second"], patience=5)
        second = web.live()[0]
        web.place.rotate("web", now=True, patience=1)
        assert second in web.live()


def test_a_place_that_the_credential_does_not_have_cannot_be_left_out(web_embedded: OpenAIWeb) -> None:
    web_embedded.place.rotate()
    trouble = web_embedded.place.rotate("web", now=True, without=["third"])["web"].trouble
    assert isinstance(trouble, SetupError)
    assert trouble.reason == "unknown_destination"


def test_somebody_elses_value_is_overwritten_where_a_person_says_so(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.put("sk-somebody-else", 1)
    assert not web.place.rotate("web", now=True, cause=Cause.COMPROMISED, patience=6)["web"].completed
    assert reason(web.place) == ("blocked", "foreign")
    assert web.value(1) == "sk-somebody-else"
    done = web.place.rotate("web", now=True, cause=Cause.COMPROMISED, overwrite=True, because="leak", patience=5)
    assert done["web"].completed
    assert web.works(1) is True
    told = next(e for e in web.place.events if e["event"] == "replace.succeeded")
    assert (told["destination"], told["detail"]["because"]) == ("second", "leak")


def test_now_ends_a_soak_only_where_a_person_says_so(deployer: Deployer) -> None:  # noqa: F811
    old, _ = soaking(deployer)
    refused = deployer.place.rotate("deployer", now=True, patience=6)["deployer"]
    assert refused.decision is not None
    assert getattr(refused.decision, "reason", None) == "slot_in_retirement"
    assert old in deployer.listed()
    with Consumer([deployer.works]) as consumer:
        assert deployer.place.rotate("deployer", now=True, end_soak=True, patience=10)["deployer"].completed
    assert consumer.dead == 0
    assert old not in deployer.listed()
    assert "end_soak.succeeded" in deployer.place.told()


def test_a_leak_ends_the_soak_of_our_own_disabled_key_by_itself(deployer: Deployer) -> None:  # noqa: F811
    old, current = soaking(deployer)
    assert deployer.place.rotate("deployer", now=True, cause=Cause.COMPROMISED, patience=10)["deployer"].completed
    assert old not in deployer.listed()
    with held(deployer.place, "deployer") as work:
        leaked = next(v for v in work.situation.versions if v.key_id == current)
        assert leaked.compromised_at is not None
