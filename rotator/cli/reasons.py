"""What docs/reasons.md says, for `rotator help` and for errors: the page is the one place that explains a reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_HEADING = re.compile(r"^## (?P<text>.+)$")
_ROW = re.compile(r"^\| `(?P<reason>[a-z0-9_]+)` \| (?P<meaning>.+) \| (?P<remedy>.+) \|$")


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One row of the page."""

    name: str
    about: str  # the heading that it stands under
    meaning: str
    remedy: str


@cache
def documented() -> Mapping[str, Reason]:
    """Every reason, by its name, in the order of the page."""
    found: dict[str, Reason] = {}
    about = ""
    for line in _page().read_text(encoding="utf-8").splitlines():
        if heading := _HEADING.match(line):
            about = heading["text"]
        elif row := _ROW.match(line):
            name, meaning, remedy = row["reason"], row["meaning"].replace("*", ""), row["remedy"]
            found[name] = Reason(name=name, about=about, meaning=meaning, remedy=remedy)
    return found


def advice(reason: str | None) -> str | None:
    """What to do where the error itself does not say it; None where the page knows no more than the message."""
    row = documented().get(reason or "")
    return None if row is None or row.remedy.startswith("as ") else row.remedy


def _page() -> Path:
    """Inside an installed package, with the documentation in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "reasons.md"
    return inside if inside.is_file() else package.parent / "docs" / "reasons.md"
