"""Anthropic's Admin API for API keys, in this process on loopback, with knobs for what the real one may do.

Shapes are those of Anthropic's published API reference. Keys are made by `make_key` alone, as a person does at the
console: the real API has no way to make or delete one. Lost answers, delays and 5xx come from a `Gate` in front of it.
"""

from __future__ import annotations

import secrets
import string
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, NoReturn, Self

from rotator.testbed.listener import Endpoint, Json, Listener, Refusal, Request

Status = Literal["active", "inactive", "archived", "expired"]

_ALPHABET = string.ascii_letters + string.digits
_LARGEST_PAGE = 1000
_DEAD: dict[int, str] = {401: "authentication_error", 404: "not_found_error"}


@dataclass(frozen=True, kw_only=True)
class EmulatedKey:
    """One key as the emulator knows it, secret included. Times are Unix seconds."""

    id: str
    name: str
    secret: str = field(repr=False)
    workspace: str
    created_at: float
    status: Status = "active"


class AnthropicEmulator:
    """One organization with two workspaces. A context manager; `url` has no path.

    `clock` gives Unix seconds. Knobs are plain attributes and may be turned at any time.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, mark: str = "") -> None:
        self.clock = clock
        self._mark = mark  # part of every secret, so that a test can search for all of them
        self.workspace = "wrkspc_emulated"
        self.other_workspace = "wrkspc_other"
        self.admin_key = _secret("sk-ant-admin01-", mark)

        self.workspace_archived = False
        self.active_keys_at_most: int | None = None  # in the workspace; the real figure is not published
        self.dead_key_status: Literal[401, 404] = 401  # 404 has been observed for disabled and unknown keys
        self.forbidden = False  # GET /v1/models answers 403 to every key
        self.settle = 0.0  # seconds during which a new key is refused
        self.idempotent_archive = True  # False: archiving an archived key is refused

        self._keys: dict[str, EmulatedKey] = {}
        self._lock = threading.RLock()
        self._server: Listener | None = None
        self._started_at = clock()

    # What a test sees and does behind the API's back.

    @property
    def url(self) -> str:
        """The base address, `http://127.0.0.1:<port>`."""
        assert self._server is not None, "the emulator is not started"
        return self._server.url.removesuffix("/v1")

    def keys(self) -> Sequence[EmulatedKey]:
        """Every key that was ever made, oldest first."""
        with self._lock:
            return list(self._keys.values())

    def accepts(self, value: str) -> bool:
        """Whether a consumer's request with this value would get a 200 now. Leaves no trace."""
        with self._lock:
            return self._works(value)

    def make_key(self, *, name: str = "Made by hand", workspace: str | None = None) -> EmulatedKey:
        """Make a key as a person at the console does; the only way there is."""
        with self._lock:
            key = EmulatedKey(
                id=f"apikey_{secrets.token_hex(12)}",
                name=name,
                secret=_secret("sk-ant-api03-", self._mark),
                workspace=workspace or self.workspace,
                created_at=self.clock(),
            )
            self._keys[key.id] = key
            return key

    def set_status(self, key_id: str, status: Status) -> None:
        """Change a key as a person at the console, or the calendar, does."""
        with self._lock:
            self._keys[key_id] = replace(self._keys[key_id], status=status)

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
            _refuse(404, "not_found_error", "Not found")
        except Refusal as refusal:
            return refusal.status, {"type": "error", "error": refusal.error}

    def _models(self, request: Request) -> Json:
        if self.forbidden:
            _refuse(403, "permission_error", "Your API key does not have permission to use the specified resource.")
        if not self._works(request.bearer):
            # This one repeats the key, so that a client which copies messages is caught.
            _refuse(self.dead_key_status, _DEAD[self.dead_key_status], f"invalid x-api-key {request.bearer}")
        made = _stamp(self._started_at)
        model = {"type": "model", "id": "claude-emulated", "display_name": "Emulated", "created_at": made}
        return {"data": [model], "has_more": False, "first_id": model["id"], "last_id": model["id"]}

    def _get_workspace(self, request: Request, workspace: str) -> Json:
        self._authorize(request)
        if workspace not in (self.workspace, self.other_workspace):
            _refuse(404, "not_found_error", "Workspace not found.")
        archived = self.workspace_archived and workspace == self.workspace
        return {
            "type": "workspace",
            "id": workspace,
            "name": "Emulated workspace",
            "created_at": _stamp(self._started_at),
            "archived_at": _stamp(self.clock()) if archived else None,
            "display_color": "#6C5BB9",
        }

    def _list_keys(self, request: Request) -> Json:
        self._authorize(request)
        wanted, status = request.query.get("workspace_id"), request.query.get("status")
        keys = [
            self._shown(key)
            for key in self._keys.values()
            if wanted in (None, key.workspace) and status in (None, key.status)
        ]
        return _page(request, keys)

    def _get_key(self, request: Request, key: str) -> Json:
        self._authorize(request)
        return self._shown(self._find(key))

    def _update_key(self, request: Request, key: str) -> Json:
        self._authorize(request)
        found = self._find(key)
        fields = request.fields()
        status = fields.get("status", found.status)
        if status not in ("active", "inactive", "archived"):
            _refuse(400, "invalid_request_error", "status: has to be active, inactive or archived.")
        if found.status == "archived" and (status != "archived" or not self.idempotent_archive):
            _refuse(400, "invalid_request_error", "Archived API keys cannot be updated.")
        active = sum(1 for k in self._keys.values() if k.status == "active" and k.workspace == found.workspace)
        most = self.active_keys_at_most
        if status == "active" and found.status != "active" and most is not None and active >= most:
            details = {"error_code": "workspace_api_key_limit_exceeded"}
            _refuse(400, "invalid_request_error", "The workspace has reached its limit of active API keys.", details)
        self._keys[key] = replace(found, status=status, name=fields.get("name") or found.name)
        return self._shown(self._keys[key])

    _KEYS = "/organizations/api_keys"
    _ENDPOINTS = (
        Endpoint("GET", "/models", _models),
        Endpoint("GET", "/organizations/workspaces/{workspace}", _get_workspace),
        Endpoint("GET", _KEYS, _list_keys),
        Endpoint("GET", _KEYS + "/{key}", _get_key),
        Endpoint("POST", _KEYS + "/{key}", _update_key),
    )

    # What the endpoints share. All of it runs under the lock.

    def _authorize(self, request: Request) -> None:
        if request.bearer != self.admin_key:
            _refuse(401, "authentication_error", f"invalid x-api-key {request.bearer}")

    def _find(self, key_id: str) -> EmulatedKey:
        return self._keys.get(key_id) or _refuse(404, "not_found_error", "API key not found.")

    def _works(self, value: str) -> bool:
        key = next((key for key in self._keys.values() if key.secret == value), None)
        return key is not None and key.status == "active" and self.clock() >= key.created_at + self.settle

    def _shown(self, key: EmulatedKey) -> Json:
        return {
            "type": "api_key",
            "id": key.id,
            "name": key.name,
            "status": key.status,
            "partial_key_hint": f"{key.secret[:16]}...{key.secret[-4:]}",
            "created_at": _stamp(key.created_at),
            "created_by": {"type": "user", "id": "user_emulated"},
            "expires_at": None,
            "principal": None,
            "scope": {"type": "workspace", "workspace_id": key.workspace},
        }


def _refuse(status: int, kind: str, message: str, details: dict[str, Any] | None = None) -> NoReturn:
    raise Refusal(status, {"type": kind, "message": message, "details": details})


def _page(request: Request, rows: list[Json]) -> Json:
    """The part of a list that `limit` and `after_id` of the request ask for."""
    limit = request.query.get("limit", "20")
    if not limit.isdecimal() or not 1 <= int(limit) <= _LARGEST_PAGE:
        _refuse(400, "invalid_request_error", "limit: has to be between 1 and 1000.")
    after = request.query.get("after_id")
    if after is not None:
        place = next((n for n, row in enumerate(rows, 1) if row["id"] == after), None)
        rows = _refuse(400, "invalid_request_error", "after_id: no such object.") if place is None else rows[place:]
    shown = rows[: int(limit)]
    return {
        "data": shown,
        "has_more": len(rows) > len(shown),
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def _secret(prefix: str, mark: str) -> str:
    """A value in the form that secret scanners look for: 93 characters, then AA."""
    drawn = "".join(secrets.choice(_ALPHABET) for _ in range(93))
    return f"{prefix}{drawn[:3]}{mark}{drawn[3 + len(mark) :]}AA"
