"""What the policy does by itself when something is wrong with a key: per check, at most so often.

A reaction is a request (`domain.model.Request`) that no person made: its actor is `reaction:<check>`. The rows of
requests are therefore all that is needed to keep a broken signal from rotating the fleet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from rotator.domain.anomalies import Check
from rotator.domain.model import Cause, Request

HOUR = timedelta(hours=1)
ACTOR = "reaction:"
"""Begins the actor of every reaction; the name of the check follows."""


class Reaction(StrEnum):
    """What is done about what a check has found."""

    IGNORE = "ignore"
    NOTIFY = "notify"  # a finding, and nothing more: a person decides
    ROTATE = "rotate"
    COMPROMISED = "compromised"
    REVOKE = "revoke"


LEAK = "leak"
"""A key of ours was seen where it does not belong."""

CHECKS = (LEAK, *(check.value for check in Check))
"""What `on:` may name."""

DEFAULT = Reaction.NOTIFY


def wanted(on: Mapping[str, Reaction], check: str) -> Reaction:
    """What the policy says about a check."""
    return on.get(check, DEFAULT)


def verb_of(reaction: Reaction, key_id: str) -> tuple[str, Mapping[str, Any]] | None:
    """The verb (see `engine.verbs`) and its arguments; None: nothing is done by itself."""
    if reaction is Reaction.ROTATE:
        return "rotate", {"cause": Cause.MANUAL.value}
    if reaction is Reaction.COMPROMISED:
        return "rotate", {"cause": Cause.COMPROMISED.value, "key": key_id}
    return ("revoke", {"key": key_id}) if reaction is Reaction.REVOKE else None


@dataclass(frozen=True, kw_only=True)
class Caps:
    """How often anything is done without a person, over all credentials and processes of a database."""

    per_hour: int = 3
    cool_down: timedelta = HOUR  # between two reactions to one check of one credential

    @property
    def looks_back(self) -> timedelta:
        """How far back reactions count."""
        return max(HOUR, self.cool_down)

    def why_held(self, request: Request, past: Sequence[Request]) -> str | None:
        """Why this reaction may not be, in words; None: it may. `past` are those within `looks_back`, in any order."""
        now = request.asked_at
        same = [p for p in past if (p.credential_id, p.actor) == (request.credential_id, request.actor)]
        cooling = [p.asked_at for p in same if p.asked_at > now - self.cool_down]
        if cooling:
            return (
                f"it was reacted to at {max(cooling):%Y-%m-%d %H:%M} UTC already, within `engine.reactions.cool_down`"
            )
        lately = sum(1 for p in past if p.asked_at > now - HOUR)
        if lately >= self.per_hour:
            return f"{lately} reactions within an hour are as many as `engine.reactions.per_hour` allows"
        return None
