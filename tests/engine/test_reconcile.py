"""A database that went back in time, or runs once more elsewhere, creates and takes away nothing until confirmed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from rotator.config import load
from rotator.domain.errors import SetupError
from rotator.domain.model import Cause
from rotator.engine import reconcile
from rotator.engine.engine import Progress
from rotator.store.database import Database, connect
from rotator.store.homes import home
from rotator.testbed.postgres import Postgres, _binaries
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import Consumer, Place
from tests.engine.test_iam import Deployer, deployer  # noqa: F401 - a fixture
from tests.engine.test_watch import EAGER, decide, findings

RESTORES = int(os.environ.get("RESTORES", "2"))


def stopped(place: Place) -> list[str]:
    return [f["message"] for f in findings(place, "reconcile")]


def confirm(place: Place, keep: tuple[str, ...] = ()) -> list[str]:
    """As the command does it, answered with yes; the differences that were shown."""
    with place.service() as service:
        shown = reconcile.pictures(service.running())
        reconcile.confirm(service.running(), shown, keep, "test")
        return [line for picture in shown for line in picture.lines]


def acts(place: Place) -> list[str]:
    return place.told("create.started", "disable.started", "delete.started", "push.started")


class Backups:
    """Copies of a SQLite database as a person takes them, and puts back."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.file = place.folder / "rotator.db"
        self.kept = place.folder / "rotator.bak"

    def take(self) -> None:
        import sqlite3

        with sqlite3.connect(self.file) as source, sqlite3.connect(self.kept) as copy:
            source.backup(copy)
        source.close()
        copy.close()

    def restore(self, *, in_place: bool = False) -> None:
        for beside in ("-wal", "-shm"):
            self.file.with_name(self.file.name + beside).unlink(missing_ok=True)
        if in_place:  # the file keeps its number
            self.file.write_bytes(self.kept.read_bytes())
        else:
            shutil.copy(self.kept, self.file.with_suffix(".new"))
            self.file.with_suffix(".new").replace(self.file)
        self.place.events.clear()


@pytest.fixture
def web2(web_embedded: OpenAIWeb) -> OpenAIWeb:
    web = web_embedded
    web.place.engine = dict(EAGER)
    web.write(policy={"grace": "0s"})
    web.place.rotate()
    return web


def nothing_happens(web: OpenAIWeb) -> None:
    """Passes, --now and --compromised leave the world as it is."""
    before = (web.live(), web.value(0), web.value(1))
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        web.place.rotate(patience=6)
        for cause in (Cause.MANUAL, Cause.COMPROMISED):
            progress: Progress = web.place.rotate("web", now=True, cause=cause, patience=6)["web"]
            assert (progress.completed, getattr(progress.decision, "reason", None)) == (False, "reconcile")
    assert (web.live(), web.value(0), web.value(1)) == before
    assert consumer.dead == 0
    assert acts(web.place) == []
    status = web.place.status("web")
    assert (status["status"], status["reason"]) == ("blocked", "reconcile")
    assert "rotator reconcile" in status["remedy"]


# the ways it is noticed


def test_a_restored_database_stops_before_it_has_done_anything(web2: OpenAIWeb) -> None:
    web, backup = web2, Backups(web2.place)
    web.place.rotate("web", now=True, patience=6)
    backup.take()  # version 1 is about to be taken away, by these rows
    web.place.rotate(patience=2)
    web.place.rotate("web", now=True)
    web.place.rotate(patience=2)
    backup.restore()
    nothing_happens(web)
    assert "is a copy, or was restored" in stopped(web.place)[0]


def test_a_key_with_our_label_and_no_row_stops_the_installation(web2: OpenAIWeb) -> None:
    web, backup = web2, Backups(web2.place)
    backup.take()
    web.place.rotate("web", now=True)
    web.place.rotate(patience=2)
    backup.restore(in_place=True)
    nothing_happens(web)
    assert "carries this service's label" in stopped(web.place)[0]


def test_an_anchor_outside_tells_what_the_file_cannot(web2: OpenAIWeb) -> None:
    web, backup = web2, Backups(web2.place)
    anchored(web)
    web.place.rotate(patience=6)
    backup.take()
    with web.place.service() as service, service.running().hold("web") as work:
        from rotator.engine import operator

        operator.resume(work)
    web.place.rotate(patience=6)
    backup.restore(in_place=True)
    nothing_happens(web)
    assert "and the mark outside the database is at" in stopped(web.place)[0]


