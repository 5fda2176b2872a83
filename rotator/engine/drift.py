"""A destination that somebody changed: what stands there now, by trying it, and what a person may decide about it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from rotator.domain.errors import SetupError
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import Cause, Finding, RetirementReason, Version, VersionId, VersionState
from rotator.domain.secret import Material, Secret
from rotator.engine import adoption, intake, operator, pairs, regress
from rotator.engine.findings import News, find, flapping
from rotator.engine.labels import labelled
from rotator.engine.places import Look, Standing, look, placements
from rotator.engine.retirement import replaced
from rotator.engine.rollback import rollback
from rotator.engine.work import Target, Work
from rotator.ports.provider import Answer, Key, Verdict
from rotator.ports.store import Insert, NewEvent, Seal, Write

DRIFT = Subject.DRIFT.value


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What stands at a place instead of what we put there."""

    reason: str
    what: str
    remedy: str
    urgent: bool = False  # its readers are out of service
    undecided: bool = False  # the provider did not say what the value is
    key: Key | None = None  # a living key of the same identity, which may become the new version
    material: Material | None = None
    identity: str | None = None
    version: Version | None = None  # of ours, if it is one


def subject(work: Work, target: Target) -> str:
    """What a finding about a place is about: two credentials may share a path."""
    return f"{work.managed.name} at {target.destination.address}"


def classify(work: Work, target: Target, seen: Look) -> Drift | None:
    """Name what stands at a place by trying it; None where that is what the record says. Changes nothing."""
    address = target.destination.address
    overwrite = f"`rotator drift overwrite {work.managed.name} {target.to}` writes the current key there again"
    match seen.standing:
        case Standing.EMPTY:
            return None
        case Standing.MISSING:
            return Drift(reason="missing", what=f"what this service put at {address} is gone", remedy=overwrite)
        case Standing.FOREIGN if seen.main is Standing.FOREIGN:
            return _foreign(work, target, seen, overwrite)
    other = _other_version(work, target, seen)
    return _beside(work, target, seen, overwrite) if other is None else _other(work, target, other, overwrite)


def _other_version(work: Work, target: Target, seen: Look) -> Version | None:
    """The version of ours that a place serves although the record has another one there."""
    if _moving(work):
        return None
    current = work.situation.current
    strange = seen.serving - _recorded(work, target, target.main) - {current.id if current else VersionId("")}
    versions = [v for v in (work.situation.version(i) for i in strange) if v is not None]
    return min(versions, key=lambda v: v.number, default=None)


def _moving(work: Work) -> bool:
    """Whether we may be between a write and its record."""
    return work.situation.rotation is not None and not work.situation.rotation.blocked


def _recorded(work: Work, target: Target, fields: Collection[str]) -> set[VersionId | None]:
    placed = work.situation.placements_at(target.destination.identity)
    return {p.version_id for field, p in placed.items() if field in fields}


def _beside(work: Work, target: Target, seen: Look, overwrite: str) -> Drift | None:
    """Something else stands beside the key that a place serves: by hand, but for what we have written or would."""
    current, beside = work.situation.current, target.templates.keys() - target.main.keys()
    wanted = {pairs.beside(work, current).id} if beside and current is not None else set()
    ours = not seen.beside - _recorded(work, target, beside) - wanted or _moving(work)
    if seen.standing is not Standing.FOREIGN and ours:
        return None
    address, fields = target.destination.address, ", ".join(sorted(beside))
    ignore = f"`rotator drift ignore {work.managed.name} {target.to}` leaves it"
    what = f"{address} holds something else beside the current key now ({fields})"
    return Drift(reason="drift_companion", what=what, remedy=f"{overwrite}; {ignore}")


