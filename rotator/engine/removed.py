"""Credentials that the configuration names no more, with something open that cannot be finished as it stands."""

from __future__ import annotations

from collections.abc import Mapping

from rotator.domain.errors import PermanentError
from rotator.domain.events import Outcome, Subject, name
from rotator.engine.findings import News, find
from rotator.engine.work import Surroundings
from rotator.ports.store import NewEvent, Store


def problem(called: str, why: str) -> PermanentError:
    """What stops all work on such a credential, and on no other."""
    message = f"{called} was taken out of the configuration, and what is open of it cannot be finished ({why})"
    message = message.replace("; ", ", ")  # a finding's first clause says it all
    remedy = f"put that back until `rotator explain {called}` shows nothing open, or {called} itself"
    return PermanentError(message, reason="provider_removed", remedy=remedy)


def tell(store: Store, around: Surroundings, left_out: Mapping[str, str]) -> None:
    """Find each of them, by name → why, and clear those that are finished or can be. May be repeated."""
    kind = Subject.PROVIDER_REMOVED
    for finding in store.findings():
        if finding.kind == kind and finding.subject not in left_out:
            store.clear(kind, finding.subject, _cleared(around, finding.subject))
    ids = {credential.name: credential.id for credential in store.credentials()} if left_out else {}
    for called, why in left_out.items():
        error = problem(called, why)
        news = News(kind=kind, subject=called, what=error.message, remedy=error.remedy, credential_id=ids[called])
        event = name(Subject.PROVIDER_REMOVED, Outcome.FOUND)
        found = NewEvent(event=event, actor=around.actor, credential=called, reason=error.reason)
        find(store, around.new_id, news, found, _cleared(around, called))


def _cleared(around: Surroundings, called: str) -> NewEvent:
    event = name(Subject.PROVIDER_REMOVED, Outcome.CLEARED)
    return NewEvent(event=event, actor=around.actor, credential=called)
