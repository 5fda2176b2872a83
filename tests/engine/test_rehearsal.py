"""`rotate --rehearse`: everything but the switch, and no trace of it, wherever it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from rotator import wiring
from rotator.cli.opening import holding
from rotator.config import load
from rotator.domain.errors import PermanentError, RotatorError, SetupError
from rotator.domain.model import Cause
from rotator.engine import operator, rehearsal, shadows
from rotator.engine.engine import Progress, Wish
from rotator.ports.provider import Asks
from rotator.store.holder import this_process
from rotator.testbed.gate import Answer, Delay, Refuse, Request
from rotator.wiring import Seam
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import Consumer, Place
from tests.engine.test_abandon import DeadOnArrival
from tests.engine.test_going_back import held
from tests.engine.test_guards import Crash, On, reason
from tests.engine.test_iam import Deployer, deployer  # noqa: F401 - a fixture
from tests.engine.test_lost_answers import is_create
from tests.engine.test_pausing import pause, unpause
from tests.engine.test_rotation import is_write

T = TypeVar("T")
STEPS = ["rehearsal.started", "rehearsal.failed", "rehearsal.succeeded"]


def rehearse(place: Place, name: str = "web", *, patience: float = 10, seam: Seam | None = None) -> Progress:
    """As `rotate --rehearse` does it."""
    with place.service(seam) as service:
        done = _rehearse(service, name, patience)
    if place.bugs:
        raise place.bugs[0]
    return done


def _rehearse(service: wiring.Service, name: str, patience: float) -> Progress:
    engine = service.running()
    with holding(engine, name) as work:  # on a busy machine a call of the worker before may still be under way
        rehearsal.begin(work, "drill")
    return engine.run([name], Wish(cause=Cause.REHEARSAL), timedelta(seconds=patience))[name]


def refusal(place: Place, name: str = "web") -> tuple[type[RotatorError], str]:
    """How a rehearsal is refused; nothing has happened then."""
    before = place.status(name)
    with pytest.raises(RotatorError) as told, held(place, name) as work:
        rehearsal.begin(work)
    assert place.status(name)["rotation"] == before["rotation"]
    assert told.value.remedy
    return type(told.value), told.value.reason


def failed(place: Place) -> tuple[str, str]:
    """The reason and the message of the rehearsal that failed last."""
    event = [e for e in place.events if e["event"] == "rehearsal.failed"][-1]
    return event["reason"], event["detail"]["message"]


def listing(web: OpenAIWeb) -> Any:
    """Everything that stands in the folders of the paths, old versions included."""
    kv, found = web.client.secrets.kv.v2, {}
    for folder in {path.rpartition("/")[0] for path in web.paths}:
        for name in kv.list_secrets(folder)["data"]["keys"]:
            path = f"{folder}/{name}"
            found[path] = list(kv.read_secret_metadata(path)["data"]["versions"])
    assert found.keys() >= set(web.paths)
    return found


class Before:
    """What a rehearsal must leave as it was."""

    def __init__(self, web: OpenAIWeb) -> None:
        self.web = web
        self.seen = self._look()

    def _look(self) -> Any:
        web = self.web
        status = web.place.status("web")
        places = [(row["state"], row["version"]) for row in status["destinations"]]
        stands = (status["current"]["key_id"], status["next_rotation_at"], places, web.value(0), web.value(1))
        return web.live(), listing(web), stands

    def unchanged(self) -> None:
        assert self._look() == self.seen
        assert reason(self.web.place) == ("ok", None)
        assert self.web.place.status("web")["previous"] == []
        self.web.place.verified()


@pytest.fixture
def settled(web_embedded: OpenAIWeb) -> OpenAIWeb:
    """`web` after its first rotation."""
    web_embedded.place.rotate()
    web_embedded.place.events.clear()
    return web_embedded


# all goes well


def test_a_rehearsal_does_everything_but_the_switch_and_leaves_no_trace(settled: OpenAIWeb) -> None:
    web, before = settled, Before(settled)
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        rehearse(web.place)
    before.unchanged()
    assert consumer.dead == 0
    assert len(web.emulator.creates) == 2
    assert [e["event"] for e in web.place.events if e["destination"] is None] == [
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
    written = [e["detail"]["address"] for e in web.place.events if e["event"] == "push.started"]
    assert all(".rehearsal-" in address for address in written)
    took = web.place.events[-1]["detail"]
    assert took["took_ms"].keys() == {"create", "authenticate", "push", "verify", "remove", "drain", "delete"}
    assert took["current_after_ms"] < took["dead_after_ms"] <= sum(took["took_ms"].values())


def test_a_key_with_two_slots_is_disabled_and_deleted_where_a_slot_is_free(deployer: Deployer) -> None:  # noqa: F811
    deployer.place.rotate(patience=10)
    before = deployer.listed(), deployer.body(), names(deployer)
    deployer.place.events.clear()
    with Consumer([deployer.works]) as consumer:
        rehearse(deployer.place, "deployer")
    assert (deployer.listed(), deployer.body(), names(deployer)) == before
    assert consumer.dead == 0
    told = deployer.place.told("disable.succeeded", "delete.succeeded", "rehearsal.succeeded")
    assert told == ["disable.succeeded", "delete.succeeded", "rehearsal.succeeded"]
    assert "disable" in deployer.place.events[-1]["detail"]["took_ms"]
    deployer.write(soak="1h")
    deployer.place.rotate("deployer", now=True, patience=10)
    assert refusal(deployer.place, "deployer") == (PermanentError, "slot_in_retirement")


def names(deployer: Deployer) -> list[str]:  # noqa: F811 - a fixture's value
    """The secrets that begin like its own."""
    listed = deployer.manager.list_secrets(MaxResults=100, IncludePlannedDeletion=True)["SecretList"]
    return [secret["Name"] for secret in listed if secret["Name"].startswith(deployer.secret)]


class Session:
    """The credential `web`: a generated value in two files."""

    def __init__(self, place: Place, **policy: Any) -> None:
        self.place = place
        self.folder = place.folder / "served"
        self.folder.mkdir()
        place.policy |= {"max_creates_per_day": 1000}
        self.write(**policy)
        place.rotate()
        place.events.clear()

    def write(
        self,
        *,
        provider: str = "generated",
        places: Sequence[str] = ("one.env", "two.env"),
        entry: Mapping[str, Any] | None = None,
        **policy: Any,
    ) -> None:
        """`entry`: what else each destination's entry has."""
        self.place.write(
            providers={"local": {"type": provider}},
            destinations={"files": {"type": "env-file"}},
            credentials={
                "web": {
                    "provider": "local",
                    **({"options": {"instructions": "ask the partner"}} if provider == "manual" else {}),
                    "policy": policy,
                    "destinations": [
                        {"to": "files", "path": str(self.folder / name), "fields": {"KEY": "{secret}"}, **(entry or {})}
                        for name in places
                    ],
                }
            },
        )

    def look(self) -> Any:
        """Names, contents and inodes: a file that was written anew has another."""
        return {f.name: (f.read_text(), f.stat().st_ino, f.stat().st_mtime_ns) for f in self.folder.iterdir()}


