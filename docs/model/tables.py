"""What is searched: the settings in which nothing may be found, and the weakened ones in which something must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from docs.model.setting import Setting

OPENAI = Setting()  # many keys, labels, nothing can be disabled
IAM = Setting(labels=False, can_disable=True, slots=2)
BARE = Setting(conditional=False)  # places without compare-and-set
FRESH = Setting(adopted=False)  # no key yet, and nothing anywhere

SMALL: Mapping[str, Setting] = {
    "many keys, labels": replace(OPENAI, faults=2, abandons=1),
    "many keys, labels, one fault, two rotations": replace(OPENAI, rotations=2, abandons=2),
    "two slots, no labels, disable, roll-back": replace(IAM, rotations=2, abandons=1, cancels=1),
    "many keys, disable, roll-back": replace(OPENAI, can_disable=True, abandons=1, cancels=1),
    "places without compare-and-set": replace(BARE, faults=2, abandons=1),
    "the first key": replace(FRESH, faults=2, abandons=1),
    "a person edits places": replace(OPENAI, rotations=2, abandons=1, edits=1),
    "--without": replace(OPENAI, abandons=1, edits=1, withouts=1),
    "a person's own keys, labels": replace(OPENAI, can_disable=True, abandons=1, strangers=1),
    "three places": replace(OPENAI, places=3, abandons=1),
}
"""Safe, and searched in seconds: the tests do so each time."""

LARGE: Mapping[str, Setting] = {
    "many keys, labels, two faults, two rotations": replace(OPENAI, rotations=2, faults=2, abandons=2),
    "many keys, labels, three faults": replace(OPENAI, faults=3, abandons=1),
    "two slots, no labels, disable, roll-back, two faults": replace(IAM, rotations=2, faults=2, abandons=1, cancels=1),
    "many keys, disable, two roll-backs, two faults": replace(
        OPENAI, can_disable=True, faults=2, abandons=1, cancels=2
    ),
    "places without compare-and-set, two rotations": replace(BARE, rotations=2, faults=2, abandons=2),
    "places without compare-and-set, disable, roll-back": replace(
        BARE, can_disable=True, faults=2, abandons=1, cancels=1
    ),
    "the first key, two rotations": replace(FRESH, rotations=2, faults=2, abandons=2),
    "a person edits places, two faults": replace(OPENAI, rotations=2, faults=2, abandons=1, edits=1),
    "a person edits places, two slots, roll-back": replace(IAM, rotations=2, abandons=1, cancels=1, edits=1),
    "--without twice": replace(OPENAI, rotations=2, abandons=1, edits=2, withouts=2),
    "three places, two faults": replace(OPENAI, places=3, faults=2, abandons=1),
}
"""Safe, and searched by `make model`."""


@dataclass(frozen=True, kw_only=True)
class Weakened:
    """One thing taken out of the protocol, where that is enough to do harm."""

    guards: tuple[str, ...]
    setting: Setting
    harm: str  # how the broken promise begins

    @property
    def without(self) -> Setting:
        """The setting with those guards left out."""
        return replace(self.setting, without=frozenset(self.guards))


OUTAGE, STRAY, STUCK = "outage", "stray key", "no quiet good state"

WEAKENED: Mapping[str, Weakened] = {
    "no intent": Weakened(guards=("intent",), setting=OPENAI, harm=STRAY),
    "create is retried": Weakened(guards=("one create",), setting=OPENAI, harm="two requests to create"),
    "lost keys are swept by listing": Weakened(guards=("fenced condemn",), setting=OPENAI, harm=OUTAGE),
    "the oldest key is deleted for its slot": Weakened(guards=("no delete for a slot",), setting=IAM, harm=OUTAGE),
    "a lost key is looked for too early": Weakened(guards=("wait for create",), setting=IAM, harm=STRAY),
    "no fence: the epoch is not checked": Weakened(guards=("epoch",), setting=replace(OPENAI, abandons=1), harm=OUTAGE),
    "neither compare-and-set nor the wait": Weakened(
        guards=("compare-and-set",), setting=replace(OPENAI, abandons=1), harm=OUTAGE
    ),
    "compare-and-set on a revision read later": Weakened(
        guards=("recorded revision",), setting=replace(OPENAI, abandons=1), harm=OUTAGE
    ),
    "no compare-and-set, and no wait for late writes": Weakened(
        guards=("wait for writes",), setting=replace(BARE, abandons=1), harm=OUTAGE
    ),
    "no compare-and-set, and only expired leases are waited for": Weakened(
        guards=("lost writes too",), setting=replace(BARE, abandons=1), harm=OUTAGE
    ),
    "no read-back": Weakened(guards=("read-back",), setting=OPENAI, harm=STUCK),
    "no read-back of a put-back": Weakened(
        guards=("read-back",), setting=replace(OPENAI, faults=2, abandons=1), harm=OUTAGE
    ),
    "no re-read before retirement": Weakened(
        guards=("re-read",), setting=replace(OPENAI, faults=0, edits=1), harm=OUTAGE
    ),
    "an empty place is believed to be served by nobody": Weakened(
        guards=("given",), setting=replace(FRESH, abandons=1), harm=OUTAGE
    ),
    "nothing is put back": Weakened(guards=("put-back",), setting=replace(OPENAI, abandons=1), harm=OUTAGE),
    "a put-back does not write what is right already": Weakened(
        guards=("fencing write",), setting=replace(OPENAI, abandons=1), harm=OUTAGE
    ),
    "a put-back is believed by its value": Weakened(
        guards=("fenced for sure",), setting=replace(OPENAI, faults=2, abandons=1), harm=OUTAGE
    ),
    "keys are taken away during a put-back": Weakened(
        guards=("put-back first",), setting=replace(OPENAI, abandons=1), harm=OUTAGE
    ),
    "a put-back can be given up": Weakened(
        guards=("put-back again",), setting=replace(OPENAI, abandons=2), harm=OUTAGE
    ),
    "cancel does not wait out a late disable": Weakened(
        guards=("wait for disable",), setting=replace(IAM, cancels=1), harm=OUTAGE
    ),
    "cancel waits for expired leases only": Weakened(
        guards=("lost disables too",), setting=replace(IAM, cancels=1), harm=OUTAGE
    ),
    "a deletion is believed by its answer": Weakened(guards=("confirmed",), setting=OPENAI, harm=STRAY),
    "--without forgets its open delivery": Weakened(
        guards=("open delivery",), setting=replace(OPENAI, faults=0, edits=1, withouts=1), harm=STUCK
    ),
}
"""Each must be found unsafe: else the model could not find anything."""

REDUNDANT: Mapping[str, Setting] = {
    "compare-and-set, no wait": replace(OPENAI, faults=2, abandons=1, without=frozenset({"wait for writes"})),
    "the wait, no compare-and-set": replace(BARE, faults=2, abandons=1, without=frozenset({"compare-and-set"})),
    "no re-read, and nobody edits a place": replace(
        OPENAI, faults=2, rotations=2, abandons=1, without=frozenset({"re-read"})
    ),
}
"""Guards that another one makes up for: left out alone, nothing is found. Said so that nobody thinks otherwise."""

LIMITS: Mapping[str, Weakened] = {
    "a person makes a key in the moment of a lost answer, without labels": Weakened(
        guards=(), setting=replace(IAM, slots=None, strangers=1), harm="a person's own key"
    ),
    "a person puts an old key back between the last look and the call": Weakened(
        guards=(), setting=replace(OPENAI, faults=0, edits=1, hasty=True), harm=OUTAGE
    ),
}
"""What the protocol does not promise, and what then happens. docs/reliability.md says so."""
