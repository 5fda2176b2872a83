"""What is outside the service, and persons: keys, places, the network, and calls that nobody waits for any more."""

from __future__ import annotations

from collections.abc import Iterator

from docs.model.checker import Move, State
from docs.model.setting import (
    CALL,
    CLOSED,
    CREATE,
    DELETE,
    DISABLE,
    DISABLED,
    DOWN,
    EDITED,
    ENABLE,
    FOREIGN,
    GONE,
    HIS,
    LIVE,
    LIVING,
    NAMES,
    NONE,
    PLANNED,
    READY,
    SWEEP,
    TAKEN,
    TO_PUSH,
    UNMOVED,
    WORKER,
    WRITE,
    Layout,
    Setting,
)


class World:
    """The state of everything, and what happens to it by itself."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.at = Layout(setting)
        self.all_versions = range(1, self.at.versions + 1)
        self.all_places = range(setting.places)

    def has(self, guard: str) -> bool:
        """Whether this guard of the protocol stands."""
        return guard not in self.setting.without

    def _network(self, state: State) -> Iterator[Move]:
        """A call under way takes effect, or never does. Waiting a call out means: after either."""
        at = self.at
        for call in self._calls(state):
            what, version, place, fresh = state[call : call + 4]
            landed, lost = bytearray(state), bytearray(state)
            self._forget(landed, call)
            self._effect(landed, what, version, place, fresh)
            self._forget(lost, call)
            yield Move("late: " + NAMES[what] + " takes effect", (version, place), bytes(landed), quiet=True)
            yield Move("the lost " + NAMES[what] + " never takes effect", (version, place), bytes(lost), quiet=True)
        for place in self.all_places:
            if state[at.flag + place] & DOWN:
                yield self._put("d{} answers again", (place,), state, at.flag + place, state[at.flag + place] & ~DOWN)

    def _effect(self, state: bytearray, what: int, version: int, place: int, fresh: int) -> bool:
        """What a call does in the world; False where the place refuses it."""
        at = self.at
        if what == CREATE:
            state[at.key + version] = LIVE
            state[at.made + version] += 1
        elif what == WRITE:
            if self.setting.conditional and self.has("compare-and-set") and not fresh & 1:
                return False
            state[at.value + place] = version
            state[at.flag + place] &= ~EDITED
            self._moved(state, place)
        elif what in (DISABLE, DELETE) and state[at.known + version] == HIS:
            state[at.stranger] = TAKEN
        elif what == DISABLE and state[at.key + version] == LIVE:
            state[at.key + version] = DISABLED
        elif what == ENABLE and state[at.key + version] == DISABLED:
            state[at.key + version] = LIVE
        elif what in (DELETE, SWEEP) and state[at.key + version] != NONE:
            state[at.key + version] = GONE
        return True

    def _moved(self, state: bytearray, place: int) -> None:
        """The place has a new revision: a write that names an earlier one is refused from now on."""
        for call in (self.at.active, self.at.stale, *self.at.call_starts):
            if state[call] == WRITE and state[call + 2] == place:
                state[call + 3] = 0
        state[self.at.delivery + place] &= ~UNMOVED
        self._sort(state)

    def _edits(self, state: State) -> Iterator[Move]:
        """A person writes at a place: a value we do not know, or an older key of ours that still works."""
        at = self.at
        if self.setting.withouts and state[at.edits]:
            for place in self.all_places:
                if not state[at.flag + place] & DOWN:
                    down = self._less(state, at.edits)
                    flag = state[at.flag + place] | DOWN
                    yield self._put("d{} stops answering", (place,), down, at.flag + place, flag, quiet=False)
            return
        if not state[at.edits]:
            return
        old = [v for v in self.all_versions if v != state[at.current] and self._may_be_put_by_hand(state, v)]
        for place in self.all_places:
            for value in (FOREIGN, *old):
                if value == state[at.value + place]:
                    continue
                after = bytearray(self._less(state, at.edits))
                after[at.value + place] = value
                after[at.flag + place] |= EDITED
                self._moved(after, place)
                what = "something" if value == FOREIGN else f"v{value}"
                yield Move("a person puts {} at d{}", (what, place), bytes(after), quiet=False)

    def _may_be_put_by_hand(self, state: State, version: int) -> bool:
        """Not while it is just being taken away: a look and a call are two moments, and nothing joins them."""
        at = self.at
        if state[at.row + version] != LIVING or state[at.key + version] != LIVE:
            return False
        if self.setting.hasty:
            return True
        if state[at.retirement + version] not in (CLOSED, PLANNED):
            return False
        workers = (at.active, at.stale)
        return not any(state[w] != READY and state[w + 1] == version for w in workers)

    def _listed(self, state: State, version: int) -> bool:
        return state[self.at.key + version] in (LIVE, DISABLED)

    def _write_under_way(self, state: State, place: int) -> bool:
        everything = self.has("lost writes too")
        if state[self.at.stale] == WRITE and state[self.at.stale + 2] == place:
            return True
        calls = (c for c in self._calls(state) if state[c] == WRITE and state[c + 2] == place)
        return any(everything or state[c + 4] for c in calls)

    def _call_under_way(self, state: State, what: int, version: int, *, everything: bool) -> bool:
        stale = self.at.stale
        if state[stale] == what and state[stale + 1] == version:
            return True
        calls = (c for c in self._calls(state) if state[c] == what and state[c + 1] == version)
        return any(everything or state[c + 4] for c in calls)

    def _calls(self, state: State) -> list[int]:
        return [call for call in self.at.call_starts if state[call]]

    def _under_way(self, state: bytearray, call: bytes, *, expired: int) -> None:
        free = next(c for c in self.at.call_starts if not state[c])
        state[free : free + CALL] = bytes((*call, expired))
        self._sort(state)

    def _forget(self, state: bytearray, call: int) -> None:
        state[call : call + CALL] = bytes(CALL)
        self._sort(state)

    def _expire(self, state: bytearray) -> None:
        """A lease ran out: what was sent under it may be waited for by its time."""
        if self.has("lost writes too") and self.has("lost disables too"):
            return  # nobody asks under which lease a call was sent
        for call in self.at.call_starts:
            if state[call]:
                state[call + 4] = 1

    def _sort(self, state: bytearray) -> None:
        """Calls under way have no order: one state for all of theirs."""
        if self.setting.faults > 1:
            calls = sorted((bytes(state[c : c + CALL]) for c in self.at.call_starts), reverse=True)
            state[self.at.calls : self.at.calls + CALL * self.setting.faults] = b"".join(calls)

    def _plan(self, state: bytearray) -> None:
        for place in self.all_places:
            state[self.at.delivery + place] = TO_PUSH

    def _close(self, state: bytearray) -> None:
        state[self.at.cause] = state[self.at.target] = 0
        self._plan(state)

    def _less(self, state: State, counter: int) -> State:
        after = bytearray(state)
        after[counter] -= 1
        return bytes(after)

    def _fault(self, state: State) -> bytearray:
        return bytearray(self._less(state, self.at.faults))

    def _set(self, state: bytearray, worker: int, where: int, version: int = 0, place: int = 0, fresh: int = 0) -> None:
        state[worker : worker + WORKER] = bytes((where, version, place, fresh))

    def _go(
        self,
        text: str,
        state: State,
        worker: int,
        where: int,
        version: int = 0,
        place: int = 0,
        fresh: int = 0,
        *,
        said: tuple[int, int] | None = None,
    ) -> Move:
        after = bytearray(state)
        self._set(after, worker, where, version, place, fresh)
        return Move(text, said or (version, place), bytes(after), quiet=True)

    def _put(
        self, text: str, said: tuple[object, ...], state: State, at: int, value: int, *, quiet: bool = True
    ) -> Move:
        after = bytearray(state)
        after[at] = value
        return Move(text, said, bytes(after), quiet)
