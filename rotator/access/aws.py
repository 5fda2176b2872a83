"""What the AWS adapters share: their settings, one signed way into an account, and what AWS's errors mean to us.

Sources: the service models of botocore; the IAM user guide; the API reference of Secrets Manager.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

from pydantic import Field, model_validator

from rotator.access.http import USER_AGENT, Http, NotConnected, NoWholeAnswer, ProxyAddress
from rotator.domain.errors import (
    AccessDenied,
    LostAnswer,
    RateLimited,
    Refused,
    RotatorError,
    SetupError,
    Unavailable,
    WrongAccount,
)
from rotator.domain.secret import Secret
from rotator.ports.ours import Own, Permission
from rotator.settings import FilePath, SecretAt, Settings

ADMIN_KEY_REJECTED = "admin_key_rejected"
MISSING_PERMISSION = "missing_permission"
CLOCK = "clock"

_ANYWHERE = "https://amazonaws.com"  # each service and region has its own name below it
_ROLE_LIVES = 3600  # seconds; every role allows one hour, and chained roles allow no more
_ROLE_SPARE = 300  # seconds that must be left of it for a client to be used
_SKEW = timedelta(minutes=5)  # a signature that is older or younger is refused

# AWS spells one error in several ways, with and without "Exception", by service and protocol.
_THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_BUSY = frozenset(
    {
        "ConcurrentModification",
        "ConcurrentModificationException",
        "EntityTemporarilyUnmodifiable",
        "EntityTemporarilyUnmodifiableException",
    }
)
_FORBIDDEN = frozenset(
    {"AccessDenied", "AccessDeniedException", "NotAuthorized", "UnauthorizedAccess", "UnauthorizedOperation"}
)
_REJECTED = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_CLOCK = frozenset({"RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"})


class AwsSettings(Settings):
    """How to reach an AWS account, and as whom: without keys and profile as AWS's own tools would find out."""

    region: str = "us-east-1"
    endpoint_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+/?$")] | None = None
    sts_endpoint_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+/?$")] | None = None  # else `endpoint_url`
    account: Annotated[str, Field(pattern=r"^\d{12}$")] | None = None  # pinned: any other account is refused
    role_arn: Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/\S+$")] | None = None
    profile: str | None = None
    access_key_id: SecretAt | None = None
    secret_access_key: SecretAt | None = None
    ca_file: FilePath | None = None
    proxy: ProxyAddress | None = None

    @model_validator(mode="after")
    def _one_credential(self) -> AwsSettings:
        if (self.access_key_id is None) is not (self.secret_access_key is None):
            message = "access_key_id and secret_access_key belong together"
            raise ValueError(message)
        if self.access_key_id is not None and self.profile is not None:
            message = "give either access_key_id and secret_access_key, or profile"
            raise ValueError(message)
        return self


