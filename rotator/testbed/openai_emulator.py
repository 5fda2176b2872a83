"""OpenAI's administration API for API keys, in this process on loopback, with knobs for what the real one may do.

Shapes are those of OpenAI's published OpenAPI document; the tests check every answer against it. Lost answers,
delays and 5xx come from a `Gate` in front of it.
"""

from __future__ import annotations

import secrets
import string
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Literal, NoReturn, Self

from rotator.testbed.listener import Endpoint, Json, Listener, Refusal, Request
from rotator.testbed.openai_http import USAGE, costs_page, page, refuse, usage_page

State = Literal["live", "settling", "expired", "deleted"]
Restriction = Literal["missing_scopes", "ip_not_authorized", "insufficient_quota"]

_ALPHABET = string.ascii_letters + string.digits
_LONGEST_LIFE = 31_536_000  # seconds


_MAIN_ADMIN_KEY = "key_admin"


@dataclass(frozen=True, kw_only=True)
class EmulatedKey:
    """One project key as the emulator knows it, secret included. Times are Unix seconds."""

    id: str
    name: str
    secret: str = field(repr=False)
    owner: str  # a service account's or a user's id
    created_at: float
    scopes: tuple[str, ...] = ()
    expires_at: float | None = None
    last_used_at: float | None = None
    deleted_at: float | None = None
    owner_has_access: bool = True
    restriction: Restriction | None = None
    state: State = "live"  # as of the moment it was looked at


@dataclass(frozen=True, kw_only=True)
class CreateRequest:
    """One request to make a key that reached the API; `key_id` is None where it was refused."""

    at: float
    name: str
    key_id: str | None


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """One request of a consumer to a model."""

    at: float
    kind: str  # as the path of its usage data says
    key_id: str
    model: str


def _usage_endpoint(kind: str) -> Endpoint:
    def answer(emulator: OpenAIEmulator, request: Request) -> Json:
        return emulator.usage(request, kind)

    return Endpoint("GET", f"/organization/usage/{kind}", answer)


