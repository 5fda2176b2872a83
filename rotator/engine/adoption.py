"""First contact: living keys are recorded as they are, and what stands in the way may be given up."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rotator.domain.errors import SetupError, WrongAccount
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import (
    Placement,
    RetirementReason,
    Version,
    VersionId,
    VersionState,
)
from rotator.domain.secret import Material, Secret
from rotator.engine.operator import resume
from rotator.engine.places import Look, Standing, look, placements
from rotator.engine.retirement import open_retirement
from rotator.engine.work import Target, Work
from rotator.ports.destination import Reading
from rotator.ports.provider import Key
from rotator.ports.store import Insert, NewEvent, Place, Seal, Write


@dataclass(frozen=True, kw_only=True)
class Found:
    """One value that stands at destinations, and what the provider says about it."""

    material: Material
    fingerprint: str
    places: Sequence[tuple[Target, Reading]]  # where it stands, as it was read; none for a typed value
    alive: bool
    why: str | None
    key: Key | None

    @property
    def targets(self) -> list[Target]:
        """Where it stands."""
        return [target for target, _ in self.places]


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """What adopt recorded."""

    current: Version | None
    others: Sequence[Version]
    notes: Sequence[str]  # plain warnings, such as what changes for a user-owned key


def adopt(
    work: Work,
    *,
    key_id: str | None = None,
    current_at: str | None = None,
    replace: Collection[str] = (),
    typed: Material | None = None,
    because: str | None = None,
) -> Adopted:
    """Record living keys without changing anything outside.

    Reads the destinations (or takes `typed`, or needs no value where `key_id` names the key), checks that the
    provider accepts each value, and finds its key id. Raises SetupError where a person has to choose.
    """
    if work.situation.rotation is not None and replace:
        notes = allow_replacing(work, replace, because)  # it is this rotation that the value is in the way of
        resume(work, because=because)
        return Adopted(current=None, others=(), notes=notes)
    if work.situation.rotation is not None:
        message = f"{work.managed.name} has an open rotation; finish or abandon it first"
        raise SetupError(message, reason="rotating", remedy=f"`rotator abandon {work.managed.name}`")
    allowed = allow_replacing(work, replace, because)
    if work.situation.current is not None:
        if allowed:
            return Adopted(current=None, others=(), notes=allowed)
        message = f"{work.managed.name} has a current key already (version {work.situation.current.number})"
        raise SetupError(
            message, reason="already_adopted", remedy="an extra key is adopted with --key ID --as previous"
        )
    account = work.ask(work.provider.account)
    keys = work.ask(work.provider.keys)
    values = values_found(work, keys, typed)
    found = [f for f in values if not f.targets or not all(t.to in replace for t in f.targets)]  # a typed one has none
    _refuse_dead(work, found)
    if not found and key_id is None:
        if allowed:
            return Adopted(current=None, others=(), notes=allowed)
        message = f"no destination of {work.managed.name} holds a value"
        remedy = "type the value (`rotator adopt` asks), or name the key: `--key ID`"
        raise SetupError(message, reason="nothing_to_adopt", remedy=remedy)
    chosen = _choose(work, found, key_id, current_at)
    return _record_adopted(work, account, keys, found, chosen, key_id, because, allowed)


def values_found(work: Work, keys: Sequence[Key], typed: Material | None) -> list[Found]:
    """The different values at the destinations (and the typed one), each tried at the provider."""
    secret_name = work.provider.capabilities.material[-1]
    groups: dict[str, tuple[Material, list[tuple[Target, Reading]]]] = {}
    if typed is not None:
        groups[work.fingerprint(typed[secret_name])] = (typed, [])
    for target in work.managed.targets:
        reading = work.call(target.destination.read)
        material = material_in(work.provider.capabilities.material, target, reading)
        if material is not None:
            _, places = groups.setdefault(work.fingerprint(material[secret_name]), (material, []))
            places.append((target, reading))
    listed = {key.id: key for key in keys}
    found = []
    for fingerprint, (material, places) in groups.items():
        answer = work.ask(work.provider.authenticate, material)
        identified = work.identify(material) if answer.alive else None
        key = listed.get(identified) if identified else None
        if key is None and identified is not None:
            key = Key(id=identified, label=None, created_at=None)
        found.append(
            Found(
                material=material, fingerprint=fingerprint, places=places, alive=answer.alive, why=answer.why, key=key
            )
        )
    return found


def material_in(names: Sequence[str], target: Target, reading: Reading) -> Material | None:
    """What stands at one place, as material; None where it is empty. Raises SetupError where it is incomplete."""
    wanted = set(names)
    present = {field for field in target.main if reading.fields.get(field)}
    if not present:
        return None
    values: dict[str, Secret] = {}
    for field in present:
        values |= target.templates[field].extract(reading.fields[field])
    if not wanted <= values.keys():
        missing = ", ".join(sorted(wanted - values.keys()))
        message = f"{target.destination.address} holds {', '.join(sorted(present))}, but no complete key: {missing}"
        remedy = f"complete it by hand, or allow overwriting it: --replace {target.to}"
        raise SetupError(message, reason="incomplete", remedy=remedy)
    return Material({name: values[name] for name in wanted})


def _refuse_dead(work: Work, found: Sequence[Found]) -> None:
    dead = [f for f in found if not f.alive]
    if dead:
        places = ", ".join(t.destination.address for f in dead for t in f.targets) or "the typed value"
        names = " ".join(f"--replace {t.to}" for f in dead for t in f.targets)
        message = f"the provider refuses the value at {places} ({dead[0].why or 'refused'})"
        remedy = f"if it may be overwritten: `rotator adopt {work.managed.name} {names}`"
        raise SetupError(message, reason="dead_value", remedy=remedy)
    unknown = [f for f in found if f.key is None]
    if unknown:
        places = ", ".join(t.destination.address for f in unknown for t in f.targets) or "the typed value"
        message = f"the value at {places} works, but it is not among the keys that the provider lists"
        raise SetupError(message, reason="unidentified", remedy="check the credential's `options` in the configuration")


def _choose(work: Work, found: Sequence[Found], key_id: str | None, current_at: str | None) -> Found | None:
    if current_at is not None:
        at = [f for f in found if any(t.to == current_at for t in f.targets)]
        if not at:
            names = ", ".join(t.to for f in found for t in f.targets)
            message = f"{current_at} is not a destination that holds a value; there are: {names}"
            raise SetupError(message, reason="unknown_destination")
        return at[0]
    if key_id is not None:
        return next((f for f in found if f.key is not None and f.key.id == key_id), None)
    if len(found) == 1:
        return found[0]
    lines = "; ".join(f"{', '.join(t.to for t in f.targets) or 'typed'}: {f.key.id if f.key else '?'}" for f in found)
    message = f"the destinations of {work.managed.name} hold different keys that all work: {lines}"
    raise SetupError(message, reason="destinations_differ", remedy="choose with --current DESTINATION")


def _record_adopted(
    work: Work,
    account: str,
    keys: Sequence[Key],
    found: Sequence[Found],
    chosen: Found | None,
    key_id: str | None,
    because: str | None,
    notes: Sequence[str],
) -> Adopted:
    """One transaction for the current key and, where destinations differ, for each other key that works."""
    writes: list[Write] = []
    number = max((v.number for v in work.situation.versions), default=0)
    notes = list(notes)
    if chosen is None:
        listed = next((k for k in keys if k.id == key_id), None)
        if listed is None:
            ids = ", ".join(k.id for k in keys) or "none"
            message = f"the provider does not list {key_id}; it lists {ids}"
            raise SetupError(message, reason="unknown_key")
        number += 1
        current = new_version(work, account, number, VersionState.CURRENT, listed, None)
        writes.append(Insert(current))
        notes += _owner_notes(listed)
    others = []
    for one in sorted(found, key=lambda f: f is not chosen):
        number += 1
        state = VersionState.CURRENT if one is chosen else VersionState.PREVIOUS
        version = new_version(work, account, number, state, one.key, one.fingerprint)
        if one is chosen:
            current = version
        else:
            others.append(version)
        writes += [Insert(version), Seal(version.id, one.material), *_placed(work, one, version)]
        if one is not chosen:
            writes.append(open_retirement(work, version, RetirementReason.SUPERSEDED))
        notes += _owner_notes(one.key)
    told = [_adopted_event(work, version, because) for version in (current, *others)]
    work.record(writes, told)
    work.store.clear("not_adopted", work.managed.name, work.event(Subject.NOT_ADOPTED, Outcome.CLEARED))
    return Adopted(current=current, others=others, notes=notes)


def new_version(
    work: Work, account: str, number: int, state: VersionState, key: Key | None, fingerprint: str | None
) -> Version:
    """The row of a key that was made by somebody else, or by us before this database knows."""
    now = work.now()
    return Version(
        id=VersionId(work.around.new_id()),
        credential_id=work.credential.id,
        number=number,
        state=state,
        account=account,
        label=(key.label if key else None) or "",
        created_at=now,
        key_id=key.id if key else None,
        issued_at=key.created_at if key else None,
        expires_at=key.expires_at if key else None,
        fingerprint=fingerprint,
        current_at=now if state is VersionState.CURRENT else None,
    )


def _placed(work: Work, one: Found, version: Version) -> list[Place]:
    """What was read at the places, and tried, is ours from now on; not what may have come there since."""
    rows: list[Place] = []
    for target, reading in one.places:
        fields = {f: reading.fields[f] for f in target.main if f in reading.fields}
        held = dict.fromkeys(fields, version)
        rows += placements(work, target.to, target.destination, fields, held, reading.revision)
    return rows


def made_at(moment: datetime | None) -> str | None:
    """When the provider says that a key was made, for the trail."""
    return None if moment is None else moment.astimezone(UTC).isoformat()


def _adopted_event(work: Work, version: Version, because: str | None) -> NewEvent:
    made = made_at(version.issued_at)
    event = work.event(Subject.ADOPT, Outcome.SUCCEEDED, reason=version.state.value, because=because, issued_at=made)
    return dataclasses.replace(event, version=version.number, key_id=version.key_id)


def _owner_notes(key: Key | None) -> list[str]:
    if key is None or key.owner is None or not key.owner.startswith("user:"):
        return []
    return [
        f"{key.id} belongs to a person, and the API cannot create such a key anew.",
        "The next rotation makes one of the service account instead: owner, role, scopes and attribution change.",
        "If the API cannot delete this key, its retirement waits with the step for the console.",
    ]


def allow_replacing(work: Work, names: Collection[str], because: str | None) -> list[str]:
    """A person says that what stands at these destinations, by name or address, may be overwritten."""
    notes = []
    for name in names:
        targets = [t for t in work.managed.targets if name in (t.to, t.destination.address)]
        if not targets:
            known = ", ".join(sorted({t.to for t in work.managed.targets}))
            message = f"{work.managed.name} has no destination {name}; it has: {known}"
            raise SetupError(message, reason="unknown_destination")
        for target in targets:
            seen = look(work, target.destination, target.templates)
            if seen.standing not in (Standing.FOREIGN, Standing.MISSING):
                continue
            rows = [_replaceable(work, target, field, seen) for field in target.templates]
            told = work.event(Subject.REPLACE, Outcome.SUCCEEDED, destination=target.to, because=because)
            work.record(rows, [told])
            notes.append(f"{target.destination.address} may be overwritten by the next rotation")
    return notes


def _replaceable(work: Work, target: Target, field: str, seen: Look) -> Place:
    """What stands in a field, as something that we may overwrite. A key of ours in there is still served from there."""
    found = seen.reading.fields.get(field)
    return Place(
        Placement(
            identity=target.destination.identity,
            field=field,
            to=target.to,
            address=target.destination.address,
            credential_id=work.credential.id,
            version_id=seen.fields[field],
            fingerprint=work.fingerprint(found) if found is not None else None,
            revision=seen.reading.revision,
            placed_at=work.now(),
        )
    )


def extra_key(work: Work, key_id: str) -> Key:
    """The listed key that `adopt --as previous` would take into retirement, for a person to look at first."""
    if work.situation.current is None:
        message = f"{work.managed.name} has no current key yet; adopt that one first"
        raise SetupError(message, reason="not_adopted")
    account = work.ask(work.provider.account)
    if account != work.situation.current.account:
        message = f"the provider says {account}, this credential is of {work.situation.current.account}"
        raise WrongAccount(message)
    keys = work.ask(work.provider.keys)
    known = work.store.known_keys(account, [key_id, *(key.id for key in keys)])
    if key_id in known:
        message = f"{key_id} is on record already, as a key of {known[key_id]}"
        raise SetupError(message, reason="known_key")
    key = next((k for k in keys if k.id == key_id), None)
    if key is None:
        ids = ", ".join(k.id for k in keys if k.id not in known) or "none"
        message = f"the provider does not list {key_id}; unknown keys it lists: {ids}"
        raise SetupError(message, reason="unknown_key")
    return work.with_use(key)


def adopt_previous(work: Work, key: Key, because: str | None = None) -> Version:
    """Take an extra key into retirement: it is drained, disabled and deleted like a superseded one."""
    number = max((v.number for v in work.situation.versions), default=0) + 1
    assert work.situation.current is not None
    version = new_version(work, work.situation.current.account, number, VersionState.PREVIOUS, key, None)
    retirement = open_retirement(work, version, RetirementReason.EXTRA)
    work.record([Insert(version), retirement], [_adopted_event(work, version, because)])
    return version
