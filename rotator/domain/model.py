"""The things the service knows, as frozen rows. A field's name is its column's name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NewType

CredentialId = NewType("CredentialId", str)
VersionId = NewType("VersionId", str)
RotationId = NewType("RotationId", str)
RetirementId = NewType("RetirementId", str)
DeliveryId = NewType("DeliveryId", str)
RequestId = NewType("RequestId", str)

WHOLE_BODY = ""
"""The field name that stands for the whole body of a place (`value:` in the configuration)."""


class VersionState(StrEnum):
    """Where one key of a credential stands."""

    PENDING = "pending"  # the row is the intent: it exists before the key does
    CURRENT = "current"
    PREVIOUS = "previous"
    DISABLED = "disabled"
    CONDEMNED = "condemned"  # ours, to be taken away, never to be used
    RETIRED = "retired"

    @property
    def living(self) -> bool:
        """Whether the key may still work at the provider."""
        return self is not VersionState.RETIRED


class RotationState(StrEnum):
    """How far a rotation came. Past participles: what is true."""

    PLANNED = "planned"
    CREATED = "created"
    AUTHENTICATED = "authenticated"
    PUSHED = "pushed"
    VERIFIED = "verified"
    COMPLETED = "completed"
    ABANDONED = "abandoned"


class RetirementState(StrEnum):
    """How far the taking-away of one version came."""

    PLANNED = "planned"
    BROWNED_OUT = "browned_out"  # disabled for a while, to find who still reads it; leads back to `planned`
    DRAINED = "drained"
    DISABLED = "disabled"
    DELETED = "deleted"
    CANCELLED = "cancelled"


class DeliveryState(StrEnum):
    """One rotation to one destination."""

    PLANNED = "planned"
    PUSHED = "pushed"
    VERIFIED = "verified"


class RetirementReason(StrEnum):
    """Why a version is taken away; decides its gates (`domain.plans`)."""

    SUPERSEDED = "superseded"
    COMPROMISED = "compromised"
    ABANDONED = "abandoned"
    LOST_ANSWER = "lost_answer"
    EXTRA = "extra"
    REHEARSED = "rehearsed"  # made to show that the way works, and never given to a consumer


class Cause(StrEnum):
    """Why a rotation was opened."""

    FIRST = "first"
    SCHEDULE = "schedule"
    MANUAL = "manual"
    COMPROMISED = "compromised"
    PUT_BACK = "put_back"  # an abandoned key was pushed: the current one is written everywhere once more
    ADDED = "added"  # a destination was added, or left out: the current key is pushed there
    DRIFT = "drift"  # a person decided about a destination that was changed by hand: a living key is written there
    ROLLBACK = "rollback"  # a person wants the previous key back
    UNPAIR = "unpair"  # an old key is taken away: the current one is written beside itself, where the old one stands
    REHEARSAL = "rehearsal"  # everything but the switch: its new key is taken away again, so it ends `abandoned`


REUSES = (Cause.PUT_BACK, Cause.ADDED, Cause.DRIFT, Cause.ROLLBACK, Cause.UNPAIR)
"""Rotations whose target is a living version: no key is created."""

NEW_KEYS = (Cause.FIRST, Cause.SCHEDULE, Cause.MANUAL)
"""Rotations that give out a new key without haste: wave by wave, and only where its readers fare well."""

LAST_WAVE = 10
"""The wave of deliveries whose place names none: after all that do."""

OPEN_ROTATION = tuple(s for s in RotationState if s not in (RotationState.COMPLETED, RotationState.ABANDONED))
OPEN_RETIREMENT = tuple(s for s in RetirementState if s not in (RetirementState.DELETED, RetirementState.CANCELLED))


@dataclass(frozen=True, kw_only=True)
class Credential:
    """The managed thing that outlives its keys."""

    id: CredentialId
    name: str
    provider: str
    managed: bool  # False once the configuration names it no more
    created_at: datetime
    watched_at: datetime | None = None  # when its keys and places were last looked at without being asked for
    paused_at: datetime | None = None
    paused_by: str | None = None
    paused_until: datetime | None = None  # None: until somebody ends it
    pause_reason: str | None = None

    def paused(self, now: datetime) -> bool:
        """Whether a person has stopped it, and the time they gave is not over."""
        return self.paused_at is not None and (self.paused_until is None or now < self.paused_until)

    @property
    def pause_message(self) -> str:
        """Who paused it, until when, and why."""
        until = f"until {self.paused_until:%Y-%m-%d %H:%M} UTC" if self.paused_until else "until it is unpaused"
        return f"paused by {self.paused_by} {until}: {self.pause_reason}"


@dataclass(frozen=True, kw_only=True)
class Version:
    """A credential's n-th key. Inserted `pending` before the request that creates it is sent, one row per request."""

    id: VersionId
    credential_id: CredentialId
    number: int
    state: VersionState
    account: str  # the provider's own name of the account, pinned
    label: str
    created_at: datetime  # of the row
    key_id: str | None = None
    sent_at: datetime | None = None  # when the create request may have left us, or a person supplied the key
    issued_at: datetime | None = None  # when the provider made the key; None: unknown
    expires_at: datetime | None = None  # when the provider ends it by itself; None: it does not, as far as it tells
    fingerprint: str | None = None
    identity: str | None = None  # who the provider says the key is, such as an STS ARN
    current_at: datetime | None = None  # when it was first current: a roll-back does not move the schedule
    checked_at: datetime | None = None  # when we last used the key ourselves, to tell our use from others'
    retired_at: datetime | None = None
    compromised_at: datetime | None = None  # a person said that it has leaked: nothing uses it again
    permissions: str | None = None  # what it could do when it was made (`Permissions.text`); None: not known

    @property
    def awaited(self) -> bool:
        """Whether a person was asked for its key and has not supplied it: nothing was sent, and no key is ours."""
        return self.state is VersionState.PENDING and self.key_id is None and self.sent_at is None


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What every row of work knows about why it does not move. Waiting is a fact, not a sleep.

    `blocked` means a person is needed. `not_before` serves grace, soak, settle, Retry-After and back-off alike.
    """

    attempt: int = 0  # failures in a row of the step at hand
    not_before: datetime | None = None
    blocked: bool = False
    reason: str | None = None
    message: str | None = None
    remedy: str | None = None
    since: datetime | None = None  # since when this reason holds


@dataclass(frozen=True, kw_only=True)
class Rotation(Waiting):
    """One durable attempt to make its target current."""

    id: RotationId
    credential_id: CredentialId
    state: RotationState
    cause: Cause
    account: str  # pinned; empty until the first rotation has asked
    opened_at: datetime
    grace: timedelta
    soak: timedelta
    target_id: VersionId | None = None
    beside_id: VersionId | None = None  # what it writes beside the target (`mode: pair`); None: the target itself
    rewrites: bool = False  # that has changed after a write had been sent: what was sent is written over in any case
    actor: str = ""
    urgent: bool = False  # --compromised: what it replaces dies as soon as the new key is verified everywhere
    successes: int = 0  # of authenticate, in a row
    first_success_at: datetime | None = None
    wave_until: datetime | None = None  # a wave is verified and soaks until then; None: no wave soaks
    closed_at: datetime | None = None

    @property
    def open(self) -> bool:
        """Whether there is anything left to do."""
        return self.state in OPEN_ROTATION

    @property
    def gentle(self) -> bool:
        """Whether it gives out a new key without haste: what goes wrong is waited for."""
        return self.cause in NEW_KEYS and not self.urgent


@dataclass(frozen=True, kw_only=True)
class Retirement(Waiting):
    """The durable taking-away of one version. `attempt` counts the step at hand."""

    id: RetirementId
    credential_id: CredentialId
    version_id: VersionId
    state: RetirementState
    why: RetirementReason
    opened_at: datetime
    grace: timedelta
    soak: timedelta
    delete_started: bool = False  # the point of no return
    disable_started: bool = False
    wanted_back: bool = False  # a person reactivates it: nothing is taken away any more, it ends `cancelled`
    keep: Sequence[str] = ()  # key ids that a person said are not the lost one
    without: Sequence[str] = ()  # identities of places that a person said it does not wait for
    forced: bool = False  # a person goes past what speaks for its being in use still
    revoked: bool = False  # a person wants the key to stop working now, whoever reads it: no gate but the account
    closed_at: datetime | None = None
    brownout_after: timedelta | None = None  # since it was opened
    brownout_for: timedelta | None = None  # None: it has no brownout
    browned_out: bool = False  # it has been, or was left out: not again
    restore_at: datetime | None = None  # when the brownout that lasts is over
    brownout_failure: str | None = None  # who missed the key in the last one
    unconfirmed_until: datetime | None = None  # the end of its soak, until the provider is seen to refuse the key

    @property
    def open(self) -> bool:
        """Whether there is anything left to do."""
        return self.state in OPEN_RETIREMENT

    @property
    def due_at(self) -> datetime | None:
        """When its next step is due at the earliest; None: at once. While a brownout lasts, one only looks before."""
        if self.restore_at is None or self.not_before is None:
            return self.not_before
        return max(self.restore_at, self.not_before)

    @property
    def gone_from(self) -> datetime | None:
        """When its key can stop working for good at the earliest; None: at once."""
        if self.unconfirmed_until is not None:
            return self.unconfirmed_until
        trial = self.brownout_for is not None and self.state in (RetirementState.PLANNED, RetirementState.BROWNED_OUT)
        if not trial or self.not_before is None:
            return self.not_before
        return max(self.not_before, self.opened_at + self.grace)

    @property
    def leaked(self) -> bool:
        """Whether its key is to stop working because others may have it."""
        return self.why is RetirementReason.COMPROMISED or self.revoked

    @property
    def uncontained(self) -> bool:
        """Whether its key is to stop working now, and may work still."""
        return self.revoked and self.state in (RetirementState.PLANNED, RetirementState.DRAINED)


@dataclass(frozen=True, kw_only=True)
class Delivery(Waiting):
    """One rotation to one destination. What and where are pinned; how to reach it is today's configuration."""

    id: DeliveryId
    rotation_id: RotationId
    credential_id: CredentialId
    position: int
    to: str
    address: str
    identity: str
    templates: Mapping[str, str]  # field → template
    state: DeliveryState
    started: bool = False  # a write of it may have left us
    without: bool = False  # a person said that the rotation does not wait for it
    base_revision: str | None = None  # committed before the write that is conditional on it
    revision: str | None = None  # what the destination said after our write
    wave: int = LAST_WAVE  # a rotation without haste begins with the lowest
    hooks_done: Mapping[str, str] = field(default_factory=dict)  # `reload`, `probe` → fingerprint of the key it was for


