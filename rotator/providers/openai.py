"""OpenAI: the API keys of one service account of one project, by the organization's administration API.

See `access.openai` for where facts are from, and for the admin key that it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar

from rotator import settings
from rotator.access.http import HEADER_SAFE, Json, fits
from rotator.access.openai import (
    ADMIN_KEYS,
    ADMIN_KEYS_PATH,
    MOST_PAGES,
    UNREADABLE,
    YEAR,
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
from rotator.domain.errors import (
    AccessDenied,
    LostAnswer,
    Refused,
    TemporaryError,
    Unavailable,
    WrongAccount,
)
from rotator.domain.permissions import Grant, Permissions
from rotator.domain.secret import Material, Secret
from rotator.domain.usage import DAY, HOUR, MILLION, Change, Sample, begin
from rotator.ports.ours import Own, Permission
from rotator.ports.provider import AllowList, Answer, Capabilities, IssuedKey, Key, Listed, Metered, Verdict

T = TypeVar("T")

_METERED = ("completions", "embeddings", "moderations", "images", "audio_speeches", "audio_transcriptions")
"""What OpenAI accounts for by key. Its other usage belongs to such a request, or is told for a whole project only."""
_COSTS = "costs"
_WIDTHS = ((timedelta(days=1), "1m", 1440), (timedelta(days=7), "1h", 168), (timedelta(days=3650), "1d", 31))
"""For a span of up to so long: the width of a bucket, and the most of them in one answer."""
_PROJECT_KEYS = "https://platform.openai.com/api-keys"

_CAPABILITIES = Capabilities(
    origin="issued",
    living=None,
    labels=True,
    can_disable=False,
    tells_last_use=True,
    can_tell=True,
    settle=timedelta(seconds=60),  # OpenAI names no figure; policy.settle overrides it
    default_fields={"OPENAI_API_KEY": "{secret}"},
    material=("secret",),
    permissions="declared",
    requests={"account": 2},
    allow_list=AllowList(
        at="https://platform.openai.com/settings/organization/security (or the project's own)",
        most=50,
        acts_within=timedelta(minutes=15),
    ),
)


class KeyOptions(settings.Settings):
    """Whose keys, and what new ones may do and for how long. Empty `scopes` give all that the owner may do.

    `role`: the most that the service account may be in its project; nothing is created where it is more.
    """

    project: Identifier
    service_account: Identifier
    role: Literal["member", "owner"] | None = None
    scopes: tuple[str, ...] | None = None
    expires_in: Life | None = None


class OpenAISettings(AccountSettings):
    """What the other provider of the same API does not read as well."""

    audit_log: bool = False  # read it, where the organization keeps one and the admin key may


class OpenAI:
    """One organization. The HTTP client is made at the first request and shared by all threads."""

    Settings: ClassVar[type[Any]] = OpenAISettings
    Options: ClassVar[type[Any]] = KeyOptions

    def __init__(self, settings: OpenAISettings, timeout: timedelta) -> None:
        self._api = Administration(settings, timeout.total_seconds())
        self._reads_log = settings.audit_log

    def bind(self, options: KeyOptions) -> ServiceAccountKeys:
        """The keys of one service account."""
        return ServiceAccountKeys(self._api, options, reads_log=self._reads_log)

    def own_credentials(self) -> Sequence[Own]:
        """The admin key: the one whose redacted value fits, where exactly one does."""
        return [self._api.own_key()]

    def inventory(self) -> Iterator[Listed]:
        """The keys of every project that is not archived, then the organization's admin keys.

        Sources: `list-projects`, `list-project-api-keys` and `admin-api-keys-list` of the OpenAPI document.
        """
        for project in self._api.pages("/organization/projects", "list projects", _project):
            path = f"/organization/projects/{project['id']}/api_keys"
            query = {"owner_project_access": "any"}  # left out, some enabled keys are hidden
            yield from self._api.pages(path, "list keys", partial(_listed, project), query)
        yield from self._api.pages(ADMIN_KEYS_PATH, "list admin keys", _admin_key)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._api.close()


class ServiceAccountKeys:
    """A provider (`ports.provider.Provider`, `Issues`, `Permits`, `Meters`, `Samples` and `Logs`).

    `keys` lists every key of the *project*, with `owner` `service_account:<id>` or `user:<id>`: a value that is to
    be adopted may belong to a person, and those keys can be deleted, though never created, by the API.
    """

    def __init__(self, api: Administration, options: KeyOptions, *, reads_log: bool) -> None:
        self._api = api
        self._options = options
        self._reads_log = reads_log
        self._project = f"/organization/projects/{options.project}"
        self._account = f"{self._project}/service_accounts/{options.service_account}"

    @property
    def capabilities(self) -> Capabilities:
        """Many keys, with labels; none can be disabled. A new key is taken to be slow to be known for a minute."""
        return replace(_CAPABILITIES, life=self._options.expires_in)

    def account(self) -> str:
        """`openai:<project id>`. WrongAccount where project or service account is not there, Refused if archived."""
        project = self._principal(self._project, self._options.project, "project")
        if project.get("status") not in (None, "active") or project.get("archived_at"):
            message = f"the OpenAI project {self._options.project} is archived"
            remedy = "name another project in `options`, or restore this one in the console"
            raise Refused(message, reason="project_archived", remedy=remedy)
        owner = self._principal(self._account, self._options.service_account, "service account")
        if self._options.role == "member" and owner.get("role") == "owner":
            message = f"the service account {self._options.service_account} is an owner of its project"
            remedy = "make it a member in the console, or allow `options.role: owner`"
            raise Refused(message, reason="role_too_strong", remedy=remedy)
        return f"openai:{self._options.project}"

    def our_permissions(self) -> Sequence[Permission]:
        """Whether the admin key may write and read usage, by requests that change nothing. Its scopes nobody tells."""
        # A key that cannot exist: who may not write is told so, who may is told that it is not there.
        nobody = f"{self._project}/api_keys/key_keyturn_check_no_such_key"
        year = {"expires_in_seconds": int(YEAR.total_seconds())}
        writes = self._may(lambda: self._api.ask("POST", nobody, "look at our permissions", body=year))
        usage = {"start_time": str(int(datetime.now(UTC).timestamp()) - 60), "bucket_width": "1m", "limit": "1"}
        path = "/organization/usage/completions"
        reads = self._may(lambda: self._api.ask("GET", path, "look at our permissions", query=usage))
        remedy = f"give the admin key Organization Administration = Write (api.management.write) at {ADMIN_KEYS}"
        seen = "let the admin key read usage, or go by the last use alone"
        whole = "an admin key holds for the whole organization: no smaller one exists, and OpenAI tells no scopes of it"
        return [
            Permission(what="manage keys", state="held" if writes else "missing", remedy=remedy),
            Permission(what="read usage, for evidence of use", state="held" if reads else "optional", remedy=seen),
            Permission(what=whole, state="unknown", remedy="keep production keys in a project of their own"),
        ]

    @staticmethod
    def _may(ask: Callable[[], object]) -> bool:
        """Whether a request is answered by anything but a refusal of our right to it."""
        try:
            ask()
        except NotThere:
            return True
        except AccessDenied as denied:
            if denied.reason == "admin_key_rejected":
                raise
            return False
        return True

    def permissions(self) -> Permissions:
        """The scopes that a new key is asked for: what an older one has, OpenAI does not tell."""
        scopes = self._options.scopes
        return Permissions(grants=frozenset(Grant(scope) for scope in (("*",) if scopes is None else scopes)))

    def create(self, label: str) -> IssuedKey:
        """Make a key named `label`. LostAnswer unless it is certain that no key was made."""
        wanted: dict[str, Any] = {"name": label}
        if self._options.scopes is not None:
            wanted["scopes"] = list(self._options.scopes)
        if self._options.expires_in is not None:
            wanted["expires_in_seconds"] = int(self._options.expires_in.total_seconds())
        try:
            told = self._api.ask("POST", f"{self._account}/api_keys", "create a key", body=wanted).fields
        except NotThere:
            absent = self._absent("service account", self._options.service_account)
            raise absent from None
        try:
            key_id, secret = text(told["id"]), Secret(text(told["value"]))
            issued_at, expires_at = moment(told["created_at"]), moment(told.get("expires_at"))
        except UNREADABLE:
            message = "OpenAI's answer to creating a key is not what its documentation says"
            raise LostAnswer(message) from None
        return IssuedKey(
            key_id=key_id, material=Material({"secret": secret}), issued_at=issued_at, expires_at=expires_at
        )

    def authenticate(self, material: Material) -> Answer:
        """Ask `GET /models` with the key itself.

        Accepted: 200. Accepted, but limited: a missing scope, a network outside the allowlist, a used-up quota; to
        say these, OpenAI must have known the key. Refused: any other 401. Inconclusive: everything else, such as
        429 `rate_limit_exceeded`, and 403 for an unsupported country, which depends on where we are, not on the key.
        """
        key = material["secret"]
        if not HEADER_SAFE.fullmatch(key.reveal()):
            return Answer(verdict=Verdict.REFUSED, why="no API key has such characters, or it is empty")
        try:
            return verdict_of(self._api.send("GET", "/models", "check a key", key=key))
        except TemporaryError as problem:
            return Answer(verdict=Verdict.INCONCLUSIVE, why=problem.message, retry_after=problem.retry_after)

    def keys(self) -> Sequence[Key]:
        """Every key of the project. One that has expired is listed as not enabled."""
        return [key for key, _ in self._listed()]

    def identify(self, material: Material) -> str | None:
        """The one key whose redacted value fits; None where none or several do."""
        value = material["secret"].reveal()
        fitting = [key.id for key, redacted in self._listed() if fits(value, redacted)]
        return fitting[0] if len(fitting) == 1 else None

    def delete(self, key_id: str) -> None:
        """Delete the key; where OpenAI does not delete keys of service accounts, let it expire in one second.

        "Not found" is success: the caller has confirmed `account()`. The service account itself is never deleted,
        since all its keys would go. Refused with `delete_refused` where a person has to do it.
        """
        path = f"{self._project}/api_keys/{segment(key_id)}"
        try:
            if self._api.ask("DELETE", path, "delete a key").fields.get("deleted") is not True:
                message = "OpenAI's answer to deleting a key does not say that it is deleted"
                raise LostAnswer(message)
        except NotThere:
            return
        except Refused:
            self._let_expire(key_id, path)

    def made_by_hand(self) -> Sequence[str]:
        """By the administration API; the answer's `value` is the key, and is shown once."""
        return self._api.by_hand("POST", f"{self._account}/api_keys", {"name": "made by hand"})

    def ended_by_hand(self, key_id: str) -> Sequence[str]:
        """By the administration API."""
        return self._api.by_hand("DELETE", f"{self._project}/api_keys/{segment(key_id)}")

    def metered(self, key_id: str, since: datetime) -> Metered | None:
        """The latest bucket of the organization's usage data in which the key made requests. Some minutes behind.

        `GET /models` is no such request. Needs an admin key that may read usage.
        """
        span = datetime.now(UTC) - since
        width, most = next((width, most) for longest, width, most in _WIDTHS if span <= longest or width == "1d")
        found = [
            Metered(at=min(end, datetime.now(UTC)), what=_words(count, kind))
            for kind in _METERED
            for _, end, count in self._buckets(f"usage/{kind}", key_id, since, width, most, _requests)
            if count
        ]
        return max(found, key=lambda use: use.at, default=None)

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds of requests, and what all of them cost."""
        return (*_METERED, _COSTS)

    def samples(self, kind: str, key_id: str, since: datetime) -> Sequence[Sample]:
        """Requests of each hour by model, or what each day cost. Some minutes behind.

        Needs an admin key that may read usage.
        """
        if kind == _COSTS:
            return [
                Sample(key_id=key_id, at=start, width=DAY, cost=cost, currency=currency)
                for start, _, (cost, currency) in self._buckets(_COSTS, key_id, begin(since, DAY), "1d", 180, _cost)
            ]
        return [
            Sample(key_id=key_id, at=start, width=HOUR, service=kind, model=model, requests=count)
            for start, _, (count, model) in self._buckets(f"usage/{kind}", key_id, since, "1h", 168, _of_model, "model")
        ]

    def changes(self, key_ids: Sequence[str], since: datetime) -> Sequence[Change]:
        """What the organization's audit log has of these keys and their service account, by anybody else.

        We are whoever made one of these keys: the log tells no other name of ours.
        """
        if not self._reads_log:
            return ()
        of_keys = [entry for key_id in key_ids for entry in self._logged({"resource_ids[]": key_id})]
        us = {by for change, by in of_keys if change.what == "api_key.created"}
        lately = {"effective_at[gte]": str(int(since.timestamp())), "resource_ids[]": self._options.service_account}
        found = [*of_keys, *self._logged(lately)]
        return [change for change, by in found if by not in us and change.at >= since]

    def _logged(self, query: Mapping[str, str]) -> list[tuple[Change, str]]:
        """Entries of the audit log, each with the id of who did it."""
        return list(self._api.pages("/organization/audit_logs", "read the audit log", _change, query))

    def _buckets(
        self, path: str, key_id: str, since: datetime, width: str, most: int, read: Callable[[Json], T], *groups: str
    ) -> Iterator[tuple[datetime, datetime, T]]:
        """Begin, end and content of the buckets in which the key is; other keys' are passed over."""
        query: dict[str, str | list[str]] = {
            "start_time": str(int(since.timestamp())),
            "bucket_width": width,
            "limit": str(most),
            "api_key_ids[]": key_id,  # with brackets, as OpenAI's own libraries send lists
            "group_by[]": ["api_key_id", *groups],
        }
        for _ in range(MOST_PAGES):
            page = self._api.ask("GET", f"/organization/{path}", "read the usage of a key", query=query).fields
            try:
                for bucket in page["data"]:
                    start, end = moment(bucket["start_time"]), moment(bucket["end_time"])
                    for result in bucket["results"]:
                        if start is not None and end is not None and result.get("api_key_id") == key_id:
                            yield start, end, read(result)
                after = text(page["next_page"]) if page["has_more"] else None
            except UNREADABLE:
                message = "OpenAI's usage data is not what its documentation says"
                raise Refused(message) from None
            if after is None:
                return
            query["page"] = after

    def _let_expire(self, key_id: str, path: str) -> None:
        try:
            found = self._api.ask("GET", path, "look at a key")
        except NotThere:
            return
        key, _ = _key(found.fields, found.at)
        if not key.enabled:
            return  # an earlier call of ours did it: expired keys cannot be updated
        try:
            self._api.ask("POST", path, "let a key expire", body={"expires_in_seconds": 1})
        except Refused:
            message = f"OpenAI lets us neither delete nor expire the key {key_id} of project {self._options.project}"
            remedy = f"delete the key {key.label!r} ({key_id}) of project {self._options.project} at {_PROJECT_KEYS}"
            raise Refused(message, reason="delete_refused", remedy=remedy) from None

    def _principal(self, path: str, name: str, kind: str) -> Json:
        try:
            found = self._api.ask("GET", path, f"look at the {kind}").fields
        except NotThere:
            raise self._absent(kind, name) from None
        if found.get("id") != name:
            raise self._absent(kind, name)
        return found

    def _absent(self, kind: str, name: str) -> WrongAccount:
        message = f"the admin key's organization has no {kind} {name}, or not in project {self._options.project}"
        remedy = "compare `options.project` and `options.service_account` with the console, and whose admin key it is"
        return WrongAccount(message, remedy=remedy)

    def _listed(self) -> Iterator[tuple[Key, str]]:
        """Every key of the project with its redacted value, page by page."""
        query = {"owner_project_access": "any"}  # left out, some enabled keys are hidden
        try:
            yield from self._api.pages(f"{self._project}/api_keys", "list keys", _key, query)
        except NotThere:
            absent = self._absent("project", self._options.project)
            raise absent from None


