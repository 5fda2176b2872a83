"""A secret in AWS Secrets Manager: staged as a version of its own, then made AWSCURRENT by compare-and-set.

Sources: the service model secretsmanager 2017-10-17 of botocore; the API reference of Secrets Manager.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import urlsplit

from rotator.access.aws import MISSING_PERMISSION, Access, AwsSettings, Declined
from rotator.domain.errors import AccessDenied, Conflict, LostAnswer, Refused, RotatorError, TemporaryError
from rotator.domain.model import WHOLE_BODY
from rotator.domain.secret import Secret
from rotator.ports.destination import Capabilities, Held, Reading, shadow_path
from rotator.ports.ours import Own, Permission

ABSENT = "absent"
"""The revision of a secret that is not there, or has no value yet."""

DELETED = "destination_deleted"
SECOND_WRITER = "second_writer"
REPLICA = "replica"
NOT_JSON = "not_json"
TOO_LARGE = "too_large"
QUOTA = "quota"
TOKEN_IN_USE = "token_in_use"  # noqa: S105  # the name of a reason

_PENDING = "AWSPENDING"
_OURS = "ROTATOR"
# A second staging label, on the newest version that we wrote: it tells what a crash of ours left under AWSPENDING
# from the work of another rotator, which is never touched.

_MOST_BYTES = 65536
_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_SPACE = re.compile(r"[ \t\n\r]*")  # JSON's

_CAPABILITIES = Capabilities(conditional=True, readable=True, propagation=timedelta(0), whole_body=True)


_SET_FIELD = (
    "import json, os, sys; body = json.load(sys.stdin); body[sys.argv[1]] = os.environ['FIELD']; "
    "json.dump(body, sys.stdout)"
)
"""A line of Python that keeps what else is in a body."""


class SecretsManagerSettings(AwsSettings):
    """How to reach Secrets Manager of one account and region."""

    region: str


class AwsSecretsManager:
    """The secrets of one account and region. Opens nothing until one is read or written."""

    Settings: ClassVar[type[Any]] = SecretsManagerSettings

    def __init__(self, name: str, settings: SecretsManagerSettings, timeout: timedelta) -> None:
        self._name = name
        self._access = Access(settings, timeout)
        self._place = _place(settings)

    def at(self, path: str | None) -> AwsSecret:
        """The secret of this name. Raises ValueError where it cannot be one."""
        if path is None or not _NAME.fullmatch(path):
            message = "path is the secret's name (not its ARN): letters, digits and /_+=.@-, at most 512 of them"
            raise ValueError(message)
        return AwsSecret(self._access, path, identity=f"{self._place}:{path}", address=f"{self._name}:{path}")

    def own_credentials(self) -> Sequence[Own]:
        """Our own access key."""
        return self._access.own_credentials("access key")

    def survey(self, paths: Collection[str | None]) -> Iterator[Held | RotatorError]:
        """Every secret of the account and region; where they may not be listed, nothing."""
        del paths  # there are no folders
        begin: dict[str, Any] = {}
        while True:
            try:
                page = self._access.call("secretsmanager", "ListSecrets", "SecretList", **begin)
            except AccessDenied as denied:
                if denied.reason != MISSING_PERMISSION:
                    raise
                yield denied
                return
            for listed in page["SecretList"]:
                yield from self.at(listed["Name"]).held()
            if "NextToken" not in page:
                return
            begin = {"NextToken": page["NextToken"]}

    def close(self) -> None:
        """Close the connections."""
        self._access.close()


def _place(settings: SecretsManagerSettings) -> str:
    """Account and region; where the account is not known, the server's address tells installations apart."""
    role = re.search(r"::(\d{12}):", settings.role_arn or "")
    account = settings.account or (role[1] if role else None)
    server = urlsplit(settings.endpoint_url or "").netloc
    return f"aws-sm:{account or server}:{settings.region}"


_NEEDED = ("DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage")


