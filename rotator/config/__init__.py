"""The configuration file: models, loading, all errors at once."""

from rotator.config.kept import entry_of, with_removed
from rotator.config.load import files, find, load
from rotator.config.models import (
    Config,
    CredentialConfig,
    DestinationConfig,
    HookConfig,
    Origin,
    ProviderConfig,
    RouteConfig,
    SealConfig,
    SealKey,
    ServiceKey,
    StoreConfig,
    Target,
)
from rotator.config.problems import ConfigError, Problem
from rotator.config.schema import json_schema
from rotator.config.selectors import select

__all__ = [
    "Config",
    "ConfigError",
    "CredentialConfig",
    "DestinationConfig",
    "HookConfig",
    "Origin",
    "Problem",
    "ProviderConfig",
    "RouteConfig",
    "SealConfig",
    "SealKey",
    "ServiceKey",
    "StoreConfig",
    "Target",
    "entry_of",
    "files",
    "find",
    "json_schema",
    "load",
    "select",
    "with_removed",
]
