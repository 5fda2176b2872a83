"""The steps of a brownout: an old key is disabled for a while, whoever may read it is asked, and it is enabled again.

The row brings it back by itself. Once `brownout.started` is committed, which is before the provider is asked to
disable anything, the only way on is `restore`; no gate, pause, window or brake holds that up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from rotator.domain.brownout import begins
from rotator.domain.errors import (
    AccessDenied,
    PermanentError,
    RateLimited,
    RotatorError,
    StaleLease,
    StoreUnavailable,
    TemporaryError,
    WrongAccount,
)
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import Finding, Retirement, RetirementState, Version, VersionState
from rotator.engine.findings import News, clear_all_but, find
from rotator.engine.places import survey
from rotator.engine.reactivation import enabled
from rotator.engine.retirement import gates, version_of
from rotator.engine.work import MOVING, Work
from rotator.ports.provider import Disables, Key
from rotator.ports.store import Update

LOOKS = 5
"""How often one looks while it lasts, but at least once in a minute."""

MINUTE = timedelta(minutes=1)

# the beginning


def brownout(work: Work, retirement: Retirement) -> None:
    """planned → browned_out: in its hours, and with every gate of a disable held."""
    version, now, policy = version_of(work, retirement), work.now(), work.managed.policy
    at = None if policy.brownout is None else begins(retirement, policy.brownout.hours, now)
    if at is None:
        _leave_out(work, retirement, version)
    elif at > now:
        message = (
            f"version {version.number} is disabled for {retirement.brownout_for} first, when the hours for it open"
        )
        work.wait(retirement, Subject.BROWNOUT, at, "brownout_hours", message)
    else:
        _dim(work, retirement, version, gates(work, retirement, version).evidence)


def _leave_out(work: Work, retirement: Retirement, version: Version) -> None:
    message = "its hours do not open before the grace is over"
    if work.managed.policy.brownout is None:
        message = "the policy wants none any more"
    told = work.event(Subject.BROWNOUT, Outcome.FAILED, version=version.id, reason="brownout_hours", message=message)
    work.record([Update(retirement, {"browned_out": True, **_in_grace(work, retirement)})], [told])


def _dim(work: Work, retirement: Retirement, version: Version, evidence: dict[str, Any]) -> None:
    provider, lasts = work.provider, retirement.brownout_for
    if not isinstance(provider, Disables) or version.key_id is None or lasts is None:
        message = "the provider cannot disable a key"
        raise PermanentError(message, reason="bug")
    now = work.now()
    told = work.event(
        Subject.BROWNOUT,
        Outcome.STARTED,
        version=version.id,
        attempt=retirement.attempt + 1,
        until=_said(now + lasts),
        owner=work.managed.owner,
        **evidence,
    )
    begun = {
        "state": RetirementState.BROWNED_OUT,
        "disable_started": True,
        "restore_at": now + lasts,
        "brownout_failure": None,
        **_waiting(version, now, now + lasts, lasts),
    }
    work.record([Update(retirement, begun)], [told])
    try:
        with work.noting_late_calls(answered=True):
            work.ask(provider.disable, version.key_id)
    except (PermanentError, RateLimited) as no:  # an answer: nothing was disabled
        undone = {"state": RetirementState.PLANNED, "disable_started": False, "restore_at": None, **MOVING}
        told = work.event(Subject.BROWNOUT, Outcome.FAILED, version=version.id, reason=no.reason, message=no.message)
        work.record([Update(_row(work, version), undone)], [told])
        raise
    told = work.event(Subject.BROWNOUT, Outcome.SUCCEEDED, version=version.id)
    work.record([Update(version, {"state": VersionState.DISABLED})], [told])


def _row(work: Work, version: Version) -> Retirement:
    row = work.situation.retirement_of(version.id)
    if row is None:
        message = "the retirement is closed"
        raise StaleLease(message)
    return row


def _waiting(version: Version, now: datetime, until: datetime, lasts: timedelta) -> dict[str, Any]:
    """The waiting columns while it lasts: the next look, or its end."""
    return {
        **MOVING,
        "not_before": min(now + min(lasts / LOOKS, MINUTE), until),
        "reason": "brownout",
        "message": f"version {version.number} is disabled until {_said(until)}, to find who still uses it",
        "since": now,
    }


def _in_grace(work: Work, retirement: Retirement) -> dict[str, Any]:
    """The waiting columns between it and `drain`."""
    ends, now = retirement.opened_at + retirement.grace, work.now()
    if now >= ends:
        return dict(MOVING)
    message = "the old key keeps working until then"
    return {**MOVING, "not_before": ends, "reason": "grace", "message": message, "since": now}


def _said(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


# while it lasts, and the end


def restore(work: Work, retirement: Retirement) -> None:
    """browned_out → planned: its time is over, or somebody misses the key; it is enabled, and tried.

    Until then each look asks the places and the probes.
    """
    version, now = version_of(work, retirement), work.now()
    if misdated(retirement, now):
        work.record([Update(retirement, {"restore_at": now, "not_before": None})], [])
        retirement = _row(work, version)
    if _lasts(work, retirement, version, now):
        missed = _missed(work, version)
        if missed is None:
            _look_again(work, retirement, version, now)
            return
        if retirement.reason != "brownout_missed":  # once may be chance
            raise TemporaryError(missed, reason="brownout_missed")
        told = work.event(
            Subject.BROWNOUT, Outcome.FAILED, version=version.id, reason="brownout_failed", message=missed
        )
        work.record([Update(retirement, {"restore_at": now, "brownout_failure": missed})], [told])
        retirement = _row(work, version)
    gone = _give_back(work, retirement, version)
    _over(work, retirement, version_of(work, retirement), gone=gone)


def misdated(row: Retirement, now: datetime) -> bool:
    """Whether the clock was set back since it began: then nobody knows how long it has lasted, and it ends now."""
    lasting = row.state is RetirementState.BROWNED_OUT and not row.blocked
    if not lasting or row.restore_at is None or row.brownout_for is None:
        return False
    return row.restore_at - now > row.brownout_for


def _lasts(work: Work, row: Retirement, version: Version, now: datetime) -> bool:
    """Where it is not on record that the key was disabled, nobody knows since when it has been. A pause ends it too."""
    unsure = version.state is not VersionState.DISABLED or row.restore_at is None
    return not (unsure or work.credential.paused(now)) and row.restore_at is not None and now < row.restore_at


def _missed(work: Work, version: Version) -> str | None:
    """What shows that somebody misses the key: a place that serves it, or a probe that fails."""
    try:
        return _served(work, version) or _failing_probe(work)
    except (StaleLease, StoreUnavailable):
        raise
    except RotatorError:  # what cannot be asked does not say so
        return None


def _served(work: Work, version: Version) -> str | None:
    looks = survey(work).looks
    at = next((address for address, look in looks.items() if version.id in look.holders), None)
    return None if at is None else f"{at} serves version {version.number}"


def _failing_probe(work: Work) -> str | None:
    current = work.situation.current
    if current is None or work.kept(current) is None:
        return None
    for target in work.managed.targets:
        if target.probe is None:
            continue
        try:
            work.run_hook(target.probe, target, current)
        except (StaleLease, StoreUnavailable):
            raise
        except RotatorError as problem:
            return f"the probe of {target.destination.address} fails ({target.probe.name}): {problem.message}"
    return None


def _look_again(work: Work, retirement: Retirement, version: Version, now: datetime) -> None:
    until, lasts = retirement.restore_at or now, retirement.brownout_for or MINUTE
    since = retirement.since if retirement.reason == "brownout" else now
    work.record([Update(retirement, {**_waiting(version, now, until, lasts), "since": since})], [])


def _give_back(work: Work, retirement: Retirement, version: Version) -> bool:
    """Enable it and believe it; True: there is no such key any more. Never raises what would leave it to a person."""
    try:
        enabled(work, retirement, version)
        listed = _listed(work, version)
    except PermanentError as problem:
        if not isinstance(problem, AccessDenied | WrongAccount) and _listed(work, version) is None:
            return True
        raise TemporaryError(problem.message, reason=problem.reason, remedy=problem.remedy) from problem
    if listed is not None and not listed.enabled:
        message = f"the provider does not list {version.key_id} as enabled yet"
        raise TemporaryError(message, reason="not_confirmed")
    return False


def _listed(work: Work, version: Version) -> Key | None:
    return next((key for key in work.ask(work.provider.keys) if key.id == version.key_id), None)


def _over(work: Work, retirement: Retirement, version: Version, *, gone: bool) -> None:
    """Back among the planned ones. Done, where it has lasted for its time; blocked, where somebody missed the key."""
    now, name, missed = work.now(), work.managed.name, retirement.brownout_failure
    reason = "interrupted" if version.state is not VersionState.DISABLED else None
    if gone:
        reason = "key_gone"
    told = [work.event(Subject.RESTORE, Outcome.SUCCEEDED, version=version.id, reason=reason)]
    cut_short = work.credential.paused(now) and retirement.restore_at is not None and now < retirement.restore_at
    done = missed is None and not cut_short
    changes: dict[str, Any] = {
        "state": RetirementState.PLANNED,
        "disable_started": False,
        "restore_at": None,
        "browned_out": done,
        **(_in_grace(work, retirement) if done else MOVING),
    }
    if missed is not None:
        remedy = (
            f"find what still uses version {version.number} ({version.key_id}); `rotator resume {name}` tries the "
            f"brownout again, `rotator reactivate {name}` keeps the key"
        )
        blocked = {"blocked": True, "reason": "brownout_failed", "message": f"it is missed: {missed}"}
        changes |= {**blocked, "remedy": remedy, "since": now}
        told.append(
            work.event(Subject.BROWNOUT, Outcome.BLOCKED, version=version.id, reason="brownout_failed", message=missed)
        )
    work.record([Update(retirement, changes), Update(version, {"state": VersionState.PREVIOUS})], told)


# what is said about it


def lasting(work: Work) -> Sequence[Retirement]:
    """The retirements that have one now."""
    return [row for row in work.situation.retirements if row.state is RetirementState.BROWNED_OUT]


def tell(work: Work, before: Sequence[Retirement]) -> None:
    """At the end of a turn: find those that last, clear those of `before` that are over. May be repeated."""
    now = lasting(work)
    for row in now:
        version = version_of(work, row)
        until = _said(row.restore_at) if row.restore_at is not None else "it is enabled again"
        about = f"version {version.number} ({version.key_id}) of {work.managed.name}"
        owner = f"; its owner is {work.managed.owner}" if work.managed.owner else ""
        news = News(
            kind=Subject.BROWNOUT,
            subject=str(version.key_id),
            what=f"{about} is disabled until {until}, to find who still uses it",
            seen=f"it is enabled again by itself{owner}",
            remedy=f"where something fails: `rotator reactivate {work.managed.name}` enables it at once and keeps it",
            credential_id=work.credential.id,
            account=version.account,
        )
        found = work.event(Subject.BROWNOUT, Outcome.FOUND, version=version.id, reason="brownout")
        find(work.store, work.around.new_id, news, found, _cleared(work, version))
    ids = {row.id for row in now}
    for row in before:
        over = None if row.id in ids else work.version(row.version_id)
        if over is not None:
            work.store.clear(Subject.BROWNOUT, str(over.key_id), _cleared(work, over))


def clear(work: Work, standing: Sequence[Finding]) -> None:
    """Clear what holds no more, where a worker did not live to do it."""
    still = {str(version_of(work, row).key_id) for row in lasting(work)}
    clear_all_but(work.store, standing, Subject.BROWNOUT, still, work.event(Subject.BROWNOUT, Outcome.CLEARED))


def _cleared(work: Work, version: Version) -> Any:
    told = work.event(Subject.BROWNOUT, Outcome.CLEARED, version=version.id)
    return replace(told, version=version.number, key_id=version.key_id)


STEPS: dict[Subject, Callable[[Work, Retirement], None]] = {Subject.BROWNOUT: brownout, Subject.RESTORE: restore}
"""The functions behind `domain.plans.BROWNOUT`."""
