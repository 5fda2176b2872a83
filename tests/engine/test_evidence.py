"""A key that somebody still uses is not taken away: what providers tell, what consumers say, since when they run."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from rotator.domain.errors import SetupError
from rotator.domain.model import Cause
from rotator.engine import sightings
from rotator.engine.rollback import rollback
from rotator.ports.consumer import Word
from rotator.ports.store import Place as Placed
from rotator.testbed.openai_emulator import OpenAIEmulator
from tests.cli.house import until
from tests.engine.place import Consumer, Place, dotenv_value
from tests.engine.test_guards import reason
from tests.engine.test_iam import Deployer, deployer  # noqa: F401 - a fixture

DAY = timedelta(days=1)


class Session:
    """The credential `session`: a value of ours in an env file, with its fingerprint beside it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.env = place.folder / "env.env"
        self.places: tuple[str, ...] = ("env",)
        self.drop = place.folder / "seen"
        self.write()

    def write(self, consumers: list[dict[str, Any]] | None = None, **policy: Any) -> None:
        self.place.write(
            providers={"local": {"type": "generated"}},
            destinations={to: {"type": "env-file", "path": str(self.env.with_name(f"{to}.env"))} for to in self.places},
            credentials={
                "session": {
                    "provider": "local",
                    "policy": policy,
                    "consumers": consumers or [],
                    "destinations": [
                        {"to": to, "fields": {"SESSION": "{secret}", "PRINT": "{fingerprint}"}} for to in self.places
                    ],
                }
            },
        )
        with self.place.file.open("a") as file:
            file.write("evidence: {drop: seen}\n")

    def holds(self) -> str:
        """The fingerprint of the key that a consumer reads now."""
        found = dotenv_value(self.env, "PRINT")
        assert found
        return found

    def says(self, consumer: str, fingerprint: str, at: datetime | None = None) -> bool:
        with self.place.service(unlock=False) as service:
            credential = service.store.credentials()[0]
            word = Word(consumer=consumer, fingerprint=fingerprint, at=at or service.store.now())
            return sightings.seen(service.store, credential, word, actor="test")[1]

    def leaves(self, consumer: str, fingerprint: str) -> Path:
        """Leave word at the drop, as a consumer without the command does."""
        (self.drop / "session").mkdir(parents=True, exist_ok=True)
        path = self.drop / "session" / consumer
        path.write_text(fingerprint + "\n")
        return path

    def rotated(self) -> str:
        """Rotate twice; returns what the old key's consumers hold."""
        self.place.rotate(patience=0)
        old = self.holds()
        self.place.rotate("session", now=True, patience=0)
        assert self.holds() != old
        return old

    def waits(self, patience: float = 6) -> str | None:
        """What keeps the old key after a pass; None where it is gone."""
        self.place.rotate(patience=patience)
        previous = self.place.status("session")["previous"]
        return previous[0]["reason"] if previous else None

    def detail(self, event: str = "drain.succeeded") -> dict[str, Any]:
        found: dict[str, Any] = [e for e in self.place.events if e["event"] == event][-1]["detail"]
        return found


@pytest.fixture
def session(embedded: Place) -> Session:
    return Session(embedded)


# what consumers say


def test_a_consumer_whose_last_word_is_the_old_key_keeps_it_until_it_names_another(session: Session) -> None:
    session.place.rotate(patience=0)
    old = session.holds()
    assert session.says("web-1", old)
    session.place.rotate("session", now=True, patience=0)
    session.says("web-2", session.holds())
    assert session.waits() == "in_use"
    assert "consumer web-1 reported version 1 at " in session.place.status("session")["previous"][0]["message"]
    told = session.place.explain("session")
    assert "consumer web-1 reported version 1 at " in told
    assert "To do: let web-1 read its key anew." in told
    assert "Consumer web-2 holds version 2 (current), as it said" in told
    session.says("web-1", session.holds())
    assert session.waits(3) is None
    held = {word["consumer"]: word["version"] for word in session.detail()["consumers"]}
    assert held == {"web-1": 2, "web-2": 2}
    assert session.place.told("seen.succeeded") == ["seen.succeeded"] * 3, "two who are new, and one change"
    session.place.verified()


