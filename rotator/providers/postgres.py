"""PostgreSQL: the passwords of login roles, chosen by us and sent as SCRAM-SHA-256 verifiers.

One role: the old password ends when the new one is set. Two roles in turn: the one that is not in use gets a password
and its login; the other one's login is taken away later. Which key a role holds is written in its comment, in the same
transaction as its password, for nobody but a superuser can look at passwords.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from rotator import settings
from rotator.access.postgres import Server, ServerSettings
from rotator.access.value_ids import random_value_id
from rotator.domain.errors import (
    AccessDenied,
    PermanentError,
    QuotaExceeded,
    Refused,
    TemporaryError,
    Unavailable,
    WrongAccount,
)
from rotator.domain.secret import Material, Secret
from rotator.ports.provider import Answer, Capabilities, Key, Verdict

if TYPE_CHECKING:
    from psycopg import Connection

_BYTES = 32
_OURS = re.compile(r"[A-Za-z0-9_-]{43}")
"""The passwords that we make. Others may be weak: of those no hash is written anywhere."""

_UNMARKED = "unmarked"
_MARK = re.compile(rf" ?\[keyturn (?P<tail>[0-9a-f]{{12}}|{_UNMARKED})\]")
"""At the end of a role's comment: which key it holds. What else stands there is kept."""

_LONGEST = 63  # bytes of a name

_TWO = Capabilities(
    origin="chosen",
    living=2,
    labels=False,
    can_disable=True,
    tells_last_use=False,
    can_tell=True,
    settle=timedelta(0),
    default_fields={"PGUSER": "{username}", "PGPASSWORD": "{password}"},
    material=("username", "password"),
)
_ONE = replace(_TWO, living=1, can_disable=False)


def _name(value: str) -> str:
    if not 0 < len(value.encode()) <= _LONGEST or "\0" in value:
        message = f"a role's name has 1 to {_LONGEST} bytes"
        raise ValueError(message)
    return value


def _different(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) != len(value):
        message = "must be two different roles"
        raise ValueError(message)
    return value


class RoleOptions(settings.Settings):
    """One role, or two that take turns."""

    roles: Annotated[
        tuple[Annotated[str, AfterValidator(_name)], ...],
        Field(min_length=1, max_length=2),
        AfterValidator(_different),
    ]


class Postgres:
    """One server. The connection is made at the first question and shared by all threads."""

    Settings: ClassVar[type[Any]] = ServerSettings
    Options: ClassVar[type[Any]] = RoleOptions

    def __init__(self, settings: ServerSettings, timeout: timedelta) -> None:
        self._server = Server(settings, timeout)

    def bind(self, options: RoleOptions) -> OneRole | TwoRoles:
        """The passwords of these roles."""
        shape = OneRole if len(options.roles) == 1 else TwoRoles
        return shape(self._server, options.roles)

    def close(self) -> None:
        """Close the connection; a later call opens a new one."""
        self._server.close()


@dataclass(frozen=True, kw_only=True)
class _Role:
    """A role as the server's catalogue has it."""

    name: str
    login: bool
    comment: str
    administered: bool  # whether we may change it

    @property
    def key_id(self) -> str | None:
        """The key that it holds, enabled or not; None: it is free."""
        marked = _MARK.search(self.comment)
        if marked:
            return f"{self.name}-{marked['tail']}"
        return f"{self.name}-{_UNMARKED}" if self.login else None


