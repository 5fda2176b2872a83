"""The product as it should be run on PostgreSQL: one role owns the tables, another works."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from rotator.testbed.postgres import Postgres
from tests.cli.house import CONFIGURATION, House
from tests.conftest import Canaries
from tests.store.conftest import ROLES, plain

STORE = "environment: test\nstore: {url: file:app.url, owner: file:owner.url}\naudit: {signing_key: file:audit.key}\n"


def put(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def test_a_whole_life_as_a_role_that_owns_nothing(tmp_path: Path, canary: Canaries, postgres: Postgres) -> None:
    bare = House(tmp_path, canary)
    owner = make_url(postgres.fresh_url("life"))
    app = owner.set(username="life_app", password="life")
    put(bare.folder / "owner.url", owner.render_as_string(hide_password=False))
    put(bare.folder / "app.url", app.render_as_string(hide_password=False))
    put(bare.folder / "rotator.yaml", CONFIGURATION.replace("environment: test\n", STORE))
    (bare.folder / "other").mkdir()
    assert bare.run("init").status == 0
    with psycopg.connect(plain(owner.render_as_string(hide_password=False))) as connection:
        connection.execute(ROLES)
        connection.execute("CREATE ROLE life_app LOGIN PASSWORD 'life' IN ROLE keyturn_app")
    (bare.folder / "owner.url").rename(bare.folder / "kept.url")  # workers do not have it
    for words in (
        ("check",),
        ("rotate",),
        ("rotate", "--now", "web"),
        ("pause", "mail", "--reason", "a test"),
        ("unpause", "mail"),
        ("rollback", "web"),
        ("rotate", "--compromised", "mail", "--yes"),
        ("status",),
        ("explain", "web"),
        ("plan", "--days", "3"),
        ("audit", "checkpoint", "--now", "--output", "kept.txt"),
        ("audit", "verify", "--against", "kept.txt"),
        ("audit", "prove", "2"),
        ("audit", "export", "--output", "trail.jsonl"),
        ("db", "status"),
    ):
        ran = bare.run(*words)
        assert ran.status == 0, (words, ran.said)
    refused = bare.run("audit", "prune", "trail.jsonl", "--keep", "0s", "--yes")
    assert (refused.status, "owner.url" in refused.err) == (2, True)
    put(bare.folder / "owner.url", app.render_as_string(hide_password=False))
    refused = bare.run("audit", "prune", "trail.jsonl", "--keep", "0s", "--yes")
    assert (refused.status, "its role may not do it" in refused.err) == (2, True), refused.said
    (bare.folder / "kept.url").replace(bare.folder / "owner.url")
    assert bare.run("db", "upgrade").status == 0
    pruned = bare.run("audit", "prune", "trail.jsonl", "--keep", "0s", "--yes")
    assert (pruned.status, "pruned events 1 to" in pruned.out) == (0, True), pruned.said
    told = bare.run("audit", "verify", "--export", "trail.jsonl", "--against", "kept.txt", "--json")
    assert (json.loads(told.out)["ok"], told.status) == (True, 0)