class Observed(StrEnum):
    """What stood at a place when we last looked."""

    SERVED = "served"  # what the placement says
    PREVIOUS = "previous"  # another key of ours, which is not the one that the placement says
    MISSING = "missing"
    FOREIGN = "foreign"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What we last put at (destination, field). Outlives rotations.

    `version_id` is None where a person allowed us to replace what stands there (`adopt --replace`).
    """

    identity: str
    field: str
    to: str  # how the configuration called the place
    address: str
    credential_id: CredentialId
    version_id: VersionId | None
    fingerprint: str | None  # of the rendered value; None: nothing stands there
    revision: str | None
    placed_at: datetime
    observed: Observed = Observed.SERVED  # what we saw when we last looked
    checked_at: datetime | None = None
    owed: bool = False  # a rotation completed without it: it is given the current key when it answers


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something true that a person should know. Found and cleared, never deleted."""

    id: str
    kind: str
    subject: str  # what it is about: a credential's name, a key id, an address
    credential_id: CredentialId | None
    account: str | None
    message: str
    remedy: str | None
    found_at: datetime
    urgent: bool = False  # somebody is out of service now
    ignored_at: datetime | None = None  # a person has seen it and wants to hear no more of it
    cleared_at: datetime | None = None


CONSUMER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:-]{0,62}")
"""What a consumer that reports itself may be called. It is a file's name as well."""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """A consumer's last word: the key that it holds, by the fingerprint of its version."""

    credential_id: CredentialId
    consumer: str
    fingerprint: str
    seen_at: datetime


