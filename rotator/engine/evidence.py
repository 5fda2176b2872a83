"""Who still uses a key that is to go: what its provider tells, what consumers say, and since when they run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn

from rotator.domain.errors import PermanentError, RotatorError, SetupError, StoreUnavailable, TemporaryError
from rotator.domain.model import Retirement, RetirementReason, Sighting, Situation, Version, VersionState
from rotator.domain.plans import GATES, HOLDS, Use
from rotator.domain.policy import Policy
from rotator.engine.sightings import ago, collect, holding
from rotator.engine.work import Reader, Work
from rotator.ports.provider import Key, Meters

OWN_USE = timedelta(minutes=2)
"""How long after our own check of a key the provider may date that use."""

_TOLD_AT_MOST = 5  # of those that hold a key, in one message; the rest is counted


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Why somebody may still need the key. `until`: when it ends, unless something new is seen; None: nobody knows."""

    reason: str
    message: str
    remedy: str | None = None
    until: datetime | None = None


def weigh(work: Work, retirement: Retirement, version: Version, keys: Sequence[Key]) -> dict[str, Any]:
    """Everything that is known, for the record. Raises where it holds the retirement.

    A key that has leaked is waited for by nobody: only what is on record already is noted, and nobody is asked.
    """
    used, usage = _last_use(work, version, keys)
    match GATES[retirement.why].use:
        case Use.FORBIDDEN if used is not None:
            _refuse_used(work, version, usage)
        case Use.RECORDED:
            words = work.store.sightings(work.credential.id)
            return {"usage": usage, "consumers": [_as_said(work, word) for word in words]}
        case Use.WAITED_OUT:
            return {"usage": usage, **_wait_out(work, retirement, version, keys, used, usage)}
    return {"usage": usage}


def of_incident(work: Work, retirement: Retirement) -> dict[str, Any]:
    """Who held a leaked key as it died. To be asked once it is dead: by then it may take its time."""
    if retirement.why is not RetirementReason.COMPROMISED or not work.managed.consumers:
        return {}
    found = [_ask(work, reader) for reader in work.managed.consumers]
    return {"consumers": [detail for asked in found for detail in asked.detail]}


def _wait_out(
    work: Work, retirement: Retirement, version: Version, keys: Sequence[Key], used: datetime | None, usage: str
) -> dict[str, Any]:
    collect(work)
    words = work.store.sightings(work.credential.id)
    holds = [*_in_use(work, version, used, usage), *_said(work, version, words)]
    detail = [_as_said(work, word) for word in words]
    for reader in work.managed.consumers:
        asked = _ask(work, reader)
        holds += asked.holds
        detail += asked.detail
    metered = ""
    if not holds and any(key.id == version.key_id for key in keys):  # it costs several calls: the last to be asked
        metered, more = _accounted(work, version)
        holds += more
    if holds:
        _hold(work, retirement, holds)
    return {"consumers": detail, **({"metered": metered} if metered else {})}


def _hold(work: Work, retirement: Retirement, holds: Sequence[Hold]) -> NoReturn:
    """Raise for all of them; the first gives the reason. A hold of longer than `hold_alarm` is for a person.

    What is known comes before what is not.
    """
    holds = sorted(holds, key=lambda hold: hold.reason == "consumer_unknown")
    now, policy = work.now(), work.managed.policy
    more = f"; and {len(holds) - _TOLD_AT_MOST} more" if len(holds) > _TOLD_AT_MOST else ""
    message = "; ".join(hold.message for hold in holds[:_TOLD_AT_MOST]) + more
    remedies = list(dict.fromkeys(hold.remedy for hold in holds[:_TOLD_AT_MOST] if hold.remedy))
    if retirement.reason in HOLDS and retirement.since and now - retirement.since > policy.hold_alarm:
        remedy = "; ".join([*remedies, f"find the reader; then `rotator resume {work.managed.name}`"])
        raise PermanentError(message, reason="old_key_in_use", remedy=remedy)
    until = max((hold.until for hold in holds if hold.until), default=None)
    wait = None if until is None else (until - now).total_seconds()
    raise TemporaryError(message, reason=holds[0].reason, retry_after=wait, remedy="; ".join(remedies) or None)


