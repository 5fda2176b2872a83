"""Findings: told once, told anew when they change, cleared when they hold no more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from rotator.domain.model import CredentialId, Finding
from rotator.ports.store import NewEvent, Store

FLAPS = 3
"""What is found as often as this within a day does not come from one hand that slipped."""

DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class News:
    """Something true that a person should know. `what` says it; `seen` adds what may differ at the next look."""

    kind: str
    subject: str
    what: str
    seen: str = ""
    remedy: str | None = None
    credential_id: CredentialId | None = None
    account: str | None = None
    urgent: bool = False


def find(store: Store, new_id: Callable[[], str], news: News, found: NewEvent, cleared: NewEvent) -> bool:
    """Record it, unless it stands already and says the same; say whether that is new to the record."""
    standing = store.standing(news.kind, news.subject)
    if standing is not None and _says(standing) == news.what:
        return False
    if standing is not None:
        store.clear(news.kind, news.subject, replace(cleared, reason="changed"))
    finding = Finding(
        id=new_id(),
        kind=news.kind,
        subject=news.subject,
        credential_id=news.credential_id,
        account=news.account,
        message=f"{news.what}; {news.seen}" if news.seen else news.what,
        remedy=news.remedy,
        found_at=store.now(),
        urgent=news.urgent,
    )
    detail = {**found.detail, "message": finding.message}
    return store.find(finding, replace(found, detail=detail))


def _says(finding: Finding) -> str:
    return finding.message.partition("; ")[0]


def clear_all_but(
    store: Store, standing: Sequence[Finding], kind: str, still: Collection[str], cleared: NewEvent
) -> None:
    """Clear those of one kind, except the ones with these subjects."""
    for finding in standing:
        if finding.kind == kind and finding.subject not in still:
            store.clear(kind, finding.subject, cleared)


def flapping(store: Store, news: News) -> str:
    """What to add where it comes again and again."""
    times = store.found_since(news.kind, news.subject, store.now() - DAY) + 1
    return f"it has changed {times} times within a day, so something else writes there" if times >= FLAPS else ""
