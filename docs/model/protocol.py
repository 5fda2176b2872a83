"""The rotation protocol of one credential as a state machine: its rows, its workers, and the world around them.

A step of a worker is one call to the outside, or one transaction. What the model leaves out, and why that hides
nothing, is in README.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from docs.model.checker import Move, State
from docs.model.retirement import Retiring
from docs.model.rotation import Rotating
from docs.model.setting import (
    ACK,
    AFTER,
    BACK,
    CALLS,
    CLOSED,
    CONDEMNED,
    CREATE,
    DELETE,
    DELETED_IT,
    DELETING,
    DISABLED,
    DISABLED_IT,
    DISABLING,
    DOWN,
    EDITED,
    ENABLE,
    ENABLED_IT,
    EXCUSED,
    FOREIGN,
    GONE,
    HIS,
    LIST,
    LIVE,
    LIVING,
    LOOK,
    NAMES,
    NEAR,
    NONE,
    PENDING,
    READY,
    RECORD,
    REREAD,
    RETIRED,
    SOAKING,
    TAKE,
    TAKEN,
    USED,
    WORKER,
    WRITE,
)


class Protocol(Rotating, Retiring):
    """The machine that `checker.search` explores."""

    def initial(self) -> State:
        """Adopted: version 1 is current and stands everywhere. Else: nothing is anywhere."""
        at, setting = self.at, self.setting
        state = bytearray(at.size)
        if setting.adopted:
            for place in self.all_places:
                state[at.value + place] = 1
            state[at.key + 1], state[at.row + 1], state[at.known + 1], state[at.current] = LIVE, LIVING, 1, 1
            state[at.made + 1] = 1
        state[at.faults], state[at.rotations], state[at.abandons] = setting.faults, setting.rotations, setting.abandons
        state[at.cancels], state[at.withouts], state[at.edits] = setting.cancels, setting.withouts, setting.edits
        state[at.strangers] = setting.strangers
        return bytes(state)

    def wrong(self, state: State) -> str | None:
        """The promise that this state breaks."""
        at = self.at
        for place in self.all_places:
            value = state[at.value + place]
            if value in (0, FOREIGN) or state[at.key + value] == LIVE or state[at.flag + place] & EXCUSED:
                continue
            return f"outage: d{place} serves v{value}, which is dead"
        current = state[at.current]
        if current and state[at.key + current] != LIVE:
            return f"the last verified key, v{current}, is dead"
        if state[at.stranger] == TAKEN:
            return "a person's own key was taken for a lost one"
        for version in self.all_versions:
            if state[at.made + version] > 1:
                return f"two requests to create were sent for the row of v{version}"
            if state[at.key + version] in (LIVE, DISABLED) and not self._accounted_for(state, version):
                return f"stray key: nothing on record leads to v{version}"
        return None

    def _accounted_for(self, state: State, version: int) -> bool:
        at = self.at
        row = state[at.row + version]
        if row == PENDING:
            return True  # the intent is open: an answer, or the search for a lost one, follows
        if row in (LIVING, CONDEMNED):
            in_use = state[at.current] == version or (state[at.cause] and state[at.target] == version)
            return bool(in_use or state[at.retirement + version])
        if row == RETIRED:
            return False
        workers = (at.active, at.stale)  # no row: a worker that is about to record one may hold the answer
        return any(state[w] == RECORD and state[w + 1] == version for w in workers)

    def settled(self, state: State) -> bool:
        """Quiet and good; or quiet as far as a person's own value at a place lets it be."""
        at = self.at
        if state[at.active] != READY or state[at.stale] != READY or self._calls(state):
            return False
        if any(state[at.flag + place] & EDITED for place in self.all_places):
            return True
        if state[at.stranger] in (NEAR, USED) and any(self._ambiguous(state, v) for v in self.all_versions):
            return True
        current = state[at.current]
        if not current or state[at.cause] or any(state[at.retirement + v] for v in self.all_versions):
            return False
        if any(state[at.value + p] != current or state[at.flag + p] for p in self.all_places):
            return False
        return all(state[at.key + v] in (NONE, GONE) for v in self.all_versions if v != current)

    def _ambiguous(self, state: State, version: int) -> bool:
        """A retirement that waits for a person to say which key is whose."""
        at = self.at
        if self.setting.labels or not state[at.retirement + version]:
            return False
        return state[at.known + version] in (0, HIS)

    def moves(self, state: State) -> Iterator[Move]:
        """What workers, the network, persons and bad luck may do next."""
        at = self.at
        yield from self._network(state)
        if state[at.stale] != READY:
            yield from self._step(state, at.stale)
        if state[at.active] == READY:
            yield from self._begin(state)
            yield from self._persons(state)
        else:
            yield from self._step(state, at.active)
            yield from self._stall(state)
        yield from self._edits(state)

    def _begin(self, state: State) -> Iterator[Move]:
        at = self.at
        lost = [v for v in self.all_versions if state[at.row + v] == PENDING and not state[at.known + v]]
        for version in lost:
            yield self._condemn_lost(state, version)
        if not self.has("fenced condemn"):
            yield self._go("begins to sweep", state, at.active, LIST)
        if not lost:
            cause = state[at.cause]
            if not cause:
                yield from self._open(state)
            elif not state[at.target]:
                yield from self._create(state)
            else:
                yield from self._deliver(state)
        for version in self.all_versions:
            if state[at.retirement + version]:
                yield from self._retire(state, version)

    def _step(self, state: State, worker: int) -> Iterator[Move]:
        """The next call, or the next transaction, of a worker that is in the middle of something."""
        where, version, place = state[worker : worker + 3]
        if where in CALLS:
            yield from self._send(state, worker)
        elif where == LOOK:
            yield from self._look(state, worker)
        elif where == LIST:
            yield from self._list(state, worker)
        elif where == REREAD:
            yield self._go("reads d{1} once more", state, worker, WRITE, version, place, 1)
        elif worker == self.at.stale and self.has("epoch"):
            yield self._go("stale worker: the transaction is refused", state, worker, READY)
        else:
            yield from self._commit(state, worker)

    def _send(self, state: State, worker: int) -> Iterator[Move]:
        at = self.at
        what, version, place, fresh = state[worker : worker + 4]
        name = ("stale worker: " if worker == at.stale else "") + NAMES[what]
        if what == WRITE and state[at.flag + place] & DOWN:
            yield self._go(name + " fails: d{1} does not answer", state, worker, READY, said=(version, place))
            return
        answered = bytearray(state)
        if self._effect(answered, what, version, place, fresh):
            self._set(answered, worker, AFTER[what], *((version, place) if AFTER[what] else ()))
            yield Move(name, (version, place), bytes(answered), quiet=True)
        else:
            yield from self._conflict(state, worker, name, version, place)
        if worker == at.stale:
            yield self._go(name + " is never sent", state, worker, READY, said=(version, place))
        elif state[at.faults]:
            yield from self._bad_answers(state, worker, name, what, version, place)

    def _conflict(self, state: State, worker: int, name: str, version: int, place: int) -> Iterator[Move]:
        text = name + " is refused: d{1} has moved on"
        following = place + 1
        if worker == self.at.stale and not self.has("epoch") and following < self.setting.places:
            yield self._go(text, state, worker, WRITE, version, following, 1, said=(version, place))
        else:
            yield self._go(text, state, worker, READY, said=(version, place))

    def _bad_answers(self, state: State, worker: int, name: str, what: int, version: int, place: int) -> Iterator[Move]:
        at = self.at
        said = (version, place)
        lost = self._fault(state)
        self._under_way(lost, state[worker : worker + 4], expired=0)
        if what != CREATE or self.has("one create"):
            self._set(lost, worker, READY)
        yield Move(name + ": the answer is lost", said, bytes(lost), quiet=False)
        died = self._fault(state)
        self._under_way(died, state[worker : worker + 4], expired=0)
        self._set(died, worker, READY)
        self._expire(died)
        if bytes(died) != bytes(lost):
            yield Move(name + ": the worker dies", said, bytes(died), quiet=False)
        if what == CREATE:
            no = self._fault(state)
            self._set(no, worker, READY)
            if self.has("intent"):
                no[at.row + version], no[at.target] = RETIRED, 0
            yield Move(name + " fails for certain", said, bytes(no), quiet=False)
        elif what in (WRITE, ENABLE, DELETE):
            lie = self._fault(state)
            self._set(lie, worker, AFTER[what], version, place)
            yield Move(name + " is acknowledged but does not happen", said, bytes(lie), quiet=False)

    def _stall(self, state: State) -> Iterator[Move]:
        """The worker's lease expires in the middle of something; another one takes over."""
        at = self.at
        if not state[at.faults] or state[at.stale] != READY:
            return
        if state[at.active] not in {*CALLS, LIST, REREAD} and self.has("epoch"):
            return  # all that it could still do is a transaction that is refused
        stalled = self._fault(state)
        stalled[at.stale : at.stale + WORKER] = state[at.active : at.active + WORKER]
        self._set(stalled, at.active, READY)
        self._expire(stalled)
        yield Move("the worker stalls, its lease expires, another one takes over", (), bytes(stalled), quiet=False)

    def _commit(self, state: State, worker: int) -> Iterator[Move]:
        """A transaction. Guarded by the rows: where they are not as expected, nothing is changed."""
        at = self.at
        where, version, place, purpose = state[worker : worker + 4]
        retirement = state[at.retirement + version]
        if where == RECORD:
            yield from self._record(state, worker, version)
        elif where == ACK:
            yield from self._acknowledge(state, worker, version, place)
        elif where == TAKE:
            yield from self._take(state, worker, version, purpose)
        else:
            after = bytearray(state)
            self._set(after, worker, READY)
            gone = state[at.key + version] == GONE or not self.has("confirmed")
            if where == DISABLED_IT and retirement == DISABLING:
                after[at.retirement + version] = SOAKING
            elif where == ENABLED_IT and retirement == BACK and state[at.key + version] == LIVE:
                after[at.retirement + version] = CLOSED
            elif where == DELETED_IT and retirement == DELETING and gone:
                after[at.retirement + version], after[at.row + version] = CLOSED, RETIRED
                after[at.given + version] = 0
            yield Move("records it", (), bytes(after), quiet=True)
