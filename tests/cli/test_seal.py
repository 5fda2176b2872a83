"""`rotator seal`: from one sealing key to the next, killed on the way, with a backup from before."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select

from rotator.config import load
from rotator.domain.secret import Material
from rotator.ports.store import Insert, Seal
from rotator.store import tables
from rotator.store.store import SqlStore, open_store
from rotator.testbed.aws import Aws
from rotator.testbed.openbao import OpenBao
from rotator.wiring import keyring, new_id
from tests.cli.house import House
from tests.contracts.store import Work

VALUES = 10
BOTH = "seal: {key: file:rotator.key, also: [file:new.key]}\n"


def configured(house: House, seal: str) -> None:
    """Put this in front of the configuration."""
    text = (house.folder / "rotator.yaml").read_text(encoding="utf-8")
    rest = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("seal:"))
    house.write(seal + rest)


def store_of(house: House) -> SqlStore:
    config = load(house.folder / "rotator.yaml")
    return open_store(config.store.resolve(), new_id=new_id, keyring=keyring(config), environment="test")


@pytest.fixture
def sealed(house: House) -> dict[str, Material]:
    """Ten values, sealed under `rotator.key`."""
    store = store_of(house)
    work = Work(store)
    found = {}
    for _ in range(VALUES):
        version = work.version()
        found[str(version.id)] = Material.of(secret=house.canaries())
        work.record(Insert(version), Seal(version.id, found[str(version.id)]))
    store.release(work.lease)
    store.close()
    return found


def opened(house: House, sealed: dict[str, Material]) -> dict[str, Material | None]:
    """What the same versions have now."""
    with closing(store_of(house)) as store:
        return {version: store.material(version) for version in sealed}  # type: ignore[arg-type]


def under(house: House) -> dict[str, int]:
    counted = select(tables.sealed.c.sealed_under, func.count()).group_by(tables.sealed.c.sealed_under)
    with closing(store_of(house)) as store, store.database.read() as connection:
        return {row[0]: row[1] for row in connection.execute(counted)}


def test_a_rewrapping_that_is_killed_at_each_batch_goes_on(house: House, sealed: dict[str, Material]) -> None:
    configured(house, BOTH)
    assert house.run("seal", "add", "file:new.key", "--make").status == 0
    assert house.run("seal", "activate", "file:new.key").status == 0
    backup(house.folder / "rotator.db", house.folder / "yesterday.db")
    old = min(under(house))
    left = []
    while killed(house, "", 3):
        assert opened(house, sealed) == sealed
        left.append(under(house).get(old, 0))
    assert left == [7, 4, 1, 0]
    assert house.happened("seal_rewrap.started") == 4
    assert "nothing to do" in house.run("seal", "rewrap").out
    assert list(under(house).values()) == [VALUES]
    removed = house.run("seal", "remove", "file:rotator.key")
    assert removed.status == 0
    configured(house, "seal: {key: file:new.key}\n")
    assert opened(house, sealed) == sealed
    assert house.rotate().status == 0
    # yesterday's backup, with today's configuration, and then with the key that it was made with
    (house.folder / "yesterday.db").replace(house.folder / "rotator.db")
    for name in ("rotator.db-wal", "rotator.db-shm"):
        (house.folder / name).unlink(missing_ok=True)
    refused = house.rotate()
    assert refused.status == 2
    assert "file:rotator.key" in refused.err
    assert "(wrong_sealing_key)" in refused.err
    configured(house, BOTH)
    assert opened(house, sealed) == sealed


def test_a_rewrapping_that_is_killed_within_a_batch_goes_on(house: House, sealed: dict[str, Material]) -> None:
    configured(house, BOTH)
    house.run("seal", "add", "file:new.key", "--make")
    house.run("seal", "activate", "file:new.key")
    old, left = min(under(house)), []
    while killed(house, "LocalSealer.unwrap = dying", 100):
        assert opened(house, sealed) == sealed
        left.append(under(house).get(old, 0))
    assert left == [7, 3]
    assert list(under(house).values()) == [VALUES]


def killed(house: House, patch: str, batch: int) -> bool:
    """Rewrap in a process of its own, which kills itself; whether it did. Any other end but success is an error."""
    code = DYING.format(patch=patch, batch=batch)
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=house.folder, env=house.environ(), capture_output=True, text=True, check=False)
    assert ran.returncode in (0, -signal.SIGKILL), ran.stderr
    return ran.returncode != 0


DYING = """
import os, signal
from pathlib import Path
from rotator.config import load
from rotator.sealers.local import LocalSealer
from rotator.store.store import open_store
from rotator.wiring import keyring, new_id

