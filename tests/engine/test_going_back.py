"""Going back: roll-back, reactivation, and what a person takes away; on real servers, with a consumer that polls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rotator.domain.errors import LostAnswer, SetupError, Unavailable
from rotator.domain.model import Cause
from rotator.engine import operator, reactivation
from rotator.engine.rollback import rollback
from rotator.engine.work import Work
from rotator.ports.provider import Answer as Verdicts
from rotator.ports.provider import Verdict
from rotator.testbed.gate import Refuse
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import Consumer, Place
from tests.engine.test_guards import Crash, On, Patched, reason
from tests.engine.test_iam import Deployer, deployer  # noqa: F401 - a fixture
from tests.engine.test_rotation import is_write

LONG = {"grace": "1h", "soak": "1h"}


@contextmanager
def held(place: Place, name: str = "web") -> Iterator[Work]:
    with place.service() as service, service.running().hold(name) as work:
        yield work


def refusal(do: Callable[[], object]) -> str:
    with pytest.raises(SetupError) as told:
        do()
    return told.value.reason


def rotated_twice(web: OpenAIWeb, **policy: str) -> tuple[str, str]:
    """The ids of the old key, which lives on for an hour, and of the current one."""
    web.write(policy={**LONG, **policy})
    web.place.rotate()
    old = web.live()[0]
    web.place.rotate("web", now=True)
    return old, next(k for k in web.live() if k != old)


def soaking(deployer: Deployer) -> tuple[str, str]:  # noqa: F811 - a fixture's value
    """The ids of the old key, which is disabled for an hour, and of the current one."""
    deployer.write(soak="1h")
    deployer.place.rotate(patience=10)
    old = next(iter(deployer.listed()))
    deployer.place.rotate("deployer", now=True, patience=10)
    deployer.place.rotate(patience=5)
    assert deployer.listed()[old] == "Inactive"
    return old, next(k for k in deployer.listed() if k != old)


# roll-back


def test_a_roll_back_makes_the_previous_key_current_everywhere_and_takes_the_bad_one_away(web: OpenAIWeb) -> None:
    old, bad = rotated_twice(web)
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        with held(web.place) as work:
            rollback(work, because="the new one lacks a scope")
        web.place.rotate(patience=8)
    assert consumer.dead == 0
    status = web.place.status("web")
    assert status["current"]["key_id"] == old
    assert [(v["key_id"], v["step"]) for v in status["previous"]] == [(bad, "drain")]
    assert web.value(0) == web.value(1)
    assert {row["state"] for row in status["destinations"]} == {"current"}
    assert len(web.emulator.creates) == 2
    told = next(e for e in web.place.events if e["event"] == "rollback.succeeded")
    assert (told["key_id"], told["detail"]["because"]) == (old, "the new one lacks a scope")
    web.place.verified()


def test_a_roll_back_does_not_move_the_schedule(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    rotated_twice(web)
    due = web.place.status("web")["next_rotation_at"]
    with held(web.place) as work:
        rollback(work)
    web.place.rotate(patience=8)
    assert web.place.status("web")["next_rotation_at"] == due


def test_rolling_back_twice_changes_one_thing_once(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    rotated_twice(web)
    for _ in range(2):
        with held(web.place) as work:
            rollback(work)
    assert web.place.told().count("rollback.succeeded") == 1


@pytest.mark.parametrize("event", ["create.succeeded", "authenticate.succeeded", "push.succeeded", "verify.succeeded"])
def test_a_roll_back_that_dies_in_any_step_is_gone_on_with(web_embedded: OpenAIWeb, event: str) -> None:
    web = web_embedded
    old, _ = rotated_twice(web)
    with held(web.place) as work:
        rollback(work)

    def die() -> None:
        raise Crash

    events = web.place.events
    web.place.events = On(event, die)
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        with pytest.raises(Crash):
            web.place.rotate("web", patience=5)
        web.place.events = events
        web.place.rotate(patience=8)
    assert consumer.dead == 0
    assert web.place.status("web")["current"]["key_id"] == old
    web.place.verified()


def test_a_roll_back_may_be_given_up_and_the_old_key_goes_where_it_was_going(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    old, current = rotated_twice(web)
    web.vault_gate.on(is_write, Refuse(), times=None)
    with held(web.place) as work:
        rollback(work)
    web.place.rotate(patience=1)
    assert web.value(0) != web.value(1)
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        with held(web.place) as work:
            operator.abandon(work)
        web.vault_gate.clear()
        web.place.rotate(patience=5)
    assert consumer.dead == 0
    status = web.place.status("web")
    assert status["current"]["key_id"] == current
    assert [(v["key_id"], v["step"]) for v in status["previous"]] == [(old, "drain")]
    assert web.value(0) == web.value(1)


def test_a_roll_back_to_a_key_that_is_dead_is_given_up_before_it_is_pushed(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    old, current = rotated_twice(web)
    web.emulator.revoke(old)
    pushes = web.place.told().count("push.started")
    with held(web.place) as work:
        rollback(work)
    web.place.rotate(patience=5)
    assert web.place.status("web")["current"]["key_id"] == current
    assert web.place.told().count("push.started") == pushes


def test_nothing_is_taken_away_while_it_is_on_its_way_back(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    old, _ = rotated_twice(web, grace="1s", soak="0s")
    web.vault_gate.on(is_write, Refuse(), times=None)
    with held(web.place) as work:
        rollback(work)
    web.place.rotate(patience=3)
    assert old in web.live()


def test_a_disabled_key_is_enabled_and_tried_before_it_is_pushed(deployer: Deployer) -> None:  # noqa: F811
    old, bad = soaking(deployer)
    with Consumer([deployer.works]) as consumer:
        with held(deployer.place, "deployer") as work:
            rollback(work)
        deployer.place.rotate(patience=8)
    assert consumer.dead == 0
    assert deployer.body()["AWS_ACCESS_KEY_ID"] == old
    assert deployer.listed() == {old: "Active", bad: "Inactive"}
    names = ("rollback.succeeded", "enable.started", "enable.succeeded", "push.started", "promote.succeeded")
    assert deployer.place.told(*names)[-5:] == list(names)
    deployer.place.verified()


def test_a_roll_back_is_refused_with_its_reason(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    with held(web.place) as work:
        assert refusal(lambda: rollback(work)) == "no_previous"
    old, current = rotated_twice(web)
    web.gate.on(lambda r: r.method == "POST", Refuse(), times=None)
    web.place.rotate("web", now=True, patience=6)
    with held(web.place) as work:
        assert refusal(lambda: rollback(work)) == "rotating"
        operator.abandon(work)
        assert refusal(lambda: rollback(work, to=7)) == "unknown_key"
        assert refusal(lambda: rollback(work, to=2)) == "current_key"
        operator.compromised(work, old, None)
        assert refusal(lambda: rollback(work)) == "compromised"
        assert refusal(lambda: reactivation.reactivate(work)) == "compromised"
    assert web.place.status("web")["current"]["key_id"] == current


def test_a_key_that_is_being_deleted_does_not_come_back(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    rotated_twice(web, grace="1s", soak="0s")
    refuse = Patched("provider", delete=lambda _: unavailable)
    web.place.rotate(patience=2, seam=refuse)
    assert "delete.started" in web.place.told()
    with held(web.place) as work:
        assert refusal(lambda: rollback(work)) == "too_late"
        assert refusal(lambda: reactivation.reactivate(work)) == "too_late"


def unavailable(*_: object) -> Any:
    message = "not now"
    raise Unavailable(message)


def test_a_leak_of_the_key_that_is_on_its_way_back_gives_the_roll_back_up(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    old, current = rotated_twice(web)
    web.vault_gate.on(is_write, Refuse(), times=None)
    with held(web.place) as work:
        rollback(work)
    web.place.rotate(patience=1)
    web.vault_gate.clear()
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        web.place.rotate("web", now=True, cause=Cause.COMPROMISED, key=old, patience=5)
        web.place.rotate(patience=3)
    assert consumer.dead == 0
    assert web.live() == [current]


# reactivate


def test_a_reactivated_key_lives_until_another_becomes_current(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    old, _ = rotated_twice(web, grace="2s", soak="0s")
    with held(web.place) as work:
        reactivation.reactivate(work, because="a reader was forgotten")
    web.place.rotate(patience=4)
    assert old in web.live()
    assert web.place.status("web")["previous"][0]["step"] is None
    assert web.place.status("web")["status"] == "ok"
    web.place.rotate("web", now=True)
    web.place.rotate(patience=5)
    assert web.live() == [web.place.status("web")["current"]["key_id"]]


def test_a_disabled_key_is_enabled_when_a_person_wants_it_back(deployer: Deployer) -> None:  # noqa: F811
    old, current = soaking(deployer)
    for _ in range(2):
        with held(deployer.place, "deployer") as work:
            reactivation.reactivate(work, key=old)
        deployer.place.rotate(patience=5)
    assert deployer.listed() == {old: "Active", current: "Active"}
    assert deployer.place.status("deployer")["previous"][0]["state"] == "previous"
    assert deployer.place.told("enable.started", "enable.succeeded") == ["enable.started", "enable.succeeded"]
    assert deployer.place.told().count("reactivate.succeeded") == 1


def test_a_key_that_is_enabled_is_not_believed_before_the_provider_accepts_it(deployer: Deployer) -> None:  # noqa: F811
    soaking(deployer)
    deployer.write(soak="1h", settle="5m")

    def make(authenticate: Callable[[Any], Verdicts]) -> Callable[[Any], Verdicts]:
        return lambda material: Verdicts(verdict=Verdict.REFUSED)

    with held(deployer.place, "deployer") as work:
        reactivation.reactivate(work)
    deployer.place.rotate(patience=0.3, seam=Patched("provider", authenticate=make))
    assert deployer.place.status("deployer")["previous"][0]["state"] == "disabled"
    deployer.place.rotate(patience=3)
    assert deployer.place.status("deployer")["previous"][0]["state"] == "previous"


def test_a_kept_key_gives_its_slot_to_a_new_one(deployer: Deployer) -> None:  # noqa: F811
    old, _ = soaking(deployer)
    with held(deployer.place, "deployer") as work:
        reactivation.reactivate(work)
    deployer.place.rotate(patience=3)
    deployer.write(soak="0s")
    assert deployer.place.rotate("deployer", now=True, patience=10)["deployer"].completed
    assert old not in deployer.listed()
    assert deployer.works() is True


@pytest.mark.parametrize("answered", [False, True], ids=["lost", "repeated"])
def test_a_late_disable_is_waited_out_before_the_key_is_enabled(
    deployer: Deployer,  # noqa: F811
    answered: bool,
) -> None:
    place = deployer.place
    place.engine = {"lease": "12s", "call_budget": "6s", "workers": 4}
    deployer.write(soak="1h")
    place.rotate(patience=10)
    old = next(iter(deployer.listed()))

    def make(disable: Callable[[str], None]) -> Callable[[str], None]:
        def late(key_id: str) -> None:
            if not answered:
                raise LostAnswer("no answer")  # noqa: EM101, TRY003 - it may take effect all the same
            disable(key_id)  # and the network may deliver it once more

        return late

    place.rotate("deployer", now=True, patience=10, seam=Patched("provider", disable=make))
    place.rotate(patience=0.1, seam=Patched("provider", disable=make))
    assert "disable.started" in place.told()
    with held(place, "deployer") as work:
        reactivation.reactivate(work)
    place.rotate(patience=0.1)
    assert "enable.started" not in place.told()
    deployer.iam.update_access_key(UserName=deployer.user, AccessKeyId=old, Status="Inactive")  # there it is
    place.rotate(patience=10)
    assert deployer.listed()[old] == "Active"
    assert place.status("deployer")["previous"][0]["state"] == "previous"


# retire


def test_a_kept_key_is_taken_away_when_a_person_says_so(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    old, current = rotated_twice(web, grace="2s", soak="0s")
    with held(web.place) as work:
        reactivation.reactivate(work)
    web.place.rotate(patience=6)
    with held(web.place) as work:
        reactivation.retire(work, key=old, because="found the reader")
        reactivation.retire(work, key=old)
        assert refusal(lambda: reactivation.retire(work, key=current)) == "current_key"
        assert refusal(lambda: reactivation.retire(work, key="key_of_nobody")) == "unknown_key"
    assert web.place.told().count("retire.succeeded") == 1
    web.place.rotate(patience=6)
    assert web.live() == [current]


def test_a_leak_takes_a_kept_key_away_at_once(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    old, current = rotated_twice(web)
    with held(web.place) as work:
        reactivation.reactivate(work)
    web.place.rotate(patience=6)
    web.place.rotate("web", now=True, cause=Cause.COMPROMISED, key=old)
    assert web.live() == [current]


# put-back


def test_nothing_is_taken_away_before_the_put_back_has_fenced_late_writes(web_embedded: OpenAIWeb) -> None:
    """The write of the abandoned key may still arrive, for nobody has written there since."""
    web = web_embedded
    web.place.rotate()
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=0.5)
    new = web.live()[-1]
    value = web.value(0)
    with held(web.place) as work:
        operator.abandon(work)
    web.place.rotate(patience=2)
    assert new in web.live()
    assert value is not None
    web.put(value, 1)  # the late write
    assert web.works(1) is True
    web.vault_gate.clear()
    web.place.rotate(patience=5)
    assert new not in web.live()
    assert web.value(0) == web.value(1)


def test_a_put_back_that_is_given_up_is_begun_again(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=0.5)
    for _ in range(2):
        with held(web.place) as work:
            operator.abandon(work)
            rotation = work.situation.rotation
            assert rotation is not None
            assert rotation.cause is Cause.PUT_BACK
    web.vault_gate.clear()
    web.place.rotate(patience=5)
    assert web.value(0) == web.value(1)
    assert reason(web.place) == ("ok", None)
