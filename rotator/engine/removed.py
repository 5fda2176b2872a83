"""Credentials that the configuration names no more: what is told of them, and of those that cannot be finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rotator.domain.errors import PermanentError
from rotator.domain.events import Outcome, Subject, name
from rotator.domain.model import Credential
from rotator.engine.findings import News, find
from rotator.engine.work import Surroundings
from rotator.ports.store import NewEvent, Store


def problem(called: str, why: str) -> PermanentError:
    """What stops all work on one that cannot be finished, and on no other."""
    message = f"{called} was taken out of the configuration, and what is open of it cannot be finished ({why})"
    message = message.replace("; ", ", ")  # a finding's first clause says it all
    remedy = f"put that back until `rotator explain {called}` shows nothing open, or {called} itself"
    return PermanentError(message, reason="provider_removed", remedy=remedy)


def tell(store: Store, around: Surroundings, known: Sequence[Credential], left_out: Mapping[str, str]) -> None:
    """Find those that cannot be finished, by name → why; clear what holds no more. May be repeated."""
    _clear(store, around, {c.id: c.name for c in known if not c.managed}, left_out)
    ids = {credential.name: credential.id for credential in known}
    for called, why in left_out.items():
        error = problem(called, why)
        news = News(
            kind=Subject.PROVIDER_REMOVED,
            subject=called,
            what=error.message,
            remedy=error.remedy,
            credential_id=ids[called],
        )
        event = name(Subject.PROVIDER_REMOVED, Outcome.FOUND)
        found = NewEvent(event=event, actor=around.actor, credential=called, reason=error.reason)
        find(store, around.new_id, news, found, _cleared(around, called))


def _clear(store: Store, around: Surroundings, unmanaged: Mapping[str, str], left_out: Mapping[str, str]) -> None:
    """Those that are finished or can be; and what watching has found, for nobody looks whether it still holds."""
    for finding in store.findings():
        about = finding.subject
        if finding.kind == Subject.PROVIDER_REMOVED:
            if about not in left_out:
                store.clear(finding.kind, about, _cleared(around, about))
        elif finding.kind not in (Subject.RECONCILE, Subject.BROWNOUT) and (
            called := unmanaged.get(finding.credential_id or "")
        ):
            event = name(Subject(finding.kind), Outcome.CLEARED)
            told = NewEvent(event=event, actor=around.actor, credential=called, reason="unmanaged")
            store.clear(finding.kind, about, told)


def _cleared(around: Surroundings, called: str) -> NewEvent:
    event = name(Subject.PROVIDER_REMOVED, Outcome.CLEARED)
    return NewEvent(event=event, actor=around.actor, credential=called)