@pytest.fixture
def session(embedded: Place) -> Session:
    return Session(embedded)


def test_a_value_that_we_choose_is_rehearsed_beside_its_files(session: Session) -> None:
    before = session.look()
    rehearse(session.place)
    assert session.look() == before
    assert session.place.told(*STEPS) == ["rehearsal.started", "rehearsal.succeeded"]


def test_a_place_that_can_have_no_shadow_is_looked_at_and_not_rehearsed(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadows, "Shadows", Asks)  # which no place is
    before = session.look()
    rehearse(session.place)
    assert session.look() == before
    assert session.place.told(*STEPS) == ["rehearsal.started", "rehearsal.succeeded"]
    assert "push.started" not in session.place.told()
    assert len(session.place.events[0]["detail"]["not_rehearsed"]) == 2


def test_a_rehearsal_moves_neither_the_schedule_nor_what_counts_as_rotated(session: Session) -> None:
    planned = session.place.status("web")["next_rotation_at"]
    rehearse(session.place)
    status = session.place.status("web")
    assert (status["next_rotation_at"], status["current"]["version"]) == (planned, 1)
    session.place.events.clear()
    session.place.rotate()
    assert session.place.events == []
    assert session.place.rotate("web", now=True)["web"].completed


def test_nobody_waits_for_readers_of_a_shadow_nor_tells_or_asks_them(session: Session) -> None:
    called = session.place.folder / "called"
    hook = {"command": ["/usr/bin/touch", str(called)]}
    session.write(
        places=["one.env"],
        entry={"wave": 1, "mode": "pair", "readers": "poll 30m", "reload": hook, "probe": hook},
        wave_soak="1h",
    )
    session.place.rotate("web", now=True)
    called.unlink()
    before = session.look()
    session.place.events.clear()
    rehearse(session.place)
    assert session.place.told(*STEPS) == ["rehearsal.started", "rehearsal.succeeded"]
    assert session.look() == before
    assert not called.exists()


# killed


