"""Pairs (`mode: pair`): beside the key that a place serves stands the one before it, for consumers that try both."""

from __future__ import annotations

from collections.abc import Mapping

from rotator.domain.model import Cause, RetirementReason, RetirementState, Version, VersionState
from rotator.domain.template import Template
from rotator.engine.work import Work


def holders(work: Work, templates: Mapping[str, Template], version: Version) -> dict[str, Version]:
    """Field → the version whose value stands there while a place serves `version`; a companion holds the one before."""
    if not any(template.companion for template in templates.values()):
        return dict.fromkeys(templates, version)
    before = partner(work, version)
    return {field: before if template.companion else version for field, template in templates.items()}


def partner(work: Work, version: Version) -> Version:
    """The version that readers may still rely on beside this one; itself where there is none.

    The one that it replaces, else the one that was replaced last: not leaked, with its value on record, and not being
    taken away yet. While a key that is about to be is replaced beside the current one, that is nobody.
    """
    rotation = work.situation.rotation
    if rotation is not None and rotation.cause in (Cause.UNPAIR, Cause.REHEARSAL):
        return version  # of a rehearsal nobody reads, and no key in use is written beside its place
    others = [v for v in work.situation.versions if v.id != version.id and _relied_on(work, v)]
    others.sort(key=lambda v: (v.state is VersionState.CURRENT, _replaced_at(work, v), v.number), reverse=True)
    return next((v for v in others if work.kept(v) is not None), version)


def _relied_on(work: Work, version: Version) -> bool:
    row = work.situation.retirement_of(version.id)
    if version.state not in (VersionState.CURRENT, VersionState.PREVIOUS) or version.compromised_at is not None:
        return False
    if row is None or row.wanted_back:
        return True
    return row.state is RetirementState.PLANNED and row.why is RetirementReason.SUPERSEDED


def _replaced_at(work: Work, version: Version) -> float:
    row = work.situation.retirement_of(version.id)
    return row.opened_at.timestamp() if row is not None else 0.0
