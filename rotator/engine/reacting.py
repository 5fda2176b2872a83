"""What the policy does by itself about what a check has found of a key: a request that no person made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rotator.domain.events import Outcome, Subject, name
from rotator.domain.model import Request, RequestId, RequestState, Version
from rotator.domain.reactions import ACTOR, Caps
from rotator.engine import requests
from rotator.engine.work import Surroundings
from rotator.ports.store import NewEvent, Store


def react(
    store: Store,
    around: Surroundings,
    credential: str,
    version: Version,
    check: str,
    verb: tuple[str, Mapping[str, Any]],
    caps: Caps,
    because: str,
) -> str | None:
    """Have a worker do it in its next turn; why not, in words, where the caps hold it."""
    what, arguments = verb
    request = Request(
        id=RequestId(around.new_id()),
        credential_id=version.credential_id,
        state=RequestState.STANDING,
        verb=what,
        arguments=arguments,
        actor=f"{ACTOR}{check}",
        asked_at=store.now(),
        because=because,
    )
    told = NewEvent(
        event=name(Subject.REQUEST, Outcome.STARTED),
        actor=request.actor,
        credential=credential,
        detail={**requests.described(what, arguments, because), "reported_by": around.actor},
    )
    return store.react(request, told, caps)
