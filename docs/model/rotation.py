"""The transactions of a rotation, as rotator/engine/rotation.py and creation.py have them."""

from __future__ import annotations

from collections.abc import Iterator

from docs.model.checker import Move, State
from docs.model.setting import (
    ABSENT,
    BACK,
    CLOSED,
    CONDEMNED,
    CREATE,
    DISABLING,
    DOWN,
    ELSEWHEN,
    EXCUSED,
    FOREIGN,
    LIVE,
    LIVING,
    NEAR,
    NEW,
    PENDING,
    PLANNED,
    PUSHED,
    PUT_BACK,
    READY,
    REREAD,
    REUSE,
    SOAKING,
    STARTED,
    SWEEP,
    TO_PUSH,
    UNMOVED,
    USED,
    VERIFIED,
    WRITE,
)
from docs.model.world import World


class Rotating(World):
    """What makes a version current."""

    def _condemn_lost(self, state: State, version: int) -> Move:
        """No answer was recorded: the row is condemned, a retirement looks for its key, the rotation goes on."""
        at = self.at
        after = bytearray(state)
        after[at.row + version], after[at.retirement + version] = CONDEMNED, PLANNED
        if state[at.target] == version:
            after[at.target] = 0
        return Move("condemns v{}, whose answer is lost", (version,), bytes(after), quiet=True)

    def _open(self, state: State) -> Iterator[Move]:
        """A rotation is due. Without any current key that is so at once; else it is what we explore."""
        at = self.at
        due = not state[at.current]
        if not state[at.rotations] and not due:
            return
        known = [v for v in self.all_versions if self._listed(state, v) and state[at.known + v]]
        if self.setting.slots is not None and len(known) >= self.setting.slots:
            return
        after = bytearray(state)
        after[at.cause], after[at.target] = NEW, 0
        after[at.rotations] = max(state[at.rotations] - 1, 0)
        self._plan(after)
        yield Move("opens a rotation", (), bytes(after), quiet=due)

    def _create(self, state: State) -> Iterator[Move]:
        """Preflight, the intent, the request. A lost key is looked for first."""
        at = self.at
        if any(state[at.retirement + v] and not state[at.known + v] for v in self.all_versions):
            return
        if any(state[at.value + p] == FOREIGN for p in self.all_places):
            return
        used = [v for v in self.all_versions if state[at.row + v] != ABSENT or state[at.made + v]]
        following = max(used, default=0) + 1
        if following > self.at.versions:
            return
        listed = [v for v in self.all_versions if self._listed(state, v)]
        taken = len(listed) + (state[at.stranger] != 0)
        if self.setting.slots is not None and taken >= self.setting.slots:
            if not self.has("no delete for a slot"):
                yield self._go("deletes the oldest key, v{}, for its slot", state, at.active, SWEEP, listed[0])
            return
        after = bytearray(state)
        if self.has("intent"):
            after[at.row + following], after[at.target] = PENDING, following
        self._set(after, at.active, CREATE, following)
        yield Move("commits create.started of v{}", (following,), bytes(after), quiet=True)

    def _record(self, state: State, worker: int, version: int) -> Iterator[Move]:
        at = self.at
        after = bytearray(state)
        self._set(after, worker, READY)
        if self.has("intent"):
            expected = state[at.row + version] == PENDING and not state[at.known + version]
        else:
            expected = state[at.cause] == NEW and not state[at.target]
        if expected:
            after[at.row + version], after[at.known + version], after[at.target] = PENDING, 1, version
            yield Move("records the answer: v{} is created", (version,), bytes(after), quiet=True)
        else:
            yield Move("the rows have moved on: v{} is not recorded", (version,), bytes(after), quiet=True)

    def _deliver(self, state: State) -> Iterator[Move]:
        at = self.at
        version, cause = state[at.target], state[at.cause]
        if state[at.retirement + version] == BACK:
            return  # enabled first
        for place in self.all_places:
            delivery = state[at.delivery + place] & 3
            if state[at.flag + place] & DOWN:
                continue
            if delivery == TO_PUSH:
                yield from self._push(state, version, cause, place)
            elif delivery == PUSHED:
                yield from self._verify(state, version, place)
        open_at = [p for p in self.all_places if state[at.delivery + p] & 3 != VERIFIED]
        if all(state[at.flag + p] & EXCUSED for p in open_at) and state[at.key + version] == LIVE:
            yield self._promote(state, version, open_at)

    def _push(self, state: State, version: int, cause: int, place: int) -> Iterator[Move]:
        """Look, commit the revision seen with `push.started`, then write on condition of it."""
        at = self.at
        value = state[at.value + place]
        if value == FOREIGN or state[at.key + version] != LIVE:
            return
        after = bytearray(state)
        if value == version and (cause != PUT_BACK or not self.has("fencing write")):
            after[at.delivery + place] = state[at.delivery + place] & STARTED | PUSHED
            yield Move("v{} stands at d{} already", (version, place), bytes(after), quiet=True)
            return
        if not self.setting.conditional and self.has("wait for writes") and self._write_under_way(state, place):
            return
        after[at.delivery + place] |= STARTED | (UNMOVED if cause == PUT_BACK and self.setting.conditional else 0)
        if not state[at.current]:
            after[at.given + version] |= 1 << place
        self._set(after, at.active, WRITE if self.has("recorded revision") else REREAD, version, place, 1)
        yield Move(
            "commits push.started of v{} to d{}, with the revision seen", (version, place), bytes(after), quiet=True
        )

    def _acknowledge(self, state: State, worker: int, version: int, place: int) -> Iterator[Move]:
        at = self.at
        after = bytearray(state)
        self._set(after, worker, READY)
        delivery = state[at.delivery + place]
        if state[at.cause] and state[at.target] == version and delivery & 3 == TO_PUSH:
            done = PUSHED if self.has("read-back") else VERIFIED
            after[at.delivery + place] = delivery & (STARTED | UNMOVED) | done
        elif worker == at.stale and place + 1 < self.setting.places:
            # Without the epoch a worker that sleeps through everything goes on with its own, closed rotation.
            self._set(after, worker, WRITE, version, place + 1, 1)
        yield Move("records v{} as pushed to d{}", (version, place), bytes(after), quiet=True)

    def _verify(self, state: State, version: int, place: int) -> Iterator[Move]:
        """Read back, and try what was read."""
        at = self.at
        value = state[at.value + place]
        if value == FOREIGN or state[at.key + version] != LIVE:
            return
        after = bytearray(state)
        unmoved = state[at.delivery + place] & UNMOVED and self.has("fenced for sure")
        if value == version and not unmoved:
            after[at.delivery + place] = state[at.delivery + place] & STARTED | VERIFIED
            after[at.flag + place] &= ~EXCUSED
            yield Move("reads v{} back from d{}", (version, place), bytes(after), quiet=True)
        else:
            after[at.delivery + place] = state[at.delivery + place] & STARTED | TO_PUSH
            yield Move("v{} is not at d{}: push again", (version, place), bytes(after), quiet=True)

    def _promote(self, state: State, version: int, open_at: list[int]) -> Move:
        at = self.at
        after = bytearray(state)
        current = state[at.current]
        if current and current != version:
            after[at.retirement + current] = PLANNED
        after[at.row + version], after[at.current] = LIVING, version
        after[at.retirement + version] = CLOSED
        self._close(after)
        if open_at and self.has("open delivery"):
            after[at.cause], after[at.target] = PUT_BACK, version
            for place in self.all_places:
                after[at.delivery + place] = TO_PUSH if place in open_at else VERIFIED
        for row in self.all_versions:
            after[at.given + row] = 0  # every place has been written since
        return Move("promotes v{}", (version,), bytes(after), quiet=True)

    def _persons(self, state: State) -> Iterator[Move]:
        at = self.at
        if state[at.abandons] and state[at.cause]:
            yield self._abandon(state)
        if state[at.strangers]:
            after = bytearray(self._less(state, at.strangers))
            lost = any(state[at.row + v] in (PENDING, CONDEMNED) and not state[at.known + v] for v in self.all_versions)
            after[at.stranger] = NEAR if lost else ELSEWHEN
            yield Move("a person makes a key", (), bytes(after), quiet=False)
        if state[at.stranger] == NEAR:
            yield self._put("the person uses it", (), state, at.stranger, USED, quiet=False)
        if state[at.cancels] and not state[at.cause]:
            for version in self.all_versions:
                yield from self._cancel(state, version)
        if state[at.withouts] and state[at.cause] == NEW and state[at.target] and state[at.current]:
            for place in self.all_places:
                flag = state[at.flag + place]
                if flag & DOWN and state[at.delivery + place] & 3 != VERIFIED and not flag & EXCUSED:
                    after = bytearray(state)
                    after[at.withouts] -= 1
                    after[at.flag + place] |= EXCUSED
                    yield Move("a person says `--without d{}`", (place,), bytes(after), quiet=False)

    def _abandon(self, state: State) -> Move:
        """One transaction: the key is condemned, and what may have been pushed is put back."""
        at = self.at
        cause, version, current = state[at.cause], state[at.target], state[at.current]
        started = any(state[at.delivery + place] & STARTED for place in self.all_places)
        after = bytearray(state)
        after[at.abandons] -= 1
        if cause == NEW and version:
            after[at.row + version], after[at.retirement + version] = CONDEMNED, PLANNED
        if cause == REUSE:  # it goes where it was going before; it may be disabled still
            after[at.retirement + version] = DISABLING if state[at.retirement + version] == BACK else PLANNED
        if cause == NEW:
            for place in self.all_places:
                after[at.flag + place] &= ~EXCUSED  # `--without` was said of this rotation
        self._close(after)
        again = cause == PUT_BACK and self.has("put-back again")
        if current and self.has("put-back") and (started or again):
            after[at.cause], after[at.target] = PUT_BACK, current
        return Move("a person abandons the rotation to v{}", (version,), bytes(after), quiet=False)

    def _cancel(self, state: State, version: int) -> Iterator[Move]:
        """Roll back to a version that is being retired: from this record on nothing more is taken away from it."""
        at = self.at
        retirement = state[at.retirement + version]
        if state[at.row + version] != LIVING or retirement not in (PLANNED, DISABLING, SOAKING):
            return
        after = bytearray(self._less(state, at.cancels))
        after[at.retirement + version] = CLOSED if retirement == PLANNED else BACK
        after[at.cause], after[at.target] = REUSE, version
        self._plan(after)
        yield Move("a person rolls back to v{}", (version,), bytes(after), quiet=False)
