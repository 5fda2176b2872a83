"""The commands of docs/backup.md, as they stand there: a database that is lost in the middle, restored, and goes on."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import make_url

from rotator.config import load
from rotator.domain.secret import Secret
from rotator.testbed.postgres import Postgres
from rotator.wiring import opened, surroundings
from tests.cli.conftest import house, template
from tests.cli.house import ROOT, House
from tests.docs.test_examples import shell

__all__ = ["house", "template"]  # fixtures

PAGE = (ROOT / "docs" / "backup.md").read_text(encoding="utf-8")


def commands(section: str) -> tuple[str, str]:
    """How to make a backup, and how to put it back."""
    body = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    make, restore = re.findall(r"```sh\n(.*?)```", body, re.DOTALL)
    return make, restore


class Operator:
    """Types what the page says."""

    def __init__(self, house: House, tmp_path: Path, programs: str = "") -> None:
        self.house = house
        self.environment = dict(shell(tmp_path))
        self.environment["PATH"] = f"{programs}:{self.environment['PATH']}"

    def types(self, text: str) -> None:
        line = ["bash", "-euo", "pipefail", "-c", text]
        done = subprocess.run(
            line, cwd=self.house.folder, env=self.environment, check=False, capture_output=True, text=True
        )
        self.house.said += [done.stdout, done.stderr]
        assert done.returncode == 0, done.stdout + done.stderr


def lost_and_restored(operator: Operator, section: str, lose: Callable[[], object] = lambda: None) -> None:
    house, (make, restore) = operator.house, commands(section)
    assert house.rotate().status == 0
    (house.folder / "other").rename(house.folder / "away")
    assert house.rotate("--now", "mail", "--timeout", "1s").status == 1  # open, and its place is not there
    operator.types(make)
    (house.folder / "away").rename(house.folder / "other")
    assert house.rotate("--now", "mail").status == 0
    assert house.rotate("--now", "web").status == 0  # of this, the backup knows nothing
    lose()
    operator.types(restore)
    assert house.rotate("--now", "mail").status == 0  # what was open goes on, also where it was blocked by then
    assert house.rotate().status == 0
    for name, file in (("mail", "other/other.env"), ("web", "app.env")):
        entry = house.status(name)
        assert entry["rotation"] is None
        assert {row["state"] for row in entry["destinations"]} == {"current"}
        assert entry["current"]["fingerprint"] == fingerprint(house, house.values(file)[name.upper()])
        before = house.values(file)
        assert house.rotate("--now", name).status == 0
        assert house.values(file) != before
    assert house.run("audit", "verify").status == 0


def fingerprint(house: House, value: str) -> str:
    with opened(load(house.folder / "rotator.yaml"), surroundings()) as service:
        return service.store.fingerprint(Secret(value))


def test_sqlite(house: House, tmp_path: Path) -> None:
    lost_and_restored(Operator(house, tmp_path), "SQLite")
    assert (house.folder / "rotator.bak").stat().st_mode & 0o777 == 0o600


def test_postgresql(house: House, tmp_path: Path, postgres: Postgres) -> None:
    operator = Operator(house, tmp_path, str(postgres.programs))

    def move_in() -> None:
        url = postgres.fresh_url("backup")
        (house.folder / "url").write_text(url, encoding="utf-8")
        at = make_url(url)
        operator.environment |= {"PGHOST": str(at.host), "PGPORT": str(at.port), "PGDATABASE": str(at.database)}
        operator.environment |= {"PGUSER": str(at.username), "PGPASSWORD": str(at.password)}

    move_in()
    house.write("store: {url: 'file:url'}\n" + (house.folder / "rotator.yaml").read_text(encoding="utf-8"))
    assert house.run("db", "upgrade").status == 0
    lost_and_restored(operator, "PostgreSQL", move_in)


def test_what_is_served_is_taken_up_before_anything_has_noticed_the_restore(house: House) -> None:
    assert house.rotate().status == 0
    saved = (house.folder / "rotator.db").read_bytes()
    assert house.rotate("--now", "web").status == 0
    (house.folder / "rotator.db").write_bytes(saved)
    for log in house.folder.glob("rotator.db-*"):
        log.unlink()
    confirmed = house.run("reconcile", "--yes", "--reason", "restored")
    assert "found " not in confirmed.out, "noticed by itself: nothing is shown by this test"
    assert "becomes the current key" in confirmed.out
    assert house.status("web")["current"]["fingerprint"] == fingerprint(house, house.values("app.env")["WEB"])
    again = house.run("reconcile", "--yes")
    assert "all is as on record" in again.out
    assert house.rotate("--now", "web").status == 0


def test_what_confirming_does_not_change_is_named_with_what_does(house: House) -> None:
    assert house.rotate().status == 0
    older = (house.folder / "app.env").read_text()
    assert house.rotate("--now", "web").status == 0
    (house.folder / "app.env").write_text(older)
    before = len(house.events())
    ran = house.run("reconcile", "--yes")
    assert ran.status == 0
    assert "app.env is left as it is; `rotator drift overwrite web app`" in ran.out
    assert "there is nothing to confirm; nothing was changed" in ran.out
    assert "confirmed" not in ran.out.replace("if confirmed", "")
    assert len(house.events()) == before
