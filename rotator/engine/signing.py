"""The trail is signed as the work goes on: a checkpoint after so many events, and after so much time."""

from __future__ import annotations

from rotator.domain.errors import SetupError, StoreUnavailable
from rotator.domain.events import Outcome, Subject
from rotator.engine import regress
from rotator.engine.findings import News, find
from rotator.engine.work import Surroundings
from rotator.ports.store import Checkpoints, Store

_SUBJECT = "checkpoint"


def keep_up(store: Store, checkpoints: Checkpoints | None, around: Surroundings) -> None:
    """Sign a checkpoint where one is due. What is in the way is a finding, or is tried again soon; it stops no work.

    Never while the installation is stopped: a database that went back in time must not sign another past.
    """
    if checkpoints is None:
        return
    try:
        if regress.standing(store) is not None:
            return
        cleared = regress.event(Subject.UNREADY, Outcome.CLEARED, around)
        try:
            checkpoints.keep_up(around.actor)
        except SetupError as problem:
            found = regress.event(Subject.UNREADY, Outcome.FOUND, around, reason=problem.reason)
            news = News(kind=Subject.UNREADY, subject=_SUBJECT, what=problem.message, remedy=problem.remedy)
            find(store, around.new_id, news, found, cleared)
            return
        store.clear(Subject.UNREADY, _SUBJECT, cleared)
    except StoreUnavailable:
        return