class Dying(Seam):
    """The process ends at the n-th moment: before each call to the outside and each commit, or after some effects."""

    def __init__(self, after: frozenset[str] | None = None) -> None:
        self.after = after  # None: before all of them
        self.arm(0)

    def arm(self, at: int) -> None:
        """A new life, until the n-th moment from now."""
        self.at, self.passed, self.dead = at, 0, False

    def wrap(self, port: T, kind: str) -> T:
        for name in dir(type(port)):
            if name.startswith("_") or name == "close" or not callable(getattr(type(port), name, None)):
                continue
            object.__setattr__(port, name, self._mortal(getattr(port, name), kind, name))
        return port

    def _mortal(self, call: Callable[..., Any], kind: str, name: str) -> Callable[..., Any]:
        outside = name == "record" if kind == "store" else name not in ("shadow", "generate")

        def mortal(*args: Any, **kwargs: Any) -> Any:
            self._moment(counts=self.after is None and outside)
            result = call(*args, **kwargs)
            self._moment(counts=self.after is not None and name in self.after)
            return self.wrap(result, kind) if name == "shadow" else result

        return mortal

    def _moment(self, *, counts: bool) -> None:
        self.passed += counts
        self.dead = self.dead or (counts and self.passed == self.at)
        if self.dead:  # and a dead process does nothing more
            raise Crash


DEAD = json.dumps({**json.loads(this_process("worker")), "started": "0"})
"""The holder of a lease whose process has ended, as anybody on this host can see."""


class Killed:
    """A worker that is killed, and one that comes after it, each with a service of its own."""

    def __init__(self, place: Place, name: str, seam: Dying) -> None:
        self.place = place
        self.name = name
        self.seam = seam

    @contextmanager
    def standing(self) -> Iterator[None]:
        around = replace(self.place.surroundings(), holder=DEAD)
        opened = wiring.opened(load(self.place.file), around, seam=self.seam)
        with opened as self.mortal, self.place.service() as self.survivor:
            yield

    def at(self, moment: int) -> bool:
        """Rehearse and be killed at this moment; False where there is none."""
        self.seam.arm(moment)
        with suppress(Crash):
            _rehearse(self.mortal, self.name, 10)
        return self.seam.dead

    def recovered(self) -> None:
        """Passes run until nothing is left to do."""
        for _ in range(10):
            self.survivor.running().run([self.name], None, timedelta(seconds=5))
            status = self.survivor.report().status([self.name])["credentials"][0]
            if status["status"] == "ok" and not status["previous"]:
                return
        pytest.fail(f"it does not come to its end: {status}")

    def everywhere(self, look: Callable[[], Any]) -> int:
        """Be killed at each moment in turn; afterwards everything is as before. Returns how many there are."""
        before, moment = look(), 1
        with self.standing():
            while self.at(moment):
                self.recovered()
                assert look() == before, f"killed at moment {moment}"
                moment += 1
            assert look() == before
        self.place.verified()
        assert not self.place.bugs
        return moment - 1


def killed(place: Place, moment: int, seam: Dying) -> None:
    """A rehearsal of `web` that is killed."""
    worker = Killed(place, "web", seam)
    with worker.standing():
        assert worker.at(moment)


def recovered(place: Place, name: str) -> None:
    """Passes run until nothing is left to do."""
    worker = Killed(place, name, Dying())
    with worker.standing():
        worker.recovered()


def test_a_rehearsal_that_is_killed_anywhere_leaves_no_trace(session: Session) -> None:
    session.place.engine |= {"lease": "3s", "call_budget": "1s"}  # one budget is waited for each shadow that may stand
    session.write(places=("one.env",))
    assert Killed(session.place, "web", Dying()).everywhere(session.look) > 30


EFFECTS = frozenset({"create", "write", "remove", "disable", "delete"})


def test_a_rehearsal_that_is_killed_after_any_effect_leaves_no_trace_at_aws(deployer: Deployer) -> None:  # noqa: F811
    deployer.place.policy |= {"max_creates_per_day": 1000}
    deployer.place.engine |= {"lease": "4s", "call_budget": "1500ms"}
    deployer.write()
    deployer.place.rotate(patience=10)
    killed = Killed(deployer.place, "deployer", Dying(EFFECTS))
    assert killed.everywhere(lambda: (deployer.listed(), deployer.body(), names(deployer))) > len(EFFECTS)