def test_a_consumer_that_fell_silent_is_taken_for_gone_after_hold_alarm(session: Session) -> None:
    session.place.rotate(patience=0)
    with session.place.service(unlock=False) as service:
        now = service.store.now()
    session.says("web-1", session.holds(), now - 4 * DAY)
    session.place.rotate("session", now=True, patience=0)
    assert session.waits(2) is None
    word = session.detail()["consumers"][0]
    assert (word["consumer"], word["version"], word["silent"]) == ("web-1", 1, True)


def test_a_consumer_that_has_to_report_is_never_taken_for_gone(session: Session) -> None:
    session.write([{"heartbeat": "web-1"}])
    old = session.rotated()
    assert session.waits() == "consumer_silent"
    assert "it has never reported a key" in session.place.explain("session")
    with session.place.service(unlock=False) as service:
        now = service.store.now()
    session.says("web-1", old, now - 30 * DAY)
    assert session.waits() == "consumer_silent"
    assert "it reported version 1 at " in session.place.explain("session")
    session.says("web-1", session.holds())
    assert session.waits(10) is None


def test_what_holds_for_longer_than_hold_alarm_is_for_a_person_who_is_told_by_whom(session: Session) -> None:
    session.write([{"heartbeat": "web-1"}, {"pidfile": "web.pid"}], hold_alarm="500ms")
    session.rotated()
    assert session.waits(3) == "old_key_in_use"
    assert reason(session.place, "session") == ("blocked", "old_key_in_use")
    message = session.place.status("session")["message"]
    assert "web-1 has not reported" in message
    assert "there is no file" in message
    told = [e for e in session.place.events if e["event"] == "drain.blocked"]
    assert (told[0]["version"], told[0]["reason"]) == (1, "old_key_in_use")


def test_one_consumer_after_the_other_is_one_hold(session: Session) -> None:
    def since() -> datetime | None:
        with session.place.service(unlock=False) as service:
            return service.store.load(service.store.credentials()[0].id).retirements[0].since

    session.write([{"heartbeat": "web-1"}])
    old = session.rotated()
    assert session.waits() == "consumer_silent"
    began = since()
    session.says("web-1", session.holds())
    session.says("web-2", old)
    assert session.waits(1) == "in_use"
    assert since() == began


def test_a_credential_with_a_key_that_is_too_old_says_who_keeps_it(session: Session) -> None:
    session.write([{"heartbeat": "web-1"}], rotate_every="30d", max_age="60d")
    session.rotated()
    assert session.waits() == "consumer_silent"
    with session.place.service(unlock=False) as service:
        report = service.report()
        report.at += 61 * DAY
        situation = service.store.load(service.store.credentials()[0].id)
        overdue = [c for c in report.conditions("session", situation) if c.type == "overdue" and c.reason == "max_age"]
    assert "it still works: consumer web-1 has not reported" in (overdue[0].message or "")


def test_after_a_roll_back_it_is_the_older_key_that_has_to_be_reported(session: Session) -> None:
    session.write([{"heartbeat": "web-1"}], grace="1h")
    old = session.rotated()
    session.says("web-1", session.holds())
    session.write([{"heartbeat": "web-1"}])
    with session.place.service() as service, service.running().hold("session") as work:
        rollback(work)
    session.place.rotate(patience=1)
    assert session.holds() == old
    assert session.waits() == "consumer_silent"
    session.says("web-1", old)
    assert session.waits(3) is None
    assert session.holds() == old