def _other(work: Work, target: Target, version: Version, overwrite: str) -> Drift:
    address = target.destination.address
    what = f"{address} serves version {version.number} again, a key of ours that is {version.state}"
    material = work.kept(version)
    answer = work.ask(work.provider.authenticate, material) if material is not None else None
    if answer is not None and answer.verdict is Verdict.REFUSED:
        what = f"{address} serves version {version.number}, a key of ours that is {version.state}: its readers fail"
        return Drift(reason="dead_value", what=what, remedy=overwrite, urgent=True, version=version)
    remedy = overwrite
    if version.state is VersionState.PREVIOUS and material is not None:
        remedy += f"; `rotator drift accept {work.managed.name} {target.to}` makes version {version.number} current"
    return Drift(reason="drift_previous", what=what, remedy=remedy, version=version, material=material)


def _foreign(work: Work, target: Target, seen: Look, overwrite: str) -> Drift:
    name, to, address = work.managed.name, target.to, target.destination.address
    ignore = f"`rotator drift ignore {name} {to}` leaves it"
    either = f"{overwrite}; {ignore}"
    try:
        material = adoption.material_in(work.provider.capabilities.material, target, seen.reading)
    except SetupError:
        material = None
    if material is None:
        what = f"{address} holds something else now, which is no whole key"
        return Drift(reason="foreign", what=what, remedy=either)
    named = work.fingerprint(material[work.provider.capabilities.material[-1]])[:8]
    answer = work.ask(work.provider.authenticate, material)
    if answer.verdict is Verdict.INCONCLUSIVE:
        what = f"{address} holds another value ({named}), and the provider does not say yet what it is"
        return Drift(reason="foreign", what=what, remedy=either, undecided=True)
    if not answer.alive:
        what = f"OUTAGE: {address} holds a value ({named}) that the provider refuses, so its readers fail"
        return Drift(reason="dead_value", what=what, remedy=overwrite, urgent=True)
    key = _key_of(work, material)
    if key is None or not _same_identity(work, answer):
        what = f"{address} holds another value ({named}), which works but is no key of this credential"
        return Drift(reason="foreign", what=what, remedy=either)
    accept = f"`rotator drift accept {name} {to}` makes it the new version everywhere"
    what = f"{address} holds another living key ({key.id})"
    return Drift(
        reason="drift_live",
        what=what,
        remedy=f"{accept}; {either}",
        key=key,
        material=material,
        identity=answer.identity,
    )


def _key_of(work: Work, material: Material) -> Key | None:
    """The listed key of a value, unless it is on record, or of another owner than the current one."""
    identified = work.identify(material)
    if identified is None or identified in work.store.known_keys(work.ask(work.provider.account), [identified]):
        return None
    if not work.provider.capabilities.can_tell:
        return Key(id=identified, label=None, created_at=None)
    keys = {key.id: key for key in work.ask(work.provider.keys)}
    current = work.situation.current
    listed = keys.get(current.key_id or "") if current else None
    found = keys.get(identified)
    return None if found is not None and listed is not None and found.owner != listed.owner else found


def _same_identity(work: Work, answer: Answer) -> bool:
    current = work.situation.current
    known = current.identity if current else None
    return known is None or answer.identity is None or known == answer.identity


# the finding


def tell(
    work: Work, target: Target, seen: Look, drift: Drift | None, standing: Sequence[Finding], writer: str = ""
) -> None:
    """Find what is true of a place, or clear what is not any more.

    `standing`: what stands about the credential. `writer`: what the place says of another one.
    """
    store, about = work.store, subject(work, target)
    cleared = work.event(Subject.DRIFT, Outcome.CLEARED, destination=target.to)
    stands = any((f.kind, f.subject) == (DRIFT, about) for f in standing)
    if drift is None:
        if stands:
            store.clear(DRIFT, about, cleared)
        return
    if drift.undecided and stands:
        return  # the provider will say more at another look
    placed = work.situation.placements_at(target.destination.identity)
    before = next((p.revision for field, p in placed.items() if field in target.templates and p.revision), "none")
    news = News(
        kind=DRIFT,
        subject=about,
        what=drift.what,
        remedy=drift.remedy,
        credential_id=work.credential.id,
        urgent=drift.urgent,
    )
    parts = (
        f"seen {work.now():%Y-%m-%d %H:%M:%S} UTC",
        f"revision {before} became {seen.reading.revision}",
        flapping(store, news),
        writer,
    )
    found = work.event(Subject.DRIFT, Outcome.FOUND, destination=target.to, reason=drift.reason)
    find(store, work.around.new_id, replace(news, seen=", ".join(part for part in parts if part)), found, cleared)


