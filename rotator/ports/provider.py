"""A provider issues, checks, lists, disables and deletes the keys of one account, for one credential's options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, Protocol, runtime_checkable

from rotator.domain.permissions import Permissions
from rotator.domain.secret import Material, Secret
from rotator.domain.usage import Change, Sample


class Verdict(StrEnum):
    """What a provider makes of a key."""

    ACCEPTED = "accepted"
    ACCEPTED_LIMITED = "accepted_limited"  # alive, but not for this request: scopes, network, quota
    REFUSED = "refused"  # definitive only after `settle`
    INCONCLUSIVE = "inconclusive"  # says nothing about the key: 429, 5xx, no answer


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The outcome of authenticate. `identity` is who the key is, where the provider tells."""

    verdict: Verdict
    identity: str | None = None
    why: str | None = None
    retry_after: float | None = None  # seconds

    @property
    def alive(self) -> bool:
        """Whether the provider recognised the key."""
        return self.verdict in (Verdict.ACCEPTED, Verdict.ACCEPTED_LIMITED)


@dataclass(frozen=True, kw_only=True)
class IssuedKey:
    """What create returns: shown once, sealed in the same breath."""

    key_id: str
    material: Material
    issued_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key as the provider lists it."""

    id: str
    label: str | None
    created_at: datetime | None
    expires_at: datetime | None = None  # when the provider ends it by itself
    enabled: bool = True
    last_used_at: datetime | None = None  # see `Dates`: not every list has it
    last_used_by: str | None = None  # the service that saw it, such as `sts`
    last_used_in: str | None = None  # where that was, such as `us-east-1`
    owner: str | None = None  # whose it is, where keys of several owners are listed together
    deletable: bool = True  # False: the API is known to refuse it


@dataclass(frozen=True, kw_only=True)
class AllowList:
    """Where a person says from which networks keys work, since no API does."""

    at: str  # the page of the console
    most: int  # entries
    acts_within: timedelta


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a provider can promise. Data, so that the engine plans without knowing any vendor."""

    origin: Literal["issued", "chosen", "supplied"]  # it makes the value, or we do, or a person at its console
    living: int | None  # how many keys may live at once; None: many
    labels: bool  # a key carries the text we gave to create, and lists show it
    can_disable: bool
    tells_last_use: bool
    can_tell: bool  # authenticate really asks somebody; False: the value is ours alone (`generated`)
    settle: timedelta  # how long a new key may be refused, or missing from lists
    default_fields: dict[str, str]  # field → template, used where a destination names none
    material: tuple[str, ...]  # names of the secret fields, the public id first where there is one
    rate: float | None = None  # requests per second that the provider states it takes; None: it states none
    requests: Mapping[str, int] = field(default_factory=dict)  # method → how many it sends, where that is not one
    life: timedelta | None = None  # after which the provider ends a new key by itself; None: never
    own_use: str | None = None  # what our own authenticate looks like in `last_used_by`
    can_delete: bool = True  # False: a person takes old keys away, and says so
    permissions: Literal["declared", "read"] | None = None  # how `permissions` knows: by the options, or by asking
    allow_list: AllowList | None = None  # None: addresses are part of `permissions`, or there is no such list
    ids_from_values: bool = False  # nobody issues ids: `KIND-` and a hash of the value, which is not kept as it is

    @property
    def slots(self) -> int | None:
        """How many keys may live before one has to go for the next; None: that is no hindrance.

        A value that we choose and that lives alone takes the place of the one before it.
        """
        return None if self.origin == "chosen" and self.living == 1 else self.living


class Provider(Protocol):
    """Bound to one account and one credential's options. Methods may be called from several threads.

    Every method raises the types of `domain.errors`: TemporaryError (LostAnswer where the request may have
    taken effect), or PermanentError. No method retries a request by itself, so that one call is one request.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this provider can do."""
        ...

    def account(self) -> str:
        """The account's own name, such as `aws:123456789012`. May be repeated.

        Asks the provider, but need not ask again about the same credential of ours. Raises WrongAccount where the
        configuration pins another account. With `keys`, this is the preflight that runs before anything is created:
        one of both raises WrongAccount where the credential's principal (user, service account, project) is not there.
        """
        ...

    def authenticate(self, material: Material) -> Answer:
        """Ask whether the key works. May be repeated; counts as use at some providers. Never raises for a bad key."""
        ...

    def keys(self) -> Sequence[Key]:
        """Every key of this credential's principal, all pages, enabled or not, ours or not. May be repeated.

        With its last use where lists have that; else see `Dates`. See `account` for a principal that is not there.
        """
        ...

    def identify(self, material: Material) -> str | None:
        """The key id of a value found at a destination, or None where it cannot be told. May be repeated."""
        ...

    def delete(self, key_id: str) -> None:
        """Take the key away for good. May be repeated: an unknown id is success. Not called without `can_delete`."""
        ...


