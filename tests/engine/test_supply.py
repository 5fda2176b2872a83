"""Keys that a person makes: what is asked for, what `supply` takes and refuses, and what goes on by itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator.domain.errors import (
    LostAnswer,
    RotatorError,
    SetupError,
    StoreUnavailable,
    TemporaryError,
    Unavailable,
)
from rotator.domain.model import Cause, RotationState, Version, VersionState
from rotator.domain.policy import Policy, supply_by
from rotator.domain.secret import Material
from rotator.engine import operator
from rotator.engine.adoption import allow_replacing
from rotator.engine.engine import Wish
from rotator.engine.rollback import rollback
from rotator.engine.supply import supply
from rotator.testbed.anthropic_emulator import AnthropicEmulator, EmulatedKey
from rotator.testbed.gate import Answer, Gate
from tests.crash.points import Points, Strike, no_answer
from tests.engine.place import Consumer, Place, dotenv_value
from tests.engine.test_going_back import held
from tests.engine.test_guards import Crash


class Claude:
    """The credential `web`: an Anthropic key in an env file."""

    def __init__(self, place: Place, emulator: AnthropicEmulator, gate: Gate) -> None:
        self.place = place
        self.emulator = emulator
        self.gate = gate
        self.file = place.folder / "app.env"
        (place.folder / "admin").write_text(emulator.admin_key)
        self.write()

    def write(self, **policy: str | int) -> None:
        anthropic = {"type": "anthropic", "admin_key": "file:admin", "base_url": self.gate.url}
        entry = {
            "provider": "anthropic",
            "options": {"workspace": self.emulator.workspace},
            "policy": policy,
            "destinations": ["app"],
        }
        self.place.write(
            providers={"anthropic": anthropic},
            destinations={"app": {"type": "env-file", "path": str(self.file)}},
            credentials={"web": entry, "worker": {**entry, "destinations": [{"to": "app", "prefix": "WORKER_"}]}},
        )

    def value(self) -> str | None:
        return dotenv_value(self.file, "ANTHROPIC_API_KEY")

    def supply(self, value: str, name: str = "web") -> Version:
        with held(self.place, name) as work:
            return supply(work, Material.of(secret=value), "the console")

    def rotated(self) -> EmulatedKey:
        """A first key is asked for, made, supplied and distributed."""
        self.place.rotate("web")
        key = self.emulator.make_key()
        self.supply(key.secret)
        self.place.rotate("web")
        assert self.value() == key.secret
        return key

    def statuses(self) -> list[str]:
        return [key.status for key in list(self.emulator.keys())]


@pytest.fixture
def claude(place: Place, anthropic: AnthropicEmulator, gate_to: Callable[[str], Gate]) -> Claude:
    return Claude(place, anthropic, gate_to(anthropic.url))


@pytest.fixture
def embedded_claude(embedded: Place, anthropic: AnthropicEmulator, gate_to: Callable[[str], Gate]) -> Claude:
    return Claude(embedded, anthropic, gate_to(anthropic.url))


def test_a_key_is_asked_for_supplied_distributed_and_the_old_one_is_set_inactive_and_archived(claude: Claude) -> None:
    first = claude.rotated()

    def works() -> bool | None:
        value = claude.value()
        return None if value is None else claude.emulator.accepts(value)

    with Consumer([works]) as consumer:
        claude.place.rotate("web", now=True)
        entry = claude.place.status("web")
        assert (entry["status"], entry["reason"]) == ("blocked", "awaiting_human")
        assert claude.emulator.workspace in entry["message"]
        assert "`rotator supply web`" in entry["remedy"]
        assert claude.value() == first.secret

        second = claude.emulator.make_key()
        version = claude.supply(second.secret)
        assert (version.number, version.key_id) == (2, second.id)
        claude.place.rotate("web")
    assert consumer.dead == 0
    assert claude.value() == second.secret
    assert claude.statuses() == ["archived", "active"]
    assert claude.place.status("web")["status"] == "ok"
    told = [e for e in claude.place.events if e["event"] in ("disable.succeeded", "delete.succeeded")]
    assert [(e["event"], e["key_id"]) for e in told] == [
        ("disable.succeeded", first.id),
        ("delete.succeeded", first.id),
    ]
    assert told[1]["detail"]["confirmed"] == "not listed and refused"
    claude.place.verified()


def test_the_intent_is_committed_before_a_person_is_asked_and_a_supplied_key_is_told_with_who_and_why(
    embedded_claude: Claude,
) -> None:
    claude = embedded_claude
    claude.place.rotate("web")
    assert claude.place.told("create.started", "create.blocked") == ["create.started", "create.blocked"]
    with held(claude.place) as work:
        assert [(v.state, v.key_id, v.sent_at) for v in work.situation.versions] == [(VersionState.PENDING, None, None)]
    key = claude.emulator.make_key()
    claude.supply(key.secret)
    told = {e["event"]: e for e in claude.place.events}
    assert told["supply.succeeded"]["detail"]["because"] == "the console"
    assert told["supply.succeeded"]["actor"]
    assert told["supply.succeeded"]["key_id"] == told["create.succeeded"]["key_id"] == key.id
    assert told["create.succeeded"]["reason"] == "supplied"


def test_waiting_is_told_once_and_burns_no_limit_however_often_somebody_looks(embedded_claude: Claude) -> None:
    claude = embedded_claude
    claude.write(max_creates_per_day=1, min_interval="10h")
    for _ in range(3):
        claude.place.rotate("web")
        claude.place.rotate("web", now=True)
    assert claude.place.told("create.blocked", "create.started") == ["create.started", "create.blocked"]
    with held(claude.place) as work:
        assert work.rotation().attempt == 0
        assert work.situation.creates == []
        assert len(work.situation.versions) == 1
    claude.supply(claude.emulator.make_key().secret)
    with held(claude.place) as work:
        assert len(work.situation.creates) == 1, "a supplied key counts as one that was created"


def test_a_leaked_key_is_to_be_replaced_at_once_and_says_so(embedded_claude: Claude) -> None:
    claude = embedded_claude
    claude.rotated()
    claude.place.rotate("web", now=True)
    assert " by 20" in claude.place.status("web")["message"]
    claude.place.rotate("web", now=True, cause=Cause.COMPROMISED)
    entry = claude.place.status("web")
    assert "has to make the new key at once" in entry["message"]
    assert [c["reason"] for c in entry["conditions"] if c["type"] == "overdue"] == ["awaiting_human"]
    claude.supply(claude.emulator.make_key().secret)
    claude.place.rotate("web")
    assert claude.statuses() == ["archived", "active"]


def test_after_the_deadline_it_is_overdue_as_well(embedded_claude: Claude) -> None:
    claude = embedded_claude
    claude.write(hold_alarm="1ms")
    claude.place.rotate("web")
    entry = claude.place.status("web")
    assert [c["type"] for c in entry["conditions"]][:2] == ["blocked", "overdue"]
    with held(claude.place) as work:
        rotation = work.rotation()
    assert supply_by(rotation, Policy(hold_alarm=timedelta(hours=2))) == rotation.opened_at + timedelta(hours=2)


def test_explain_says_what_a_person_has_to_do_and_what_takes_the_key(embedded_claude: Claude) -> None:
    claude = embedded_claude
    claude.place.rotate("web")
    said = claude.place.explain("web")
    assert "a person has to make the new key by " in said
    assert "`rotator supply web` takes the key that a person made; the next pass does the rest." in said


# what is refused


def wrong(claude: Claude) -> str:
    return claude.emulator.make_key().secret + "x"


def empty(_claude: Claude) -> str:
    return ""


def garbage(_claude: Claude) -> str:
    return "two words"


def inactive(claude: Claude) -> str:
    key = claude.emulator.make_key()
    claude.emulator.set_status(key.id, "inactive")
    return key.secret


def of_another_workspace(claude: Claude) -> str:
    return claude.emulator.make_key(workspace=claude.emulator.other_workspace).secret


def the_current_one(claude: Claude) -> str:
    value = claude.value()
    assert value is not None
    return value


def of_another_credential(claude: Claude) -> str:
    claude.place.rotate("worker")
    key = claude.emulator.make_key()
    claude.supply(key.secret, "worker")
    return key.secret


REFUSED = {
    wrong: "key_refused",
    empty: "key_refused",
    garbage: "key_refused",
    inactive: "key_refused",
    of_another_workspace: "unidentified",
    the_current_one: "known_key",
    of_another_credential: "known_key",
}


@pytest.mark.parametrize("value", REFUSED, ids=lambda f: f.__name__)
def test_what_cannot_be_the_new_key_is_refused_and_changes_nothing(
    embedded_claude: Claude, value: Callable[[Claude], str]
) -> None:
    claude = embedded_claude
    claude.rotated()
    claude.place.rotate("web", now=True)
    text = value(claude)
    before, told = situation(claude), claude.place.told()
    with pytest.raises(SetupError) as refused:
        claude.supply(text)
    assert refused.value.reason == REFUSED[value]
    assert text not in refused.value.message or not text
    assert situation(claude) == before
    assert claude.place.told() == told
    claude.supply(claude.emulator.make_key().secret)
    claude.place.rotate("web")
    assert claude.place.status("web")["current"]["version"] == 2


def test_a_provider_that_does_not_answer_takes_nothing(embedded_claude: Claude) -> None:
    claude = embedded_claude
    claude.place.rotate("web")
    key, before = claude.emulator.make_key(), situation(claude)
    claude.gate.on(lambda request: request.path == "/v1/models", Answer(529, effect=False))
    with pytest.raises(Unavailable):
        claude.supply(key.secret)
    assert situation(claude) == before
    assert claude.supply(key.secret).key_id == key.id


def test_a_place_that_was_changed_meanwhile_does_not_cost_a_person_the_key(embedded_claude: Claude) -> None:
    claude = embedded_claude
    claude.place.rotate("web")
    claude.file.write_text("ANTHROPIC_API_KEY=somebody-elses\n")
    key = claude.emulator.make_key()  # shown once
    claude.supply(key.secret)
    claude.place.rotate("web")
    assert claude.place.status("web")["reason"] == "foreign"
    assert claude.value() == "somebody-elses"
    with held(claude.place) as work:
        allow_replacing(work, ["app"], None)
        operator.resume(work)
    claude.place.rotate("web")
    assert claude.value() == key.secret


def test_a_key_is_taken_only_while_the_account_is_the_pinned_one(embedded_claude: Claude) -> None:
    claude = embedded_claude
    claude.place.rotate("web")
    key, before = claude.emulator.make_key(), situation(claude)
    claude.emulator.workspace, claude.emulator.workspace_archived = claude.emulator.other_workspace, True
    claude.write()
    with pytest.raises(RotatorError) as archived:
        claude.supply(key.secret)
    claude.emulator.workspace_archived = False
    with pytest.raises(RotatorError) as other:
        claude.supply(key.secret)
    assert (archived.value.reason, other.value.reason) == ("project_archived", "wrong_account")
    assert situation(claude) == before


def test_the_same_key_supplied_twice_is_taken_once(embedded_claude: Claude) -> None:
    claude = embedded_claude
    claude.place.rotate("web")
    key = claude.emulator.make_key()
    first = claude.supply(key.secret)
    told = claude.place.told()
    assert claude.supply(key.secret).id == first.id
    assert claude.place.told() == told
    with pytest.raises(SetupError) as other:
        claude.supply(claude.emulator.make_key().secret)
    assert other.value.reason == "nothing_to_do", "there is one key for one rotation"


@pytest.mark.parametrize("late", ["nothing was asked for", "it was given up", "it is done"])
def test_a_key_that_nobody_waits_for_is_not_taken(embedded_claude: Claude, late: str) -> None:
    claude = embedded_claude
    if late == "it is done":
        claude.rotated()
    elif late == "it was given up":
        claude.place.rotate("web")
        with held(claude.place) as work:
            operator.abandon(work)
    with pytest.raises(SetupError) as refused:
        claude.supply(claude.emulator.make_key().secret)
    assert refused.value.reason == "nothing_to_do"
    assert refused.value.remedy is not None
    assert "rotate --now web" in refused.value.remedy


def situation(claude: Claude) -> Any:
    with held(claude.place) as work:
        return work.situation


# interrupted


def dies(_kind: str, _label: str) -> None:
    raise Crash


@pytest.mark.parametrize("strike", [dies, no_answer])
def test_supply_may_be_interrupted_at_every_moment_and_repeated(embedded_claude: Claude, strike: Strike) -> None:
    claude = embedded_claude
    claude.write(max_creates_per_day=100)
    claude.rotated()
    moments: list[str] = []
    for moment in itertools.count(1):
        claude.place.rotate("web", now=True)
        value = claude.emulator.make_key().secret
        points, met = Points(), []

        def noted(kind: str, label: str) -> None:
            met.append(label)  # noqa: B023 - of this very moment
            strike(kind, label)

        with (
            suppress(Crash, LostAnswer, Unavailable, StoreUnavailable),
            claude.place.service(points) as service,
            service.running().hold("web") as work,
        ):
            points.arm(moment, noted)
            supply(work, Material.of(secret=value))
            points.disarm()
        version = claude.supply(value)
        assert version.key_id == claude.emulator.keys()[-1].id
        with held(claude.place) as work:
            assert work.rotation().state is RotationState.CREATED
            assert work.material(version) == Material.of(secret=value)
            operator.abandon(work)
        claude.place.rotate("web")
        assert claude.statuses().count("active") == 1
        moments += met
        if not met:
            break
    assert "after store.record[supply.succeeded,create.succeeded]" in moments
    claude.place.verified()


# going back


def watching(claude: Claude) -> Claude:
    """With a look at the keys at the end of each pass."""
    claude.place.engine["watch"] = "1ms"
    claude.write()
    return claude


def test_abandoning_what_is_awaited_leaves_nothing_to_take_away(embedded_claude: Claude) -> None:
    claude = watching(embedded_claude)
    first = claude.rotated()
    claude.place.rotate("web", now=True)
    stranger = claude.emulator.make_key()  # made, and never supplied: not ours to touch
    with held(claude.place) as work:
        operator.abandon(work, "not now")
    with held(claude.place) as work:
        assert (work.situation.rotation, list(work.situation.retirements)) == (None, [])
        assert [v.state for v in work.situation.versions] == [VersionState.CURRENT, VersionState.RETIRED]
    claude.place.rotate("web")
    assert claude.statuses() == ["active", "active"]
    assert claude.value() == first.secret
    with claude.place.service(unlock=False) as service:
        assert [f["kind"] for f in service.report().status()["findings"] if f["credential"] == "web"] == ["stranger"]
    claude.place.rotate("web", now=True)
    claude.supply(stranger.secret)
    claude.place.rotate("web")
    assert claude.value() == stranger.secret


def test_a_supplied_key_that_is_abandoned_is_archived_and_the_old_one_stays(embedded_claude: Claude) -> None:
    claude = embedded_claude
    first = claude.rotated()
    claude.place.rotate("web", now=True)
    claude.supply(claude.emulator.make_key().secret)
    with held(claude.place) as work:
        operator.abandon(work)
    claude.place.rotate("web")
    assert claude.value() == first.secret
    assert claude.statuses() == ["active", "archived"]


def test_a_key_that_dies_after_it_was_supplied_is_given_up_and_the_old_one_stays(embedded_claude: Claude) -> None:
    claude = embedded_claude
    first = claude.rotated()
    claude.place.rotate("web", now=True)
    key = claude.emulator.make_key()
    claude.supply(key.secret)
    claude.emulator.set_status(key.id, "inactive")
    with claude.place.service() as service:
        service.running().turn("web", None, service.store.now())
    assert "abandon.succeeded" in claude.place.told()
    assert claude.value() == first.secret


def test_the_previous_key_comes_back_after_it_was_set_inactive(embedded_claude: Claude) -> None:
    claude = embedded_claude
    claude.write(soak="10h")
    first = claude.rotated()
    claude.place.rotate("web", now=True)
    claude.supply(claude.emulator.make_key().secret)
    claude.place.rotate("web")
    assert claude.statuses() == ["inactive", "active"]
    with held(claude.place) as work:
        rollback(work)
    claude.place.rotate("web")
    assert claude.value() == first.secret
    assert claude.statuses() == ["active", "inactive"]


def test_a_key_that_a_person_is_just_making_is_no_stranger(embedded_claude: Claude) -> None:
    claude = watching(embedded_claude)
    claude.rotated()
    claude.place.rotate("web", now=True)
    key = claude.emulator.make_key()
    claude.place.rotate("web")
    assert "stranger.found" not in claude.place.told()
    claude.supply(key.secret)
    claude.place.rotate("web")
    assert "stranger.found" not in claude.place.told()


# keys that only a person can take away


class Partner:
    """The credential `partner`: a key of a service that we cannot talk to."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.file: Path = place.folder / "app.env"
        place.write(
            providers={"hand": {"type": "manual"}},
            destinations={"app": {"type": "env-file", "path": str(self.file)}},
            credentials={
                "partner": {
                    "provider": "hand",
                    "options": {"instructions": "ask partner@example.com for a key"},
                    "destinations": ["app"],
                }
            },
        )

    def given(self, value: str) -> Version:
        self.place.rotate(now=True)
        with held(self.place, "partner") as work:
            version = supply(work, Material.of(secret=value))
        self.place.rotate()
        assert dotenv_value(self.file, "PARTNER") == value
        return version


