"""The brake on a provider account: after many failures in a row it is left alone, with one finding and not hundreds.

Its state is a row that all workers share, so that it holds across processes and restarts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from rotator.domain.errors import RotatorError
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import Account
from rotator.domain.policy import NotDue
from rotator.engine.findings import News, find
from rotator.engine.pace import LONGEST, ahead
from rotator.engine.work import Work


def held(work: Work, asked_at: datetime | None, anything_to_do: Callable[[], bool]) -> NotDue | None:
    """Why nothing is tried at the provider now; None: go on.

    A person who asked (at this time) has one try. Otherwise nothing happens until the pause is over; then one
    credential that has something to do tries, and all others wait for what comes of it. One that has nothing to do
    waits for nothing here (`until` is None).
    """
    account, now = work.store.account(work.managed.provider_name), work.now()
    if ahead(account.not_before, now, LONGEST):
        assert account.not_before is not None
        work.pace.hold((account.not_before - now).total_seconds())
    if account.failures < work.limits.brake_failures:
        return None
    if asked_at is not None and not (account.failed_at is not None and asked_at <= account.failed_at <= now):
        return None
    waits = asked_at is not None or anything_to_do()
    if asked_at is None and waits and not _pauses(account, now, work):
        claimed = work.store.note_account(account.provider, lambda row: _paused(row, now, work))
        if claimed.paused_until == now + work.limits.brake_pause:
            return None
    message = f"{account.provider} has failed {account.failures} times in a row: {account.message}"
    return NotDue(reason="account_braked", message=message, until=account.paused_until if waits else None)


def _pauses(account: Account, now: datetime, work: Work) -> bool:
    return ahead(account.paused_until, now, work.limits.brake_pause)


def _paused(account: Account, now: datetime, work: Work) -> Account:
    if _pauses(account, now, work):
        return account
    return replace(account, paused_until=now + work.limits.brake_pause)


def learn(work: Work, *, done: bool) -> bool:
    """What a step tells about the account: a failure of the provider's is counted, a step done ends the row of them.

    False: the brake is on from now.
    """
    blamed, asked = work.blamed, work.asked
    work.blamed, work.asked = None, False
    if blamed is not None:
        return not _failed(work, blamed)
    if asked and done and work.store.account(work.managed.provider_name).failures:
        _worked(work)
    return True


def _failed(work: Work, error: RotatorError) -> bool:
    """Count it; say whether the brake is on."""
    name, limits, now = work.managed.provider_name, work.limits, work.now()

    def one_more(row: Account) -> Account:
        failures = row.failures + 1
        until = now + limits.brake_pause if failures >= limits.brake_failures else None
        return replace(
            row, failures=failures, failed_at=now, paused_until=until, reason=error.reason, message=error.message
        )

    account = work.store.note_account(name, one_more)
    if account.failures < limits.brake_failures:
        return False
    news = News(
        kind=Subject.ACCOUNT_BRAKED,
        subject=name,
        what=f"{limits.brake_failures} steps in a row have failed at {name}: its rotations wait",
        seen=f"the last one: {error.message}",
        remedy=f"see to {name}; a pass tries one credential every {limits.brake_pause}, `rotate --now NAME` at once",
    )
    found = work.event(Subject.ACCOUNT_BRAKED, Outcome.FOUND, reason=error.reason)
    cleared = work.event(Subject.ACCOUNT_BRAKED, Outcome.CLEARED)
    find(work.store, work.around.new_id, news, found, cleared)
    return True


def _worked(work: Work) -> None:
    name = work.managed.provider_name
    work.store.note_account(
        name, lambda row: replace(row, failures=0, paused_until=None, failed_at=None, reason=None, message=None)
    )
    work.store.clear(Subject.ACCOUNT_BRAKED, name, work.event(Subject.ACCOUNT_BRAKED, Outcome.CLEARED))
