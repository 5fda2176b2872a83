"""The tables. A column is called as the field of the dataclass; the rules that matter most hold in the database too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from rotator.domain.model import (
    Cause,
    DeliveryState,
    Observed,
    RequestState,
    RetirementReason,
    RetirementState,
    RotationState,
    VersionState,
)
from rotator.domain.notices import State
from rotator.store.columns import Moment, Span, TextList, TextMap, Word

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# Spelled out once and used by the partial indexes and by the queries: a database uses a partial index only where
# the query says the very same thing. "Not closed" rather than "open": a state of a newer version counts as open.
ROTATION_IS_OPEN = "state NOT IN ('completed', 'abandoned')"
RETIREMENT_IS_OPEN = "state NOT IN ('deleted', 'cancelled')"
VERSION_IS_CURRENT = "state = 'current'"
FINDING_STANDS = "cleared_at IS NULL"
REQUEST_STANDS = "state = 'standing'"
EVENT_IS_CHECKPOINT = "event = 'checkpoint.succeeded'"
KEY_IS_ACTIVE = "active"


def _among(column: str, words: Iterable[str]) -> CheckConstraint:
    known = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({known})", name=column)


def _one_row() -> tuple[Column[Any], CheckConstraint]:
    return Column("one", Integer, primary_key=True, autoincrement=False), CheckConstraint("one = 1", name="one")


def _partial(name: str, *columns: str, where: str, unique: bool = True) -> Index:
    condition = text(where)
    return Index(name, *columns, unique=unique, postgresql_where=condition, sqlite_where=condition)


def _id() -> Column[Any]:
    return Column("id", Text, primary_key=True)


def _credential_id() -> Column[Any]:
    return Column("credential_id", Text, ForeignKey("credential.id"), nullable=False)


def _waiting() -> tuple[Column[Any], ...]:
    return (
        Column("attempt", Integer, nullable=False),
        Column("not_before", Moment),
        Column("blocked", Boolean, nullable=False),
        Column("reason", Text),
        Column("message", Text),
        Column("remedy", Text),
        Column("since", Moment),
    )


credential = Table(
    "credential",
    METADATA,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("provider", Text, nullable=False),
    Column("managed", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("paused_at", Moment),
    Column("paused_by", Text),
    Column("paused_until", Moment),
    Column("pause_reason", Text),
    Column("watched_at", Moment),
)

configured = Table(  # the configuration's last word on a credential: how to finish what is open once it is gone
    "configured",
    METADATA,
    Column("credential_id", Text, ForeignKey("credential.id"), primary_key=True),
    Column("entry", Text, nullable=False),  # JSON, never a secret
)

version = Table(
    "version",
    METADATA,
    _id(),
    _credential_id(),
    Column("number", Integer, nullable=False),
    Column("state", Word(VersionState), nullable=False),
    Column("account", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("key_id", Text),
    Column("sent_at", Moment),
    Column("issued_at", Moment),
    Column("expires_at", Moment),
    Column("fingerprint", Text),
    Column("identity", Text),
    Column("current_at", Moment),
    Column("checked_at", Moment),
    Column("retired_at", Moment),
    Column("compromised_at", Moment),
    Column("permissions", Text),
    UniqueConstraint("account", "key_id"),
    UniqueConstraint("credential_id", "number"),
    _among("state", VersionState),
    _partial("one_current_version", "credential_id", where=VERSION_IS_CURRENT),
)

rotation = Table(
    "rotation",
    METADATA,
    _id(),
    _credential_id(),
    Column("state", Word(RotationState), nullable=False),
    Column("cause", Word(Cause), nullable=False),
    Column("account", Text, nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("grace", Span, nullable=False),
    Column("soak", Span, nullable=False),
    Column("target_id", Text, ForeignKey("version.id")),
    Column("beside_id", Text, ForeignKey("version.id")),
    Column("rewrites", Boolean, nullable=False),
    Column("actor", Text, nullable=False),
    Column("urgent", Boolean, nullable=False),
    Column("successes", Integer, nullable=False),
    Column("first_success_at", Moment),
    Column("wave_until", Moment),
    Column("closed_at", Moment),
    *_waiting(),
    _among("state", RotationState),
    _among("cause", Cause),
    _partial("one_open_rotation", "credential_id", where=ROTATION_IS_OPEN),
    Index("closed_rotations", "credential_id", "closed_at"),
)

retirement = Table(
    "retirement",
    METADATA,
    _id(),
    _credential_id(),
    Column("version_id", Text, ForeignKey("version.id"), nullable=False),
    Column("state", Word(RetirementState), nullable=False),
    Column("why", Word(RetirementReason), nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("grace", Span, nullable=False),
    Column("soak", Span, nullable=False),
    Column("delete_started", Boolean, nullable=False),
    Column("disable_started", Boolean, nullable=False),
    Column("wanted_back", Boolean, nullable=False),
    Column("keep", TextList, nullable=False),
    Column("without", TextList, nullable=False),
    Column("forced", Boolean, nullable=False),
    Column("revoked", Boolean, nullable=False),
    Column("closed_at", Moment),
    Column("brownout_after", Span),
    Column("brownout_for", Span),
    Column("browned_out", Boolean, nullable=False),
    Column("restore_at", Moment),
    Column("brownout_failure", Text),
    Column("unconfirmed_until", Moment),
    *_waiting(),
    _among("state", RetirementState),
    _among("why", RetirementReason),
    _partial("one_open_retirement", "version_id", where=RETIREMENT_IS_OPEN),
    _partial("open_retirements", "credential_id", where=RETIREMENT_IS_OPEN, unique=False),
)

delivery = Table(
    "delivery",
    METADATA,
    _id(),
    Column("rotation_id", Text, ForeignKey("rotation.id"), nullable=False),
    _credential_id(),
    Column("position", Integer, nullable=False),
    Column("to", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("identity", Text, nullable=False),
    Column("templates", TextMap, nullable=False),
    Column("state", Word(DeliveryState), nullable=False),
    Column("started", Boolean, nullable=False),
    Column("without", Boolean, nullable=False),
    Column("base_revision", Text),
    Column("revision", Text),
    Column("wave", Integer, nullable=False),
    Column("hooks_done", TextMap, nullable=False),
    *_waiting(),
    _among("state", DeliveryState),
    Index("deliveries_of_rotation", "rotation_id", "position"),
)

placement = Table(
    "placement",
    METADATA,
    Column("identity", Text, primary_key=True),
    Column("field", Text, primary_key=True),
    Column("to", Text, nullable=False),
    Column("address", Text, nullable=False),
    _credential_id(),
    Column("version_id", Text, ForeignKey("version.id")),
    Column("fingerprint", Text),
    Column("revision", Text),
    Column("placed_at", Moment, nullable=False),
    Column("observed", Word(Observed), nullable=False),
    Column("checked_at", Moment),
    Column("owed", Boolean, nullable=False),
    _among("observed", Observed),
    Index("placements_of_credential", "credential_id"),
)

sighting = Table(  # the last word of each consumer; it changes no row of work, so nobody needs a lease for it
    "sighting",
    METADATA,
    Column("credential_id", Text, ForeignKey("credential.id"), primary_key=True),
    Column("consumer", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("seen_at", Moment, nullable=False),
)

sampling = Table(  # how far the use of keys is on record
    "sampling",
    METADATA,
    Column("credential_id", Text, ForeignKey("credential.id"), primary_key=True),
    Column("since", Moment, nullable=False),
    Column("at", Moment, nullable=False),
)

sample = Table(  # the use of a key in a bucket of time; what is old is rolled up, and goes
    "sample",
    METADATA,
    Column("credential_id", Text, ForeignKey("credential.id"), primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("at", Moment, primary_key=True),
    Column("width", Span, primary_key=True),
    Column("service", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("region", Text, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("ours", Boolean, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("cost", BigInteger, nullable=False),  # in millionths
    Column("currency", Text, nullable=False),
    Column("last_at", Moment),
)

request = Table(
    "request",
    METADATA,
    _id(),
    _credential_id(),
    Column("state", Word(RequestState), nullable=False),
    Column("verb", Text, nullable=False),
    Column("arguments", TextMap, nullable=False),
    Column("actor", Text, nullable=False),
    Column("because", Text),
    Column("asked_at", Moment, nullable=False),
    Column("done_at", Moment),
    Column("reason", Text),
    Column("message", Text),
    _among("state", RequestState),
    _partial("standing_requests", "credential_id", where=REQUEST_STANDS, unique=False),
)

lease = Table(  # made with its credential, released, at epoch 0: never held
    "lease",
    METADATA,
    Column("credential_id", Text, ForeignKey("credential.id"), primary_key=True),
    Column("holder", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("until", Moment, nullable=False),
    Column("released", Boolean, nullable=False),
    Column("fenced_at", Moment),
    Column("idle_until", Moment),  # nothing is to be done before, says who released it; NULL: it is due
    Column("edition", Text),  # of the configuration that says so
    Index("idle_leases", "idle_until"),
)

finding = Table(
    "finding",
    METADATA,
    _id(),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("credential_id", Text, ForeignKey("credential.id")),
    Column("account", Text),
    Column("message", Text, nullable=False),
    Column("remedy", Text),
    Column("found_at", Moment, nullable=False),
    Column("urgent", Boolean, nullable=False),
    Column("ignored_at", Moment),
    Column("cleared_at", Moment),
    _partial("one_standing_finding", "kind", "subject", where=FINDING_STANDS),
    _partial("findings_of_credential", "credential_id", where=FINDING_STANDS, unique=False),
)

event = Table(  # body and hash are the trail; the other columns repeat what is in the body, to search by
    "event",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("event", Text, nullable=False),
    Column("credential", Text),
    Column("rotation", Text),
    Index("events_of_credential", "credential", "seq"),
    _partial("checkpoints", "seq", where=EVENT_IS_CHECKPOINT, unique=False),
)

tally = Table(  # what metrics tell and no row remembers: it outlives the processes that counted, and pruned events
    "tally",
    METADATA,
    Column("what", Text, primary_key=True),
    Column("labels", TextList, primary_key=True),
    Column("value", Float, nullable=False),
)

head = Table(  # the end of the chain, and its Merkle tree; the row's lock is what keeps the chain from forking
    "head",
    METADATA,
    *_one_row(),
    Column("seq", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    Column("tree", TextList, nullable=False),
)

sealing_key = Table(  # the key-encryption keys that blobs of this database may be sealed under; never a key itself
    "sealing_key",
    METADATA,
    _id(),
    Column("name", Text, nullable=False),  # as the configuration called it when it was added
    Column("proof", LargeBinary, nullable=False),  # sealed: whoever opens it has the key
    Column("active", Boolean, nullable=False),
    Column("added_at", Moment, nullable=False),
    _partial("one_active_sealing_key", "active", where=KEY_IS_ACTIVE),
)

sealed = Table(
    "sealed",
    METADATA,
    Column("version_id", Text, ForeignKey("version.id"), primary_key=True),
    Column("material", LargeBinary, nullable=False),
    Column("sealed_under", Text, ForeignKey("sealing_key.id"), nullable=False),
    Column("sealed_at", Moment, nullable=False),
    Index("sealed_under_key", "sealed_under", "version_id"),
)

install = Table(
    "install",
    METADATA,
    *_one_row(),
    Column("id", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("contracted", Text, nullable=False),  # the last revision whose old half was taken away
    Column("last_pass_at", Moment),
    Column("home", Text),  # where the database lived when a person, or its first use, last said that it is right
    Column("timeline", BigInteger),
    Column("anchored", Boolean, nullable=False),
    Column("pepper", LargeBinary),  # sealed
    Column("pepper_under", Text, ForeignKey("sealing_key.id")),
)

follower = Table(  # of the trail, which is its outbox: a sink, a channel of notifications
    "follower",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("not_before", Moment),
    Column("reason", Text),
    Column("message", Text),
    Column("since", Moment),
    Column("taken_by", Text),
    Column("taken_until", Moment),
)

notice = Table(  # of a route of notifications: what it has to say, and has said and that still holds
    "notice",
    METADATA,
    Column("route", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("state", Word(State), nullable=False),
    Column("changed_at", Moment, nullable=False),
    Column("times", Integer, nullable=False),
    Column("told_at", Moment),
    Column("body", TextMap, nullable=False),
    _among("state", State),
)

account = Table(  # of a provider, by its name in the configuration
    "account",
    METADATA,
    Column("provider", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("failed_at", Moment),
    Column("paused_until", Moment),
    Column("not_before", Moment),
    Column("reason", Text),
    Column("message", Text),
)