# the provider


def _last_use(work: Work, version: Version, keys: Sequence[Key]) -> tuple[datetime | None, str]:
    """When somebody else used it last, as far as the provider tells; and that in words."""
    if not work.provider.capabilities.tells_last_use:
        return None, "no usage evidence: the provider does not tell"
    key = next((k for k in keys if k.id == version.key_id), None)
    if key is None:
        return None, "the provider lists the key no more"
    key = work.with_use(key)
    used = None if was_us(work, version, key) else key.last_used_at
    if used is None:
        return None, "no use but ours"
    by = f" by {key.last_used_by}" if key.last_used_by else ""
    place = f" in {key.last_used_in}" if key.last_used_in else ""
    return used, f"last used{by}{place} at {used:%Y-%m-%dT%H:%M:%SZ}"


def was_us(work: Work, version: Version, key: Key) -> bool:
    """Our own checks never count as use, as far as the provider lets us tell them apart."""
    own = work.provider.capabilities.own_use
    if key.last_used_at is None or version.checked_at is None or own is None or key.last_used_by != own:
        return False
    return key.last_used_at <= version.checked_at + OWN_USE


def _in_use(work: Work, version: Version, used: datetime | None, usage: str) -> Iterator[Hold]:
    now, idle = work.now(), work.managed.policy.require_idle
    if used is not None and now - used < idle:
        message = f"version {version.number} was {usage}, {ago(used, now)}"
        yield Hold(reason="in_use", message=message, until=used + idle)


def _accounted(work: Work, version: Version) -> tuple[str, Sequence[Hold]]:
    """What the provider's accounts say of the time in which the key has to be idle. Not to be had: so it is noted."""
    idle = work.managed.policy.require_idle
    if not isinstance(work.provider, Meters) or version.key_id is None or not idle:
        return "", ()
    now = work.now()
    try:
        use = work.ask(work.provider.metered, version.key_id, now - idle)
    except PermanentError as error:
        work.blamed = None  # keys can be made and taken away without it
        return f"not to be had: {error.message}", ()
    if use is None or now - use.at >= idle:
        return "no use", ()
    message = f"version {version.number} made {use.what} by {use.at:%Y-%m-%d %H:%M:%S} UTC, {ago(use.at, now)}"
    return use.what, [Hold(reason="in_use", message=message, until=use.at + idle)]


def _refuse_used(work: Work, version: Version, usage: str) -> NoReturn:
    message = f"the key {version.key_id} was {usage}, so it is not certain that it is the one we lost"
    name = work.managed.name
    remedy = f"`rotator resume {name} --delete {version.key_id}` or `rotator resume {name} --keep {version.key_id}`"
    raise PermanentError(message, reason="ambiguous_keys", remedy=remedy)


# what consumers say


def _said(work: Work, version: Version, words: Sequence[Sighting]) -> Iterator[Hold]:
    return spoken(work.situation, version, words, work.managed.heartbeats, work.managed.policy, work.now())


def spoken(
    situation: Situation,
    version: Version,
    words: Sequence[Sighting],
    awaited: Sequence[str],
    policy: Policy,
    now: datetime,
) -> Iterator[Hold]:
    """Those whose last word is this key, and those that have to speak and have not named a newer one.

    A word counts until the consumer says something else, or for `hold_alarm`: who is silent for longer is gone. One
    that has to speak is never taken for gone.
    """
    told = {word.consumer: word for word in words}
    for name in awaited:
        word = told.get(name)
        held = holding(situation, word.fingerprint) if word else None
        if held is None or not _serves_instead(situation, held, version):
            last = _last_word(held, word, now) if word else "has never reported a key"
            message = f"consumer {name} has not reported a newer key than version {version.number}: it {last}"
            remedy = f"restart {name}, or let it report by `rotator seen {situation.credential.name}`"
            yield Hold(reason="consumer_silent", message=message, remedy=remedy)
    for word in words:
        if word.consumer in awaited or word.fingerprint != version.fingerprint or silent(word, policy, now):
            continue
        message = f"consumer {word.consumer} {_last_word(version, word, now)}"
        yield Hold(reason="in_use", message=message, remedy=f"let {word.consumer} read its key anew")


