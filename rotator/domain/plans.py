"""The two plans as tables: the steps of a rotation and of a retirement, and the gates of a retirement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from rotator.domain.events import Subject
from rotator.domain.model import (
    OPEN_RETIREMENT,
    Cause,
    Retirement,
    RetirementReason,
    RetirementState,
    RotationState,
)


@dataclass(frozen=True)
class Step:
    """One line of a plan: a verb and the states it leads from and to."""

    verb: Subject
    start: StrEnum
    end: StrEnum


ROTATION: Sequence[Step] = (
    Step(Subject.CREATE, RotationState.PLANNED, RotationState.CREATED),
    Step(Subject.AUTHENTICATE, RotationState.CREATED, RotationState.AUTHENTICATED),
    Step(Subject.PUSH, RotationState.AUTHENTICATED, RotationState.PUSHED),
    Step(Subject.VERIFY, RotationState.PUSHED, RotationState.VERIFIED),
    Step(Subject.PROMOTE, RotationState.VERIFIED, RotationState.COMPLETED),
)
"""Makes the target current. Its steps take nothing away."""

RETIREMENT: Sequence[Step] = (
    Step(Subject.DRAIN, RetirementState.PLANNED, RetirementState.DRAINED),
    Step(Subject.DISABLE, RetirementState.DRAINED, RetirementState.DISABLED),
    Step(Subject.DELETE, RetirementState.DISABLED, RetirementState.DELETED),
)
"""Takes one version away. Where the provider cannot disable, `delete` follows `drain`."""

BROWNOUT: Sequence[Step] = (
    Step(Subject.BROWNOUT, RetirementState.PLANNED, RetirementState.BROWNED_OUT),
    Step(Subject.RESTORE, RetirementState.BROWNED_OUT, RetirementState.PLANNED),
)
"""The trial before `drain`, where the policy wants one: the key is disabled for a while, and always enabled again."""

TRIED = (RetirementReason.SUPERSEDED, RetirementReason.EXTRA)
"""Why a version is taken away that may have a brownout first: somebody may rely on it, and nothing is urgent."""


GOING_BACK: Sequence[Step] = tuple(Step(Subject.ENABLE, state, RetirementState.CANCELLED) for state in OPEN_RETIREMENT)
"""What is left of a retirement whose version is wanted back. `enable` has nothing to do where `disable` never began."""


CONFIRMING: Sequence[Step] = (Step(Subject.CONFIRM, RetirementState.DISABLED, RetirementState.DISABLED),)
"""While a leaked key soaks: it is tried until the provider refuses it. `delete` confirms for itself."""

CONTAINING: Sequence[Step] = (
    Step(Subject.REVOKE, RetirementState.PLANNED, RetirementState.DISABLED),
    Step(Subject.REVOKE, RetirementState.DRAINED, RetirementState.DISABLED),
)
"""What a person's `revoke` puts before everything else: no gate but the account."""


def step_after(plan: Sequence[Step], state: StrEnum) -> Step | None:
    """The step that leads on from a state; None at the end."""
    return next((step for step in plan if step.start == state), None)


class Use(StrEnum):
    """What use of the key by somebody else means for its retirement."""

    WAITED_OUT = "waited_out"  # no use for `require_idle`
    RECORDED = "recorded"  # evidence of the incident, never waited for
    IGNORED = "ignored"
    FORBIDDEN = "forbidden"  # any use at all says that the key is not the one we lost


HOLDS = frozenset({"in_use", "consumer_silent", "consumer_not_restarted", "consumer_unknown"})
"""Why a key that is to go may still be somebody's. One after the other they are one hold, with one `hold_alarm`."""


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What has to hold before a key is taken away, besides the times in its row.

    Every reason also needs that every destination positively serves another version.
    """

    use: Use
    other_key: bool  # another version must authenticate just now; False: only if there is a current one


GATES: dict[RetirementReason, Gates] = {
    RetirementReason.SUPERSEDED: Gates(use=Use.WAITED_OUT, other_key=True),
    RetirementReason.EXTRA: Gates(use=Use.WAITED_OUT, other_key=True),
    RetirementReason.COMPROMISED: Gates(use=Use.RECORDED, other_key=True),
    RetirementReason.ABANDONED: Gates(use=Use.IGNORED, other_key=False),
    RetirementReason.LOST_ANSWER: Gates(use=Use.FORBIDDEN, other_key=False),
    RetirementReason.REHEARSED: Gates(use=Use.IGNORED, other_key=False),
}

LOST_ANSWER_SOAK = timedelta(hours=1)
"""The most that an unlabelled lost key stays disabled before it is deleted."""

NONE = timedelta(0)

SUCCESSES = 3
SPREAD = timedelta(seconds=30)
"""A new key is believed after this many answers in a row, spread over its settle time but not over more than this."""


def trial(cause: Cause, settle: timedelta, *, can_tell: bool) -> timedelta:
    """Over how long a rotation's key is tried before it is given out; 0: one answer is enough."""
    believed = cause in (Cause.PUT_BACK, Cause.ADDED, Cause.UNPAIR)  # in use already; a roll-back's may just be enabled
    return min(settle, SPREAD) if can_tell and not believed else NONE


def pace(
    why: RetirementReason, *, grace: timedelta, soak: timedelta, settle: timedelta, labels: bool, can_disable: bool
) -> tuple[timedelta, timedelta]:
    """The grace and the soak of a retirement, from the policy's and the provider's."""
    match why:
        case RetirementReason.SUPERSEDED | RetirementReason.EXTRA:
            return grace, soak
        case RetirementReason.COMPROMISED:
            return NONE, soak if can_disable else NONE
        case RetirementReason.ABANDONED | RetirementReason.REHEARSED:
            return NONE, NONE
        case RetirementReason.LOST_ANSWER:
            return settle, NONE if labels else min(soak, LOST_ANSWER_SOAK)


def drain_from(opened_at: datetime, grace: timedelta, soak: timedelta, *, can_disable: bool) -> datetime:
    """When the gates are looked at first. Without `disable`, the soak counts as additional grace."""
    return opened_at + grace + (timedelta(0) if can_disable else soak)


def to_be_tried(retirement: Retirement) -> bool:
    """Whether a brownout is still to come."""
    planned = retirement.state is RetirementState.PLANNED and retirement.brownout_for is not None
    return planned and retirement.why in TRIED and not (retirement.browned_out or retirement.forced)


def taking_away(retirement: Retirement, *, can_disable: bool) -> Step | None:
    """The next step of a retirement, with `disable` left out where the provider cannot."""
    if retirement.uncontained:
        return step_after(CONTAINING, retirement.state)
    if retirement.wanted_back:
        return step_after(GOING_BACK, retirement.state)
    if retirement.unconfirmed_until is not None:
        return step_after(CONFIRMING, retirement.state)
    if retirement.state is RetirementState.BROWNED_OUT or (can_disable and to_be_tried(retirement)):
        return step_after(BROWNOUT, retirement.state)
    if retirement.state is RetirementState.DRAINED and not can_disable:
        return Step(Subject.DELETE, RetirementState.DRAINED, RetirementState.DELETED)
    return step_after(RETIREMENT, retirement.state)
