"""Vault and OpenBao, KV version 2: the secret's version is the revision, and `cas` makes a write conditional on it.

There is no idempotency token: the same write sent again either takes effect or is a Conflict.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, ClassVar

from rotator.access.vault import Segments, Server, ServerSettings, missing_permission, segments
from rotator.domain.errors import (
    AccessDenied,
    Conflict,
    LostAnswer,
    PermanentError,
    Refused,
    RotatorError,
    Unavailable,
)
from rotator.domain.model import WHOLE_BODY
from rotator.domain.secret import Secret
from rotator.ports.destination import Capabilities, Held, Reading, shadow_path
from rotator.ports.ours import Own, Permission

_NEEDED = ("create", "read", "update")
_SHIPPED = "give it deploy/policies/vault.hcl, and nothing else"
_ABSENT = "0"  # the revision of a path that never had a version; `cas` takes it as it is


class VaultSettings(ServerSettings):
    """One mount of one server."""

    mount: Segments = "secret"
    known_as: str | None = None
    """The address under which this server is on record, where it is reached by another one now."""


class VaultKV:
    """One mount, and the connection that all its places share."""

    Settings: ClassVar[type[VaultSettings]] = VaultSettings

    def __init__(self, name: str, settings: VaultSettings, timeout: timedelta) -> None:
        self.name = name
        self.mount = settings.mount
        self.namespace = settings.namespace
        self.known_as = settings.known_as or settings.address
        self.server = Server(settings, timeout)
        self._is_kv2 = False

    def parse(self, short: str) -> str:
        """Return the path in the short form's `MOUNT/PATH`. Raises ValueError with the reason.

        Only there does the mount stand before the path; `{to: vault, path: …}` is without it.
        """
        if not short.startswith(f"{self.mount}/"):
            message = f"{short!r} does not begin with the mount; write {self.name}:{self.mount}/{short}"
            raise ValueError(message)
        return segments(short.removeprefix(f"{self.mount}/"))

    def at(self, path: str | None) -> VaultPlace:
        """The secret at this path below the mount."""
        if path is None:
            message = f"a path is needed, such as {{to: {self.name}, path: web/openai}}"
            raise ValueError(message)
        return VaultPlace(self, segments(path))

    def own_credentials(self) -> Sequence[Own]:
        """Our token, as it tells of itself."""
        return [self.server.own_token()]

    def survey(self, paths: Collection[str | None]) -> Iterator[Held | RotatorError]:
        """Every secret of the mount; where its root may not be listed, of the folders that `paths` lie in."""
        self.check()
        root = self._names("")
        if isinstance(root, RotatorError):
            yield root
            folders = sorted({path.rpartition("/")[0] + "/" for path in paths if path is not None and "/" in path})
            below = [folder for folder in folders if not folder.startswith(tuple(o for o in folders if o != folder))]
        else:
            below = root
        while below:
            path = below.pop()
            if not path.endswith("/"):
                yield from self._held(path)
                continue
            names = self._names(path)
            if isinstance(names, RotatorError):
                yield names
            else:
                below += names

    def _held(self, path: str) -> Iterator[Held | RotatorError]:
        try:
            place = self.at(path)
        except ValueError as problem:  # a name that no configuration could have
            yield Refused(f"{self.mount}/: {problem}", remedy="look at it by hand")
        else:
            yield from place.held()

    def _names(self, folder: str) -> list[str] | AccessDenied:
        """The paths right below a folder ("" or `a/b/`), folders with a slash at their end, the last one first."""
        path = f"{self.mount}/metadata/{folder}"
        try:
            answer = self.server.ask(
                path, lambda client: client.secrets.kv.v2.list_secrets(folder, mount_point=self.mount)
            )
        except AccessDenied as denied:
            if denied.reason != "missing_permission":
                raise
            return missing_permission(path, f"our token may not list {path}", "list")
        names = answer.data.get("keys") or ()
        return [f"{folder}{name}" for name in sorted(names, reverse=True)]

    def close(self) -> None:
        """Close the connections."""
        self.server.close()

    def check(self) -> None:
        """Raise if the mount is known not to be KV version 2. Asks until it is known to be."""
        if self._is_kv2:
            return
        path = f"sys/internal/ui/mounts/{self.mount}"
        try:
            answer = self.server.ask(path, lambda client: client.adapter.get(f"/v1/{path}"))
        except AccessDenied:
            return  # to a token that may use nothing below the mount: other requests will tell
        if answer.status != HTTPStatus.OK or "type" not in answer.data:
            return
        if answer.data["type"] != "kv" or (answer.data.get("options") or {}).get("version") != "2":
            raise self.not_kv2()
        self._is_kv2 = True

    def not_kv2(self) -> PermanentError:
        """The mount is something else."""
        message = f"{self.mount}/ on {self.server.address} is not a KV version 2 mount"
        remedy = f"name such a mount, or upgrade this one: vault kv enable-versioning {self.mount}/"
        return PermanentError(message, reason="not_kv2", remedy=remedy)


@dataclass(frozen=True)
class VaultPlace:
    """One secret. Its fields are the keys of its map; values that are not text are kept, and read as JSON."""

    kv: VaultKV
    path: str

    @property
    def capabilities(self) -> Capabilities:
        """Compare-and-set, and seen at once."""
        return Capabilities(conditional=True, readable=True, propagation=timedelta(0), whole_body=False)

    @property
    def identity(self) -> str:
        """Server, namespace, mount and path."""
        return f"vault:{self.kv.known_as}:{self.kv.namespace or ''}:{self.kv.mount}/{self.path}"

    @property
    def address(self) -> str:
        """Name, mount and path."""
        return f"{self.kv.name}:{self.kv.mount}/{self.path}"

    def read(self) -> Reading:
        """The latest version. One that was deleted or destroyed has no fields and keeps its number."""
        stands = self._version(None)
        if stands is None:
            self.kv.check()  # a KV version 1 mount says "not found" too
            return Reading(fields={}, revision=_ABSENT)
        number, data = stands
        return Reading(fields={name: _secret(value) for name, value in data.items()}, revision=str(number))

    def held(self) -> Iterator[Held | RotatorError]:
        """Each field of the latest version; an error where it cannot be read."""
        try:
            reading = self.read()
        except AccessDenied as denied:
            if denied.reason != "missing_permission":
                raise
            yield missing_permission(self._api, denied.message, "read")
            return
        for name, secret in reading.fields.items():
            yield Held(identity=self.identity, address=self.address, field=name, text=secret)

    def written_by_hand(self, fields: Mapping[str, str]) -> Sequence[str]:
        """By the server's own tool, which keeps the other fields."""
        where = f"-mount={shlex.quote(self.kv.mount)} {shlex.quote(self.path)}"
        named = [(shlex.quote(f"{name}=-"), value) for name, value in fields.items()]
        writes = [f'printf %s "{value}" | vault kv patch {where} {name}' for name, value in named]
        return [*self.kv.server.by_hand(), *writes, f"# where there is no secret yet: `vault kv put {where} …`"]

    def preflight(self, fields: Mapping[str, object]) -> None:
        """Read, and ask what our token may do; one that may not ask is not held against us."""
        self._refuse_whole_body(fields)
        absent = self.read().revision == _ABSENT
        path = "sys/capabilities-self"
        try:
            answer = self.kv.server.ask(path, lambda client: client.sys.get_capabilities(paths=[self._api]))
        except AccessDenied:
            return
        granted = answer.data.get(self._api)
        if not isinstance(granted, list) or "root" in granted:
            return
        # A secret that is created now is updated at the next rotation.
        if missing := {"update", "create" if absent else "update"} - set(granted):
            raise missing_permission(self._api, f"our token lacks {' and '.join(sorted(missing))} at {self._api}")

    def our_permissions(self) -> Sequence[Permission]:
        """The capabilities of our token at this path and at one that is nobody's, as the server tells them."""
        elsewhere = f"{self.kv.mount}/data/keyturn-check/no-such-path"
        path = "sys/capabilities-self"
        try:
            answer = self.kv.server.ask(path, lambda client: client.sys.get_capabilities(paths=[self._api, elsewhere]))
        except AccessDenied as denied:
            if denied.reason != "missing_permission":
                raise
            return [Permission(what=f"our token may not ask {path}", state="unknown", remedy=denied.remedy)]
        here, there = (set(answer.data.get(at) or ()) for at in (self._api, elsewhere))
        if "root" in here:
            return [Permission(what="our token is a root token", state="too_much", remedy=_SHIPPED)]
        needed = [
            Permission(
                what=f"{capability} at {self._api}",
                state="held" if capability in here else "missing",
                remedy=missing_permission(self._api, "").remedy,
            )
            for capability in _NEEDED
        ]
        more = [f"{capability} at {self._api}" for capability in sorted(here - {*_NEEDED, "deny"})]
        more += [f"{capability} at any path of {self.kv.mount}/" for capability in sorted(there - {"deny"})]
        return [*needed, *(Permission(what=what, state="too_much", remedy=_SHIPPED) for what in more)]

    def write(self, fields: Mapping[str, Secret], expected: str, token: str) -> str:  # noqa: ARG002 - Vault takes none
        """Add a version: the fields of version `expected` with ours put in, on condition that it is the latest."""
        self._refuse_whole_body(fields)
        ours = {name: self._text(name, secret) for name, secret in fields.items()}
        everything = {**self._base(expected), **ours}
        answer = self.kv.server.ask(
            self._api,
            lambda client: client.secrets.kv.v2.create_or_update_secret(
                self.path, secret=everything, cas=int(expected), mount_point=self.kv.mount
            ),
            changes=True,
        )
        if answer.status == HTTPStatus.BAD_REQUEST and answer.says("check-and-set"):
            message = f"{self.address} is not at version {expected} any more"
            raise Conflict(message)
        if answer.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
            message = f"{self.kv.server.address} answered {answer.status} to a write of {self._api}"
            raise Refused(message, remedy="look into the server's log")
        version = answer.data.get("version")
        if not isinstance(version, int):
            message = f"{self.kv.server.address} gave no version for a write of {self._api}"
            raise LostAnswer(message)
        return str(version)

    def shadow(self, token: str) -> VaultShadow:
        """A secret of its own beside this one."""
        return VaultShadow(self.kv, shadow_path(self.path, token))

    @property
    def _api(self) -> str:
        """The path that policies name."""
        return f"{self.kv.mount}/data/{self.path}"

    def _base(self, expected: str) -> Mapping[str, Any]:
        """What stood here at this revision."""
        if expected == _ABSENT:
            self.kv.check()
            return {}
        stood = self._version(int(expected)) if expected.isdecimal() else None
        if stood is None:
            message = f"{self.address} has no version {expected} any more"
            raise Conflict(message)
        return stood[1]

    def _version(self, number: int | None) -> tuple[int, Mapping[str, Any]] | None:
        """Number and map of this version, or of the latest; None where there is none."""
        answer = self.kv.server.ask(
            self._api,
            lambda client: client.secrets.kv.v2.read_secret_version(
                self.path, version=number, mount_point=self.kv.mount, raise_on_deleted_version=True
            ),
        )
        if answer.body is None or answer.status == HTTPStatus.BAD_REQUEST:
            message = f"{self.kv.server.address} answered {answer.status} to {self._api}, and not as Vault does"
            raise Unavailable(message)
        metadata = answer.data.get("metadata")
        if isinstance(metadata, dict) and isinstance(metadata.get("version"), int):
            return metadata["version"], answer.data.get("data") or {}  # no data: deleted or destroyed, with a 404
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        raise self.kv.not_kv2()

    def _refuse_whole_body(self, fields: Mapping[str, object]) -> None:
        if WHOLE_BODY in fields:
            message = f"{self.address} holds named fields, never one value"
            raise Refused(message, reason="no_whole_body", remedy="write fields instead of value")

    def _text(self, name: str, secret: Secret) -> str:
        """The value, if it is text at all: the server would replace half a surrogate pair without a word."""
        text = secret.reveal()
        try:
            text.encode()
        except UnicodeEncodeError:
            message = f"the value of {name} for {self.address} is not Unicode text"
            raise Refused(message, reason="unquotable", remedy="rotate again, to another value") from None
        return text


@dataclass(frozen=True)
class VaultShadow(VaultPlace):
    """A secret that a rehearsal makes and takes away."""

    def remove(self) -> None:
        """Delete the secret with all its versions and its metadata, so that lists show it no more."""
        path = f"{self.kv.mount}/metadata/{self.path}"
        try:
            answer = self.kv.server.ask(
                path,
                lambda client: client.secrets.kv.v2.delete_metadata_and_all_versions(
                    self.path, mount_point=self.kv.mount
                ),
                changes=True,
            )
        except AccessDenied as denied:
            if denied.reason != "missing_permission":
                raise
            raise missing_permission(path, denied.message, "delete") from None
        if answer.status == HTTPStatus.BAD_REQUEST or self.read().revision != _ABSENT:
            message = f"{self.address} is still there"
            raise Unavailable(message, reason="not_confirmed")


def _secret(value: object) -> Secret:
    return Secret(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True))
