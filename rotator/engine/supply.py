"""`supply`: a person hands over the key that a rotation has asked for. Checked first; a refused one changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rotator.domain.errors import SetupError, Unavailable, WrongAccount
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import RotationState, Version
from rotator.domain.secret import Material
from rotator.engine.creation import keys_of_account
from rotator.engine.work import MOVING, Work
from rotator.ports.provider import Answer, Verdict
from rotator.ports.store import Seal, Update


def supply(work: Work, material: Material, because: str | None = None) -> Version:
    """Take the key and seal it; the steps after `create` do the rest. Returns the version that it is.

    May be repeated: the value that the open rotation has taken already is taken once. Raises SetupError where no
    rotation waits for a key, or where this value cannot be the new one. Places and limits have no say any more: the
    key exists, and its maker sees it only once.
    """
    fingerprint = work.fingerprint(material[work.provider.capabilities.material[-1]])
    target = work.situation.target
    if target is not None and target.fingerprint == fingerprint:
        return target
    if target is None or not target.awaited:
        name = work.managed.name
        message = f"no rotation of {name} waits for a key"
        raise SetupError(message, reason="nothing_to_do", remedy=f"`rotate --now {name}` opens one and says what to do")
    _refuse_held(work, fingerprint)
    keys = keys_of_account(work)
    answer = _accepted(work, material)
    key_id = _key_id(work, material)
    listed = next((key for key in keys if key.id == key_id), None)
    now = work.now()
    changes = {
        "key_id": key_id,
        "fingerprint": fingerprint,
        "identity": answer.identity,
        "issued_at": (listed.created_at if listed else None) or now,
        "sent_at": now,
        "checked_at": now,
    }
    return _take(work, target, material, changes, because)


def _refuse_held(work: Work, fingerprint: str) -> None:
    held = next((v for v in work.situation.versions if v.fingerprint == fingerprint), None)
    if held is not None:
        message = f"this is the value of version {held.number} ({held.key_id}), not of a new key"
        raise SetupError(message, reason="known_key")


def _accepted(work: Work, material: Material) -> Answer:
    """The provider takes the key, and it is who the current one is as far as the provider tells."""
    answer: Answer = work.ask(work.provider.authenticate, material)
    if answer.verdict is Verdict.INCONCLUSIVE:
        raise Unavailable(answer.why or "the provider did not say", retry_after=answer.retry_after)
    if answer.verdict is Verdict.REFUSED:
        message = f"the provider does not accept this value ({answer.why or 'refused'})"
        remedy = f"a new key may need {work.managed.settle} to be known; else look whether all of it was copied"
        raise SetupError(message, reason="key_refused", remedy=remedy)
    current = work.situation.current
    expected = current.identity if current else None
    if expected is not None and answer.identity is not None and answer.identity != expected:
        message = f"this key is {answer.identity}, the current one is {expected}"
        raise WrongAccount(message, reason="wrong_identity", remedy="make the key for the same principal")
    return answer


def _key_id(work: Work, material: Material) -> str:
    """Which key it is. One that the principal's list does not show is of another, and could not be taken away."""
    key_id = work.identify(material)
    account = work.rotation().account
    if key_id is None:
        message = f"this value works, but it cannot be told which key of {account} it is"
        raise SetupError(message, reason="unidentified", remedy=f"make the key in {account}, or make another one")
    known = work.store.known_keys(account, [key_id])
    if key_id in known:
        message = f"this is the key {key_id}, which is on record already, as a key of {known[key_id]}"
        raise SetupError(message, reason="known_key")
    return key_id


def _take(work: Work, target: Version, material: Material, changes: Mapping[str, Any], because: str | None) -> Version:
    """One transaction: from here on it is a created key like any other, and counts as one."""
    told = [
        work.event(Subject.SUPPLY, Outcome.SUCCEEDED, version=target.id, because=because),
        work.event(Subject.CREATE, Outcome.SUCCEEDED, version=target.id, reason="supplied"),
    ]
    work.record_surely(
        [
            Update(target, changes),
            Seal(target.id, material),
            Update(work.rotation(), {"state": RotationState.CREATED, **MOVING}),
        ],
        [replace(event, key_id=changes["key_id"]) for event in told],
        done=lambda: (v := work.situation.version(target.id)) is not None and v.key_id is not None,
    )
    return work.target()
