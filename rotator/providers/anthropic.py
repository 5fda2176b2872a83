"""Anthropic: the API keys of one workspace, by the Admin API. It cannot make keys: a person does, at the console.

Facts are from Anthropic's published API reference and its Python library. An Admin API key (`sk-ant-admin…`) is needed,
which only an organization has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

from pydantic import AfterValidator, Field

from rotator import settings
from rotator.access.http import HEADER_SAFE, Http, Json, ProxyAddress, Reply, api_address, fits, unclear
from rotator.domain.errors import (
    AccessDenied,
    LostAnswer,
    QuotaExceeded,
    Refused,
    RotatorError,
    TemporaryError,
    Unavailable,
    WrongAccount,
)
from rotator.domain.secret import Material, Secret
from rotator.ports.provider import Answer, Capabilities, Key, Verdict

_VERSION = "2023-06-01"  # of the API
_PAGE = 1000  # the most that the API gives
_MOST_PAGES = 1000
_KEYS = "/v1/organizations/api_keys"
_TOO_MANY_KEYS = ("org_api_key_limit_exceeded", "workspace_api_key_limit_exceeded")
_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)  # what odd fields of an answer lead to
_CONSOLE = "https://console.anthropic.com/settings/keys"
_ADMIN_KEYS = "https://console.anthropic.com/settings/admin-keys"

_CAPABILITIES = Capabilities(
    origin="supplied",
    living=None,  # organizations and workspaces have limits of active keys; Anthropic names no figures
    labels=False,
    can_disable=True,
    tells_last_use=False,
    can_tell=True,
    settle=timedelta(seconds=60),  # Anthropic names no figure; policy.settle overrides it
    default_fields={"ANTHROPIC_API_KEY": "{secret}"},
    material=("secret",),
)


class AccountSettings(settings.Settings):
    """One organization, as the holder of an Admin API key sees it."""

    admin_key: settings.SecretAt
    base_url: Annotated[str, AfterValidator(api_address)] = "https://api.anthropic.com"
    ca_file: settings.FilePath | None = None  # trusted instead of the public authorities
    proxy: ProxyAddress | None = None


class KeyOptions(settings.Settings):
    """Whose keys: those of one workspace, the default one included, by its id."""

    workspace: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class Anthropic:
    """One organization. The HTTP client is made at the first request and shared by all threads."""

    Settings: ClassVar[type[Any]] = AccountSettings
    Options: ClassVar[type[Any]] = KeyOptions

    def __init__(self, settings: AccountSettings, timeout: timedelta) -> None:
        self._api = _Api(settings, timeout.total_seconds())

    def bind(self, options: KeyOptions) -> WorkspaceKeys:
        """The keys of one workspace."""
        return WorkspaceKeys(self._api, options.workspace)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._api.close()


class WorkspaceKeys:
    """A provider (`ports.provider.Provider`, `Asks` and `Disables`).

    A disabled key is `inactive`. A deleted one is `archived`, which is for good; archived keys are not listed here.
    """

    def __init__(self, api: _Api, workspace: str) -> None:
        self._api = api
        self._workspace = workspace

    @property
    def capabilities(self) -> Capabilities:
        """Many keys, made by people; they can be disabled. Their last use is not told."""
        return _CAPABILITIES

    def instructions(self) -> str:
        """Where the console makes keys."""
        return f"make an API key in the workspace {self._workspace} at {_CONSOLE} and copy it, it is shown once"

    def account(self) -> str:
        """`anthropic:<workspace id>`. WrongAccount where the workspace is not there, Refused if archived."""
        path = f"/v1/organizations/workspaces/{quote(self._workspace, safe='')}"
        try:
            found = self._api.ask("GET", path, "look at the workspace").fields
        except _NotThere:
            found = {}
        if found.get("id") != self._workspace:
            message = f"the admin key's organization has no workspace {self._workspace}"
            remedy = "compare `options.workspace` with the console, and whose admin key it is"
            raise WrongAccount(message, remedy=remedy)
        if found.get("archived_at"):
            message = f"the Anthropic workspace {self._workspace} is archived"
            raise Refused(message, reason="project_archived", remedy="name another workspace in `options`")
        return f"anthropic:{self._workspace}"

    def authenticate(self, material: Material) -> Answer:
        """Ask `GET /v1/models` with the key itself.

        Accepted: 200. Refused: 401 `authentication_error`, and 404, which has been seen for disabled and unknown
        keys. Inconclusive: everything else, such as 403, of which it is not known what it says about the key.
        """
        key = material["secret"]
        if not HEADER_SAFE.fullmatch(key.reveal()):
            return Answer(verdict=Verdict.REFUSED, why="no API key has such characters, or it is empty")
        try:
            return _verdict(self._api.send("GET", "/v1/models", "check a key", key=key))
        except TemporaryError as problem:
            return Answer(verdict=Verdict.INCONCLUSIVE, why=problem.message, retry_after=problem.retry_after)

    def keys(self) -> Sequence[Key]:
        """Every key of the workspace that is not archived. One that has expired is listed as not enabled."""
        return [key for key, _ in self._listed()]

    def identify(self, material: Material) -> str | None:
        """The one key whose hint fits; None where none or several do."""
        value = material["secret"].reveal()
        fitting = [key.id for key, hint in self._listed() if hint is not None and fits(value, hint)]
        return fitting[0] if len(fitting) == 1 else None

    def disable(self, key_id: str) -> None:
        """Set the key inactive. One that does not work any more, for whatever reason, is disabled already."""
        self._set(key_id, "inactive", "disable a key", enough=("expired", "archived"))

    def enable(self, key_id: str) -> None:
        """Set the key active. QuotaExceeded where organization or workspace have as many active keys as they may."""
        self._set(key_id, "active", "enable a key")

    def delete(self, key_id: str) -> None:
        """Archive the key. "Not found" is success: the caller has confirmed `account()`."""
        try:
            self._set(key_id, "archived", "archive a key", enough=("archived",))
        except _NotThere:
            return

    def _set(self, key_id: str, status: str, purpose: str, *, enough: Sequence[str] = ()) -> None:
        path = f"{_KEYS}/{_segment(key_id)}"
        try:
            told = self._api.ask("POST", path, purpose, body={"status": status}).fields
        except _NotThere:
            raise
        except Refused:
            if self._api.ask("GET", path, "look at a key").fields.get("status") not in enough:
                raise
            return
        if told.get("status") != status:
            message = f"Anthropic's answer to our request to {purpose} does not say that it is {status}"
            raise LostAnswer(message)

    def _listed(self) -> Iterator[tuple[Key, str | None]]:
        """Every key of the workspace with its hint, page by page, but for archived ones."""
        query = {"limit": str(_PAGE), "workspace_id": self._workspace}
        for _ in range(_MOST_PAGES):
            page = self._api.ask("GET", _KEYS, "list keys", query=query)
            rows, after = _rows(page)
            yield from rows
            if after is None:
                return
            query["after_id"] = after
        message = f"Anthropic's list of keys has no end after {_MOST_PAGES} pages"
        raise Unavailable(message)


class _NotThere(Refused):
    """404, in the API's own form."""