class Declined(Refused):
    """AWS understood the request and said no. `code` is its own word for why, such as NoSuchEntity."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


@functools.cache
def models() -> Any:
    """What botocore knows of the services, read once for all accounts: it is megabytes of JSON."""
    import botocore.session

    return botocore.session.Session().get_component("data_loader")


class Access:
    """One signed way into one account. Clients are built at first use and shared; methods may be called from threads.

    The credential is read anew after AWS has rejected it, and a role is assumed anew before it ends.
    """

    def __init__(self, settings: AwsSettings, timeout: timedelta) -> None:
        self._settings = settings
        address = settings.endpoint_url or _ANYWHERE
        self._http = Http(address, settings.ca_file, timeout.total_seconds(), proxy=settings.proxy)
        self._building = threading.Lock()  # botocore's sessions are not safe to share between threads, its clients are
        self._session: Any = None
        self._role: dict[str, str] | None = None  # keyword arguments of create_client
        self._stale_at = float("inf")  # on the monotonic clock
        self._clients: dict[str, Any] = {}
        self._asking: Any = None  # a client of no credential; building one costs more than its request
        self._number: str | None = None  # the account's, once it was asked for with this credential
        self._built_from: tuple[object, ...] | None = None

    @property
    def region(self) -> str:
        """The region of the settings."""
        return self._settings.region

    def call(self, service: str, operation: str, proof: str | None, *, changes: bool = False, **inputs: Any) -> Any:
        """Send one request, once, and return its answer. `proof` is a member that no real answer lacks.

        Raises Declined for a no that the caller may know, and the other types of `domain.errors`; LostAnswer only where
        the request `changes` something and may have been received.
        """
        from botocore import xform_name

        try:
            with _explained(f"{service}:{operation}", changes=changes):
                return _checked(getattr(self._client(service), xform_name(operation))(**inputs), proof)
        except AccessDenied:
            self._forget()  # a person will replace the credential, maybe where it is
            raise

    def account(self) -> str:
        """The account's number. Asked once for each credential of ours, since what it is of never changes.

        Raises WrongAccount where another is pinned.
        """
        with self._building:
            self._drop_if_over()
            of, found = self._clients, self._number
        if found is None:
            found = str(self.call("sts", "GetCallerIdentity", "Account")["Account"])
            with self._building:
                if of is self._clients:  # still of this credential
                    self._number = found
        self.require(found)
        return found

    def expected_account(self) -> str:
        """Return the number of the account that is meant: the pinned one, else our own credential's, asked for once."""
        return self._settings.account or self.account()

    def confirm(self) -> None:
        """Make sure that "not found" was said by the right account. Nothing is asked where none is pinned."""
        if self._settings.account is not None:
            self.account()

    def require(self, found: str) -> None:
        """Raise WrongAccount unless `found` is the pinned account, or none is pinned."""
        pinned = self._settings.account
        if pinned is not None and found != pinned:
            message = f"the credential belongs to AWS account {found}, and the configuration pins {pinned}"
            raise WrongAccount(message, remedy="use a credential of the pinned account, or correct `account`")

    def signing_key(self) -> str | None:
        """The id of the access key that signs our requests now; None: that of a role, which lasts for hours."""
        with self._building:
            if self._settings.role_arn is not None:
                return None
            if self._settings.access_key_id is not None:
                return self._settings.access_key_id.read().reveal()
            self._drop_if_changed()
            with _explained("our own requests"):
                self._session = self._session or self._new_session()
                found = self._session.get_credentials()
            return None if found is None or found.token else str(found.access_key)

    def own_credentials(self, what: str) -> list[Own]:
        """Our own access key, with its age where we may list our own keys."""
        key_id = self.signing_key()
        if key_id is None:
            return [Own(what=f"{what}, of a role: it ends by itself")]
        arn: str = self.call("sts", "GetCallerIdentity", "Arn")["Arn"]
        try:
            listed = self.call("iam", "ListAccessKeys", "AccessKeyMetadata")[
                "AccessKeyMetadata"
            ]  # our own, without a name
        except (AccessDenied, Declined):
            return [Own(what=what, key_id=key_id, may=f"what {arn} may")]
        since = next((row.get("CreateDate") for row in listed if row["AccessKeyId"] == key_id), None)
        return [Own(what=what, key_id=key_id, since=since and since.astimezone(UTC), may=f"what {arn} may")]

    def simulated(self, actions: Sequence[str], resource: str) -> Mapping[str, bool] | None:
        """Action → whether our policies allow it on this resource, as IAM says; None: we may not ask it that.

        Of a role that is assumed, the name is all that is known: one with a path cannot be asked about.
        """
        arn: str = self.call("sts", "GetCallerIdentity", "Arn")["Arn"]
        role = re.fullmatch(r"arn:(?P<part>aws[a-z-]*):sts::(?P<account>\d+):assumed-role/(?P<name>[^/]+)/.*", arn)
        source = f"arn:{role['part']}:iam::{role['account']}:role/{role['name']}" if role else arn
        inputs: dict[str, Any] = {"PolicySourceArn": source, "ActionNames": list(actions), "ResourceArns": [resource]}
        try:
            answer = self.call("iam", "SimulatePrincipalPolicy", "EvaluationResults", **inputs)
        except (AccessDenied, Declined, Unavailable):
            return None
        return {row["EvalActionName"]: row["EvalDecision"] == "allowed" for row in answer["EvaluationResults"]}

    def examined(self, actions: Sequence[str], resource: str, beyond: Mapping[str, Sequence[str]]) -> list[Permission]:
        """What it takes on a resource, and what goes `beyond` that (resource → actions), as IAM simulates it."""
        found = self.simulated(actions, resource)
        if found is None:
            remedy = "allow iam:SimulatePrincipalPolicy on our own principal, or compare with deploy/policies by hand"
            return [Permission(what="IAM does not tell us what we may do", state="unknown", remedy=remedy)]
        told = [
            Permission(
                what=f"{action} on {resource}",
                state="held" if found.get(action) else "missing",
                remedy=f"allow {action} on {resource}",
            )
            for action in actions
        ]
        for other, those in beyond.items():
            more = self.simulated(those, other) or {}
            remedy = "take it away: deploy/policies has all that it takes"
            told += [
                Permission(what=f"{action} on {other}", state="too_much", remedy=remedy)
                for action in those
                if more.get(action)
            ]
        return told

    def caller(self, access_key_id: Secret, secret_access_key: Secret) -> str:
        """Return the ARN that this key signs in as. Raises AccessDenied (admin_key_rejected) where AWS knows it not."""
        with _explained("sts:GetCallerIdentity"):
            with self._building:
                if self._asking is None:
                    self._asking = self._build("sts", self._new_session(_of_each_request()))
                client = self._asking
            with _signed_by(access_key_id, secret_access_key):
                arn: str = _checked(client.get_caller_identity(), "Arn")["Arn"]
            return arn

    def close(self) -> None:
        """Close all connections; the next call builds them anew."""
        with self._building:
            clients = [*self._clients.values(), *([] if self._asking is None else [self._asking])]
            self._drop()
            self._asking = None
        for client in clients:
            client.close()
        self._http.close()

    def _client(self, service: str) -> Any:
        with self._building:
            self._drop_if_over()
            if service not in self._clients:
                self._clients[service] = self._build(service, **self._credential())
            return self._clients[service]

    def _forget(self) -> None:
        with self._building:
            self._drop()

    def _drop_if_over(self) -> None:
        """A role is assumed anew before it ends."""
        if time.monotonic() > self._stale_at:
            self._drop()
        self._drop_if_changed()

    def _drop_if_changed(self) -> None:
        """Our own credential may be rotated by ourselves: whatever was built with the old one ends."""
        found = self._source()
        if self._built_from is not None and found != self._built_from:
            self._drop()
        self._built_from = found

    def _source(self) -> tuple[object, ...]:
        """What changes when our credential does: its values, or the file of AWS's profiles."""
        settings = self._settings
        if settings.access_key_id is not None and settings.secret_access_key is not None:
            return (settings.access_key_id.read(), settings.secret_access_key.read())
        path = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
        try:
            stat = Path(path).expanduser().stat()
        except OSError:
            return ()
        return (stat.st_ino, stat.st_mtime_ns, stat.st_size)

    def _drop(self) -> None:
        # Clients in use elsewhere live on until their call ends.
        self._session, self._role, self._stale_at, self._clients = None, None, float("inf"), {}
        self._number = None

    def _credential(self) -> dict[str, str]:
        settings, own = self._settings, {}
        if settings.access_key_id is not None and settings.secret_access_key is not None:
            own = {
                "aws_access_key_id": settings.access_key_id.read().reveal(),
                "aws_secret_access_key": settings.secret_access_key.read().reveal(),
            }
        if settings.role_arn is None:
            return own
        if self._role is None:
            asked_at = time.monotonic()
            self._role = self._assumed(settings.role_arn, own)
            self._stale_at = asked_at + _ROLE_LIVES - _ROLE_SPARE
        return self._role

    def _assumed(self, role: str, own: dict[str, str]) -> dict[str, str]:
        with _explained("sts:AssumeRole"), contextlib.closing(self._build("sts", **own)) as sts:
            answer = sts.assume_role(RoleArn=role, RoleSessionName="rotator", DurationSeconds=_ROLE_LIVES)
            credential = _checked(answer, "Credentials")["Credentials"]
        return {
            "aws_access_key_id": credential["AccessKeyId"],
            "aws_secret_access_key": credential["SecretAccessKey"],
            "aws_session_token": credential["SessionToken"],
        }

    def _new_session(self, credentials: Any = None) -> Any:
        """A session of our own credential, or of those from another place."""
        import botocore.session

        # At DEBUG it logs keys, and the bodies that hold them.
        logging.getLogger("botocore").setLevel(logging.INFO)
        session = botocore.session.Session(profile=self._settings.profile)
        session.register_component("data_loader", models())
        if credentials is not None:
            session.register_component("credential_provider", credentials)
        return session

    def _build(self, service: str, session: Any = None, **credential: str) -> Any:
        from botocore.config import Config

        settings = self._settings
        if settings.ca_file is not None and not settings.ca_file.is_file():
            message = f"cannot read the CA file {settings.ca_file}"
            raise SetupError(message, remedy="check the path and its permissions")
        if session is None:
            session = self._session = self._session or self._new_session()
        endpoint = settings.endpoint_url
        if service == "sts" and settings.sts_endpoint_url is not None:
            endpoint = settings.sts_endpoint_url
        client = session.create_client(
            service,
            region_name=settings.region,
            endpoint_url=endpoint,
            # A name of ours also since botocore would build its own for each request.
            config=Config(retries={"total_max_attempts": 1}, user_agent=USER_AGENT),
            **credential,
        )
        client.meta.events.register("before-send", functools.partial(_sent, self._http))
        if client.meta.service_model.protocol == "query":
            client.meta.events.register("before-parse", _keep_status)
        return client