class _Roles:
    """What both shapes share: a provider (`ports.provider.Provider` and `Chooses`)."""

    capabilities = _ONE

    def __init__(self, server: Server, names: Sequence[str]) -> None:
        self._server = server
        self._names = tuple(names)

    def account(self) -> str:
        """`postgres:<system identifier>`. WrongAccount where a role is not there, AccessDenied where it is not ours."""
        with self._server.transaction() as connection:
            roles = self._roles(connection)
            row = connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
        if row is None:
            message = f"{self._server.address} does not tell its system identifier"
            raise Unavailable(message)
        for role in roles:
            if not role.administered:
                message = f"{self._server.user} may not set the password of the role {role.name}"
                remedy = f"as an administrator: ALTER ROLE {self._server.user} CREATEROLE; and "
                raise AccessDenied(
                    message, remedy=f"{remedy}GRANT {role.name} TO {self._server.user} WITH ADMIN OPTION"
                )
        return f"postgres:{row[0]}"

    def generate(self) -> Material:
        """A password for the role that is free. Asks the server which one that is, where there are two."""
        return Material.of(username=self._free(), password=secrets.token_urlsafe(_BYTES))

    def set(self, material: Material) -> str:
        """Give the role its password, its login and the mark of its key, all or nothing."""
        name, key_id = material["username"].reveal(), _id_of(material)
        if name not in self._names:
            message = f"the key is of the role {name}, which `options.roles` does not name any more"
            raise Refused(message, remedy="put it back until the key is retired")
        with self._server.transaction(changes=True) as connection:
            role = self._locked(connection, name)
            self._refuse_taken(role, key_id)
            verifier = connection.pgconn.encrypt_password(
                material["password"].reveal().encode(), name.encode(), b"scram-sha-256"
            ).decode()
            self._alter(connection, role, "LOGIN PASSWORD {}", key_id, verifier)
        return key_id

    def authenticate(self, material: Material) -> Answer:
        """Log in with it."""
        name, password = material["username"].reveal(), material["password"]
        if not self._may_be(material):
            return Answer(verdict=Verdict.REFUSED, why="it is no name or password of such a role")
        try:
            self._server.try_login(name, password)
        except AccessDenied as told:
            return Answer(verdict=Verdict.REFUSED, why=told.message)
        except PermanentError as told:
            return Answer(verdict=Verdict.ACCEPTED_LIMITED, why=told.message)
        except TemporaryError as told:
            return Answer(verdict=Verdict.INCONCLUSIVE, why=told.message, retry_after=told.retry_after)
        return Answer(verdict=Verdict.ACCEPTED)

    def keys(self) -> Sequence[Key]:
        """Each role that may log in, or could again: by its mark, and `NAME-unmarked` where others set the password."""
        with self._server.transaction() as connection:
            roles = self._roles(connection)
        return [
            Key(id=role.key_id, label=None, created_at=None, enabled=role.login)
            for role in roles
            if role.key_id is not None
        ]

    def identify(self, material: Material) -> str | None:
        """The id that `set` gives; for a password that others have set, its role's, if it works."""
        if not self._may_be(material):
            return None
        if _OURS.fullmatch(material["password"].reveal()):
            return _id_of(material)
        name = material["username"].reveal()
        with self._server.transaction() as connection:
            key_id = next((role.key_id for role in self._roles(connection) if role.name == name), None)
        unmarked = key_id == f"{name}-{_UNMARKED}"
        return key_id if unmarked and self.authenticate(material).alive else None

    def delete(self, key_id: str) -> None:
        """Take the login and the password from the role that holds the key. Sessions that are open go on."""
        self._change(key_id, "NOLOGIN PASSWORD NULL", None)

    def _free(self) -> str:
        return self._names[0]

    def _refuse_taken(self, role: _Role, key_id: str) -> None:
        """Nothing: the one role is always given the new password."""

    def _change(self, key_id: str, how: str, mark: str | None) -> None:
        """Alter the role that holds the key, if any does: one that has another by now is not touched."""
        with self._server.transaction(changes=True) as connection:
            for name in self._names:
                role = self._locked(connection, name)
                if role.key_id == key_id:
                    self._alter(connection, role, how, mark)

    def _locked(self, connection: Connection[Any], name: str) -> _Role:
        """The role as nobody of us changes it until the transaction ends."""
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('keyturn role'), hashtext(%s))", [name])
        return next(role for role in self._roles(connection) if role.name == name)

    def _alter(
        self, connection: Connection[Any], role: _Role, how: str, mark: str | None, verifier: str | None = None
    ) -> None:
        """Statements of this kind take no parameters: psycopg quotes what stands in them."""
        from psycopg import sql

        role_name = sql.Identifier(role.name)
        kept = _MARK.sub("", role.comment)
        comment = f"{kept} [keyturn {mark.rpartition('-')[2]}]".strip() if mark else kept
        given = [] if verifier is None else [sql.Literal(verifier)]
        change = sql.SQL(how).format(*given)
        connection.execute(sql.SQL("ALTER ROLE {} {}").format(role_name, change))
        connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(role_name, sql.Literal(comment or None)))

    def _roles(self, connection: Connection[Any]) -> list[_Role]:
        """As `options.roles` has them. Raises WrongAccount where one is not there."""
        rows = connection.execute(
            "SELECT r.rolname, r.rolcanlogin, coalesce(shobj_description(r.oid, 'pg_authid'), ''), me.rolsuper OR"
            " (me.rolcreaterole AND pg_has_role(me.oid, r.oid, 'MEMBER WITH ADMIN OPTION'))"
            " FROM pg_roles r, pg_roles me WHERE r.rolname = ANY(%s) AND me.rolname = current_user",
            [list(self._names)],
        ).fetchall()
        found = {row[0]: _Role(name=row[0], login=row[1], comment=row[2], administered=row[3]) for row in rows}
        return list(self._in_order(found))

    def _in_order(self, found: dict[str, _Role]) -> Iterator[_Role]:
        for name in self._names:
            if name not in found:
                message = f"{self._server.address} has no role {name}"
                raise WrongAccount(message, remedy="compare `options.roles` and `host` with the server")
            yield found[name]

    def _may_be(self, material: Material) -> bool:
        password = material["password"].reveal()
        return material["username"].reveal() in self._names and bool(password) and "\0" not in password


class OneRole(_Roles):
    """One role: setting its new password ends the old one."""


class TwoRoles(_Roles):
    """Two roles in turn, each a slot: a provider that `Disables` as well."""

    capabilities = _TWO

    def disable(self, key_id: str) -> None:
        """Take the login away, and leave the password."""
        self._change(key_id, "NOLOGIN", key_id)

    def enable(self, key_id: str) -> None:
        """Give the login back."""
        self._change(key_id, "LOGIN", key_id)

    def _free(self) -> str:
        with self._server.transaction() as connection:
            roles = self._roles(connection)
        free = next((role.name for role in roles if role.key_id is None), None)
        if free is None:
            message = f"neither of {' and '.join(self._names)} is free"
            raise QuotaExceeded(message)
        return free

    def _refuse_taken(self, role: _Role, key_id: str) -> None:
        if role.key_id not in (None, key_id):
            message = f"the role {role.name} holds {role.key_id}, which this key would end"
            raise QuotaExceeded(message)


def _id_of(material: Material) -> str:
    """The role and 48 bits of a hash, of a password that has 256: it need not be a slow one."""
    secret = Secret(material["password"].reveal())
    return random_value_id(material["username"].reveal(), secret, salt=b"keyturn postgres id")
