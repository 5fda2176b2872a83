"""What new keys may do, compared with what the current one could when it was made, and with what is expected.

More is a finding, and blocks unless the policy says `on_widening: warn`. Less is nobody's danger here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from rotator.domain.errors import PermanentError
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import Finding
from rotator.domain.permissions import Permissions, outside
from rotator.engine.findings import News, clear_all_but, find
from rotator.engine.work import Bounds, Managed, Work
from rotator.ports.provider import Permits
from rotator.ports.store import Update

STALE = timedelta(days=90)
"""After so long a person looks at a console's allow list again."""


def look(work: Work) -> Permissions | None:
    """What a key that is made now may do; None: the provider cannot tell, or nobody wants it asked."""
    if not isinstance(work.provider, Permits) or not compared(work.managed):
        return None
    declared = work.provider.capabilities.permissions == "declared"
    return work.provider.permissions() if declared else work.ask(work.provider.permissions)


def compared(managed: Managed) -> bool:
    """Whether permissions are looked at: always where that asks nobody, else where the configuration bounds them."""
    kind, bounds = managed.provider.capabilities.permissions, managed.bounds
    return kind == "declared" or (kind == "read" and (bounds.policies is not None or bounds.networks is not None))


def require(work: Work) -> Permissions | None:
    """Raise PermanentError (widened) where a new key could do more than it should; else what it may do.

    With `on_widening: warn`, and where a leak is answered, it is told and goes on.
    """
    found = look(work)
    if found is None:
        return None
    more = list(too_much(work, found))
    if not more:
        return found
    news = _tell(work, more)
    if work.managed.policy.on_widening == "block" and not work.rotation().urgent:
        raise PermanentError(news.what, reason="widened", remedy=news.remedy)
    return found


def too_much(work: Work, found: Permissions) -> Iterator[str]:
    """What is more than the current key could do, and than the configuration expects, in words."""
    current = work.situation.current
    if current is not None and current.permissions is not None:
        yield from found.beyond(Permissions.read(current.permissions))
    told = work.provider.capabilities.permissions == "read"
    if work.managed.bounds.policies is not None and told:
        yield from (f"has the policy {name}" for name in unexpected(found, work.managed.bounds))
    if work.managed.bounds.networks is not None and told:
        for place in outside(found.networks, work.managed.bounds.networks):
            yield f"works from {place}, which is not among allowed_ips"


def unexpected(found: Permissions, bounds: Bounds) -> list[str]:
    """The policies that are there and not in `expect_policies`, whether by ARN, by name, or as a document."""
    expected = bounds.policies or ()
    return [
        name
        for name, document in zip(found.policies, found.documents, strict=True)
        if not any(_is(entry, name, document) for entry in expected)
    ]


def missing(found: Permissions, bounds: Bounds) -> list[str]:
    """The entries of `expect_policies` that are not there: keys may do less than consumers need."""
    pairs = list(zip(found.policies, found.documents, strict=True))
    return [
        entry if isinstance(entry, str) else "a document"
        for entry in bounds.policies or ()
        if not any(_is(entry, name, document) for name, document in pairs)
    ]


def _is(entry: str | Mapping[str, object], name: str, document: str) -> bool:
    if isinstance(entry, str):
        return entry in (name, name.rpartition("/")[2])
    return bool(json.loads(document) == entry)


def watch(work: Work, standing: Sequence[Finding]) -> None:
    """Tell before a rotation meets it; clear what holds no more. Raises what the provider raises."""
    found = look(work)
    more = [] if found is None else list(too_much(work, found))
    if more:
        _tell(work, more)
    else:
        clear_all_but(work.store, standing, Subject.WIDENED, (), work.event(Subject.WIDENED, Outcome.CLEARED))
    current = work.situation.current
    told = found is not None and work.provider.capabilities.permissions == "read"
    if told and found is not None and current is not None and current.permissions is None:
        work.record([Update(current, {"permissions": found.text})], [])  # an adopted key: the same as its user's others
    _remind(work, standing)


def _tell(work: Work, more: Sequence[str]) -> News:
    name = work.managed.name
    shown = ", ".join(more[:5]) + (f", and {len(more) - 5} more" if len(more) > 5 else "")  # noqa: PLR2004 - one screen
    news = News(
        kind=Subject.WIDENED,
        subject=name,
        what=f"a new key of {name} {shown}",
        remedy="take away what is too much; if it is meant, `policy.on_widening: warn` (or `expect_policies`, "
        f"`allowed_ips`) says so, then `rotator resume {name}`",
        credential_id=work.credential.id,
    )
    found = work.event(Subject.WIDENED, Outcome.FOUND, reason="widened", more=list(more))
    find(work.store, work.around.new_id, news, found, work.event(Subject.WIDENED, Outcome.CLEARED))
    return news


def unconfirmed(managed: Managed, now: datetime) -> str | None:
    """Why a person should look at the console's allow list; None: nobody has to."""
    listed, bounds = managed.provider.capabilities.allow_list, managed.bounds
    if listed is None or bounds.networks is None:
        return None
    if bounds.confirmed is None:
        return "nobody has said yet that the provider's allow list is what allowed_ips says"
    if now.date() - bounds.confirmed > STALE:
        return f"the provider's allow list was last compared with allowed_ips on {bounds.confirmed}"
    return None


def confirming(managed: Managed) -> str:
    """What the person does."""
    listed, bounds = managed.provider.capabilities.allow_list, managed.bounds
    assert listed is not None
    minutes = int(listed.acts_within.total_seconds() // 60)
    return (
        f"compare the list at {listed.at} with {', '.join(bounds.networks or ())} (a change may take {minutes} minutes "
        f"to act), then set `allowed_ips_confirmed` of {managed.name} to today"
    )


def _remind(work: Work, standing: Sequence[Finding]) -> None:
    name, why = work.managed.name, unconfirmed(work.managed, work.now())
    cleared = work.event(Subject.UNCONFIRMED, Outcome.CLEARED)
    clear_all_but(work.store, standing, Subject.UNCONFIRMED, () if why is None else (name,), cleared)
    if why is None:
        return
    news = News(
        kind=Subject.UNCONFIRMED,
        subject=name,
        what=f"{name}: {why}",
        remedy=confirming(work.managed),
        credential_id=work.credential.id,
    )
    found = work.event(Subject.UNCONFIRMED, Outcome.FOUND, reason="unconfirmed")
    find(work.store, work.around.new_id, news, found, cleared)