def die():
    os.kill(os.getpid(), signal.SIGKILL)

unwrap, opened = LocalSealer.unwrap, []

def dying(self, wrapped, place):
    opened.append(place)
    return unwrap(self, wrapped, place) if len(opened) < 5 else die()

config = load(Path("rotator.yaml"))
store = open_store(config.store.resolve(), new_id=new_id, keyring=keyring(config), environment="test")
{patch}
for step in store.sealing_keys("test").rewrap({batch}, None):
    if step.left or {batch} < 100:
        die()
"""


def backup(path: Path, to: Path) -> None:
    """As docs/operations.md says."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def test_two_processes_that_rewrap_at_once_harm_nothing(house: House, sealed: dict[str, Material]) -> None:
    configured(house, BOTH)
    house.run("seal", "add", "file:new.key", "--make")
    house.run("seal", "activate", "file:new.key")
    running = [house.start("seal", "rewrap", "--batch", "1", "--json") for _ in range(2)]
    ends = [house.end(process) for process in running]
    assert [end.status for end in ends] == [0, 0]
    done = [json.loads(end.out.splitlines()[-1])["done"] for end in ends if end.out]
    assert sum(done) == VALUES + 1
    assert opened(house, sealed) == sealed
    assert len(under(house)) == 1


def test_the_whole_way_by_hand(house: House) -> None:
    house.rotate()
    before = house.values()
    missing = house.run("seal", "add", "file:new.key")
    assert missing.status == 2
    assert "name it in seal.also" in missing.err
    configured(house, BOTH)
    no_file = house.run("seal", "add", "file:new.key")
    assert no_file.status == 2
    assert "new.key" in no_file.err
    added = house.run("seal", "add", "file:new.key", "--make", "--reason", "yearly")
    assert added.status == 0
    assert "Next: `rotator seal activate file:new.key`" in added.out
    assert (house.folder / "new.key").stat().st_mode & 0o777 == 0o600
    refused = house.run("seal", "remove", "file:rotator.key")
    assert refused.status == 1
    assert "is the active key" in refused.err
    assert house.run("seal", "activate", "file:new.key").status == 0
    refused = house.run("seal", "remove", "file:rotator.key")
    assert refused.status == 1
    assert "2 sealed values and the pepper" in refused.err
    assert "rotator seal rewrap" in refused.err
    rewrapped = house.run("seal", "rewrap")
    assert "re-wrapped 3 values" in rewrapped.out
    assert "nothing to do" in house.run("seal", "rewrap").out
    status = house.run("seal", "status")
    assert "active   file:new.key" in status.out
    assert "idle     file:rotator.key" in status.out
    told = house.run("seal", "status", "--json").json["keys"]
    assert [(key["name"], key["active"], key["values"], key["works"]) for key in told] == [
        ("file:rotator.key", False, 0, True),
        ("file:new.key", True, 2, True),
    ]
    assert house.run("seal", "remove", "file:rotator.key").status == 0
    configured(house, "seal: {key: file:new.key}\n")
    (house.folder / "rotator.key").unlink()
    assert house.rotate("--now", "web").status == 0
    assert house.values() != before
    assert house.run("audit", "verify").status == 0
    for verb in ("add", "activate", "rewrap", "remove"):
        assert house.happened(f"seal_{verb}.succeeded") == 1


