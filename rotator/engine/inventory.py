"""The inventory of accounts: every key there is, whose it is, how old, whether it is used, and whether we manage it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rotator.domain.errors import RotatorError
from rotator.engine.adoption import material_in
from rotator.engine.work import Managed
from rotator.ports.provider import Key, Listed

OLD = timedelta(days=90)
"""From this age on a key should have been rotated: CIS AWS Foundations Benchmark, "rotated every 90 days or less"."""

UNUSED = timedelta(days=45)
"""Not used for so long, a key should go: the same, "unused for 45 days or greater are disabled"."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One key of the inventory."""

    provider: str  # as the configuration, or the command line, calls it
    listed: Listed
    managed: str | None  # the credential that has it on record
    known: bool  # whether it can be told that it is managed or not
    served_at: Sequence[str]  # addresses of the places that serve it now
    notes: Sequence[str]  # such as `older than 90 days`

    @property
    def key(self) -> Key:
        """The key itself."""
        return self.listed.key


@dataclass
class Places:
    """Which keys the configured destinations serve, as far as it could be told, and what could not."""

    serving: dict[tuple[str, str], list[str]] = field(default_factory=dict)  # provider, key id → addresses
    trouble: list[str] = field(default_factory=list)


def look_at_places(managed: Iterable[Managed]) -> Places:
    """Read every destination of these credentials and ask whose key stands there. Writes nothing."""
    found = Places()
    for one in managed:
        for target in one.targets:
            address = target.destination.address
            try:
                material = material_in(one.provider.capabilities.material, target, target.destination.read())
                key_id = None if material is None else one.provider.identify(material)
            except RotatorError as problem:
                found.trouble.append(f"{one.name}: {address}: {problem.message}")
                continue
            if key_id is not None:
                found.serving.setdefault((one.provider_name, key_id), []).append(address)
            elif material is not None:
                found.trouble.append(
                    f"{one.name}: {address}: by what the provider shows of its keys, it cannot be told which stands "
                    f"there; the fingerprint that the sealing key makes would tell: `rotator status {one.name}`"
                )
    return found


def rows(
    provider: str,
    listed: Iterable[Listed],
    *,
    places: Places,
    known_keys: Callable[[str], Mapping[str, str]] | None,
    now: datetime,
) -> Iterator[Row]:
    """The rows of one account. `known_keys`: account → key id → credential, of the database; None: there is none."""
    for one in listed:
        yield Row(
            provider=provider,
            listed=one,
            managed=None if known_keys is None else known_keys(one.account).get(one.key.id),
            known=known_keys is not None,
            served_at=places.serving.get((provider, one.key.id), []),
            notes=list(_notes(one, now)),
        )


def _notes(listed: Listed, now: datetime) -> Iterator[str]:
    key = listed.key
    if not key.enabled:
        yield "expired" if key.expires_at is not None and key.expires_at <= now else "disabled"
    if is_old(listed, now):
        yield f"older than {OLD.days} days"
    if is_unused(listed, now):
        yield f"unused for {UNUSED.days} days" if key.last_used_at else "never used"


def is_old(listed: Listed, now: datetime) -> bool:
    """Whether it should have been rotated."""
    made = listed.key.created_at
    return made is not None and now - made > OLD


def is_unused(listed: Listed, now: datetime) -> bool:
    """Whether nothing has used it for so long, where the provider tells; one that was never used counts its age."""
    since = listed.key.last_used_at or listed.key.created_at
    return listed.tells_last_use and since is not None and now - since > UNUSED
