"""Our own credentials, as the file names them, and a key that would manage itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotator.config.own import of_config, rotated_by
from tests.config.sample import load_text, problems_with

FILE = """\
store: {url: file:database-url}
providers:
  openai: {admin_key: file:admin}
  aws: {type: aws-iam, profile: keyturn}
  hand: {type: generated}
destinations:
  vault: {type: vault-kv, address: https://vault.example:8200, auth: {method: token, token: env:VAULT_TOKEN}}
  file: {type: env-file}
credentials:
  key:
    provider: PROVIDER
    OPTIONS
    destinations: [{to: file, path: PATH, value: "{secret}"}]
"""
OPENAI = "options: {project: p, service_account: s}"


def text(folder: Path, provider: str, options: str, file: str) -> str:
    return FILE.replace("PROVIDER", provider).replace("OPTIONS", options).replace("PATH", str(folder / file))


def test_every_secret_of_ours_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws"))
    config = load_text(tmp_path, text(tmp_path, "openai", OPENAI, "web"))
    assert [(own.place, own.text, own.file) for own in of_config(config)] == [
        ("store.url", "file:database-url", str(tmp_path / "database-url")),
        ("seal.key", "file:rotator.key", str(tmp_path / "rotator.key")),
        ("providers.openai.admin_key", "file:admin", str(tmp_path / "admin")),
        ("providers.aws.profile", "profile keyturn", str(tmp_path / "aws")),
        ("destinations.vault.auth.token", "env:VAULT_TOKEN", None),
    ]
    assert rotated_by(config) == {}


def test_a_key_that_would_manage_itself_is_refused(tmp_path: Path) -> None:
    (problem,) = problems_with(tmp_path, text(tmp_path, "openai", OPENAI, "admin"))
    assert problem.place == "credentials.key.destinations[0]"
    assert problem.message == (
        "is where `providers.openai.admin_key` is read: the key that is managed would manage itself"
    )


def test_what_writes_where_we_read_is_known(tmp_path: Path) -> None:
    config = load_text(tmp_path, text(tmp_path, "hand", "", "admin"))
    assert rotated_by(config) == {"providers.openai.admin_key": "key"}
