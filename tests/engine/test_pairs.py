"""`mode: pair`: beside the current key stands the one before it, until that is about to be taken away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import hvac
import pytest

from rotator.access.dotenv import read as read_env
from rotator.domain.errors import Unavailable
from rotator.domain.model import Cause
from rotator.engine import adoption, drift, operator
from rotator.engine.pausing import pause
from rotator.engine.rollback import rollback
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.testbed.openbao import OpenBao
from tests.engine.place import LONG, Consumer, Place
from tests.engine.test_going_back import held
from tests.engine.test_guards import NO_WRITES, Crash, On, Patched, reason
from tests.engine.test_watch import EAGER, findings

FIRST, BESIDE = "OPENAI_API_KEY", "OPENAI_API_KEY_PREVIOUS"


class Paired:
    """The credential `web`: an OpenAI key in an env file in pair mode; its readers take either field."""

    def __init__(self, place: Place, emulator: OpenAIEmulator) -> None:
        self.place = place
        self.emulator = emulator
        self.env = place.folder / "app.env"
        self.others: dict[str, dict[str, Any]] = {}
        self.mode = "pair"
        (place.folder / "admin").write_text(emulator.admin_key)
        self.write()

    def write(self, **policy: str) -> None:
        self.place.write(
            providers={"openai": {"type": "openai", "admin_key": "file:admin", "base_url": self.emulator.url}},
            destinations={"env": {"type": "env-file", "path": str(self.env)}, **self.others},
            credentials={
                "web": {
                    "provider": "openai",
                    "options": {
                        "project": self.emulator.project,
                        "service_account": self.emulator.service_account,
                    },
                    "policy": policy,
                    "destinations": [
                        {"to": "env", "mode": self.mode},
                        *({"to": to, "path": "pairs/web", "mode": self.mode} for to in self.others),
                    ],
                }
            },
        )

    def values(self) -> dict[str, str]:
        return dict(read_env(self.env.read_text())) if self.env.exists() else {}

    def put(self, **values: str) -> None:
        """Write as a person would."""
        self.env.write_text("".join(f"{name}={value}\n" for name, value in {**self.values(), **values}.items()))

    def all_work(self) -> bool | None:
        """Whether every key that stands there is alive: more than what a consumer needs that tries both."""
        found = list(self.values().values())
        return all(self.emulator.accepts(value) for value in found) if found else None

    def live(self) -> list[str]:
        made = self.emulator.keys()
        return [key.id for key in made if key.state in ("live", "settling")]

    def pair(self) -> tuple[int, int]:
        """The numbers of the versions that stand there."""
        with held(self.place) as work:
            numbers = {
                material["secret"].reveal(): v.number for v in work.situation.versions if (material := work.kept(v))
            }
        return numbers[self.values()[FIRST]], numbers[self.values()[BESIDE]]

    def rotate_now(self, **wished: Any) -> None:
        assert self.place.rotate("web", now=True, **{"patience": 0.2, **wished})["web"].completed


@pytest.fixture
def paired(embedded: Place, openai: OpenAIEmulator) -> Paired:
    embedded.engine = dict(EAGER)
    return Paired(embedded, openai)


def test_the_first_key_stands_beside_itself(paired: Paired) -> None:
    paired.place.rotate()
    assert paired.pair() == (1, 1)
    paired.place.rotate(patience=6)
    assert findings(paired.place) == []


def test_both_keys_stand_side_by_side_until_the_old_one_is_taken_away(paired: Paired, openbao: OpenBao) -> None:
    (paired.place.folder / "token").write_text(openbao.token)
    auth = {"method": "token", "token": "file:token"}
    paired.others = {"vault": {"type": "vault-kv", "address": openbao.url, "auth": auth}}
    paired.write(grace="1s")
    client = hvac.Client(url=openbao.url, token=openbao.token)  # type: ignore[no-untyped-call]

    def kept() -> Mapping[str, str]:
        found: Mapping[str, str] = client.secrets.kv.v2.read_secret_version("pairs/web", raise_on_deleted_version=True)[
            "data"
        ]["data"]
        return found

    paired.place.rotate()
    with Consumer([paired.all_work, lambda: all(paired.emulator.accepts(v) for v in kept().values())]) as consumer:
        paired.rotate_now()
        assert paired.pair() == (2, 1)
        assert dict(kept()) == paired.values()
        assert {row["state"] for row in paired.place.status("web")["destinations"]} == {"current"}
        paired.place.rotate(patience=8)
    assert consumer.dead == 0
    assert paired.pair() == (2, 2)
    assert dict(kept()) == paired.values()
    assert len(paired.live()) == 1
    assert findings(paired.place) == []
    events = paired.place.events
    unpaired = next(e for e in events if e["event"] == "rotation.started" and e["reason"] == "unpair")
    pushed = [e["seq"] for e in events if e["event"] == "push.succeeded" and e["seq"] > unpaired["seq"]]
    taken = [e["seq"] for e in events if e["event"] in ("drain.succeeded", "delete.started")]
    assert len(pushed) == 3, "each place, and all of them"
    assert unpaired["seq"] < min(pushed) < max(pushed) < min(taken)
    assert [e["reason"] for e in events if e["event"] == "drain.delayed"] == ["unpairing"]
    assert paired.place.status("web")["status"] == "ok"
    client.adapter.close()
    paired.place.verified()


def test_a_third_key_stands_beside_the_one_that_it_replaces(paired: Paired) -> None:
    paired.write(grace="1h")
    paired.place.rotate()
    paired.rotate_now()
    paired.rotate_now()
    assert paired.pair() == (3, 2)


def test_a_leaked_key_is_not_written_beside_its_successor(paired: Paired) -> None:
    paired.write(grace="1h")
    paired.place.rotate()
    paired.rotate_now()
    paired.rotate_now(cause=Cause.COMPROMISED, patience=5)
    paired.place.rotate(patience=2)
    assert paired.pair() == (3, 3)
    assert len(paired.live()) == 1
    causes = [e["reason"] for e in paired.place.events if e["event"] == "rotation.started"]
    assert causes == ["first", "manual", "unpair", "compromised"], "version 1 goes first; then one rotation does it"


def test_a_key_that_leaks_while_it_stands_beside_the_current_one_goes_at_once(paired: Paired) -> None:
    paired.write(grace="1h")
    paired.place.rotate()
    old = paired.live()[0]
    paired.rotate_now()
    with paired.place.service() as service:
        with service.running().hold("web") as work:
            credential = work.credential
        pause(service.store, credential, actor="ann", why="a leak passes", lasts=None)
    paired.place.rotate("web", now=True, cause=Cause.COMPROMISED, key=old, patience=5)
    assert old not in paired.live()
    assert paired.pair() == (2, 2)
    assert len(paired.emulator.creates) == 2


def test_a_key_that_leaks_while_its_successor_is_on_its_way_does_not_stay_beside_it(paired: Paired) -> None:
    paired.place.rotate()
    old = paired.live()[0]

    paired.place.events = On("verify.succeeded", die)
    with pytest.raises(Crash):
        paired.place.rotate("web", now=True)
    paired.place.events = []
    assert paired.pair() == (2, 1)
    paired.rotate_now(cause=Cause.COMPROMISED, patience=5)
    paired.place.rotate(patience=2)
    assert old not in paired.live()
    assert paired.pair() == (2, 2)
    assert len(paired.emulator.creates) == 2


def die() -> None:
    raise Crash


def test_a_write_with_another_key_beside_the_same_one_is_another_write(paired: Paired) -> None:
    paired.place.rotate()
    sent: list[tuple[str, str]] = []

    def noting(method: Callable[..., Any], *, fails: bool) -> Callable[..., Any]:
        def write(fields: Any, expected: str, token: str) -> Any:
            sent.append((expected, token))
            if fails:
                message = "not now"
                raise Unavailable(message)
            return method(fields, expected, token)

        return write

    paired.place.rotate("web", now=True, patience=0.2, seam=Patched("destination", write=partial(noting, fails=True)))
    failed = set(sent)
    assert len(failed) == 1, "the same write, however often"
    sent.clear()
    seam = Patched("destination", write=partial(noting, fails=False))
    paired.rotate_now(cause=Cause.COMPROMISED, patience=5, seam=seam)
    assert {expected for expected, _ in sent} == {expected for expected, _ in failed}
    assert not set(sent) & failed


def _nothing(method: Callable[..., Any]) -> Callable[..., Any]:
    def die(*_: Any) -> Any:
        raise Crash

    return die


def _takes_effect(method: Callable[..., Any]) -> Callable[..., Any]:
    def die(*arguments: Any) -> Any:
        method(*arguments)
        raise Crash

    return die


@pytest.mark.parametrize(
    "seam",
    [Patched("destination", write=_nothing), Patched("destination", write=_takes_effect), "promote.succeeded"],
    ids=["before the write", "after the write", "after the rotation"],
)
def test_a_crash_on_the_way_leaves_no_dead_key_beside_the_current_one(paired: Paired, seam: Patched | str) -> None:
    paired.write(grace="500ms")
    paired.place.rotate()
    paired.rotate_now()

    with Consumer([paired.all_work]) as consumer:
        if isinstance(seam, str):
            paired.place.events = On(seam, die)
        with pytest.raises(Crash):
            paired.place.rotate(patience=5, seam=None if isinstance(seam, str) else seam)
        paired.place.events = []
        assert len(paired.live()) == 2
        if seam == "promote.succeeded":
            with held(paired.place) as work:
                assert [row.not_before for row in work.situation.retirements] == [None], "it waits for nothing more"
        paired.place.rotate(patience=8)
        assert len(paired.live()) == 1
    assert consumer.dead == 0
    assert paired.pair() == (2, 2)


def test_an_old_key_waits_where_the_place_cannot_be_rewritten(paired: Paired) -> None:
    paired.write(grace="300ms")
    paired.place.rotate()
    paired.rotate_now()
    paired.place.over = lambda: {"push.delayed", "drain.delayed"} <= set(paired.place.told())
    paired.place.rotate(patience=LONG, seam=NO_WRITES)
    assert len(paired.live()) == 2
    (row,) = paired.place.status("web")["previous"]
    assert (row["step"], row["reason"]) == ("drain", "unpairing")
    assert reason(paired.place) == ("rotating", "unavailable")
    assert "Version 1 is not gone yet because" in paired.place.explain("web")
    paired.place.rotate(patience=LONG)
    assert len(paired.live()) == 1


def test_somebodys_value_beside_the_current_key_is_told_and_not_overwritten(paired: Paired) -> None:
    paired.write(grace="1h")
    paired.place.rotate()
    paired.rotate_now()
    paired.put(**{BESIDE: "a-value-of-somebody"})
    paired.place.rotate(patience=6)
    (found,) = findings(paired.place)
    assert (found["kind"], found["urgent"]) == ("drift", False)
    assert f"holds something else beside the current key now ({BESIDE})" in found["message"]
    assert [row["state"] for row in paired.place.status("web")["destinations"]] == ["current"]
    paired.place.rotate("web", now=True, patience=6)
    assert reason(paired.place) == ("blocked", "foreign")
    assert paired.values()[BESIDE] == "a-value-of-somebody"
    with held(paired.place) as work:
        operator.abandon(work)
        drift.overwrite(work, "env")
    paired.place.rotate(patience=2)
    assert paired.pair() == (2, 1)
    assert findings(paired.place) == []


@pytest.mark.parametrize("swapped", [True, False])
def test_our_own_keys_in_the_wrong_field_are_told(paired: Paired, swapped: bool) -> None:
    paired.write(grace="1h")
    paired.place.rotate()
    paired.rotate_now()
    values = paired.values()
    paired.put(**{FIRST: values[BESIDE if swapped else FIRST], BESIDE: values[FIRST]})
    paired.place.rotate(patience=6)
    (found,) = findings(paired.place)
    assert ("serves version 1 again" if swapped else "beside the current key") in found["message"]
    paired.put(**values)
    paired.place.rotate(patience=6)
    assert findings(paired.place) == []


def test_what_was_begun_and_given_up_leaves_the_pair_as_it_was(paired: Paired) -> None:
    paired.write(grace="1h")
    paired.place.rotate()
    paired.rotate_now()

    paired.place.events = On("push.succeeded", die)
    with pytest.raises(Crash):
        paired.place.rotate("web", now=True)
    paired.place.events = []
    assert paired.pair() == (3, 2)
    with held(paired.place) as work:
        operator.abandon(work)
    with Consumer([paired.all_work]) as consumer:
        paired.place.rotate(patience=5)
    assert consumer.dead == 0
    assert paired.pair() == (2, 1)
    assert len(paired.live()) == 2


def test_a_roll_back_keeps_the_key_that_it_replaces_beside(paired: Paired) -> None:
    paired.write(grace="1h")
    paired.place.rotate()
    paired.rotate_now()
    with held(paired.place) as work:
        rollback(work, because="the new one lacks a scope")
    paired.place.rotate(patience=2)
    assert paired.pair() == (1, 2)
    paired.rotate_now()
    assert paired.pair() == (3, 1), "what it replaces, though version 2 is younger"


def test_explain_says_which_key_stands_beside_the_current_one(paired: Paired) -> None:
    paired.write(grace="1h")
    paired.place.rotate()
    assert "beside it" not in paired.place.explain("web")
    paired.rotate_now()
    assert f"env-file:{paired.env} holds version 1 beside it." in paired.place.explain("web")


def test_an_old_key_is_not_taken_away_under_a_pair_that_was_given_up(paired: Paired) -> None:
    paired.write(grace="500ms")
    paired.place.rotate()
    paired.rotate_now()
    paired.mode = "single"
    paired.write(grace="500ms")
    paired.place.rotate(patience=2)
    assert reason(paired.place) == ("blocked", "field_removed")
    assert paired.all_work()
    assert f"the field {BESIDE} of env-file:{paired.env}" in paired.place.explain("web")
    with held(paired.place) as work:
        assert operator.forget_destination(work, "env") == [f"env-file:{paired.env}"]
        operator.resume(work)
    paired.place.rotate(patience=2)
    assert len(paired.live()) == 1


def test_what_an_entry_had_before_it_became_a_pair_is_no_pair_yet(paired: Paired) -> None:
    paired.mode = "single"
    paired.write(grace="1h")
    paired.place.rotate()
    paired.mode = "pair"
    paired.write(grace="1h")
    paired.place.rotate(patience=6)
    assert (findings(paired.place), list(paired.values())) == ([], [FIRST])
    paired.rotate_now()
    assert paired.pair() == (2, 1)


def test_the_living_key_of_a_pair_is_adopted(paired: Paired) -> None:
    mine = paired.emulator.make_key(name="by hand")
    paired.put(**{FIRST: mine.secret})
    with held(paired.place) as work:
        adopted = adoption.adopt(work).current
    assert adopted is not None
    assert adopted.key_id == mine.id
    paired.write(grace="1h")
    paired.rotate_now()
    assert paired.pair() == (2, 1)


def test_a_living_key_that_a_person_put_in_becomes_current_and_the_one_before_stands_beside_it(paired: Paired) -> None:
    paired.write(grace="1h")
    paired.place.rotate()
    paired.rotate_now()
    theirs = paired.emulator.make_key(name="by hand")
    paired.put(**{FIRST: theirs.secret})
    paired.place.rotate(patience=6)
    (found,) = findings(paired.place, "drift")
    assert theirs.id in found["message"]
    with held(paired.place) as work:
        drift.accept(work, "env")
    paired.place.rotate(patience=2)
    assert paired.pair() == (3, 2)
    assert paired.place.status("web")["current"]["key_id"] == theirs.id


def test_what_somebody_put_beside_an_accepted_key_is_not_overwritten(paired: Paired) -> None:
    paired.write(grace="1h")
    paired.place.rotate()
    paired.rotate_now()
    theirs = paired.emulator.make_key()
    paired.put(**{FIRST: theirs.secret, BESIDE: "by-hand"})
    with held(paired.place) as work:
        drift.accept(work, "env")
    paired.place.rotate(patience=2)
    assert paired.values() == {FIRST: theirs.secret, BESIDE: "by-hand"}
    status = paired.place.status("web")
    assert (status["current"]["key_id"], status["conditions"][0]["reason"]) == (theirs.id, "foreign")
    assert "rotator adopt web --replace env" in status["remedy"]


def test_a_key_that_stands_beside_the_current_one_again_is_not_deleted(paired: Paired) -> None:
    paired.write(grace="300ms")
    paired.place.rotate()
    paired.rotate_now()
    old = paired.values()[BESIDE]
    paired.place.events = On("drain.succeeded", lambda: paired.put(**{BESIDE: old}))
    paired.place.rotate(patience=2)
    assert paired.all_work()
    (row,) = paired.place.status("web")["previous"]
    assert (row["step"], row["reason"]) == ("delete", "destination_serves_it")
    (found,) = findings(paired.place)
    assert "holds something else beside the current key now" in found["message"]


def test_a_key_that_the_provider_refuses_is_not_written_beside_the_current_one(paired: Paired) -> None:
    paired.write(grace="1h")
    paired.place.rotate()
    old = paired.live()[0]
    paired.rotate_now()
    paired.emulator.revoke(old)
    paired.put(**{BESIDE: paired.values()[FIRST]})
    with held(paired.place) as work:
        drift.overwrite(work, "env")
    paired.place.rotate(patience=2)
    assert paired.pair() == (2, 2)
    assert paired.place.status("web")["rotation"] is None


def test_no_key_goes_while_a_write_that_puts_it_beside_another_may_arrive(paired: Paired) -> None:
    paired.write(grace="1h")
    paired.place.rotate()
    old = paired.live()[0]
    paired.rotate_now()
    paired.put(**{BESIDE: paired.values()[FIRST]})
    with held(paired.place) as work:
        drift.overwrite(work, "env")
    paired.place.rotate(patience=0.2, seam=NO_WRITES)
    paired.place.rotate("web", now=True, cause=Cause.COMPROMISED, key=old, patience=0.5, seam=NO_WRITES)
    assert old in paired.live()
    (row,) = paired.place.status("web")["previous"]
    assert (row["step"], row["reason"]) == ("drain", "unpairing")
    paired.place.rotate(patience=3)
    assert old not in paired.live()
    assert paired.pair() == (2, 2)


def test_readers_have_nothing_to_catch_up_with_where_an_old_key_was_taken_from_beside_the_current_one(
    paired: Paired,
) -> None:
    paired.write(grace="500ms")
    paired.place.rotate()
    paired.rotate_now()

    def placed() -> dict[str, datetime]:
        with held(paired.place) as work:
            return {p.field: p.placed_at for p in work.situation.placements}

    before = placed()
    assert set(before) == {FIRST, BESIDE}
    paired.place.rotate(patience=5)
    assert paired.pair() == (2, 2)
    assert placed() == dict.fromkeys(before, before[FIRST])
