"""An installation with many credentials: access keys of the stub's IAM users, each at a path of the stub's Vault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from bench.stubs import ACCOUNT, ADMINISTRATOR, Stub
from rotator import wiring
from rotator.config import load
from rotator.sealers.local import new_key
from rotator.settings import format_duration
from rotator.store import schema
from rotator.testbed.aws import Aws
from rotator.testbed.openbao import OpenBao
from rotator.testbed.process import Server

NAME = "bench"
"""The environment, and the token of the Vault."""

_AT_ONCE = {"grace": "0s", "soak": "0s", "settle": "0s", "require_idle": "0s", "min_interval": "0s"}
POLICY = {**_AT_ONCE, "rotate_every": "30d", "max_creates_per_day": 1000}
"""Without waits: all that is measured is work."""

MOST = 64
"""Rotations of one account at once, of all replicas together: as many as the configuration takes."""

A_FILE = 5000
"""Credentials in one file: it takes 100,000 values, and one of ours has a dozen."""

EMBEDDED = "sqlite:///rotator.db"


@dataclass(frozen=True)
class Services:
    """Where AWS and Vault are, and with what they are asked. A stub is both."""

    aws: str
    vault: str
    key_id: str = ADMINISTRATOR
    secret: str = NAME
    token: str = NAME
    servers: Sequence[Server] = ()  # whose processor time is known

    @classmethod
    def of(cls, stub: Stub) -> Services:
        """A stub's."""
        return cls(stub.url, stub.url)


@contextmanager
def real(users: Sequence[str]) -> Iterator[Services]:
    """moto's server, with users that have no keys yet, and OpenBao."""
    with Aws() as aws, OpenBao() as bao:
        iam = aws.client("iam")
        for user in users:
            iam.delete_access_key(UserName=user, AccessKeyId=aws.user(user).access_key_id)
        root = aws.root
        yield Services(aws.url, bao.url, root.access_key_id, root.secret_access_key, bao.token, (aws, bao))


def names(count: int) -> list[str]:
    """Of so many credentials."""
    return [f"key-{number}" for number in range(count)]


def write(
    folder: Path,
    accounts: Mapping[str, Sequence[str]],
    urls: Mapping[str, str | Services],
    *,
    store: str = EMBEDDED,
    workers: int = 8,
    per_second: float | None = None,
    budget: timedelta = timedelta(seconds=20),
    policy: Mapping[str, Any] = POLICY,
) -> Path:
    """Write a configuration; the first time also its sealing key and the database. Return the configuration's file.

    `accounts`: provider account → its credentials; `urls`: provider account → the stub that has it and their places, or
    the services. They share one credential of ours.
    """
    at = {account: Services(url, url) if isinstance(url, str) else url for account, url in urls.items()}
    ours = next(iter(at.values()))
    for name, value in (("id", ours.key_id), ("secret", ours.secret), ("token", ours.token), ("database", store)):
        (folder / name).write_text(value)
    budgets = {"call_budget": format_duration(budget), "lease": format_duration(3 * budget)}
    signed = {"access_key_id": "file:id", "secret_access_key": "file:secret"}
    rate = {} if per_second is None else {"calls_per_second": per_second}
    auth = {"method": "token", "token": "file:token"}
    content: dict[str, Any] = {
        "environment": NAME,
        "store": {"url": "file:database"},
        "engine": {"workers": workers, "in_flight": MOST, "watch": "2h", **budgets},
        "defaults": {"policy": dict(policy)},
        "providers": {
            account: {"type": "aws-iam", "account": ACCOUNT, "endpoint_url": at[account].aws, **signed, **rate}
            for account in accounts
        },
        "destinations": {
            f"{account}-vault": {"type": "vault-kv", "address": at[account].vault, "auth": auth} for account in accounts
        },
    }
    credentials = {
        name: {
            "provider": account,
            "options": {"user": name},
            "destinations": [{"to": f"{account}-vault", "path": f"bench/{name}"}],
        }
        for account, named in accounts.items()
        for name in named
    }
    if len(credentials) <= A_FILE:
        content["credentials"] = credentials
    else:
        content["include"] = ["more/*.yaml"]
        (folder / "more").mkdir(exist_ok=True)
        for first in range(0, len(credentials), A_FILE):
            part = dict(list(credentials.items())[first : first + A_FILE])
            _dump(folder / "more" / f"{first:06}.yaml", {"credentials": part})
    return install(folder, content)


def install(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write this configuration; the first time also its sealing key and the database. Return its file."""
    file = folder / "rotator.yaml"
    _dump(file, content)
    key = folder / "rotator.key"
    if not key.exists():
        key.write_text(new_key() + "\n")
        key.chmod(0o600)
        schema.upgrade(load(file).store.resolve(), NAME, wiring.new_id)
    return file


def _dump(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(yaml.dump(content, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False))
