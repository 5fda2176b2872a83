"""A small installation whose whole state, the world's included, can be taken down and put up again."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config

from rotator import wiring
from rotator.domain.secret import Material
from rotator.engine import operator
from rotator.engine.supply import supply
from rotator.store import schema
from rotator.store.database import Database, connect
from rotator.testbed import anthropic_emulator, openai_emulator
from rotator.testbed.anthropic_emulator import AnthropicEmulator
from rotator.testbed.openai_emulator import OpenAIEmulator
from tests.engine.place import Place

Row = dict[str, Any]
Snapshot = dict[str, Any]
"""`rows` (table → its rows, without the events), `events` (how many there were), `keys` of the provider, `file`."""

NAME = "web"
FOLDER = "/recorded"
"""Stands for the folder of the installation that was recorded."""


class Installation:
    """The credential `web`: keys of an emulated provider in an env file, in a folder."""

    def __init__(self, folder: Path, emulator: OpenAIEmulator | AnthropicEmulator, **policy: str | int | Any) -> None:
        self.folder = folder
        self.emulator = emulator
        self.place = Place(folder, engine={"lease": "3s", "call_budget": "1s", "workers": 2})
        self.place.policy |= {"max_creates_per_day": 1000, **policy}
        self.file = folder / "web.env"

    @property
    def kind(self) -> str:
        return "openai" if isinstance(self.emulator, OpenAIEmulator) else "anthropic"

    def configure(self) -> None:
        """Write the configuration, and what is not there yet: the sealing key, and a database of today."""
        (self.folder / "admin").write_text(self.emulator.admin_key)
        options = (
            {"project": self.emulator.project, "service_account": self.emulator.service_account}
            if isinstance(self.emulator, OpenAIEmulator)
            else {"workspace": self.emulator.workspace}
        )
        self.place.write(
            providers={self.kind: {"type": self.kind, "admin_key": "file:admin", "base_url": self.emulator.url}},
            destinations={"app": {"type": "env-file", "path": str(self.file)}},
            credentials={NAME: {"provider": self.kind, "options": options, "destinations": ["app"]}},
        )

    # taking down

    def snapshot(self) -> Snapshot:
        """Everything there is at this moment, but the events."""
        with closing(sqlite3.connect(self.folder / "rotator.db")) as database:
            database.row_factory = sqlite3.Row
            names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            names = sorted(name for name in names if name not in ("alembic_version", "event"))
            rows = {name: [dict(row) for row in database.execute(f'SELECT * FROM "{name}"')] for name in names}
            revision = database.execute("SELECT version_num FROM alembic_version").fetchone()[0]
            count = database.execute("SELECT count(*) FROM event").fetchone()[0]
        keys = self.emulator.keys()
        rows["install"][0]["home"] = None  # as after a restore that a person has confirmed
        written = self._moved(json.dumps(rows, default=_hex), str(self.folder), FOLDER)
        return {
            "revision": revision,
            "rows": {name: found for name, found in json.loads(written).items() if found},
            "events": count,
            "keys": [_packed(asdict(key)) for key in keys],
            "file": _packed(self.file.read_text(encoding="utf-8")) if self.file.exists() else None,
        }

    def events(self) -> list[Row]:
        """The whole trail."""
        with closing(sqlite3.connect(self.folder / "rotator.db")) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute("SELECT * FROM event ORDER BY seq")]

    @staticmethod
    def situation(snapshot: Snapshot) -> str:
        """What is open, in words: two snapshots with the same are alike."""
        rows = snapshot["rows"]

        def asks(row: Row) -> str:
            return " asks a person" if row["reason"] == "awaiting_human" else ""

        opened = [
            f"rotation {r['state']} ({r['cause']}){asks(r)}" for r in rows.get("rotation", []) if not r["closed_at"]
        ]
        going = [
            f"retirement {r['state']} ({r['why']}){asks(r)}" for r in rows.get("retirement", []) if not r["closed_at"]
        ]
        living = sorted(f"version {r['state']}" for r in rows.get("version", []) if r["state"] != "retired")
        return ", ".join([*opened, *sorted(going), *living]) or "nothing"

    # putting up

    def restore(self, snapshot: Snapshot, events: list[Row], key: str, empty: bytes) -> None:
        """Put everything up as it was, and upgrade. `empty` is a database with the schema of that release."""
        (self.folder / "rotator.key").write_text(key)
        (self.folder / "rotator.key").chmod(0o600)
        if snapshot["file"] is not None:
            self.file.write_text(_unpacked(snapshot["file"]), encoding="utf-8")
        made = (
            openai_emulator.EmulatedKey if isinstance(self.emulator, OpenAIEmulator) else anthropic_emulator.EmulatedKey
        )
        keys = [_unpacked(packed) for packed in snapshot["keys"]]
        self.emulator._keys = {found["id"]: made(**_tuples(found)) for found in keys}  # type: ignore[assignment]
        (self.folder / "rotator.db").write_bytes(empty)
        self._load(snapshot, events)
        self.configure()
        schema.upgrade(f"sqlite:///{self.folder}/rotator.db", "test", wiring.new_id)

    def _load(self, snapshot: Snapshot, events: list[Row]) -> None:
        rows = json.loads(self._moved(json.dumps(snapshot["rows"]), FOLDER, str(self.folder)))
        rows["event"] = events[: snapshot["events"]]
        with closing(sqlite3.connect(self.folder / "rotator.db")) as database, database:
            for table, found in rows.items():
                for row in found:
                    names = ", ".join(f'"{name}"' for name in row)
                    values = [_bytes(value) for value in row.values()]
                    database.execute(f'INSERT INTO "{table}" ({names}) VALUES ({", ".join("?" * len(row))})', values)

    @staticmethod
    def _moved(text: str, old: str, new: str) -> str:
        return text.replace(old, new)

    # people

    def supply(self) -> None:
        """A person makes the key that is waited for, and hands it over."""
        assert isinstance(self.emulator, AnthropicEmulator)
        value = self.emulator.make_key(name="Handed over").secret
        with self.place.service() as service, service.running().hold(NAME) as work:
            supply(work, Material.of(secret=value), "asked for")

    def gone(self) -> None:
        """A person deletes the keys that only a person can delete, and says so."""
        assert isinstance(self.emulator, AnthropicEmulator)
        for version in self.place.status(NAME)["previous"]:
            if version["state"] in ("disabled", "condemned"):
                self.emulator.set_status(version["key_id"], "archived")
                with suppress(Exception), self.place.service() as service, service.running().hold(NAME) as work:
                    operator.resume(work, gone=version["key_id"])

    def finish(self, passes: int = 12) -> Row:
        """Passes, and a person where one is asked for, until nothing is open; the last status."""
        status: Row = {}
        for _ in range(passes):
            self.place.rotate(NAME)
            status = self.place.status(NAME)
            if status["status"] == "ok" and not going(status):
                break
            if status["reason"] == "awaiting_human" and status["rotation"] is not None:
                self.supply()
            elif status["reason"] == "awaiting_human":
                self.gone()
        return status


def empty(revision: str, path: Path) -> bytes:
    """A database that has nothing but this revision's schema."""
    path.touch()
    config = Config()
    config.set_main_option("script_location", str(schema.migrations()))
    engine = connect(f"sqlite:///{path}")
    with Database(engine).write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()  # the last connection that is closed leaves all of it in one file
    return path.read_bytes()


def going(status: Row) -> list[Row]:
    """The old keys that are on their way; one that was reactivated is kept."""
    return [version for version in status["previous"] if version["step"]]


@contextmanager
def emulated(kind: str) -> Iterator[OpenAIEmulator | AnthropicEmulator]:
    """The provider of a recording."""
    made = OpenAIEmulator() if kind == "openai" else AnthropicEmulator()
    with made as emulator:
        yield emulator


def _hex(value: object) -> object:
    assert isinstance(value, bytes)
    return {"hex": value.hex()}


def _bytes(value: Any) -> Any:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value


def _packed(value: object) -> str:
    """As JSON in base64: the values are nobody's secrets, and look like some."""
    return base64.b64encode(json.dumps(value).encode()).decode()


def _unpacked(text: str) -> Any:
    return json.loads(base64.b64decode(text))


def _tuples(found: Row) -> Row:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
