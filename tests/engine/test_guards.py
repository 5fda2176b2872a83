"""Each guard of the engine, met by the one situation that it is there for."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import httpx
import pytest

from rotator.domain.errors import (
    Busy,
    LostAnswer,
    SetupError,
    StaleLease,
    StoreUnavailable,
    TemporaryError,
    Unavailable,
)
from rotator.domain.model import Cause
from rotator.engine import adoption, evidence, operator, retirement
from rotator.engine.work import Work
from rotator.ports.provider import Answer as Verdicts
from rotator.ports.provider import IssuedKey, Key
from rotator.ports.store import NewEvent, Update
from rotator.testbed.aws import AwsKey
from rotator.testbed.gate import Answer, Lose, Refuse, Request
from rotator.wiring import Seam
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import LONG, Consumer, Place
from tests.engine.test_abandon import DeadOnArrival
from tests.engine.test_iam import Deployer, deployer  # noqa: F401 - a fixture
from tests.engine.test_iam import is_create as is_iam_create
from tests.engine.test_lost_answers import is_create
from tests.engine.test_rotation import is_write

T = TypeVar("T")


def hook(match: Callable[[Request], bool], do: Callable[[], object]) -> Callable[[Request], bool]:
    """Do something once, when such a request comes by; the request itself goes on."""
    done: list[bool] = []

    def seen(request: Request) -> bool:
        if match(request) and not done:
            done.append(True)
            do()
        return False

    return seen


class On(list[dict[str, Any]]):
    """The events of a place; does something at the first (or a later) one of a name, once it is committed."""

    def __init__(self, name: str, do: Callable[[], object], *, number: int = 1) -> None:
        super().__init__()
        self.name = name
        self.do = do
        self.number = number

    def append(self, event: dict[str, Any], /) -> None:
        super().append(event)
        if event["event"] == self.name:
            self.number -= 1
            if self.number == 0:
                self.do()


class Patched(Seam):
    """Replaces methods of the ports of one kind."""

    def __init__(self, kind: str, **methods: Callable[[Any], Callable[..., Any]]) -> None:
        """Each method is made anew from the port's own."""
        self.kind = kind
        self.methods = methods

    def wrap(self, port: T, kind: str) -> T:
        if kind == self.kind:
            for name, make in self.methods.items():
                object.__setattr__(port, name, make(getattr(port, name)))  # some are frozen
        return port


OTHER_ACCOUNT = Patched("provider", account=lambda _: lambda: "openai:proj_other")


def _unavailable(*_: object) -> str:
    message = "not now"
    raise Unavailable(message)


NO_WRITES = Patched("destination", write=lambda _: _unavailable)


def after_authenticate(number: int, do: Callable[[], object]) -> Seam:
    """Do something after the provider has answered so many questions about keys."""
    asked: list[bool] = []

    def make(authenticate: Callable[[Any], Verdicts]) -> Callable[[Any], Verdicts]:
        def ask(material: Any) -> Verdicts:
            answer = authenticate(material)
            asked.append(True)
            if len(asked) == number:
                do()
            return answer

        return ask

    return Patched("provider", authenticate=make)


def remove(web: OpenAIWeb, number: int) -> None:
    """Delete a path as a person would."""
    web.client.secrets.kv.v2.delete_metadata_and_all_versions(web.paths[number])


def reason(place: Place, name: str = "web") -> tuple[str, str | None]:
    status = place.status(name)
    return status["status"], status["reason"]


def retiring(web: OpenAIWeb, **policy: str) -> tuple[str, str]:
    """Two rotations; the first key's retirement is due in a second. Its id and value."""
    web.write(policy={"grace": "1s", **policy})
    web.place.rotate()
    old, value = web.live()[0], web.value(0)
    assert value is not None
    assert web.place.rotate("web", now=True, patience=6)["web"].completed
    assert old in web.live()
    return old, value


# create


def test_a_key_is_not_made_in_another_account(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    assert not web.place.rotate("web", now=True, patience=6, seam=OTHER_ACCOUNT)["web"].completed
    assert reason(web.place) == ("blocked", "wrong_account")
    assert len(web.emulator.creates) == 1


def test_a_first_key_whose_answer_is_lost_waits_min_interval_for_the_next(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"min_interval": "1h"})
    web.gate.on(is_create, Lose())
    web.place.rotate(patience=4)
    assert len(web.emulator.creates) == 1
    assert web.place.status("web")["rotation"]["reason"] == "min_interval"


