"""What one check of `rotator check` came to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check came to."""

    check: str  # the preflight's own; see `preflights`
    subject: str
    credential: str | None = None
    outcome: str = "ok"  # ok, warning, failed
    message: str = ""
    reason: str | None = None
    remedy: str | None = None
