"""A PostgreSQL server: one connection of our own, shared by all threads, and what its errors mean."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from rotator import settings
from rotator.domain.errors import AccessDenied, LostAnswer, RateLimited, Refused, RotatorError, Unavailable
from rotator.domain.secret import Secret

if TYPE_CHECKING:
    from psycopg import Connection, Error

_REFUSED = ("password authentication failed", "is not permitted to log in", "empty password", "no password supplied")
"""A failed connection has no SQLSTATE in libpq: the server's words are all there is."""

_LIMITED = ("permission denied for database", "does not exist")
"""What a server says once it has believed the password."""

_TOO_MANY = ("too many clients", "too many connections", "remaining connection slots")
_ENDED = ("08", "57P")
"""The connection is gone: whether what was sent took effect, nobody said."""

_ASK_AGAIN = ("25006", "40", "53", "55", "57", "58")


class ServerSettings(settings.Settings):
    """Where the server is, and who we are there."""

    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 5432
    database: str = "postgres"
    user: str
    password: settings.SecretAt
    ca_file: settings.FilePath | None = None


class Server:
    """Connections to one server. Nothing is opened before the first question; threads take turns."""

    def __init__(self, settings: ServerSettings, timeout: timedelta) -> None:
        self._settings = settings
        self._timeout = timeout.total_seconds()
        self._turn = threading.Lock()
        self._open: Connection[Any] | None = None

    @property
    def address(self) -> str:
        """As messages name it."""
        return f"{self._settings.host}:{self._settings.port}"

    @property
    def user(self) -> str:
        """Who we are there."""
        return self._settings.user

    @contextmanager
    def transaction(self, *, changes: bool = False) -> Iterator[Connection[Any]]:
        """One transaction on our own connection, within the time limit.

        Raises RotatorError; LostAnswer where it `changes` something and nobody can know whether it did.
        """
        import psycopg

        if not self._turn.acquire(timeout=self._timeout):
            message = f"our connection to {self.address} is busy"
            raise Unavailable(message)
        try:
            with ExitStack() as stack:
                yield self._begun(stack)
        except psycopg.Error as error:
            raise self._problem(error, changes=changes) from None
        finally:
            self._turn.release()

    def try_login(self, user: str, password: Secret) -> None:
        """Connect as somebody, and leave. Raises what `connection_problem` gives."""
        import psycopg

        try:
            with self._connect(user, password) as connection, _limit(connection, self._timeout):
                connection.execute("SELECT")
        except psycopg.Error as error:
            raise self.connection_problem(error) from None

    def connection_problem(self, error: Error) -> RotatorError:
        """What a failed connection means. The server's words are looked at, and never repeated."""
        said = str(error)
        if any(words in said for words in _REFUSED):
            message = f"{self.address} refuses the login"
            return AccessDenied(message, remedy="check `user` and `password`, and that the role may log in")
        if any(words in said for words in _TOO_MANY):
            message = f"{self.address} has too many connections"
            return RateLimited(message)
        if "FATAL" in said and any(words in said for words in _LIMITED):
            message = f"{self.address} believes the password, and does not let the role into {self._settings.database}"
            return Refused(message, remedy="check `database`, and that the role has CONNECT on it")
        message = f"{self.address} was not reached, or let nobody in"
        return Unavailable(message)

    def close(self) -> None:
        """Close our connection; a later question opens a new one."""
        with self._turn:
            if self._open is not None:
                self._open.close()
                self._open = None

    def _begun(self, stack: ExitStack) -> Connection[Any]:
        """Our connection, in a transaction until the stack ends.

        BEGIN changes nothing, so it is also the question whether the connection is as good as new: one that the server
        has ended meanwhile is replaced unasked.
        """
        import psycopg

        if self._open is not None and not self._open.closed:
            try:
                return stack.enter_context(self._limited(self._open))
            except psycopg.Error:
                self._open.close()
        try:
            self._open = self._connect(self._settings.user, self._settings.password.read())
        except psycopg.Error as error:
            raise self.connection_problem(error) from None
        return stack.enter_context(self._limited(self._open))

    @contextmanager
    def _limited(self, connection: Connection[Any]) -> Iterator[Connection[Any]]:
        with _limit(connection, self._timeout), connection.transaction():
            yield connection

    def _connect(self, user: str, password: Secret) -> Connection[Any]:
        import psycopg

        return psycopg.connect(
            host=self._settings.host,
            port=self._settings.port,
            dbname=self._settings.database,
            user=user,
            password=password.reveal(),
            autocommit=True,
            application_name="keyturn",
            connect_timeout=max(2, int(self._timeout)),  # libpq takes no less
            tcp_user_timeout=int(self._timeout * 1000),
            options=f"-c statement_timeout={int(self._timeout * 1000)}",
            passfile=os.devnull,
            **self._tls(),
        )

    def _tls(self) -> dict[str, Any]:
        """Outside this machine, a server is believed by its certificate alone."""
        if self._settings.ca_file is None and _is_here(self._settings.host):
            return {}
        authorities = str(self._settings.ca_file or "system")
        return {"sslmode": "verify-full", "ssl_min_protocol_version": "TLSv1.2", "sslrootcert": authorities}

    def _problem(self, error: Error, *, changes: bool) -> RotatorError:
        state = error.sqlstate
        if state is None or state.startswith(_ENDED):
            message = f"the connection to {self.address} ended before the answer"
            return (LostAnswer if changes else Unavailable)(message)
        message = f"{self.address} answered {state}"
        if state == "42501":
            remedy = f"{self.user} needs CREATEROLE, and each role WITH ADMIN OPTION"
            return AccessDenied(f"{message}: {self.user} may not do this", remedy=remedy)
        if state == "53300":
            return RateLimited(f"{message}: too many connections")
        if state == "25006":
            return Unavailable(f"{message}: it is a read-only standby", remedy="name the primary as `host`")
        return Unavailable(message) if state.startswith(_ASK_AGAIN) else Refused(message)


@contextmanager
def _limit(connection: Connection[Any], seconds: float) -> Iterator[None]:
    """Cut the connection when the time is over: libpq itself waits for a silent server without an end."""

    def cut() -> None:
        with suppress(OSError), socket.socket(fileno=copy) as line:
            line.shutdown(socket.SHUT_RDWR)

    copy = os.dup(connection.fileno())
    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        with suppress(OSError):
            os.close(copy)


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.startswith("/")
