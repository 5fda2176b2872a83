"""`pause`: a person stops whatever the schedule does with a credential. What a leak needs passes."""

from __future__ import annotations

from datetime import datetime, timedelta

from rotator.domain.errors import PermanentError
from rotator.domain.events import Outcome, Subject, name
from rotator.domain.model import Credential, Retirement, RetirementReason, RetirementState, Rotation, Situation
from rotator.engine.work import Work
from rotator.ports.store import NewEvent, Pause, Store


def pause(store: Store, credential: Credential, *, actor: str, why: str, lasts: timedelta | None) -> bool:
    """Stop a credential: nothing is written or taken away from the next step on. False where it is paused like that.

    Needs the database only. May be repeated: the last one says who, until when and why.
    """
    detail = {"because": why, "lasts": str(lasts) if lasts is not None else None}
    event = NewEvent(
        event=name(Subject.PAUSE, Outcome.SUCCEEDED), actor=actor, credential=credential.name, detail=detail
    )
    return store.pause(credential.id, Pause(by=actor, lasts=lasts, why=why), event)


def unpause(store: Store, credential: Credential, *, actor: str, because: str | None) -> bool:
    """End a pause; False where there is none."""
    detail = {"because": because}
    event = NewEvent(
        event=name(Subject.UNPAUSE, Outcome.SUCCEEDED), actor=actor, credential=credential.name, detail=detail
    )
    return store.pause(credential.id, None, event)


def holds(work: Work, row: Rotation | Retirement) -> bool:
    """Whether a pause holds this row now."""
    return work.situation.credential.paused_at is not None and frozen(work.situation, row, work.now())


def frozen(situation: Situation, row: Rotation | Retirement, now: datetime) -> bool:
    """The same by the rows. A leaked key goes all the same, and until it is replaced nothing is held.

    What a brownout has disabled is enabled again all the same.
    """
    rotation = situation.rotation
    if not situation.credential.paused(now):
        return False
    leaked = isinstance(row, Retirement) and row.why is RetirementReason.COMPROMISED
    dimmed = isinstance(row, Retirement) and row.state is RetirementState.BROWNED_OUT
    return not leaked and not dimmed and not (rotation is not None and rotation.urgent)


def refuse(work: Work) -> None:
    """Raise PermanentError, saying who, where the credential is paused."""
    credential = work.situation.credential
    if credential.paused_at is not None and credential.paused(work.now()):
        message = f"{credential.name} is {credential.pause_message}"
        remedy = f"`rotator unpause {credential.name}`; a leak passes: `rotate --compromised {credential.name}`"
        raise PermanentError(message, reason="paused", remedy=remedy)
