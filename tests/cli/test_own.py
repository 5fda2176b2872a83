"""`status --self`: our own credentials."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rotator.cli import own
from rotator.config import load
from rotator.testbed.aws import Aws
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.testbed.openbao import OpenBao
from rotator.testbed.postgres import Postgres
from tests.engine.place import Place


@pytest.fixture
def place(tmp_path: Path, openai: OpenAIEmulator, openbao: OpenBao, aws: Aws) -> Place:
    place = Place(tmp_path)
    made = openbao.call("POST", "auth/token/create", {"policies": ["app"], "ttl": "2h"})["auth"]
    for name, text in (
        ("admin", openai.admin_key),
        ("token", made["client_token"]),
        ("id", aws.root.access_key_id),
        ("secret", aws.root.secret_access_key),
        ("dead", "no-such-token"),
    ):
        (tmp_path / name).write_text(text)
    vault = {"type": "vault-kv", "address": openbao.url}
    place.write(
        providers={
            "openai": {"type": "openai", "admin_key": "file:admin", "base_url": openai.url},
            "aws": {
                "type": "aws-iam",
                "access_key_id": "file:id",
                "secret_access_key": "file:secret",
                "endpoint_url": aws.url,
            },
            "hand": {"type": "generated"},
        },
        destinations={
            "vault": {**vault, "auth": {"method": "token", "token": "file:token"}},
            "gone": {**vault, "auth": {"method": "token", "token": "file:dead"}},
            "file": {"type": "env-file"},
        },
        credentials={
            "vault-token": {
                "provider": "hand",
                "policy": {"rotate_every": "7d"},
                "destinations": [{"to": "file", "path": str(tmp_path / "token"), "value": "{secret}"}],
            }
        },
    )
    return place


def test_each_has_its_age_its_end_and_what_rotates_it(
    place: Place, aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    assert own.show(load(place.file), as_json=True) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["own"]}
    assert list(rows) == [
        "seal.key",
        "providers.openai.admin_key",
        "providers.aws.access_key_id",
        "providers.aws.secret_access_key",
        "destinations.vault.auth.token",
        "destinations.gone.auth.token",
    ]
    assert rows["seal.key"]["since_is"] == "file"
    assert rows["providers.openai.admin_key"]["key_id"] == "key_admin"
    assert rows["providers.openai.admin_key"]["since_is"] == "told"
    assert rows["providers.aws.secret_access_key"]["key_id"] == aws.root.access_key_id
    token = rows["destinations.vault.auth.token"]
    left = datetime.fromisoformat(token["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=1) < left <= timedelta(hours=2)
    assert token["may"] == "the policies app, default"
    assert (token["rotated_by"], token["policy"]) == ("vault-token", "every 7d")
    assert rows["providers.openai.admin_key"]["rotated_by"] is None
    assert "does not accept our token" in rows["destinations.gone.auth.token"]["trouble"]


def test_it_is_shown_as_a_table(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert own.show(load(place.file), as_json=False) == 0
    said = capsys.readouterr().out
    for part in ("providers.openai.admin_key", "vault-token, every 7d", "by hand"):
        assert part in said


def test_the_database_tells_until_when_our_password_is_good(place: Place, postgres: Postgres) -> None:
    with psycopg.connect(postgres._dsn(), autocommit=True) as connection:
        connection.execute("CREATE ROLE lasting LOGIN PASSWORD 'pass' VALID UNTIL '2031-02-03 04:05:06Z'")
        connection.execute("CREATE ROLE endless LOGIN PASSWORD 'pass' VALID UNTIL 'infinity'")
    (place.folder / "url").write_text(f"postgresql://lasting:pass@127.0.0.1:{postgres.port}/postgres")
    place.file.write_text(place.file.read_text().replace("url: sqlite:///rotator.db", "url: file:url"))
    (row,) = [row for row in _rows(place) if row["name"] == "store.url"]
    assert (row["expires_at"], row["may"], row["where"]) == (
        "2031-02-03T04:05:06Z",
        "what the role lasting may",
        "file:url",
    )
    (place.folder / "url").write_text(f"postgresql://endless:pass@127.0.0.1:{postgres.port}/postgres")
    (row,) = [row for row in _rows(place) if row["name"] == "store.url"]
    assert (row["expires_at"], row["trouble"]) == (None, None)
    (place.folder / "url").write_text("postgresql://endless:pass@127.0.0.1:9/postgres")
    (row,) = [row for row in _rows(place) if row["name"] == "store.url"]
    assert "does not answer" in row["trouble"]


def _rows(place: Place) -> list[dict[str, Any]]:
    config = load(place.file)
    return [own._as_json(row, config, datetime.now(UTC)) for row in own._rows(config)]