# what a person decides


def _place(work: Work, to: str) -> tuple[Target, Look, Drift | None]:
    """The one destination that a person names, by its name or its address, freshly looked at."""
    named = [t for t in work.managed.targets if to in (t.to, t.destination.address)]
    if len(named) != 1:
        known = ", ".join(t.destination.address if named else t.to for t in (named or work.managed.targets))
        message = f"{work.managed.name} has {'several' if named else 'no'} {to}; choose one of: {known}"
        raise SetupError(message, reason="unknown_destination")
    seen = look(work, named[0].destination, named[0].templates)
    return named[0], seen, classify(work, named[0], seen)


def overwrite(work: Work, to: str, because: str | None = None) -> list[str]:
    """Open the rotation that writes the current key over what stands at a place; say so. May be repeated.

    Only what was just seen there may be overwritten. Where the current key is not on record or refused, a new key is
    made instead. Raises SetupError where there is nothing to write, and for a place that is not there.
    """
    regress.refuse(work)
    target, _, drift = _place(work, to)
    current, address = work.situation.current, target.destination.address
    if current is None:
        message = f"{work.managed.name} has no current key"
        raise SetupError(message, reason="not_adopted", remedy=f"`rotator adopt {work.managed.name} --replace {to}`")
    if drift is None:
        return [f"{address} serves what is on record; nothing is to be overwritten"]
    adoption.allow_replacing(work, [address], because)
    told = work.event(
        Subject.OVERWRITE, Outcome.SUCCEEDED, version=current.id, destination=to, reason=drift.reason, because=because
    )
    if work.situation.rotation is not None:
        work.record([], [told])
        operator.resume(work, because=because)
        return [f"{address} may be overwritten; the open rotation goes on and writes there"]
    if not intake.can_be_written(work, current):
        work.record([], [told])
        taken = intake.take_in(work, Cause.MANUAL)
        said = "a new key is made and written everywhere" if taken.opened else f"waits: {taken.decision.message}"
        return [f"version {current.number} cannot be written again; {said}"]
    started = work.event(Subject.ROTATION, Outcome.STARTED, version=current.id, reason=Cause.DRIFT.value)
    rows = intake.open_rotation(work, Cause.DRIFT, current.account, current, places=[target])
    work.record(rows, [told, started])
    return [f"version {current.number} is written to {address} again"]


def accept(work: Work, to: str, because: str | None = None) -> list[str]:
    """Make the living key that a person put at a place the current version, and bring the other places to it.

    The key before gets its retirement. May be repeated. Raises SetupError where nothing there can be accepted.
    """
    regress.refuse(work)
    target, seen, drift = _place(work, to)
    current, address = work.situation.current, target.destination.address
    if drift is None:
        return [f"{address} serves what is on record; nothing is to be accepted"]
    if work.situation.rotation is not None:
        message = f"{work.managed.name} has an open rotation; finish or abandon it first"
        raise SetupError(message, reason="rotating", remedy=f"`rotator abandon {work.managed.name}`")
    told = work.event(Subject.ACCEPT, Outcome.SUCCEEDED, destination=to, reason=drift.reason, because=because)
    if drift.version is not None and drift.material is not None:
        rollback(work, to=drift.version.number, because=because)
        work.record([], [replace(told, version=drift.version.number)])
        return [f"version {drift.version.number} becomes current again at every destination"]
    if drift.key is None or drift.material is None or current is None:
        message = f"{drift.what}; that cannot become the current key"
        raise SetupError(message, reason=drift.reason, remedy=drift.remedy)
    take_over(work, drift, [(target, seen)], current.account, told)
    others = ", ".join(t.destination.address for t in work.managed.targets if t is not target)
    return [f"{drift.key.id} is current", *([f"it is written to {others}"] * bool(others))]