def test_a_fingerprint_of_no_key_on_record_is_refused(session: Session) -> None:
    session.place.rotate(patience=0)
    with pytest.raises(SetupError) as refused:
        session.says("web-1", "f" * 32)
    assert refused.value.reason == "unknown_fingerprint"
    assert f"version 1 (current): {session.holds()}" in (refused.value.remedy or "")
    with pytest.raises(SetupError) as refused:
        session.says("../web", session.holds())
    assert refused.value.reason == "bad_consumer"


def test_a_time_that_lies_ahead_counts_as_now(session: Session) -> None:
    session.place.rotate(patience=0)
    with session.place.service(unlock=False) as service:
        now = service.store.now()
    session.says("web-1", session.holds(), now + DAY)
    with session.place.service(unlock=False) as service:
        word = service.store.sightings(service.store.credentials()[0].id)[0]
        assert now <= word.seen_at <= service.store.now()


# the drop


def test_what_a_consumer_leaves_at_the_drop_counts_like_its_word(session: Session) -> None:
    session.place.rotate(patience=0)
    old = session.holds()
    path = session.leaves("web-1", old)
    session.place.rotate("session", now=True, patience=0)
    assert session.waits() == "in_use"
    assert "consumer web-1 reported version 1" in session.place.explain("session")
    path.unlink()
    assert session.waits() == "in_use", "its last word stands"
    session.leaves("web-1", session.holds())
    assert session.waits(3) is None
    assert session.place.told("seen.succeeded") == ["seen.succeeded"] * 2, "a change of its key, each time"


def test_a_file_that_cannot_be_taken_is_a_finding_and_stops_nobody(session: Session) -> None:
    session.place.rotate(patience=0)
    good = session.leaves("good", session.holds())
    folder = good.parent
    (folder / "link").symlink_to(good)
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    (folder / "large").write_text("0" * 10_000)
    (folder / "other").write_text("f" * 32)
    (folder / "a name").write_text(session.holds())
    (folder / ".hidden").write_text("being written")
    (folder / "empty").touch()
    session.place.rotate(patience=0)
    with session.place.service(unlock=False) as service:
        (finding,) = service.store.findings()
        words = service.store.sightings(service.store.credentials()[0].id)
    assert finding.kind == "unheard"
    for name in ("folder", "large", "link", "pipe"):
        assert name in finding.message
    assert [word.consumer for word in words] == ["good"]
    for path in folder.iterdir():
        if path != good:
            path.rmdir() if path.is_dir() else path.unlink()
    session.place.rotate(patience=0)
    assert session.place.told("unheard.found", "unheard.cleared") == ["unheard.found", "unheard.cleared"]


# since when consumers run