class AwsSecret:
    """One secret: a JSON object of strings, or one value. A revision is the id of the version that is AWSCURRENT."""

    def __init__(self, access: Access, path: str, *, identity: str, address: str) -> None:
        self._access = access
        self._path = path
        self._identity = identity
        self._address = address

    @property
    def capabilities(self) -> Capabilities:
        """What Secrets Manager can do."""
        return _CAPABILITIES

    @property
    def identity(self) -> str:
        """`aws-sm:<account, or server>:<region>:<name>`."""
        return self._identity

    @property
    def address(self) -> str:
        """`<destination>:<name>`."""
        return self._address

    def read(self) -> Reading:
        """The body's strings by name, and the whole body. Raises Refused where the secret waits for its deletion."""
        current = _holder(self._describe())
        if current is None:
            return Reading(fields={}, revision=ABSENT)
        body = self._body(current)
        fields = {WHOLE_BODY: Secret(body)}
        for name, text in (_members(body) or {}).items():
            if text.startswith('"') and name != WHOLE_BODY:
                fields[name] = Secret(json.loads(text))
        return Reading(fields=fields, revision=current)

    def held(self) -> Iterator[Held | RotatorError]:
        """The whole body of AWSCURRENT; an error where it cannot be read."""
        try:
            body = self.read().fields.get(WHOLE_BODY)
        except AccessDenied as denied:
            if denied.reason != MISSING_PERMISSION:
                raise
            yield denied
        except Refused as refused:
            yield refused
        else:
            if body is not None:
                yield Held(identity=self._identity, address=self._address, field=None, text=body)

    def written_by_hand(self, fields: Mapping[str, str]) -> Sequence[str]:
        """By AWS's own tool, as whoever may do that."""
        secret = f"--secret-id {shlex.quote(self._path)}"
        put = f"aws secretsmanager put-secret-value {secret} --secret-string file:///dev/stdin"
        if WHOLE_BODY in fields:
            return [f'printf %s "{fields[WHOLE_BODY]}" | {put}']
        get = f"aws secretsmanager get-secret-value {secret} --query SecretString --output text"
        return [
            f'{get} | FIELD="{value}" python3 -c {shlex.quote(_SET_FIELD)} {shlex.quote(name)} | {put}'
            for name, value in fields.items()
        ]

    def preflight(self, fields: Mapping[str, object]) -> None:
        """Raise Refused for another writer, a replica, or a body that fields cannot be put into."""
        current = _holder(self._writable())
        if current is not None and WHOLE_BODY not in fields:
            self._members_of(self._body(current))

    def our_permissions(self) -> Sequence[Permission]:
        """What we may do with this secret, and with others, as IAM simulates it where we may ask."""
        account, region = self._access.expected_account(), self._access.region
        secret, another = (
            f"arn:aws:secretsmanager:{region}:{account}:secret:{path}-??????"
            for path in (self._path, "keyturn-no-such-secret")
        )
        needed = [f"secretsmanager:{action}" for action in _NEEDED]
        return self._access.examined(needed, secret, {another: needed, secret: ["secretsmanager:DeleteSecret"]})

    def write(self, fields: Mapping[str, Secret], expected: str, token: str) -> str:
        """Make `token` the id of a version with these fields and everything else of version `expected`.

        Raises Conflict unless `expected` is AWSCURRENT at the moment of the change.
        """
        described = self._writable()
        current = _holder(described)
        if current == token:
            return token
        if (current or ABSENT) != expected:
            raise self._conflict()
        body = self._merged("{}" if current is None else self._body(current), fields)
        if described is None:
            self._create(body, token)
        else:
            if token in (described.get("VersionIdsToStages") or {}) and self._body(token) != body:
                raise self._token_in_use(token)  # AWS says so too; an emulator may overwrite it
            self._stage(body, token)  # the first version of all becomes AWSCURRENT by itself
            if current is not None:
                self._promote(expected, token)
        return self._seen(expected, token)

    def shadow(self, token: str) -> AwsShadow:
        """A secret of its own beside this one, under the account's default KMS key."""
        path = shadow_path(self._path, token)
        identity, address = shadow_path(self._identity, token), shadow_path(self._address, token)
        return AwsShadow(self._access, path, identity=identity, address=address)

    def _describe(self) -> dict[str, Any] | None:
        """Return what AWS tells about the secret, None where it is not there. Raises WrongAccount and Refused."""
        try:
            described = self._call("DescribeSecret", "ARN", SecretId=self._path)
        except Declined as no:
            if no.code != "ResourceNotFoundException":
                raise
            self._access.confirm()
            return None
        self._access.require(described["ARN"].split(":")[4])
        if described.get("DeletedDate"):
            message = f"the secret {self._path} is scheduled for deletion"
            raise Refused(
                message, reason=DELETED, remedy="restore it (aws secretsmanager restore-secret), or forget it"
            )
        return described

    def _writable(self) -> dict[str, Any] | None:
        described = self._describe()
        if described is None:
            return None
        primary = described.get("PrimaryRegion")
        region = described["ARN"].split(":")[3]
        if primary not in (None, region):
            message = f"the secret {self._path} in {region} is a replica of the one in {primary}"
            raise Refused(message, reason=REPLICA, remedy=f"name the region {primary} instead")
        pending = _holder(described, _PENDING)
        rotating = pending is not None and pending not in (_holder(described), _holder(described, _OURS))
        if rotating or any(described.get(fact) for fact in ("RotationEnabled", "Type", "OwningService")):
            message = (
                f"somebody else writes the secret {self._path}: AWS rotates or owns it, or a rotation is under way"
            )
            remedy = "turn off AWS's own rotation (aws secretsmanager cancel-rotate-secret), or use another secret"
            raise Refused(message, reason=SECOND_WRITER, remedy=remedy)
        return described

    def _body(self, version: str) -> str:
        try:
            answer = self._call("GetSecretValue", "VersionId", SecretId=self._path, VersionId=version)
        except Declined as no:
            if no.code == "ResourceNotFoundException":
                raise self._conflict() from None  # deleted since it was described
            raise
        if "SecretString" in answer:
            return str(answer["SecretString"])
        return base64.b64encode(answer.get("SecretBinary", b"")).decode()  # ours are text: it can only be replaced

    def _merged(self, body: str, fields: Mapping[str, Secret]) -> str:
        if WHOLE_BODY in fields:
            new = fields[WHOLE_BODY].reveal()
        else:
            members = self._members_of(body)
            members |= {name: json.dumps(secret.reveal()) for name, secret in fields.items()}
            new = "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in members.items()) + "}"
        if len(new.encode(errors="surrogatepass")) > _MOST_BYTES:
            names = ", ".join(name or "the value" for name in fields)
            message = f"the secret {self._path} with {names} would be larger than {_MOST_BYTES} bytes"
            raise Refused(message, reason=TOO_LARGE, remedy="use a secret of its own for this credential")
        return new

    def _members_of(self, body: str) -> dict[str, str]:
        members = _members(body)
        if members is None:
            message = f"the body of the secret {self._path} is not a JSON object, so it has no fields"
            raise Refused(message, reason=NOT_JSON, remedy="write the whole body (`value:`), or make it a JSON object")
        return members

    def _create(self, body: str, token: str) -> None:
        try:
            self._change("CreateSecret", "VersionId", Name=self._path, ClientRequestToken=token, SecretString=body)
        except Declined as no:
            if no.code == "ResourceExistsException":
                raise self._conflict() from None
            raise

    def _stage(self, body: str, token: str) -> None:
        """Put the version where no consumer looks. The same token with the same body changes nothing."""
        inputs = {"ClientRequestToken": token, "SecretString": body, "VersionStages": [_PENDING, _OURS]}
        try:
            self._change("PutSecretValue", "VersionId", SecretId=self._path, **inputs)
        except Declined as no:
            if no.code == "ResourceNotFoundException":
                raise self._conflict() from None
            if no.code == "ResourceExistsException":
                raise self._token_in_use(token) from None
            raise

    def _token_in_use(self, token: str) -> Refused:
        message = f"version {token} of the secret {self._path} exists with another body"
        return Refused(message, reason=TOKEN_IN_USE, remedy="rotate to a new key")

    def _promote(self, expected: str, token: str) -> None:
        """Move AWSCURRENT. AWS refuses where `expected` does not hold it any more: this is the compare-and-set."""
        inputs = {"VersionStage": "AWSCURRENT", "MoveToVersionId": token, "RemoveFromVersionId": expected}
        try:
            self._change("UpdateSecretVersionStage", "ARN", SecretId=self._path, **inputs)
        except Declined:
            if _holder(self._describe()) == expected:
                raise
            # Somebody moved it, or we did and did not hear of it: `_seen` tells which.

    def _seen(self, expected: str, token: str) -> str:
        """Return the token once it is AWSCURRENT for readers."""
        try:
            current = _holder(self._describe()) or ABSENT
        except TemporaryError as problem:
            raise LostAnswer(problem.message, retry_after=problem.retry_after) from None
        if current == token:
            return token
        if current == expected:
            message = f"AWS took version {token} of the secret {self._path} and does not show it yet"
            raise LostAnswer(message)
        raise self._conflict()

    def _conflict(self) -> Conflict:
        return Conflict(f"the secret {self._path} has another version than the one that was looked at")

    def _change(self, operation: str, proof: str, **inputs: Any) -> dict[str, Any]:
        return self._call(operation, proof, changes=True, **inputs)

    def _call(self, operation: str, proof: str, *, changes: bool = False, **inputs: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._access.call("secretsmanager", operation, proof, changes=changes, **inputs)
        except Declined as no:
            if no.code in ("DecryptionFailure", "EncryptionFailure"):
                remedy = "allow kms:Decrypt and kms:GenerateDataKey on the KMS key of the secret"
                raise AccessDenied(no.message, reason=MISSING_PERMISSION, remedy=remedy) from None
            if no.code == "LimitExceededException":
                remedy = "wait until AWS drops old versions (100 and all of 24 hours are kept), or raise the quota"
                raise Refused(no.message, reason=QUOTA, remedy=remedy) from None
            raise
        return answer


class AwsShadow(AwsSecret):
    """A secret that a rehearsal makes and takes away."""

    def remove(self) -> None:
        """Delete the secret without a recovery window. AWS may take a moment more; nobody can read it meanwhile."""
        if self._being_deleted():
            return
        try:
            self._change("DeleteSecret", "Name", SecretId=self._path, ForceDeleteWithoutRecovery=True)
        except Declined as no:
            if no.code != "ResourceNotFoundException":
                raise
        if not self._being_deleted() and self._describe() is not None:
            message = f"the secret {self._path} is still there"
            raise LostAnswer(message)

    def _being_deleted(self) -> bool:
        """Whether AWS has taken the request already. Makes sure of the account, too."""
        try:
            self._describe()
        except Refused as refused:
            if refused.reason != DELETED:
                raise
            return True
        return False


def _holder(described: Mapping[str, Any] | None, stage: str = "AWSCURRENT") -> str | None:
    """Return the id of the version that has the staging label."""
    versions = (described or {}).get("VersionIdsToStages") or {}
    holders = [version for version, stages in versions.items() if stage in stages]
    return holders[-1] if holders else None  # AWS has one; an emulator may show two, and then the newest is meant


def _members(body: str) -> dict[str, str] | None:
    """Name → the text of its value exactly as it stands, or None where the body is not a JSON object.

    Other people's values are copied as text, since reading and writing them again changes numbers.
    """
    try:
        if not isinstance(json.loads(body), dict):
            return None
    except (ValueError, RecursionError):
        return None
    decode = json.JSONDecoder().raw_decode
    members: dict[str, str] = {}
    at = _skip(body, body.index("{") + 1)
    while body[at] != "}":
        name, at = decode(body, at)
        start = _skip(body, _skip(body, at) + 1)  # after the colon
        _, at = decode(body, start)
        members[name] = body[start:at]
        at = _skip(body, at)
        if body[at] == ",":
            at = _skip(body, at + 1)
    return members


def _skip(body: str, at: int) -> int:
    match = _SPACE.match(body, at)
    return match.end() if match else at
