"""Findings as SARIF: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from rotator import __version__

_RULES = {
    "managed-key": "A key that rotator manages stands where no destination puts it",
    "unknown-key": "Something that looks like a provider's key, which nobody manages",
}


def document(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One run. `rows` are findings in the shape of `scan --json`."""
    rules = [{"id": name, "shortDescription": {"text": text}} for name, text in _RULES.items()]
    driver = {"name": "rotator scan", "version": __version__, "rules": rules}
    return {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": [_result(row) for row in rows]}],
    }


def _result(row: Mapping[str, Any]) -> dict[str, Any]:
    region = {"startLine": row["line"], "startColumn": row["column"]}
    place = {"artifactLocation": {"uri": quote(row["file"])}, "region": region}
    commit = f" In commit {row['commit']}." if row["commit"] else ""
    result = {
        "ruleId": row["rule"],
        "level": "error",
        "message": {"text": f"{row['message']}.{commit} {row['remedy']}."},
        "locations": [{"physicalLocation": place}],
    }
    if row["fingerprint"]:
        result["partialFingerprints"] = {"keyFingerprint/v1": row["fingerprint"]}
    return result