def anchored(web: OpenAIWeb) -> Path:
    text = web.place.file.read_text().replace("store:\n", "store:\n  anchor: anchor.json\n")
    web.place.file.write_text(text)
    return web.place.folder / "anchor.json"


def test_an_anchor_that_is_lost_or_of_another_trail_stops_as_well(web2: OpenAIWeb) -> None:
    web = web2
    anchor = anchored(web)
    web.place.rotate(patience=6)
    mark = json.loads(anchor.read_text())
    assert mark["seq"] > 0
    anchor.unlink()
    web.place.events.clear()
    nothing_happens(web)
    assert "is gone" in stopped(web.place)[0]
    confirm(web.place)
    assert stopped(web.place) == []
    anchor.write_text(json.dumps({**mark, "hash": "0" * 64}))
    web.place.events.clear()
    nothing_happens(web)
    assert "another one than the mark" in stopped(web.place)[0]
    anchor.write_text("{")
    with web.place.service() as service:
        problem = service.running().turn("web", None, service.store.now()).trouble
    assert isinstance(problem, SetupError)
    assert problem.reason == "bad_anchor"


def test_the_anchor_only_goes_on(web2: OpenAIWeb) -> None:
    web = web2
    anchor = anchored(web)
    seen = []
    for _ in range(3):
        web.place.rotate("web", now=True)
        seen.append(json.loads(anchor.read_text())["seq"])
    assert seen == sorted(set(seen))
    assert stopped(web.place) == []


def test_a_secret_that_an_unknown_worker_of_ours_wrote_stops_the_installation(deployer: Deployer) -> None:  # noqa: F811
    """IAM keys have no label; Secrets Manager tells whose write a version is."""
    deployer.place.engine = dict(EAGER)
    deployer.write()
    deployer.place.rotate()
    backup = Backups(deployer.place)
    backup.take()
    deployer.place.rotate("deployer", now=True)
    deployer.place.rotate(patience=2)
    backup.restore(in_place=True)
    keys = deployer.listed()
    deployer.place.rotate(patience=6)
    deployer.place.rotate("deployer", now=True, patience=6)
    assert deployer.listed() == keys
    assert deployer.works() is True
    assert "was written by a worker of this service" in stopped(deployer.place)[0]
    shown = confirm(deployer.place)
    assert any("another living key" in line for line in shown)
    deployer.place.rotate(patience=2)
    assert deployer.place.status("deployer")["current"]["key_id"] in keys
    assert deployer.works() is True


def test_another_installations_label_is_a_stranger_and_stops_nothing(web2: OpenAIWeb) -> None:
    web = web2
    web.emulator.make_key(name="billing rotator/00000000-0000-4000-8000-000000000000")
    web.place.rotate(patience=6)
    assert [f["kind"] for f in findings(web.place)] == ["stranger"]
    assert web.place.rotate("web", now=True)["web"].completed


# confirming


def test_the_key_that_consumers_read_becomes_current_and_the_installation_goes_on(web2: OpenAIWeb) -> None:
    web, backup = web2, Backups(web2.place)
    backup.take()
    web.place.rotate("web", now=True)
    web.place.rotate(patience=2)
    (newest,) = web.live()
    backup.restore()
    nothing_happens(web)
    shown = confirm(web.place)
    assert any(newest in line for line in shown)
    assert any("version 1" in line and "is gone at the provider" in line for line in shown)
    assert stopped(web.place) == []
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        web.place.rotate(patience=3)
        assert web.place.rotate("web", now=True)["web"].completed
        web.place.rotate(patience=3)
    assert consumer.dead == 0
    assert web.live() == [web.place.status("web")["current"]["key_id"]]
    assert web.place.status("web")["status"] == "ok"
    told = next(e for e in web.place.events if e["event"] == "reconcile.succeeded")
    assert (told["detail"]["because"], list(told["detail"]["differences"])) == ("test", ["web"])
    web.place.verified()


def test_destinations_that_serve_two_unknown_keys_end_with_the_newest(web2: OpenAIWeb) -> None:
    web, backup = web2, Backups(web2.place)
    web.write(policy={"grace": "1h"})
    backup.take()
    web.place.rotate("web", now=True)
    older = web.value(0)
    now = web.emulator.clock
    web.emulator.clock = lambda: now() + 60
    web.place.rotate("web", now=True)
    newer = web.value(0)
    assert older is not None
    web.put(older, 1)
    backup.restore()
    web.place.rotate(patience=6)
    confirm(web.place)
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        web.place.rotate(patience=3)
    assert consumer.dead == 0
    assert web.value(0) == web.value(1) == newer
    assert web.place.status("web")["rotation"] is None


