"""`revoke`: a key is made to stop working now, whoever reads it. What replaces it comes after.

It needs the database and the provider, no destination and no sealed value. The rows are committed first; where the
process dies or the provider does not answer, the next turn goes on, whatever stops other work.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from rotator.domain.errors import (
    RotatorError,
    SetupError,
    StaleLease,
    StoreUnavailable,
    TemporaryError,
    WrongAccount,
)
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import (
    Retirement,
    RetirementReason,
    RetirementState,
    Situation,
    Version,
    VersionId,
    VersionState,
)
from rotator.engine import rotation as rotation_steps
from rotator.engine.adoption import made_at, new_version
from rotator.engine.grace import pace_of
from rotator.engine.labels import called, labelled
from rotator.engine.retirement import open_retirement, revoked_and_read, right_account, soaking, version_of
from rotator.engine.work import MOVING, Managed, Work
from rotator.ports.provider import Asks, Disables, Key
from rotator.ports.store import Insert, Update, Write


def revoke(work: Work, *, key: str | None = None, all_keys: bool = False, because: str | None = None) -> list[str]:
    """Make the current key stop working, or `key`, or all of them; say what became of each. May be repeated.

    No gate holds it but the account's name, and neither a pause nor a brake nor `reconcile`. A key that only the
    provider lists is put on record first. Raises SetupError for a key that neither knows.
    """
    refuse_without_provider(work.managed)
    versions = named(work.situation, key=key, all_keys=all_keys)
    if not versions:
        versions = [_stranger(work, key)]
    ids = {version.id for version in versions}
    new = {version.id for version in versions if version.state is VersionState.PENDING}
    _begin(work, ids - new, because)
    _leave_rotation(work, ids, because)
    _begin(work, new, because)
    return [_now(work, row) for row in work.situation.retirements if row.version_id in ids]


def refuse_without_provider(managed: Managed) -> None:
    """A value that nobody issues works wherever it is read, and nowhere else. Raises SetupError."""
    capabilities = managed.provider.capabilities
    if capabilities.origin == "chosen" and not capabilities.can_tell:
        message = f"nobody but its readers knows the value of {managed.name}, so there is nothing to revoke"
        remedy = f"`rotate --compromised {managed.name}` gives them another one"
        raise SetupError(message, reason="nothing_to_do", remedy=remedy)


def named(situation: Situation, *, key: str | None, all_keys: bool) -> list[Version]:
    """The living versions on record that a person means; none where the key is not on record."""
    living = [v for v in situation.versions if v.state.living and v.key_id is not None]
    if all_keys:
        found = living
    elif key is not None:
        return [v for v in living if v.key_id == key]
    else:
        found = [v for v in living if v.state is VersionState.CURRENT]
    if not found:
        message = f"{situation.credential.name} has no {'living' if all_keys else 'current'} key on record"
        raise SetupError(message, reason="unknown_key", remedy="name one that the provider lists: --key ID")
    return found


def effect(managed: Managed, situation: Situation, versions: Sequence[Version], key: str | None) -> list[str]:
    """What revoking these versions will break, as far as is on record. Asks nobody."""
    lines = [] if versions else [f"{key} is not on record; it is revoked if the provider lists it as one of its keys"]
    for version in versions:
        role = ", which consumers should read," if version.state is VersionState.CURRENT else f", {version.state},"
        lines.append(f"version {version.number} ({version.key_id}){role} {_how(managed)}, at once and for good")
        last = {p.address: p for p in situation.placements if p.version_id == version.id}
        seen = [f"{a} (seen {p.checked_at or p.placed_at:%Y-%m-%d %H:%M} UTC)" for a, p in sorted(last.items())]
        if seen:
            lines.append(f"OUTAGE to come: served by {', '.join(seen)}; whoever reads there fails from then on")
        else:
            lines.append("no destination is on record as serving it; whoever holds it fails from then on")
        if version.state is VersionState.CURRENT:
            lines.append(f"`rotate --compromised {managed.name}` makes a new key first, and takes this one away then")
    return lines


def _how(managed: Managed) -> str:
    capabilities = managed.provider.capabilities
    if capabilities.can_disable:
        return f"is disabled at {managed.provider_name}"
    if capabilities.can_delete:
        return f"is deleted at {managed.provider_name}, for it cannot disable keys"
    return "has to be ended by a person where it was made: this provider's API cannot do it"


def _stranger(work: Work, key: str | None) -> Version:
    """A key that the provider lists for this very credential, with a row from here on: ours by this record."""
    account, current = work.ask(work.provider.account), work.situation.current
    if current is not None and account != current.account:
        message = f"the provider says {account}, this credential is of {current.account}"
        raise WrongAccount(message, remedy="check the provider's credentials in the configuration")
    keys = {listed.id: listed for listed in work.ask(work.provider.keys)}
    listed, known = keys.get(key or ""), work.store.known_keys(account, keys)
    ours = keys.get(current.key_id or "") if current is not None else None
    if listed is None:
        whose = "and the provider does not list it"
    elif listed.id in known:
        whose = f"but on record as a key of {known[listed.id]}"
    elif labelled(listed) is not None and called(listed) != work.managed.name:
        whose = f"but by its label a key of {called(listed)}"
    elif ours is not None and ours.owner != listed.owner:
        whose = f"but a key of {listed.owner or 'somebody else'}"
    else:
        return _on_record(work, listed, account)
    message = f"{key} is not a living key of {work.managed.name}, {whose}"
    raise SetupError(message, reason="unknown_key", remedy=f"`rotator explain {work.managed.name}` names them")


def _on_record(work: Work, listed: Key, account: str) -> Version:
    number = max((v.number for v in work.situation.versions), default=0) + 1
    version = new_version(work, account, number, VersionState.PREVIOUS, listed, None)
    version = replace(version, id=labelled(listed) or version.id)
    told = work.event(
        Subject.ADOPT,
        Outcome.SUCCEEDED,
        reason=version.state.value,
        because="to be revoked",
        issued_at=made_at(listed.created_at),
    )
    row = open_retirement(work, version, RetirementReason.COMPROMISED)
    work.record([Insert(version), row], [replace(told, version=number, key_id=version.key_id)])
    return version


def _begin(work: Work, ids: Collection[VersionId], because: str | None) -> None:
    """Commit what is wanted, before anything is asked of the provider."""
    versions = [version for version in work.situation.versions if version.id in ids]
    if versions:
        rows = [write for version in versions for write in _wanted(work, version)]
        told = [work.event(Subject.REVOKE, Outcome.STARTED, version=v.id, because=because) for v in versions]
        work.record(rows, told)


def _wanted(work: Work, version: Version) -> list[Write]:
    """The rows that say so. One that is disabled already is made sure of."""
    leaked = Update(version, {"compromised_at": version.compromised_at or work.now()})
    row = work.situation.retirement_of(version.id)
    if row is None:
        opened = open_retirement(work, version, RetirementReason.COMPROMISED)
        assert isinstance(opened.row, Retirement)
        return [leaked, Insert(replace(opened.row, revoked=True))]
    grace, soak = pace_of(work, RetirementReason.COMPROMISED, row.grace, row.soak)
    changes: dict[str, Any] = {"why": RetirementReason.COMPROMISED, "grace": grace, "soak": soak, "revoked": True}
    if row.state in (RetirementState.DISABLED, RetirementState.BROWNED_OUT):
        changes |= {"state": RetirementState.DRAINED, "restore_at": None}
    return [leaked, Update(row, {**MOVING, **changes, "wanted_back": False})]


def _leave_rotation(work: Work, ids: Collection[VersionId], because: str | None) -> None:
    """What was to make a revoked key current is given up. A dead key is not put back either."""
    target = work.situation.target
    if target is not None and target.id in ids:
        why = "the key that it would make current is revoked"
        rotation_steps.abandon(work, work.rotation(), reason="compromised", why=why, because=because)


def _now(work: Work, row: Retirement) -> str:
    version, name = version_of(work, row), work.managed.name
    which = f"version {version.number} ({version.key_id})"
    try:
        contain(work, row)
    except (StaleLease, StoreUnavailable):
        raise
    except RotatorError as problem:
        work.refresh()
        now = next((r for r in work.situation.retirements if r.id == row.id), row)
        work.failed(now, Subject.REVOKE, problem)
    after = work.situation.retirement_of(version.id)
    if after is not None and after.uncontained:
        again = f"each pass tries again, and so does `rotator revoke {name}`"
        return f"{which} WORKS STILL: {after.message}; {after.remedy if after.blocked else again}"
    return f"{which} works no more at {work.managed.provider_name}"


# the step


def contain(work: Work, retirement: Retirement) -> None:
    """planned or drained → disabled: with no gate but the account's name. May be repeated.

    Where the provider cannot disable a key, it is deleted. A current version stays so, for that is what the
    destinations serve; its row waits for its successor.
    """
    version, provider = version_of(work, retirement), work.provider
    assert version.key_id is not None
    right_account(work, version)
    if isinstance(provider, Disables):
        with work.noting_late_calls():
            work.ask(provider.disable, version.key_id)
        contained(work, retirement, version, "disabled")
    elif provider.capabilities.can_delete:
        work.ask(provider.delete, version.key_id)
        if any(key.id == version.key_id and key.enabled for key in work.ask(provider.keys)):
            message = f"the provider still lists {version.key_id}"
            raise TemporaryError(message, reason="not_confirmed")
        contained(work, retirement, version, "deleted")
    else:
        made = f" ({provider.instructions()})" if isinstance(provider, Asks) else ""
        message = f"a person has to end version {version.number} ({version.key_id}) where it was made{made}"
        remedy = f"`rotator resume {work.managed.name} --gone {version.key_id}` once it works no more"
        work.await_person(retirement, Subject.REVOKE, message, remedy)


def contained(work: Work, retirement: Retirement, version: Version, how: str) -> None:
    """The key works no more. Deleting it, or what is left of it, is the retirement's last step."""
    now = work.now()
    soak = retirement.soak if how == "disabled" else timedelta(0)
    changes: dict[str, Any] = {
        **MOVING,
        "state": RetirementState.DISABLED,
        "soak": soak,
        "not_before": now + soak,
        "disable_started": True,
        "delete_started": retirement.delete_started or how == "deleted",
        "since": now,
    }
    writes: list[Write] = []
    if version.state is VersionState.CURRENT:
        problem = revoked_and_read(work, version)
        changes |= {"blocked": True, "reason": problem.reason, "message": problem.message, "remedy": problem.remedy}
    else:
        changes |= soaking(work, replace(retirement, soak=soak), "revoked")
        if version.state is VersionState.PREVIOUS:
            writes.append(Update(version, {"state": VersionState.DISABLED}))
    told = work.event(Subject.REVOKE, Outcome.SUCCEEDED, version=version.id, how=how)
    work.record([Update(retirement, changes), *writes], [told])


def uncontained(situation: Situation) -> Sequence[Retirement]:
    """What a revocation has left to do."""
    return [row for row in situation.retirements if row.uncontained]
