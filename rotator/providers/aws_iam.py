"""Access keys of one IAM user: two slots, no labels, reversible disabling.

Sources: the service models iam 2010-05-08 and sts 2011-06-15 of botocore; the IAM user guide.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, ClassVar

from pydantic import Field

from rotator.access import iam_policies
from rotator.access.aws import ADMIN_KEY_REJECTED, Access, AwsSettings, Declined
from rotator.domain.errors import (
    AccessDenied,
    LostAnswer,
    QuotaExceeded,
    Refused,
    TemporaryError,
    Unavailable,
    WrongAccount,
)
from rotator.domain.permissions import Permissions
from rotator.domain.secret import Material, Secret
from rotator.ports.ours import Own, Permission
from rotator.ports.provider import Answer, Capabilities, IssuedKey, Key, Listed, Verdict
from rotator.settings import Settings

NO_SUCH_USER = "no_such_user"
NO_SUCH_KEY = "no_such_key"

_UNKNOWN = ("NoSuchEntity", "ValidationError", "ParamValidation")  # of a key id: not there, or not even possible
_KEY_ID = re.compile(r"[A-Z0-9]{16,128}", re.ASCII)

_USER_ARN = re.compile(
    r"arn:aws[a-z-]*:iam::(?P<account>\d{12}):user/(?:.*/)?(?P<name>[^/]+)"
)  # with or without a path

NEEDED = (
    "iam:ListAccessKeys",
    "iam:GetAccessKeyLastUsed",
    "iam:CreateAccessKey",
    "iam:UpdateAccessKey",
    "iam:DeleteAccessKey",
)
"""The actions that it takes to rotate a user's keys."""

_NEVER = ("iam:PutUserPolicy", "iam:AttachUserPolicy", "iam:CreatePolicyVersion", "iam:CreateUser", "iam:PassRole")

_CAPABILITIES = Capabilities(
    origin="issued",
    living=2,  # the quota of access keys per user; inactive ones count
    labels=False,
    can_disable=True,
    tells_last_use=True,
    can_tell=True,
    settle=timedelta(minutes=5),  # IAM is eventually consistent and names no limit; tens of seconds are typical
    default_fields={"AWS_ACCESS_KEY_ID": "{access_key_id}", "AWS_SECRET_ACCESS_KEY": "{secret_access_key}"},
    material=("access_key_id", "secret_access_key"),
    own_use="sts",
    permissions="read",
    requests={"account": 0, "authenticate": 2},  # the first is asked once for each credential of ours
)


class IamOptions(Settings):
    """A credential's part: whose keys."""

    user: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+=,.@-]{1,64}$")]


class AwsIam:
    """An AWS account whose users' keys are rotated. Opens nothing until a key is asked for."""

    Settings: ClassVar[type[Any]] = AwsSettings
    Options: ClassVar[type[Any]] = IamOptions

    def __init__(self, settings: AwsSettings, timeout: timedelta) -> None:
        self._access = Access(settings, timeout)

    def bind(self, options: IamOptions) -> IamUser:
        """The keys of one user."""
        return IamUser(self._access, options.user)

    def own_credentials(self) -> Sequence[Own]:
        """Our own access key."""
        return self._access.own_credentials("access key")

    def inventory(self) -> Iterator[Listed]:
        """The access keys of every user. Those of the root user IAM lists for nobody.

        Takes iam:ListUsers besides what it takes to list one user's keys.
        """
        account = f"aws:{self._access.account()}"
        for user in self._users():
            try:
                of_user = IamUser(self._access, user)
                keys = list(map(of_user.with_use, of_user.keys()))
            except WrongAccount:  # deleted since it was listed
                continue
            for key in keys:
                yield Listed(key=key, account=account, holder=f"user {user}", options={"user": user})

    def _users(self) -> Iterator[str]:
        page: dict[str, Any] = {}
        while True:
            answer = self._access.call("iam", "ListUsers", "Users", **page)
            yield from (str(user["UserName"]) for user in answer["Users"])
            if not answer.get("IsTruncated"):
                return
            page = {"Marker": answer["Marker"]}

    def close(self) -> None:
        """Close the connections."""
        self._access.close()