class RequestState(StrEnum):
    """What became of a request."""

    STANDING = "standing"
    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A verb that a person wants done, for a worker that has the secrets. Carried out once."""

    id: RequestId
    credential_id: CredentialId
    state: RequestState
    verb: str
    arguments: Mapping[str, Any]  # JSON, never a secret
    actor: str
    asked_at: datetime
    because: str | None = None
    done_at: datetime | None = None
    reason: str | None = None  # why it was refused, or stands still
    message: str | None = None  # what came of it, in words


@dataclass(frozen=True, kw_only=True)
class Account:
    """How one provider account fares with all workers. Its name is that of its entry in the configuration."""

    provider: str
    failures: int = 0  # steps in a row that failed at the provider
    failed_at: datetime | None = None  # the last of them
    paused_until: datetime | None = None
    not_before: datetime | None = None  # the provider asked for it (Retry-After)
    reason: str | None = None
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class Follower:
    """How far something that follows the trail has come: the trail is its outbox.

    The cursor moves once the receiver has accepted the events up to it, so each is received at least once, in order.
    """

    name: str
    seq: int = 0  # of the last event that its receiver accepted
    attempt: int = 0  # failures in a row
    not_before: datetime | None = None
    reason: str | None = None  # of the last failure
    message: str | None = None
    since: datetime | None = None  # since when it has accepted nothing; None: it accepts
    taken_by: str | None = None  # the turn that sends now
    taken_until: datetime | None = None  # then somebody else may


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A worker's time-limited right to one credential. `epoch` is its fencing token."""

    credential_id: CredentialId
    holder: str
    epoch: int
    until: datetime
    released: bool
    fenced_at: datetime | None  # when a call was last left on its way: an *expired* lease taken over, or a lost answer


