"""`moved_from`: a credential that has another name in the configuration keeps its id, its keys and its history."""

from __future__ import annotations

from rotator.domain.errors import SetupError
from rotator.domain.events import Outcome, Subject, name
from rotator.domain.model import Credential, Situation
from rotator.engine.work import Managed
from rotator.ports.store import NewEvent, Store


def move(store: Store, actor: str, former: str, managed: Managed) -> bool:
    """Give the credential that was called `former` the name that it has now; False where there is nothing to do.

    A row of the new name that never had a key gives way. Raises SetupError where both had one, and where something is
    open that the new entry would not finish where it was begun. May be repeated.
    """
    known = {credential.name: credential for credential in store.credentials()}
    moving, there = known.get(former), known.get(managed.name)
    if moving is None:
        return False
    if there is not None and not store.load(moving.id).versions:
        return False  # enrolled under its former name once more, by a worker that had the old configuration
    problem = hindrance(store, former, managed)
    if problem is not None:
        raise problem
    event = NewEvent(
        event=name(Subject.MOVE, Outcome.SUCCEEDED), actor=actor, credential=managed.name, detail={"from": former}
    )
    return store.move(moving.id, managed.name, event)


def hindrance(store: Store, former: str, managed: Managed) -> SetupError | None:
    """Why a credential cannot have its new name, or not yet."""
    known = {credential.name: credential for credential in store.credentials()}
    moving, there = known.get(former), known.get(managed.name)
    if moving is None:
        return None
    if there is not None and store.load(there.id).versions:
        message = f"{there.name} cannot take over the history of {former}: both have keys on record"
        remedy = f"take `moved_from: {former}` out; {former} is finished as one that was taken out"
        return SetupError(message, reason="moved_elsewhere", remedy=remedy)
    elsewhere = _elsewhere(moving, store.load(moving.id), managed)
    if not elsewhere:
        return None
    message = f"{former} cannot be called {managed.name} yet: it has work open {elsewhere}"
    remedy = f"call it {former} again until `rotator explain {former}` shows nothing open, or keep the rest as it was"
    return SetupError(message, reason="moved_elsewhere", remedy=remedy)


def _elsewhere(moving: Credential, situation: Situation, managed: Managed) -> str | None:
    """Where open work is pinned, if the new entry does not lead there."""
    if situation.rotation is None and not situation.retirements:
        return None
    if moving.provider != managed.provider_name:
        return f"at the provider {moving.provider}, not {managed.provider_name}"
    configured = {target.destination.identity for target in managed.targets}
    places = sorted({row.address for row in situation.deliveries if row.identity not in configured})
    return f"for {', '.join(places)}" if places else None
