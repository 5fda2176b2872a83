"""The verifier runs without the service: from a copy of its folder, with nothing else of the project to be found."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rotator.verifier
from rotator.domain.secret import Secret
from rotator.ports.store import NewEvent
from rotator.store import schema
from rotator.store.audit import export
from rotator.store.checkpoints import SignedCheckpoints
from rotator.store.signing import Signer, new_seed
from rotator.store.store import open_store
from rotator.testbed.postgres import Postgres
from tests.contracts.store import HOUR
from tests.store.conftest import new_id


class Elsewhere:
    """A folder with a trail as others get it, and a copy of the verifier."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        shutil.copytree(
            Path(rotator.verifier.__file__).parent, folder / "check", ignore=shutil.ignore_patterns("__*__")
        )
        for name in ("__init__.py", "__main__.py"):
            shutil.copy(Path(rotator.verifier.__file__).parent / name, folder / "check" / name)
        schema.upgrade(url, "test", new_id)
        store = open_store(url, new_id=new_id)
        signer = Signer(Secret(new_seed()), "keyturn/test")
        store.note([NewEvent(event="push.succeeded", actor="test", detail={"é": "\U0001f511"}) for _ in range(20)])
        note = SignedCheckpoints(store.database, lambda: signer, events=1, every=HOUR).sign("test").note
        (folder / "checkpoint.txt").write_text(note, encoding="utf-8")
        (folder / "trail.jsonl").write_text("".join(f"{line}\n" for line in export(store)), encoding="utf-8")
        self.key = signer.verifier_key
        store.close()

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "check", *arguments],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", **environment},
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def elsewhere(tmp_path: Path) -> Elsewhere:
    return Elsewhere(tmp_path, f"sqlite:///{tmp_path}/rotator.db")


def test_it_imports_nothing_of_the_service(elsewhere: Elsewhere) -> None:
    code = "import sys; import check.__main__; print([m for m in sys.modules if m.split('.')[0] in "
    code += "('rotator', 'sqlalchemy', 'rfc8785', 'click', 'pydantic', 'psycopg', 'cryptography')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=elsewhere.folder, capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("source", ["trail.jsonl", "rotator.db", "-"])
def test_an_honest_trail_is_intact(elsewhere: Elsewhere, source: str) -> None:
    stdin = (elsewhere.folder / "trail.jsonl").read_text(encoding="utf-8") if source == "-" else ""
    told = elsewhere.run(source, "--key", elsewhere.key, "--against", "checkpoint.txt", "--json", stdin=stdin)
    assert told[0] == 0, told
    found = json.loads(told[1])
    assert (found["ok"], found["count"], found["checkpoints"], found["problem"]) == (True, 22, 1, None)


def test_a_postgresql_database_is_read_by_its_url_in_the_environment(tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.fresh_url("elsewhere")
    elsewhere = Elsewhere(tmp_path, url)
    told = elsewhere.run("env:TRAIL", "--key", elsewhere.key, "--against", "checkpoint.txt", TRAIL=url)
    assert told[0] == 0, told
    assert "22 events" in told[1]


def test_a_cut_tail_is_named_and_exits_1(elsewhere: Elsewhere) -> None:
    path = elsewhere.folder / "trail.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:-3]), encoding="utf-8")
    assert elsewhere.run("trail.jsonl")[0] == 0  # by itself it looks whole
    status, out, err = elsewhere.run("trail.jsonl", "--key", elsewhere.key, "--against", "checkpoint.txt")
    assert (status, out) == (1, "")
    assert "broken at event 20: the checkpoint covers 21 events: events 20 to 21 are missing at the end" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name what to verify"),
        (("missing.jsonl",), "cannot read missing.jsonl"),
        (("trail.jsonl", "--against", "checkpoint.txt"), "without a key"),
        (("trail.jsonl", "--against", "trail.jsonl", "--key", "KEY"), "trail.jsonl: it is not a signed note"),
        (("trail.jsonl", "--key", "x"), "not a verifier key"),
        (("env:NOTHING",), "NOTHING is not set"),
        (("--proof", "trail.jsonl"), "without a key nothing is proved"),
    ],
)
def test_what_cannot_be_checked_exits_2_and_says_why(
    elsewhere: Elsewhere, arguments: tuple[str, ...], said: str
) -> None:
    status, out, err = elsewhere.run(*(elsewhere.key if word == "KEY" else word for word in arguments))
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