class OpenAIEmulator:
    """One organization with one project. A context manager; `url` ends in `/v1`.

    `clock` gives Unix seconds. Knobs are plain attributes and may be turned at any time.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, user_keys: int = 0, mark: str = "") -> None:
        self.clock = clock
        self._mark = mark  # part of every secret, so that a test can search for all of them
        self.project = "proj_emulated"
        self.service_account = "svc_acct_emulated"
        self.admin_key = _secret("sk-admin-", mark)

        self.admin_key_state: Literal["valid", "expired", "read_only"] = "valid"
        self.project_archived = False
        self.delete_of_service_account_keys_allowed = True  # False: the 400 of the API before autumn 2026
        self.update_allowed = True  # False: an API without the endpoint
        self.use_is_seen = True  # whether GET /models moves last_used_at
        self.missing_scopes_status = 403  # 401 has been observed as well
        self.settle = 0.0  # seconds during which a new key is refused
        self.list_lag = 0.0  # seconds during which a new key is missing from lists
        self.delete_lag = 0.0  # seconds during which a deleted key still works
        self.usage_lag = 0.0  # seconds until a request shows in the usage data
        self.price = 0.0  # dollars for each request to a model
        self.usage_allowed = True  # False: an admin key that may not read usage
        self.main_admin_key_is_listed = True  # False: as if there were no admin key but those made later

        self.audit_log_kept = True  # False: an organization that keeps none
        self._log: list[Json] = []
        self.creates: list[CreateRequest] = []
        self._requests: list[ModelRequest] = []
        self._keys: dict[str, EmulatedKey] = {}
        self._service_accounts: dict[str, Json] = {}
        self._admin_keys: dict[str, EmulatedKey] = {}
        self._lock = threading.RLock()
        self._server: Listener | None = None
        self._started_at = clock()
        self._issue_admin("Main Admin Key", key_id=_MAIN_ADMIN_KEY, secret=self.admin_key)
        self._add_service_account(self.service_account, "Emulated service account", "member")
        for number in range(user_keys):
            self.make_key(name=f"Key of a person {number}", owner="user_emulated")

    # What a test sees and does behind the API's back.

    @property
    def url(self) -> str:
        """The base address, `http://127.0.0.1:<port>/v1`."""
        assert self._server is not None, "the emulator is not started"
        return self._server.url

    def keys(self) -> Sequence[EmulatedKey]:
        """Every key that was ever made, oldest first, with its state at this moment."""
        with self._lock:
            return [replace(key, state=self._state(key)) for key in self._keys.values()]

    def accepts(self, value: str) -> bool:
        """Whether a consumer's request with this value would get a 200 now. Leaves no trace."""
        with self._lock:
            key = self._key_of(value)
            return key is not None and key.restriction is None

    def make_key(
        self, *, name: str = "Made by hand", owner: str | None = None, owner_has_access: bool = True
    ) -> EmulatedKey:
        """Make a key as a person in the console does; `owner` is the seeded service account unless told."""
        with self._lock:
            key = self._issue(name, owner or self.service_account, owner_has_access=owner_has_access)
            self._note("api_key.created", key.id)
            return key

    def drain(self, seconds: float = 5) -> None:
        """Wait until everything that dead clients have sent is done: no request takes effect after this."""
        assert self._server is not None, "the emulator is not started"
        self._server.drain(seconds)

    def admin_keys(self) -> Sequence[EmulatedKey]:
        """Every admin key that there ever was, oldest first, with its state at this moment."""
        with self._lock:
            return [replace(key, state=self._state(key)) for key in self._admin_keys.values()]

    def make_admin_key(self, *, name: str = "Made by hand") -> EmulatedKey:
        """Make an admin key as a person in the console does."""
        with self._lock:
            return self._issue_admin(name)

    def revoke(self, key_id: str) -> None:
        """Delete a key as a person in the console does."""
        self._change(key_id, deleted_at=self.clock())
        self._note("api_key.deleted", key_id)

    def consume(
        self,
        value: str,
        kind: str = "completions",
        *,
        at: float | None = None,
        times: int = 1,
        model: str = "gpt-emulated",
    ) -> bool:
        """A consumer's requests to a model with this value: in the usage data, and in `last_used_at`.

        `at`: seconds since 1970, where that is long ago.
        """
        with self._lock:
            key = self._key_of(value)
            if key is None or key.restriction is not None:
                return False
            now = self.clock() if at is None else at
            if self.use_is_seen:
                self._keys[key.id] = replace(key, last_used_at=max(now, key.last_used_at or now))
            self._requests += [ModelRequest(at=now, kind=kind, key_id=key.id, model=model)] * times
            return True

    def restrict(self, key_id: str, how: Restriction | None) -> None:
        """Let the key be recognised and its requests be refused; None lifts it."""
        self._change(key_id, restriction=how)

    def __enter__(self) -> Self:
        self._server = Listener(self.answer, lambda: self.clock())  # noqa: PLW0108  # a test may replace the clock
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.stop()
        self._server = None

    # The API.

    def answer(self, request: Request) -> tuple[int, Json]:
        """One request in, status and JSON out."""
        try:
            with self._lock:
                for endpoint in self._ENDPOINTS:
                    arguments = endpoint.arguments(request)
                    if arguments is not None:
                        return 200, endpoint.answer(self, request, **arguments)
            refuse(404, f"Invalid URL ({request.method} {request.path})")
        except Refusal as refusal:
            return refusal.status, {"error": {"param": None, "code": None, **refusal.error}}

    def _models(self, request: Request) -> Json:
        if self._admin_key_of(request.bearer) is not None:
            _lacking(403, "api.model.read")
        key = self._key_of(request.bearer)
        if key is None:
            # The real one shortens the key; this one repeats it, so that a client which copies messages is caught.
            refuse(401, f"Incorrect API key provided: {request.bearer}.", "invalid_api_key")
        if self.use_is_seen:
            self._keys[key.id] = replace(key, last_used_at=self.clock())
        match key.restriction:
            case "missing_scopes":
                _lacking(self.missing_scopes_status, "api.model.read")
            case "ip_not_authorized":
                refuse(401, "Your IP address is not authorized to use this key.", "ip_not_authorized")
            case "insufficient_quota":
                refuse(429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota")
        model = {"id": "gpt-emulated", "object": "model", "created": int(self._started_at), "owned_by": "openai"}
        return {"object": "list", "data": [model]}

    def _list_admin_keys(self, request: Request) -> Json:
        self._authorize(request)
        seen = [k for k in self._admin_keys.values() if self.clock() >= k.created_at + self.list_lag]
        seen = [k for k in seen if k.id != _MAIN_ADMIN_KEY or self.main_admin_key_is_listed]
        return page(request, [self._shown_admin(key) for key in seen if self._state(key) != "deleted"])

    def _create_admin_key(self, request: Request) -> Json:
        self._authorize(request)
        name, (_, life) = request.fields().get("name"), _wanted(request.fields())
        if not isinstance(name, str):
            refuse(400, "name is required.")
        key = self._issue_admin(name, life=life)
        return {**self._shown_admin(key), "value": key.secret}

    def _get_admin_key(self, request: Request, key: str) -> Json:
        self._authorize(request)
        return self._shown_admin(self._find_admin_key(key))

    def _delete_admin_key(self, request: Request, key: str) -> Json:
        self._authorize(request)
        self._admin_keys[key] = replace(self._find_admin_key(key), deleted_at=self.clock())
        return {"object": "organization.admin_api_key.deleted", "id": key, "deleted": True}

    def _list_projects(self, request: Request) -> Json:
        self._authorize(request)
        shown = not self.project_archived or request.query.get("include_archived") == "true"
        return page(request, [self._project()] if shown else [])

    def _get_project(self, request: Request, project: str) -> Json:
        self._authorize(request, project)
        return self._project()

    def _list_service_accounts(self, request: Request, project: str) -> Json:
        self._authorize(request, project)
        self._refuse_if_archived()
        return page(request, self._service_accounts.values())

    def _create_service_account(self, request: Request, project: str) -> Json:
        self._authorize(request, project)
        self._refuse_if_archived()
        fields = request.fields()
        bare = bool(fields.get("create_service_account_only"))
        identifier = f"svc_acct_{secrets.token_hex(12)}"
        account = self._add_service_account(identifier, str(fields.get("name")), "none" if bare else "member")
        key = None if bare else _issued(self._issue("Secret Key", identifier))
        return {**account, "api_key": key}

    def _get_service_account(self, request: Request, project: str, account: str) -> Json:
        self._authorize(request, project)
        return self._find_service_account(account)

    def _delete_service_account(self, request: Request, project: str, account: str) -> Json:
        self._authorize(request, project)
        self._refuse_if_archived()
        self._find_service_account(account)
        del self._service_accounts[account]
        for key in self._keys.values():
            if key.owner == account:
                self.revoke(key.id)
        return {"object": "organization.project.service_account.deleted", "id": account, "deleted": True}

    def _create_key(self, request: Request, project: str, account: str) -> Json:
        name = str(request.fields().get("name", "Secret Key"))
        self.creates.append(CreateRequest(at=self.clock(), name=name, key_id=None))
        self._authorize(request, project)
        self._refuse_if_archived()
        self._find_service_account(account)
        scopes, life = _wanted(request.fields())
        key = self._issue(name, account, scopes=scopes or (), life=life)
        self.creates[-1] = replace(self.creates[-1], key_id=key.id)
        self._note("api_key.created", key.id, request)
        return _issued(key)

    def _list_keys(self, request: Request, project: str) -> Json:
        self._authorize(request, project)
        access = request.query.get("owner_project_access", "active")  # the real default hides some keys too
        if access not in ("active", "inactive", "any"):
            refuse(400, "Invalid value for owner_project_access.")
        now = self.clock()
        keys = [
            self._shown(key)
            for key in self._keys.values()
            if key.deleted_at is None
            and now >= key.created_at + self.list_lag
            and access in ("any", "active" if key.owner_has_access else "inactive")
        ]
        return page(request, keys)

    def _get_key(self, request: Request, project: str, key: str) -> Json:
        self._authorize(request, project)
        return self._shown(self._find_key(key))

    def _update_key(self, request: Request, project: str, key: str) -> Json:
        if not self.update_allowed:
            refuse(404, f"Invalid URL ({request.method} {request.path})")
        self._authorize(request, project)
        found = self._find_key(key)
        scopes, life = _wanted(request.fields())
        if scopes is None and life is None:
            refuse(400, "At least one of scopes and expires_in_seconds is required.")
        if self._state(found) == "expired":
            refuse(400, "Expired API keys cannot be updated.")
        if scopes is not None:
            found = self._change(key, scopes=scopes)
        if life is not None:
            found = self._change(key, expires_at=self.clock() + life)
        self._note("api_key.updated", key, request)
        return self._shown(found)

    def _delete_key(self, request: Request, project: str, key: str) -> Json:
        self._authorize(request, project)
        found = self._find_key(key)
        if found.owner in self._service_accounts and not self.delete_of_service_account_keys_allowed:
            refuse(400, "The API key belongs to a service account and cannot be deleted.")
        self._change(key, deleted_at=self.clock())
        self._note("api_key.deleted", key, request)
        return {"object": "organization.project.api_key.deleted", "id": key, "deleted": True}

    def usage(self, request: Request, kind: str) -> Json:
        """Answer what the usage data of this kind says."""
        self._authorize(request)
        if not self.usage_allowed:
            _lacking(403, "api.usage.read")
        seen = [one for one in self._requests if one.kind == kind and one.at + self.usage_lag <= self.clock()]
        return usage_page(request, kind, [(one.at, one.key_id, one.model) for one in seen], self.clock())

    def costs(self, request: Request) -> Json:
        """Answer what each day has cost."""
        self._authorize(request)
        if not self.usage_allowed:
            _lacking(403, "api.usage.read")
        past = [one for one in self._requests if one.at + self.usage_lag <= self.clock()]
        seen = [(one.at, one.key_id, one.model) for one in past]
        return costs_page(request, seen, self.clock(), self.price)

    def _list_log(self, request: Request) -> Json:
        self._authorize(request)
        if not self.audit_log_kept:
            _lacking(403, "api.audit_logs.read")
        about, since = request.query.get("resource_ids[]"), int(request.query.get("effective_at[gte]", "0"))
        rows = [row for row in reversed(self._log) if row["effective_at"] >= since]
        return page(request, [row for row in rows if about in (None, row[row["type"]]["id"])])

    def _note(self, what: str, about: str, request: Request | None = None) -> None:
        """An entry of the audit log: by an admin key, or by a person in the console."""
        actor: Json = {
            "type": "session",
            "session": {"user": {"id": "user_emulated", "email": "person@example.com"}, "ip_address": "203.0.113.7"},
        }
        if request is not None:
            key = self._admin_key_of(request.bearer)
            assert key is not None
            actor = {"type": "api_key", "api_key": {"id": key.id, "type": "user", "user": {"id": "user_of_admin_key"}}}
        entry = {"id": f"audit_log-{len(self._log)}", "type": what, "effective_at": int(self.clock()), "actor": actor}
        self._log.append({**entry, what: {"id": about}})

    _ADMIN_KEYS = "/organization/admin_api_keys"
    _PROJECT = "/organization/projects/{project}"
    _ACCOUNTS = f"{_PROJECT}/service_accounts"
    _KEYS = f"{_PROJECT}/api_keys"
    _ENDPOINTS = (
        Endpoint("GET", "/models", _models),
        Endpoint("GET", _ADMIN_KEYS, _list_admin_keys),
        Endpoint("POST", _ADMIN_KEYS, _create_admin_key),
        Endpoint("GET", _ADMIN_KEYS + "/{key}", _get_admin_key),
        Endpoint("DELETE", _ADMIN_KEYS + "/{key}", _delete_admin_key),
        *map(_usage_endpoint, USAGE),
        Endpoint("GET", "/organization/costs", costs),
        Endpoint("GET", "/organization/audit_logs", _list_log),
        Endpoint("GET", "/organization/projects", _list_projects),
        Endpoint("GET", _PROJECT, _get_project),
        Endpoint("GET", _ACCOUNTS, _list_service_accounts),
        Endpoint("POST", _ACCOUNTS, _create_service_account),
        Endpoint("GET", _ACCOUNTS + "/{account}", _get_service_account),
        Endpoint("DELETE", _ACCOUNTS + "/{account}", _delete_service_account),
        Endpoint("POST", _ACCOUNTS + "/{account}/api_keys", _create_key),
        Endpoint("GET", _KEYS, _list_keys),
        Endpoint("GET", _KEYS + "/{key}", _get_key),
        Endpoint("POST", _KEYS + "/{key}", _update_key),
        Endpoint("DELETE", _KEYS + "/{key}", _delete_key),
    )

    # What the endpoints share. All of it runs under the lock.

    def _authorize(self, request: Request, project: str | None = None) -> None:
        if not request.bearer:
            refuse(401, "You didn't provide an API key.")
        if self._key_of(request.bearer) is not None:
            _lacking(403, "api.management.read")
        key = self._admin_key_of(request.bearer)
        if key is None or self.admin_key_state == "expired":
            refuse(401, f"Incorrect API key provided: {request.bearer}.", "invalid_api_key")
        self._admin_keys[key.id] = replace(key, last_used_at=self.clock())
        if self.admin_key_state == "read_only" and request.method != "GET":
            _lacking(403, "api.management.write")
        if project not in (None, self.project):
            refuse(404, f"Project {project} not found.")

    def _refuse_if_archived(self) -> None:
        if self.project_archived:
            refuse(400, "The project is archived.")

    def _project(self) -> Json:
        return {
            "id": self.project,
            "object": "organization.project",
            "name": "Emulated project",
            "created_at": int(self._started_at),
            "archived_at": int(self.clock()) if self.project_archived else None,
            "status": "archived" if self.project_archived else "active",
        }

    def _add_service_account(self, identifier: str, name: str, role: str) -> Json:
        kind = "organization.project.service_account"
        account = {"object": kind, "id": identifier, "name": name, "role": role, "created_at": int(self.clock())}
        self._service_accounts[identifier] = account
        return account

    def _find_service_account(self, identifier: str) -> Json:
        account = self._service_accounts.get(identifier)
        return account or refuse(404, f"Service account {identifier} not found.")

    def _find_key(self, key_id: str) -> EmulatedKey:
        key = self._keys.get(key_id)
        return key if key and key.deleted_at is None else refuse(404, f"API key {key_id} not found.")

    def _issue(
        self,
        name: str,
        owner: str,
        *,
        scopes: tuple[str, ...] = (),
        life: int | None = None,
        owner_has_access: bool = True,
    ) -> EmulatedKey:
        now = self.clock()
        key = EmulatedKey(
            id=f"key_{secrets.token_hex(8)}",
            name=name,
            secret=_secret("sk-svcacct-" if owner in self._service_accounts else "sk-proj-", self._mark),
            owner=owner,
            created_at=now,
            scopes=scopes,
            expires_at=None if life is None else now + life,
            owner_has_access=owner_has_access,
        )
        self._keys[key.id] = key
        return key

    def _issue_admin(
        self, name: str, *, life: int | None = None, key_id: str | None = None, secret: str | None = None
    ) -> EmulatedKey:
        now = self.clock()
        key = EmulatedKey(
            id=key_id or f"key_{secrets.token_hex(8)}",
            name=name,
            secret=secret or _secret("sk-admin-", self._mark),
            owner="user_emulated",
            created_at=now,
            expires_at=None if life is None else now + life,
        )
        self._admin_keys[key.id] = key
        return key

    def _find_admin_key(self, key_id: str) -> EmulatedKey:
        key = self._admin_keys.get(key_id)
        return key if key and key.deleted_at is None else refuse(404, f"Admin API key {key_id} not found.")

    def _admin_key_of(self, value: str) -> EmulatedKey | None:
        """The admin key that this value works as at this moment. The first one is known at once."""
        return next((k for k in self._admin_keys.values() if k.secret == value and self._works(k)), None)

    def _works(self, key: EmulatedKey) -> bool:
        if key.id == _MAIN_ADMIN_KEY and key.deleted_at is None:
            return True
        return self._state(key) == "live" or (
            key.deleted_at is not None and self.clock() < key.deleted_at + self.delete_lag
        )

    def _change(self, key_id: str, **changes: Any) -> EmulatedKey:
        with self._lock:
            self._keys[key_id] = replace(self._keys[key_id], **changes)
            return self._keys[key_id]

    def _state(self, key: EmulatedKey) -> State:
        now = self.clock()
        if key.deleted_at is not None:
            return "deleted"
        if key.expires_at is not None and now >= key.expires_at:
            return "expired"
        return "settling" if now < key.created_at + self.settle else "live"

    def _key_of(self, value: str) -> EmulatedKey | None:
        """The key that this value works as at this moment."""
        key = next((key for key in self._keys.values() if key.secret == value), None)
        if key is None or self._state(key) in ("expired", "settling"):
            return None
        return key if key.deleted_at is None or self.clock() < key.deleted_at + self.delete_lag else None

    def _shown_admin(self, key: EmulatedKey) -> Json:
        owner = {"type": "user", "object": "organization.user", "id": key.owner, "name": "A person", "role": "owner"}
        return {
            "object": "organization.admin_api_key",
            "id": key.id,
            "name": key.name,
            "redacted_value": _redacted(key.secret),
            "created_at": int(key.created_at),
            "expires_at": None if key.expires_at is None else int(key.expires_at),
            "last_used_at": None if key.last_used_at is None else int(key.last_used_at),
            "owner": {**owner, "created_at": int(self._started_at)},
        }

    def _shown(self, key: EmulatedKey) -> Json:
        account = self._service_accounts.get(key.owner)
        if account:
            owner = {"type": "service_account", "service_account": {k: account[k] for k in account if k != "object"}}
        else:
            person = {"id": key.owner, "email": "person@example.com", "name": "A person", "role": "member"}
            owner = {"type": "user", "user": {**person, "created_at": int(self._started_at)}}
        return {
            "object": "organization.project.api_key",
            "id": key.id,
            "name": key.name,
            "redacted_value": _redacted(key.secret),
            "created_at": int(key.created_at),
            "last_used_at": None if key.last_used_at is None else int(key.last_used_at),
            "expires_at": None if key.expires_at is None else int(key.expires_at),
            "owner_project_access": "active" if key.owner_has_access else "inactive",
            "owner": owner,
        }


def _lacking(status: int, scope: str) -> NoReturn:
    refuse(status, f"You have insufficient permissions for this operation. Missing scopes: {scope}.")


def _secret(prefix: str, mark: str) -> str:
    """A value in the form that secret scanners look for."""
    first, second = ("".join(secrets.choice(_ALPHABET) for _ in range(58)) for _ in range(2))
    return f"{prefix}{mark}{first[len(mark) :]}T3BlbkFJ{second}"


def _redacted(secret: str) -> str:
    return f"{secret[:8]}...{secret[-4:]}"


def _issued(key: EmulatedKey) -> Json:
    return {
        "object": "organization.project.service_account.api_key",
        "id": key.id,
        "name": key.name,
        "value": key.secret,
        "created_at": int(key.created_at),
        "expires_at": None if key.expires_at is None else int(key.expires_at),
    }


def _wanted(fields: Json) -> tuple[tuple[str, ...] | None, int | None]:
    """Scopes and life in seconds, as a request to create or update names them."""
    scopes, life = fields.get("scopes"), fields.get("expires_in_seconds")
    if scopes is not None and not (isinstance(scopes, list) and all(isinstance(scope, str) for scope in scopes)):
        refuse(400, "scopes has to be an array of strings.")
    if life is not None and not (isinstance(life, int) and 1 <= life <= _LONGEST_LIFE):
        refuse(400, "expires_in_seconds has to be between 1 and 31536000.")
    return None if scopes is None else tuple(scopes), life
