"""A rotation and its retirement, end to end, on real servers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

from rotator.domain.model import Cause
from rotator.engine import operator
from rotator.testbed.gate import Answer, Refuse, Request
from rotator.wiring import Seam
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import Consumer

T = TypeVar("T")


def is_write(request: Request) -> bool:
    return request.method in ("POST", "PUT") and "/v1/secret/data/" in request.path


def test_a_first_pass_makes_one_key_and_puts_it_everywhere(web: OpenAIWeb) -> None:
    web.place.rotate()
    assert len(web.live()) == 1
    assert web.works(0) is True
    assert web.works(1) is True
    assert web.place.status("web")["status"] == "ok"
    web.place.verified()


def test_the_next_rotation_replaces_the_key_everywhere_and_retires_the_old_one(web: OpenAIWeb) -> None:
    web.place.rotate()
    old = web.live()
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        result = web.place.rotate("web", now=True)["web"]
        assert result.completed
        web.place.rotate()
    assert consumer.dead == 0
    assert consumer.seen > 10
    assert len(web.live()) == 1
    assert web.live() != old
    web.place.verified()


def test_nothing_happens_when_nothing_is_due(web_embedded: OpenAIWeb) -> None:
    web_embedded.place.rotate()
    events = len(web_embedded.place.events)
    web_embedded.place.rotate()
    assert len(web_embedded.place.events) == events
    assert len(web_embedded.emulator.creates) == 1


def test_every_effect_is_announced_before_and_recorded_after(web_embedded: OpenAIWeb) -> None:
    web_embedded.place.rotate()
    web_embedded.place.rotate("web", now=True)
    web_embedded.place.rotate()
    told = web_embedded.place.told()
    for verb in ("create", "delete"):
        assert told.count(f"{verb}.started") == told.count(f"{verb}.succeeded") > 0
        assert told.index(f"{verb}.started") < told.index(f"{verb}.succeeded")
    assert told.count("push.started") == 4


def test_no_key_is_made_while_a_destination_cannot_be_read(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    with web.vault_gate.down():
        assert not web.place.rotate("web", now=True, patience=1)["web"].completed
        assert web.place.status("web")["status"] == "rotating"
    assert len(web.emulator.creates) == 1


def test_a_destination_that_takes_no_writes_delays_only_itself_and_the_old_key_stays(web: OpenAIWeb) -> None:
    web.place.rotate()
    web.vault_gate.on(is_write, Refuse(), times=None)
    result = web.place.rotate("web", now=True, patience=1)["web"]
    assert not result.completed
    assert web.works(0) is True
    assert web.works(1) is True
    status = web.place.status("web")
    assert status["status"] == "rotating"
    states = {d["to"]: d["state"] for d in status["rotation"]["deliveries"]}
    assert states == {"first": "pushed", "second": "planned"}
    assert len(web.live()) == 2
    web.vault_gate.clear()
    web.place.rotate()
    web.place.rotate()
    assert len(web.live()) == 1
    assert web.value(0) == web.value(1)


def test_a_write_whose_answer_was_lost_is_read_back_and_not_repeated(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.vault_gate.on(is_write, Answer(502, effect=True))
    assert web.place.rotate("web", now=True)["web"].completed
    version = web.client.secrets.kv.v2.read_secret_version(web.paths[1], raise_on_deleted_version=True)
    assert version["data"]["metadata"]["version"] == 2


def test_a_value_that_somebody_else_put_is_never_overwritten(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    web.put("sk-somebody-else", 1)
    result = web.place.rotate("web", now=True)["web"]
    assert not result.completed
    assert web.value(1) == "sk-somebody-else"
    status = web.place.status("web")
    assert (status["status"], status["reason"]) == ("blocked", "foreign")
    assert "rotator adopt web" in status["remedy"]
    assert len(web.emulator.creates) == 1, "the preflight refuses before a key is made"


def test_a_destination_that_changes_between_look_and_write_is_looked_at_again(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()

    edited: list[bool] = []

    def edit_then_write(request: Request) -> bool:
        if is_write(request) and not edited:
            edited.append(True)
            fields = {"OPENAI_API_KEY": web.value(1), "NEIGHBOUR": "kept"}
            web.client.secrets.kv.v2.create_or_update_secret(web.paths[1], fields)
        return False

    web.vault_gate.on(edit_then_write, Answer(500))
    assert web.place.rotate("web", now=True)["web"].completed
    data = web.client.secrets.kv.v2.read_secret_version(web.paths[1], raise_on_deleted_version=True)["data"]["data"]
    assert data["NEIGHBOUR"] == "kept"
    assert web.works(1) is True
    assert "push.delayed" in web.place.told()


def test_an_old_key_that_a_destination_serves_again_is_not_taken_away(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"grace": "1s"})
    web.place.rotate()
    old = web.value(0)
    assert old is not None
    web.place.rotate("web", now=True, patience=6)
    web.put(old, 0)
    web.place.rotate(patience=2)
    assert web.works(0) is True
    assert len(web.live()) == 2
    assert "still serves version 1" in web.place.explain("web")


def test_an_added_destination_gets_the_current_key_without_a_new_one(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(paths=web.paths[:1])
    web.place.rotate()
    assert web.value(1) is None
    web.write()
    web.place.rotate()
    assert web.value(1) == web.value(0)
    assert len(web.emulator.creates) == 1


def test_a_removed_destination_holds_the_old_key_until_a_person_forgets_it(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    old = web.live()[0]
    web.write(paths=web.paths[:1])
    assert web.place.rotate("web", now=True)["web"].completed
    web.place.rotate()
    assert old in web.live()
    assert web.works(1) is True
    status = web.place.status("web")
    assert (status["status"], status["reason"]) == ("blocked", "destination_removed")
    assert "rotator forget web --destination second" in status["remedy"]
    with web.place.service() as service, service.running().hold("web") as work:
        operator.forget_destination(work, "second")
        operator.resume(work)
    web.place.rotate()
    assert old not in web.live()


def test_a_server_that_is_reached_by_another_address_is_still_the_same_place(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    text = web.place.file.read_text()
    moved = f"address: {web.bao.url}\n    known_as: {web.vault_gate.url}\n"
    web.place.file.write_text(text.replace(f"address: {web.vault_gate.url}\n", moved))
    assert web.place.rotate("web", now=True)["web"].completed
    web.place.rotate()
    assert len(web.live()) == 1
    assert web.place.status("web")["status"] == "ok"


def test_a_credential_in_trouble_never_stops_the_others(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    text = web.place.file.read_text()
    text = text.replace("providers:", "providers:\n  local: {type: generated}", 1)
    text += "  session: {provider: local, destinations: ['first:secret/engine/session-beside-trouble']}\n"
    web.place.file.write_text(text)
    with web.gate.down():
        results = web.place.rotate(patience=6)
    assert web.place.status("session")["status"] == "ok"
    assert results["web"].rotation is not None
    assert web.place.status("web")["status"] == "rotating"


def test_two_workers_of_one_credential_make_one_key(web: OpenAIWeb) -> None:
    web.place.rotate()
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(web.place.rotate, "web", now=True) for _ in range(4)]
        results = [run.result()["web"] for run in runs]
    assert any(r.completed for r in results)
    assert all(r.completed or r.held is not None for r in results)
    assert len(web.emulator.creates) <= 3, "one that came after the first was done may rotate once more"
    web.place.rotate()
    assert len(web.live()) == 1
    web.place.verified()


def test_a_first_pass_that_cannot_look_shows_why_and_makes_no_key(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    with web.vault_gate.down():
        web.place.rotate(patience=1)
        status = web.place.status("web")
    assert (status["status"], status["reason"]) == ("rotating", "unreachable")
    assert not web.emulator.creates
    web.place.rotate()
    assert web.works(1) is True


class Ahead(Seam):
    """The database's clock runs an hour ahead of the host's."""

    def wrap(self, port: T, kind: str) -> T:
        if kind == "store":
            now = port.now  # type: ignore[attr-defined]
            port.now = lambda: now() + timedelta(hours=1)  # type: ignore[attr-defined]
        return port


def test_nothing_is_taken_away_by_a_clock_that_may_be_wrong(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.write(policy={"grace": "1h"})
    web.place.rotate()
    web.place.rotate("web", now=True)
    web.place.rotate(seam=Ahead())
    assert len(web.live()) == 2
    with web.place.service(unlock=False) as service:
        assert [finding.kind for finding in service.store.findings()] == ["clock"]
    web.place.rotate("web", now=True, cause=Cause.COMPROMISED)
    assert web.place.status("web")["status"] == "ok"
    with web.place.service(unlock=False) as service:
        assert not service.store.findings(), "a right clock clears it"
