"""The hooks of a place: its readers are told to read anew, then asked whether they work. What is done is on the row."""

from __future__ import annotations

from collections.abc import Sequence

from rotator.domain.errors import PermanentError, SetupError, StoreUnavailable, TemporaryError
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import Cause, Delivery, Finding, Rotation, Version
from rotator.engine.findings import News, find
from rotator.engine.work import MOVING, Target, Work
from rotator.ports.hook import Hook
from rotator.ports.store import NewEvent, Update

RELOAD, PROBE = "reload", "probe"
"""The kinds of hooks, as the configuration and `hooks_done` call them."""

RELOAD_FAILED = "reload_failed"
PROBE_FAILED = "probe_failed"

LOOKS = 4
"""How often the readers of a wave are asked while it soaks."""

FAILURES = 3
"""A probe that fails as often as this in a row, over at least the time between two looks, has not just blinked."""


class HookFailed(TemporaryError):
    """A reload did not come about, or a probe said no."""


def run(work: Work, rotation: Rotation, delivery: Delivery, version: Version) -> None:
    """Do what is configured for a delivery and not done for this key: the reload first, then the probe.

    After a crash between doing and recording it is done once more. Raises HookFailed; but where the rotation is
    urgent, or puts a key back, what a probe says is only told.
    """
    target = work.managed.entry_of(delivery)
    if target is None:
        return
    if target.reload is not None and not done(delivery, RELOAD, version):
        _reload(work, target, target.reload, delivery, version)
    if target.probe is not None and not done(_fresh(work, delivery), PROBE, version):
        _probe(work, rotation, target, target.probe, delivery, version)


def done(delivery: Delivery, kind: str, version: Version) -> bool:
    """Whether a hook was run with success for this delivery and this key."""
    return delivery.hooks_done.get(kind) == _mark(version)


def _mark(version: Version) -> str:
    return version.fingerprint or version.id


def _fresh(work: Work, delivery: Delivery) -> Delivery:
    return next((d for d in work.situation.deliveries if d.id == delivery.id), delivery)


def _reload(work: Work, target: Target, hook: Hook, delivery: Delivery, version: Version) -> None:
    told = work.event(
        Subject.RELOAD,
        Outcome.STARTED,
        version=version.id,
        destination=delivery.to,
        attempt=delivery.attempt + 1,
        hook=hook.name,
    )
    work.record([Update(delivery, {})], [told])
    name, to = work.managed.name, delivery.to
    remedy = f"see why it fails; it is tried again, and `rotate --now {name} --without {to}` goes on without {to}"
    _carry_out(work, hook, target, version, kind=RELOAD, reason=RELOAD_FAILED, remedy=remedy)
    told = work.event(Subject.RELOAD, Outcome.SUCCEEDED, version=version.id, destination=delivery.to, hook=hook.name)
    note(work, delivery, RELOAD, version, told)


def _probe(work: Work, rotation: Rotation, target: Target, hook: Hook, delivery: Delivery, version: Version) -> None:
    row = _fresh(work, delivery)
    if row.attempt and row.reason != PROBE_FAILED:  # whatever it waited for before is over
        work.record([Update(row, dict(MOVING))], [])
    try:
        ask(work, target, hook, version)
    except HookFailed as problem:
        if _insists(rotation):
            raise
        told = work.event(
            Subject.PROBE,
            Outcome.FAILED,
            version=version.id,
            destination=delivery.to,
            reason=PROBE_FAILED,
            message=problem.message,
        )
        work.record([], [told])
        return
    told = work.event(Subject.PROBE, Outcome.SUCCEEDED, version=version.id, destination=delivery.to, hook=hook.name)
    note(work, delivery, PROBE, version, told)


def ask(work: Work, target: Target, hook: Hook, version: Version) -> None:
    """Run the probe of a place once. Raises HookFailed."""
    remedy = (
        f"look at what reads {target.destination.address}; it is asked again, and `rotator abandon {work.managed.name}`"
        " gives the rotation up"
    )
    _carry_out(work, hook, target, version, kind=PROBE, reason=PROBE_FAILED, remedy=remedy)


def _carry_out(
    work: Work, hook: Hook, target: Target, version: Version, *, kind: str, reason: str, remedy: str
) -> None:
    try:
        work.run_hook(hook, target, version)
    except StoreUnavailable:
        raise
    except (TemporaryError, PermanentError, SetupError) as problem:
        message = f"the {kind} ({hook.name}) failed: {problem.message}"
        raise HookFailed(message, reason=reason, remedy=remedy) from None


def note(work: Work, delivery: Delivery, kind: str, version: Version, *told: NewEvent, done: bool = True) -> None:
    """Record that a hook was run with success for this key; or that what it said then holds no more."""
    row = _fresh(work, delivery)
    others = {k: mark for k, mark in row.hooks_done.items() if k != kind}
    work.record([Update(row, {"hooks_done": {**others, kind: _mark(version)} if done else others})], list(told))


def _insists(rotation: Rotation) -> bool:
    """Whether a failing probe is waited for. A leak is not, nor is the way back to a key that was in use before."""
    return not rotation.urgent and rotation.cause is not Cause.PUT_BACK


# giving up


def hopeless(work: Work, failed: Sequence[Rotation | Delivery]) -> str | None:
    """Why the new key should be given up, where the policy says so: a probe goes on failing. None: it is waited for.

    `failed`: the rows of what has failed just now. A first key has nothing to go back to.
    """
    policy, rotation = work.managed.policy, work.rotation()
    if policy.on_probe_failure != "abandon" or not rotation.gentle or work.situation.current is None:
        return None
    enough = work.now() - policy.wave_soak / LOOKS
    said_no = [row for row in failed if row.reason == PROBE_FAILED and row.attempt >= FAILURES]
    return next((row.message for row in said_no if row.since is not None and row.since <= enough), None)


def tell_given_up(work: Work, why: str) -> None:
    """Find that a new key is given up and the current one put back: the schedule tries again. May be repeated."""
    name = work.managed.name
    news = News(
        kind=Subject.PROBE,
        subject=name,
        what=f"a new key of {name} was given up and the current one put back, since a probe went on failing",
        seen=why,
        remedy=f"see why it fails; the schedule tries again, and `rotate --now {name}` does at once",
        credential_id=work.credential.id,
    )
    found = work.event(Subject.PROBE, Outcome.FOUND, reason=PROBE_FAILED)
    find(work.store, work.around.new_id, news, found, work.event(Subject.PROBE, Outcome.CLEARED))


def clear(work: Work, standing: Sequence[Finding]) -> None:
    """A new key that has become current since then ends the finding. May be repeated."""
    completed, name = work.situation.last_completed_at, work.managed.name
    found = [f for f in standing if (f.kind, f.subject) == (Subject.PROBE, name)]
    if any(completed is not None and completed > f.found_at for f in found):
        work.store.clear(Subject.PROBE, name, work.event(Subject.PROBE, Outcome.CLEARED))
