"""A credential's entry as the database keeps it: how to finish what is open when the file names it no more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from rotator.config import brownouts
from rotator.config.accounts import Known
from rotator.config.consumers import consumers_of
from rotator.config.document import Document
from rotator.config.load import read_credential
from rotator.config.models import Config, CredentialConfig, DestinationConfig, Target
from rotator.config.part import Part
from rotator.config.problems import Problem
from rotator.config.targets import Places
from rotator.domain.brownout import Brownout
from rotator.domain.model import LAST_WAVE, WHOLE_BODY
from rotator.settings import format_duration


def entry_of(credential: CredentialConfig) -> str:
    """The entry as JSON that `with_removed` reads: complete, and without any secret, as in the file."""
    options = credential.options.model_dump(mode="json", by_alias=True, exclude_unset=True, fallback=str)
    policy = {key: _plain(getattr(credential.policy, key)) for key in _given(credential)}
    entry = {
        **({"labels": dict(credential.labels)} if credential.labels else {}),
        **({"owner": credential.owner} if credential.owner else {}),
        **({"runbook": credential.runbook} if credential.runbook else {}),
        "provider": credential.provider,
        "options": options,
        "policy": policy,
        "destinations": [_destination(target) for target in credential.destinations],
    }
    if consumers := consumers_of(credential.consumers):
        entry["consumers"] = consumers
    return json.dumps(entry, sort_keys=True)


def _given(credential: CredentialConfig) -> list[str]:
    """The policy keys that somebody has written, here or in `defaults`; the rest is filled in anew."""
    return [key for key, origin in credential.places.items() if origin.source != "built-in"]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):  # of hours
        return [str(one) for one in value]
    if isinstance(value, Brownout):
        return brownouts.written(value)
    return format_duration(value) if isinstance(value, timedelta) else value


def _destination(target: Target) -> dict[str, Any]:
    entry: dict[str, Any] = {"to": target.to}
    if target.path is not None:
        entry["path"] = target.path
    if target.wave != LAST_WAVE:
        entry["wave"] = target.wave
    for kind, hook in (("reload", target.reload), ("probe", target.probe)):
        if hook is not None:
            entry[kind] = hook.settings.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if WHOLE_BODY in target.templates:
        entry["value"] = target.templates[WHOLE_BODY]
    else:
        entry["fields"] = dict(target.templates)
    if target.companions:
        entry["mode"] = "pair"
    if target.readers is not None:
        entry["readers"] = str(target.readers)
    if target.propagation is not None:
        entry["propagation"] = format_duration(target.propagation)
    return entry


def with_removed(config: Config, entries: Mapping[str, str | None]) -> tuple[Config, dict[str, str]]:
    """The configuration with these credentials put back, from the entries that were kept of them.

    They are read with the providers and destinations of today. Also returns those that cannot be, name → why.
    """
    destinations: dict[str, DestinationConfig | None] = dict(config.destinations)  # grows by those that need no entry
    credentials, left_out = dict(config.credentials), {}
    for name, entry in entries.items():
        problems: list[Problem] = []
        # Places of its own: who else writes there shows by the values, when it is worked on.
        places = Places(destinations, config.engine.call_budget)
        credential = None if entry is None else _read(config, name, entry, places, problems)
        if credential is None:
            whys = (f"{problem.place}: {problem.message}" for problem in problems)
            left_out[name] = ", ".join(dict.fromkeys(whys)) or "its entry was never kept"
        else:
            credentials[name] = replace(credential, removed=True)
    known = {name: destination for name, destination in destinations.items() if destination}
    return replace(config, credentials=credentials, destinations=known), left_out


def _read(config: Config, name: str, entry: str, places: Places, problems: list[Problem]) -> CredentialConfig | None:
    document = Document("the entry kept in the database", config.path.parent.absolute(), _parsed(entry), {})
    providers = {called: Known(provider.adapter, provider) for called, provider in config.providers.items()}
    return read_credential(name, Part.whole(document, problems, ()), [], providers, places)


def _parsed(entry: str) -> Any:
    try:
        return json.loads(entry)
    except ValueError:  # another hand was in the database; the reader reports that nothing is there
        return None
