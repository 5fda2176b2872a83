"""What may stand in the file, as pydantic models: keys, types, bounds and defaults.

What they mean together is checked where it is used: `policies`, `targets`, `load`.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, WithJsonSchema

from rotator.access.aws import AwsSettings
from rotator.access.vault import ServerSettings
from rotator.config.models import FACTS, SealKey, ServiceKey
from rotator.config.part import Entry
from rotator.config.readers import Readers, read_readers
from rotator.config.urls import database_url
from rotator.domain.hours import Dated, Weekly, read_span
from rotator.domain.hours import Span as TimeSpan
from rotator.domain.model import LAST_WAVE
from rotator.domain.policy import Policy
from rotator.domain.reactions import CHECKS, Caps, Reaction
from rotator.settings import Duration, FilePath, SecretAt, SecretReference
from rotator.verifier.notes import VerifierKey

_DIGITS = re.compile(r"\d{7}")
_TEN_YEARS = timedelta(days=3650)
_BUILT_IN = Policy()
_CAPS = Caps()


def _not_huge(value: object) -> object:
    if isinstance(value, str) and _DIGITS.search(value):
        message = "is longer than ten years"
        raise ValueError(message)
    return value


def _bounded(span: timedelta) -> timedelta:
    if span > _TEN_YEARS:
        message = "is longer than ten years"
        raise ValueError(message)
    return span


def _positive(span: timedelta) -> timedelta:
    if not span:
        message = "must be more than 0"
        raise ValueError(message)
    return span


Span = Annotated[Duration, BeforeValidator(_not_huge), AfterValidator(_bounded)]
"""A duration that calendars can hold."""

PositiveSpan = Annotated[Span, AfterValidator(_positive)]


def _store_url(value: object, info: Any) -> str | SecretReference:
    folder: Path = (info.context or {}).get("folder", Path())
    if isinstance(value, str) and value.startswith(("env:", "file:")):
        return _reference(value, folder)
    if not isinstance(value, str):
        message = "must be text"
        raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueErrors
    return database_url(value, folder, password=False)


def _seal_key(value: object, info: Any) -> SealKey:
    scheme, _, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    if scheme in ("env", "file"):
        return _reference(str(value), (info.context or {}).get("folder", Path()))
    form = _SEAL_KEYS.get(scheme)
    if form is None:
        # The value is not repeated: it may be the key itself.
        message = f"the key is named, not written here: use {', '.join(_SEAL_FORMS)}"
        raise ValueError(message)
    if not form.fullmatch(rest):
        message = f"is not of the form {next(known for known in _SEAL_FORMS if known.startswith(scheme))}"
        raise ValueError(message)
    return SecretReference(str(value)) if scheme == "systemd-credential" else ServiceKey(str(value))


_SEAL_FORMS = ("file:PATH", "env:NAME", "systemd-credential:NAME", "aws-kms:KEY", "vault-transit:MOUNT/KEY")
_SEAL_KEYS = {
    "systemd-credential": re.compile(r"[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*"),
    # an id, alias/NAME, or the ARN of either
    "aws-kms": re.compile(
        r"[A-Za-z0-9-]{1,256}|alias/[A-Za-z0-9/_-]{1,250}"
        r"|arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(key/[A-Za-z0-9-]+|alias/[A-Za-z0-9/_-]+)"
    ),
    "vault-transit": re.compile(r"(?!.*(^|/)\.\.?(/|$))[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)+"),
}


def _reference(text: str, folder: Path) -> SecretReference:
    scheme, _, rest = text.partition(":")
    if not rest or (scheme == "env" and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", rest)):
        message = f"names no {'environment variable' if scheme == 'env' else 'file'}: use env:NAME or file:PATH"
        raise ValueError(message)
    return SecretReference(text, folder)


def _label(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_./@:-]{0,61}[A-Za-z0-9])?", text):
        message = "a label is at most 63 letters, digits and `_./@:-`, with a letter or digit at both ends"
        raise ValueError(message)
    return text


Label = Annotated[str, AfterValidator(_label)]
"""The name or the value of a label: whatever a selector can name."""


def _free_names(labels: dict[str, str]) -> dict[str, str]:
    taken = [name for name in labels if name in FACTS]
    if taken:
        message = f"`{taken[0]}` is what selectors call the credential's own {taken[0]}: give the label another name"
        raise ValueError(message)
    return labels


def _line(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        message = "must be one line, without spaces at its ends"
        raise ValueError(message)
    return text


def _selectable(text: str) -> str:
    if set(text) & set(",=!"):
        message = "must hold none of `,=!`, so that a selector can name it"
        raise ValueError(message)
    return text


Line = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_line)]


def _some(entries: list[Any]) -> list[Any]:
    if not entries:
        message = "names no destination: nobody would ever read the key"
        raise ValueError(message)
    return entries


class StoreEntry(Entry):
    """`store:`, the database."""

    url: Annotated[
        InstanceOf[str] | InstanceOf[SecretReference],
        BeforeValidator(_store_url),
        WithJsonSchema({"type": "string", "pattern": r"^(sqlite:///|postgres(ql)?(\+psycopg)?://|env:|file:).+"}),
    ] = Field(default="sqlite:///rotator.db", validate_default=True)
    owner: Annotated[
        InstanceOf[str] | InstanceOf[SecretReference] | None,
        BeforeValidator(_store_url),
        WithJsonSchema({"type": "string", "pattern": r"^(sqlite:///|postgres(ql)?(\+psycopg)?://|env:|file:).+"}),
    ] = None
    anchor: str | None = Field(default=None, min_length=1)


SealKeyAt = Annotated[
    InstanceOf[SecretReference] | InstanceOf[ServiceKey],
    BeforeValidator(_seal_key),
    WithJsonSchema({"type": "string", "pattern": "^(env|file|systemd-credential|aws-kms):.+|^vault-transit:.+/.+"}),
]


class SealEntry(Entry):
    """`seal:`, the keys that encrypt material in the database."""

    key: SealKeyAt = Field(default="file:rotator.key", validate_default=True)
    also: tuple[SealKeyAt, ...] = ()
    aws: AwsSettings | None = None
    vault: ServerSettings | None = None
    keep: Literal["version", "rotation"] = "version"


class RetryEntry(Entry):
    """`engine.retry:`, the back-off; it doubles, with full jitter."""

    first: PositiveSpan = timedelta(seconds=2)
    most: PositiveSpan = timedelta(minutes=15)


class BrakeEntry(Entry):
    """`engine.brake:`, when a provider account that fails is left alone."""

    failures: int = Field(default=5, ge=1, le=1000)
    pause: PositiveSpan = timedelta(minutes=15)


class ReactionsEntry(Entry):
    """`engine.reactions:`, how often anything is done without a person, over all credentials."""

    per_hour: int = Field(default=_CAPS.per_hour, ge=0, le=1000)
    cool_down: Span = _CAPS.cool_down


class EngineEntry(Entry):
    """`engine:`, how work is paced."""

    lease: PositiveSpan = timedelta(seconds=60)
    call_budget: PositiveSpan = timedelta(seconds=20)
    workers: int = Field(default=8, ge=1, le=64)
    in_flight: int = Field(default=8, ge=1, le=64)
    watch: PositiveSpan = timedelta(minutes=5)
    sample: PositiveSpan = timedelta(minutes=15)
    retry: RetryEntry = RetryEntry()
    brake: BrakeEntry = BrakeEntry()
    reactions: ReactionsEntry = ReactionsEntry()


class ProviderEntry(Entry):
    """What every entry of `providers:` knows, whatever its type."""

    calls_per_second: float | None = Field(default=None, gt=0, le=1000)


def _span(value: object) -> TimeSpan:
    if not isinstance(value, str):
        message = "must be text"
        raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueErrors
    return read_span(value)


Spans = list[
    Annotated[InstanceOf[Weekly] | InstanceOf[Dated], BeforeValidator(_span), WithJsonSchema({"type": "string"})]
]
"""Hours of weekdays, and days of the calendar."""


def _weekly(value: object) -> TimeSpan:
    span = _span(value)
    if isinstance(span, Dated):
        message = "must be hours of weekdays, such as MON-FRI 09:00-17:00"
        raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueErrors
    return span


def _some_hours(spans: list[Weekly]) -> list[Weekly]:
    if not spans:
        message = "leave no time for it; MON-SUN is always"
        raise ValueError(message)
    return spans


Weeklies = list[Annotated[InstanceOf[Weekly], BeforeValidator(_weekly), WithJsonSchema({"type": "string"})]]
"""Hours of weekdays alone."""


WORKING_HOURS: list[Any] = ["MON-FRI 09:00-17:00"]


class BrownoutEntry(Entry):
    """`policy.brownout:`, when an old key is disabled for a while."""

    after: PositiveSpan
    lasts: PositiveSpan = Field(alias="for")
    hours: Annotated[Weeklies, AfterValidator(_some_hours)] = Field(default=WORKING_HOURS, validate_default=True)


class PolicyEntry(Entry):
    """`policy:`, when to rotate and how gently. Only the keys that are set count; the rest is merged."""

    rotate_every: PositiveSpan | None = None
    cron: str | None = Field(default=None, max_length=200)
    timezone: str = Field(default=_BUILT_IN.timezone, max_length=64)
    jitter: Span = _BUILT_IN.jitter
    windows: Spans | None = None
    blackouts: Spans | None = None
    max_age: PositiveSpan | None = None
    grace: Span = _BUILT_IN.grace
    soak: Span = _BUILT_IN.soak
    brownout: BrownoutEntry | None = None
    require_idle: Span = _BUILT_IN.require_idle
    min_interval: Span | None = None
    max_creates_per_day: int = Field(default=_BUILT_IN.max_creates_per_day, ge=1, le=1000)
    settle: Span | None = None
    hold_alarm: PositiveSpan = _BUILT_IN.hold_alarm
    allow_downtime: bool = _BUILT_IN.allow_downtime
    first: Literal["issue", "ask", "adopt"] | None = None
    wave_soak: Span = _BUILT_IN.wave_soak
    on_probe_failure: Literal["wait", "abandon"] = _BUILT_IN.on_probe_failure
    on_widening: Literal["block", "warn"] = _BUILT_IN.on_widening


class FileEntry(Entry):
    """What stands at the top besides the sections."""

    environment: str = Field(default="default", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    include: list[Annotated[str, Field(min_length=1)]] | None = None
    cards: FilePath | None = None


class EvidenceEntry(Entry):
    """`evidence:`, where consumers leave word of the key that they hold."""

    drop: FilePath | None = None


def _verifier_key(text: str) -> str:
    VerifierKey.parse(text)  # a BadNote is a ValueError
    return text


class AuditEntry(Entry):
    """`audit:`, who signs the trail and how often, and where it is copied to."""

    signing_key: SecretAt | None = None
    former_keys: list[Annotated[str, AfterValidator(_verifier_key)]] | None = None
    events: int = Field(default=1000, ge=1, le=1_000_000)
    every: PositiveSpan = timedelta(hours=1)
    sinks: dict[str, Any] | None = None
    require_sink: list[str] | None = None


class DefaultsEntry(Entry):
    """`defaults:`, what credentials share."""

    policy: dict[str, Any] | None = None


def _readers(value: object) -> Readers:
    if not isinstance(value, str):
        message = "must be text"
        raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueErrors
    _not_huge(value)
    readers = read_readers(value)
    _bounded(readers.every)
    return readers


ReadersText = Annotated[
    InstanceOf[Readers],
    BeforeValidator(_readers),
    WithJsonSchema({"type": "string", "pattern": r"^(reload|restart|poll +(\d+d)?(\d+h)?(\d+m)?(\d+s)?)$"}),
]
"""How the readers of a place read it."""


class TargetEntry(Entry):
    """An entry of a credential's `destinations:` in its long form. `reload` and `probe` are read on their own."""

    to: str = Field(min_length=1)
    path: str | None = Field(default=None, min_length=1)
    fields: dict[str, str] | None = None
    prefix: str | None = None
    value: str | None = None
    wave: int | None = Field(default=None, ge=1, le=LAST_WAVE - 1)
    reload: dict[str, Any] | None = None
    probe: dict[str, Any] | None = None
    mode: Literal["single", "pair"] = "single"
    readers: ReadersText | None = None
    propagation: Span | None = None