def test_an_unknown_key_that_nothing_serves_is_taken_away_through_all_gates(web2: OpenAIWeb) -> None:
    web = web2
    ours = web.emulator.make_key(name="web rotator/00000000-0000-4000-8000-000000000001")
    kept = web.emulator.make_key(name="web rotator/00000000-0000-4000-8000-000000000002")
    web.place.rotate(patience=6)
    assert len(stopped(web.place)) == 2
    confirm(web.place, keep=(kept.id,))
    web.place.rotate(patience=3)
    assert ours.id not in web.live()
    assert kept.id in web.live()
    assert findings(web.place) == []
    assert web.place.rotate("web", now=True)["web"].completed


def test_what_has_changed_since_it_was_shown_is_not_confirmed(web2: OpenAIWeb) -> None:
    web = web2
    web.emulator.make_key(name="web rotator/00000000-0000-4000-8000-000000000001")
    web.place.rotate(patience=6)
    with web.place.service() as service:
        shown = reconcile.pictures(service.running())
        web.emulator.make_key(name="web rotator/00000000-0000-4000-8000-000000000002")
        with pytest.raises(SetupError, match="has changed meanwhile"):
            reconcile.confirm(service.running(), shown, (), None)
    assert stopped(web.place)


def test_a_rotation_that_was_open_at_the_backup_is_closed_where_newer_keys_are_out(web2: OpenAIWeb) -> None:
    web, backup = web2, Backups(web2.place)
    with web.vault_gate.down():
        web.place.rotate("web", now=True, patience=1)
    assert web.place.status("web")["rotation"] is not None
    backup.take()
    web.place.rotate(patience=3)
    web.place.rotate("web", now=True)
    web.place.rotate(patience=3)
    (newest,) = web.live()
    backup.restore()
    nothing_happens(web)
    confirm(web.place)
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        web.place.rotate(patience=4)
    assert consumer.dead == 0
    status = web.place.status("web")
    assert (status["current"]["key_id"], status["rotation"], status["previous"]) == (newest, None, [])


def test_decisions_about_drift_wait_for_reconcile(web2: OpenAIWeb) -> None:
    from rotator.domain.errors import TemporaryError
    from rotator.engine import drift

    web = web2
    web.emulator.make_key(name="web rotator/00000000-0000-4000-8000-000000000001")
    web.place.rotate(patience=6)
    for decision in (drift.accept, drift.overwrite):
        with pytest.raises(TemporaryError):
            decide(web.place, decision)


# PostgreSQL


@pytest.fixture(scope="session")
def staging() -> Iterator[Postgres]:
    """Another server, where somebody restores production's dump."""
    with Postgres() as server:
        yield server


def dump(url: str) -> bytes:
    return subprocess.run(
        [str(_binaries() / "pg_dump"), "--no-owner", _dsn(url)], check=True, capture_output=True
    ).stdout


