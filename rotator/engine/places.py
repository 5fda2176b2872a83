"""What stands at the destinations: rendering what should, and naming what does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from rotator.domain.errors import PermanentError, RotatorError, TemporaryError, Unavailable
from rotator.domain.model import Delivery, Observed, Placement, Version, VersionId
from rotator.domain.secret import Secret
from rotator.domain.template import Template
from rotator.engine import shadows
from rotator.engine.work import Target, Work
from rotator.ports.destination import Destination, Reading
from rotator.ports.store import Place


class Standing(StrEnum):
    """What a place holds in our fields, the worst field counting."""

    EMPTY = "empty"  # nothing, and we never put anything there
    WANTED = "wanted"  # exactly what the version at hand renders to
    OURS = "ours"  # what a placement or a version of ours says
    MISSING = "missing"  # we put something there and it is gone
    FOREIGN = "foreign"  # somebody else's value


_SEVERITY = list(Standing)


@dataclass(frozen=True)
class Look:
    """One reading of one place, classified."""

    reading: Reading
    standing: Standing
    serving: frozenset[VersionId]  # ids of the versions whose values stand in the fields that consumers read first
    main: Standing  # of these fields alone
    fields: Mapping[str, VersionId | None]  # by field: whose value it holds
    beside: frozenset[VersionId] = frozenset()  # as `serving`, for their companions (`mode: pair`)

    @property
    def holders(self) -> frozenset[VersionId]:
        """Ids of all versions whose values stand there."""
        return self.serving | self.beside

    @property
    def observed(self) -> Observed:
        """The same for the placement's row."""
        match self.main:
            case Standing.MISSING:
                return Observed.MISSING
            case Standing.FOREIGN:
                return Observed.FOREIGN
            case _:
                return Observed.SERVED


def render(work: Work, templates: Mapping[str, Template], holders: Mapping[str, Version]) -> dict[str, Secret]:
    """The fields as consumers of this place should read them. `holders`: the version of each; see `pairs`."""
    materials = {version.id: work.material(version) for version in holders.values()}
    return {
        field: template.render(materials[holders[field].id], work.facts(holders[field]))
        for field, template in templates.items()
    }


def templates_of(delivery: Delivery) -> dict[str, Template]:
    """The templates that a delivery has pinned."""
    return {field: Template(text) for field, text in delivery.templates.items()}


def reach(work: Work, delivery: Delivery) -> Destination:
    """Today's way to the place, or to the shadow of one, that a delivery has pinned."""
    target = work.managed.target_at(delivery.identity)
    destination = shadows.shadow_at(work.managed, delivery) if target is None else target.destination
    if destination is None:
        message = f"{delivery.address} is not in the configuration any more"
        remedy = f"put the destination {delivery.to} back, or `rotator abandon {work.managed.name}`"
        raise PermanentError(message, reason="destination_removed", remedy=remedy)
    return destination


def look(
    work: Work, destination: Destination, templates: Mapping[str, Template], wanted: Mapping[str, Version] | None = None
) -> Look:
    """Read a place and say what stands in our fields there. `wanted`: the version that each of them should hold."""
    reading = work.call(destination.read)
    placements = work.store.placed(destination.identity)
    rendered = _renderings(work, templates)
    named = {
        field: _name_field(work, reading.fields.get(field), placements.get(field), field, rendered, wanted)
        for field in templates
    }
    main = [one for field, one in named.items() if not templates[field].companion]
    beside = [one for field, one in named.items() if templates[field].companion]
    fields = {field: next(iter(versions), None) for field, (_, versions) in named.items()}
    return Look(reading, _worst(*main, *beside), _versions(main), _worst(*main), fields, _versions(beside))


Named = tuple[Standing, Sequence[VersionId]]
"""What stands in a field, and the versions that would look like that: several where it holds no secret of theirs."""


def _worst(*named: Named) -> Standing:
    standings = {standing for standing, _ in named}
    worst = max(standings, key=_SEVERITY.index, default=Standing.EMPTY)
    if worst is Standing.WANTED and len(standings) > 1:
        return Standing.OURS  # a field is missing that a person allowed us to write
    return worst


def _versions(named: Sequence[Named]) -> frozenset[VersionId]:
    """Which versions they are of. A field that is the same for several, such as a user's name, is of that of others."""
    certain = frozenset(versions[0] for _, versions in named if len(versions) == 1)
    return certain | {versions[0] for _, versions in named if versions and certain.isdisjoint(versions)}


def _renderings(work: Work, templates: Mapping[str, Template]) -> list[tuple[VersionId, dict[str, Secret]]]:
    """What every version whose value we still have would look like at this place."""
    rendered = []
    for version in work.situation.versions:
        material = work.kept(version) if version.state.living else None
        if material is not None:
            rendered.append((version.id, render(work, templates, dict.fromkeys(templates, version))))
    return rendered


