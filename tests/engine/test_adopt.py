"""First contact: living keys are taken over as they are, and nothing is overwritten unasked."""

from __future__ import annotations

import time
from typing import Any

import pytest

from rotator.domain.errors import SetupError
from rotator.engine import adoption
from rotator.engine.adoption import Adopted
from tests.engine.conftest import OpenAIWeb


def adopt(web: OpenAIWeb, **how: Any) -> Adopted:
    with web.place.service() as service, service.running().hold("web") as work:
        return adoption.adopt(work, **how)


def test_a_pass_never_overwrites_a_value_it_finds_and_names_the_two_ways_on(web: OpenAIWeb) -> None:
    web.put("sk-somebody-else", 0)
    web.place.rotate()
    assert web.value(0) == "sk-somebody-else"
    assert not web.emulator.creates
    status = web.place.status("web")
    assert (status["status"], status["reason"]) == ("never_rotated", "not_adopted")
    assert "rotator adopt web" in status["remedy"]
    assert "--replace first" in status["remedy"]


def test_adopting_records_the_key_and_changes_nothing(web: OpenAIWeb) -> None:
    key = web.emulator.make_key()
    web.put(key.secret, 0)
    web.put(key.secret, 1)
    adopted = adopt(web)
    assert adopted.current is not None
    assert adopted.current.key_id == key.id
    assert web.value(0) == key.secret
    web.place.rotate()
    assert web.live() == [key.id], "adopting is no reason to rotate"
    status = web.place.status("web")
    assert (status["status"], status["current"]["key_id"]) == ("ok", key.id)
    assert status["current"]["age_seconds"] is not None


def test_an_adopted_key_is_rotated_and_retired_like_any_other(web: OpenAIWeb) -> None:
    key = web.emulator.make_key()
    web.put(key.secret, 0)
    web.put(key.secret, 1)
    adopt(web)
    assert web.place.rotate("web", now=True)["web"].completed
    web.place.rotate()
    assert key.id not in web.live()
    assert web.works(0) is True
    assert web.works(1) is True
    web.place.verified()


def test_after_adopting_a_destination_that_was_empty_gets_the_key(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    key = web.emulator.make_key()
    web.put(key.secret, 0)
    adopt(web)
    web.place.rotate()
    assert web.value(1) == key.secret


def test_destinations_that_differ_ask_for_a_choice_and_each_living_value_becomes_a_version(
    web_embedded: OpenAIWeb,
) -> None:
    web = web_embedded
    one, two = web.emulator.make_key(), web.emulator.make_key()
    web.put(one.secret, 0)
    web.put(two.secret, 1)
    with pytest.raises(SetupError) as told:
        adopt(web)
    assert told.value.reason == "destinations_differ"
    assert one.id in told.value.message
    assert two.id in told.value.message
    adopted = adopt(web, current_at="second")
    assert adopted.current is not None
    assert adopted.current.key_id == two.id
    assert [v.key_id for v in adopted.others] == [one.id]
    assert web.place.rotate("web", now=True)["web"].completed
    web.place.rotate()
    assert not {one.id, two.id} & set(web.live())


def test_a_dead_value_must_be_named_before_it_may_be_overwritten(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    key, dead = web.emulator.make_key(), web.emulator.make_key()
    web.emulator.revoke(dead.id)
    web.put(key.secret, 0)
    web.put(dead.secret, 1)
    with pytest.raises(SetupError) as told:
        adopt(web)
    assert told.value.reason == "dead_value"
    assert "--replace second" in (told.value.remedy or "")
    adopt(web, replace=["second"])
    assert web.value(1) == dead.secret, "nothing is written by adopting"
    assert web.place.rotate("web", now=True)["web"].completed
    assert web.works(1) is True


def test_replacing_alone_lets_the_first_rotation_overwrite(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.put("sk-old-and-forgotten", 0)
    adopt(web, replace=["first"])
    web.place.rotate()
    assert web.works(0) is True
    assert web.works(1) is True


def test_what_somebody_wrote_after_replace_was_allowed_is_safe_again(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.put("sk-old-and-forgotten", 0)
    adopt(web, replace=["first"])
    web.put("sk-newer-by-hand", 0)
    web.place.rotate()
    assert web.value(0) == "sk-newer-by-hand"


def test_a_key_is_adopted_by_its_id_without_its_value(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    key = web.emulator.make_key()
    adopt(web, key_id=key.id)
    assert web.place.status("web")["current"]["key_id"] == key.id
    assert web.place.rotate("web", now=True)["web"].completed
    web.place.rotate()
    assert key.id not in web.live()


def test_a_personal_key_is_adopted_with_a_plain_warning(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    key = web.emulator.make_key(owner="user_emulated")
    web.put(key.secret, 0)
    web.put(key.secret, 1)
    notes = " ".join(adopt(web).notes)
    assert "belongs to a person" in notes
    assert "attribution" in notes


def test_a_key_that_the_api_cannot_delete_waits_with_the_console_step(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.emulator.delete_of_service_account_keys_allowed = False
    web.emulator.update_allowed = False
    web.place.rotate()
    web.place.rotate("web", now=True)
    web.place.rotate()
    status = web.place.status("web")
    assert (status["status"], status["reason"]) == ("blocked", "delete_refused")
    assert "platform.openai.com" in status["remedy"]
    assert web.works(0) is True


def test_where_delete_is_refused_the_key_expires_instead(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.emulator.delete_of_service_account_keys_allowed = False
    web.place.rotate()
    web.place.rotate("web", now=True)
    web.place.rotate(patience=6)
    assert len(web.live()) == 1
    assert web.place.status("web")["status"] == "ok"


def test_an_unknown_key_is_refused_with_those_that_there_are(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    key = web.emulator.make_key()
    with pytest.raises(SetupError) as told:
        adopt(web, key_id="key_nobody")
    assert key.id in told.value.message


def test_a_credential_that_has_a_key_is_not_adopted_again(web_embedded: OpenAIWeb) -> None:
    web_embedded.place.rotate()
    with pytest.raises(SetupError) as told:
        adopt(web_embedded)
    assert told.value.reason == "already_adopted"


def test_first_adopt_takes_a_living_key_over_by_itself(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"first": "adopt"})
    key = web.emulator.make_key()
    web.put(key.secret, 0)
    web.put(key.secret, 1)
    web.place.rotate()
    assert web.place.status("web")["current"]["key_id"] == key.id
    assert web.live() == [key.id]


def test_first_adopt_leaves_a_choice_to_a_person(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"first": "adopt"})
    web.put(web.emulator.make_key().secret, 0)
    web.put(web.emulator.make_key().secret, 1)
    web.place.rotate()
    assert web.place.status("web")["reason"] == "not_adopted"
    assert not web.emulator.creates


def test_a_place_that_cannot_be_given_the_current_key_does_not_stop_the_schedule(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    key = web.emulator.make_key(name="by hand")
    adopt(web, key_id=key.id)
    web.write(policy={"rotate_every": "1s"})
    time.sleep(1)
    assert web.place.rotate(patience=5)["web"].completed
    assert web.works(0) is web.works(1) is True


def test_a_value_that_may_be_overwritten_is_so_by_the_next_pass(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.put("sk-somebody-elses-0123456789", 1)
    adopt(web, replace=["second"])
    web.place.rotate()
    assert web.works(1) is True
    assert len(web.emulator.creates) == 1, "the current key was written there"