def test_a_rehearsal_that_was_killed_long_ago_is_not_gone_on_with(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = session.look()
    killed(session.place, 2, Dying(frozenset({"write"})))
    assert len(session.look()) == len(before) + 2, "both shadows stand"
    monkeypatch.setattr(rehearsal, "LIMIT", timedelta(0))
    recovered(session.place, "web")
    assert session.look() == before
    assert session.place.told(*STEPS) == ["rehearsal.started", "rehearsal.failed"]
    assert failed(session.place)[0] == "too_slow"


# something fails


def is_removal(request: Request) -> bool:
    return request.method == "DELETE" and "/v1/secret/metadata/" in request.path


def is_shadow_write(request: Request) -> bool:
    return is_write(request) and ".rehearsal-" in request.path


def test_a_shadow_that_cannot_be_removed_holds_its_key_until_it_can(settled: OpenAIWeb) -> None:
    web, before = settled, Before(settled)
    web.place.events = On("verify.succeeded", lambda: web.vault_gate.on(is_removal, Answer(503), times=None), number=3)
    rehearse(web.place, patience=2)
    status = web.place.status("web")
    assert (status["previous"][0]["state"], status["previous"][0]["step"]) == ("condemned", "drain")
    assert status["previous"][0]["reason"] == "lost_answer"
    assert len(web.live()) == 2, "a shadow goes before its key"
    assert refusal(web.place) == (PermanentError, "taking_away")
    web.vault_gate.clear()
    recovered(web.place, "web")
    before.unchanged()
    assert web.place.told(*STEPS) == ["rehearsal.started", "rehearsal.succeeded"]


def test_a_write_that_arrives_late_leaves_no_shadow_behind(settled: OpenAIWeb, monkeypatch: pytest.MonkeyPatch) -> None:
    web, before = settled, Before(settled)
    monkeypatch.setattr(rehearsal, "LIMIT", timedelta(seconds=1))
    web.vault_gate.on(is_shadow_write, Delay(6, late_effect=True))
    rehearse(web.place, patience=4)
    time.sleep(4)
    recovered(web.place, "web")
    before.unchanged()
    assert web.place.told().count("remove.succeeded") == 2


def test_a_shadow_that_we_may_not_remove_is_never_written(settled: OpenAIWeb) -> None:
    web, before = settled, Before(settled)
    rules = 'path "secret/data/*" { capabilities = ["create", "read", "update"] }'
    web.bao.call("POST", "sys/policies/acl/no-removal", {"policy": rules})
    made = web.bao.call("POST", "auth/token/create", {"policies": ["no-removal"]})
    (web.place.folder / "token").write_text(made["auth"]["client_token"])
    rehearse(web.place)
    assert failed(web.place)[0] == "missing_permission"
    assert "create.started" not in web.place.told()
    before.unchanged()


def test_a_key_that_the_provider_refuses_to_make_fails_it(settled: OpenAIWeb) -> None:
    web, before = settled, Before(settled)
    no = Answer(400, body=b'{"error": {"message": "no", "code": "invalid_scopes"}}', effect=False)
    web.gate.on(is_create, no, times=None)
    rehearse(web.place)
    assert web.place.told(*STEPS) == ["rehearsal.started", "rehearsal.failed"]
    before.unchanged()


def test_a_new_key_that_does_not_work_fails_it(settled: OpenAIWeb) -> None:
    web, before = settled, Before(settled)
    rehearse(web.place, seam=DeadOnArrival(web.emulator))
    assert failed(web.place)[0] == "key_refused"
    before.unchanged()


def test_a_place_that_does_not_answer_for_long_fails_it(settled: OpenAIWeb, monkeypatch: pytest.MonkeyPatch) -> None:
    web, before = settled, Before(settled)
    monkeypatch.setattr(rehearsal, "LIMIT", timedelta(seconds=1))
    web.vault_gate.on(is_shadow_write, Refuse(), times=None)
    rehearse(web.place)
    why, message = failed(web.place)
    assert (why, "second:secret/" in message) == ("too_slow", True)
    assert len(web.emulator.creates) == 2
    web.vault_gate.clear()
    recovered(web.place, "web")
    before.unchanged()


def test_a_place_that_holds_somebody_elses_value_fails_it_before_a_key_is_made(session: Session) -> None:
    (session.folder / "two.env").write_text("KEY=somebody-else\n")
    before = session.look()
    rehearse(session.place)
    assert failed(session.place)[0] == "foreign"
    assert "create.started" not in session.place.told()
    assert session.look() == before


# people


def test_a_person_can_give_it_up(session: Session) -> None:
    before = session.look()
    killed(session.place, 1, Dying(frozenset({"write"})))
    with held(session.place) as work:
        operator.abandon(work, "enough")
    recovered(session.place, "web")
    assert session.look() == before
    assert failed(session.place) == ("abandoned", "a person gave it up")


def test_it_makes_way_for_a_leak_that_needs_its_slot(deployer: Deployer) -> None:  # noqa: F811
    deployer.place.rotate(patience=10)
    old, stands = next(iter(deployer.listed())), names(deployer)
    deployer.place.events.clear()
    deployer.place.events = On("push.succeeded", lambda: pause(deployer.place))
    rehearse(deployer.place, "deployer", patience=6)
    assert len(deployer.listed()) == 2, "it is paused in the middle, and both slots are taken"
    unpause(deployer.place)
    with Consumer([deployer.works]) as consumer:
        done = deployer.place.rotate("deployer", now=True, cause=Cause.COMPROMISED, patience=15)["deployer"]
    assert done.completed
    assert consumer.dead == 0
    recovered(deployer.place, "deployer")
    assert old not in deployer.listed()
    assert len(deployer.listed()) == 1
    assert names(deployer) == stands
    assert failed(deployer.place)[0] == "made_way"


def test_it_makes_way_for_a_rotation_that_a_person_wants(session: Session) -> None:
    killed(session.place, 1, Dying(frozenset({"write"})))
    assert session.place.rotate("web", now=True)["web"].completed
    recovered(session.place, "web")
    assert session.look().keys() == {"one.env", "two.env"}
    assert failed(session.place)[0] == "made_way"


def test_a_shadow_whose_place_was_taken_out_waits_for_it_or_for_a_person(session: Session) -> None:
    killed(session.place, 2, Dying(frozenset({"write"})))
    session.write(places=["one.env"])
    session.place.rotate(patience=3)
    assert reason(session.place) == ("blocked", "destination_removed")
    assert "rotator forget web --destination files" in (session.place.status("web")["remedy"] or "")
    for left in session.folder.glob("two.env.rehearsal-*"):
        left.unlink()
    with held(session.place) as work:
        forgotten = operator.forget_destination(work, "files")
        assert [address for address in forgotten if "two.env.rehearsal-" in address]
        assert not [address for address in forgotten if "one.env" in address]
        operator.resume(work)
    recovered(session.place, "web")
    assert session.look().keys() == {"one.env", "two.env"}


def test_a_pause_holds_it_at_its_next_step(session: Session) -> None:
    before = session.look()
    session.place.events = On("push.succeeded", lambda: pause(session.place))
    rehearse(session.place, patience=6)
    assert "a rehearsal is open" in session.place.explain("web") + str(session.place.status("web")["conditions"])
    session.place.rotate(patience=6)
    assert session.look() != before
    unpause(session.place)
    recovered(session.place, "web")
    assert session.look() == before


# it does not begin


def test_it_does_not_begin_while_the_credential_is_paused(session: Session) -> None:
    pause(session.place)
    assert refusal(session.place) == (PermanentError, "paused")


def test_it_does_not_begin_beside_an_open_rotation_and_joins_one_of_its_kind(session: Session) -> None:
    with held(session.place) as work:
        first = rehearsal.begin(work)
        assert rehearsal.begin(work).id == first.id
    recovered(session.place, "web")
    session.place.events = On("push.succeeded", lambda: pause(session.place))
    session.place.rotate("web", now=True, patience=6)
    unpause(session.place)
    assert refusal(session.place) == (PermanentError, "rotating")


def test_it_does_not_begin_before_the_first_key(embedded: Place) -> None:
    session = Session.__new__(Session)
    session.place, session.folder = embedded, embedded.folder
    session.write()
    assert refusal_of_new(embedded) == (PermanentError, "never_rotated")


def refusal_of_new(place: Place) -> tuple[type[RotatorError], str]:
    with pytest.raises(RotatorError) as told, held(place) as work:
        rehearsal.begin(work)
    return type(told.value), told.value.reason


def test_it_does_not_begin_when_a_key_now_would_put_the_next_rotation_off(session: Session) -> None:
    session.write(rotate_every="2h", min_interval="2h")
    assert refusal(session.place) == (PermanentError, "due_soon")


def test_its_keys_count_for_the_limit_of_a_day(session: Session) -> None:
    session.write(max_creates_per_day=2)
    rehearse(session.place)
    assert refusal(session.place) == (PermanentError, "max_creates")


def test_a_key_that_a_person_makes_is_not_rehearsed(embedded: Place) -> None:
    session = Session(embedded)
    session.write(provider="manual")
    with pytest.raises(SetupError) as told, held(embedded) as work:
        rehearsal.begin(work)
    assert told.value.reason == "cannot_rehearse"