_signer: ContextVar[tuple[Secret, Secret] | None] = ContextVar("_signer", default=None)
"""Whose request is being signed: access key id and secret access key."""


@contextlib.contextmanager
def _signed_by(access_key_id: Secret, secret_access_key: Secret) -> Iterator[None]:
    """In the block, and in this thread alone, the client of no credential signs as this key."""
    token = _signer.set((access_key_id, secret_access_key))
    try:
        yield
    finally:
        _signer.reset(token)


def _of_each_request() -> Any:
    """A place that botocore's credentials come from: they are those of `_signed_by`, of each request anew."""
    from botocore.credentials import Credentials, ReadOnlyCredentials

    class Signer(Credentials):  # type: ignore[misc]
        def get_frozen_credentials(self) -> ReadOnlyCredentials:
            signer = _signer.get()
            assert signer is not None, "a request of nobody's"
            return ReadOnlyCredentials(signer[0].reveal(), signer[1].reveal(), None)

    signer = Signer("nobody", "nothing")
    return SimpleNamespace(load_credentials=lambda: signer)


def _sent(http: Http, request: Any, **_: Any) -> Any:
    """Send a signed request by our one way out, instead of botocore's own: with its limits, its TLS and no proxy."""
    from botocore.awsrequest import AWSResponse

    headers = {name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()}
    body = request.body.encode() if isinstance(request.body, str) else request.body
    reply = http.exchange(request.method, request.url, headers=headers, content=body or b"")
    return AWSResponse(request.url, reply.status, reply.headers, _Whole(reply.body))