class _Api:
    """The Admin API with the admin key, and what its refusals mean."""

    def __init__(self, settings: AccountSettings, timeout: float) -> None:
        self._settings = settings
        self._http = Http(settings.base_url, settings.ca_file, timeout, proxy=settings.proxy)

    def ask(
        self, method: str, path: str, purpose: str, *, query: Mapping[str, str] | None = None, body: Json | None = None
    ) -> Reply:
        """Send with the admin key; return a 200 answer with a JSON object in it, raise for any other."""
        key = self._settings.admin_key.read()
        if not HEADER_SAFE.fullmatch(key.reveal()):
            message = "nothing was sent to Anthropic"
            raise self._rejected(message)
        reply = self.send(method, path, purpose, key=key, query=query, body=body)
        if reply.status == HTTPStatus.OK and reply.fields:
            return reply
        raise self._failure(method, purpose, reply)

    def send(
        self,
        method: str,
        path: str,
        purpose: str,
        *,
        key: Secret,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
    ) -> Reply:
        """One request, one answer, whatever it says. Unavailable; LostAnswer where it may have changed something."""
        headers = {"x-api-key": key.reveal(), "anthropic-version": _VERSION}
        return self._http.send(method, path, purpose, headers=headers, query=query, body=body)

    def close(self) -> None:
        self._http.close()

    def _failure(self, method: str, purpose: str, reply: Reply) -> RotatorError:
        message = f"Anthropic answered {reply.status} to our request to {purpose}{reply.request}"
        nothing_said = unclear(method, message, reply)
        if nothing_said is not None:
            return nothing_said
        if reply.status == HTTPStatus.UNAUTHORIZED:
            return self._rejected(message)
        if reply.status == HTTPStatus.FORBIDDEN:
            return AccessDenied(message, remedy=f"an Admin API key is needed, made at {_ADMIN_KEYS}")
        return _refusal(message, reply)

    def _rejected(self, message: str) -> AccessDenied:
        place = self._settings.admin_key.text
        return AccessDenied(
            f"{message}: the admin key in {place} is wrong or not active",
            reason="admin_key_rejected",
            remedy=f"make an Admin API key at {_ADMIN_KEYS} and put it into {place}",
        )


def _refusal(message: str, reply: Reply) -> RotatorError:
    if reply.status == HTTPStatus.NOT_FOUND:
        return _NotThere(message)
    if _code(reply) in _TOO_MANY_KEYS:
        return QuotaExceeded(message, remedy=f"set a key that nobody needs inactive at {_CONSOLE}")
    return Refused(message, remedy=f"look at the key at {_CONSOLE}")


def _verdict(reply: Reply) -> Answer:
    why = f"Anthropic answered {reply.status} to the key's own request{reply.request}"
    if reply.status == HTTPStatus.OK and isinstance(reply.fields.get("data"), list):
        return Answer(verdict=Verdict.ACCEPTED)
    if reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND) and reply.error is not None:
        return Answer(verdict=Verdict.REFUSED, why=why)
    return Answer(verdict=Verdict.INCONCLUSIVE, why=why, retry_after=reply.retry_after)


def _code(reply: Reply) -> str | None:
    details = (reply.error or {}).get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    return code if isinstance(code, str) else None


def _rows(page: Reply) -> tuple[list[tuple[Key, str | None]], str | None]:
    """The keys of a page with their hints, and what the next page comes after."""
    try:
        rows = [_key(row) for row in page.fields["data"] if row["status"] != "archived"]
        return rows, _text(page.fields["last_id"]) if page.fields["has_more"] else None
    except _UNREADABLE:
        message = "Anthropic's list of keys is not what its documentation says"
        raise Unavailable(message) from None


def _key(row: Json) -> tuple[Key, str | None]:
    hint = row.get("partial_key_hint")
    key = Key(
        id=_text(row["id"]),
        label=_text(row["name"]),
        created_at=_time(row["created_at"]),
        enabled=row["status"] == "active",
    )
    return key, None if hint is None else _text(hint)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def _time(value: object) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError
    return moment


def _segment(key_id: str) -> str:
    """A key id as one segment of a path."""
    if key_id in ("", ".", ".."):
        message = "this is not the id of an Anthropic key"
        raise Refused(message)
    return quote(key_id, safe="")
