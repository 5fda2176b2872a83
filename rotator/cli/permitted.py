"""What `check` says of permissions: those of a credential's keys, and our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from rotator.cli.finding import Finding
from rotator.domain.permissions import Permissions, outside
from rotator.engine import permissions
from rotator.engine.work import Managed
from rotator.ports.ours import Examined
from rotator.ports.provider import Permits
from rotator.settings import format_duration
from rotator.store.store import SqlStore


def switch(managed: Managed) -> Iterator[Finding]:
    """A key that its provider ends is to be replaced by the schedule, and ended only where that does not happen."""
    life, period = managed.provider.capabilities.life, managed.policy.rotate_every
    if life is None or period is None:
        return
    needed = period + managed.terms.lead(life)
    if life < needed:
        yield Finding(
            check="schedule",
            subject="policy",
            credential=managed.name,
            outcome="warning",
            message=f"the provider ends a key after {format_duration(life)}; the schedule, and what follows it, take "
            f"{format_duration(needed)}: keys are replaced when they end, with nothing left for a schedule that fails",
            reason="expires",
            remedy="let keys live longer, or rotate more often",
        )


def to_keys(managed: Managed, opened: Callable[[], SqlStore | None]) -> Iterator[Finding]:
    """What the credential's keys may do, beside what is expected, and what only a person can see."""
    about: dict[str, Any] = {"check": "permissions", "subject": "its keys", "credential": managed.name}
    bounds, provider = managed.bounds, managed.provider
    if isinstance(provider, Permits) and permissions.compared(managed):
        found = provider.permissions()
        yield Finding(**about, message=_told(found))
        if provider.capabilities.permissions == "read":
            more = [f"the policy {name} is not expected" for name in permissions.unexpected(found, bounds)]
            more = more if bounds.policies is not None else []
            more += [f"they work from {place}" for place in outside(found.networks, bounds.networks)]
            for message in more:
                remedy = "take it away, or write it into `expect_policies` or `allowed_ips`"
                yield Finding(**about, outcome="warning", message=message, reason="widened", remedy=remedy)
            for entry in permissions.missing(found, bounds):
                message = f"they lack {entry}, which `expect_policies` names: consumers may need it"
                yield Finding(**about, outcome="warning", message=message, reason="narrowed", remedy="attach it")
    store = opened()
    if why := permissions.unconfirmed(managed, store.now() if store is not None else datetime.now(UTC)):
        remedy = permissions.confirming(managed)
        yield Finding(**about, outcome="warning", message=why, reason="unconfirmed", remedy=remedy)
    elif bounds.confirmed is not None:
        message = f"a person compared the provider's allow list with allowed_ips on {bounds.confirmed}"
        yield Finding(**about, message=message)


def to_us(credential: str, subject: str, at: Examined) -> Iterator[Finding]:
    """What we may do at a provider or destination; what is missing or too much has a line of its own."""
    about: dict[str, Any] = {"check": "permissions", "subject": subject, "credential": credential}
    found = at.our_permissions()
    if held := [permission.what for permission in found if permission.state == "held"]:
        yield Finding(**about, message=f"we may: {', '.join(held)}")
    for permission in found:
        if permission.state == "held":
            continue
        state = _STATES[permission.state]
        message = f"{state['message']}{permission.what}"
        yield Finding(**{**about, **state, "message": message}, remedy=permission.remedy)


_STATES: dict[str, dict[str, Any]] = {
    "missing": {"outcome": "failed", "reason": "missing_permission", "message": "we lack: "},
    "optional": {"outcome": "warning", "reason": "missing_permission", "message": "not granted: "},
    "too_much": {"outcome": "warning", "reason": "excess_permission", "message": "we may more than it takes: "},
    "unknown": {"outcome": "ok", "reason": None, "message": "not known: "},
}


def _told(found: Permissions) -> str:
    named = ", ".join(found.policies) or ", ".join(sorted(str(grant) for grant in found.grants)) or "nothing"
    may = "all that their owner may" if named == "*" else named
    where = "" if found.networks is None else f", from {', '.join(found.networks)} alone"
    return f"they may do: {may}{where}"
