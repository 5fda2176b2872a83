"""What may go wrong at a port call, how often, and what of it a run has reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Fault(StrEnum):
    """One way in which a call does not go as it should."""

    FAILED = "failed"  # it says no, or 5xx, and nothing was done
    RATE_LIMITED = "rate limited"  # 429 with Retry-After
    LOST = "answer lost"  # it was done, and the answer did not come
    LATE = "late"  # no answer within the budget; done all the same, later
    TWICE = "twice"  # the network delivers the request once more, later
    DROPPED = "dropped"  # acknowledged, and never done
    MEDDLED = "meddled"  # a person changes the place just after we looked
    FROZEN_BEFORE = "frozen before"  # the worker stops for longer than its lease, then goes on
    FROZEN_AFTER = "frozen after"
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    OUTAGE_BEFORE = "db down before"  # nothing was committed
    OUTAGE_AFTER = "db down after"  # committed, and nobody was told
    UNSETTLED = "unsettled"  # the provider has not agreed with itself yet: a new key refused or hidden, an old one not


_ANYWHERE = (Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.FROZEN_BEFORE, Fault.FROZEN_AFTER)
_ASKING = (*_ANYWHERE, Fault.FAILED, Fault.RATE_LIMITED, Fault.LATE)
_DOING = (*_ASKING, Fault.LOST)
_TAKING = (*_DOING, Fault.TWICE, Fault.DROPPED)
_STORING = (*_ANYWHERE, Fault.OUTAGE_BEFORE, Fault.OUTAGE_AFTER)

OF_CALL: Mapping[str, Sequence[Fault]] = {
    "account": _ASKING,
    "keys": _ASKING,
    "authenticate": _ASKING,
    "identify": _ASKING,
    "create": _DOING,  # never twice: a request to create is not repeatable, so nothing below us may repeat it
    "set": (*_DOING, Fault.TWICE),
    "disable": _TAKING,
    "enable": _TAKING,
    "delete": _TAKING,
    "read": (*_ASKING, Fault.MEDDLED),
    "preflight": (),
    "reload": (*_ASKING, Fault.LOST),
    "probe": _ASKING,
    "write": _TAKING,
    "shadow": _DOING,  # not twice: once it is removed, nothing would tell the second one from the first
    "remove": (*_DOING, Fault.DROPPED),
    "claim": _STORING,
    "renew": _STORING,
    "release": _STORING,
    "record": _STORING,
    "find": _STORING,
    "clear": _STORING,
    "account row": _STORING,
    "load": (Fault.CRASH_BEFORE, Fault.FROZEN_BEFORE, Fault.OUTAGE_BEFORE),
}
"""What can go wrong with each call of a port."""

EMPHASIS: Mapping[str, float] = {
    "create": 4, "set": 2, "disable": 3, "delete": 2, "write": 2, "claim": 0.25, "load": 0.25, "release": 0.25,
}  # fmt: skip
"""Calls that are rare and matter have faults more often, and the most frequent ones less often."""

RARE = frozenset({"locate", "enable", "brownout", "restore", "abandon", "resume", "go back", "drift"})
"""Steps that are rare have faults more often still, by this factor."""

RARE_FACTOR = 5

_GUARD = ("account", "read", "authenticate", "keys", "record", "load")

OF_STEP: Mapping[str, Sequence[str]] = {
    "take in": ("claim", "load", "record", "release"),
    "create": ("account", "keys", "read", "create", "set", "record", "load"),
    "authenticate": ("authenticate", "record", "load"),
    "push": ("authenticate", "read", "write", "record", "load"),
    "verify": ("read", "authenticate", "record", "load"),
    "promote": ("record", "load"),
    "put back": ("authenticate", "read", "write", "record", "load"),
    "locate": ("account", "keys", "record", "load"),
    "drain": _GUARD,
    "disable": (*_GUARD, "disable"),
    "delete": (*_GUARD, "delete"),
    "enable": ("account", "enable", "authenticate", "record", "load"),
    "watch": ("account", "keys", "read", "record", "load"),
    "abandon": ("record", "load"),
    "resume": ("record", "load"),
    "go back": ("record", "load"),
    "drift": ("read", "authenticate", "record", "load"),
}
"""Which calls each step makes, so which faults it can meet. Brownouts have a mix of trouble of their own."""

UNSETTLED = ("create", "authenticate", "push", "verify", "locate", "delete", "enable")
"""Steps for which it matters that a provider has not agreed with itself yet.

