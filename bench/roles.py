"""Login roles of one PostgreSQL server, and both who rotate them: OpenBao's database engine, and ours."""

from __future__ import annotations

import http.client
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from bench import fleet
from rotator.testbed.openbao import OpenBao
from rotator.testbed.postgres import Postgres
from rotator.testbed.process import HOST

POLICY = {**fleet.POLICY, "allow_downtime": True}
"""The waits of `fleet.POLICY`: none. One role dies with its new password, which is meant here."""


@dataclass(frozen=True)
class Roles:
    """A server with login roles, and a user that may change them and is no superuser."""

    server: Postgres
    user: str = "keeper"
    password: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    def make(self, theirs: Sequence[str], ours: Sequence[str]) -> None:
        """These roles, and their keeper. Ours may not log in yet: a role that may has a password of somebody else."""
        with self.connect(superuser=True) as connection:
            keeper, password = sql.Identifier(self.user), sql.Literal(self.password)
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(keeper, password))
            for names, login in ((theirs, sql.SQL("LOGIN")), (ours, sql.SQL("NOLOGIN"))):
                for role in map(sql.Identifier, names):
                    connection.execute(sql.SQL("CREATE ROLE {} {}").format(role, login))
                    connection.execute(sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(role, keeper))

    def connect(self, *, superuser: bool = False) -> psycopg.Connection[Any]:
        """A connection whose statements take effect at once: as the keeper, or as the server's first user."""
        url = make_url(self.server.url())
        user, password = (url.username, url.password) if superuser else (self.user, self.password)
        return psycopg.connect(
            host=url.host, port=url.port, user=user, password=password, dbname="postgres", autocommit=True
        )


class Peer:
    """OpenBao's database engine at this server, with static roles. Its API is called over kept connections.

    `hashes`: it sends verifiers, as ours does. Its own default is the password itself, for the server to hash.
    """

    def __init__(self, server: OpenBao, roles: Roles, *, hashes: bool = False) -> None:
        self._server = server
        self._own = threading.local()
        server.call("POST", "sys/mounts/database", {"type": "database"})
        server.call(
            "POST",
            "database/config/postgres",
            {
                "plugin_name": "postgresql-database-plugin",
                "allowed_roles": ["*"],
                "connection_url": f"postgresql://{{{{username}}}}:{{{{password}}}}@{HOST}:{roles.server.port}/postgres",
                "username": roles.user,
                "password": roles.password,
                "password_authentication": "scram-sha-256" if hashes else "password",
            },
        )

    def manage(self, name: str, period: str) -> None:
        """From now on it rotates this role: once now, and then with this period."""
        given = {"db_name": "postgres", "username": name, "rotation_period": period}
        self._server.call("POST", f"database/static-roles/{name}", given)

    def rotate(self, name: str) -> None:
        """Now."""
        connection = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = http.client.HTTPConnection(HOST, self._server.port, timeout=60)
        connection.request("POST", f"/v1/database/rotate-role/{name}", headers={"X-Vault-Token": self._server.token})
        answer = connection.getresponse()
        answer.read()
        assert answer.status < http.client.MULTIPLE_CHOICES, (answer.status, name)


def installed(
    folder: Path,
    roles: Roles,
    credentials: Mapping[str, Sequence[str]],
    *,
    store: str,
    workers: int = 8,
    policy: Mapping[str, Any] = POLICY,
) -> Path:
    """An installation of ours whose credentials are these roles, one or two each; every one has an env file."""
    for name, value in (("keeper", roles.password), ("database", store)):
        (folder / name).write_text(value)
    return fleet.install(
        folder,
        {
            "environment": fleet.NAME,
            "store": {"url": "file:database"},
            "engine": {"workers": workers, "in_flight": workers, "watch": "2h"},
            "defaults": {"policy": dict(policy)},
            "providers": {
                "postgres": {
                    "type": "postgres",
                    "host": HOST,
                    "port": roles.server.port,
                    "user": roles.user,
                    "password": "file:keeper",
                }
            },
            "destinations": {"files": {"type": "env-file"}},
            "credentials": {
                name: {
                    "provider": "postgres",
                    "options": {"roles": list(named)},
                    "destinations": [{"to": "files", "path": str(folder / f"{name}.env")}],
                }
                for name, named in credentials.items()
            },
        },
    )
