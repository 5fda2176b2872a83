"""The parts of the documentation that are made from the code: `python -m tests.docs.generate` writes them anew.

A part stands between `<!-- begin: NAME -->` and `<!-- end: NAME -->`. In the tables of settings the last column, what a
key means, is a person's: it is kept, and a key without one is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from bench import costs, plots
from bench.page import figures
from docs.model.checker import search
from docs.model.protocol import Protocol
from docs.model.setting import GUARDS
from docs.model.tables import WEAKENED
from rotator.access.vault import AppRoleAuth, KubernetesAuth, TokenAuth
from rotator.config import entries
from rotator.config.adapters import CONSUMER_TYPES, DESTINATION_TYPES, PROVIDER_TYPES, SINK_TYPES
from rotator.config.consumers import AskedEntry
from rotator.config.hooks import KINDS, hook_class
from rotator.config.notify import NotifyEntry, QuietEntry, RouteEntry
from rotator.domain.model import OPEN_RETIREMENT, OPEN_ROTATION, RetirementReason, RetirementState, RotationState
from rotator.domain.plans import BROWNOUT, GATES, RETIREMENT, ROTATION, Step, Use, pace
from rotator.hooks import RELOADS
from rotator.notifiers import NOTIFIERS
from rotator.settings import SecretReference, format_duration
from rotator.web.catalogue import METRICS
from tests.docs import man, reference

DOCS = Path(__file__).parents[2] / "docs"

_PART = re.compile(
    r"(?P<begin><!-- begin: (?P<name>\S+) -->\n)(?P<body>.*?)(?P<end><!-- end: (?P=name) -->)", re.DOTALL
)
_ROW = re.compile(r"^\| `(?P<key>[^`]+)` \|.*\| (?P<meaning>[^|]*) \|$", re.MULTILINE)

Schema = Mapping[str, Any]


def renewed(text: str) -> str:
    """The text of a page with each of its generated parts made anew."""
    return _PART.sub(lambda part: part["begin"] + PARTS[part["name"]](part["body"]) + part["end"], text)


def pages() -> list[Path]:
    """Every page of the documentation."""
    return sorted(DOCS.rglob("*.md"))


# plans


def _diagram(plan: tuple[Step, ...], extra: list[str]) -> str:
    first, last = plan[0].start, plan[-1].end
    steps = [f"{step.start} --> {step.end}: {step.verb}" for step in plan]
    lines = [f"[*] --> {first}", *steps, *extra, f"{last} --> [*]"]
    return "\n".join(["```mermaid", "stateDiagram-v2", *(f"    {line}" for line in lines), "```", ""])


def _rotation(_: str) -> str:
    return _diagram(tuple(ROTATION), _sideways(OPEN_ROTATION, RotationState.ABANDONED, "abandon"))


def _retirement(_: str) -> str:
    short = f"{RetirementState.DRAINED} --> {RetirementState.DELETED}: delete (where it cannot be disabled)"
    trial = [f"{step.start} --> {step.end}: {step.verb}" for step in BROWNOUT]
    return _diagram(
        tuple(RETIREMENT), [short, *trial, *_sideways(OPEN_RETIREMENT, RetirementState.CANCELLED, "cancel")]
    )


def _sideways(states: tuple[StrEnum, ...], end: StrEnum, verb: str) -> list[str]:
    return [*(f"{state} --> {end}: {verb}" for state in states), f"{end} --> [*]"]


_USE = {
    Use.WAITED_OUT: "none for `require_idle`, and no consumer holds it",
    Use.RECORDED: "recorded, never waited for",
    Use.IGNORED: "ignored",
    Use.FORBIDDEN: "none at all",
}


def _gates(_: str) -> str:
    lines = ["| reason | grace | use by others | another key works | soak |", "|---|---|---|---|---|"]
    for reason, gates in GATES.items():
        other = "yes" if gates.other_key else "if there is a current one"
        grace, soak = _paces(reason)
        lines.append(f"| `{reason}` | {grace} | {_USE[gates.use]} | {other} | {soak} |")
    return "\n".join([*lines, ""])


def _paces(reason: RetirementReason) -> tuple[str, str]:
    """Grace and soak in words, found by asking `pace` with times that can be told apart."""
    spans = {
        "`grace`": timedelta(days=1),
        "`soak`": timedelta(days=2),
        "`settle`": timedelta(days=3),
        "none": timedelta(0),
    }
    words = {span: word for word, span in spans.items()} | {timedelta(hours=1): "`soak`, at most 1h"}

    def ask(*, labels: bool, can_disable: bool) -> tuple[str, str]:
        given = {"grace": spans["`grace`"], "soak": spans["`soak`"], "settle": spans["`settle`"]}
        grace, soak = pace(reason, **given, labels=labels, can_disable=can_disable)
        return words[grace], words[soak]

    grace, usual = ask(labels=False, can_disable=True)
    soak = usual
    for condition, (_, other) in (
        ("where it cannot be disabled", ask(labels=False, can_disable=False)),
        ("where keys have labels", ask(labels=True, can_disable=True)),
    ):
        if other != usual:
            soak = f"{soak}; {condition}: {other}"
    return grace, soak


# the model


def _guards(_: str) -> str:
    lines = ["| guard: in the protocol | without it | steps to it |", "|---|---|---|"]
    for case in WEAKENED.values():
        found = search(Protocol(case.without), most=100_000)
        guards = "; ".join(f"**{guard}**: {GUARDS[guard]}" for guard in case.guards)
        lines.append(f"| {guards} | {found.wrong} | {len(found.trace)} |")
    return "\n".join([*lines, ""])


# metrics


def _metrics(_: str) -> str:
    lines = ["| metric | kind | labels | series at most | meaning |", "|---|---|---|---|---|"]
    for metric in METRICS:
        name = metric.series[0] if metric.kind != "histogram" else metric.name
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "—"
        lines.append(f"| `{name}` | {metric.kind} | {labels} | {metric.bound} | {metric.help} |")
    return "\n".join([*lines, ""])


# settings


def _table(model: type[BaseModel]) -> Callable[[str], str]:
    def write(before: str) -> str:
        meanings = {row["key"]: row["meaning"].strip() for row in _ROW.finditer(before)}
        lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
        schema = model.model_json_schema()
        for name, field in model.model_fields.items():
            key = field.alias or name
            value = _value(schema["properties"][key], schema)
            meaning = meanings.get(key, "")
            lines.append(f"| `{key}` | {value} | {_default(field)} | {meaning or 'TO BE SAID'} |")
        if len(lines) == 2:  # the head alone
            return "No keys.\n"
        return "\n".join([*lines, ""])

    return write


def _value(schema: Schema, whole: Schema) -> str:
    if "$ref" in schema:
        schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
    variants = schema.get("anyOf") or schema.get("oneOf")
    if variants:
        return " or ".join(dict.fromkeys(_value(one, whole) for one in variants if one.get("type") != "null"))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema.get("enum", [schema.get("const")]))
    return _plain(schema, whole)


def _plain(schema: Schema, whole: Schema) -> str:
    kind, pattern = schema.get("type"), schema.get("pattern", "")
    if kind == "array":
        return f"list of {_value(schema['items'], whole)}" if schema.get("items") else "list"
    if kind == "integer":
        low, high = schema.get("minimum"), schema.get("maximum")
        return f"{low} to {high}" if low is not None and high is not None else "number"
    if kind in ("object", "boolean", "number"):
        return {"object": "mapping", "boolean": "`true`, `false`", "number": "number"}[kind]
    if pattern.startswith("^(\\d+d)"):
        return "duration"
    return "reference" if pattern.startswith("^(env|file") else "text"


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is PydanticUndefined:
        return "required"
    if default is None or default == "":
        return "—"
    if isinstance(default, timedelta):
        return f"`{format_duration(default)}`"
    if isinstance(default, SecretReference):
        return f"`{default.text}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, list):
        default = ", ".join(default)
    return "see below" if isinstance(default, BaseModel) else f"`{default}`"


def _adapters() -> Iterator[tuple[str, type[BaseModel]]]:
    for name in PROVIDER_TYPES.built_in:
        adapter = PROVIDER_TYPES.find(name)
        yield f"provider:{name}", adapter.Settings
        yield f"options:{name}", adapter.Options
    for name in DESTINATION_TYPES.built_in:
        yield f"destination:{name}", DESTINATION_TYPES.find(name).Settings
    for kind, ways in KINDS.items():
        for way, target in ways.items():
            if ways is RELOADS or target not in RELOADS.values():  # a command is the same for both
                yield f"{kind}:{way}", hook_class(target).Settings
    for name in CONSUMER_TYPES.built_in:
        yield f"consumer:{name}", CONSUMER_TYPES.find(name).Settings
    for name in SINK_TYPES.built_in:
        yield f"sink:{name}", SINK_TYPES.find(name).Settings


MODELS: dict[str, type[BaseModel]] = {
    "file": entries.FileEntry,
    "store": entries.StoreEntry,
    "seal": entries.SealEntry,
    "engine": entries.EngineEntry,
    "engine.retry": entries.RetryEntry,
    "evidence": entries.EvidenceEntry,
    "audit": entries.AuditEntry,
    "consumer": AskedEntry,
    "notify": NotifyEntry,
    "notify.route": RouteEntry,
    "notify.quiet": QuietEntry,
    **{f"notify:{way}": hook_class(target).Settings for way, target in NOTIFIERS.items()},
    "engine.brake": entries.BrakeEntry,
    "engine.reactions": entries.ReactionsEntry,
    "provider": entries.ProviderEntry,
    "credential": entries.CredentialEntry,
    "policy": entries.PolicyEntry,
    "policy.brownout": entries.BrownoutEntry,
    "target": entries.TargetEntry,
    "vault:token": TokenAuth,
    "vault:approle": AppRoleAuth,
    "vault:kubernetes": KubernetesAuth,
    **dict(_adapters()),
}
"""Name of the table → the model that reads this part of the configuration file."""

PARTS: dict[str, Callable[[str], str]] = {
    "rotation": _rotation,
    "retirement": _retirement,
    "gates": _gates,
    "guards": _guards,
    "metrics": _metrics,
    "commands": reference.commands,
    "checks": reference.checks,
    "providers": reference.providers,
    "destinations": reference.destinations,
    "speed": lambda _: figures(),
    "costs": lambda _: costs.table(),
    **{name: _table(model) for name, model in MODELS.items()},
}
"""Every generated part: from what stands there to what should."""


if __name__ == "__main__":
    for page in pages():
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
    man.write()
    plots.write()
