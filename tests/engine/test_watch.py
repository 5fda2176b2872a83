"""What changes behind our back is noticed, named by trying it, and touched by nobody unasked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rotator.domain.errors import SetupError
from rotator.engine import adoption, drift, watch
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import Consumer, Place
from tests.engine.test_going_back import held
from tests.engine.test_guards import Patched, remove
from tests.engine.test_iam import Deployer, deployer  # noqa: F401 - a fixture

EAGER = {"lease": "15s", "call_budget": "5s", "workers": 4, "watch": "1ms"}


def findings(place: Place, kind: str | None = None) -> list[dict[str, Any]]:
    with place.service(unlock=False) as service:
        found: list[dict[str, Any]] = service.report().status()["findings"]
        return [f for f in found if kind in (None, f["kind"])]


def decide(place: Place, decision: Any, name: str = "web", to: str = "second", because: str = "test") -> list[str]:
    with place.service() as service, service.running().hold(name) as work:
        said: list[str] = decision(work, to, because)
        return said


def states(place: Place, name: str = "web") -> list[str]:
    return [row["state"] for row in place.status(name)["destinations"]]


@pytest.fixture
def watched(web_embedded: OpenAIWeb) -> OpenAIWeb:
    """One key, current at both places; every pass looks."""
    web = web_embedded
    web.place.engine = dict(EAGER)
    web.write(policy={"grace": "1h"})
    web.place.rotate()
    assert findings(web.place) == []
    assert states(web.place) == ["current", "current"]
    return web


def only(web: OpenAIWeb, kind: str) -> dict[str, Any]:
    web.place.rotate(patience=6)
    found = findings(web.place)
    assert [f["kind"] for f in found] == [kind], found
    return found[0]


# keys


def test_a_strangers_key_is_reported_and_never_touched(watched: OpenAIWeb) -> None:
    web = watched
    theirs = web.emulator.make_key(name="by hand")
    web.emulator.make_key(name="a person's", owner="user_emulated")
    found = only(web, "stranger")
    assert theirs.id in found["message"]
    assert f"rotator adopt web --key {theirs.id} --as previous" in found["remedy"]
    assert theirs.id in web.live()
    assert web.place.status("web")["status"] == "ok"
    web.place.rotate(patience=6)
    assert web.place.told("stranger.found") == ["stranger.found"], "found once"
    web.emulator.revoke(theirs.id)
    web.place.rotate(patience=6)
    assert findings(web.place) == []
    assert web.place.told("stranger.cleared")


def test_a_current_key_that_is_gone_is_an_outage_until_a_rotation_ends_it(watched: OpenAIWeb) -> None:
    web = watched
    web.emulator.revoke(web.live()[0])
    found = only(web, "key_gone")
    assert found["urgent"] is True
    assert "rotate --now web" in found["remedy"]
    assert (web.place.status("web")["status"], web.place.status("web")["reason"]) == ("blocked", "key_gone")
    assert web.place.rotate("web", now=True)["web"].completed
    assert findings(web.place) == []
    assert web.works(0) is True
    assert web.works(1) is True


def test_the_key_that_was_deleted_by_hand_wedges_no_retirement(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.engine = dict(EAGER)
    web.write()
    web.place.rotate()
    web.emulator.revoke(web.live()[0])
    assert web.place.rotate("web", now=True)["web"].completed
    web.place.rotate(patience=3)
    status = web.place.status("web")
    assert (status["status"], status["previous"]) == ("ok", [])


def test_a_current_key_that_somebody_disabled_is_an_outage(deployer: Deployer) -> None:  # noqa: F811
    deployer.place.engine = dict(EAGER)
    deployer.write()
    deployer.place.rotate()
    key_id = deployer.body()["AWS_ACCESS_KEY_ID"]
    deployer.iam.update_access_key(UserName=deployer.user, AccessKeyId=key_id, Status="Inactive")
    deployer.place.rotate(patience=6)
    (found,) = findings(deployer.place)
    assert (found["kind"], found["urgent"]) == ("key_disabled", True)
    deployer.iam.update_access_key(UserName=deployer.user, AccessKeyId=key_id, Status="Active")
    deployer.place.rotate(patience=6)
    assert findings(deployer.place) == []


def test_a_strangers_iam_key_is_reported(deployer: Deployer) -> None:  # noqa: F811
    deployer.place.engine = dict(EAGER)
    deployer.write()
    deployer.place.rotate()
    theirs = deployer.iam.create_access_key(UserName=deployer.user)["AccessKey"]["AccessKeyId"]
    deployer.place.rotate(patience=6)
    (found,) = findings(deployer.place)
    assert (found["kind"], found["account"]) == ("stranger", f"aws:{deployer.aws.account}")
    assert theirs in found["message"]
    assert deployer.listed()[theirs] == "Active"


def test_our_own_rejected_credential_is_told_before_a_rotation_meets_it(watched: OpenAIWeb) -> None:
    web = watched
    web.emulator.admin_key_state = "expired"
    found = only(web, "unready")
    assert "would be stopped" in found["message"]
    web.emulator.admin_key_state = "valid"
    web.place.rotate(patience=6)
    assert findings(web.place) == []


def test_a_provider_that_does_not_answer_for_a_while_is_no_news(watched: OpenAIWeb) -> None:
    with watched.gate.down():
        watched.place.rotate(patience=6)
    assert findings(watched.place) == []


# destinations


def test_a_previous_key_that_was_put_back_is_named(watched: OpenAIWeb) -> None:
    web = watched
    old = web.value(1)
    assert old is not None
    assert web.place.rotate("web", now=True)["web"].completed
    web.put(old, 1)
    found = only(web, "drift")
    assert "serves version 1 again" in found["message"]
    assert "revision 2 became 3" in found["message"]
    assert found["urgent"] is False
    assert states(web.place) == ["current", "previous"]
    assert web.value(1) == old, "nothing was overwritten"
    decide(web.place, drift.overwrite)
    web.place.rotate()
    assert web.value(1) == web.value(0)
    assert findings(web.place) == []
    assert states(web.place) == ["current", "current"]
    assert len(web.emulator.creates) == 2, "the current key was written again"


def test_a_dead_value_is_an_outage_and_overwrite_ends_it(watched: OpenAIWeb) -> None:
    web = watched
    web.put("sk-dead-and-gone-0123456789", 1)
    found = only(web, "drift")
    assert found["message"].startswith("OUTAGE")
    assert found["urgent"] is True
    assert "rotator drift overwrite web second" in found["remedy"]
    assert "sk-dead" not in json.dumps(web.place.events)
    assert (web.place.status("web")["status"], web.place.status("web")["reason"]) == ("blocked", "drift")
    assert states(web.place) == ["current", "foreign"]
    decide(web.place, drift.overwrite)
    web.place.rotate()
    assert web.works(1) is True
    assert findings(web.place) == []
    assert decide(web.place, drift.overwrite) == [
        f"second:secret/{web.paths[1]} serves what is on record; nothing is to be overwritten"
    ]


def test_a_living_key_that_a_person_put_there_becomes_the_new_version(watched: OpenAIWeb) -> None:
    web = watched
    first = web.live()[0]
    theirs = web.emulator.make_key(name="by hand")
    web.put(theirs.secret, 1)
    web.place.rotate(patience=6)
    (found,) = findings(web.place, "drift")
    assert f"another living key ({theirs.id})" in found["message"]
    assert "rotator drift accept web second" in found["remedy"]
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        decide(web.place, drift.accept)
        web.place.rotate()
    assert (consumer.dead, consumer.seen > 0) == (0, True)
    status = web.place.status("web")
    assert (status["current"]["key_id"], status["current"]["version"]) == (theirs.id, 2)
    assert [old["key_id"] for old in status["previous"]] == [first]
    assert web.value(0) == web.value(1) == theirs.secret
    assert findings(web.place) == []
    web.place.verified()
    decide(web.place, drift.accept)
    assert web.place.status("web")["current"]["version"] == 2, "may be repeated"
    assert len(web.emulator.creates) == 1


def test_a_previous_key_that_was_put_back_may_become_current_again(watched: OpenAIWeb) -> None:
    web = watched
    old, first = web.value(1), web.live()[0]
    assert old is not None
    assert web.place.rotate("web", now=True)["web"].completed
    web.put(old, 1)
    decide(web.place, drift.accept)
    web.place.rotate()
    status = web.place.status("web")
    assert (status["current"]["key_id"], status["current"]["version"]) == (first, 1)
    assert web.value(0) == web.value(1) == old
    assert [v["version"] for v in status["previous"]] == [2]


def test_a_leaked_key_that_was_put_back_never_becomes_current_again(watched: OpenAIWeb) -> None:
    web = watched
    old = web.value(1)
    assert old is not None
    with web.vault_gate.down():
        web.place.rotate("web", now=True, patience=0.2)
    web.place.rotate(patience=5)
    web.put(old, 1)
    from rotator.engine import operator

    with web.place.service() as service, service.running().hold("web") as work:
        operator.compromised(work, None, "seen in a paste")
    with pytest.raises(SetupError, match="has leaked"):
        decide(web.place, drift.accept)
    assert web.place.status("web")["current"]["version"] == 2


def test_what_is_no_key_of_ours_cannot_be_accepted(watched: OpenAIWeb) -> None:
    web = watched
    web.put("sk-dead-and-gone-0123456789", 1)
    with pytest.raises(SetupError, match="cannot become the current key"):
        decide(web.place, drift.accept)
    theirs = web.emulator.make_key(name="a person's", owner="user_emulated")
    web.put(theirs.secret, 1)
    with pytest.raises(SetupError, match="is no key of this credential"):
        decide(web.place, drift.accept)


def test_a_place_that_was_emptied_is_told_and_written_again_when_asked(watched: OpenAIWeb) -> None:
    web = watched
    remove(web, 1)
    found = only(web, "drift")
    assert "is gone" in found["message"]
    assert states(web.place) == ["current", "missing"]
    assert web.value(1) is None
    decide(web.place, drift.overwrite)
    web.place.rotate()
    assert web.works(1) is True
    assert findings(web.place) == []


def test_an_ignored_value_stays_and_is_told_again_only_when_it_changes(watched: OpenAIWeb) -> None:
    web = watched
    web.put("not-a-key-1", 1)
    web.place.rotate(patience=6)
    decide(web.place, drift.ignore)
    web.place.rotate(patience=6)
    assert findings(web.place) == []
    assert web.value(1) == "not-a-key-1"
    assert "already" in decide(web.place, drift.ignore)[0]
    assert web.place.told("ignore.succeeded") == ["ignore.succeeded"]
    web.put("not-a-key-2", 1)
    assert only(web, "drift")


def test_what_comes_again_and_again_is_called_so(watched: OpenAIWeb) -> None:
    web = watched
    for number in range(3):
        web.put(f"sk-from-a-second-writer-{number}", 1)
        found = only(web, "drift")
        assert ("something else writes there" in found["message"]) is (number == 2)


def test_a_finding_clears_by_itself_when_the_value_is_put_right(watched: OpenAIWeb) -> None:
    web = watched
    right = web.value(1)
    assert right is not None
    web.put("sk-wrong-0123456789", 1)
    assert only(web, "drift")
    web.put(right, 1)
    web.place.rotate(patience=6)
    assert findings(web.place) == []
    assert web.place.told("drift.cleared")


def test_overwrite_helps_a_rotation_that_is_blocked_by_the_value(watched: OpenAIWeb) -> None:
    web = watched
    web.put("sk-wrong-0123456789", 1)
    web.place.rotate("web", now=True, patience=6)
    assert web.place.status("web")["rotation"]["reason"] == "foreign"
    decide(web.place, drift.overwrite)
    web.place.rotate()
    assert web.works(1) is True
    assert web.place.status("web")["rotation"] is None


def test_overwrite_makes_a_new_key_where_the_current_one_is_dead(watched: OpenAIWeb) -> None:
    web = watched
    web.emulator.revoke(web.live()[0])
    web.put("sk-wrong-0123456789", 1)
    assert "a new key is made" in decide(web.place, drift.overwrite)[0]
    web.place.rotate()
    assert web.works(0) is True
    assert web.works(1) is True


def test_only_what_was_seen_is_overwritten(watched: OpenAIWeb) -> None:
    web = watched
    web.put("sk-wrong-0123456789", 1)
    decide(web.place, drift.overwrite)
    web.put("sk-newer-0123456789", 1)
    web.place.rotate(patience=6)
    assert web.value(1) == "sk-newer-0123456789"
    assert web.place.status("web")["reason"] in ("foreign", "drift")


def test_a_place_that_cannot_be_read_is_unknown(watched: OpenAIWeb) -> None:
    web = watched
    with web.vault_gate.down():
        web.place.rotate(patience=6)
    assert states(web.place) == ["current", "unknown"]
    assert findings(web.place) == []
    web.place.rotate(patience=6)
    assert states(web.place) == ["current", "current"]


def test_a_second_writer_is_named_as_far_as_the_place_tells(deployer: Deployer) -> None:  # noqa: F811
    deployer.place.engine = dict(EAGER)
    deployer.write()
    deployer.place.rotate()
    refused = Patched("destination", preflight=lambda _: _second_writer)
    deployer.manager.put_secret_value(SecretId=deployer.secret, SecretString=json.dumps({"AWS_ACCESS_KEY_ID": "x"}))
    deployer.place.rotate(patience=6, seam=refused)
    (found,) = findings(deployer.place, "drift")
    assert "AWS rotates this secret itself" in found["message"]
    assert findings(deployer.place, "unready")


def test_a_place_that_lacks_one_of_two_fields_is_not_taken_for_put_right(deployer: Deployer) -> None:  # noqa: F811
    deployer.place.engine = dict(EAGER)
    deployer.write()
    deployer.place.rotate()
    half = {name: value for name, value in deployer.body().items() if name != "AWS_SECRET_ACCESS_KEY"}
    deployer.manager.put_secret_value(SecretId=deployer.secret, SecretString=json.dumps(half))
    with deployer.place.service() as service, service.running().hold("deployer") as work:
        adoption.allow_replacing(work, ["sm"], None)
        watch.watch(work)
        left = {p.field: p.version_id is not None for p in work.situation.placements}
    assert left == {"AWS_ACCESS_KEY_ID": True, "AWS_SECRET_ACCESS_KEY": False}
    assert findings(deployer.place, "drift") == []


def _second_writer(_fields: object) -> None:
    from rotator.domain.errors import Refused

    message = "AWS rotates this secret itself"
    raise Refused(message, reason="second_writer")


# pace


def test_a_credential_is_looked_at_once_in_the_interval(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.engine = {**EAGER, "watch": "1h"}
    web.write(policy={"grace": "1h"})
    web.place.rotate()
    with web.place.service() as service, service.running().hold("web") as work:
        first = work.credential.watched_at
    web.put("sk-wrong-0123456789", 1)
    web.place.rotate(patience=6)
    with web.place.service() as service, service.running().hold("web") as work:
        assert work.credential.watched_at == first
    assert findings(web.place) == []


def test_looking_asks_for_the_keys_once_whatever_the_number_of_places(watched: OpenAIWeb) -> None:
    web = watched
    before = len([r for r in web.gate.requests if r.path.split("?")[0].endswith("/api_keys")])
    web.place.rotate(patience=6)
    listings = [r for r in web.gate.requests if r.path.split("?")[0].endswith("/api_keys")][before:]
    assert len(listings) == 1


def test_a_key_that_came_without_the_fields_beside_it_cannot_be_accepted(embedded: Place) -> None:
    embedded.write(
        providers={"local": {"type": "generated"}},
        destinations={"app": {"type": "env-file", "path": "app.env"}},
        credentials={
            "web": {
                "provider": "local",
                "destinations": [{"to": "app", "fields": {"WEB": "{secret}", "WEB_ID": "{key_id}"}}],
            }
        },
    )
    embedded.rotate()
    (embedded.folder / "app.env").write_text("WEB=a-value-that-somebody-put-there-0123456789\n")
    with held(embedded) as work, pytest.raises(SetupError) as told:
        drift.accept(work, "app")
    assert told.value.reason == "incomplete"
    assert "app.env lacks WEB_ID beside the key" in told.value.message
