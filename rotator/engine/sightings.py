"""What consumers say of themselves: which key they hold, by `rotator seen` or by a file that they leave."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rotator.domain.errors import PermanentError, SetupError, StoreUnavailable, TemporaryError
from rotator.domain.events import Outcome, Subject, name
from rotator.domain.model import CONSUMER_NAME, Credential, Sighting, Situation, Version
from rotator.engine.findings import News, clear_all_but, find
from rotator.engine.work import Work
from rotator.ports.consumer import Word
from rotator.ports.store import NewEvent, Store

_TOLD_AT_MOST = 5


def seen(store: Store, credential: Credential, word: Word, *, actor: str) -> tuple[Version, bool]:
    """Note what a consumer says. Returns the version that it holds, and whether it held another one before.

    Needs the database only. May be repeated: the newest word of a consumer counts, and a time that lies ahead counts
    as now. Raises SetupError for a name that no consumer can have, and for a fingerprint of no key on record.
    """
    if not CONSUMER_NAME.fullmatch(word.consumer):
        message = f"{word.consumer!r} is no name of a consumer"
        raise SetupError(message, reason="bad_consumer", remedy="use at most 63 letters, digits and `._@:-`")
    situation = store.load(credential.id)
    version = holding(situation, word.fingerprint)
    if version is None:
        known = "; ".join(f"version {v.number} ({v.state}): {v.fingerprint}" for v in _known(situation))
        message = f"no key of {credential.name} on record has the fingerprint {word.fingerprint[:64]}"
        remedy = f"known are: {known}" if known else "no key of it is on record"
        raise SetupError(message, reason="unknown_fingerprint", remedy=remedy)
    return version, _note(store, credential, version, word, actor)


def holding(situation: Situation, fingerprint: str) -> Version | None:
    """The version with this fingerprint, as far as it is on record still: the living ones and the last retired one."""
    return next((v for v in _known(situation) if v.fingerprint == fingerprint), None)


def _known(situation: Situation) -> Sequence[Version]:
    return sorted((v for v in situation.versions if v.fingerprint), key=lambda v: -v.number)


def _note(store: Store, credential: Credential, version: Version, word: Word, actor: str) -> bool:
    sighting = Sighting(
        credential_id=credential.id,
        consumer=word.consumer,
        fingerprint=word.fingerprint,
        seen_at=min(word.at, store.now()),
    )
    event = NewEvent(
        event=name(Subject.SEEN, Outcome.SUCCEEDED),
        actor=actor,
        credential=credential.name,
        version=version.number,
        key_id=version.key_id,
        detail={"consumer": word.consumer},
    )
    return store.sight(sighting, event)


def collect(work: Work) -> None:
    """Take in what consumers have left at the drop since the last time. What cannot be taken is a finding."""
    if work.managed.drop is None:
        return
    problems: list[str] = []
    try:
        left = work.call(work.managed.drop.read)
    except StoreUnavailable:
        raise
    except (TemporaryError, PermanentError) as error:
        problems.append(error.message)
    else:
        problems += left.problems
        known = {s.consumer: s.seen_at for s in work.store.sightings(work.credential.id)}
        for word in left.words:
            version = holding(work.situation, word.fingerprint)
            if not CONSUMER_NAME.fullmatch(word.consumer):
                problems.append(f"{word.consumer[:63]!r} is no name of a consumer")
            elif version is None:
                problems.append(f"{word.consumer} names no key on record")
            elif word.consumer not in known or word.at > known[word.consumer]:
                _note(work.store, work.credential, version, word, work.around.actor)
    _tell(work, problems)


def _tell(work: Work, problems: Sequence[str]) -> None:
    subject = work.managed.name
    cleared = work.event(Subject.UNHEARD, Outcome.CLEARED)
    if not problems:
        clear_all_but(work.store, work.findings(), Subject.UNHEARD, (), cleared)
        return
    news = News(
        kind=Subject.UNHEARD,
        subject=subject,
        what=f"what consumers of {subject} have left at the drop cannot be taken",
        seen=", ".join(problems[:_TOLD_AT_MOST]),
        remedy="each file holds the fingerprint that stands beside the key, and nothing else",
        credential_id=work.credential.id,
    )
    found = work.event(Subject.UNHEARD, Outcome.FOUND, reason="unheard")
    find(work.store, work.around.new_id, news, found, cleared)


def ago(moment: datetime, now: datetime) -> str:
    """`2 minutes ago`, in whole units, of which there are at least two where there can be."""
    seconds = max(int((now - moment).total_seconds()), 0)
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size or (unit == "minute" and seconds >= size):
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
