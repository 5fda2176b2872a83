"""OpenAI's administration API: one organization with an admin key, one request at a time, and what answers mean.

Facts are from OpenAI's published OpenAPI document and its documentation of error codes. An administration key is
needed whose permission is Organization Administration = Write.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, TypeVar
from urllib.parse import quote

from pydantic import AfterValidator, Field

from rotator import settings
from rotator.access.http import HEADER_SAFE, Http, Json, ProxyAddress, Query, Reply, api_address, fits, unclear
from rotator.domain.errors import AccessDenied, Refused, RotatorError, Unavailable
from rotator.domain.secret import Secret
from rotator.ports.ours import Own
from rotator.ports.provider import Answer, Key, Verdict

T = TypeVar("T")

_PAGE = 100  # the most that the API gives
MOST_PAGES = 1000
UNREADABLE = (
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
    OSError,
)  # what odd fields of an answer lead to
ADMIN_KEYS_PATH = "/organization/admin_api_keys"
ADMIN_KEYS = "https://platform.openai.com/settings/organization/admin-keys"
YEAR = timedelta(days=365)


def _life(value: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= value <= YEAR:
        message = "must be between 1s and 365d"
        raise ValueError(message)
    return value


Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
Life = Annotated[settings.Duration, AfterValidator(_life)]


class AccountSettings(settings.Settings):
    """One organization, as the holder of an administration key sees it."""

    admin_key: settings.SecretAt
    base_url: Annotated[str, AfterValidator(api_address)] = "https://api.openai.com/v1"
    organization: Identifier | None = None  # only where one admin key serves several
    ca_file: settings.FilePath | None = None  # trusted instead of the public authorities
    proxy: ProxyAddress | None = None


class NotThere(Refused):
    """404, in the API's own form."""


class Administration:
    """The administration API with the admin key, and what its refusals mean."""

    def __init__(self, settings: AccountSettings, timeout: float) -> None:
        self._settings = settings
        self._http = Http(settings.base_url, settings.ca_file, timeout, proxy=settings.proxy)

    def own_key(self) -> Own:
        """The admin key as the list of admin keys has it."""
        value = self._settings.admin_key.read().reveal()
        rows = self.pages(ADMIN_KEYS_PATH, "look at our own key", lambda row, _at: row)
        found = [row for row in rows if fits(value, str(row.get("redacted_value")))]
        may = "all of the organization's administration, as far as OpenAI tells"
        if len(found) != 1:
            return Own(what="admin key", may=may)
        since, until = moment(found[0].get("created_at")), moment(found[0].get("expires_at"))
        return Own(what="admin key", key_id=found[0].get("id"), since=since, expires_at=until, may=may)

    def pages(
        self, path: str, purpose: str, read: Callable[[Json, datetime], T], query: Query | None = None
    ) -> Iterator[T]:
        """Each row of a list, page by page, as `read` makes it of the row and the provider's time."""
        asked: dict[str, str | list[str]] = {"limit": str(_PAGE), **(query or {})}
        for _ in range(MOST_PAGES):
            reply = self.ask("GET", path, purpose, query=asked)
            try:
                rows = [read(row, reply.at) for row in reply.fields["data"]]
                after = text(reply.fields["last_id"]) if reply.fields["has_more"] else None
            except UNREADABLE:
                message = f"OpenAI's answer to our request to {purpose} is not what its documentation says"
                raise Unavailable(message) from None
            yield from rows
            if after is None:
                return
            asked["after"] = after
        message = f"OpenAI's answer to our request to {purpose} has no end after {MOST_PAGES} pages"
        raise Unavailable(message)

    def ask(
        self, method: str, path: str, purpose: str, *, query: Query | None = None, body: Json | None = None
    ) -> Reply:
        """Send with the admin key; return a 2xx answer with a JSON object in it, raise for any other."""
        key = self._settings.admin_key.read()
        if not HEADER_SAFE.fullmatch(key.reveal()):
            message = "nothing was sent to OpenAI"
            raise self._rejected(message)
        reply = self.send(method, path, purpose, key=key, query=query, body=body)
        if HTTPStatus(200) <= reply.status < HTTPStatus(300) and reply.fields:
            return reply
        raise self._failure(method, purpose, reply)

    def send(
        self,
        method: str,
        path: str,
        purpose: str,
        *,
        key: Secret,
        query: Query | None = None,
        body: Json | None = None,
    ) -> Reply:
        """One request, one answer, whatever it says. Unavailable; LostAnswer where it may have changed something."""
        headers = {"Authorization": f"Bearer {key.reveal()}"}
        if self._settings.organization and path != "/models":  # a key's own request is to be what a consumer sends
            headers["OpenAI-Organization"] = self._settings.organization
        return self._http.send(method, path, purpose, headers=headers, query=query, body=body)

    def by_hand(self, method: str, path: str, body: Json | None = None) -> list[str]:
        """The same request as lines of a shell."""
        asked = f"read -rs OPENAI_ADMIN_KEY  # an admin key; ours is at {self._settings.admin_key.text}"
        sent = f"-H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))} " if body is not None else ""
        where = shlex.quote(f"{self._settings.base_url}{path}")
        key = "printf 'Authorization: Bearer %s\\n' \"$OPENAI_ADMIN_KEY\""
        return [asked, f"{key} | curl -sS -X {method} -H @- {sent}{where}"]

    def proof(self) -> Secret:
        """The admin key that stands now where we read it: what is asked from here on is asked with it."""
        return self._settings.admin_key.read()

    def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        self._http.close()

    def _failure(self, method: str, purpose: str, reply: Reply) -> RotatorError:
        message = f"OpenAI answered {reply.status} to our request to {purpose}{reply.request}"
        nothing_said = unclear(method, message, reply)
        if nothing_said is not None:
            return nothing_said
        if reply.status == HTTPStatus.UNAUTHORIZED:
            return self._rejected(message)
        if reply.status == HTTPStatus.FORBIDDEN and not reply.says("service account"):
            remedy = f"give the admin key Organization Administration = Write (api.management.write) at {ADMIN_KEYS}"
            return AccessDenied(message, remedy=remedy)
        if reply.status == HTTPStatus.NOT_FOUND:
            return NotThere(message)
        return Refused(message, remedy="check `options`; a policy of the organization may demand `expires_in`")

    def _rejected(self, message: str) -> AccessDenied:
        place = self._settings.admin_key.text
        return AccessDenied(
            f"{message}: the admin key in {place} is wrong, expired or revoked",
            reason="admin_key_rejected",
            remedy=f"make an admin key at {ADMIN_KEYS} and put it into {place}",
        )