def creates_of_a_day(sent: Sequence[datetime], now: datetime) -> list[datetime]:
    """When the creates of the last 24 hours were sent at the latest, from all moments in the order of their versions.

    The order is certain, the moments are not: a clock may have been set on and back in between. A create is no older
    than one before it; and one that lies in the future is no younger than one after it, or than now.
    """
    found: list[datetime] = []
    for position, moment in enumerate(sent):
        known = next((later for later in sent[position:] if later <= now), now) if moment > now else moment
        found.append(max(known, found[-1]) if found else known)
    return [moment for moment in found if moment > now - timedelta(hours=24)]


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Everything on record about one credential, read in one go. Closed rotations and retirements are left out."""

    credential: Credential
    versions: Sequence[Version]  # living ones, and the newest retired one, by number
    rotation: Rotation | None
    deliveries: Sequence[Delivery]  # of the open rotation
    retirements: Sequence[Retirement]  # open ones, oldest first
    placements: Sequence[Placement]  # of this credential
    last_completed_at: datetime | None  # of a rotation that made a *new* key current
    creates: Sequence[datetime] = field(default=())  # as of `creates_of_a_day`
    unacknowledged: Mapping[VersionId, Sequence[Delivery]] = field(default_factory=dict)
    """Living version → deliveries of abandoned rotations to it of which nobody knows whether the write arrived.

    Of places that have been written since then, it is known: that write keeps an earlier one out. Left out where
    nothing is being taken away, for nobody asks then.
    """
    shadows: Mapping[VersionId, Sequence[Delivery]] = field(default_factory=dict)
    """Condemned version → deliveries of its rehearsal whose shadows may still stand."""

    @property
    def current(self) -> Version | None:
        """The version consumers should read."""
        return next((v for v in self.versions if v.state is VersionState.CURRENT), None)

    @property
    def target(self) -> Version | None:
        """The version that the open rotation wants to make current."""
        if self.rotation is None or self.rotation.target_id is None:
            return None
        return self.version(self.rotation.target_id)

    def version(self, version_id: VersionId) -> Version | None:
        """The version of this id, if it is among those loaded."""
        return next((v for v in self.versions if v.id == version_id), None)

    def retirement_of(self, version_id: VersionId) -> Retirement | None:
        """The open retirement of a version."""
        return next((r for r in self.retirements if r.version_id == version_id), None)

    @property
    def revoked(self) -> bool:
        """Whether the key that consumers should read was revoked. Only then has a current version a retirement."""
        return self.current is not None and self.retirement_of(self.current.id) is not None

    def placements_at(self, identity: str) -> dict[str, Placement]:
        """Field → what we put there, for one destination."""
        return {p.field: p for p in self.placements if p.identity == identity}

    def lacks_current(self, identity: str) -> bool:
        """Whether a place waits for the current key: never given anything, left out, or holding what nobody should use.

        That is a key that was condemned, or a value that a person allowed to be overwritten.
        """
        placed = [p for p in self.placements if p.identity == identity and not p.owed]
        useless = {None, *(v.id for v in self.versions if v.state is VersionState.CONDEMNED)}
        return not placed or any(p.version_id in useless for p in placed)
