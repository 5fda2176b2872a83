"""`rollback`: a living previous version becomes current again, by the usual steps."""

from __future__ import annotations

from rotator.domain.errors import SetupError
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import Cause, Version
from rotator.engine.intake import open_rotation
from rotator.engine.pausing import refuse as refuse_while_paused
from rotator.engine.reactivation import REPLACED, refuse_reuse, replaced_version, wanted_back
from rotator.engine.work import Work
from rotator.ports.store import Write


def rollback(work: Work, *, to: int | None = None, because: str | None = None) -> Version:
    """Open the rotation whose target is the living previous version, the newest or the one named. Returns it.

    Rows only. From this record on the target is not taken away any more; a disabled one is enabled and tried before
    anything is pushed. May be repeated. Raises SetupError where there is no such version or it may not be used
    again, and where another rotation is open: what that has begun is undone by `abandon`, not by a second one.
    """
    refuse_while_paused(work)
    name, rotation = work.managed.name, work.situation.rotation
    version = _wanted(work, to)
    if rotation is not None and rotation.cause is Cause.ROLLBACK and rotation.target_id == version.id:
        return version
    if rotation is not None:
        message = f"{name} has an open rotation ({rotation.cause.value}, {rotation.state})"
        remedy = f"`rotator abandon {name}` puts the current key back everywhere; roll back after that"
        raise SetupError(message, reason="rotating", remedy=remedy)
    refuse_reuse(work, version)
    if work.kept(version) is None:
        message = f"the value of version {version.number} ({version.key_id}) is not on record"
        raise SetupError(message, reason="no_material", remedy=f"`rotate --now {name}` makes a new key instead")
    row = work.situation.retirement_of(version.id)
    writes: list[Write] = [*open_rotation(work, Cause.ROLLBACK, version.account, version)]
    if row is not None:
        writes.append(wanted_back(row))
    told = [
        work.event(Subject.ROLLBACK, Outcome.SUCCEEDED, version=version.id, because=because),
        work.event(Subject.ROTATION, Outcome.STARTED, version=version.id, reason=Cause.ROLLBACK.value),
    ]
    work.record(writes, told)
    return version


def _wanted(work: Work, to: int | None) -> Version:
    """The version named; else the newest living one that was replaced."""
    replaced = [v for v in work.situation.versions if v.state in REPLACED]
    if to is None and replaced:
        return max(replaced, key=lambda v: v.number)
    return replaced_version(work, number=to)