class Program:
    """A real process that reads its key when it starts, and its pid file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(["sleep", "60"])
        self.file.write_text(f"{self.process.pid}\n")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def program(session: Session) -> Iterator[Program]:
    made = Program(session.place.folder / "web.pid")
    yield made
    made.stop()


def test_a_program_that_runs_for_longer_than_the_newest_key_holds_the_old_one_until_it_restarts(
    session: Session, program: Program
) -> None:
    session.write([{"pidfile": "web.pid"}])
    session.place.rotate(patience=0)
    program.start()
    assert program.process is not None
    session.place.rotate("session", now=True, patience=0)
    assert session.waits() == "consumer_not_restarted"
    told = session.place.explain("session")
    assert f"web.pid (pid {program.process.pid}) runs since 2" in told
    assert "before version 2 was delivered at 2" in told
    assert f"To do: restart {program.file}." in told
    program.stop()
    time.sleep(0.02)  # the system counts in hundredths of a second
    program.start()
    assert session.waits(3) is None
    assert [(c["old"], c["process"]) for c in session.detail()["consumers"]] == [(False, f"pid {program.process.pid}")]


def test_a_program_counts_from_the_place_that_it_reads(session: Session, program: Program) -> None:
    def place_again(env: str) -> None:
        """As a later wave, or a place that was left out, is given the key later than others."""
        with session.place.service() as service, service.running().hold("session") as work:
            rows = [row for row in work.situation.placements if row.to == env]
            work.record([Placed(replace(row, placed_at=work.now())) for row in rows], [])

    session.places = ("env", "late")
    session.write([{"pidfile": "web.pid", "reads": "env"}])
    session.rotated()
    program.start()
    place_again("late")
    assert session.waits(2) is None
    session.write([{"pidfile": "web.pid"}])
    session.place.rotate("session", now=True, patience=0)
    program.stop()
    program.start()
    place_again("late")
    assert session.waits() == "consumer_not_restarted"


def test_a_program_that_has_ended_holds_nothing(session: Session, program: Program) -> None:
    session.write([{"pidfile": "web.pid"}])
    session.place.rotate(patience=0)
    program.start()
    program.stop()
    session.place.rotate("session", now=True, patience=0)
    assert session.waits(2) is None


def test_a_consumer_that_cannot_be_asked_holds_and_says_why(session: Session) -> None:
    session.write([{"pidfile": "web.pid"}])
    session.rotated()
    assert session.waits() == "consumer_unknown"
    assert f"there is no file {session.place.folder}/web.pid" in session.place.explain("session")


# a provider that tells


class Web:
    """The credential `web`: an OpenAI key in an env file, with its fingerprint."""

    def __init__(self, place: Place, emulator: OpenAIEmulator) -> None:
        self.place = place
        self.emulator = emulator
        self.env = place.folder / "web.env"
        (place.folder / "admin").write_text(emulator.admin_key)

    def write(self, consumers: list[dict[str, Any]] | None = None, **policy: Any) -> None:
        where = {"project": self.emulator.project, "service_account": self.emulator.service_account}
        fields = {"OPENAI_API_KEY": "{secret}", "PRINT": "{fingerprint}"}
        self.place.write(
            providers={"openai": {"type": "openai", "admin_key": "file:admin", "base_url": self.emulator.url}},
            destinations={"env": {"type": "env-file", "path": str(self.env)}},
            credentials={
                "web": {
                    "provider": "openai",
                    "options": where,
                    "policy": policy,
                    "consumers": consumers or [],
                    "destinations": [{"to": "env", "fields": fields}],
                }
            },
        )

    def reads(self, field: str = "OPENAI_API_KEY") -> str:
        found = dotenv_value(self.env, field)
        assert found
        return found

    @contextmanager
    def using(self, value: str) -> Iterator[Consumer]:
        """Somebody who uses this value all the time."""
        with (
            httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {value}"}) as client,
            Consumer([lambda: client.get(f"{self.emulator.url}/models").is_success], every=0.05) as consumer,
        ):
            yield consumer

    def live(self) -> list[str]:
        made = self.emulator.keys()
        return [key.id for key in made if key.state == "live"]


@pytest.fixture
def web(embedded: Place, openai: OpenAIEmulator) -> Web:
    return Web(embedded, openai)


def test_a_consumer_that_keeps_using_the_old_key_keeps_it_and_when_it_stops_the_retirement_goes_on(web: Web) -> None:
    web.write(grace="2s", require_idle="2s")
    web.place.rotate(patience=0)
    (old,) = web.live()
    value = web.reads()
    with web.using(value) as consumer:
        web.place.rotate("web", now=True, patience=0)
        web.place.rotate(patience=4)
        assert old in web.live()
        assert web.place.status("web")["previous"][0]["reason"] == "in_use"
        assert "version 1 was last used at 2" in web.place.explain("web")
    assert consumer.dead == 0
    web.place.rotate(patience=6)
    assert old not in web.live()
    assert web.place.status("web")["previous"] == []
    web.place.verified()


def test_what_only_the_usage_data_tells_keeps_a_key_too_and_is_done_without_where_it_is_not_to_be_had(
    web: Web,
) -> None:
    web.write(grace="1s", require_idle="1s")
    web.place.rotate(patience=0)
    (old,) = web.live()
    web.emulator.use_is_seen = False
    value = web.reads()
    web.place.rotate("web", now=True, patience=0)
    with Consumer([lambda: web.emulator.consume(value)], every=0.1):
        web.place.rotate(patience=3)
    assert old in web.live()
    assert web.place.status("web")["previous"][0]["reason"] == "in_use"
    assert " for completions by 2" in web.place.explain("web")
    web.emulator.usage_allowed = False
    web.place.rotate(patience=4)
    assert old not in web.live()
    (drained,) = [e["detail"] for e in web.place.events if e["event"] == "drain.succeeded"]
    assert drained["metered"].startswith("not to be had: OpenAI answered 403")


def test_a_thief_who_uses_a_leaked_key_all_along_does_not_delay_its_death_by_a_second(web: Web) -> None:
    web.write([{"pidfile": "web.pid"}, {"heartbeat": "web-1"}], grace="1h", soak="1h", require_idle="1h")
    web.place.rotate(patience=0)
    (old,) = web.live()
    (web.place.folder / "web.pid").write_text(str(os.getpid()))
    with web.place.service(unlock=False) as service:
        (credential,) = service.store.credentials()
        word = Word(consumer="web-1", fingerprint=web.reads("PRINT"), at=service.store.now())
        sightings.seen(service.store, credential, word, actor="test")
    with web.using(web.reads()) as thief:
        done = web.place.rotate("web", now=True, cause=Cause.COMPROMISED, because="seen in a paste", patience=0)["web"]
        assert done.completed
        assert old not in web.live()
        assert "drain.delayed" not in web.place.told()
        until(lambda: thief.dead)
    told = {e["event"]: e["detail"] for e in web.place.events if e["version"] == 1}
    assert told["drain.succeeded"]["usage"].startswith("last used at 2")
    said = told["drain.succeeded"]["consumers"]
    assert [(c["consumer"], c["version"]) for c in said] == [("web-1", 1)]
    held = told["delete.succeeded"]["consumers"]
    assert [(c["process"], c["old"]) for c in held] == [(f"pid {os.getpid()}", True)]
    web.place.verified()


def test_of_a_leaked_key_that_can_be_disabled_it_is_known_who_held_it_as_it_died(deployer: Deployer) -> None:  # noqa: F811
    deployer.write(grace="1h", soak="1h", require_idle="1h")
    text = deployer.place.file.read_text()
    assert "    provider: aws\n" in text
    deployer.place.file.write_text(
        text.replace("    provider: aws\n", "    provider: aws\n    consumers: [{pidfile: web.pid}]\n")
    )
    deployer.place.rotate(patience=5)
    (old,) = deployer.listed()
    (deployer.place.folder / "web.pid").write_text(str(os.getpid()))
    assert deployer.place.rotate("deployer", now=True, cause=Cause.COMPROMISED, patience=0)["deployer"].completed
    assert deployer.listed()[old] == "Inactive"
    (disabled,) = [e["detail"] for e in deployer.place.events if e["event"] == "disable.succeeded"]
    assert [(c["process"], c["old"]) for c in disabled["consumers"]] == [(f"pid {os.getpid()}", True)]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (120, "2 minutes ago"),
        (7199, "119 minutes ago"),
        (7200, "2 hours ago"),
        (172_799, "47 hours ago"),
        (172_800, "2 days ago"),
    ],
)
def test_how_long_ago_it_was_is_said_in_whole_units(seconds: int, words: str) -> None:
    now = datetime(2026, 11, 26, tzinfo=UTC)
    assert sightings.ago(now - timedelta(seconds=seconds), now) == words


def test_of_many_who_hold_a_key_the_first_are_named_and_the_rest_is_counted(session: Session) -> None:
    session.write([{"heartbeat": f"web-{number}"} for number in range(8)])
    session.rotated()
    assert session.waits() == "consumer_silent"
    message = session.place.status("session")["previous"][0]["message"]
    assert (message.count("has not reported"), message.endswith("; and 3 more")) == (5, True)
