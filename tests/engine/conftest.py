"""Installations on real servers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hvac
import pytest

from rotator.testbed.gate import Gate
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.testbed.openbao import OpenBao
from rotator.testbed.postgres import Postgres
from tests.engine.place import Place, dotenv_value

_number = itertools.count()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty installation on each database."""
    if request.param == "sqlite":
        return Place(tmp_path)
    server: Postgres = request.getfixturevalue("postgres")
    url = tmp_path / "database-url"
    url.write_text(server.fresh_url("engine"))
    return Place(tmp_path, store_url=f"file:{url.name}")


@pytest.fixture
def embedded(tmp_path: Path) -> Place:
    """An empty installation on SQLite: for what does not touch the database's own ways."""
    return Place(tmp_path)


@pytest.fixture
def two_files(embedded: Place) -> Place:
    """`web`, a value of our own in two env files."""
    embedded.policy |= {"grace": "1h", "soak": "1h"}
    embedded.write(
        providers={"local": {"type": "generated"}},
        destinations={to: {"type": "env-file", "path": f"{to}/app.env"} for to in ("one", "two")},
        credentials={
            "web": {
                "provider": "local",
                "destinations": [{"to": to, "fields": {"WEB": "{secret}"}} for to in ("one", "two")],
            }
        },
    )
    for to in ("one", "two"):
        (embedded.folder / to).mkdir()
    embedded.rotate()
    return embedded


class OpenAIWeb:
    """The credential `web`: an OpenAI key in two Vault paths; the emulator stands behind a gate, and so does Vault."""

    def __init__(self, place: Place, emulator: OpenAIEmulator, bao: OpenBao, gate_to: Callable[[str], Gate]) -> None:
        self.place = place
        self.emulator = emulator
        self.bao = bao
        self.gate = gate_to(emulator.url.removesuffix("/v1"))
        self.vault_gate = gate_to(bao.url)
        self.paths = [f"engine/{next(_number)}/{name}" for name in ("one", "two")]
        self.client = hvac.Client(url=bao.url, token=bao.token)  # type: ignore[no-untyped-call]
        (place.folder / "admin").write_text(emulator.admin_key)
        (place.folder / "token").write_text(bao.token)
        self.write()

    def write(self, policy: dict[str, Any] | None = None, paths: list[str] | None = None) -> None:
        vault = {"type": "vault-kv", "auth": {"method": "token", "token": "file:token"}}
        self.place.write(
            providers={
                "openai": {"type": "openai", "admin_key": "file:admin", "base_url": self.gate.url + "/v1"},
            },
            destinations={
                "first": {**vault, "address": self.bao.url},
                "second": {**vault, "address": self.vault_gate.url},
            },
            credentials={
                "web": {
                    "provider": "openai",
                    "options": {
                        "project": self.emulator.project,
                        "service_account": self.emulator.service_account,
                    },
                    "policy": policy or {},
                    "destinations": [
                        {"to": to, "path": path}
                        for to, path in zip(("first", "second"), paths or self.paths, strict=False)
                    ],
                }
            },
        )

    def value(self, number: int = 0) -> str | None:
        """What a consumer of a path reads."""
        try:
            found = self.client.secrets.kv.v2.read_secret_version(self.paths[number], raise_on_deleted_version=True)
        except hvac.exceptions.InvalidPath:
            return None
        value: str | None = found["data"]["data"].get("OPENAI_API_KEY")
        return value

    def put(self, value: str, number: int = 0) -> None:
        """Write as a person would."""
        self.client.secrets.kv.v2.create_or_update_secret(self.paths[number], {"OPENAI_API_KEY": value})

    def works(self, number: int = 0) -> bool | None:
        value = self.value(number)
        return None if value is None else self.emulator.accepts(value)

    def live(self) -> list[str]:
        made = self.emulator.keys()
        return [key.id for key in made if key.state in ("live", "settling")]


class Fleet(OpenAIWeb):
    """`web`, and `session`: a generated secret in an env file beside the OpenAI key."""

    def write(self, policy: dict[str, object] | None = None, paths: list[str] | None = None) -> None:
        vault = {"type": "vault-kv", "auth": {"method": "token", "token": "file:token"}, "address": self.bao.url}
        self.place.engine = {"lease": "1s", "call_budget": "500ms", "workers": 4}
        self.place.policy["max_creates_per_day"] = 1000
        self.env = self.place.folder / "web.env"
        self.place.write(
            providers={
                "openai": {"type": "openai", "admin_key": "file:admin", "base_url": self.emulator.url},
                "local": {"type": "generated", "prefix": "CANARY-"},
            },
            destinations={"vault": vault, "env": {"type": "env-file", "path": str(self.env)}},
            credentials={
                "web": {
                    "provider": "openai",
                    "options": {
                        "project": self.emulator.project,
                        "service_account": self.emulator.service_account,
                    },
                    "destinations": [{"to": "vault", "path": self.paths[0]}, {"to": "env"}],
                },
                "session": {"provider": "local", "destinations": [{"to": "env"}]},
            },
        )

    def env_works(self) -> bool | None:
        value = dotenv_value(self.env, "OPENAI_API_KEY")
        return None if value is None else self.emulator.accepts(value)


@pytest.fixture
def web(place: Place, openai: OpenAIEmulator, openbao: OpenBao, gate_to: Callable[[str], Gate]) -> Iterator[OpenAIWeb]:
    found = OpenAIWeb(place, openai, openbao, gate_to)
    yield found
    found.client.adapter.close()


@pytest.fixture
def web_embedded(
    embedded: Place, openai: OpenAIEmulator, openbao: OpenBao, gate_to: Callable[[str], Gate]
) -> Iterator[OpenAIWeb]:
    found = OpenAIWeb(embedded, openai, openbao, gate_to)
    yield found
    found.client.adapter.close()
