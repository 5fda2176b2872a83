"""Deadlines, hours and another name, on real servers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import yaml

from rotator.domain.errors import SetupError
from rotator.testbed.gate import Refuse
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import Consumer, Place
from tests.engine.test_rotation import is_write

NEVER_NOW = ["2030-01-01/2030-01-02"]
ALWAYS = ["2020-01-01/2090-01-01"]


def edit(place: Place, change: Callable[[dict[str, Any]], object]) -> None:
    """Another configuration, from the next pass on."""
    content = yaml.safe_load(place.file.read_text())
    change(content["credentials"])
    place.file.write_text(yaml.safe_dump(content, sort_keys=False))


def rename(place: Place, former: str, name: str) -> None:
    edit(place, lambda entries: entries.update({name: {**entries.pop(former), "moved_from": former}}))


@pytest.mark.parametrize(("hours", "word"), [({"windows": NEVER_NOW}, "window"), ({"blackouts": ALWAYS}, "blackout")])
def test_what_is_due_waits_for_its_hours_and_says_so(web_embedded: OpenAIWeb, hours: dict[str, Any], word: str) -> None:
    web = web_embedded
    web.write(policy={"rotate_every": "1ms", **hours})
    web.place.rotate()
    web.place.rotate()
    assert len(web.emulator.creates) == 1  # the first key waits for no hours
    status = web.place.status("web")
    assert (status["status"], status["reason"]) == ("due", word)
    assert f"({word}). It begins 20" in web.place.explain("web")
    assert web.place.rotate("web", now=True)["web"].completed
    assert "hours_broken.found" not in web.place.told()


def test_a_key_that_nears_max_age_is_replaced_in_a_blackout_and_that_is_told_before(web: OpenAIWeb) -> None:
    web.place.rotate()
    web.write(policy={"rotate_every": None, "blackouts": ALWAYS, "max_age": "10h"})
    aged(web, timedelta(hours=9, minutes=1))
    assert "max_age" in web.place.explain("web")
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        web.place.rotate()
        web.place.rotate()
    assert consumer.dead == 0
    told = web.place.told()
    assert told.index("hours_broken.found") < told.index("rotation.started", told.index("hours_broken.found"))
    assert len(web.emulator.creates) == 2
    assert len(web.live()) == 1
    (started,) = [e for e in web.place.events if e["event"] == "rotation.started" and e["reason"] == "schedule"]
    assert started["detail"]["breaks"] == "blackout"
    assert "hours_broken" in web.place.explain("web")
    web.place.verified()


def aged(web: OpenAIWeb, by: timedelta) -> None:
    """The current key was made so long ago."""
    with web.place.service() as service, service.running().hold("web") as work:
        from rotator.ports.store import Update

        current = work.situation.current
        assert current is not None
        made = work.now() - by
        work.record([Update(current, {"issued_at": made, "sent_at": made, "created_at": made})], [])


def test_a_key_that_cannot_be_replaced_in_time_is_told_and_then_overdue(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.engine = {**web.place.engine, "watch": "1ms"}
    web.write()
    web.place.rotate()
    web.write(policy={"rotate_every": None, "max_age": "10h"})
    web.vault_gate.on(is_write, Refuse(), times=None)
    aged(web, timedelta(hours=9, minutes=40))
    web.place.rotate(patience=1)
    (found,) = [e for e in web.place.events if e["event"] == "max_age.found"]
    assert found["version"] == 1
    assert "of web reaches its max_age at" in found["detail"]["message"]
    assert web.place.status("web")["status"] == "rotating"
    aged(web, timedelta(hours=10, minutes=1))
    status = web.place.status("web")
    assert (status["status"], status["reason"]) == ("overdue", "max_age")
    web.vault_gate.clear()
    web.place.rotate()
    web.place.rotate()
    assert web.place.status("web")["status"] == "ok"
    told = web.place.told("max_age.found", "max_age.cleared")  # anew where a look came between the two ages
    assert told in (["max_age.found", "max_age.cleared"], ["max_age.found", "max_age.cleared"] * 2)


def test_a_key_that_its_provider_ends_is_due_before(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    edit(web.place, lambda entries: entries["web"]["options"].update({"expires_in": "2h"}))
    web.place.rotate()
    status = web.place.status("web")
    assert status["current"]["expires_at"] is not None
    assert status["next_rotation_at"] < status["current"]["expires_at"]
    assert "ended by the provider 20" in web.place.explain("web")
    assert "and replacing it begins by" in web.place.explain("web")


def test_a_life_that_somebody_has_given_the_key_at_its_provider_is_seen(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.engine = {**web.place.engine, "watch": "1ms"}
    web.write()
    web.place.rotate()
    assert web.place.status("web")["current"]["expires_at"] is None
    with web.place.service() as service:
        provider = service.managed["web"].provider
        path = f"/organization/projects/{web.emulator.project}/api_keys/{web.live()[0]}"
        provider._api.ask("POST", path, "limit a key", body={"expires_in_seconds": 7200})  # type: ignore[attr-defined]
    web.place.rotate()
    assert web.place.status("web")["current"]["expires_at"] is not None


# another name


def test_a_renamed_credential_keeps_its_key_its_history_and_what_is_open(web: OpenAIWeb) -> None:
    web.place.rotate()
    old = web.live()
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=1)
    before = web.place.status("web")
    rename(web.place, "web", "site")
    web.vault_gate.clear()
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        assert web.place.rotate(patience=5)["site"].completed
        web.place.rotate()
    assert consumer.dead == 0
    assert len(web.emulator.creates) == 2
    assert len(web.live()) == 1
    assert web.live() != old
    assert [entry["name"] for entry in web.place.statuses()] == ["site"]
    after = web.place.status("site")
    assert after["current"]["version"] == before["current"]["version"] + 1
    (moved,) = [e for e in web.place.events if e["event"] == "move.succeeded"]
    assert (moved["credential"], moved["detail"]["from"]) == ("site", "web")
    events = len(web.place.events)
    web.place.rotate()  # the line may stay
    assert len(web.place.events) == events
    web.place.verified()


def test_a_rename_that_is_told_late_takes_the_name_over_if_no_key_was_made(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    edit(web.place, lambda entries: entries.update({"site": entries.pop("web")}))
    with web.place.service():  # what any command does first
        pass
    assert [entry["name"] for entry in web.place.statuses()] == ["site", "web"]
    edit(web.place, lambda entries: entries["site"].update({"moved_from": "web"}))
    web.place.rotate()
    (status,) = web.place.statuses()
    assert (status["name"], status["status"], status["current"]["version"]) == ("site", "ok", 1)
    assert len(web.emulator.creates) == 1


def test_a_rename_is_refused_while_work_is_open_elsewhere(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=1)
    rename(web.place, "web", "site")
    edit(web.place, lambda entries: entries["site"]["destinations"].pop())
    with pytest.raises(SetupError, match="site yet: it has work open for second:secret") as caught:
        web.place.rotate()
    assert caught.value.reason == "moved_elsewhere"
    assert [entry["name"] for entry in web.place.statuses() if entry["current"]] == ["web"]


def test_a_rename_is_refused_where_both_have_had_keys(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()

    def beside(entries: dict[str, Any]) -> None:
        entries["site"] = {
            **entries["web"],
            "destinations": [{"to": "first", "path": web.paths[0] + "x", "prefix": "SITE_"}],
        }

    edit(web.place, beside)
    web.place.rotate()
    edit(web.place, lambda entries: (entries.pop("web"), entries["site"].update({"moved_from": "web"})))
    with pytest.raises(SetupError, match="both have keys on record"):
        web.place.rotate()
