"""`doctor`: everything that somebody who helps would ask for, and no secret in it, however it is spelt."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from tests.cli.house import House


def bundle(house: House, *options: str) -> dict[str, str]:
    """What is in it, by name; nothing of it is a secret."""
    ran = house.run("doctor", "--output", "bundle.tar.gz", *options)
    assert ran.status == 0, ran.err
    path = house.folder / "bundle.tar.gz"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.name in ran.out
    with tarfile.open(path) as tar:
        found = {name.removeprefix("rotator-doctor/"): read(tar, name) for name in tar.getnames()}
    path.unlink()
    house.said += list(found.values())
    for text in found.values():
        assert not house.canaries.found_in(text)
    return found


def read(tar: tarfile.TarFile, name: str) -> str:
    member = tar.extractfile(name)
    assert member is not None
    return io.TextIOWrapper(member, encoding="utf-8").read()


def test_a_bundle_has_everything_and_no_secret(house: House) -> None:
    house.rotate()
    house.rotate("--now", "web")
    found = bundle(house)
    told: dict[str, Any] = {name: json.loads(text) for name, text in found.items() if name.endswith(".json")}
    assert told["status.json"]["credentials"][1]["name"] == "web"
    assert told["check.json"]["ok"] is True
    assert told["schema.json"]["pending"] == []
    assert told["trail.json"]["ok"] is True
    assert told["plan.json"]
    assert told["versions.json"]["libraries"]["sqlalchemy"]
    (configured,) = told["configuration.json"]["files"].values()
    assert configured["providers"] == {"local": {"type": "generated"}}
    assert "promote.succeeded" in found["events.jsonl"]
    assert not [name for name in found if name.endswith(".error")]


def test_what_the_configuration_names_is_taken_out_of_a_log_in_every_spelling(house: House) -> None:
    key = (house.folder / "rotator.key").read_text().strip()
    spelt = [key, key.encode().hex(), base64.b64encode(key.encode()).decode(), json.dumps(key)]
    (house.folder / "old.log").write_text("a line before\n" * 3000 + "".join(f"it was {text}\n" for text in spelt))
    log = bundle(house, "--log", "old.log")["log.txt"]
    assert len(log.splitlines()) == 2000
    assert log.endswith('it was "…"\n')


def test_there_is_a_bundle_where_nothing_works(house: House) -> None:
    (house.folder / "rotator.db").write_text("environment: prod\n" * 100)
    house.change("\nproviders:", "\nprovider:")
    found = bundle(house)
    assert "did you mean `providers`?" in found["configuration.txt"]
    assert "E-BAD-CONFIGURATION" in found["status.json.error"]
    house.change("\nprovider:", "\nproviders:")
    found = bundle(house)
    assert "E-DATABASE-DAMAGED" in found["status.json.error"]
    assert "exit status 2" in found["schema.json.error"]
    assert json.loads(found["check.json"])["ok"] is False


def test_nothing_is_overwritten_and_a_missing_log_is_told(house: House, tmp_path: Path) -> None:
    (house.folder / "taken.tar.gz").write_text("mine")
    assert house.run("doctor", "--output", "taken.tar.gz").status == 2
    assert (house.folder / "taken.tar.gz").read_text() == "mine"
    ran = house.run("doctor", "--log", "none.log")
    assert ran.status == 2
    assert "cannot read the log none.log" in ran.err
