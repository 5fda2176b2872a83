"""Vault and OpenBao: the secret ids of one role of an AppRole mount, each known by its accessor.

Facts are from the AppRole API of Vault 1.x and OpenBao 2.x. A secret id carries metadata: that is where labels are.
The secret id that this very entry logs in with may be among them: it is replaced like any other, and destroyed by a
login of its successor.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from rotator import settings
from rotator.access.vault import Answer as Told
from rotator.access.vault import Segments, Server, ServerSettings
from rotator.domain.errors import LostAnswer, PermanentError, Refused, TemporaryError, Unavailable, WrongAccount
from rotator.domain.secret import Material, Secret
from rotator.ports.ours import Own
from rotator.ports.provider import Answer, Capabilities, IssuedKey, Key, Verdict

_CAPABILITIES = Capabilities(
    origin="issued",
    living=None,
    labels=True,
    can_disable=False,
    tells_last_use=False,
    can_tell=True,
    settle=timedelta(0),
    default_fields={"VAULT_SECRET_ID": "{secret}"},
    material=("secret",),
    requests={"account": 2, "authenticate": 3, "keys": 3},  # of a role with two secret ids
)
_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)
_LOOKUP = "secret-id-accessor/lookup"
_LONGEST = 4096  # bytes that the server takes
_NEVER = "0001-"
"""How the server dates what does not end."""


def _life(value: timedelta) -> timedelta:
    if value < timedelta(seconds=1):
        message = "must be 1s or longer"
        raise ValueError(message)
    return value


class MountSettings(ServerSettings):
    """One AppRole mount, and who we are there."""

    mount: Segments = "approle"


class RoleOptions(settings.Settings):
    """Whose secret ids, and how long new ones live; without `expires_in`, as long as the role says."""

    role: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    expires_in: Annotated[settings.Duration, AfterValidator(_life)] | None = None


class VaultAppRole:
    """One mount. The connection is made at the first request and shared by all threads."""

    Settings: ClassVar[type[Any]] = MountSettings
    Options: ClassVar[type[Any]] = RoleOptions
    OWN: ClassVar[frozenset[str]] = frozenset({"auth.secret_id"})
    """What of its own settings its keys may be written to."""

    def __init__(self, settings: MountSettings, timeout: timedelta) -> None:
        self._server = Server(settings, timeout)
        self._mount = settings.mount

    def bind(self, options: RoleOptions) -> SecretIds:
        """The secret ids of one role."""
        return SecretIds(self._server, self._mount, options)

    def own_credentials(self) -> Sequence[Own]:
        """What we log in with, as far as the server tells of it."""
        return [self._server.own_token()]

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._server.close()


class SecretIds:
    """A provider (`ports.provider.Provider`, `Issues` and `Signs`)."""

    def __init__(self, server: Server, mount: str, options: RoleOptions) -> None:
        self._server = server
        self._mount = mount
        self._options = options
        self._role = f"auth/{mount}/role/{options.role}"

    @property
    def capabilities(self) -> Capabilities:
        """Any number, with labels; none can be disabled."""
        return replace(_CAPABILITIES, life=self._options.expires_in)

    def account(self) -> str:
        """`vault-approle:<role id>`. WrongAccount where the role is not there.

        Refused where its secret ids are used up by logins, for we log in to try them.
        """
        told = self._get(self._role)
        if told.data.get("secret_id_num_uses"):
            message = f"a secret id of {self._role} is used up after {told.data['secret_id_num_uses']} logins"
            remedy = "set secret_id_num_uses=0 at the role: a secret id is tried by logging in"
            raise Refused(message, reason="limited_uses", remedy=remedy)
        return f"vault-approle:{self._role_id()}"

    def create(self, label: str) -> IssuedKey:
        """Make a secret id with `label` in its metadata. LostAnswer unless it is certain that none was made."""
        wanted: dict[str, Any] = {"metadata": json.dumps({"label": label})}
        if self._options.expires_in is not None:
            wanted["ttl"] = f"{int(self._options.expires_in.total_seconds())}s"
        told = self._post("secret-id", wanted, changes=True)
        if told.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
            message = f"{self._server.address} refused to make a secret id at {self._role}"
            raise Refused(message, remedy="look at the role, and at the longest life that it allows")
        try:
            secret, accessor = Secret(_text(told.data["secret_id"])), _text(told.data["secret_id_accessor"])
            life = int(told.data.get("secret_id_ttl") or 0)
        except _UNREADABLE:
            message = f"{self._server.address}'s answer to making a secret id is not what its documentation says"
            raise LostAnswer(message) from None
        now = datetime.now(UTC)
        ends = now + timedelta(seconds=life) if life else None
        return IssuedKey(key_id=accessor, material=Material({"secret": secret}), issued_at=now, expires_at=ends)

    def authenticate(self, material: Material) -> Answer:
        """Log in with it; the token that this gives is revoked at once.

        Refused: the server says so. Accepted, but limited: it is bound to other addresses than ours.
        """
        secret = material["secret"]
        if not _may_be(secret):
            return Answer(verdict=Verdict.REFUSED, why="no secret id is empty, or as long as this")
        try:
            return self._log_in(secret)
        except TemporaryError as problem:
            return Answer(verdict=Verdict.INCONCLUSIVE, why=problem.message, retry_after=problem.retry_after)
        except PermanentError as problem:  # of ours: it says nothing about the secret id
            return Answer(verdict=Verdict.INCONCLUSIVE, why=problem.message)

    def _log_in(self, secret: Secret) -> Answer:
        path = f"auth/{self._mount}/login"
        login = {"role_id": self._role_id(), "secret_id": secret.reveal()}
        told = self._server.send(lambda client: client.adapter.post(f"/v1/{path}", json=login), None)
        why = f"{self._server.address} answered {told.status} to a login"
        if told.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            if told.says("CIDR"):
                return Answer(verdict=Verdict.ACCEPTED_LIMITED, why=f"{why}: it is bound to other addresses")
            return Answer(verdict=Verdict.REFUSED, why=why)
        if problem := self._server.problem(told, path, changes=False):
            raise problem
        granted = (told.body or {}).get("auth")
        if not isinstance(granted, dict) or not granted.get("client_token"):
            return Answer(verdict=Verdict.INCONCLUSIVE, why=f"{why}, without a token")
        self._revoke(Secret(str(granted["client_token"])))
        return Answer(verdict=Verdict.ACCEPTED, identity=f"role {self._options.role}")

    def keys(self) -> Sequence[Key]:
        """Every secret id of the role."""
        path = f"{self._role}/secret-id"
        told = self._server.ask(path, lambda client: client.adapter.list(f"/v1/{path}"))
        if told.status == HTTPStatus.NOT_FOUND:
            return []  # as the server says where there is none
        listed = told.data.get("keys")
        if not isinstance(listed, list):
            raise self._unreadable(path)
        return list(self._described(listed))

    def identify(self, material: Material) -> str | None:
        """The accessor of a secret id; None where it is none of this role's."""
        if not _may_be(material["secret"]):
            return None
        told = self._post("secret-id/lookup", {"secret_id": material["secret"].reveal()})
        accessor = told.data.get("secret_id_accessor")
        return str(accessor) if accessor else None

    def delete(self, key_id: str) -> None:
        """Destroy the secret id. One that is not there is success. What has logged in with it keeps its token."""
        if self._looked_up(key_id).status == HTTPStatus.NOT_FOUND:
            return  # to destroy it would be a 500
        told = self._post("secret-id-accessor/destroy", {"secret_id_accessor": key_id}, changes=True)
        if told.status == HTTPStatus.BAD_REQUEST:
            message = f"{self._server.address} refused to destroy a secret id of {self._role}"
            raise Refused(message, remedy="look into the server's log")

    def made_by_hand(self) -> Sequence[str]:
        """By the server's own tool; the answer's `secret_id` is shown once."""
        return [*self._server.by_hand(), f"vault write -f {shlex.quote(f'{self._role}/secret-id')}"]

    def ended_by_hand(self, key_id: str) -> Sequence[str]:
        """By its accessor."""
        path = shlex.quote(f"{self._role}/secret-id-accessor/destroy")
        return [*self._server.by_hand(), f"vault write {path} secret_id_accessor={shlex.quote(key_id)}"]

    def signing_key(self) -> Secret | None:
        """The secret id that we log in with now; from here on our requests come of a login with it."""
        return self._server.own_secret_id()

    def _described(self, accessors: Sequence[object]) -> Iterator[Key]:
        for accessor in accessors:
            told = self._looked_up(str(accessor))
            if told.status != HTTPStatus.OK:
                continue  # it went meanwhile
            try:
                yield _key(told.data)
            except _UNREADABLE:
                raise self._unreadable(_LOOKUP) from None

    def _looked_up(self, accessor: str) -> Told:
        return self._post(_LOOKUP, {"secret_id_accessor": accessor})

    def _role_id(self) -> str:
        path = f"{self._role}/role-id"
        try:
            return _text(self._get(path).data["role_id"])
        except _UNREADABLE:
            raise self._unreadable(path) from None

    def _get(self, path: str) -> Told:
        told = self._server.ask(path, lambda client: client.adapter.get(f"/v1/{path}"))
        if told.status == HTTPStatus.NOT_FOUND:
            message = f"there is no {path} on {self._server.address}"
            raise WrongAccount(message, remedy="compare `options.role` and `mount` with the server")
        if told.body is None:
            raise self._unreadable(path)
        return told

    def _post(self, what: str, body: Mapping[str, Any], *, changes: bool = False) -> Told:
        path = f"{self._role}/{what}"
        return self._server.ask(path, lambda client: client.adapter.post(f"/v1/{path}", json=body), changes=changes)

    def _revoke(self, token: Secret) -> None:
        """A token that nobody uses ends by itself as well, so that a failure here is none."""
        try:
            self._server.send(lambda client: client.adapter.post("/v1/auth/token/revoke-self"), token)
        except TemporaryError:
            return

    def _unreadable(self, path: str) -> Unavailable:
        message = f"{self._server.address}'s answer to {path} is not what its documentation says"
        return Unavailable(message)


def _may_be(secret: Secret) -> bool:
    return 0 < len(secret.reveal().encode("utf-8", "replace")) <= _LONGEST


def _key(told: Mapping[str, Any]) -> Key:
    ends = str(told.get("expiration_time") or _NEVER)
    expires_at = None if ends.startswith(_NEVER) else _moment(ends)
    return Key(
        id=_text(told["secret_id_accessor"]),
        label=(told.get("metadata") or {}).get("label"),
        created_at=_moment(_text(told["creation_time"])),
        expires_at=expires_at,
        enabled=expires_at is None or expires_at > datetime.now(UTC),
    )


def _moment(text: str) -> datetime:
    """RFC 3339 with nanoseconds, as Go writes it."""
    whole, _, rest = text.replace("Z", "+00:00").partition(".")
    digits = rest[: len(rest) - 6] if rest else ""
    zone = rest[-6:] if rest else ""
    return datetime.fromisoformat(f"{whole}.{digits[:6]:0<6}{zone}" if rest else whole).astimezone(UTC)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value
