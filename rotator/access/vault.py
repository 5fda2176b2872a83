"""The connection to one Vault or OpenBao server: our token, one request at a time, and what its answers mean.

Statuses and texts of answers are those of Vault 1.x and OpenBao 2.x; texts are looked at to tell cases apart and
never repeated.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from rotator.access.http import Http, ProxyAddress, Reply
from rotator.domain.errors import (
    AccessDenied,
    LostAnswer,
    PermanentError,
    RateLimited,
    Refused,
    RotatorError,
    SetupError,
    Unavailable,
)
from rotator.domain.secret import Secret
from rotator.ports.ours import Own
from rotator.settings import FilePath, SecretAt, SecretReference, Settings

if TYPE_CHECKING:
    import hvac

_NEARLY_OVER = 0.9  # of a token's life: then we log in again
_PORTS = {"http": 80, "https": 443}


def _address(text: str) -> str:
    """Lower case, with the port, without a slash at the end: one server has one spelling."""
    parts = urlsplit(text)
    host = parts.hostname
    if parts.scheme not in _PORTS or not host or "@" in parts.netloc or parts.query or parts.fragment:
        message = "write https://HOST:PORT"
        raise ValueError(message)
    if parts.scheme == "http" and not _is_loopback(host):
        message = "http would send secrets in the clear; write https:// (http only for this machine itself)"
        raise ValueError(message)
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}:{parts.port or _PORTS[parts.scheme]}{parts.path.rstrip('/')}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def segments(text: str) -> str:
    """Check a path of Vault's; one slash at either end is dropped. Raises ValueError with the reason."""
    path = text.removeprefix("/").removesuffix("/")
    if not path.isprintable() or path != path.strip() or any(part in ("", ".", "..") for part in path.split("/")):
        message = f"{text!r} is not a path; write one such as web/openai"
        raise ValueError(message)
    return path


Segments = Annotated[str, AfterValidator(segments)]


class TokenAuth(Settings):
    """A token that somebody else renews; it is read anew for each request."""

    method: Literal["token"]
    token: SecretAt


class AppRoleAuth(Settings):
    """Log in with a role; again when the token is nearly over or is refused."""

    method: Literal["approle"]
    role_id: str
    secret_id: SecretAt
    mount: Segments = "approle"


class KubernetesAuth(Settings):
    """Log in with the token that Kubernetes projects into our pod; again when Vault's own is nearly over or refused."""

    method: Literal["kubernetes"]
    role: str
    token: SecretAt = SecretReference("file:/var/run/secrets/tokens/vault")
    mount: Segments = "kubernetes"


class ServerSettings(Settings):
    """How to reach one server and who we are there."""

    address: Annotated[str, AfterValidator(_address)]
    namespace: Segments | None = None
    ca_file: FilePath | None = None
    proxy: ProxyAddress | None = None
    auth: Annotated[TokenAuth | AppRoleAuth | KubernetesAuth, Field(discriminator="method")]


@dataclass(frozen=True, repr=False)
class Answer:
    """What the server said. `body` is None where it was no JSON object. Not shown: it may hold secrets."""

    status: int
    body: Mapping[str, Any] | None
    retry_after: float | None  # seconds

    @property
    def data(self) -> Mapping[str, Any]:
        """The object under `data`; empty where there is none."""
        data = (self.body or {}).get("data")
        return data if isinstance(data, dict) else {}

    def says(self, text: str) -> bool:
        """Whether one of the server's error messages contains this text."""
        errors = (self.body or {}).get("errors")
        return isinstance(errors, list) and any(text in str(error) for error in errors)


Request = Callable[["hvac.Client"], Any]


