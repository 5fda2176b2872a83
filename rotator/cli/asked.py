"""What a person asked of `rotate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import click
from click.core import ParameterSource

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
    made_before: datetime | None = None
    compromised: bool = False
    rehearse: bool = False
    key: str | None = None
    without: Sequence[str] = ()
    overwrite: bool = False
    end_soak: bool = False
    dry_run: bool = False
    request: bool = False
    as_json: bool = False
    timeout: timedelta | None = None
    linger: timedelta | None = None
    deadline: timedelta | None = None
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
        return Wish(
            cause=cause,
            key=self.key,
            because=self.reason,
            without=tuple(self.without),
            overwrite=self.overwrite,
            end_soak=self.end_soak,
        )

    @property
    def arguments(self) -> dict[str, Any]:
        """The same for a request."""
        return {
            "cause": (Cause.COMPROMISED if self.compromised else Cause.MANUAL).value,
            "key": self.key,
            "without": list(self.without),
            "overwrite": self.overwrite,
            "end_soak": self.end_soak,
        }

    @property
    def pass_ends(self) -> timedelta | None:
        """After how long a pass has to be over. $ROTATOR_DEADLINE is meant for passes and keeps nobody from `--now`."""
        return None if self.at_once or self.rehearse else self.deadline

    def check(self) -> None:
        """Refuse what contradicts itself, rather than guess. Raises UsageError."""
        problem = self._wrong_rehearsal() if self.rehearse else self._wrong_selection() or self._wrong_urgency()
        if problem is not None:
            raise click.UsageError(problem, click.get_current_context(silent=True))

    def _wrong_rehearsal(self) -> str | None:
        others = (self.now, self.made_before, self.key, self.without, self.overwrite, self.end_soak, self.request)
        if any(others) or self.linger is not None or _typed("deadline"):
            return (
                "--rehearse goes with --compromised, --reason, --timeout and --dry-run, and with nothing that changes "
                "what is current"
            )
        if self.everything or self.selector or len(set(self.names)) != 1:
            return "--rehearse goes with exactly one NAME"
        return None

    def _wrong_selection(self) -> str | None:
        problem = None
        if self.everything and (self.names or self.selector):
            problem = "--all means every credential: leave names and -l out"
        elif self.at_once and not (self.names or self.selector or self.everything):
            problem = "--now and --compromised need a selection: NAME..., -l LABELS or --all"
        elif self.key and not self.compromised:
            problem = "--key goes with --compromised"
        elif self.key and len(set(self.names)) != 1:
            problem = "--key goes with exactly one NAME"
        elif self.made_before is not None and not self.at_once:
            problem = "--made-before goes with --now and --compromised"
        elif self.timeout is not None and not self.at_once:
            problem = "--timeout goes with --now; a pass has --linger"
        elif self.linger is not None and self.at_once:
            problem = "--linger is for a pass; --now has --timeout"
        elif self.at_once and _typed("deadline"):
            problem = "--deadline is for a pass; --now has --timeout"
        return problem

    def _wrong_urgency(self) -> str | None:
        problem = None
        if self.without and len(set(self.names)) != 1:
            problem = "--without goes with exactly one NAME"
        elif self.without and not self.at_once:
            problem = "--without goes with --now and --compromised"
        elif self.without and not self.reason:
            problem = "--without takes the old key away from whoever still reads there; say why: --reason TEXT"
        elif self.overwrite and not self.compromised:
            problem = "--overwrite goes with --compromised; else `rotator adopt NAME --replace DESTINATION`"
        elif self.end_soak and not self.at_once:
            problem = "--end-soak goes with --now"
        elif self.request and not self.at_once:
            problem = "--request goes with --now and --compromised; passes come by themselves"
        elif self.request and (self.dry_run or self.as_json):
            problem = "--request goes with neither --dry-run nor --json"
        elif self.hurts and not (self.yes or self.dry_run or say.can_ask()):
            which = "--compromised" if self.compromised else "--without"
            problem = f"{which} takes living keys away; without a terminal to ask on, it needs --yes"
        return problem

    @property
    def hurts(self) -> bool:
        """Whether a person is asked first."""
        return self.compromised or bool(self.without)


def _typed(option: str) -> bool:
    """Whether a person has written it, rather than the environment."""
    context = click.get_current_context(silent=True)
    return context is not None and context.get_parameter_source(option) is ParameterSource.COMMANDLINE
