"""What the rest of the house knows of a configuration file: checked, complete, and with every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from rotator.access.aws import AwsSettings
from rotator.access.vault import ServerSettings
from rotator.config.readers import Readers
from rotator.config.urls import database_url
from rotator.domain.errors import SetupError
from rotator.domain.model import LAST_WAVE
from rotator.domain.notices import Route
from rotator.domain.policy import Policy
from rotator.domain.reactions import Reaction
from rotator.engine.work import Bounds, Limits
from rotator.settings import SecretReference


@dataclass(frozen=True, kw_only=True)
class StoreConfig:
    """Where the database is. A URL that holds a password is never here: a reference to it is."""

    url: str | SecretReference
    owner: str | SecretReference | None = None  # the same database, for the role that owns its tables
    folder: Path = field(default=Path(), compare=False)  # what SQLite's relative paths are relative to
    anchor: Path | None = None  # a file outside the database that remembers how far the trail had come

    def resolve(self) -> str:
        """The URL for SQLAlchemy, read now. Raises SetupError; the message never holds the URL."""
        return self._resolved("url", self.url)

    def resolve_owner(self) -> str:
        """The same for who owns the tables; where nobody is named apart, that is who uses them."""
        return self.resolve() if self.owner is None else self._resolved("owner", self.owner)

    def _resolved(self, key: str, url: str | SecretReference) -> str:
        if isinstance(url, str):
            return url
        try:
            return database_url(url.read().reveal().strip(), self.folder, password=True)
        except ValueError as problem:
            message = f"store.{key}, read from {url.text}: {problem}"
            remedy = "correct what that names; odd characters of the password are written as %40 and so on"
            raise SetupError(message, reason="bad_store_url", remedy=remedy) from None


@dataclass(frozen=True)
class ServiceKey:
    """A key-encryption key that stays in the service that keeps it: `aws-kms:KEY` or `vault-transit:MOUNT/KEY`."""

    text: str


SealKey = SecretReference | ServiceKey


@dataclass(frozen=True, kw_only=True)
class SealConfig:
    """Where the key-encryption keys are, how to reach those of services, and how long material stays sealed."""

    key: SealKey
    also: tuple[SealKey, ...] = ()
    aws: AwsSettings = field(default_factory=AwsSettings)
    vault: ServerSettings | None = None
    keep: Literal["version", "rotation"] = "version"

    @property
    def keys(self) -> tuple[SealKey, ...]:
        """All of them; the first one seals in a new database."""
        return (self.key, *self.also)


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """Who signs checkpoints of the trail, and when one is due."""

    signing_key: SecretReference | None = None  # None: nobody signs
    former_keys: tuple[str, ...] = ()  # verifier keys of checkpoints that stand in the trail
    events: int
    every: timedelta


@dataclass(frozen=True, kw_only=True)
class ProviderConfig:
    """One entry of `providers:`. `settings` is an instance of the adapter's `Settings`."""

    name: str
    type: str
    settings: Any
    adapter: Any = field(repr=False)  # the class
    calls_per_second: float | None = None


@dataclass(frozen=True, kw_only=True)
class DestinationConfig:
    """One entry of `destinations:`. `settings` is an instance of the adapter's `Settings`."""

    name: str
    type: str
    settings: Any
    adapter: Any = field(repr=False)  # the class


@dataclass(frozen=True, kw_only=True)
class SinkConfig:
    """One entry of `audit.sinks:`. `settings` is an instance of the adapter's `Settings`."""

    name: str
    type: str
    settings: Any
    adapter: Any = field(repr=False)  # the class


@dataclass(frozen=True, kw_only=True)
class HookConfig:
    """A `reload:` or `probe:`. `settings` is an instance of the adapter's `Settings`."""

    settings: Any
    adapter: Any = field(repr=False)  # the class


@dataclass(frozen=True, kw_only=True)
class ConsumerConfig:
    """One entry of a credential's `consumers:` that can be asked. `settings` is an instance of `adapter.Settings`."""

    settings: Any
    adapter: Any = field(repr=False)  # the class
    reads: str | None = None  # the destination that it reads its key from; None: any of them


@dataclass(frozen=True, kw_only=True)
class Consumers:
    """A credential's `consumers:`: those that can be asked, and the names of those that have to report themselves."""

    asked: tuple[ConsumerConfig, ...] = ()
    heartbeats: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Target:
    """One entry of a credential's `destinations:`. `templates` maps field → template, WHOLE_BODY for `value:`.

    `companions` does so for the fields beside them that hold the key before the current one (`mode: pair`).
    """

    to: str
    path: str | None
    templates: Mapping[str, str]
    position: int  # in the list, from 0
    wave: int = LAST_WAVE
    reload: HookConfig | None = None
    probe: HookConfig | None = None
    companions: Mapping[str, str] = field(default_factory=dict)
    readers: Readers | None = None  # None: nobody has said
    propagation: timedelta | None = None  # None: the destination's own
    lag: timedelta = timedelta(0)  # how long after a write a reader may still hold the old value


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a policy value comes from; built-in defaults have no file."""

    source: Literal["credential", "defaults", "built-in", "destinations"]
    file: str | None = None
    line: int | None = None
    why: str | None = None  # where it is another one than somebody has written


@dataclass(frozen=True, kw_only=True)
class CredentialConfig:
    """One entry of `credentials:`. `options` is an instance of the adapter's `Options`."""

    name: str
    provider: str
    options: Any
    policy: Policy
    destinations: tuple[Target, ...]
    labels: Mapping[str, str]
    owner: str | None
    runbook: str | None = None  # where to look up what to do
    consumers: Consumers = field(default_factory=Consumers)
    moved_from: str | None = None  # what it was called before
    bounds: Bounds = field(default_factory=Bounds)
    on: Mapping[str, Reaction] = field(default_factory=dict)  # check → what is done about it
    places: Mapping[str, Origin]  # policy key → where its value comes from
    removed: bool = False  # the file names it no more: this is its last entry, kept in the database

    @property
    def facts(self) -> Mapping[str, str]:
        """What a selector can ask for: its labels, and the FACTS, which no label may be called."""
        owner = {"owner": self.owner} if self.owner else {}
        return {**self.labels, "name": self.name, "provider": self.provider, **owner}


FACTS = ("name", "provider", "owner")
"""What a selector can ask for besides labels."""


@dataclass(frozen=True, kw_only=True)
class RouteConfig:
    """One entry of `notify.routes:`. `settings` is an instance of the adapter's `Settings`."""

    route: Route
    settings: Any
    adapter: Any = field(repr=False)  # the class


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole configuration. Names are the keys of the mappings, in the order of the files."""

    path: Path
    environment: str
    store: StoreConfig
    seal: SealConfig
    engine: Limits
    drop: Path | None = None  # the folder of `evidence.drop`
    cards: Path | None = None  # the folder that break-glass cards are kept in
    audit: AuditConfig
    sinks: Mapping[str, SinkConfig] = field(default_factory=dict)
    require_sink: tuple[str, ...] = ()  # names of sinks without which no key is created or taken away
    providers: Mapping[str, ProviderConfig]
    destinations: Mapping[str, DestinationConfig]
    credentials: Mapping[str, CredentialConfig]
    routes: Mapping[str, RouteConfig] = field(default_factory=dict)