class Server:
    """One server and our token for it. Opens nothing until it is asked; may be asked from several threads."""

    def __init__(self, settings: ServerSettings, timeout: timedelta) -> None:
        self.address = settings.address
        self._settings = settings
        self._http = Http(settings.address, settings.ca_file, timeout.total_seconds(), proxy=settings.proxy)
        auth = settings.auth
        self._token: _Token = _GivenToken(auth.token) if isinstance(auth, TokenAuth) else _LoginToken(auth, self)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        self._http.close()

    def ask(self, path: str, request: Request, *, changes: bool = False) -> Answer:
        """Send one request; return an answer of 200, 204, 400 or 404, and raise for all others.

        `path` is the API path that messages and policies name. A refused token that we log in for is replaced, once.
        Raises LostAnswer only where the request `changes` something.
        """
        token = self._token.current()
        answer = self.send(request, token, changes=changes)
        if answer.status == HTTPStatus.FORBIDDEN and self._token.replaces(token):
            token = self._token.current()
            answer = self.send(request, token, changes=changes)
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise self._denial(path, token)
        if problem := self.problem(answer, path, changes=changes):
            raise problem
        return answer

    def own_token(self) -> Own:
        """Our token, by `auth/token/lookup-self`: when it was made, when it ends, its policies."""
        path = "auth/token/lookup-self"
        told = self.ask(path, lambda client: client.auth.token.lookup_self()).data
        made, ends = told.get("creation_time"), told.get("expire_time")
        try:
            since = datetime.fromtimestamp(made, UTC) if made else None
            until = datetime.fromisoformat(ends).astimezone(UTC) if ends else None
        except (TypeError, ValueError, OverflowError, OSError):
            since = until = None
        may = f"the policies {', '.join(map(str, told.get('policies') or ()))}"
        if isinstance(self._settings.auth, AppRoleAuth):
            return Own(what="secret id", may=may)  # of which the server tells nothing to who logs in with it
        if isinstance(self._settings.auth, KubernetesAuth):
            return Own(what="service account", may=may)  # whose token the cluster makes anew by itself
        return Own(what="token", key_id=told.get("accessor"), since=since, expires_at=until, may=may)

    def by_hand(self) -> list[str]:
        """Lines of a shell that lead the server's own tool here. `vault` and `bao` take the same ones."""
        namespace = self._settings.namespace
        found = [f"export VAULT_ADDR={shlex.quote(self.address)}  # then `vault login`, unless you are"]
        return [*found, *([f"export VAULT_NAMESPACE={shlex.quote(namespace)}"] if namespace else [])]

    def own_secret_id(self) -> Secret | None:
        """The secret id that stands now where we read ours; what is asked from here on, a login with it asks.

        None where we do not log in with one.
        """
        auth = self._settings.auth
        if not isinstance(auth, AppRoleAuth) or not isinstance(self._token, _LoginToken):
            return None
        self._token.log_in_anew_unless(now := _read(auth.secret_id))
        return now

    def send(self, request: Request, token: Secret | None, *, changes: bool = False) -> Answer:
        """Send one request with this token, or with none; raise only where no whole answer came."""
        import hvac
        from hvac.adapters import RawAdapter

        ca_file = self._settings.ca_file
        if ca_file is not None and not ca_file.is_file():
            message = f"there is no CA file {ca_file}"
            raise PermanentError(message, reason="no_ca_file", remedy="correct ca_file")
        client = hvac.Client(  # type: ignore[no-untyped-call]
            self.address,
            token=token.reveal() if token else "",  # None would make hvac look around on this machine
            session=_Session(self._http, self.address, changes=changes),
            adapter=RawAdapter,
            namespace=self._settings.namespace,
            ignore_exceptions=True,
        )
        reply = request(client).reply
        wait = reply.headers.get("Retry-After", "")
        whole = reply.fields if reply.fields or reply.body.strip() == b"{}" else None
        return Answer(reply.status, whole, float(wait) if wait.isdecimal() else None)

    def problem(self, answer: Answer, path: str, *, changes: bool) -> RotatorError | None:
        """Say what an answer means that is the same for every request; None: the caller knows."""
        status, wait = answer.status, answer.retry_after
        message = f"{self.address} answered {status} to {path}"
        problem: RotatorError | None = None
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            problem = RateLimited(message, retry_after=wait)
        elif status == HTTPStatus.SERVICE_UNAVAILABLE and answer.says("sealed"):
            problem = Unavailable(f"{self.address} is sealed", reason="vault_sealed", remedy="unseal it")
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            problem = (LostAnswer if changes else Unavailable)(message, retry_after=wait)
        elif status == HTTPStatus.PRECONDITION_FAILED or answer.says("Upgrading from non-versioned"):
            problem = Unavailable(message, retry_after=wait)  # a standby that lags behind; a mount at its upgrade
        elif HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            remedy = "name the active node, or a balancer in front; redirects are not followed"
            problem = Unavailable(message, reason="redirected", remedy=remedy)
        elif status == HTTPStatus.NOT_FOUND and answer.says("no handler for route"):
            remedy = "enable it, or correct mount and namespace"
            problem = PermanentError(f"{message}: nothing is mounted", reason="no_such_mount", remedy=remedy)
        elif status not in (HTTPStatus.OK, HTTPStatus.NO_CONTENT, HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
            problem = Refused(message, remedy="look into the server's log")
        return problem

    def _denial(self, path: str, token: Secret) -> AccessDenied:
        """Tell a token that is refused from one that lacks a permission."""
        itself = self.send(lambda client: client.auth.token.lookup_self(), token)
        if itself.status == HTTPStatus.OK:
            return missing_permission(path, f"our token may not do this at {path} on {self.address}")
        message = f"{self.address} does not accept our token, or it may not even look itself up"
        return AccessDenied(message, reason="token_rejected", remedy=self._token.remedy)


class _Session:
    """What hvac sends with, instead of a session of requests: our one way out, with its limits."""

    verify = cert = proxies = None

    def __init__(self, http: Http, address: str, *, changes: bool) -> None:
        self._http = http
        self._address = address
        self._changes = changes

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], json: Any = None, params: Any = None, **_: Any
    ) -> _Response:
        """Send one request. What else hvac gives are limits and authorities, which are ours already."""
        path = url.removeprefix(self._address)
        reply = self._http.send(
            method.upper(), path, "use it", headers=headers, query=params, body=json, changes=self._changes
        )
        return _Response(reply)


