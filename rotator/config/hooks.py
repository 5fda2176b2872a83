"""The `reload:` and `probe:` of a destination's entry: which way is meant, and its settings."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from rotator.config.models import HookConfig
from rotator.config.part import Part, known_keys
from rotator.config.problems import did_you_mean
from rotator.domain.template import PUBLIC, Template
from rotator.hooks import PROBES, RELOADS

KINDS: Mapping[str, Mapping[str, str]] = {"reload": RELOADS, "probe": PROBES}
"""The key of an entry → the ways there are: the key that names one → `module:class`."""


def hook_class(target: str) -> type[Any]:
    """The class of `module:class`."""
    module, _, attribute = target.partition(":")
    found: type[Any] = getattr(importlib.import_module(module), attribute)
    return found


def read_hook(part: Part, kind: str, material: tuple[str, ...] | None) -> HookConfig | None:
    """A hook of this kind; None where there is none, or after every problem was reported.

    `material`: what the provider's keys are made of; None where that is not known because of an earlier problem.
    """
    if not isinstance(part.data, dict):
        return None  # there is none, or it was reported with the entry
    ways = KINDS[kind]
    named = [way for way in ways if way in part.data]
    if len(named) != 1:
        known = ", ".join(f"`{way}`" for way in ways)
        strange = next((key for key in part.data if isinstance(key, str) and key not in ways), None)
        hint = did_you_mean(strange, ways) if strange is not None and not named else None
        part.report(f"names {'several ways' if named else 'no way'}: it needs one of {known}", hint)
        return None
    adapter = hook_class(ways[named[0]])
    settings = part.entry(known_keys(adapter.Settings)).read(adapter.Settings)
    if settings is None:
        return None
    stdin = getattr(settings, "stdin", None)
    problem = Template(stdin).unknown((*material, *PUBLIC)) if stdin is not None and material is not None else None
    if problem is not None:
        part.report(problem, at=("stdin",))
        return None
    return HookConfig(settings=settings, adapter=adapter)