class IamUser:
    """The access keys of one user: a provider that issues and disables."""

    def __init__(self, access: Access, user: str) -> None:
        self._access = access
        self._user = user

    def made_by_hand(self) -> Sequence[str]:
        """By AWS's own tool, as whoever may do that. A user has two keys at most."""
        return [f"aws iam create-access-key --user-name {shlex.quote(self._user)}"]

    def ended_by_hand(self, key_id: str) -> Sequence[str]:
        """Disabled first, which can be undone."""
        of = f"--user-name {shlex.quote(self._user)} --access-key-id {shlex.quote(key_id)}"
        return [f"aws iam update-access-key {of} --status Inactive", f"aws iam delete-access-key {of}"]

    @property
    def capabilities(self) -> Capabilities:
        """What IAM can do."""
        return _CAPABILITIES

    def account(self) -> str:
        """`aws:<number>`. Raises WrongAccount where it is not the pinned one."""
        return f"aws:{self._access.account()}"

    def authenticate(self, material: Material) -> Answer:
        """Ask STS who the key is. A key that is somebody else, or inactive in IAM's list, is refused.

        STS may go on accepting a key for a while after it was made inactive; such a key is never a live one to us.
        """
        key_id, secret = material.get("access_key_id"), material.get("secret_access_key")
        if key_id is None or not _KEY_ID.fullmatch(key_id.reveal()) or not secret:
            return Answer(verdict=Verdict.REFUSED, why="not the shape of an AWS access key")
        try:
            arn = self._access.caller(key_id, secret)
        except TemporaryError as problem:
            return _inconclusive(problem)
        except (AccessDenied, Declined) as problem:
            rejected = problem.reason == ADMIN_KEY_REJECTED
            return Answer(verdict=Verdict.REFUSED if rejected else Verdict.INCONCLUSIVE, why=problem.message)
        try:
            return self._recognised(arn, key_id.reveal())
        except TemporaryError as problem:
            return _inconclusive(problem)

    def keys(self) -> Sequence[Key]:
        """Every key of the user. Raises WrongAccount where the user is not there."""
        return [_key(entry) for entry in self._list()]

    def with_use(self, key: Key) -> Key:
        """With when, by which service and in which region it was last used, which IAM tells of one key at a time."""
        try:
            answer = self._access.call("iam", "GetAccessKeyLastUsed", "AccessKeyLastUsed", AccessKeyId=key.id)
        except Declined as no:
            if no.code not in _UNKNOWN:  # deleted since it was listed
                raise
            return key
        used = answer["AccessKeyLastUsed"]
        if (at := _utc(used.get("LastUsedDate"))) is None:
            return key
        region = None if used.get("Region") == "N/A" else used.get("Region")
        return replace(key, last_used_at=at, last_used_by=str(used["ServiceName"]).lower(), last_used_in=region)

    def identify(self, material: Material) -> str | None:
        """The access key id, where it is one of this user's."""
        found = material.get("access_key_id")
        if found is None or not _KEY_ID.fullmatch(found.reveal()):
            return None
        return next((entry["AccessKeyId"] for entry in self._list() if entry["AccessKeyId"] == found.reveal()), None)

    def signing_key(self) -> str | None:
        """The access key that our own requests are signed by; None where a role is assumed."""
        return self._access.signing_key()

    def our_permissions(self) -> Sequence[Permission]:
        """What we may do with the user's keys, and with others', as IAM simulates it where we may ask."""
        account = self._access.expected_account()
        user, another = (f"arn:aws:iam::{account}:user/{name}" for name in (self._user, "keyturn-no-such-user"))
        return self._access.examined(NEEDED, user, {another: NEEDED, "*": _NEVER})

    def permissions(self) -> Permissions:
        """What the user's policies, those of its groups and its boundary come to: all its keys may do the same."""
        return iam_policies.read(partial(self._access.call, "iam"), self._user)

    def create(self, label: str) -> IssuedKey:  # noqa: ARG002  # IAM keys carry no text of ours
        """Make a key, in one request that is never repeated. Raises QuotaExceeded where both slots are taken."""
        try:
            answer = self._call("CreateAccessKey", "AccessKey", changes=True)
        except Declined as no:
            if no.code != "LimitExceeded":
                raise
            message = f"the IAM user {self._user} has as many access keys as IAM allows, inactive ones included"
            raise QuotaExceeded(message, remedy="delete the one that nobody needs") from None
        try:
            made = answer["AccessKey"]
            key_id, secret = made["AccessKeyId"], made["SecretAccessKey"]
        except KeyError:
            message = f"the answer to iam:CreateAccessKey for {self._user} lacks the key"
            raise LostAnswer(message) from None
        material = Material({"access_key_id": Secret(key_id), "secret_access_key": Secret(secret)})
        return IssuedKey(key_id=key_id, material=material, issued_at=_utc(made.get("CreateDate")))

    def disable(self, key_id: str) -> None:
        """Make the key inactive. A key that is not there works no more either: success."""
        if not self._set_status(key_id, "Inactive"):
            self._confirm_gone(key_id)

    def enable(self, key_id: str) -> None:
        """Make the key active again. Raises Refused where it is not there."""
        if not self._set_status(key_id, "Active"):
            self._confirm_gone(key_id)
            message = f"the IAM user {self._user} has no access key {key_id} to enable"
            raise Refused(message, reason=NO_SUCH_KEY, remedy="rotate to a new key")

    def delete(self, key_id: str) -> None:
        """Delete the key. An unknown id is success, once the account and the user's own list confirm it."""
        try:
            self._call("DeleteAccessKey", None, changes=True, AccessKeyId=key_id)
        except Declined as no:
            if no.code not in _UNKNOWN:
                raise
            self._confirm_gone(key_id)

    def _recognised(self, arn: str, key_id: str) -> Answer:
        account = self._access.expected_account()
        match = _USER_ARN.fullmatch(arn)
        # Names of users are unique whatever their case.
        if match is None or match["account"] != account or match["name"].casefold() != self._user.casefold():
            why = f"the key is {arn}; the user {self._user} of account {account} is expected"
            return Answer(verdict=Verdict.REFUSED, identity=arn, why=why)
        if any(entry["AccessKeyId"] == key_id and entry["Status"] != "Active" for entry in self._list()):
            return Answer(verdict=Verdict.REFUSED, identity=arn, why="the key is inactive in IAM's list")
        return Answer(verdict=Verdict.ACCEPTED, identity=arn)

    def _set_status(self, key_id: str, status: str) -> bool:
        try:
            self._call("UpdateAccessKey", None, changes=True, AccessKeyId=key_id, Status=status)
        except Declined as no:
            if no.code not in _UNKNOWN:
                raise
            return False
        return True

    def _confirm_gone(self, key_id: str) -> None:
        """Raise unless the right account has the user, and the user has no such key."""
        self._access.account()
        if any(entry["AccessKeyId"] == key_id for entry in self._list()):
            message = f"IAM lists the access key {key_id} and does not find it"
            raise Unavailable(message)  # its parts disagree for a while after a change

    def _list(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {}
        while True:
            answer = self._call("ListAccessKeys", "AccessKeyMetadata", **page)
            found += answer["AccessKeyMetadata"]
            if not answer.get("IsTruncated"):
                return found
            page = {"Marker": answer["Marker"]}

    def _call(self, operation: str, proof: str | None, *, changes: bool = False, **inputs: Any) -> dict[str, Any]:
        """Send a request about the user. Raises WrongAccount where it is the user that is not there."""
        try:
            # Without a name IAM takes the user who signs, which is us.
            answer: dict[str, Any] = self._access.call(
                "iam", operation, proof, changes=changes, UserName=self._user, **inputs
            )
        except Declined as no:
            if no.code != "NoSuchEntity" or "AccessKeyId" in inputs:  # with a key id either may be meant
                raise
            message = f"there is no IAM user {self._user} in this account"
            remedy = "create the user, or correct `user` or the account's credential"
            raise WrongAccount(message, reason=NO_SUCH_USER, remedy=remedy) from None
        return answer


def _inconclusive(problem: TemporaryError) -> Answer:
    return Answer(verdict=Verdict.INCONCLUSIVE, why=problem.message, retry_after=problem.retry_after)


def _key(entry: Mapping[str, Any]) -> Key:
    return Key(
        id=entry["AccessKeyId"],
        label=None,
        created_at=_utc(entry.get("CreateDate")),
        enabled=entry["Status"] == "Active",
    )


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
