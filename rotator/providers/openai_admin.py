"""OpenAI's admin keys of one organization, by the administration API that they themselves open.

The key that this very entry signs with may be among them: it is replaced like any other, and deleted by a request of
its successor. See `access.openai` for where facts are from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from rotator import settings
from rotator.access.http import HEADER_SAFE, Json, fits
from rotator.access.openai import (
    ADMIN_KEYS_PATH,
    UNREADABLE,
    AccountSettings,
    Administration,
    Identifier,
    Life,
    NotThere,
    admin_key,
    moment,
    segment,
    text,
    verdict_of,
)
from rotator.domain.errors import LostAnswer, TemporaryError, Unavailable, WrongAccount
from rotator.domain.secret import Material, Secret
from rotator.ports.ours import Own
from rotator.ports.provider import Answer, Capabilities, IssuedKey, Key, Verdict

_CAPABILITIES = Capabilities(
    origin="issued",
    living=None,
    labels=True,
    can_disable=False,
    tells_last_use=True,
    can_tell=True,
    settle=timedelta(seconds=60),  # as for other keys of OpenAI's, which names no figure
    default_fields={"OPENAI_ADMIN_KEY": "{secret}"},
    material=("secret",),
)


class KeyOptions(settings.Settings):
    """A project that stays, for the organization tells no name of itself; and how long new keys live."""

    project: Identifier
    expires_in: Life | None = None


class OpenAIAdmin:
    """One organization. The HTTP client is made at the first request and shared by all threads."""

    Settings: ClassVar[type[Any]] = AccountSettings
    Options: ClassVar[type[Any]] = KeyOptions
    OWN: ClassVar[frozenset[str]] = frozenset({"admin_key"})
    """What of its own settings its keys may be written to."""

    def __init__(self, settings: AccountSettings, timeout: timedelta) -> None:
        self._api = Administration(settings, timeout.total_seconds())

    def bind(self, options: KeyOptions) -> AdminKeys:
        """The admin keys of the organization that has this project."""
        return AdminKeys(self._api, options)

    def own_credentials(self) -> Sequence[Own]:
        """The admin key: the one whose redacted value fits, where exactly one does."""
        return [self._api.own_key()]

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._api.close()


class AdminKeys:
    """A provider (`ports.provider.Provider`, `Issues` and `Signs`). `keys` lists those of people too, by `owner`."""

    def __init__(self, api: Administration, options: KeyOptions) -> None:
        self._api = api
        self._options = options

    @property
    def capabilities(self) -> Capabilities:
        """Many keys, with labels; none can be disabled. A new key is taken to be slow to be known for a minute."""
        return replace(_CAPABILITIES, life=self._options.expires_in)

    def account(self) -> str:
        """`openai-admin:<project id>`. WrongAccount where the organization has no such project."""
        try:
            found = self._api.ask("GET", f"/organization/projects/{self._options.project}", "look at the project")
        except NotThere:
            found = None
        if found is None or found.fields.get("id") != self._options.project:
            message = f"the admin key's organization has no project {self._options.project}"
            raise WrongAccount(message, remedy="compare `options.project` with the console, and whose admin key it is")
        return f"openai-admin:{self._options.project}"

    def create(self, label: str) -> IssuedKey:
        """Make an admin key named `label`. LostAnswer unless it is certain that none was made."""
        wanted: dict[str, Any] = {"name": label}
        if self._options.expires_in is not None:
            wanted["expires_in_seconds"] = int(self._options.expires_in.total_seconds())
        told = self._api.ask("POST", ADMIN_KEYS_PATH, "create an admin key", body=wanted).fields
        try:
            key_id, secret = text(told["id"]), Secret(text(told["value"]))
            issued_at, expires_at = moment(told["created_at"]), moment(told.get("expires_at"))
        except UNREADABLE:
            message = "OpenAI's answer to creating an admin key is not what its documentation says"
            raise LostAnswer(message) from None
        return IssuedKey(
            key_id=key_id, material=Material({"secret": secret}), issued_at=issued_at, expires_at=expires_at
        )

    def authenticate(self, material: Material) -> Answer:
        """List one admin key with the key itself: no other kind of key may, and an admin key may not ask for models."""
        key = material["secret"]
        if not HEADER_SAFE.fullmatch(key.reveal()):
            return Answer(verdict=Verdict.REFUSED, why="no API key has such characters, or it is empty")
        try:
            return verdict_of(self._api.send("GET", ADMIN_KEYS_PATH, "check a key", key=key, query={"limit": "1"}))
        except TemporaryError as problem:
            return Answer(verdict=Verdict.INCONCLUSIVE, why=problem.message, retry_after=problem.retry_after)

    def keys(self) -> Sequence[Key]:
        """Every admin key of the organization."""
        return [key for key, _ in self._listed()]

    def identify(self, material: Material) -> str | None:
        """The one key whose redacted value fits; None where none or several do."""
        value = material["secret"].reveal()
        fitting = [key.id for key, redacted in self._listed() if fits(value, redacted)]
        return fitting[0] if len(fitting) == 1 else None

    def delete(self, key_id: str) -> None:
        """Delete the key. "Not found" is success: the caller has confirmed `account()`."""
        try:
            told = self._api.ask("DELETE", f"{ADMIN_KEYS_PATH}/{segment(key_id)}", "delete an admin key").fields
        except NotThere:
            return
        if told.get("deleted") is not True:
            message = "OpenAI's answer to deleting an admin key does not say that it is deleted"
            raise LostAnswer(message)

    def made_by_hand(self) -> Sequence[str]:
        """By the administration API; the answer's `value` is the key, and is shown once."""
        return self._api.by_hand("POST", ADMIN_KEYS_PATH, {"name": "made by hand"})

    def ended_by_hand(self, key_id: str) -> Sequence[str]:
        """By the administration API."""
        return self._api.by_hand("DELETE", f"{ADMIN_KEYS_PATH}/{segment(key_id)}")

    def signing_key(self) -> Secret:
        """The admin key that we sign with now. Nothing is asked."""
        return self._api.proof()

    def _listed(self) -> Iterator[tuple[Key, str]]:
        return self._api.pages(ADMIN_KEYS_PATH, "list admin keys", _readable)


def _readable(row: Json, at: datetime) -> tuple[Key, str]:
    try:
        return admin_key(row, at)
    except UNREADABLE:
        message = "what OpenAI says about an admin key is not what its documentation says"
        raise Unavailable(message) from None
