"""How the keys of a credential are used: sampled where the provider tells, and judged by `domain.anomalies`.

A sample changes nothing outside. What a check finds is a finding, with its figures; `on` says what is done about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from rotator.domain.anomalies import NEWS_LASTS, RECENT, WARM_UP, Anomaly, Check, KeyLife, Use, judge
from rotator.domain.errors import PermanentError
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import Finding, RetirementState, Version, VersionState
from rotator.domain.reactions import Reaction, verb_of, wanted
from rotator.domain.usage import DAY, HOUR, Change, Record, Sample, Sampling, begin
from rotator.engine.evidence import OWN_USE, was_us
from rotator.engine.findings import News, clear_all_but, find
from rotator.engine.reacting import react
from rotator.engine.work import Work
from rotator.ports.provider import Key, Logs, Samples

SETTLES = timedelta(hours=2)
"""What a provider tells of the last hours may still grow."""

ENDED = timedelta(days=30)
"""A key that has been gone for longer is asked about no more."""


def watch(work: Work, standing: Sequence[Finding]) -> None:
    """Sample, where it is time and the provider tells; then judge. Raises what asking the provider raises."""
    current = work.situation.current
    if not work.provider.capabilities.tells_last_use or current is None:
        return
    before = work.store.sampling(work.credential.id)
    # A fleet of new keys has other things to ask its provider, and nothing has used them yet.
    last = before.at if before is not None else current.current_at or current.created_at
    if last <= work.now() < last + work.limits.sample:
        return
    since = _since(work, before)
    found = list(_last_uses(work, work.ask(work.provider.keys)))
    foreign: Sequence[Change] = ()
    refused: PermanentError | None = None
    try:
        found += _metered(work, since)
        foreign = _changes(work)
    except PermanentError as problem:
        refused = problem
    _tell_refused(work, standing, refused)
    work.store.keep_samples(work.credential.id, found, since)
    anomalies = judge(_use(work, since if before is None else before.since, foreign))
    _tell(work, standing, anomalies, unknown=[Check.FOREIGN_CHANGE] if refused else [])


def _since(work: Work, before: Sampling | None) -> datetime:
    """From when on the provider is asked; at first so far back, where it can tell, that what is usual is known."""
    if before is not None:
        return begin(before.at - SETTLES, HOUR)
    if not isinstance(work.provider, Samples):
        return work.now()
    made = [v.issued_at or v.created_at for v in work.situation.versions if v.key_id is not None]
    return begin(max(begin(work.now() - WARM_UP, DAY), min(made, default=work.now())), HOUR)


def _last_uses(work: Work, keys: Sequence[Key]) -> Iterator[Sample]:
    listed = {key.id: key for key in keys}
    for version in work.situation.versions:
        if (key := listed.get(version.key_id or "")) is None:
            continue
        key = work.with_use(key)
        if key.last_used_at is not None:
            yield Sample(
                key_id=key.id,
                at=begin(key.last_used_at, HOUR),
                width=HOUR,
                service=key.last_used_by or "",
                region=key.last_used_in or "",
                ours=_may_be_ours(work, version, key.last_used_at, key),
                last_at=key.last_used_at,
            )


def _may_be_ours(work: Work, version: Version, at: datetime, key: Key) -> bool:
    """Whether it was our own check; where the provider does not tell who it was, whatever came no later than that."""
    if work.provider.capabilities.own_use is not None:
        return was_us(work, version, key)
    return version.checked_at is not None and at <= version.checked_at + OWN_USE


def _metered(work: Work, since: datetime) -> list[Sample]:
    provider = work.provider
    if not isinstance(provider, Samples):
        return []
    asked = [(kind, key_id) for key_id in _asked_about(work) for kind in provider.kinds]
    return [sample for kind, key_id in asked for sample in work.ask(provider.samples, kind, key_id, since)]


def _changes(work: Work) -> Sequence[Change]:
    """As far back as a change is news: nothing of it is kept but the finding."""
    provider = work.provider
    if not isinstance(provider, Logs):
        return ()
    return work.ask(provider.changes, _asked_about(work), work.now() - NEWS_LASTS)


def _asked_about(work: Work) -> list[str]:
    """The keys that work, and those that have not been gone for long."""
    return [v.key_id for v in work.situation.versions if v.key_id is not None and _matters(v, work.now())]


def _matters(version: Version, now: datetime) -> bool:
    return version.state.living or (version.retired_at is not None and version.retired_at > now - ENDED)


def _use(work: Work, since: datetime, foreign: Sequence[Change]) -> Use:
    """Everything that the checks are asked about, as it is on record."""
    samples, now, bounds = work.store.samples(work.credential.id), work.now(), work.managed.bounds
    return Use(
        now=now,
        since=since,
        keys=[life for version in work.situation.versions if (life := _life(work, version)) is not None],
        record=Record.of(samples),
        samples=[sample for sample in samples if sample.surely_at > now - RECENT],
        foreign=foreign,
        networks=bounds.networks,
        budget=bounds.budget,
    )


def _life(work: Work, version: Version) -> KeyLife | None:
    if version.key_id is None:
        return None
    row = work.situation.retirement_of(version.id)
    disabled = row is not None and row.state is RetirementState.DISABLED
    soaks_until = row.unconfirmed_until or row.not_before if row is not None and disabled else None
    return KeyLife(
        key_id=version.key_id,
        number=version.number,
        state=version.state,
        made_at=version.issued_at or version.created_at,
        retiring_from=row.opened_at + row.grace if row is not None else None,
        disabled_at=soaks_until - row.soak if row is not None and soaks_until is not None else None,
        gone_at=version.retired_at if version.state is VersionState.RETIRED else None,
    )


def _tell_refused(work: Work, standing: Sequence[Finding], refused: PermanentError | None) -> None:
    """Without its usage data fewer checks can find anything, and nobody should believe that all is quiet."""
    name = work.managed.name
    cleared = work.event(Subject.UNMETERED, Outcome.CLEARED)
    clear_all_but(work.store, standing, Subject.UNMETERED, [name] if refused else [], cleared)
    if refused is not None:
        news = News(
            kind=Subject.UNMETERED,
            subject=name,
            what=f"the provider of {name} does not let us read how its keys are used: {refused.message}",
            remedy=refused.remedy,
            credential_id=work.credential.id,
        )
        found = work.event(Subject.UNMETERED, Outcome.FOUND, reason=refused.reason)
        find(work.store, work.around.new_id, news, found, cleared)


def _tell(work: Work, standing: Sequence[Finding], found: Sequence[Anomaly], unknown: Sequence[Check]) -> None:
    """A finding for each, unless the policy ignores its check; and what else the policy wants, once for each.

    Of the checks in `unknown` nothing could be seen, so that what they have found stands.
    """
    told = {_subject(work, anomaly.check, anomaly.about): anomaly for anomaly in found}
    told = {about: anomaly for about, anomaly in told.items() if _wanted(work, anomaly.check) is not Reaction.IGNORE}
    still = {f.subject for f in standing for check in unknown if f.subject.startswith(_subject(work, check))}
    cleared = work.event(Subject.ANOMALY, Outcome.CLEARED)
    clear_all_but(work.store, standing, Subject.ANOMALY, told.keys() | still, cleared)
    known = {f.subject for f in standing if f.kind == Subject.ANOMALY}
    for about, anomaly in told.items():
        _tell_one(work, about, anomaly, is_new=about not in known)


def _subject(work: Work, check: Check, about: str = "") -> str:
    return " ".join(filter(None, (work.managed.name, check.value, about)))


def _wanted(work: Work, check: Check) -> Reaction:
    return wanted(work.managed.on, check)


def _tell_one(work: Work, about: str, anomaly: Anomaly, *, is_new: bool) -> None:
    """React first: should this process die in between, the next one tells it, and `cool_down` keeps it at one."""
    name = work.managed.name
    version = next((v for v in work.situation.versions if v.key_id == anomaly.key_id), None) or work.situation.current
    held = _react(work, anomaly, version) if is_new and version is not None else None
    news = News(
        kind=Subject.ANOMALY,
        subject=about,
        what=f"{name}: {anomaly.what} ({anomaly.check})",
        seen=f"{anomaly.seen}; nothing else is done by itself: {held}" if held else anomaly.seen,
        remedy=f"`rotator usage {name}` shows its use; if it was nobody of yours, `rotate --now {name} --compromised`",
        credential_id=work.credential.id,
    )
    event = work.event(
        Subject.ANOMALY,
        Outcome.FOUND,
        version=version.id if version is not None else None,
        reason=anomaly.check.value,
        figures=dict(anomaly.figures),
    )
    find(work.store, work.around.new_id, news, event, work.event(Subject.ANOMALY, Outcome.CLEARED))


def _react(work: Work, anomaly: Anomaly, version: Version) -> str | None:
    """What the policy wants besides telling; why not, where the caps hold it. A key that is gone is past all of it."""
    works = version.state.living and version.compromised_at is None
    verb = verb_of(_wanted(work, anomaly.check), version.key_id) if works and version.key_id is not None else None
    if verb is None:
        return None
    because, caps = f"{anomaly.what}; {anomaly.seen}", work.limits.caps
    return react(work.store, work.around, work.managed.name, version, anomaly.check, verb, caps, because)