`put back` is left out: the current key has long settled. `drain` and `disable`: they look at destinations and at the
current key, and at lists only for the last use.
"""


def meaningful() -> set[tuple[str, Fault]]:
    """Every pair of step and fault that can be."""
    pairs = {(step, fault) for step, calls in OF_STEP.items() for call in calls for fault in OF_CALL[call]}
    return pairs | {(step, Fault.UNSETTLED) for step in UNSETTLED}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A mix of trouble. Probabilities are for each call, or for each hour of virtual time."""

    name: str
    call_fault: float = 0.03  # that a call of a port has a fault
    only: Sequence[Fault] = tuple(Fault)  # the faults to choose from
    likely: Mapping[Fault, float] = field(default_factory=dict)  # weights; 1 where nothing is said
    workers: tuple[int, int] = (1, 3)
    shapes: Sequence[str] = ("labelled", "slots", "chosen", "disabling")
    unconditional: float = 0.4  # share of destinations without compare-and-set
    unsettled: float = 0.5  # share of credentials at a provider that needs time to agree with itself
    people: float = 0.25  # what a person does to the world, for each hour
    operators: float = 0.35  # verbs of the operator, for each hour
    edits: float = 0.1  # edits of the configuration, for each hour
    clocks: float = 0.03  # jumps of a clock, for each hour
    outages: float = 0.0  # of a provider account, for each hour
    rehearsals: float = 0.0  # for each hour
    restores: float = 0.0  # of the database, to what it was some hours ago, for each hour
    hooked: float = 0.0  # share of destinations that have hooks, and a wave
    brownouts: bool = False
    pairs: bool = False  # destinations hold the key before beside the current one, and are read slowly
    long_stop: float = 0.7  # that a frozen worker or a late effect takes longer than the lease


PROFILES: Mapping[str, Profile] = {
    p.name: p
    for p in (
        Profile(name="everything", outages=0.03, restores=0.01),
        Profile(name="crashes", people=0, operators=0.5, edits=0, clocks=0, call_fault=0.04,
                only=(Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.LOST, Fault.LATE)),
        Profile(name="stale", people=0, operators=1, edits=0, clocks=0, call_fault=0.04,
                workers=(2, 3),
                only=(Fault.FROZEN_BEFORE, Fault.FROZEN_AFTER, Fault.LATE, Fault.LOST)),
        Profile(name="people", outages=0.03, people=1.5, operators=1, edits=0.3, clocks=0, call_fault=0.005),
        Profile(name="clocks", outages=0.03, people=0, operators=0.5, edits=0, clocks=0.5, call_fault=0.01),
        Profile(name="restores", outages=0.03, restores=0.1, people=0.1, operators=1, edits=0, clocks=0,
                call_fault=0.01),
        Profile(name="dense", outages=0.03, operators=3, people=0.3, call_fault=0.05),
        Profile(name="seldom", call_fault=0.003, workers=(1, 2), people=0.03, operators=0.05, edits=0.01, clocks=0.005,
                outages=0.003, restores=0.001),
        Profile(name="pairs", outages=0.03, restores=0.01, pairs=True),
        Profile(name="assisted", outages=0.03, restores=0.01, operators=1, shapes=("supplied",)),
        Profile(name="readers", hooked=0.7, people=0, operators=1, edits=0.05, clocks=0, outages=0.01,
                call_fault=0.02, shapes=("labelled", "chosen", "disabling")),
        Profile(name="brownouts", outages=0.03, operators=1, people=0, edits=0, clocks=0.1, call_fault=0.02,
                shapes=("slots", "disabling"), brownouts=True),
        Profile(name="rehearsals", rehearsals=4, outages=0.03, operators=1, people=0.1, edits=0.05, clocks=0,
                call_fault=0.04),
        Profile(name="calm", people=0, operators=0, edits=0, clocks=0, call_fault=0),
    )
}  # fmt: skip


class Coverage:
    """How often each step met each fault."""

    def __init__(self) -> None:
        self.reached: Counter[tuple[str, Fault]] = Counter()

    def note(self, step: str, fault: Fault) -> None:
        """A fault has taken effect in this step."""
        self.reached[step, fault] += 1

    @property
    def missing(self) -> set[tuple[str, Fault]]:
        """Meaningful pairs that were never reached."""
        return meaningful() - self.reached.keys()

    @property
    def share(self) -> float:
        """Of the meaningful pairs, how many were reached."""
        return 1 - len(self.missing) / len(meaningful())

    def table(self) -> str:
        """Steps down, faults across; `-` where a pair cannot be."""
        can = meaningful()
        wide = max(map(len, OF_STEP))
        heads = [fault.value for fault in Fault]
        lines = [" " * wide + "".join(f" {head.rpartition(' ')[0]:>9}" for head in heads)]
        lines += [" " * wide + "".join(f" {head.rpartition(' ')[2]:>9}" for head in heads)]
        for step in OF_STEP:
            cells = (str(self.reached[step, f]) if (step, f) in can else "-" for f in Fault)
            lines.append(f"{step:<{wide}}" + "".join(f" {cell:>9}" for cell in cells))
        reached = len(can) - len(self.missing)
        lines.append(f"{reached} of {len(can)} pairs reached ({self.share:.1%})")
        return "\n".join(lines)