def test_a_key_that_is_lost_shows_in_the_status(house: House) -> None:
    house.rotate()
    (house.folder / "rotator.key").rename(house.folder / "lost.key")
    configured(house, "seal: {key: file:other.key, also: []}\n")
    (house.folder / "other.key").write_text((house.folder / "lost.key").read_text()[::-1].strip()[1:] + "=\n")
    ran = house.run("seal", "status")
    assert ran.status in (1, 2)
    assert "file:other.key" in ran.err or "file:rotator.key" in ran.said


def test_check_tells_of_keys_that_are_not_added_or_not_needed(house: House) -> None:
    house.rotate()
    configured(house, BOTH)
    (house.folder / "new.key").write_text("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n")
    checked = house.run("check")
    assert checked.status == 0
    assert "file:new.key: it is configured, and not on record" in checked.err
    house.run("seal", "add", "file:new.key")
    assert "nothing needs it" in house.run("check").out


def test_a_sealer_beside_the_secrets_is_warned_of(house: House, openbao: OpenBao, aws: Aws) -> None:
    text = f"""\
seal:
  key: file:rotator.key
  also: [vault-transit:beside/rotator, aws-kms:alias/none]
  vault: {{address: {openbao.url}, auth: {{method: token, token: env:BAO}}}}
  aws: {{endpoint_url: {aws.url}}}
"""
    rest = (
        (house.folder / "rotator.yaml")
        .read_text()
        .replace(
            "destinations:\n",
            f"""destinations:
  vault: {{type: vault-kv, address: {openbao.url}, auth: {{method: token, token: env:BAO}}}}
  sm: {{type: aws-secrets-manager, region: us-east-1, endpoint_url: {aws.url}}}
  elsewhere: {{type: aws-secrets-manager, region: us-east-1, endpoint_url: 'http://127.0.0.1:9'}}
""",
        )
    )
    house.write(text + rest)
    checked = house.run("check", "--json", env={"BAO": "root"})
    assert checked.out, checked.err
    found = [one for one in checked.json["checks"] if one["reason"] == "sealed_beside"]
    assert [(one["subject"], one["message"].rpartition(" ")[2]) for one in found] == [
        ("vault-transit:beside/rotator", "vault"),
        ("aws-kms:alias/none", "sm"),
    ]


@pytest.mark.parametrize("service", ["vault", "aws"])
def test_a_service_keeps_the_key(house: House, openbao: OpenBao, aws: Aws, service: str) -> None:
    """A whole rotation under a key that never leaves OpenBao or KMS; and a service that is away creates nothing."""
    if service == "vault":
        openbao.call("POST", "sys/mounts/cli-transit", {"type": "transit"})
        openbao.call("POST", "cli-transit/keys/rotator")
        reach = f"vault: {{address: {openbao.url}, auth: {{method: token, token: env:BAO}}}}"
        seal = f"seal: {{key: 'vault-transit:cli-transit/rotator', {reach}}}\n"
        url = openbao.url
    else:
        key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
        reach = f"aws: {{endpoint_url: {aws.url}, access_key_id: env:KEY_ID, secret_access_key: env:SECRET}}"
        seal = f"seal: {{key: '{key}', {reach}}}\n".replace("'arn", "'aws-kms:arn")
        url = aws.url
    env = {"BAO": openbao.token, "KEY_ID": aws.root.access_key_id, "SECRET": aws.root.secret_access_key}
    configured(house, seal)
    away = seal.replace(url, "http://127.0.0.1:9")
    configured(house, away)
    down = house.run("rotate", env=env)
    assert down.status == 1
    assert not house.values()
    configured(house, seal)
    ran = house.run("rotate", env=env)
    assert ran.status == 0, ran.said
    before = house.values()
    assert house.run("rotate", "--now", "web", env=env).status == 0
    assert house.values() != before
    status = house.run("seal", "status", "--json", env=env).json["keys"]
    assert [(key["works"], key["values"]) for key in status] == [(True, 3)]