def restore(url: str, dumped: bytes) -> None:
    command = [str(_binaries() / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", _dsn(url)]
    subprocess.run(command, check=True, input=dumped, capture_output=True)


def _dsn(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.mark.parametrize("elsewhere", ["another server", "another database of the same server"])
def test_a_dump_of_production_that_runs_elsewhere_touches_nothing(
    web: OpenAIWeb, postgres: Postgres, staging: Postgres, elsewhere: str, request: pytest.FixtureRequest
) -> None:
    if "sqlite" in request.node.name:
        copied_folder(web)
        return
    web.place.engine = dict(EAGER)
    web.write(policy={"grace": "0s"})
    web.place.rotate()
    web.place.rotate("web", now=True, patience=6)
    production = load(web.place.file).store.resolve()
    copy = (staging if elsewhere == "another server" else postgres).fresh_url("staging")
    restore(copy, dump(production))
    (web.place.folder / "staging-url").write_text(copy)
    web.place.store_url = "file:staging-url"
    web.write(policy={"grace": "0s"})
    web.place.events.clear()
    nothing_happens(web)
    assert "is a copy, or was restored" in stopped(web.place)[0]
    web.place.store_url = "file:database-url"
    web.write(policy={"grace": "0s"})
    web.place.rotate(patience=3)
    assert stopped(web.place) == []
    assert web.place.status("web")["status"] == "ok", "production goes on"


@pytest.mark.timeout(1200)
def test_restores_one_after_the_other_are_noticed_each_time(web: OpenAIWeb, postgres: Postgres) -> None:
    """Each is of another moment of a rotation. `make chaos` does it twelve times, the plain test run twice."""
    web.place.engine = dict(EAGER)
    policy = {"grace": "0s", "max_creates_per_day": 1000}
    web.write(policy=policy)
    web.place.rotate()
    with Consumer([lambda: web.works(0), lambda: web.works(1)]) as consumer:
        for number in range(RESTORES):
            web.place.rotate("web", now=True, patience=number % 4 * 0.1)  # parked somewhere, or done
            back = taken(web, postgres)
            for _ in range(1 + number % 3):
                web.place.rotate("web", now=True)
                web.place.rotate(patience=3)
            back()
            web.write(policy=policy)
            nothing_happens(web)
            confirm(web.place)
            for _ in range(10):
                web.place.rotate(patience=3)
                if not any(web.place.status("web")[what] for what in ("rotation", "previous")):
                    break
            assert web.place.status("web")["status"] == "ok", web.place.explain("web")
            assert web.live() == [web.place.status("web")["current"]["key_id"]]
            assert web.works(0) is web.works(1) is True
    assert consumer.dead == 0
    web.place.verified()
    print(f"{RESTORES} restores, {consumer.seen:,} looks, {consumer.dead} dead keys")  # noqa: T201 - for `make chaos`


def taken(web: OpenAIWeb, postgres: Postgres) -> Callable[[], None]:
    """A backup of the database as it is now; call it to put it back."""
    if "sqlite" in web.place.store_url:
        backup = Backups(web.place)
        backup.take()
        return backup.restore
    dumped = dump(load(web.place.file).store.resolve())

    def put_back() -> None:
        url = postgres.fresh_url("restored")
        restore(url, dumped)
        (web.place.folder / "database-url").write_text(url)
        web.place.events.clear()

    return put_back


def copied_folder(web: OpenAIWeb) -> None:
    web.place.engine = dict(EAGER)
    web.write(policy={"grace": "0s"})
    web.place.rotate()
    web.place.rotate("web", now=True, patience=6)
    elsewhere = web.place.folder.with_name(f"{web.place.folder.name}-copy")
    shutil.copytree(web.place.folder, elsewhere)
    original, web.place.folder = web.place.folder, elsewhere
    web.place.events.clear()
    nothing_happens(web)
    web.place.folder = original
    web.place.rotate(patience=3)
    assert stopped(web.place) == []


def test_a_fail_over_stops_the_installation_unless_the_anchor_proves_that_nothing_is_lost(
    web_embedded: OpenAIWeb, tmp_path: Path
) -> None:
    web = web_embedded
    with Postgres() as server:
        url = tmp_path / "database-url"
        url.write_text(server.fresh_url("failover"))
        web.place.store_url = f"file:{url.name}"
        (web.place.folder / "rotator.key").unlink()
        web.place.engine = dict(EAGER)
        web.write(policy={"grace": "0s"})
        web.place.rotate()
        promote(server)
        web.place.events.clear()
        nothing_happens(web)
        assert "timeline 1 became 2" in stopped(web.place)[0]
        confirm(web.place)
        anchored(web)
        web.place.rotate(patience=6)
        promote(server)
        assert web.place.rotate("web", now=True)["web"].completed
        assert stopped(web.place) == []


def promote(server: Postgres) -> None:
    """What a standby does that takes over: the log goes on on a new timeline."""
    server.stop()
    (server.folder / "data" / "standby.signal").touch()
    server.give(server.folder / "data" / "standby.signal")
    server.start()
    with psycopg.connect(_dsn(server.url()), autocommit=True) as connection:
        connection.execute("SELECT pg_promote(true, 30)")


def test_a_role_without_rights_sees_where_it_is(postgres: Postgres) -> None:
    url = postgres.fresh_url("rights")
    with psycopg.connect(_dsn(url), autocommit=True) as connection:
        connection.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
    plain = make_url(url).set(username="plain", password="plain")
    database = Database(connect(plain.render_as_string(hide_password=False)))
    try:
        found = home(database)
    finally:
        database.engine.dispose()
        with psycopg.connect(_dsn(url), autocommit=True) as connection:
            connection.execute("DROP ROLE plain")
    assert found.place is not None
    assert "unknown" not in found.place
    assert found.timeline == 1
