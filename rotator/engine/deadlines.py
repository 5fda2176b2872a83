"""What is said about time before it is up: keys that will not be gone by then, and hours that had to be broken."""

from __future__ import annotations

from collections.abc import Sequence

from rotator.domain.deadlines import Deadline, missed
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import Finding
from rotator.domain.policy import HOURS, Due
from rotator.engine.findings import News, clear_all_but, find
from rotator.engine.work import Work


def tell(work: Work) -> None:
    """Find the keys that will not be gone when their time is up. Asks nobody, so that nothing keeps it from being told.

    May be repeated. Half of the room that is kept for retries is left when it is first true.
    """
    for late in _missed(work):
        version = late.version
        about = f"version {version.number} ({version.key_id}) of {work.managed.name}"
        will = "will not be gone by then" if late.why == "max_age" else "will not have been replaced in time"
        news = News(
            kind=_subject(late),
            subject=str(version.key_id),
            what=f"{late.message.replace(f'version {version.number}', about)}, and it {will}",
            remedy=f"`rotator explain {work.managed.name}` says what it waits for",
            credential_id=work.credential.id,
            account=version.account,
        )
        found = work.event(Subject.MAX_AGE, Outcome.FOUND, version=version.id, reason="max_age")
        cleared = work.event(Subject.MAX_AGE, Outcome.CLEARED, version=version.id)
        if late.why == "expires":
            found = work.event(Subject.EXPIRES, Outcome.FOUND, version=version.id, reason="expires")
            cleared = work.event(Subject.EXPIRES, Outcome.CLEARED, version=version.id)
        find(work.store, work.around.new_id, news, found, cleared)


def clear(work: Work, standing: Sequence[Finding]) -> None:
    """Clear what holds no more: keys that are gone or have time again, and broken hours that are over."""
    late = _missed(work)
    for subject, cleared in (
        (Subject.MAX_AGE, work.event(Subject.MAX_AGE, Outcome.CLEARED)),
        (Subject.EXPIRES, work.event(Subject.EXPIRES, Outcome.CLEARED)),
    ):
        still = {str(one.version.key_id) for one in late if _subject(one) is subject}
        clear_all_but(work.store, standing, subject, still, cleared)
    if work.situation.rotation is None and work.managed.policy.hours.closed(work.now()) is None:
        cleared = work.event(Subject.HOURS_BROKEN, Outcome.CLEARED)
        clear_all_but(work.store, standing, Subject.HOURS_BROKEN, (), cleared)


def break_hours(work: Work, decision: Due) -> None:
    """A rotation is about to be opened at an hour that forbids it: said before it is done. May be repeated."""
    if decision.breaks is None:
        return
    name = work.managed.name
    news = News(
        kind=Subject.HOURS_BROKEN,
        subject=name,
        what=f"{name} is rotated although {HOURS[decision.breaks]}",
        seen=decision.message,
        remedy="rotate more often, or give it more windows, so that one comes in time",
        credential_id=work.credential.id,
    )
    found = work.event(Subject.HOURS_BROKEN, Outcome.FOUND, reason=decision.breaks)
    find(work.store, work.around.new_id, news, found, work.event(Subject.HOURS_BROKEN, Outcome.CLEARED))


def _missed(work: Work) -> list[Deadline]:
    if work.managed.removed:
        return []  # nothing new is opened for it, and `unmanaged` says so
    return missed(work.situation, work.managed.terms, work.now())


def _subject(late: Deadline) -> Subject:
    return Subject.MAX_AGE if late.why == "max_age" else Subject.EXPIRES
