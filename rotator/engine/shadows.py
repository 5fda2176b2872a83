"""Shadows: places of our own beside those that consumers read, where a rehearsal puts its key and takes it away again.

The rows of the deliveries say which may stand: `started` of a delivery of a rehearsal is committed before the first
write to its shadow, and unset once that is taken away. Names are made from the rotation: every worker knows them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rotator.domain.errors import PermanentError
from rotator.domain.events import Outcome, Subject
from rotator.domain.model import Delivery, RotationId, Version
from rotator.engine.work import Managed, Target, Work
from rotator.ports.destination import Shadow, Shadows
from rotator.ports.store import Update


def shadows_of(managed: Managed, rotation_id: RotationId) -> Sequence[tuple[Target, Shadow]]:
    """Each place that can have a shadow, with its shadow for this rehearsal. No I/O."""
    token = hashlib.sha256(rotation_id.encode()).hexdigest()[:8]
    return [(t, t.destination.shadow(token)) for t in managed.targets if isinstance(t.destination, Shadows)]


def targets(managed: Managed, rotation_id: RotationId) -> Sequence[Target]:
    """The shadows as places of a rotation; nobody reads there, so nobody is told or asked."""
    found = shadows_of(managed, rotation_id)
    return [replace(target, destination=shadow, reload=None, probe=None) for target, shadow in found]


def without_shadow(managed: Managed) -> list[str]:
    """The addresses of the places that cannot have one: what is put there cannot be rehearsed."""
    return [t.destination.address for t in managed.targets if not isinstance(t.destination, Shadows)]


def shadow_at(managed: Managed, delivery: Delivery) -> Shadow | None:
    """Today's way to the shadow that a delivery has pinned; None where it is of no shadow of a configured place."""
    found = (shadow for _, shadow in shadows_of(managed, delivery.rotation_id))
    return next((shadow for shadow in found if shadow.identity == delivery.identity), None)


def remove(work: Work, version: Version) -> None:
    """Take away every shadow that may hold this version. Raises where one cannot be; may be repeated.

    A write that is on its way could put one back, so that is waited out first.
    """
    for delivery in work.situation.shadows.get(version.id, ()):
        shadow = shadow_at(work.managed, delivery)
        if shadow is None:
            message = f"{delivery.address} may stand there, and the place beside it is not configured any more"
            forget = f"`rotator forget {work.managed.name} --destination {delivery.to}`"
            remedy = f"put the destination {delivery.to} back, or remove it by hand; then {forget}"
            raise PermanentError(message, reason="destination_removed", remedy=remedy)
        work.outwait_late_calls()
        about: dict[str, Any] = {
            "version": version.id,
            "destination": delivery.to,
            "address": delivery.address,
        }
        work.record([Update(delivery, {})], [work.event(Subject.REMOVE, Outcome.STARTED, **about)])
        work.call(shadow.remove)
        gone = Update(delivery, {"started": False})
        work.record([gone], [work.event(Subject.REMOVE, Outcome.SUCCEEDED, **about)])