def _change(row: Json, _at: datetime) -> tuple[Change, str]:
    """An entry of the audit log, and the id of who did it."""
    what, actor = text(row["type"]), row.get("actor") or {}
    session, key = actor.get("session") or {}, actor.get("api_key") or {}
    person = session.get("user") or key.get("user") or {}
    by = key.get("id") or person.get("id") or (key.get("service_account") or {}).get("id") or ""
    words = person.get("email") or (f"the API key {by}" if key else by) or "somebody"
    at = moment(row["effective_at"])
    if at is None:
        raise ValueError
    about = str((row.get(what) or {}).get("id", ""))
    return Change(
        id=text(row["id"]), at=at, what=what, about=about, by=words, address=session.get("ip_address") or ""
    ), by


def _of_model(result: Json) -> tuple[int, str]:
    return _requests(result), result.get("model") or ""


def _requests(result: Json) -> int:
    return int(result["num_model_requests"])


def _cost(result: Json) -> tuple[int, str]:
    """In millionths of the currency."""
    amount = result["amount"]
    return round(Decimal(str(amount["value"])) * MILLION), text(amount["currency"])


def _words(count: int, kind: str) -> str:
    return f"{count} request{'s' if count > 1 else ''} for {kind.replace('_', ' ')}"


def _key(row: Json, at: datetime) -> tuple[Key, str]:
    """A key and its redacted value."""
    try:
        expires_at = moment(row.get("expires_at"))
        key = Key(
            id=text(row["id"]),
            label=row["name"],
            created_at=moment(row["created_at"]),
            expires_at=expires_at,
            enabled=expires_at is None or expires_at > at,
            last_used_at=moment(row["last_used_at"]),
            owner=_owner(row["owner"]),
        )
        return key, text(row["redacted_value"])
    except UNREADABLE:
        message = "what OpenAI says about a key is not what its documentation says"
        raise Unavailable(message) from None


def _project(row: Json, _at: datetime) -> Json:
    return {"id": segment(text(row["id"])), "name": row.get("name") or row["id"]}


def _listed(project: Json, row: Json, at: datetime) -> Listed:
    """A key of a project, with whose it is. Keys of people are not made by the API, so nothing rotates them."""
    key, _ = _key(row, at)
    kind = row["owner"].get("type")
    owner = row["owner"].get(kind) or {}
    name = owner.get("email") or owner.get("name") or owner.get("id") or "somebody"
    options = {"project": project["id"], "service_account": text(owner["id"])} if kind == "service_account" else None
    holder = f"{str(kind).replace('_', ' ')} {name} of project {project['name']}"
    return Listed(key=key, account=f"openai:{project['id']}", holder=holder, options=options)


def _admin_key(row: Json, at: datetime) -> Listed:
    owner = row.get("owner") or {}
    name = owner.get("email") or owner.get("name") or owner.get("id") or "somebody"
    return Listed(key=admin_key(row, at)[0], account="openai", holder=f"admin key of {name}")


def _owner(owner: Json) -> str | None:
    kind = owner.get("type")
    return f"{kind}:{owner[kind]['id']}" if kind in ("service_account", "user") else None