def adopted_version(
    work: Work, account: str, key: Key, material: Material | None, *, identity: str | None = None
) -> Version:
    """The row of a key that somebody else made and consumers read. A labelled key keeps the id of its label."""
    version = adoption.new_version(
        work,
        account,
        max((v.number for v in work.situation.versions), default=0) + 1,
        VersionState.CURRENT,
        key,
        work.fingerprint(material[work.provider.capabilities.material[-1]]) if material else None,
    )
    return replace(version, id=labelled(key) or version.id, identity=identity)


def take_over(work: Work, drift: Drift, places: Sequence[tuple[Target, Look]], account: str, told: NewEvent) -> Version:
    """One transaction: the key found at these places is current and the one before gets its retirement.

    A rotation brings the other places to it. No rotation may be open.
    """
    assert drift.key is not None
    assert drift.material is not None
    current = work.situation.current
    version = adopted_version(work, account, drift.key, drift.material, identity=drift.identity)
    rows: list[Write] = []
    if current is not None:
        policy = work.managed.policy
        rows += replaced(work, current, RetirementReason.SUPERSEDED, grace=policy.grace, soak=policy.soak)
    rows += [Insert(version), Seal(version.id, drift.material)]
    for target, seen in places:
        held = dict.fromkeys(target.main, version) | _companions(work, target, seen)
        fields = {field: value for field, value in _whole(target, seen).items() if field in held}
        rows += placements(work, target.to, target.destination, fields, held, seen.reading.revision)
    detail = {**told.detail, "issued_at": adoption.made_at(version.issued_at)}
    events = [replace(told, version=version.number, key_id=version.key_id, detail=detail)]
    if len(work.managed.targets) > len(places) or any(len(t.main) < len(t.templates) for t, _ in places):
        started = work.event(Subject.ROTATION, Outcome.STARTED, reason=Cause.DRIFT.value)
        events.append(replace(started, version=version.number, key_id=version.key_id))
        rows += intake.open_rotation(work, Cause.DRIFT, account, version)
    work.record(rows, events)
    return version


def _companions(work: Work, target: Target, seen: Look) -> dict[str, Version]:
    """The companions that hold a key of ours, each with its version; what else stands in one may not be overwritten."""
    known = {field: seen.fields[field] for field in target.templates if field not in target.main}
    versions = {field: work.version(version_id) for field, version_id in known.items() if version_id is not None}
    return {field: version for field, version in versions.items() if version is not None}


def _whole(target: Target, seen: Look) -> dict[str, Secret]:
    """All our fields at a place. Raises SetupError where one is missing: its readers would find nothing there."""
    missing = sorted(field for field in target.templates if field not in seen.reading.fields)
    if missing:
        message = f"{target.destination.address} lacks {', '.join(missing)} beside the key, so its readers miss that"
        raise SetupError(message, reason="incomplete", remedy="complete it by hand, and accept it then")
    return {field: seen.reading.fields[field] for field in target.templates}


def ignore(work: Work, to: str, because: str | None = None) -> list[str]:
    """Leave what stands at a place, and tell no more of it until it changes again. May be repeated.

    It is not overwritten: the next rotation is blocked there, and old keys wait for the place.
    """
    target, seen, drift = _place(work, to)
    address = target.destination.address
    if drift is None:
        return [f"{address} serves what is on record; nothing is to be ignored"]
    tell(work, target, seen, drift, work.findings())
    told = work.event(Subject.IGNORE, Outcome.SUCCEEDED, destination=to, reason=drift.reason, because=because)
    if work.store.ignore(DRIFT, subject(work, target), told):
        return [f"{address} is left as it is; nothing more is told of it until it changes again"]
    return [f"{address} is ignored already"]