def admin_key(row: Json, at: datetime) -> tuple[Key, str]:
    """An admin key as it is listed, with its redacted value. One that has expired is not enabled."""
    expires_at, owner = moment(row.get("expires_at")), row.get("owner") or {}
    key = Key(
        id=text(row["id"]),
        label=row.get("name"),
        created_at=moment(row["created_at"]),
        expires_at=expires_at,
        enabled=expires_at is None or expires_at > at,
        last_used_at=moment(row.get("last_used_at")),
        owner=f"{owner.get('type')}:{owner.get('id')}" if owner else None,
    )
    return key, text(row["redacted_value"])


def verdict_of(reply: Reply) -> Answer:
    """What an answer to a key's own request, of which the fine one lists something, says of the key."""
    code = reply.error.get("code") if reply.error else None
    status = reply.status
    denied = status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    why = f"OpenAI answered {status} to the key's own request{reply.request}"
    if status == HTTPStatus.OK and isinstance(reply.fields.get("data"), list):
        return Answer(verdict=Verdict.ACCEPTED)
    if denied and reply.says("missing scopes"):
        return Answer(verdict=Verdict.ACCEPTED_LIMITED, why=f"{why}: the key lacks the scope to list models")
    if denied and code == "ip_not_authorized":
        return Answer(verdict=Verdict.ACCEPTED_LIMITED, why=f"{why}: our address is not on the key's allowlist")
    if status == HTTPStatus.TOO_MANY_REQUESTS and code == "insufficient_quota":
        return Answer(verdict=Verdict.ACCEPTED_LIMITED, why=f"{why}: the quota is used up")
    if status == HTTPStatus.UNAUTHORIZED and reply.error is not None:
        return Answer(verdict=Verdict.REFUSED, why=why)
    return Answer(verdict=Verdict.INCONCLUSIVE, why=why, retry_after=reply.retry_after)


def text(value: object) -> str:
    """A text that is there. Raises TypeError."""
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def moment(value: float | None) -> datetime | None:
    """Unix seconds, as OpenAI tells times."""
    return None if value is None else datetime.fromtimestamp(value, UTC)


def segment(key_id: str) -> str:
    """A key id as one segment of a path."""
    if key_id in ("", ".", ".."):
        message = "this is not the id of an OpenAI key"
        raise Refused(message)
    return quote(key_id, safe="")