def test_an_old_key_that_only_a_person_can_take_away_is_on_record_until_they_say_that_it_is_gone(
    embedded: Place,
) -> None:
    partner = Partner(embedded)
    first = partner.given("the-first-value-0123456789")
    second = partner.given("the-second-value-0123456789")
    entry = embedded.status("partner")
    assert (entry["status"], entry["reason"]) == ("blocked", "awaiting_human")
    assert [row["key_id"] for row in entry["previous"]] == [first.key_id]
    assert f"--gone {first.key_id}" in entry["remedy"]
    for key in (second.key_id, "manual-other"):
        with held(embedded, "partner") as work, pytest.raises(SetupError) as refused:
            operator.resume(work, gone=key)
        assert refused.value.reason == "nothing_to_do"
    with held(embedded, "partner") as work:
        operator.resume(work, gone=first.key_id, because="deleted at the partner")
    entry = embedded.status("partner")
    assert (entry["status"], entry["previous"]) == ("ok", [])
    (told,) = [e for e in embedded.events if e["event"] == "delete.succeeded"]
    assert (told["key_id"], told["detail"]["confirmed"]) == (first.key_id, "a person says that it is gone")
    with embedded.service() as service:
        assert service.store.material(first.id) is None


def test_a_value_that_was_used_before_is_never_taken_again(embedded: Place) -> None:
    partner = Partner(embedded)
    values = [f"value-number-{n}-0123456789" for n in range(3)]
    for value in values:
        version = partner.given(value)
        with held(embedded, "partner") as work:
            for row in work.situation.retirements:
                old = work.situation.version(row.version_id)
                assert old is not None
                operator.resume(work, gone=old.key_id)
    assert version.number == 3
    embedded.rotate(now=True)
    for value in values:
        with held(embedded, "partner") as work, pytest.raises(SetupError) as refused:
            supply(work, Material.of(secret=value))
        assert refused.value.reason == "known_key"


def test_the_limit_of_a_day_holds_for_supplied_keys_too(embedded: Place) -> None:
    embedded.policy["max_creates_per_day"] = 1
    partner = Partner(embedded)
    partner.given("the-first-value-0123456789")
    with embedded.service() as service:
        progress = service.running().turn("partner", Wish(cause=Cause.MANUAL), service.store.now())
    assert progress.decision is not None
    assert getattr(progress.decision, "reason", None) == "max_creates"
    assert not isinstance(progress.trouble, TemporaryError)
