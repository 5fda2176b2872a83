"""Reports of leaked keys as those who find them write them: values, one on a line, or JSON.

JSON is searched for the fields in which GitHub's secret scanning (`token`, `secret`), GitGuardian (`match`) and
trufflehog (`Raw`, `RawV2`) give the value, whatever stands around them; so one reader reads webhooks, lists and logs.
Sources: "About secret scanning for partners" and the REST API of secret-scanning alerts of GitHub; ggshield's
`--json --show-secrets`; trufflehog's `--json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rotator.domain.errors import SetupError
from rotator.domain.secret import Secret

VALUES = ("token", "secret", "match", "Raw", "RawV2")
PLACES = ("html_url", "url", "link", "filename", "file", "source")
SHORTEST = 12
"""Characters: what is shorter is no key of ours, and many other things have these names."""

_LONGEST_PLACE = 200


def read(text: str, where: str) -> list[tuple[Secret, str]]:
    """Each value with the place where it was seen; `where`, if the report does not say. Raises SetupError."""
    if text.lstrip().startswith(("{", "[")):
        try:
            return [(Secret(value), place) for document in _documents(text) for value, place in _found(document, where)]
        except (ValueError, RecursionError):
            message = "this is neither JSON nor JSON lines"
            raise SetupError(
                message, reason="bad_report", remedy="give values, one on a line, or a report as JSON"
            ) from None
    return [(Secret(line.strip()), where) for line in text.splitlines() if line.strip()]


def _documents(text: str) -> Iterator[Any]:
    try:
        yield json.loads(text)
    except ValueError:
        for line in text.splitlines():
            if line.strip():
                yield json.loads(line)


def _found(document: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(document, list):
        for each in document:
            yield from _found(each, where)
    elif isinstance(document, dict):
        here = _place(document) or where
        for key, value in document.items():
            if key in VALUES and isinstance(value, str) and len(value) >= SHORTEST:
                yield value, here.replace(value, "…")[:_LONGEST_PLACE]
            elif isinstance(value, dict | list):
                yield from _found(value, here)


def _place(document: dict[str, Any]) -> str | None:
    """Where it says that it was found; trufflehog says so beside the value, further in."""
    for key in PLACES:
        if isinstance(document.get(key), str) and document[key]:
            return str(document[key])
    further = document.get("SourceMetadata")
    while isinstance(further, dict) and further:
        found = next((str(further[key]) for key in PLACES if isinstance(further.get(key), str)), None)
        if found is not None:
            return found
        further = next((inner for inner in further.values() if isinstance(inner, dict)), None)
    return None