def test_an_unanswered_create_is_not_looked_for_before_its_time_is_over(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.emulator.list_lag = 1  # shorter than call_budget
    web.gate.on(is_create, Lose())
    assert web.place.rotate("web", now=True, patience=8)["web"].completed
    web.place.rotate()
    assert web.live() == [web.place.status("web")["current"]["key_id"]]


class Crash(BaseException):
    """The process dies."""


def test_a_key_whose_worker_died_at_the_answer_is_found_and_deleted(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()

    def make(create: Callable[[str], IssuedKey]) -> Callable[[str], IssuedKey]:
        def die(label: str) -> IssuedKey:
            create(label)
            raise Crash

        return die

    with pytest.raises(Crash):
        web.place.rotate("web", now=True, seam=Patched("provider", create=make))
    assert len(web.live()) == 2
    web.place.rotate("web", now=True, patience=8)
    web.place.rotate(patience=5)
    assert web.live() == [web.place.status("web")["current"]["key_id"]]


def test_a_person_in_a_hurry_does_not_shorten_what_the_provider_asked_for(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.gate.on(is_create, Answer(429, headers={"Retry-After": "60"}), times=None)
    for _ in range(2):
        web.place.rotate("web", now=True, patience=6)
    assert len([r for r in web.gate.requests if is_create(r)]) == 2, "the first key, and one attempt"


# authenticate


def test_a_new_key_that_is_refused_within_settle_is_asked_again(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"settle": "2s"})
    web.emulator.settle = 1
    web.place.rotate(patience=8)
    assert len(web.emulator.creates) == 1
    assert web.works(0) is True
    assert web.works(1) is True


def test_a_refused_key_is_kept_for_a_person_where_the_current_one_is_refused_as_well(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.emulator.revoke(web.live()[0])
    web.place.rotate("web", now=True, patience=6, seam=DeadOnArrival(web.emulator))
    assert reason(web.place) == ("blocked", "key_refused")
    assert "abandon.succeeded" not in web.place.told()


# push, verify


def test_a_value_that_appears_after_the_preflight_is_not_overwritten(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.gate.on(hook(is_create, lambda: web.put("sk-somebody-else", 1)), Refuse())
    assert not web.place.rotate("web", now=True, patience=6)["web"].completed
    assert web.value(1) == "sk-somebody-else"
    assert web.place.status("web")["rotation"]["deliveries"][1]["reason"] == "foreign"


def test_what_we_put_and_somebody_took_away_is_not_written_again(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    remove(web, 1)
    assert not web.place.rotate("web", now=True, patience=6)["web"].completed
    assert web.value(1) is None
    assert reason(web.place) == ("blocked", "missing")


def test_a_key_that_dies_before_the_first_push_reaches_no_destination(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    before = web.place.told().count("push.started")
    seam = after_authenticate(1, lambda: web.emulator.revoke(web.live()[-1]))
    web.place.rotate("web", now=True, patience=6, seam=seam)
    assert web.place.told().count("push.started") == before
    assert web.works(0) is True


def test_a_key_that_dies_after_its_push_is_never_promoted(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    old = web.live()
    seam = after_authenticate(2, lambda: web.emulator.revoke(web.live()[-1]))
    web.place.rotate("web", now=True, patience=2, seam=seam)
    assert web.live() == old
    assert web.place.status("web")["current"]["key_id"] == old[0]
    assert web.works(0) is True
    assert web.works(1) is True


def test_an_old_value_that_is_written_over_the_pushed_one_is_noticed_before_promotion(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    old = web.value(1)
    assert old is not None
    web.place.events = On("push.succeeded", lambda: web.put(old, 1), number=3)  # of each place, and of the step
    assert web.place.rotate("web", now=True, patience=3)["web"].completed
    assert web.value(1) == web.value(0) != old


def test_putting_back_writes_also_where_the_value_is_right(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=0.5)
    with web.place.service() as service, service.running().hold("web") as work:
        operator.abandon(work)
    web.vault_gate.clear()
    web.place.rotate(patience=3)
    found = web.client.secrets.kv.v2.read_secret_version(web.paths[1], raise_on_deleted_version=True)
    assert found["data"]["metadata"]["version"] == 2, "a late write on condition of version 1 fails now"


class Unconditional:
    """A destination without compare-and-set."""

    def __init__(self, port: Any) -> None:
        self.port = port
        self.capabilities = replace(port.capabilities, conditional=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.port, name)


class WithoutConditions(Seam):
    """No destination has compare-and-set."""

    def wrap(self, port: T, kind: str) -> T:
        return Unconditional(port) if kind == "destination" else port  # type: ignore[return-value]


def test_a_place_without_conditions_waits_for_the_write_of_an_expired_worker(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.engine = {"lease": "12s", "call_budget": "4s"}
    web.write()
    web.place.rotate()
    with web.place.service() as service:
        engine = service.running()
        service.store.claim(engine.credential_id("web"), "host:gone", timedelta(seconds=0.1))
    time.sleep(0.2)
    web.place.rotate("web", now=True, until="push.delayed", seam=WithoutConditions())
    assert web.place.status("web")["rotation"]["deliveries"][0]["reason"] == "fenced"
    assert web.place.rotate("web", now=True, patience=LONG, seam=WithoutConditions())["web"].completed


def test_a_key_that_is_given_up_lives_while_a_place_without_conditions_may_be_given_it_once_more(
    web_embedded: OpenAIWeb,
) -> None:
    web = web_embedded
    web.place.engine = {"lease": "4s", "call_budget": "2s"}
    web.write()
    web.place.rotate()
    old = web.live()
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=1, seam=WithoutConditions())
    web.vault_gate.clear()
    (new,) = set(web.live()) - set(old)  # it has reached one of two places
    with web.place.service(WithoutConditions()) as service, service.running().hold("web") as work:
        operator.abandon(work)
    web.place.rotate(patience=0.5, seam=WithoutConditions())
    assert new in web.live()
    assert web.place.status("web")["previous"][0]["reason"] in ("fenced", "put_back_first")
    web.place.rotate(patience=8, seam=WithoutConditions())
    assert new not in web.live()


# what is taken away


def test_a_place_that_cannot_be_read_holds_the_old_key(web_embedded: OpenAIWeb) -> None:
    old, _ = retiring(web_embedded)
    with web_embedded.vault_gate.down():
        web_embedded.place.rotate(patience=1.5)
    assert old in web_embedded.live()


def test_a_place_whose_value_is_gone_holds_the_old_key(web_embedded: OpenAIWeb) -> None:
    old, _ = retiring(web_embedded)
    remove(web_embedded, 1)
    web_embedded.place.rotate(patience=1.5)
    assert old in web_embedded.live()
    assert "is empty, so it is not known what its readers hold" in web_embedded.place.explain("web")


def test_a_place_with_somebody_elses_value_holds_the_old_key(web_embedded: OpenAIWeb) -> None:
    old, _ = retiring(web_embedded)
    web_embedded.put("sk-somebody-else", 1)
    web_embedded.place.rotate(patience=1.5)
    assert old in web_embedded.live()
    assert "holds a value that is not ours" in web_embedded.place.explain("web")


def test_an_added_place_that_is_still_empty_holds_the_old_key(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"grace": "1s"}, paths=web.paths[:1])
    web.place.rotate()
    old = web.live()[0]
    web.place.rotate("web", now=True, patience=0.2)
    web.write(policy={"grace": "1s"})
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate(patience=1.5)
    assert old in web.live()


def test_a_place_that_serves_a_condemned_key_holds_the_old_one(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"grace": "1h"})
    web.place.rotate()
    old = web.live()[0]
    web.place.rotate("web", now=True)
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=0.5)
    with web.place.service() as service, service.running().hold("web") as work:
        operator.abandon(work)
    web.place.rotate("web", now=True, cause=Cause.COMPROMISED, key=old, patience=0.5, seam=NO_WRITES)
    assert old in web.live()
    web.vault_gate.clear()
    web.place.rotate(patience=3)
    assert old not in web.live()


def test_the_old_key_stays_while_the_current_one_is_refused(web_embedded: OpenAIWeb) -> None:
    old, _ = retiring(web_embedded)
    web_embedded.emulator.revoke(web_embedded.live()[-1])
    web_embedded.place.rotate(patience=1.5)
    assert web_embedded.live() == [old]


def test_the_old_key_stays_while_the_provider_does_not_say_whether_the_current_one_works(
    web_embedded: OpenAIWeb,
) -> None:
    old, _ = retiring(web_embedded)
    web_embedded.gate.on(lambda r: r.path.endswith("/models"), Answer(500), times=None)
    web_embedded.place.rotate(patience=6)
    assert old in web_embedded.live()


def test_a_value_that_comes_back_after_the_drain_holds_the_deletion(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    old, value = retiring(web)
    web.place.events = On("drain.succeeded", lambda: web.put(value, 0))
    web.place.rotate(patience=1.5)
    assert old in web.live()
    assert web.works(0) is True


def test_a_value_that_comes_back_after_the_drain_holds_the_disabling(deployer: Deployer) -> None:  # noqa: F811
    deployer.write(soak="1h")
    deployer.place.rotate(patience=5)
    before = json.dumps(deployer.body())
    old = next(iter(deployer.listed()))

    def put_back() -> None:
        deployer.manager.put_secret_value(SecretId=deployer.secret, SecretString=before)

    deployer.place.events = On("drain.succeeded", put_back)
    deployer.place.rotate("deployer", now=True, patience=1)
    deployer.place.rotate(patience=1)
    assert deployer.listed()[old] == "Active"


def test_nothing_is_taken_away_in_another_account(web_embedded: OpenAIWeb) -> None:
    old, _ = retiring(web_embedded)
    web_embedded.place.rotate(patience=6, seam=OTHER_ACCOUNT)
    assert old in web_embedded.live()
    assert reason(web_embedded.place) == ("blocked", "wrong_account")


def test_a_lost_key_is_not_looked_for_in_another_account(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.gate.on(is_create, Lose())
    web.place.rotate("web", now=True, patience=0.1)
    elsewhere = Patched("provider", account=lambda _: lambda: "openai:proj_other", keys=lambda _: list)
    web.place.rotate(patience=3, seam=elsewhere)
    assert "retirement.succeeded" not in web.place.told()
    assert reason(web.place) == ("blocked", "wrong_account")


def test_nothing_is_taken_away_by_a_clock_behind_the_last_event(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    old, _ = retiring(web)
    ahead = Patched("store", last_event_at=lambda last: lambda: last() + timedelta(minutes=3))
    web.place.rotate(patience=1.5, seam=ahead)
    assert old in web.live()


def test_a_lost_key_that_somebody_has_used_is_for_a_person(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.gate.on(is_create, Lose())
    web.place.rotate("web", now=True, patience=0.1)
    lost = web.emulator.keys()[-1]
    httpx.get(f"{web.emulator.url}/models", headers={"Authorization": f"Bearer {lost.secret}"}).raise_for_status()
    web.place.rotate(patience=3)
    assert lost.id in web.live()
    assert reason(web.place) == ("blocked", "ambiguous_keys")


def test_our_own_checks_do_not_hold_the_old_key(deployer: Deployer) -> None:  # noqa: F811
    deployer.write(require_idle="1h", grace="1h")
    deployer.place.rotate(patience=5)
    old = next(iter(deployer.listed()))
    deployer.place.rotate("deployer", now=True, patience=5)

    def used_by_us(keys: Callable[[], Sequence[Key]]) -> Callable[[], Sequence[Key]]:
        return lambda: [replace(k, last_used_at=k.created_at, last_used_by="sts") for k in keys()]

    later = Patched("provider", keys=used_by_us)
    with deployer.place.service(later) as service, service.running().hold("deployer") as work:
        row = work.situation.retirements[0]
        version = work.situation.version(row.version_id)
        assert version is not None
        known = evidence.weigh(work, row, version, work.call(work.provider.keys))
        assert known["usage"] == "no use but ours"
    assert old in deployer.listed()


# lost keys without labels


def test_a_key_that_a_person_made_before_is_never_taken_for_the_lost_one(deployer: Deployer) -> None:  # noqa: F811
    stranger = deployer.by_hand()
    time.sleep(2.1)  # IAM dates keys in whole seconds
    deployer.gate.on(is_iam_create, Answer(500))
    deployer.place.rotate(patience=6)
    assert deployer.listed()[stranger] == "Active"
    assert deployer.works() is True


def test_a_key_of_that_moment_that_is_used_is_for_a_person(deployer: Deployer) -> None:  # noqa: F811
    deployer.gate.on(is_iam_create, Answer(500))
    deployer.place.rotate(patience=0.1)
    made = deployer.iam.create_access_key(UserName=deployer.user)["AccessKey"]
    client = deployer.aws.client("sts", AwsKey(made["AccessKeyId"], made["SecretAccessKey"]))
    client.get_caller_identity()
    client.close()
    deployer.place.rotate(patience=6)
    assert deployer.listed() == {made["AccessKeyId"]: "Active"}
    assert reason(deployer.place, "deployer") == ("blocked", "ambiguous_keys")


def test_a_key_of_that_moment_that_a_destination_names_is_for_a_person(deployer: Deployer) -> None:  # noqa: F811
    deployer.gate.on(is_iam_create, Answer(500))
    deployer.place.rotate(patience=0.1)
    stranger = deployer.by_hand()
    body = json.dumps({"REGION": "eu-west-1", "BACKUP_KEY_ID": stranger})
    deployer.manager.put_secret_value(SecretId=deployer.secret, SecretString=body)
    deployer.place.rotate(patience=6)
    assert deployer.listed() == {stranger: "Active"}
    assert reason(deployer.place, "deployer") == ("blocked", "ambiguous_keys")


# gone


def test_a_deletion_is_believed_when_the_key_is_refused(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.emulator.delete_lag = 1
    _, value = retiring(web)
    accepted: list[bool] = []
    web.place.events = On("delete.succeeded", lambda: accepted.append(web.emulator.accepts(value)))
    web.place.rotate(patience=5)
    assert accepted == [False]


def test_a_deletion_is_believed_when_the_key_is_listed_no_more(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    key = web.emulator.make_key()
    with web.place.service() as service, service.running().hold("web") as work:
        adoption.adopt(work, key_id=key.id)
    web.gate.on(lambda r: r.method == "DELETE", Answer(200, body=b'{"deleted": true}'), times=None)
    web.place.rotate("web", now=True, patience=1)
    web.place.rotate(patience=1)
    assert "delete.started" in web.place.told()
    assert key.id in web.live()
    assert "delete.succeeded" not in web.place.told()
    web.gate.clear()
    web.place.rotate(patience=3)
    assert key.id not in web.live()


# calls and leases


def test_a_call_over_its_budget_is_a_lost_answer_and_keeps_the_lease(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.engine = {"lease": "4s", "call_budget": "1s"}
    web.write()
    web.place.rotate()
    back = threading.Event()

    def make(read: Callable[[], Any]) -> Callable[[], Any]:
        def hang() -> Any:
            back.wait(8)
            return read()

        return hang

    began = time.monotonic()
    web.place.rotate("web", now=True, patience=0.1, seam=Patched("destination", read=make))
    assert time.monotonic() - began < 3
    assert web.place.status("web")["rotation"]["reason"] == "lost_answer"
    with pytest.raises(Busy), web.place.service() as service, service.running().hold("web"):
        pass
    back.set()


def test_a_lease_is_renewed_while_calls_take_their_time(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.engine = {"lease": "2s", "call_budget": "1s"}
    web.write()
    busy: list[bool] = []

    def try_to_hold() -> None:
        other = Place(web.place.folder, store_url=web.place.store_url)
        try:
            with other.service() as service, service.running().hold("web"):
                pass
        except Busy:
            busy.append(True)

    def make(read: Callable[[], Any]) -> Callable[[], Any]:
        def slowly() -> Any:
            time.sleep(0.5)
            return read()

        return slowly

    web.place.events = On("push.succeeded", try_to_hold, number=3)
    web.place.rotate(patience=5, seam=Patched("destination", read=make))
    assert busy == [True]


def lost(*_: object) -> None:
    message = "no answer"
    raise LostAnswer(message)


def fenced(work: Work) -> str | None:
    try:
        work.outwait_late_calls()
    except TemporaryError as wait:
        return wait.reason
    return None


def test_a_change_without_an_answer_is_waited_out_by_this_worker_and_the_next(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.engine = {"lease": "3s", "call_budget": "2s"}
    web.write()
    web.place.rotate()
    with web.place.service() as service:
        with service.running().hold("web") as work:
            assert fenced(work) is None
            with pytest.raises(LostAnswer):
                work.call(lost)
            assert fenced(work) is None, "what only looks has no late effect"
            with pytest.raises(LostAnswer), work.noting_late_calls():
                work.call(lost)
            assert fenced(work) == "fenced"
        with service.running().hold("web") as work:
            assert fenced(work) == "fenced"
            time.sleep(2)
            assert fenced(work) is None


def test_a_place_without_conditions_waits_for_our_own_late_write_before_the_put_back(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.engine = {"lease": "6s", "call_budget": "3s"}
    web.write()
    web.place.rotate()
    unanswered = Both(WithoutConditions(), Patched("destination", write=lambda _: lost))
    web.place.rotate("web", now=True, patience=0.1, seam=unanswered)
    with web.place.service() as service, service.running().hold("web") as work:
        operator.abandon(work)
    web.place.rotate(patience=0.1, seam=WithoutConditions())
    assert web.place.status("web")["rotation"] is not None, "it waits"
    assert web.place.status("web")["rotation"]["deliveries"][0]["reason"] == "fenced"
    web.place.rotate(patience=8, seam=WithoutConditions())
    assert reason(web.place) == ("ok", None)


class Both(Seam):
    """One seam and then another."""

    def __init__(self, first: Seam, second: Seam) -> None:
        self.seams = (first, second)

    def wrap(self, port: T, kind: str) -> T:
        for seam in self.seams:
            port = seam.wrap(port, kind)
        return port


class Stopped:
    """Threads of a process that is stopped for a minute before each call is sent."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def within(self, seconds: float, do: Callable[[], T], ended: Callable[[], None]) -> T:
        self.now += 60
        try:
            return do()
        finally:
            ended()

    def side_by_side(self, tasks: Sequence[Callable[[], None]]) -> None:
        for task in tasks:
            task()


def test_a_process_that_was_stopped_sends_nothing_late(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    sent: list[bool] = []
    with web.place.service() as service, service.running().hold("web") as work:
        stopped = Stopped()
        work.around = replace(work.around, threads=stopped, monotonic=lambda: stopped.now)
        with pytest.raises(StaleLease, match="stopped for longer than a call may take"):
            work.call(lambda: sent.append(True))
    assert not sent


def test_what_places_record_side_by_side_is_all_known_afterwards(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"grace": "1h"})
    web.place.rotate()
    web.place.rotate("web", now=True)
    both = threading.Barrier(2)

    def make(reload: Callable[..., Any]) -> Callable[..., Any]:
        def reloaded(*given: Any) -> Any:
            with suppress(threading.BrokenBarrierError):  # both have committed before either reads, if that can be
                both.wait(0.5)
            return reload(*given)

        return reloaded

    seam = Patched("store", reload=make)
    with web.place.service(seam) as service, service.running().hold("web") as work:
        at = work.now()
        versions = work.situation.versions
        assert len(versions) > 1
        with ThreadPoolExecutor(len(versions)) as pool:
            list(pool.map(lambda version: work.record([Update(version, {"checked_at": at})], []), versions))
        assert [version.checked_at for version in work.situation.versions] == [at] * len(versions)
        assert work.situation == work.store.load(work.credential.id)


def test_a_lease_is_trusted_from_when_it_was_asked_for(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.engine = {"lease": "3s", "call_budget": "1s"}
    web.write()
    web.place.rotate()
    renewed: list[bool] = []

    def make_claim(claim: Callable[..., Any]) -> Callable[..., Any]:
        def slowly(*arguments: Any) -> Any:
            lease = claim(*arguments)
            time.sleep(2.2)  # the answer was under way for that long
            return lease

        return slowly

    def make_renew(renew: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            renewed.append(True)
            return renew(*arguments)

        return counted

    slow = Patched("store", claim=make_claim, renew=make_renew)
    with web.place.service(slow) as service, service.running().hold("web") as work:
        work.call(work.provider.account)
    assert renewed


# further


def test_a_new_key_of_another_identity_is_for_a_person(web_embedded: OpenAIWeb) -> None:
    web = web_embedded

    def being(identity: str) -> Seam:
        def make(authenticate: Callable[[Any], Verdicts]) -> Callable[[Any], Verdicts]:
            return lambda material: replace(authenticate(material), identity=identity)

        return Patched("provider", authenticate=make)

    web.place.rotate(seam=being("one"))
    web.place.rotate("web", now=True, patience=6, seam=being("two"))
    assert reason(web.place) == ("blocked", "wrong_identity")
    assert web.value(0) == web.emulator.keys()[0].secret


def test_a_new_key_is_believed_after_three_answers(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"settle": "1s"})
    asked: list[int] = []

    def count() -> None:
        asked.append(len([r for r in web.gate.requests if r.path.endswith("/models")]))

    web.place.events = On("authenticate.succeeded", count)
    web.place.rotate(patience=5)
    assert asked == [3]


def test_a_new_key_is_recorded_though_the_database_falters(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    failed: list[bool] = []

    def make(record: Callable[..., Any]) -> Callable[..., Any]:
        def falter(*arguments: Any) -> Any:
            if web.emulator.creates and not failed:
                failed.append(True)
                message = "the database is away"
                raise StoreUnavailable(message)
            return record(*arguments)

        return falter

    web.place.rotate(patience=5, seam=Patched("store", record=make))
    assert failed
    assert len(web.emulator.creates) == 1
    assert web.works(0) is True


def test_a_known_key_is_never_named_as_the_lost_one(deployer: Deployer) -> None:  # noqa: F811
    deployer.place.rotate(patience=5)
    current = next(iter(deployer.listed()))
    deployer.gate.on(is_iam_create, Answer(500))
    deployer.place.rotate("deployer", now=True, patience=0.1)
    stranger = deployer.by_hand()
    body = json.dumps({**deployer.body(), "BACKUP_KEY_ID": stranger})
    deployer.manager.put_secret_value(SecretId=deployer.secret, SecretString=body)
    deployer.place.rotate(patience=3)
    assert reason(deployer.place, "deployer") == ("blocked", "ambiguous_keys")
    with (
        deployer.place.service() as service,
        service.running().hold("deployer") as work,
        pytest.raises(SetupError) as told,
    ):
        operator.resume(work, delete=current)
    assert told.value.reason == "known_key"


def test_a_new_key_that_leaks_before_it_is_current_is_given_up(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    old = web.live()
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=0.5)
    leaked = web.live()[-1]
    web.vault_gate.clear()
    web.place.rotate("web", now=True, cause=Cause.COMPROMISED, key=leaked, patience=3)
    web.place.rotate(patience=3)
    assert web.live() == old
    assert web.works(0) is True


def test_a_leak_during_a_rotation_hurries_what_it_replaces(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"grace": "1h", "soak": "1h"})
    web.place.rotate()
    old = web.live()[0]
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=0.5)
    web.vault_gate.clear()
    web.place.rotate("web", now=True, cause=Cause.COMPROMISED, patience=3)
    assert old not in web.live()
    assert len(web.emulator.creates) == 2


def test_an_old_key_that_stays_in_use_beyond_hold_alarm_is_for_a_person(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    old, value = retiring(web, grace="3s", require_idle="3s", hold_alarm="1s")  # the provider dates use by the second

    def use() -> bool:
        return httpx.get(f"{web.emulator.url}/models", headers={"Authorization": f"Bearer {value}"}).is_success

    with Consumer([use]):
        web.place.rotate(patience=10)
    assert old in web.live()
    assert reason(web.place) == ("blocked", "old_key_in_use")


def test_what_others_tell_meanwhile_is_no_clock_that_was_set_back(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()

    def make(last: Callable[[], Any]) -> Callable[[], Any]:
        def asked() -> Any:
            with web.place.service() as other:  # another worker, at this very moment
                other.store.note([NewEvent(event="push.succeeded", actor="another")])
            return last()

        return asked

    with web.place.service(Patched("store", last_event_at=make)) as service, service.running().hold("web") as work:
        retirement._clock_is_sane(work)
    assert "clock.found" not in web.place.told()