@dataclass(frozen=True, repr=False)
class _Response:
    """What hvac looks at before it hands it back."""

    reply: Reply

    @property
    def ok(self) -> bool:
        """Whether it is a 2xx."""
        return self.reply.fine

    @property
    def status_code(self) -> int:
        """As a number."""
        return self.reply.status


def missing_permission(path: str, message: str, *needed: str) -> AccessDenied:
    """Our token lacks a capability at this API path; it needs these, or those that every place needs."""
    listed = ", ".join(f'"{capability}"' for capability in needed or ("create", "read", "update"))
    remedy = f'give it the policy: path "{path}" {{ capabilities = [{listed}] }}'
    return AccessDenied(message, reason="missing_permission", remedy=remedy)


def _read(reference: SecretReference) -> Secret:
    """Read our own credential: a problem of this server, not of the whole service."""
    try:
        return reference.read()
    except SetupError as problem:
        raise AccessDenied(problem.message, reason="no_credential", remedy=problem.remedy) from None


class _Token(Protocol):
    """Where our token comes from."""

    remedy: str  # where it is refused

    def current(self) -> Secret:
        """The token to send now."""
        ...

    def replaces(self, refused: Secret, /) -> bool:
        """Whether `current` will give another one than this."""
        ...


class _GivenToken:
    """A token that somebody else keeps valid."""

    def __init__(self, reference: SecretReference) -> None:
        self._reference = reference
        self.remedy = f"put a valid token at {reference.text}; `default` among its policies lets it look itself up"

    def current(self) -> Secret:
        return _read(self._reference)

    def replaces(self, _refused: Secret, /) -> bool:
        return False


class _LoginToken:
    """A token that we log in for."""

    def __init__(self, auth: AppRoleAuth | KubernetesAuth, server: Server) -> None:
        self._auth = auth
        self._server = server
        self._lock = threading.Lock()
        self._token: Secret | None = None
        self._until = 0.0  # of the monotonic clock
        self._proof: Secret | None = None  # what it was given for
        self.remedy = f"look at the policies of the role at auth/{auth.mount}"

    def current(self) -> Secret:
        with self._lock:
            if self._token is None or time.monotonic() >= self._until:
                self._token, life = self._log_in()
                self._until = time.monotonic() + (life * _NEARLY_OVER or float("inf"))
            return self._token

    def replaces(self, refused: Secret, /) -> bool:
        with self._lock:
            if self._token == refused:
                self._token = None
        return True

    def log_in_anew_unless(self, proof: Secret) -> None:
        """Forget a token that was given for something else."""
        with self._lock:
            if self._proof != proof:
                self._token = None

    def _log_in(self) -> tuple[Secret, float]:
        address = self._server.address
        path = f"auth/{self._auth.mount}/login"
        request, self._proof, remedy = self._login()
        answer = self._server.send(request, None)
        if answer.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            message = f"{address} refused our login at {path}"
            raise AccessDenied(message, reason="login_refused", remedy=remedy)
        if problem := self._server.problem(answer, path, changes=False):
            raise problem
        try:
            granted = (answer.body or {})["auth"]
            return Secret(granted["client_token"]), float(granted["lease_duration"])
        except (KeyError, TypeError):
            raise Unavailable(f"{address} gave no token at {path}") from None  # noqa: EM102, TRY003 - as short as a name

    def _login(self) -> tuple[Request, Secret, str]:
        """The request, what proves us, read anew each time, and what to look at where it is refused."""
        auth = self._auth
        if isinstance(auth, AppRoleAuth):
            role_id, secret_id = auth.role_id, _read(auth.secret_id)
            remedy = f"check role_id and {auth.secret_id.text}: a secret id expires and can be used up"
            return (
                lambda client: client.auth.approle.login(
                    role_id, secret_id.reveal(), use_token=False, mount_point=auth.mount
                ),
                secret_id,
                remedy,
            )
        role, token = auth.role, _read(auth.token)
        remedy = (
            f"compare the role {role} with our service account, its namespace and the audience of {auth.token.text}"
        )
        return (
            lambda client: client.auth.kubernetes.login(role, token.reveal(), use_token=False, mount_point=auth.mount),
            token,
            remedy,
        )