@runtime_checkable
class Issues(Protocol):
    """A provider with `origin: issued`."""

    def create(self, label: str) -> IssuedKey:
        """Make a key. Sent exactly once; never retried below this call.

        `label` holds `rotator/<version uuid>`. Raises LostAnswer unless it is certain that no key was made:
        a time-out, a cut connection after bytes were sent, any 5xx, an answer that cannot be read.
        """
        ...


@runtime_checkable
class Chooses(Protocol):
    """A provider with `origin: chosen`: we make the value and seal it first."""

    def generate(self) -> Material:
        """Make a value. Changes nothing; asks the provider only for which principal it is to be."""
        ...

    def set(self, material: Material) -> str:
        """Make the provider accept the value and return its key id. May be repeated with the same value."""
        ...


@runtime_checkable
class Asks(Protocol):
    """A provider with `origin: supplied`: its API cannot make keys, so a person does, and hands us the value."""

    def instructions(self) -> str:
        """What the person has to do to make a key, such as `make a key at https://…`. Plain text, no I/O."""
        ...


@runtime_checkable
class Disables(Protocol):
    """A provider with `can_disable`."""

    def disable(self, key_id: str) -> None:
        """Stop the key from working, reversibly. May be repeated."""
        ...

    def enable(self, key_id: str) -> None:
        """Undo disable. May be repeated."""
        ...


@runtime_checkable
class Dates(Protocol):
    """A provider that tells the last use of one key at a time, and not in lists."""

    def with_use(self, key: Key) -> Key:
        """The key with its last use, as far as there was one. May be repeated; one that is gone stays as it is."""
        ...


@runtime_checkable
class Permits(Protocol):
    """A provider with `permissions`."""

    def permissions(self) -> Permissions:
        """What a key that is made now may do. Asks only where the capability is `read`; may be repeated."""
        ...


@runtime_checkable
class Signs(Protocol):
    """A provider whose own requests may be signed by one of the very keys that it manages."""

    def signing_key(self) -> str | Secret | None:
        """The key that signs our requests from now on, by its id, or by its value where that does not tell an id.

        None: one that is no principal's for long. Asks nobody.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Metered:
    """Use of a key, as the provider accounts for it."""

    at: datetime  # the latest that it may have been
    what: str  # such as `5 requests for completions`


@runtime_checkable
class Meters(Protocol):
    """A provider that accounts for the use of each key, besides what it tells in `last_used_at`."""

    def metered(self, key_id: str, since: datetime) -> Metered | None:
        """The latest use of the key since then; None: none is accounted for. What `authenticate` does is no such use.

        May be repeated. Raises PermanentError where the account may not see it, or it cannot be understood.
        """
        ...


@runtime_checkable
class Samples(Protocol):
    """A provider that accounts for use in buckets of time, besides what it tells in `last_used_at`."""

    @property
    def kinds(self) -> Sequence[str]:
        """What is accounted for apart, each by a question of its own."""
        ...

    def samples(self, kind: str, key_id: str, since: datetime) -> Sequence[Sample]:
        """The use of a key of this kind in every bucket that ends after `since`.

        A bucket that is not over may have more in it at the next look. May be repeated. Raises as `metered`.
        """
        ...


@runtime_checkable
class Logs(Protocol):
    """A provider with an audit log of its own, which tells who changed keys."""

    def changes(self, key_ids: Sequence[str], since: datetime) -> Sequence[Change]:
        """What others than us did to these keys and to their owner since then; empty where we are not to read the log.

        May be repeated. Raises as `metered`.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One key of an account, and whose it is."""

    key: Key
    account: str  # what `account()` of the provider that is bound to it would say, such as `openai:proj_abc`
    holder: str  # in words, such as `service account batch of project Web`
    options: Mapping[str, str] | None = None  # of the credential that would rotate it; None: the API makes none such
    tells_last_use: bool = True  # whether the provider tells it at all


@runtime_checkable
class Lists(Protocol):
    """A provider's account (`ports.adapter.ProviderAccount`) that lists the keys of all its owners, not of one."""

    def inventory(self) -> Iterator[Listed]:
        """Every key of the account, all pages, ours or not. Only reads; may be repeated.

        Raises TemporaryError, AccessDenied where our credential may not list, or another PermanentError.
        """
        ...
