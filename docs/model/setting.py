"""What can be set: the guards of the protocol, the bounds of a search, and where each number stands in a state."""

from __future__ import annotations

from dataclasses import dataclass

GUARDS = {
    "intent": "the version row is committed before the request to create is sent",
    "one create": "a request to create is never sent again",
    "fenced condemn": "an unknown key is condemned in a fenced transaction before it is deleted, not swept by listing",
    "no delete for a slot": "a full slot is waited for, not emptied by deleting the oldest key",
    "wait for create": "the key of a lost answer is looked for once its request can take effect no more",
    "epoch": "a transaction of a worker that lost its lease changes nothing",
    "compare-and-set": "a place takes a write only at the revision that the write names",
    "recorded revision": "the write names the revision that was committed with `push.started`, not one read later",
    "wait for writes": "a place without compare-and-set is written once no earlier write to it can be under way",
    "lost writes too": "that wait covers a write whose answer was lost, not only those of an expired lease",
    "read-back": "a delivery is verified by reading the place, not by the acknowledgement",
    "confirmed": "a key counts as deleted when the provider lists it no more, not when it says so",
    "re-read": "every place is read anew before a key is taken away",
    "given": "an empty place counts as served by nobody only if the key was never given to it",
    "put-back": "an abandoned rotation that started a push puts the current key back",
    "fencing write": "a put-back writes also where the value is right already",
    "fenced for sure": "a put-back is verified only where the revision has moved on since its `push.started`",
    "put-back first": "nothing is taken away while a put-back is open",
    "put-back again": "a put-back that is abandoned is opened again",
    "wait for disable": "a cancelled retirement waits out a disable that may still be under way",
    "lost disables too": "that wait covers a disable whose answer was lost, not only one of an expired lease",
    "open delivery": "a place that was left out by `--without` is written as soon as it answers",
}
"""The rules of the protocol that can be left out, by name."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is explored: the kind of world, how often things go wrong in it, and the guards that are left out."""

    places: int = 2
    conditional: bool = True  # the places compare and set
    labels: bool = True  # a key carries the id of its row
    can_disable: bool = False
    slots: int | None = None
    adopted: bool = True  # a current key stands everywhere at first; else nothing does
    rotations: int = 1
    faults: int = 1  # answers lost, workers that die or stall, refusals, acknowledgements that are not true
    abandons: int = 0
    cancels: int = 0
    withouts: int = 0
    edits: int = 0  # by a person, at places
    hasty: bool = False  # they do so also in the moment between a look and a call
    strangers: int = 0  # keys that a person makes at the provider, at most one
    without: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        unknown = self.without - GUARDS.keys()
        if unknown:
            message = f"no such guard: {', '.join(sorted(unknown))}"
            raise ValueError(message)


FOREIGN = 255  # what stands at a place is nobody's we know

# Of a key at the provider.
NONE, LIVE, DISABLED, GONE = range(4)
# Of a version row.
ABSENT, PENDING, LIVING, CONDEMNED, RETIRED = range(5)
# Of a retirement. `-ING`: started is committed, the call may have been sent. BACK: what may be disabled is wanted back.
CLOSED, PLANNED, DISABLING, SOAKING, DELETING, BACK = range(6)
# Of the open rotation; the causes.
NEW, PUT_BACK, REUSE = range(1, 4)
# Of a delivery.
TO_PUSH, PUSHED, VERIFIED = range(3)
STARTED, UNMOVED = 4, 8  # a push may have been sent; the place has not moved on since
# Of a person's own key at the provider: made when no answer was lost; made in such a moment; used since; taken away.
ELSEWHEN, NEAR, USED, TAKEN = range(1, 5)
HIS = 2  # what `known` says where a row was given that key's id
# Flags of a place.
EDITED, EXCUSED, DOWN = 1, 2, 4
# Where a worker is. Calls that have an effect outside:
READY, CREATE, WRITE, DISABLE, ENABLE, DELETE, SWEEP = range(7)
CALLS = frozenset({CREATE, WRITE, DISABLE, ENABLE, DELETE, SWEEP})
# Their answers have come, the transaction has not been made:
RECORD, ACK, DISABLED_IT, ENABLED_IT, DELETED_IT = range(11, 16)
# Reads before a transaction:
LOOK, TAKE, REREAD, LIST = range(21, 25)
AFTER = {CREATE: RECORD, WRITE: ACK, DISABLE: DISABLED_IT, ENABLE: ENABLED_IT, DELETE: DELETED_IT, SWEEP: READY}
NAMES = {
    CREATE: "create v{0}",
    WRITE: "write v{0} to d{1}",
    DISABLE: "disable v{0}",
    ENABLE: "enable v{0}",
    DELETE: "delete v{0}",
    SWEEP: "delete v{0}",
}
WORKER = 4  # bytes of a worker: where it is, version, place, fresh
CALL = 5  # bytes of a call under way: what, version, place, fresh, sent under an expired lease


class Layout:
    """Where each number stands in a state."""

    def __init__(self, setting: Setting) -> None:
        places = setting.places
        self.versions = setting.adopted + setting.rotations + setting.faults + (not setting.adopted) * setting.abandons
        at = iter(range(256))

        def block(size: int) -> int:
            first = next(at)
            for _ in range(size - 1):
                next(at)
            return first

        self.value, self.flag, self.delivery = block(places), block(places), block(places)
        rows = self.versions + 1  # counted from 1
        self.key, self.row, self.known = block(rows), block(rows), block(rows)
        self.retirement, self.made, self.given = block(rows), block(rows), block(rows)
        self.cause, self.target, self.current = block(1), block(1), block(1)
        self.active, self.stale = block(WORKER), block(WORKER)
        self.faults, self.rotations, self.abandons = block(1), block(1), block(1)
        self.cancels, self.withouts, self.edits, self.strangers = block(1), block(1), block(1), block(1)
        self.stranger = block(1)
        self.calls = block(max(CALL * setting.faults, 1))
        self.size = next(at)
        self.call_starts = range(self.calls, self.calls + CALL * setting.faults, CALL)
