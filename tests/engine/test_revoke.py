"""`revoke`: a key stops working now, whatever stands in the way; and everything goes on to a new one afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from rotator.domain.errors import SetupError, Unavailable
from rotator.domain.model import Cause, VersionState
from rotator.engine import adoption, drift, intake, operator, pausing, reactivation, regress, revocation
from rotator.engine.rollback import rollback
from rotator.ports.provider import Key
from rotator.testbed.gate import Gate, Refuse
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.wiring import Seam
from tests.engine.place import Place, dotenv_value
from tests.engine.test_going_back import LONG, held, soaking
from tests.engine.test_guards import OTHER_ACCOUNT, Crash, On, Patched, reason
from tests.engine.test_iam import Deployer, deployer  # noqa: F401 - a fixture


class Web:
    """The credential `web`: an OpenAI key, behind a gate, in two env files."""

    def __init__(self, place: Place, emulator: OpenAIEmulator, gate: Gate) -> None:
        self.place = place
        self.emulator = emulator
        self.gate = gate
        (place.folder / "admin").write_text(emulator.admin_key)
        self.write()

    def write(self, policy: dict[str, Any] | None = None) -> None:
        options = {"project": self.emulator.project, "service_account": self.emulator.service_account}
        self.place.write(
            providers={"openai": {"admin_key": "file:admin", "base_url": self.gate.url + "/v1"}},
            destinations={to: {"type": "env-file", "path": f"{to}/.env"} for to in ("one", "two")},
            credentials={
                "web": {
                    "provider": "openai",
                    "options": options,
                    "policy": policy or {},
                    "destinations": [{"to": "one"}, {"to": "two"}],
                }
            },
        )
        for to in ("one", "two"):
            (self.place.folder / to).mkdir(exist_ok=True)

    def value(self, to: str = "one") -> str | None:
        return dotenv_value(self.place.folder / to / ".env", "OPENAI_API_KEY")

    def works(self, to: str = "one") -> bool:
        value = self.value(to)
        return value is not None and self.emulator.accepts(value)

    def live(self) -> list[str]:
        made = self.emulator.keys()
        return [key.id for key in made if key.state in ("live", "settling")]

    @contextmanager
    def unreachable(self, to: str) -> Iterator[None]:
        """The folder of a place is gone."""
        away = self.place.folder / f"{to}.away"
        (self.place.folder / to).rename(away)
        yield
        away.rename(self.place.folder / to)


@pytest.fixture
def web(embedded: Place, openai: OpenAIEmulator, gate_to: Callable[[str], Gate]) -> Web:
    return Web(embedded, openai, gate_to(openai.url.removesuffix("/v1")))


def nothing_reaches_two() -> Seam:
    """Writes to the second place fail, once a key was made."""

    def make(write: Callable[..., str]) -> Callable[..., str]:
        def failing(*given: Any) -> str:
            if "/two/" in write.__self__.address:  # type: ignore[attr-defined]
                message = "not now"
                raise Unavailable(message)
            return write(*given)

        return failing

    return Patched("destination", write=make)


def revoke(place: Place, name: str = "web", seam: Seam | None = None, **asked: Any) -> list[str]:
    """As the command does it: without the sealing key."""
    (place.folder / "rotator.key").rename(place.folder / "away.key")
    try:
        with place.service(seam, unlock=False) as service, service.engine.hold(name) as work:
            return revocation.revoke(work, because="INC-9", **asked)
    finally:
        (place.folder / "away.key").rename(place.folder / "rotator.key")


def test_the_current_key_dies_at_once_without_sealing_key_or_destination_and_a_new_one_takes_over(web: Web) -> None:
    web.write(policy=LONG)
    web.place.rotate()
    (old,) = web.live()
    with web.unreachable("one"), web.unreachable("two"):
        said = revoke(web.place)
    assert said == [f"version 1 ({old}) works no more at openai"]
    assert web.live() == []
    assert web.place.told()[-2:] == ["revoke.started", "revoke.succeeded"]
    assert web.place.events[-2]["detail"]["because"] == "INC-9"
    assert reason(web.place) == ("blocked", "revoked")
    assert "`rotate --now web`" in web.place.explain("web")
    assert web.place.status("web")["current"]["key_id"] == old, "that is what the destinations serve"
    web.place.rotate(patience=6)
    assert reason(web.place)[0] == "blocked", "no pass makes a key that nobody asked for"
    assert len(web.emulator.creates) == 1
    assert web.place.rotate("web", now=True)["web"].completed
    assert web.works("one")
    assert web.works("two")
    web.place.rotate(patience=2)
    assert reason(web.place) == ("ok", None)
    assert web.place.status("web")["previous"] == []
    web.place.verified()


def test_it_passes_a_pause_a_brake_and_a_restored_database_and_may_be_repeated(web: Web) -> None:
    web.place.rotate()
    (old,) = web.live()
    with web.place.service() as service:
        store, engine = service.store, service.engine
        pausing.pause(store, store.credentials()[0], actor="ann", why="w", lasts=None)
        store.note_account("openai", lambda row: row.__class__(provider="openai", failures=99))
        regress._find(store, engine.around, "database", "it was restored")
    for _ in range(2):
        assert revoke(web.place, key=old) == [f"version 1 ({old}) works no more at openai"]
    assert web.live() == []


def test_after_a_crash_before_the_call_the_next_pass_does_it_whatever_stops_other_work(web: Web) -> None:
    web.place.rotate()

    def die() -> None:
        raise Crash

    web.place.events = On("revoke.started", die)
    with suppress(Crash):
        revoke(web.place)
    web.place.events = []
    assert len(web.live()) == 1
    with web.place.service() as service:
        regress._find(service.store, service.engine.around, "database", "it was restored")
        pausing.pause(service.store, service.store.credentials()[0], actor="ann", why="w", lasts=None)
    web.place.rotate(patience=0)
    assert web.live() == []
    assert web.place.told("revoke.started", "revoke.succeeded") == ["revoke.succeeded"]


def test_after_a_crash_behind_the_call_the_next_pass_notes_what_was_done(web: Web) -> None:
    web.place.rotate()

    def make(delete: Callable[[str], None]) -> Callable[[str], None]:
        def dying(key_id: str) -> None:
            delete(key_id)
            raise Crash

        return dying

    with suppress(Crash):
        revoke(web.place, seam=Patched("provider", delete=make))
    assert web.live() == []
    assert reason(web.place) != ("blocked", "revoked")
    web.place.rotate(patience=0)
    assert reason(web.place)[0] == "blocked"
    assert web.place.told("revoke.started", "revoke.succeeded") == ["revoke.started", "revoke.succeeded"]


def test_a_forced_retirement_goes_past_use_and_the_trail_says_so(web: Web) -> None:
    web.place.rotate()
    old, value = web.live()[0], web.value()
    web.write(policy={"grace": "1s", "require_idle": "1s", "hold_alarm": "30s"})
    web.place.rotate("web", now=True, patience=0)

    def used(keys: Callable[[], list[Key]]) -> Callable[[], list[Key]]:
        return lambda: [replace(k, last_used_at=datetime.now(UTC), last_used_by="a reader") for k in keys()]

    in_use = Patched("provider", keys=used)
    web.place.rotate(patience=1.5, seam=in_use)
    assert web.place.status("web")["previous"][0]["reason"] == "in_use"
    with held(web.place) as work:
        reactivation.retire(work, key=old, force=True, because="that was our scan")
    web.place.rotate(patience=1, seam=in_use)
    assert value is not None
    assert not web.emulator.accepts(value)
    told = {event["event"]: event["detail"] for event in web.place.events}
    assert told["retire.succeeded"]["past"].startswith("in_use: version 1 was last used by a reader at 20")
    assert told["drain.succeeded"]["forced"] == "in_use"


def test_a_provider_that_does_not_answer_is_tried_by_every_pass(web: Web) -> None:
    web.place.rotate()
    web.gate.on(lambda _: True, Refuse(), times=None)
    (said,) = revoke(web.place)
    assert "WORKS STILL" in said
    assert "revoke.delayed" in web.place.told()
    web.gate.clear()
    web.place.rotate(patience=3)
    assert web.live() == []


def test_the_wrong_account_is_never_asked_to_end_a_key(web: Web) -> None:
    web.place.rotate()
    (said,) = revoke(web.place, seam=OTHER_ACCOUNT)
    assert "WORKS STILL: the provider says openai:proj_other" in said
    assert len(web.live()) == 1
    assert reason(web.place) == ("blocked", "wrong_account")


def test_a_key_in_its_grace_goes_at_once_and_the_current_one_stays(web: Web) -> None:
    web.write(policy=LONG)
    web.place.rotate()
    (old,) = web.live()
    web.place.rotate("web", now=True)
    with web.unreachable("two"):
        revoke(web.place, key=old)
    assert old not in web.live()
    assert web.works("one")
    web.place.rotate(patience=2)
    assert reason(web.place) == ("ok", None)


def test_a_key_that_only_the_provider_knows_is_put_on_record_and_ended(web: Web) -> None:
    web.place.rotate()
    (current,) = web.live()
    theirs, others = web.emulator.make_key().id, web.emulator.make_key(owner="user_ann").id
    with held(web.place) as work, pytest.raises(SetupError, match="but a key of"):
        revocation.revoke(work, key=others)
    web.emulator.revoke(others)
    with held(web.place) as work, pytest.raises(SetupError):
        revocation.revoke(work, key="key_of_nobody")
    assert revoke(web.place, key=theirs) == [f"version 2 ({theirs}) works no more at openai"]
    assert web.live() == [current]
    web.place.rotate(patience=2)
    assert reason(web.place) == ("ok", None)


@pytest.mark.parametrize("which", ["the new key", "all keys"])
def test_a_rotation_that_would_make_it_current_is_given_up(web: Web, which: str) -> None:
    web.place.rotate()
    (old,) = web.live()
    web.place.rotate("web", now=True, patience=0.5, seam=nothing_reaches_two())
    (new,) = set(web.live()) - {old}
    revoke(web.place, **({"key": new} if which == "the new key" else {"all_keys": True}))
    if which == "the new key":
        assert web.live() == [old]
        web.place.rotate(patience=5)
        assert web.works("one"), "the current key is put back"
        assert reason(web.place) == ("ok", None)
        return
    assert web.live() == []
    assert web.place.rotate("web", now=True, cause=Cause.COMPROMISED)["web"].completed
    assert web.works("one")
    assert web.works("two")


def test_a_put_back_of_a_revoked_key_is_in_nobodys_way(web: Web) -> None:
    web.place.rotate()
    web.place.rotate("web", now=True, patience=0.5, seam=nothing_reaches_two())
    with held(web.place) as work:
        operator.abandon(work)
        assert work.situation.rotation is not None
        assert work.situation.rotation.cause is Cause.PUT_BACK
        revocation.revoke(work)
    with held(web.place) as work:
        assert work.situation.rotation is None
    assert web.place.rotate("web", now=True)["web"].completed
    assert web.works("two")


def test_a_roll_back_is_the_other_way_out(web: Web) -> None:
    web.write(policy=LONG)
    web.place.rotate()
    (old,) = web.live()
    web.place.rotate("web", now=True)
    revoke(web.place)
    web.place.rotate(patience=6)
    assert web.live() == [old], "the last key that works is kept, whatever its grace"
    with held(web.place) as work:
        rollback(work)
    web.place.rotate(patience=5)
    assert web.works("one")
    assert web.live() == [old]
    assert reason(web.place) == ("ok", None)


def test_nothing_writes_a_revoked_key_anywhere_again(web: Web) -> None:
    web.place.rotate()
    (web.place.folder / "two" / ".env").write_text("OPENAI_API_KEY=sk-somebody\n")
    revoke(web.place)
    with held(web.place) as work:
        said = drift.overwrite(work, "two")
    assert "cannot be written again; a new key is made" in said[0]
    web.place.rotate(patience=5)
    assert web.works("one")
    assert web.works("two")


def test_where_it_can_be_disabled_it_is_and_it_soaks_once_it_is_replaced(deployer: Deployer) -> None:  # noqa: F811
    deployer.write(soak="1h")
    deployer.place.rotate(patience=10)
    (old,) = deployer.listed()
    revoke(deployer.place, "deployer")
    assert deployer.listed() == {old: "Inactive"}
    deployer.place.rotate(patience=6)
    assert reason(deployer.place, "deployer")[0] == "blocked"
    with held(deployer.place, "deployer") as work:
        assert work.situation.current is not None
        assert work.situation.current.state is VersionState.CURRENT
    assert deployer.place.rotate("deployer", now=True, patience=10)["deployer"].completed
    deployer.place.rotate(patience=6)
    assert deployer.listed()[old] == "Inactive"
    status = deployer.place.status("deployer")["previous"][0]
    assert (status["state"], status["step"], status["reason"]) == ("disabled", "delete", "soak")
    assert deployer.works()


def test_both_slots_revoked_still_leave_room_for_a_new_key(deployer: Deployer) -> None:  # noqa: F811
    soaking(deployer)
    revoke(deployer.place, "deployer", all_keys=True)
    assert set(deployer.listed().values()) == {"Inactive"}
    done = deployer.place.rotate("deployer", now=True, cause=Cause.COMPROMISED, patience=10)
    assert done["deployer"].completed
    assert deployer.works()


def test_a_person_ends_what_no_api_can_and_a_value_of_nobody_cannot_be_revoked(embedded: Place) -> None:
    embedded.write(
        providers={"hand": {"type": "manual"}, "local": {"type": "generated"}},
        destinations={"app": {"type": "env-file", "path": "app.env"}},
        credentials={
            "partner": {
                "provider": "hand",
                "options": {"instructions": "ask the partner's desk"},
                "destinations": [{"to": "app", "fields": {"PARTNER": "{secret}"}}],
            },
            "session": {"provider": "local", "destinations": [{"to": "app", "fields": {"SESSION": "{secret}"}}]},
        },
    )
    (embedded.folder / "app.env").write_text("PARTNER=a-value-of-the-partner-0123456789\n")
    with held(embedded, "partner") as work:
        adoption.adopt(work)
    (said,) = revoke(embedded, "partner")
    assert "WORKS STILL: a person has to end version 1" in said
    assert "(ask the partner's desk)" in said
    assert "rotator resume partner --gone" in said
    assert reason(embedded, "partner") == ("blocked", "awaiting_human")
    with held(embedded, "partner") as work:
        assert work.situation.current is not None
        operator.resume(work, gone=work.situation.current.key_id)
        assert not intake.can_be_written(work, work.situation.current), "nor is it put anywhere again"
    assert reason(embedded, "partner") == ("blocked", "revoked")
    embedded.rotate("session")
    with held(embedded, "session") as work, pytest.raises(SetupError, match="nobody but its readers"):
        revocation.revoke(work)


def test_what_will_break_is_said_from_the_record_alone(web: Web) -> None:
    web.place.rotate()
    (old,) = web.live()
    with web.place.service(unlock=False) as service:
        situation = service.store.load(service.store.credentials()[0].id)
        versions = revocation.named(situation, key=None, all_keys=False)
        lines = revocation.effect(service.managed["web"], situation, versions, None)
    assert lines[0] == (
        f"version 1 ({old}), which consumers should read, is deleted at openai, for it cannot disable keys, "
        "at once and for good"
    )
    assert lines[1].startswith(f"OUTAGE to come: served by env-file:{web.place.folder}/one/.env (seen 20")
    assert f"env-file:{web.place.folder}/two/.env" in lines[1]
