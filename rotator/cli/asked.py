"""What a person asked of `rotate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import click

from rotator.cli import say
from rotator.domain.model import Cause
from rotator.engine.engine import Wish


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of `rotate`."""

    names: Sequence[str] = ()
    now: bool = False
    selector: str | None = None
    everything: bool = False
    compromised: bool = False
    key: str | None = None
    dry_run: bool = False
    as_json: bool = False
    timeout: timedelta | None = None
    linger: timedelta | None = None
    fail_on: str = "any"
    reason: str | None = None
    yes: bool = False
    quiet: bool = False
    config: str | None = None

    @property
    def at_once(self) -> bool:
        """Whether the schedule has no say."""
        return self.now or self.compromised

    @property
    def wish(self) -> Wish | None:
        """What the engine is asked for; None: whatever is due."""
        if not self.at_once:
            return None
        cause = Cause.COMPROMISED if self.compromised else Cause.MANUAL
        return Wish(cause=cause, key=self.key, because=self.reason)

    def check(self) -> None:
        """Refuse what contradicts itself, rather than guess. Raises UsageError."""
        problem = None
        if self.everything and (self.names or self.selector):
            problem = "--all means every credential: leave names and -l out"
        elif self.at_once and not (self.names or self.selector or self.everything):
            problem = "--now and --compromised need a selection: NAME..., -l LABELS or --all"
        elif self.key and not self.compromised:
            problem = "--key goes with --compromised"
        elif self.key and len(set(self.names)) != 1:
            problem = "--key goes with exactly one NAME"
        elif self.timeout is not None and not self.at_once:
            problem = "--timeout goes with --now; a pass has --linger"
        elif self.linger is not None and self.at_once:
            problem = "--linger is for a pass; --now has --timeout"
        elif self.compromised and not (self.yes or self.dry_run or say.can_ask()):
            problem = "--compromised takes living keys away; without a terminal to ask on, it needs --yes"
        if problem is not None:
            raise click.UsageError(problem, click.get_current_context(silent=True))