def _name_field(
    work: Work,
    found: Secret | None,
    placement: Placement | None,
    field: str,
    rendered: Sequence[tuple[VersionId, dict[str, Secret]]],
    wanted: Mapping[str, Version] | None,
) -> Named:
    if not found:  # absent, or empty as in `KEY=` of a file that was prepared
        known_absent = placement is None or placement.fingerprint is None
        return (Standing.EMPTY if known_absent else Standing.MISSING), ()
    same = [version_id for version_id, fields in rendered if fields[field] == found]
    if wanted is not None and wanted[field].id in same:
        return Standing.WANTED, sorted(same, key=lambda version_id: version_id != wanted[field].id)
    if same:
        return Standing.OURS, same
    if placement is not None and placement.fingerprint == work.fingerprint(found):
        return Standing.OURS, () if placement.version_id is None else (placement.version_id,)
    return Standing.FOREIGN, ()


def refuse_foreign(work: Work, to: str, destination: Destination, seen: Look) -> None:
    """Never overwrite a value that we did not put there. Raises PermanentError."""
    name = work.managed.name
    if seen.standing is Standing.FOREIGN:
        message = f"{destination.address} holds a value that this service did not put there"
        ways = f"`rotator adopt {name}` takes it over; `rotator adopt {name} --replace {to}` allows overwriting it"
        raise PermanentError(message, reason="foreign", remedy=ways)
    if seen.standing is Standing.MISSING:
        message = f"what this service put at {destination.address} is gone"
        ways = f"put it back by hand, or `rotator adopt {name} --replace {to}` allows writing there again"
        raise PermanentError(message, reason="missing", remedy=ways)


def placements(
    work: Work,
    to: str,
    destination: Destination,
    fields: Mapping[str, Secret],
    holders: Mapping[str, Version],
    revision: str,
    since: Mapping[str, datetime] | None = None,
) -> list[Place]:
    """The rows that say what now stands at a place, and of which version each field is; `since` when, if not now."""
    now = work.now()
    return [
        Place(
            Placement(
                identity=destination.identity,
                field=field,
                to=to,
                address=destination.address,
                credential_id=work.credential.id,
                version_id=holders[field].id,
                fingerprint=work.fingerprint(value),
                revision=revision,
                placed_at=(since or {}).get(field, now),
                checked_at=now,
            )
        )
        for field, value in fields.items()
    ]


def unchanged(
    work: Work, delivery: Delivery, holders: Mapping[str, Version], fields: Mapping[str, Secret], seen: Look
) -> dict[str, datetime]:
    """Since when fields hold what is about to be written: readers who have read it since have nothing to catch up with.

    A companion that is given the very key that the place serves has nothing that its readers would lack.
    """
    placed = work.situation.placements_at(delivery.identity)
    right = [f for f in fields if f in placed and seen.reading.fields.get(f) == fields[f]]
    since = {f: placed[f].placed_at for f in right if placed[f].version_id == holders[f].id}
    companions = [f for f, template in templates_of(delivery).items() if template.companion]
    served = {holders[f].id: at for f, at in since.items() if f not in companions}
    return since | {f: served[holders[f].id] for f in companions if f not in since and holders[f].id in served}


def observed(work: Work, destination: Destination, what: Observed, now: datetime) -> list[Place]:
    """The rows of a place, with what we saw there just now."""
    standing = work.situation.placements_at(destination.identity)
    return [Place(replace(placement, observed=what, checked_at=now)) for placement in standing.values()]


@dataclass(frozen=True)
class Survey:
    """Every place of a credential, freshly read: which version each serves, or why it cannot be told."""

    looks: Mapping[str, Look]  # by address
    problems: Sequence[tuple[Target, RotatorError]]

    def require_all(self, but: Collection[str] = ()) -> None:
        """Raise Unavailable where a place could not be read: what its readers hold is not known.

        `but`: addresses that may be unreadable.
        """
        for target, problem in self.problems:
            if target.destination.address in but:
                continue
            message = f"{target.destination.address} cannot be read: {problem.message}"
            raise Unavailable(message, reason="destination_unknown", remedy=problem.remedy)


def survey(work: Work) -> Survey:
    """Read all of the credential's places, as configured today. Never raises for a place that does not answer."""
    looks: dict[str, Look] = {}
    problems: list[tuple[Target, RotatorError]] = []
    for target in work.managed.targets:
        try:
            looks[target.destination.address] = look(work, target.destination, target.templates)
        except (TemporaryError, PermanentError) as error:
            problems.append((target, error))
    return Survey(looks, problems)
