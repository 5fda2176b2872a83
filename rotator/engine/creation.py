"""The first step of a rotation: a key is asked for once, and known from before it exists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rotator.domain.errors import (
    LostAnswer,
    PermanentError,
    QuotaExceeded,
    RotatorError,
    TemporaryError,
    WrongAccount,
)
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import (
    Cause,
    Retirement,
    RetirementReason,
    RotationState,
    Version,
    VersionId,
    VersionState,
)
from rotator.domain.policy import DAY, last_create, supply_by
from rotator.engine import own, permissions, regress, rehearsal
from rotator.engine.intake import no_slot_comes_free
from rotator.engine.labels import label_of, labelled
from rotator.engine.places import look, reach, refuse_foreign, survey, templates_of
from rotator.engine.reactivation import REPLACED
from rotator.engine.retirement import material_at_places, open_retirement
from rotator.engine.work import MOVING, Work
from rotator.ports.provider import Asks, Chooses, Issues, Key
from rotator.ports.store import Insert, NewEvent, Seal, Update, Write


def create(work: Work) -> None:
    """planned → created: the provider issues the key, or accepts the one that we chose, or a person is asked for it."""
    rotation, target = work.rotation(), work.situation.target
    if target is not None and target.key_id is not None:
        going_back = work.situation.retirement_of(target.id)
        if going_back is not None:
            message = f"version {target.number} is being enabled first"
            _wait_for(work, going_back, "reactivating", message)
            return
        told = work.event(Subject.CREATE, Outcome.SUCCEEDED, version=target.id, reason="reused")
        work.record([Update(rotation, {"state": RotationState.CREATED, **MOVING})], [told])
        return
    unlocated = unlocated_keys(work)
    if unlocated:
        message = "an earlier request to create a key got no answer; looking for its key first"
        _wait_for(work, unlocated[0], "lost_answer", message)
        return
    preflight(work)
    _keep_current(work)
    if isinstance(work.provider, Chooses):
        _choose(work, work.provider, target)
    elif isinstance(work.provider, Issues):
        _issue(work, work.provider)
    elif isinstance(work.provider, Asks):
        _ask(work, work.provider, target)


def preflight(work: Work) -> None:
    """Everything that can be known to fail before a key exists. Raises, and has changed nothing."""
    keys = keys_of_account(work)
    own.preflight(work, keys)
    condemn_late_keys(work, keys)
    _refuse_full_slots(work, keys)
    permissions.require(work)
    if rehearsal.is_open(work.situation):
        rehearsal.preflight(work)
    for delivery in work.situation.deliveries:
        if delivery.without:
            continue
        destination = reach(work, delivery)
        seen = look(work, destination, templates_of(delivery))
        refuse_foreign(work, delivery.to, destination, seen)
        work.call(destination.preflight, delivery.templates)
    if work.situation.target is None:  # else what was sent before is sent again, which makes no other key
        _keep_create_limits(work)


def _keep_current(work: Work) -> None:
    """Where the value of the current key was dropped at rest, it is taken from its places, for as long as work is open.

    A new key that has to be given up is followed by the current one, put back everywhere.
    """
    current = work.situation.current
    if current is None or current.fingerprint is None or work.kept(current) is not None:
        return
    found = material_at_places(work, current, survey(work))
    if found is not None and work.fingerprint(found[work.provider.capabilities.material[-1]]) == current.fingerprint:
        work.record([Seal(current.id, found)], [])


def keys_of_account(work: Work) -> Sequence[Key]:
    """The keys listed, once it is certain that it is the pinned account, and that this database is the right one."""
    rotation = work.rotation()
    account = work.ask(work.provider.account)
    if not rotation.account:  # the first one: pinned from here on
        work.record([Update(rotation, {"account": account})], [])
        rotation = work.rotation()
    if account != rotation.account:
        message = f"the provider says {account}, this rotation is for {rotation.account}"
        remedy = f"check the provider's credentials, or `rotator abandon {work.managed.name}`"
        raise WrongAccount(message, remedy=remedy)
    keys = work.ask(work.provider.keys)
    regress.look_at_labels(work, account, keys)
    regress.refuse(work)
    return keys


def condemn_late_keys(work: Work, keys: Sequence[Key]) -> None:
    """A key that took longer to appear than `settle` carries the label of a row that was closed as never created."""
    for key in keys:
        version_id = labelled(key)
        row = work.version(version_id) if version_id is not None else None
        if row is None or row.credential_id != work.credential.id or row.key_id is not None:
            continue
        if row.state is VersionState.RETIRED and regress.standing(work.store) is None:
            found = replace(row, key_id=key.id)
            told = _about(work.event(Subject.CONDEMN, Outcome.SUCCEEDED, reason="late"), found)
            changes = {"state": VersionState.CONDEMNED, "key_id": key.id, "retired_at": None}
            work.record([Update(row, changes), open_retirement(work, row, RetirementReason.LOST_ANSWER)], [told])


def _refuse_full_slots(work: Work, keys: Sequence[Key]) -> None:
    living = work.provider.capabilities.slots
    present = {key.id for key in keys}
    if living is None or len(present) < living:
        return
    for retirement in () if no_slot_comes_free(work, keys) else work.situation.retirements:
        version = work.situation.version(retirement.version_id)
        if version is not None and version.key_id in present:
            until = retirement.not_before or work.now() + work.limits.retry_first
            message = f"the slot of {version.key_id} is free once it is retired"
            wait = max((until - work.now()).total_seconds(), 1)
            raise TemporaryError(message, reason="slot_in_retirement", retry_after=wait)
    for version in work.situation.versions:
        gone_since = version.retired_at if version.key_id in present else None
        if gone_since is not None and work.now() < gone_since + work.managed.settle:
            message = f"{version.key_id} is deleted, and the provider still lists it"
            raise TemporaryError(message, reason="not_confirmed")
    known, name = work.store.known_keys(work.rotation().account, present), work.managed.name
    ours = {version.key_id for version in work.situation.versions if version.state.living}
    strangers = sorted(present - known.keys()) or sorted(present - ours)
    named = ", ".join(strangers or sorted(present))
    ways = []
    if strangers:
        ways.append(
            f"delete {named} if nothing uses it, or `rotator adopt {name} --key {strangers[0]} --as previous` "
            "to have it retired; then `rotator resume`"
        )
    if any(v.state in REPLACED and v.key_id in present and not v.compromised_at for v in work.situation.versions):
        ways.append(f"where the current key does not work, `rotator rollback {name}` uses the one before it again")
    if not strangers:
        ways.append(f"`rotator revoke {name} --key {min(present)}` ends one of them now, whoever reads it")
    message = f"all {living} slots are taken; in the way: {named}"
    raise QuotaExceeded(message, remedy="; ".join(ways) or None)


def _keep_create_limits(work: Work) -> None:
    rotation, policy, now = work.rotation(), work.managed.policy, work.now()
    recent = sorted(moment for moment in work.situation.creates if moment > now - DAY)
    limit = policy.max_creates_per_day + (3 if rotation.cause is Cause.COMPROMISED else 0)
    if len(recent) >= limit:
        until = min(recent[-limit], now) + DAY  # as in `policy.too_many_creates`
        message = f"{len(recent)} keys were created in 24 hours"
        raise TemporaryError(message, reason="max_creates", retry_after=(until - now).total_seconds())
    made = last_create(work.situation, now)
    if rotation.cause in (Cause.FIRST, Cause.SCHEDULE) and made is not None:
        wait = (min(made, now) + policy.min_interval - now).total_seconds()
        if wait > 0:
            message = "a key was created a short while ago"
            raise TemporaryError(message, reason="min_interval", retry_after=wait)


def _new_version(work: Work) -> Version:
    version_id = VersionId(work.around.new_id())
    now = work.now()
    return Version(
        id=version_id,
        credential_id=work.credential.id,
        number=max((v.number for v in work.situation.versions), default=0) + 1,
        state=VersionState.PENDING,
        account=work.rotation().account,
        label=label_of(work.managed.name, version_id),
        created_at=now,
        sent_at=now,
    )


def _issue(work: Work, provider: Issues) -> None:
    """The row is the intent; the request is sent once; the answer is sealed in the same breath.

    What sealing needs from elsewhere is fetched before: a key that cannot be kept is never asked for.
    """
    version = _new_version(work)
    prepared = work.store.prepare(version.id)
    told = _about(work.event(Subject.CREATE, Outcome.STARTED), version)
    work.record([Insert(version), Update(work.rotation(), {"target_id": version.id})], [told])
    try:
        issued = work.ask(provider.create, version.label)
    except LostAnswer as error:
        lost(work, version, error.message)
        return
    except RotatorError as error:
        _not_created(work, version, error)
        raise
    secret = issued.material[work.provider.capabilities.material[-1]]
    changes = {
        "key_id": issued.key_id,
        "issued_at": issued.issued_at,
        "expires_at": issued.expires_at,
        "fingerprint": work.fingerprint(secret),
    }
    told = _about(work.event(Subject.CREATE, Outcome.SUCCEEDED), version, issued.key_id)
    work.record_surely(
        [
            Update(version, changes),
            Seal(version.id, issued.material, prepared),
            Update(work.rotation(), {"state": RotationState.CREATED, **MOVING}),
        ],
        [told],
        done=lambda: (v := work.situation.version(version.id)) is not None and v.key_id is not None,
    )


def _choose(work: Work, provider: Chooses, target: Version | None) -> None:
    """We make the value: sealed first, then set; a lost answer repeats the same value."""
    if target is None:
        target = _new_version(work)
        material = work.ask(provider.generate)
        told = _about(work.event(Subject.CREATE, Outcome.STARTED), target)
        seal = Seal(target.id, material)
        work.record([Insert(target), seal, Update(work.rotation(), {"target_id": target.id})], [told])
    else:
        material = work.material(target)
    key_id = work.id_to_keep(work.ask(provider.set, material))
    secret = material[work.provider.capabilities.material[-1]]
    changes = {"key_id": key_id, "issued_at": work.now(), "fingerprint": work.fingerprint(secret)}
    told = _about(work.event(Subject.CREATE, Outcome.SUCCEEDED), target, key_id)
    work.record([Update(target, changes), Update(work.rotation(), {"state": RotationState.CREATED, **MOVING})], [told])


def _ask(work: Work, provider: Asks, target: Version | None) -> None:
    """A person makes the key. The row is the intent; it counts as a create only once `supply` has taken the key."""
    if target is None:
        target = replace(_new_version(work), sent_at=None)
        told = _about(work.event(Subject.CREATE, Outcome.STARTED), target)
        work.record([Insert(target), Update(work.rotation(), {"target_id": target.id})], [told])
    rotation, name = work.rotation(), work.managed.name
    when = "at once" if rotation.urgent else f"by {supply_by(rotation, work.managed.policy):%Y-%m-%d %H:%M} UTC"
    message = f"a person has to make the new key {when}: {provider.instructions()}"
    work.await_person(rotation, Subject.CREATE, message, f"`rotator supply {name}` takes it")


def _about(event: NewEvent, version: Version, key_id: str | None = None) -> NewEvent:
    """The event with a version, or a key id, that is not among the rows yet."""
    return replace(event, version=version.number, key_id=key_id or version.key_id)


def _not_created(work: Work, version: Version, error: RotatorError) -> None:
    """A definitive no: there is no key, so the row has nothing to take away and does not count as a create."""
    told = work.event(Subject.CREATE, Outcome.FAILED, version=version.id, reason=error.reason, message=error.message)
    changes = {"state": VersionState.RETIRED, "retired_at": work.now(), "sent_at": None}
    work.record([Update(version, changes), Update(work.rotation(), {"target_id": None})], [told])


def lost(work: Work, version: Version, why: str) -> None:
    """The request may have made a key that nobody holds: condemn its row; the retirement finds and deletes it."""
    rotation = work.situation.rotation
    writes: list[Write] = [
        Update(version, {"state": VersionState.CONDEMNED}),
        open_retirement(work, version, RetirementReason.LOST_ANSWER),
    ]
    if rotation is not None and rotation.target_id == version.id:
        writes.append(Update(rotation, {"target_id": None}))
    told = work.event(Subject.CREATE, Outcome.FAILED, version=version.id, reason="lost_answer", message=why)
    work.record(writes, [told])


def lost_intents(work: Work) -> list[Version]:
    """Rows whose request was sent by a worker that never recorded an answer."""
    if work.provider.capabilities.origin == "chosen":
        return []  # the value is sealed and set again instead
    pending = (v for v in work.situation.versions if v.state is VersionState.PENDING)
    return [v for v in pending if v.sent_at is not None and v.key_id is None]


def unlocated_keys(work: Work) -> list[Retirement]:
    """Open retirements of keys whose id we do not know yet."""
    rows = ((r, work.situation.version(r.version_id)) for r in work.situation.retirements)
    return [r for r, version in rows if version is not None and version.key_id is None]


def _wait_for(work: Work, retirement: Retirement, reason: str, message: str) -> None:
    """The rotation goes on when that retirement has come to its end, and is blocked with it."""
    if retirement.blocked:
        raise PermanentError(
            retirement.message or message, reason=retirement.reason or reason, remedy=retirement.remedy
        )
    until = retirement.not_before or work.now()
    soon = work.now() + work.limits.retry_first / 4
    work.wait(work.rotation(), Subject.CREATE, max(until, soon), reason, message)
