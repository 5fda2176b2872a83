"""What a person may add to `--now` and `--compromised`: go on without a place, overwrite, end a soak."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rotator.domain.errors import SetupError, TemporaryError
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import Cause, Retirement, RetirementState
from rotator.engine import operator, pausing
from rotator.engine.adoption import allow_replacing
from rotator.engine.intake import hasten
from rotator.engine.retirement import SOAK
from rotator.engine.work import MOVING, Target, Work
from rotator.ports.store import NewEvent, Update, Write


def join(
    work: Work,
    cause: Cause,
    *,
    key: str | None = None,
    without: Collection[str] = (),
    overwrite: bool = False,
    end_soak: bool = False,
    because: str | None = None,
    said: bool = False,
) -> tuple[bool, Collection[str]]:
    """What `--now` and `--compromised` do before they open anything: what is open is hurried and freed.

    Says whether a new key is needed, and gives the identities of the places that it does not wait for. With `said`
    the leak is on record already, of this very run. Raises where a pause forbids it, and for names that are not known.
    """
    if cause is not Cause.COMPROMISED:
        pausing.refuse(work)
    operator.end_rehearsal(work, because)
    needed = True
    if cause is Cause.COMPROMISED:
        needed = operator.needs_new_key(work, key) if said else operator.compromised(work, key, because)
    places = go_without(work, without, because)
    if overwrite:
        overwrite_all(work, because)
    if end_soak:
        end_soaks(work, because)
    if needed:
        hasten(work)
    return needed, places


def go_without(work: Work, names: Collection[str], because: str | None) -> frozenset[str]:
    """Neither the new key nor the old one's end waits for these places. Returns their identities; may be repeated.

    Marks what is open; `promote` carries it over to the retirement that it opens, and the place is given the key by a
    rotation of its own as soon as it answers. Raises SetupError for a name that the credential does not have.
    """
    places = [place for name in names for place in _named(work, name)]
    identities = frozenset(place.destination.identity for place in places)
    deliveries = [d for d in work.situation.deliveries if d.identity in identities and not d.without]
    retirements = [r for r in work.situation.retirements if not identities <= {*r.without}]
    writes: list[Write] = [Update(d, {"without": True}) for d in deliveries]
    writes += [Update(r, {"without": sorted({*r.without, *identities}), **_hurried(r)}) for r in retirements]
    if writes:
        work.record(writes, [_told(work, place, because) for place in places])
    return identities


def _named(work: Work, name: str) -> Sequence[Target]:
    found = [t for t in work.managed.targets if name in (t.to, t.destination.address)]
    if not found:
        known = ", ".join(t.destination.address for t in work.managed.targets)
        message = f"{work.managed.name} has no destination {name}; it has: {known}"
        raise SetupError(message, reason="unknown_destination")
    return found


def _hurried(row: Retirement) -> dict[str, object]:
    """A retirement that waits for a place looks again at once; grace and soak stay."""
    return dict(MOVING) if row.attempt else {}


def _told(work: Work, place: Target, because: str | None) -> NewEvent:
    version = work.situation.current
    return work.event(
        Subject.WITHOUT,
        Outcome.SUCCEEDED,
        version=version.id if version else None,
        destination=place.to,
        address=place.destination.address,
        because=because,
    )


def overwrite_all(work: Work, because: str | None) -> None:
    """What stands at any place of the credential may be overwritten, whoever put it there. May be repeated."""
    for place in dict.fromkeys(t.to for t in work.managed.targets):
        try:
            allow_replacing(work, [place], because)
        except TemporaryError:
            continue  # it cannot be read now; where it turns out foreign, it blocks


def end_soaks(work: Work, because: str | None) -> None:
    """Our own disabled keys are deleted now. May be repeated."""
    disabled = [r for r in work.situation.retirements if r.state is RetirementState.DISABLED]
    for row in disabled:
        if row.reason == SOAK or row.unconfirmed_until is not None:
            told = work.event(Subject.END_SOAK, Outcome.SUCCEEDED, version=row.version_id, because=because)
            work.record([Update(row, {"soak": row.soak * 0, "unconfirmed_until": None, **MOVING})], [told])
