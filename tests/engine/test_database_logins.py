"""Rotations of PostgreSQL logins, of one role and of two in turn, end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotator.testbed.postgres import Postgres
from tests.engine.place import Place
from tests.providers.test_postgres import Admin


@pytest.mark.parametrize("count", [1, 2])
def test_logins_are_rotated_and_the_old_ones_end(
    count: int, embedded: Place, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = Admin(postgres, odd=False)
    monkeypatch.setenv("ADMIN_PASSWORD", admin.password)
    where = {"host": "127.0.0.1", "port": postgres.port, "user": admin.user, "password": "env:ADMIN_PASSWORD"}
    embedded.write(
        providers={"db": {"type": "postgres", **where}},
        destinations={"file": {"type": "env-file"}},
        credentials={
            "app": {
                "provider": "db",
                "options": {"roles": list(admin.names[:count])},
                "policy": {"allow_downtime": count == 1},
                "destinations": [{"to": "file", "path": str(Path(embedded.folder, "app.env"))}],
            }
        },
    )
    for _ in range(3):
        done = embedded.rotate("app", now=True, patience=4)["app"]
        assert done.completed, embedded.explain("app")
        embedded.rotate(patience=4)  # takes the old one away
    assert len(admin.living()) == 1
    assert embedded.status("app")["current"]["key_id"] in admin.living()
    embedded.verified()
