"""The operator's verbs by name: JSON in, sentences out. Commands, requests and dry runs all call them from here.

`pause` and `unpause` are not among them, for they need the database only; nor is what takes a secret or asks
questions in between (`supply`, `adopt` with a typed value, `reconcile`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rotator.domain.errors import PermanentError, SetupError, TemporaryError
from rotator.domain.model import REUSES, Cause, Version
from rotator.domain.policy import NotDue
from rotator.engine import adoption, drift, operator, reactivation, urgency
from rotator.engine.intake import take_in
from rotator.engine.revocation import revoke
from rotator.engine.rollback import rollback as roll_back
from rotator.engine.work import Work

Verb = Callable[..., list[str]]


def do(work: Work, verb: str, arguments: Mapping[str, Any], because: str | None) -> list[str]:
    """Do one; say what it did. Raises SetupError with reason `unknown_verb` where this release knows it not like that.

    Each may be repeated: after a crash in between it does what is left.
    """
    found = VERBS.get(verb)
    try:
        inspect.signature(found or _nothing).bind(work, **arguments, because=because)
    except TypeError:
        found = None
    if found is None:
        message = f"this release has no verb {verb} with {', '.join(sorted(arguments)) or 'no arguments'}"
        raise SetupError(message, reason="unknown_verb", remedy="ask with the release that the workers run")
    return found(work, **arguments, because=because)


def _nothing() -> None:
    pass


def _called(version: Version) -> str:
    return f"version {version.number} ({version.key_id})"


# the verbs


def rotate(
    work: Work,
    *,
    cause: str = Cause.MANUAL,
    key: str | None = None,
    without: Sequence[str] = (),
    overwrite: bool = False,
    end_soak: bool = False,
    because: str | None = None,
) -> list[str]:
    """Open the rotation of `rotate --now` or `--compromised`, or join the open one. Its steps are a turn's.

    Raises TemporaryError where another one has to end first.
    """
    wanted = Cause(cause)
    needed, places = urgency.join(
        work, wanted, key=key, without=without, overwrite=overwrite, end_soak=end_soak, because=because
    )
    if not needed:
        return ["no new key is needed; what has leaked is taken away"]
    rotation = work.situation.rotation
    if rotation is not None and rotation.cause not in REUSES:
        return ["the open rotation goes on at once"]
    if rotation is not None:
        message = f"a rotation ({rotation.cause.value}) is finished first"
        raise TemporaryError(message, reason="rotating")
    taken = take_in(work, wanted, without=places, because=because)
    if not taken.opened and isinstance(taken.decision, NotDue):
        again = taken.decision.reason in ("account_busy", "slot_in_retirement")
        raise (TemporaryError if again else PermanentError)(taken.decision.message, reason=taken.decision.reason)
    return ["a rotation is opened"]


def resume(
    work: Work,
    *,
    delete: str | None = None,
    keep: Sequence[str] = (),
    gone: str | None = None,
    because: str | None = None,
) -> list[str]:
    """`operator.resume`."""
    cleared = operator.resume(work, delete=delete, keep=keep, gone=gone, because=because)
    said = [f"awaiting_human: {gone} is recorded as gone"] if gone is not None else []
    said = [f"cleared {line}" for line in (*said, *cleared)]
    return [*said, f"`rotate {work.managed.name}` tries it now"] if said else ["nothing was blocked or waiting"]


def abandon(work: Work, *, rotation: str | None = None, because: str | None = None) -> list[str]:
    """`operator.abandon`, of this very rotation where one is named."""
    found = work.situation.rotation
    if rotation is not None and (found is None or found.id != rotation):
        return ["that rotation is not open any more"]
    operator.abandon(work, because)
    return ["the rotation is given up"]


def rollback(work: Work, *, to: int | None = None, because: str | None = None) -> list[str]:
    """`rollback.rollback`."""
    return [f"{_called(roll_back(work, to=to, because=because))} is to be current again"]


def reactivate(
    work: Work, *, key: str | None = None, number: int | None = None, because: str | None = None
) -> list[str]:
    """`reactivation.reactivate`."""
    return [f"{_called(reactivation.reactivate(work, key=key, number=number, because=because))} is kept"]


def retire(work: Work, *, key: str, force: bool = False, because: str | None = None) -> list[str]:
    """`reactivation.retire`."""
    version = reactivation.retire(work, key=key, force=force, because=because)
    when = "as soon as no destination is known to serve it" if force else "after its grace and soak"
    return [f"{_called(version)} is taken away {when}"]


def forget(work: Work, *, destination: str, because: str | None = None) -> list[str]:
    """`operator.forget_destination`."""
    gone = operator.forget_destination(work, destination, because)
    return [f"{address} is forgotten; old keys do not wait for it any more" for address in gone]


def accept(work: Work, *, destination: str, because: str | None = None) -> list[str]:
    """`drift.accept`."""
    return drift.accept(work, destination, because)


def overwrite(work: Work, *, destination: str, because: str | None = None) -> list[str]:
    """`drift.overwrite`."""
    return drift.overwrite(work, destination, because)


def ignore(work: Work, *, destination: str, because: str | None = None) -> list[str]:
    """`drift.ignore`."""
    return drift.ignore(work, destination, because)


def adopt(
    work: Work,
    *,
    key: str | None = None,
    current_at: str | None = None,
    replace: Sequence[str] = (),
    because: str | None = None,
) -> list[str]:
    """`adoption.adopt`, without a typed value."""
    adopted = adoption.adopt(work, key_id=key, current_at=current_at, replace=replace, because=because)
    said = [f"recorded {_called(adopted.current)} as the current key"] if adopted.current is not None else []
    said += [f"recorded {_called(v)} as a previous key, taken away after its grace" for v in adopted.others]
    return [*said, *adopted.notes]


def adopt_extra(work: Work, *, key: str, because: str | None = None) -> list[str]:
    """`adoption.adopt_previous`."""
    version = adoption.adopt_previous(work, adoption.extra_key(work, key), because)
    return [f"recorded {_called(version)} as a previous key, taken away after its grace"]


VERBS: Mapping[str, Verb] = {
    verb.__name__: verb
    for verb in (
        rotate,
        resume,
        abandon,
        rollback,
        reactivate,
        retire,
        revoke,
        forget,
        accept,
        overwrite,
        ignore,
        adopt,
        adopt_extra,
    )
}
