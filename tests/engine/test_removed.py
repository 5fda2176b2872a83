"""What is taken out of the configuration: what is open is finished, nothing new is opened, nobody else is stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from rotator.domain.errors import PermanentError
from rotator.domain.model import Cause
from rotator.engine import operator, reactivation
from rotator.testbed.gate import Gate, Refuse
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.testbed.openbao import OpenBao
from tests.engine.conftest import Fleet, OpenAIWeb
from tests.engine.place import Consumer, Place
from tests.engine.test_going_back import held
from tests.engine.test_iam import Deployer, deployer  # noqa: F401 - a fixture
from tests.engine.test_rotation import is_write


def take_out(place: Place, section: str, name: str) -> Any:
    """Out of the configuration; gives the entry."""
    content = yaml.safe_load(place.file.read_text())
    entry = content[section].pop(name)
    place.file.write_text(yaml.safe_dump(content, sort_keys=False))
    return entry


def take_out_of(place: Place, name: str, to: str) -> None:
    """One destination of a credential out of the configuration."""
    content = yaml.safe_load(place.file.read_text())
    entry = content["credentials"][name]
    entry["destinations"] = [d for d in entry["destinations"] if d["to"] != to]
    place.file.write_text(yaml.safe_dump(content, sort_keys=False))


def put_back(place: Place, section: str, name: str, entry: Any) -> None:
    content = yaml.safe_load(place.file.read_text())
    content[section][name] = entry
    place.file.write_text(yaml.safe_dump(content, sort_keys=False))


def opened(web: OpenAIWeb) -> None:
    """A rotation that has come to the first of two places."""
    web.place.rotate()
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, until="push.delayed")
    assert web.place.status("web")["rotation"]["step"] == "push"
    assert web.value(0) != web.value(1)


def types(status: dict[str, Any]) -> list[str]:
    return [row["type"] for row in status["conditions"]]


@pytest.fixture
def fleet(embedded: Place, openai: OpenAIEmulator, openbao: OpenBao, gate_to: Callable[[str], Gate]) -> Iterator[Fleet]:
    found = Fleet(embedded, openai, openbao, gate_to)
    embedded.policy |= {"grace": "1h", "require_idle": "0s"}
    found.write()
    yield found
    found.client.adapter.close()


def test_an_open_rotation_of_a_removed_credential_is_finished(web: OpenAIWeb) -> None:
    opened(web)
    old = web.live()[0]
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        take_out(web.place, "credentials", "web")
        status = web.place.status("web")  # before any pass has noticed
        assert status["next_rotation_at"] is None
        assert "unmanaged" in types(status)
        web.vault_gate.clear()
        assert web.place.rotate(patience=5)["web"].completed
    assert consumer.dead == 0
    assert web.value(0) == web.value(1)
    assert len(web.live()) == 1
    assert old not in web.live()
    status = web.place.status("web")
    assert (status["status"], status["rotation"], status["previous"]) == ("unmanaged", None, [])
    web.place.verified()


def test_a_removed_credential_opens_nothing_new(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"rotate_every": "1s", "grace": "2s"})
    opened(web)
    take_out(web.place, "credentials", "web")
    web.vault_gate.clear()
    assert web.place.rotate(patience=1)["web"].completed
    started = web.place.told().count("rotation.started")
    progress = web.place.rotate("web", now=True, patience=0.5)["web"]  # its retirement is still open
    assert progress.decision is not None
    assert getattr(progress.decision, "reason", None) == "unmanaged"
    assert web.place.rotate(patience=5)["web"].ready_at is None
    assert web.place.rotate(patience=1) == {}
    assert web.place.told().count("rotation.started") == started
    assert len(web.live()) == 1


def test_a_worker_that_still_names_it_does_not_let_others_open_anything(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"rotate_every": "1s", "grace": "1h"})
    web.place.rotate()
    web.place.rotate("web", now=True)
    before = web.place.file.read_text()
    take_out(web.place, "credentials", "web")
    started = web.place.told().count("rotation.started")
    with web.place.service() as ours:
        after = web.place.file.read_text()
        web.place.file.write_text(before)
        with web.place.service():
            assert ours.store.credentials()[0].managed  # by that one's configuration
        web.place.file.write_text(after)
        progress = ours.running().turn("web", None, ours.store.now())
    assert getattr(progress.decision, "reason", None) == "unmanaged"
    assert web.place.told().count("rotation.started") == started


def test_a_removed_credential_is_not_watched(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"grace": "1h"})
    web.place.engine["watch"] = "1ms"
    web.write(policy={"grace": "1h"})
    web.place.rotate()
    web.place.rotate("web", now=True)
    take_out(web.place, "credentials", "web")
    web.put("somebody-s-own-value")
    web.place.rotate(patience=6)
    assert "drift.found" not in web.place.told()


def test_what_watching_has_found_is_cleared_when_nobody_looks_any_more(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.put("a-value-that-never-worked")
    web.place.engine["watch"] = "1ms"
    web.write()
    web.place.rotate(patience=6)
    assert web.place.status("web")["status"] == "blocked"
    take_out(web.place, "credentials", "web")
    web.place.rotate(patience=6)
    assert web.place.status("web")["status"] == "unmanaged"
    cleared = [(e["credential"], e["reason"]) for e in web.place.events if e["event"] == "drift.cleared"]
    assert cleared == [("web", "unmanaged")]


def test_a_retirement_goes_through_grace_soak_and_deletion_after_the_removal(deployer: Deployer) -> None:  # noqa: F811
    deployer.write(grace="1s", soak="2s", require_idle="0s")
    deployer.place.rotate(patience=10)
    old = next(iter(deployer.listed()))
    deployer.place.rotate("deployer", now=True, patience=10)
    assert deployer.listed()[old] == "Active"
    take_out(deployer.place, "credentials", "deployer")
    assert "what is open is finished, and nothing new is opened" in deployer.place.explain("deployer")
    with Consumer([deployer.works]) as consumer:
        deployer.place.rotate(patience=1.5)
        assert deployer.listed()[old] == "Inactive"
        status = deployer.place.status("deployer")
        assert (status["status"], types(status)) == ("retiring", ["retiring", "unmanaged"])
        deployer.place.rotate(patience=10)
    assert consumer.dead == 0
    assert old not in deployer.listed()
    assert list(deployer.listed().values()) == ["Active"]
    assert deployer.place.status("deployer")["status"] == "unmanaged"
    assert "nothing is open, and nothing new is opened" in deployer.place.explain("deployer")
    deployer.place.verified()


def test_a_removed_credential_that_is_put_back_goes_on(web: OpenAIWeb) -> None:
    opened(web)
    entry = take_out(web.place, "credentials", "web")
    web.place.rotate(patience=1)
    assert web.place.status("web")["rotation"] is not None
    put_back(web.place, "credentials", "web", entry)
    web.vault_gate.clear()
    assert web.place.rotate(patience=5)["web"].completed
    assert web.place.status("web")["status"] == "ok"
    assert web.place.rotate("web", now=True, patience=5)["web"].completed
    web.place.verified()


def test_the_entry_is_the_last_one_that_named_it(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    opened(web)
    web.write(policy={"settle": "1s"})
    web.place.rotate(patience=0.2)
    take_out(web.place, "credentials", "web")
    with web.place.service(unlock=False) as service:
        assert service.managed["web"].settle.total_seconds() == 1
        assert service.managed["web"].removed


def test_a_removed_provider_is_a_finding_and_the_others_go_on(fleet: Fleet) -> None:
    place = fleet.place
    place.rotate()
    place.rotate("web", now=True)
    take_out(place, "credentials", "web")
    provider = take_out(place, "providers", "openai")
    results = place.rotate(patience=6)
    trouble = results["web"].trouble
    assert isinstance(trouble, PermanentError)
    assert trouble.reason == "provider_removed"
    assert results["session"].trouble is None
    assert place.rotate("session", now=True)["session"].completed
    assert place.told().count("provider_removed.found") == 1
    status = place.status("web")
    assert (status["status"], status["reason"]) == ("blocked", "provider_removed")
    assert "no provider is called `openai`" in status["message"]
    assert types(status) == ["blocked", "retiring", "unmanaged"]
    assert "Finding (provider_removed)" in place.explain("web")
    assert "what is open waits" in place.explain("web")
    place.policy["grace"] = "0s"
    put_back(place, "providers", "openai", provider)
    place.rotate(patience=6)
    assert place.told().count("provider_removed.cleared") == 1
    assert types(place.status("web")) == ["retiring", "unmanaged"]
    place.verified()


def test_a_removed_server_is_a_finding_that_names_the_destination(fleet: Fleet) -> None:
    place = fleet.place
    place.rotate()
    place.rotate("web", now=True)
    entry = take_out(place, "credentials", "web")
    server = take_out(place, "destinations", "vault")
    results = place.rotate(patience=6)
    assert results["web"].trouble is not None
    assert "no destination is called `vault`" in results["web"].trouble.message
    assert place.rotate("session", now=True)["session"].completed
    put_back(place, "credentials", "web", entry)
    put_back(place, "destinations", "vault", server)
    assert place.rotate(patience=6)["web"].trouble is None
    assert types(place.status("web")) == ["retiring"]
    assert place.told().count("provider_removed.cleared") == 1


def test_a_finding_about_what_was_finished_elsewhere_is_cleared(fleet: Fleet) -> None:
    place = fleet.place
    place.rotate()
    place.rotate("web", now=True)
    whole = place.file.read_text()
    take_out(place, "credentials", "web")
    take_out(place, "providers", "openai")
    place.rotate(patience=6)
    without = place.file.read_text()
    place.file.write_text(whole)
    place.rotate("web", now=True, cause=Cause.COMPROMISED)
    place.rotate(patience=5)
    place.file.write_text(without)
    place.rotate(patience=6)
    assert place.status("web")["status"] == "unmanaged"
    assert place.told("provider_removed.found", "provider_removed.cleared") == [
        "provider_removed.found",
        "provider_removed.cleared",
    ]


@pytest.mark.parametrize("by", ["the retirement", "a look, before the place went down"])
def test_a_key_that_was_seen_at_a_place_is_kept_when_the_place_goes(two_files: Place, by: str) -> None:
    """A person had put it back there. What was seen outlives the place's entry in the configuration."""
    place, file = two_files, two_files.folder / "two" / "app.env"
    old, text = place.status("web")["current"]["key_id"], file.read_text()
    place.rotate("web", now=True, patience=0)
    file.write_text(text)
    if by != "the retirement":
        whole = place.file.read_text()
        place.file.write_text(whole.replace("engine:\n", "engine:\n  watch: 1ms\n"))
        place.rotate(patience=0)
        assert place.status("web")["destinations"][1]["state"] == "previous"
        file.unlink()
        file.mkdir()
        place.rotate(patience=0)
        assert place.status("web")["destinations"][1]["state"] == "previous", "as it was seen last"
        place.file.write_text(whole)
    with held(place) as work:
        reactivation.retire(work, key=old, force=True, because="nobody reads it")
    if by == "the retirement":
        place.rotate(patience=0)
        assert place.status("web")["previous"][0]["reason"] == "destination_serves_it"
    take_out_of(place, "web", "two")
    place.rotate(patience=6)
    assert [row["reason"] for row in place.status("web")["previous"]] == ["destination_removed"]
    with held(place) as work:
        operator.forget_destination(work, "two", "nobody reads there")
        operator.resume(work)
    place.rotate(patience=2)
    assert place.status("web")["previous"] == []


def test_an_open_rotation_of_a_removed_credential_can_be_given_up(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    (old,) = web.live()
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=1)
    take_out(web.place, "credentials", "web")
    with web.place.service() as service, service.running().hold("web") as work:
        operator.abandon(work)
    web.vault_gate.clear()
    web.place.rotate(patience=5)
    assert web.live() == [old]
    assert web.works(0) is True
    assert web.works(1) is True
    assert web.place.status("web")["status"] == "unmanaged"
    web.place.verified()


def test_a_place_that_went_before_the_credential_can_be_forgotten(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    opened(web)
    web.write(paths=web.paths[:1])
    web.place.rotate(patience=6)
    assert web.place.status("web")["reason"] == "destination_removed"
    take_out(web.place, "credentials", "web")
    with web.place.service() as service, service.running().hold("web") as work:
        operator.abandon(work)
    web.place.rotate(patience=3)
    with web.place.service() as service, service.running().hold("web") as work:
        operator.forget_destination(work, "second", None)
        operator.resume(work)
    web.place.rotate(patience=5)
    assert len(web.live()) == 1
    assert web.place.status("web")["status"] == "unmanaged"
