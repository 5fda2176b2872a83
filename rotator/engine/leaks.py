"""Reports that a key of ours was seen where it does not belong: which key it is, and what the policy does about it.

A report is known by the fingerprint of its value; the value itself goes no further. Whoever can make up a report can
thus at most name a key that they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rotator.domain.events import Outcome, Subject, name
from rotator.domain.model import Version
from rotator.domain.reactions import LEAK, Caps, Reaction, verb_of, wanted
from rotator.engine import requests
from rotator.engine.findings import News, find
from rotator.engine.reacting import react
from rotator.engine.work import Managed, Surroundings
from rotator.ports.store import NewEvent, Store

PLACES = 5
"""How many places an event about unmatched reports names."""


@dataclass(frozen=True)
class Reported:
    """One report: the fingerprint of the value, and where it was seen, in the words of who reports."""

    fingerprint: str
    where: str


@dataclass(frozen=True)
class Known:
    """What a report comes to.

    `dead`: the key is taken away already. `told`: it is being replaced as compromised already. `asked`: a worker does
    it in its next turn. `held`: the caps keep the reaction back, so that a person decides. `open`: a person decides.
    `ignored`: the policy wants to hear nothing.
    """

    credential: str
    version: Version
    where: Sequence[str]
    became: Literal["dead", "told", "asked", "held", "open", "ignored"]
    why: str | None = None

    @property
    def remedy(self) -> str:
        """The command that answers it."""
        return f"rotate --now {self.credential} --compromised --key {self.version.key_id}"


def take_in(
    store: Store,
    managed: Mapping[str, Managed],
    around: Surroundings,
    reports: Sequence[Reported],
    *,
    keys: Mapping[str, tuple[str, Version]],
    caps: Caps,
    confirm: Callable[[str, Version], bool] = lambda _credential, _version: False,
) -> tuple[Sequence[Known], int]:
    """Record what these reports say, each key once, and react as its policy wants; also say how many match nothing.

    `keys`: fingerprint → credential and version, of all that ever were. `confirm`: where the policy leaves it to a
    person, whether that person wants the key replaced as compromised now. May be repeated: what is known already is
    not told again.
    """
    places = _places(reports)
    unmatched = [where for fingerprint, found in places.items() if fingerprint not in keys for where in found]
    if unmatched:
        detail = {"reports": len(unmatched), "where": list(dict.fromkeys(unmatched))[:PLACES]}
        told = NewEvent(event=name(Subject.LEAK, Outcome.FAILED), actor=around.actor, reason="unmatched", detail=detail)
        store.note([told])
    known = []
    for fingerprint, where in places.items():
        if fingerprint in keys:
            credential, version = keys[fingerprint]
            known.append(_take_in_one(store, managed, around, credential, version, where, caps, confirm))
    return known, len(unmatched)


def _places(reports: Sequence[Reported]) -> dict[str, list[str]]:
    """Fingerprint → where it was seen, each place once."""
    found: dict[str, dict[str, None]] = {}
    for report in reports:
        found.setdefault(report.fingerprint, {})[report.where] = None
    return {fingerprint: list(where) for fingerprint, where in found.items()}


def _take_in_one(
    store: Store,
    managed: Mapping[str, Managed],
    around: Surroundings,
    credential: str,
    version: Version,
    where: Sequence[str],
    caps: Caps,
    confirm: Callable[[str, Version], bool],
) -> Known:
    if not version.state.living or version.key_id is None:
        return Known(credential, version, where, "dead")
    if version.compromised_at is not None:
        return Known(credential, version, where, "told")
    policy = wanted(managed[credential].on, LEAK) if credential in managed else Reaction.NOTIFY
    if policy is Reaction.IGNORE:
        return Known(credential, version, where, "ignored")
    _find(store, around, credential, version, where)
    verb = verb_of(policy, version.key_id)
    if verb is not None:
        because = f"the key {version.key_id} has leaked"
        held = react(store, around, credential, version, LEAK, verb, caps, because)
        return Known(credential, version, where, "held" if held else "asked", held)
    if not confirm(credential, version):
        return Known(credential, version, where, "open")
    row = store.credential(credential)
    assert row is not None, "its version is on record"
    compromised = verb_of(Reaction.COMPROMISED, version.key_id)
    assert compromised is not None, "it is a reaction that acts"
    because = f"reported as leaked: {where[0]}"
    requests.ask(store, row, *compromised, request_id=around.new_id(), actor=around.actor, because=because)
    return Known(credential, version, where, "asked")


def _find(store: Store, around: Surroundings, credential: str, version: Version, where: Sequence[str]) -> None:
    more = f" and {len(where) - 1} more" if len(where) > 1 else ""
    news = News(
        kind=Subject.LEAK,
        subject=version.key_id or version.id,
        what=f"the key {version.key_id} of {credential}, version {version.number}, has leaked",
        seen=f"seen at {where[0]}{more}",
        remedy=f"`rotate --now {credential} --compromised --key {version.key_id}`",
        credential_id=version.credential_id,
        account=version.account,
    )
    told = NewEvent(
        event=name(Subject.LEAK, Outcome.FOUND),
        actor=around.actor,
        credential=credential,
        version=version.number,
        key_id=version.key_id,
        reason="leak",
    )
    cleared = NewEvent(event=name(Subject.LEAK, Outcome.CLEARED), actor=around.actor, credential=credential)
    find(store, around.new_id, news, told, cleared)