class _Whole:
    """A body that is here, as botocore reads one from the wire."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        """All of it."""
        yield self._content


def _keep_status(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
    """Raise for an error answer without AWS's XML, of a proxy say: botocore would forget its status and headers."""
    from botocore.exceptions import ClientError

    status = response_dict["status_code"]
    if status >= HTTPStatus.MULTIPLE_CHOICES and b"<Code>" not in response_dict["body"]:
        headers = {name.lower(): value for name, value in response_dict["headers"].items()}
        answer: Any = {
            "Error": {"Code": str(status)},
            "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
        }
        raise ClientError(answer, operation_model.name)


def _checked(answer: dict[str, Any], proof: str | None) -> dict[str, Any]:
    """Return the answer. Raises ValueError where it was cut off or is not AWS's; botocore may read such as empty."""
    if "RequestId" not in answer["ResponseMetadata"] or (proof is not None and proof not in answer):
        message = "unreadable answer"
        raise ValueError(message)
    return answer


@contextlib.contextmanager
def _explained(action: str, *, changes: bool = False) -> Iterator[None]:
    """Turn what botocore raises into our errors; ours pass, and so do bugs."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as problem:
        ours = _answered(problem.response, action, changes=changes)
    except (BotoCoreError, ResponseParserError, ValueError, NotConnected, NoWholeAnswer) as problem:
        ours = _unanswered(problem, action, changes=changes)
    else:
        return
    raise ours from None


def _unanswered(problem: Exception, action: str, *, changes: bool) -> RotatorError:
    """Return what it means that there is no answer. The class says what happened; the text may quote the request."""
    from botocore import exceptions as aws

    what = f"{action}: {type(problem).__name__}"
    match problem:
        case aws.NoCredentialsError() | aws.PartialCredentialsError() | aws.ProfileNotFound():
            remedy = "set access_key_id and secret_access_key, or profile, or AWS's own environment variables"
            return SetupError(f"no AWS credential for {what}", remedy=remedy)
        case aws.NoRegionError() | aws.InvalidRegionError() | aws.UnknownEndpointError() | aws.ConfigParseError():
            return SetupError(f"no AWS endpoint for {what}", remedy="check `region` and AWS's own configuration file")
        case aws.CredentialRetrievalError() | aws.MetadataRetrievalError() | aws.SSOError() | aws.TokenRetrievalError():
            remedy = "check where the profile gets its credential; a session may have ended"
            return Unavailable(f"our AWS credential could not be fetched for {what}", remedy=remedy)
        case aws.ParamValidationError():
            return Declined(f"AWS does not take these parameters for {what}", "ParamValidation")
        case NotConnected():  # nothing was sent
            why, check = (
                ("its certificate is not trusted", "check ca_file") if problem.untrusted else ("no connection", None)
            )
            return Unavailable(f"AWS was not reached for {action}: {why}", remedy=check)
    return (LostAnswer if changes else Unavailable)(f"no readable answer from AWS to {what}")


def _answered(answer: Mapping[str, Any], action: str, *, changes: bool) -> RotatorError:
    """Return what an error answer means. Its text is never repeated: it may quote the request."""
    metadata = answer.get("ResponseMetadata", {})
    headers, status = metadata.get("HTTPHeaders", {}), metadata.get("HTTPStatusCode", 0)
    code, request_id = _word(answer.get("Error", {}).get("Code")), _word(metadata.get("RequestId"))
    what = f"AWS answered {status} {code} to {action} (request {request_id})"
    if code in _THROTTLED or status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(what, retry_after=_retry_after(headers))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and changes:
        return LostAnswer(what)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or code in _BUSY:
        return Unavailable(what, retry_after=_retry_after(headers))
    if code in _CLOCK or (code in _REJECTED and _skewed(headers)):
        remedy = "correct this host's clock: AWS refuses signatures of another time"
        return Unavailable(what, reason=CLOCK, remedy=remedy)
    return _refused(what, code, action)


def _refused(what: str, code: str, action: str) -> RotatorError:
    if code in _FORBIDDEN or code == str(HTTPStatus.FORBIDDEN.value):  # botocore's code where it finds none
        remedy = f"allow {action} to our own credential, and the use of the KMS key where the secret has one of its own"
        return AccessDenied(what, reason=MISSING_PERMISSION, remedy=remedy)
    if code in _REJECTED:
        remedy = "replace our own AWS credential: AWS does not accept it any more"
        return AccessDenied(what, reason=ADMIN_KEY_REJECTED, remedy=remedy)
    return Declined(what, code)


def _word(text: object) -> str:
    """Return what may be repeated in a message: an identifier, never prose out of a stranger's answer."""
    return text if isinstance(text, str) and re.fullmatch(r"[A-Za-z0-9._-]{1,80}", text) else "unknown"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def _skewed(headers: Mapping[str, str]) -> bool:
    try:
        theirs = parsedate_to_datetime(headers["date"])
        return abs(theirs - datetime.now(UTC)) > _SKEW
    except (KeyError, TypeError, ValueError):
        return False
