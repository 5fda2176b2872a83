"""Looking without being asked: the keys at the provider and what the destinations hold, against what is on record.

Nothing outside is changed, ever. What differs becomes a finding, with the one command that settles it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from rotator.domain.errors import PermanentError, RotatorError, StoreUnavailable, TemporaryError, WrongAccount
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import Finding, Observed, Placement, Version
from rotator.engine import adoption, brownout, creation, deadlines, drift, hooks, operator, permissions, regress, usage
from rotator.engine.drift import Drift
from rotator.engine.findings import News, clear_all_but, find
from rotator.engine.labels import labelled
from rotator.engine.pairs import holders
from rotator.engine.places import Look, Standing, look, placements
from rotator.engine.retirement import CLOCK_APART
from rotator.engine.work import Target, Work
from rotator.ports.provider import Key
from rotator.ports.store import Place, Update, Watched


def due_at(work: Work, findings: Sequence[Finding]) -> datetime | None:
    """When it is time for a look; None: now, as it is where somebody is out of service, so that its end shows too.

    `findings`: what stands. Only a look finds that somebody is out of service.
    """
    at = work.credential.watched_at
    if at is None or at > work.now():
        return None
    urgent = any(f.urgent and f.credential_id == work.credential.id for f in findings)
    return None if urgent else at + _pause(work, at)


def _pause(work: Work, at: datetime) -> timedelta:
    """Between half of the interval and all of it: a fleet that was looked at in one moment spreads out by itself."""
    digest = hashlib.sha256(f"{work.credential.id} {at.isoformat()}".encode()).digest()
    return work.limits.watch * (1 + int.from_bytes(digest[:4]) / 2**32) / 2


def watch(work: Work) -> None:
    """One look at the keys and at each place. Raises only where the lease or the database is lost."""
    trouble: dict[str, RotatorError] = {}
    standing = work.findings()
    _watch_clock(work, standing)
    deadlines.clear(work, standing)
    hooks.clear(work, standing)
    operator.clear_leaks(work, standing)
    brownout.clear(work, standing)
    try:
        _watch_keys(work, standing)
        permissions.watch(work, standing)
        usage.watch(work, standing)
    except StoreUnavailable:
        raise
    except (TemporaryError, PermanentError) as problem:
        trouble[work.managed.name] = problem
    rows: list[Place] = []
    for target in work.managed.targets if work.situation.current else ():
        try:
            rows += _watch_place(work, target, standing)
        except StoreUnavailable:
            raise
        except (TemporaryError, PermanentError) as problem:
            trouble[drift.subject(work, target)] = problem
            rows += _observed(work, target, Observed.UNKNOWN)
    _tell_trouble(work, standing, trouble)
    work.record([*rows, Watched(work.now())], [])


def _tell_trouble(work: Work, standing: Sequence[Finding], trouble: dict[str, RotatorError]) -> None:
    """What only a person can mend is told before a rotation meets it; what passes by itself is not."""
    lasting = {about: p for about, p in trouble.items() if isinstance(p, PermanentError)}
    cleared = work.event(Subject.UNREADY, Outcome.CLEARED)
    clear_all_but(work.store, standing, Subject.UNREADY, trouble.keys(), cleared)
    for about, problem in lasting.items():
        news = News(
            kind=Subject.UNREADY,
            subject=about,
            what=f"the next rotation of {about} would be stopped: {problem.message}",
            remedy=problem.remedy,
            credential_id=work.credential.id,
        )
        found = work.event(Subject.UNREADY, Outcome.FOUND, reason=problem.reason)
        find(work.store, work.around.new_id, news, found, cleared)


def _watch_clock(work: Work, standing: Sequence[Finding]) -> None:
    """A rotation that lies in the future was dated by a clock that has been set back since: nothing would be due."""
    name, done = work.managed.name, work.situation.last_completed_at
    cleared = work.event(Subject.CLOCK, Outcome.CLEARED)
    if done is None or done <= work.now() + CLOCK_APART:
        clear_all_but(work.store, standing, Subject.CLOCK, (), cleared)
        return
    news = News(
        kind=Subject.CLOCK,
        subject=name,
        what=f"the last rotation of {name} is dated {done:%Y-%m-%d %H:%M} UTC, so that it is not due for long",
        remedy=f"set the clock; where it is right now, `rotate --now {name}`",
        credential_id=work.credential.id,
    )
    found = work.event(Subject.CLOCK, Outcome.FOUND, reason="clock")
    find(work.store, work.around.new_id, news, found, cleared)


# keys


def _watch_keys(work: Work, standing: Sequence[Finding]) -> None:
    current = work.situation.current
    if not work.provider.capabilities.can_tell or current is None:
        return
    account = work.ask(work.provider.account)
    if account != current.account:
        message = f"the provider says {account}, the current key is of {current.account}"
        raise WrongAccount(message, remedy="check the provider's credentials in the configuration")
    keys = work.ask(work.provider.keys)
    regress.look_at_labels(work, account, keys)
    creation.condemn_late_keys(work, keys)
    _note_expiry(work, current, keys)
    _watch_current(work, standing, current, keys)
    _watch_strangers(work, standing, current, keys)


def _note_expiry(work: Work, current: Version, keys: Sequence[Key]) -> None:
    """Somebody may give the current key another life at the provider; the next rotation is due by it."""
    listed = next((key for key in keys if key.id == current.key_id), None)
    if listed is not None and listed.expires_at not in (None, current.expires_at):
        work.record([Update(current, {"expires_at": listed.expires_at})], [])


def _watch_current(work: Work, standing: Sequence[Finding], current: Version, keys: Sequence[Key]) -> None:
    """The key that consumers read must be there, and enabled."""
    listed = next((key for key in keys if key.id == current.key_id), None)
    gone = current.key_id is not None and listed is None and not work.may_be_unlisted(current)
    disabled = listed is not None and not listed.enabled
    name, number = work.managed.name, current.number
    for holds, subject, how in (
        (gone, Subject.KEY_GONE, "is not there any more"),
        (disabled, Subject.KEY_DISABLED, "is disabled"),
    ):
        cleared = work.event(Subject.KEY_GONE, Outcome.CLEARED, version=current.id)
        found = work.event(Subject.KEY_GONE, Outcome.FOUND, version=current.id, reason="key_gone")
        if subject is Subject.KEY_DISABLED:
            cleared = work.event(Subject.KEY_DISABLED, Outcome.CLEARED, version=current.id)
            found = work.event(Subject.KEY_DISABLED, Outcome.FOUND, version=current.id, reason="key_disabled")
        clear_all_but(work.store, standing, subject, [name] if holds else [], cleared)
        if holds:
            news = News(
                kind=subject,
                subject=name,
                what=f"OUTAGE: the current key of {name}, version {number} ({current.key_id}), {how} at the provider",
                seen=f"seen {work.now():%Y-%m-%d %H:%M:%S} UTC",
                remedy=f"`rotate --now {name}` makes a new one",
                credential_id=work.credential.id,
                account=current.account,
                urgent=True,
            )
            find(work.store, work.around.new_id, news, found, cleared)


def _watch_strangers(work: Work, standing: Sequence[Finding], current: Version, keys: Sequence[Key]) -> None:
    """Keys of the same owner that no row knows: reported, never touched."""
    listed = next((key for key in keys if key.id == current.key_id), None)
    target = work.situation.target
    asked = target is not None and target.awaited
    if listed is None or asked or creation.unlocated_keys(work) or creation.lost_intents(work):
        return  # whose the others are cannot be told, or one of them may be ours, or on its way to us
    known = work.store.known_keys(current.account, [key.id for key in keys])
    ours = {key.id for key in regress.unknown_labels(work, keys)} | {k.id for k in keys if _has_row(work, k)}
    strangers = {k.id: k for k in keys if k.owner == listed.owner and k.id not in {*known, *ours}}
    cleared = work.event(Subject.STRANGER, Outcome.CLEARED)
    for finding in standing:
        if finding.kind == Subject.STRANGER and finding.subject not in strangers:
            work.store.clear(Subject.STRANGER, finding.subject, replace(cleared, key_id=finding.subject))
    for stranger in strangers.values():
        key, name = work.with_use(stranger), work.managed.name
        made = f", made {key.created_at:%Y-%m-%d %H:%M} UTC" if key.created_at else ""
        news = News(
            kind=Subject.STRANGER,
            subject=key.id,
            what=f"the key {key.id}{made} has the same owner as the key of {name} and is not on record",
            seen=f"last used {key.last_used_at:%Y-%m-%d %H:%M} UTC" if key.last_used_at else "",
            remedy=f"find out whose it is; `rotator adopt {name} --key {key.id} --as previous` has it taken away",
            credential_id=work.credential.id,
            account=current.account,
        )
        made_at = adoption.made_at(key.created_at)
        told = work.event(Subject.STRANGER, Outcome.FOUND, reason="stranger", issued_at=made_at)
        found, gone = replace(told, key_id=key.id), replace(cleared, key_id=key.id)
        find(work.store, work.around.new_id, news, found, gone)


def _has_row(work: Work, key: Key) -> bool:
    version_id = labelled(key)
    return version_id is not None and work.version(version_id) is not None


# places


def _watch_place(work: Work, target: Target, standing: Sequence[Finding]) -> list[Place]:
    """What a place serves, for the record; what it should not, as a finding."""
    if not _placed(work, target):
        return []  # nothing was ever put there: the next pass does
    current = work.situation.current
    should = holders(work, target.templates, current) if current is not None else {}
    seen = look(work, target.destination, target.templates, wanted=should or None)
    found = drift.classify(work, target, seen)
    refused: PermanentError | None = None
    try:
        work.call(target.destination.preflight, target.templates)
    except PermanentError as problem:
        refused = problem
    if found is not None and found.version is None:
        regress.look_at_writer(work, target, seen.reading.revision)
    drift.tell(work, target, seen, found, standing, writer=refused.message if refused and found else "")
    if refused is not None:
        raise refused
    return _as_seen(work, target, seen, found, should)


def _as_seen(work: Work, target: Target, seen: Look, found: Drift | None, should: Mapping[str, Version]) -> list[Place]:
    if found is not None:
        return _observed(work, target, Observed.PREVIOUS if found.version else seen.observed)
    recorded = {p.field: p.version_id for p in _placed(work, target)}
    if seen.standing is Standing.WANTED and recorded != {f: v.id for f, v in should.items()}:
        # A person has put it right.
        fields = {f: seen.reading.fields[f] for f in target.templates}
        return placements(work, target.to, target.destination, fields, should, seen.reading.revision)
    return _observed(work, target, Observed.SERVED)


def _observed(work: Work, target: Target, what: Observed) -> list[Place]:
    """The rows of a place, with what was seen. A place that cannot be read may still serve what it was seen to."""
    rows = _placed(work, target)
    if what is Observed.UNKNOWN:
        rows = [row for row in rows if row.observed is not Observed.PREVIOUS]
    return [Place(replace(row, observed=what, checked_at=work.now())) for row in rows]


def _placed(work: Work, target: Target) -> list[Placement]:
    rows = work.situation.placements_at(target.destination.identity)
    return [row for field, row in rows.items() if field in target.templates]
