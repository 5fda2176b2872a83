"""The reference that is made from code: every command with its `--help`, every adapter with what it can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from rotator.cli import COMMANDS, OnDemand
from rotator.cli import commands as root
from rotator.config.adapters import DESTINATION_TYPES, PROVIDER_TYPES
from rotator.domain.anomalies import MEANINGS, Check
from rotator.settings import format_duration

WIDTH = 100

Mapped = Mapping[str, Any]

PROVIDERS: dict[str, tuple[Mapped, Mapped]] = {
    "anthropic": ({"admin_key": "env:KEY"}, {"workspace": "default"}),
    "aws-iam": ({"account": "123456789012"}, {"user": "ci-deployer"}),
    "generated": ({}, {}),
    "manual": ({}, {"instructions": "Make a key."}),
    "openai": ({"admin_key": "env:KEY"}, {"project": "proj_a", "service_account": "svc_acct_a"}),
    "openai-admin": ({"admin_key": "env:KEY"}, {"project": "proj_a"}),
    "postgres": ({"host": "db.example", "user": "rotator", "password": "env:KEY"}, {"roles": ["app_a", "app_b"]}),
    "vault-approle": (
        {"address": "https://vault.example:8200", "auth": {"method": "token", "token": "env:TOKEN"}},
        {"role": "app"},
    ),
}
"""Type → settings and options with which one can be built; opening nothing, it only tells what it can do."""

DESTINATIONS: dict[str, tuple[Mapped, str]] = {
    "aws-secrets-manager": ({"region": "us-east-1"}, "ci/deployer"),
    "env-file": ({}, "/srv/web/.env"),
    "vault-kv": ({"address": "https://vault.example:8200", "auth": {"method": "token", "token": "env:TOKEN"}}, "web"),
}
"""Type → settings and path, likewise."""


def every_command() -> Iterator[tuple[click.Context, click.Command]]:
    """Each command as it is called; a group comes before those that it holds."""
    top = click.Context(root, info_name="rotator", terminal_width=WIDTH, **root.context_settings)
    yield top, root
    for name in COMMANDS:
        command = OnDemand.get_command(root, top, name)
        assert command is not None
        settings = root.context_settings if name == "rotate" else {}
        parent = None if name == "rotate" else top
        called = click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, **settings)
        yield called, command
        if isinstance(command, click.Group):
            for inner, each in command.commands.items():
                yield click.Context(each, info_name=inner, parent=called), each


def commands(_: str) -> str:
    """`rotator --help`, and that of each command below its heading."""
    parts = []
    for called, command in every_command():
        depth = 2 if called.parent is None else called.command_path.count(" ") + 1
        parts += [f"{'#' * depth} `{called.command_path}`", _fenced(command.get_help(called))]
    return "\n\n".join(parts) + "\n"


def _fenced(text: str) -> str:
    return f"```text\n{text}\n```"


def providers(_: str) -> str:
    """What each kind of provider can do, as it tells the engine."""
    rows = []
    for name in PROVIDER_TYPES.built_in:
        adapter = PROVIDER_TYPES.find(name)
        settings, options = PROVIDERS[name]
        account = adapter(_read(adapter.Settings, settings), timedelta(seconds=1))
        can = account.bind(_read(adapter.Options, options)).capabilities
        rows.append(
            {
                "type": f"`{name}`",
                "who makes the value": {"issued": "the provider", "chosen": "the service", "supplied": "a person"}[
                    can.origin
                ],
                "keys at once": "many" if can.living is None else str(can.living),
                "labels": _yes(can.labels),
                "disable": _yes(can.can_disable),
                "delete": _yes(can.can_delete),
                "tells last use": _yes(can.tells_last_use),
                "settle": format_duration(can.settle) if can.settle else "none",
                "fields by default": ", ".join(f"`{field}`" for field in can.default_fields) or "the credential's name",
            }
        )
    return _table(rows)


def checks(_: str) -> str:
    """What each check of the use of keys finds."""
    rows = "".join(f"| `{check.value}` | {MEANINGS[check]} |\n" for check in Check)
    return f"| check | finds |\n|---|---|\n{rows}"


def destinations(_: str) -> str:
    """What each kind of destination can do, as it tells the engine."""
    rows = []
    for name in DESTINATION_TYPES.built_in:
        adapter = DESTINATION_TYPES.find(name)
        settings, path = DESTINATIONS[name]
        place = adapter(name, _read(adapter.Settings, settings), timedelta(seconds=1)).at(path)
        can = place.capabilities
        rows.append(
            {
                "type": f"`{name}`",
                "address on screens": f"`{place.address}`",
                "compare-and-set": _yes(can.conditional),
                "read back": _yes(can.readable),
                "readers may see the old value for": format_duration(can.propagation) if can.propagation else "no time",
                "one value as the whole": _yes(can.whole_body),
            }
        )
    return _table(rows)


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    lines = [[*rows[0]], ["---"] * len(rows[0]), *([*row.values()] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _read(model: type[Any], values: Mapped) -> Any:
    return model.model_validate(values, context={"folder": Path()})


def _yes(holds: object) -> str:
    return "yes" if holds else "no"
