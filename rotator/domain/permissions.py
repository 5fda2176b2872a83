"""What a key may do, and whether that is more than another one may. Pure sets of grants; vendors fill them in.

A comparison errs towards "more": what cannot be told to be covered counts as new.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network

NOT = "not "
"""What an action or resource begins with that stands for all but itself."""


@dataclass(frozen=True, order=True)
class Grant:
    """One action on one resource, either with `*` and `?`, under a condition (canonical text; empty: always)."""

    action: str
    resource: str = "*"
    condition: str = ""

    def covers(self, other: Grant) -> bool:
        """Whether whoever has this one has the other. False where that cannot be told."""
        if self.condition and self.condition != other.condition:
            return False
        return _covers(self.action.lower(), other.action.lower()) and _covers(self.resource, other.resource)

    def __str__(self) -> str:
        where = "" if self.resource == "*" else f" on {self.resource}"
        return f"{self.action}{where}{f' if {self.condition}' if self.condition else ''}"


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """What keys of one principal may do. `policies` are the names under which it is known there."""

    grants: frozenset[Grant]
    denials: frozenset[Grant] = frozenset()
    boundary: frozenset[Grant] | None = None  # beyond which nothing is granted; None: there is no such bound
    networks: tuple[str, ...] | None = None  # from where alone; None: from anywhere
    policies: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()  # of the policies, in the same order, as canonical JSON; not kept on record

    def beyond(self, old: Permissions) -> list[str]:
        """What these allow and the old ones did not, in words; empty: nothing."""
        found = [f"may {grant}" for grant in _uncovered(self.grants, old.grants)]
        found += [f"is no longer denied {grant}" for grant in _uncovered(old.denials, self.denials)]
        if old.boundary is not None and self.boundary is None:
            found.append("has no permissions boundary any more")
        elif old.boundary is not None and self.boundary is not None:
            found += [f"is no longer kept from {grant}" for grant in _uncovered(self.boundary, old.boundary)]
        return found + [f"works from {place}" for place in outside(self.networks, old.networks)]

    @property
    def text(self) -> str:
        """All but the documents as canonical JSON, for the record."""
        told = {
            "grants": _lists(self.grants),
            "denials": _lists(self.denials),
            "boundary": None if self.boundary is None else _lists(self.boundary),
            "networks": None if self.networks is None else sorted(self.networks),
            "policies": sorted(self.policies),
        }
        return json.dumps(told, sort_keys=True, separators=(",", ":"))

    @classmethod
    def read(cls, text: str) -> Permissions:
        """From what `text` gave."""
        told = json.loads(text)
        networks = told["networks"]
        return cls(
            grants=_grants(told["grants"]),
            denials=_grants(told["denials"]),
            boundary=None if told["boundary"] is None else _grants(told["boundary"]),
            networks=None if networks is None else tuple(networks),
            policies=tuple(told["policies"]),
        )


def outside(found: Sequence[str] | None, allowed: Sequence[str] | None) -> list[str]:
    """The networks from which more is possible than from the allowed ones; `anywhere` where nothing bounds them."""
    if allowed is None:
        return []
    if found is None:
        return ["anywhere"]
    bounds = [ip_network(text, strict=False) for text in allowed]
    return [text for text in found if not any(_within(ip_network(text, strict=False), bound) for bound in bounds)]


def _within(network: Network, bound: Network) -> bool:
    return network.version == bound.version and network.subnet_of(bound)  # type: ignore[arg-type]


def _covers(pattern: str, text: str) -> bool:
    """Whether a pattern matches all that another one does: its wildcards stand for the other's as for any text."""
    if pattern.startswith(NOT) or text.startswith(NOT):
        return pattern in (text, "*")
    # `?` is one character, which the other's `*` is not.
    parts = {"*": ".*", "?": "[^*]"}
    return re.fullmatch("".join(parts.get(c, re.escape(c)) for c in pattern), text, re.DOTALL) is not None


def _uncovered(grants: Iterable[Grant], by: Collection[Grant]) -> Iterator[Grant]:
    return (grant for grant in sorted(grants) if not any(other.covers(grant) for other in by))


def _lists(grants: Iterable[Grant]) -> list[list[str]]:
    return [[g.action, g.resource, g.condition] for g in sorted(grants)]


def _grants(lists: Iterable[Sequence[str]]) -> frozenset[Grant]:
    return frozenset(Grant(*parts) for parts in lists)
