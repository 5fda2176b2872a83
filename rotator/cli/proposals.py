"""Entries of the configuration that an inventory proposes: for keys that nothing rotates, and a person decides."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from rotator.config import Config
from rotator.engine.inventory import Row


def proposed(rows: Sequence[Row], config: Config | None) -> list[str]:
    """Lines of `credentials:` in YAML, one entry for each owner whose keys no credential rotates."""
    owned: dict[tuple[str, str], list[Row]] = {}
    orphans = []
    for row in rows:
        if row.managed is not None or _configured(row, config):
            continue
        if row.listed.options is None:
            orphans.append(row)
        else:
            owned.setdefault((row.provider, json.dumps(row.listed.options)), []).append(row)
    lines = ["# Proposed by `rotator inventory`: keep what you want rotated, and fill in what is in CAPITALS."]
    lines.append("credentials:" if owned else "# No key was found that could be rotated and is not.")
    used: set[str] = set(config.credentials) if config else set()
    for (provider, options), theirs in owned.items():
        name = _name(theirs[0], used)
        used.add(name)
        lines += [
            f"  {name}:    # {_comment(theirs[0].listed.holder)}: {', '.join(_told(row) for row in theirs)}",
            f"    provider: {provider}",
            f"    options: {options}",
            "    policy: {rotate_every: 30d, first: adopt}    # the first pass records the key that is in use",
            "    destinations:",
            "      - {to: DESTINATION, path: PATH}    # where its consumers read it",
        ]
    lines += [f"# {_told(row)}, {_comment(row.listed.holder)}: no credential can be made of it" for row in orphans]
    return lines


def _configured(row: Row, config: Config | None) -> bool:
    if config is None or row.listed.options is None:
        return False
    wanted = dict(row.listed.options)
    return any(
        credential.provider == row.provider
        and {name: getattr(credential.options, name, None) for name in wanted} == wanted
        for credential in config.credentials.values()
    )


def _name(row: Row, used: set[str]) -> str:
    """A name as the configuration takes it, made of the last option, which is the owner's."""
    assert row.listed.options is not None
    owner = list(row.listed.options.values())[-1].lower()
    plain = re.sub(r"[^a-z0-9._-]+", "-", owner).strip("-._")[:56] or "key"
    name, number = plain, 2
    while name in used:
        name, number = f"{plain}-{number}", number + 1
    return name


def _told(row: Row) -> str:
    return _comment(row.key.id + (f" ({', '.join(row.notes)})" if row.notes else ""))


def _comment(text: str) -> str:
    """Somebody else's text as a comment can hold it: one line."""
    return " ".join(text.split())