def _network(value: object) -> str:
    try:
        return str(ip_network(str(value)))
    except ValueError:
        message = "is no network: write one such as 203.0.113.0/24, or one address"
        raise ValueError(message) from None


NetworkText = Annotated[str, BeforeValidator(_network)]
"""A network, or one address."""


def _day(value: object) -> object:
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        message = "is no day: write one such as 2026-11-01"
        raise ValueError(message) from None


Day = Annotated[date, BeforeValidator(_day)]


def _checks(on: dict[str, Reaction]) -> dict[str, Reaction]:
    unknown = [check for check in on if check not in CHECKS]
    if unknown:
        message = f"there is no check `{unknown[0][:40]}`; known: {', '.join(CHECKS)}"
        raise ValueError(message)
    return on


class CredentialEntry(Entry):
    """An entry of `credentials:`. Options, policy and destinations are read on their own."""

    provider: str = Field(min_length=1)
    moved_from: str | None = Field(default=None, min_length=1)
    options: dict[str, Any] | None = None
    policy: dict[str, Any] | None = None
    labels: Annotated[dict[Label, Label], AfterValidator(_free_names)] | None = None
    owner: Annotated[Line, AfterValidator(_selectable)] | None = None
    runbook: Line | None = None
    destinations: Annotated[list[Any], AfterValidator(_some), WithJsonSchema({"type": "array", "minItems": 1})]
    consumers: list[dict[str, Any]] | None = None
    allowed_ips: Annotated[list[NetworkText], AfterValidator(_some)] | None = None
    allowed_ips_confirmed: Day | None = None
    expect_policies: list[str | dict[str, Any]] | None = None
    budget: float | None = Field(default=None, gt=0, le=1e9)
    on: Annotated[dict[str, Reaction], AfterValidator(_checks)] | None = None