def _last_word(held: Version | None, word: Sighting, now: datetime) -> str:
    what = f"version {held.number}" if held else "a key that is not on record any more"
    return f"reported {what} at {word.seen_at:%Y-%m-%d %H:%M:%S} UTC, {ago(word.seen_at, now)}"


def silent(word: Sighting, policy: Policy, now: datetime) -> bool:
    """Whether a consumer has said nothing for so long that it is taken for gone."""
    return now - word.seen_at > policy.hold_alarm


def _serves_instead(situation: Situation, held: Version, version: Version) -> bool:
    """Whether a consumer that holds this one has no need of the other any more."""
    newer = held.number > version.number and held.state is not VersionState.CONDEMNED
    return held.id != version.id and (held == situation.current or newer)


def _as_said(work: Work, word: Sighting) -> Mapping[str, Any]:
    held = holding(work.situation, word.fingerprint)
    return {
        "consumer": word.consumer,
        "version": held.number if held else None,
        "seen_at": f"{word.seen_at:%Y-%m-%dT%H:%M:%SZ}",
        "silent": silent(word, work.managed.policy, work.now()),
    }


# since when consumers run


@dataclass(frozen=True)
class Asked:
    """What a consumer's processes tell."""

    detail: Sequence[Mapping[str, Any]]
    holds: Sequence[Hold] = ()


def _delivered_at(work: Work, reader: Reader) -> datetime | None:
    """When the current version was put where this consumer reads, at the last of those places."""
    current, targets = work.situation.current, work.managed.targets
    where = {target.destination.identity for target in targets if reader.reads in (None, target.to)}
    placed = [p for p in work.situation.placements if current is not None and p.version_id == current.id]
    moments = [p.placed_at for p in placed if p.identity in where] or [p.placed_at for p in placed]
    return max(moments, default=None)


def _ask(work: Work, reader: Reader) -> Asked:
    """A process that reads its key at its start, and began before the newest was there, holds an older one."""
    consumer, delivered_at = reader.consumer, _delivered_at(work, reader)
    try:
        processes = work.call(consumer.processes)
    except StoreUnavailable:
        raise
    except (TemporaryError, PermanentError, SetupError) as error:
        message = f"it is not known which key {consumer.name} holds: {error.message}"
        return Asked([{"consumer": consumer.name, "unknown": error.message}], [_unknown(error, message)])
    current, host = work.situation.current, work.around.host_time()
    detail, holds = [], []
    for process in processes:
        started = f"{process.started_at:%Y-%m-%dT%H:%M:%SZ}"
        # Two spans, each by its own clock: that the database's and this host's differ makes no process younger.
        old = delivered_at is not None and host - process.started_at >= work.now() - delivered_at
        detail.append({"consumer": consumer.name, "process": process.name, "started_at": started, "old": old})
        if old and current is not None and delivered_at is not None:
            message = (
                f"{consumer.name} ({process.name}) runs since {process.started_at:%Y-%m-%d %H:%M:%S} UTC, before "
                f"version {current.number} was delivered at {delivered_at:%Y-%m-%d %H:%M:%S} UTC"
            )
            remedy = f"restart {consumer.name}"
            holds.append(Hold(reason="consumer_not_restarted", message=message, remedy=remedy))
    return Asked(detail or [{"consumer": consumer.name, "process": None}], holds)


def _unknown(error: RotatorError, message: str) -> Hold:
    return Hold(reason="consumer_unknown", message=message, remedy=error.remedy)
