"""Requests: what a person without the secrets wants done. A worker does it first in its next turn, as that person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from rotator.domain.errors import RotatorError, SetupError, StaleLease, StoreUnavailable, TemporaryError
from rotator.domain.events import Outcome, Subject, name
from rotator.domain.model import Credential, Request, RequestId, RequestState
from rotator.engine import verbs
from rotator.engine.work import Work
from rotator.ports.store import NewEvent, Store, Update

LASTS = timedelta(days=1)
"""What was asked for longer ago is refused: nobody expects it any more. A revocation never lapses."""


def ask(
    store: Store,
    credential: Credential,
    verb: str,
    arguments: Mapping[str, Any],
    *,
    request_id: str,
    actor: str,
    because: str | None,
) -> RequestId:
    """Record what is wanted; returns the id of the request. Needs the database only."""
    request = Request(
        id=RequestId(request_id),
        credential_id=credential.id,
        state=RequestState.STANDING,
        verb=verb,
        arguments=arguments,
        actor=actor,
        asked_at=store.now(),
        because=because,
    )
    told = NewEvent(
        event=name(Subject.REQUEST, Outcome.STARTED),
        actor=actor,
        credential=credential.name,
        detail=described(verb, arguments, because),
    )
    store.ask(request, told)
    return request.id


def described(verb: str, arguments: Mapping[str, Any], because: str | None) -> dict[str, Any]:
    """A request as the trail has it."""
    return {"verb": verb, "arguments": json.dumps(arguments, sort_keys=True), "because": because}


def carry_out(work: Work) -> bool:
    """Do everything that stands, oldest first; say whether a person asked for anything.

    A refusal is an answer. What may only be tried later stands, with the reason.
    """
    standing = work.store.requests(work.credential.id)
    for request in standing:
        _carry_out(work, request)
    return bool(standing)


def _carry_out(work: Work, request: Request) -> None:
    try:
        _refuse_lapsed(work, request)
        with work.acting_for(request.actor):
            said = verbs.do(work, request.verb, request.arguments, request.because)
    except (StaleLease, StoreUnavailable):
        raise
    except TemporaryError as problem:
        if (request.reason, request.message) != (problem.reason, problem.message):
            work.record([Update(request, {"reason": problem.reason, "message": problem.message})], [])
    except RotatorError as problem:
        remedy = f"; {problem.remedy}" if problem.remedy else ""
        _close(work, request, RequestState.REFUSED, f"{problem.message}{remedy}", problem.reason)
    except Exception as problem:  # noqa: BLE001 - a bug in one verb keeps nothing else waiting
        work.around.bug(work.managed.name, problem)
        message = f"unexpected {type(problem).__name__}; this is a bug, see the worker's log"
        _close(work, request, RequestState.REFUSED, message, "bug")
    else:
        _close(work, request, RequestState.DONE, "\n".join(said), None)


def _refuse_lapsed(work: Work, request: Request) -> None:
    if request.verb != "revoke" and work.now() - request.asked_at > LASTS:
        message = f"it was asked for at {request.asked_at:%Y-%m-%d %H:%M} UTC, too long ago to be meant still"
        raise SetupError(message, reason="lapsed", remedy="ask again")


def _close(work: Work, request: Request, state: RequestState, message: str, reason: str | None) -> None:
    """In the trail as the person's; `by` is who did it."""
    work.refresh()
    by = work.around.actor
    with work.acting_for(request.actor):
        told = work.event(Subject.REQUEST, Outcome.SUCCEEDED, verb=request.verb, by=by, message=message)
        if state is RequestState.REFUSED:
            told = work.event(Subject.REQUEST, Outcome.FAILED, reason=reason, verb=request.verb, by=by, message=message)
    changes = {"state": state, "done_at": work.now(), "reason": reason, "message": message}
    work.record([Update(request, changes)], [told])
