"""The transactions of a retirement, as rotator/engine/retirement.py has them."""

from __future__ import annotations

from collections.abc import Iterator

from docs.model.checker import Move, State
from docs.model.setting import (
    BACK,
    CLOSED,
    CONDEMNED,
    CREATE,
    DELETE,
    DELETING,
    DISABLE,
    DISABLING,
    DOWN,
    ENABLE,
    EXCUSED,
    FOREIGN,
    HIS,
    LIVE,
    LOOK,
    NEAR,
    PLANNED,
    PUT_BACK,
    READY,
    RETIRED,
    SOAKING,
    SWEEP,
    TAKE,
    USED,
    VERIFIED,
)
from docs.model.world import World


class Retiring(World):
    """What takes a version away."""

    def _retire(self, state: State, version: int) -> Iterator[Move]:
        at = self.at
        if not state[at.known + version]:
            yield from self._locate(state, version)
            return
        retirement = state[at.retirement + version]
        if retirement == BACK:
            everything = self.has("lost disables too")
            under_way = self._call_under_way(state, DISABLE, version, everything=everything)
            if not under_way or not self.has("wait for disable"):
                yield self._go("commits enable.started of v{}", state, at.active, ENABLE, version)
            return
        purpose = DELETE if retirement in self._may_delete_from else DISABLE
        if self._held(state, version):
            return
        if state[at.known + version] == HIS and state[at.stranger] == USED and purpose == DISABLE:
            return  # somebody uses it: a person has to say
        if self.has("re-read"):
            yield self._go("looks around before it takes v{} away", state, at.active, LOOK, version, 0, purpose)
        else:
            yield self._go("takes v{} away without looking", state, at.active, TAKE, version, 0, purpose)

    @property
    def _may_delete_from(self) -> tuple[int, ...]:
        return (SOAKING, DELETING) if self.setting.can_disable else (PLANNED, DELETING)

    def _held(self, state: State, version: int) -> bool:
        """What the rows and the provider say before any place is looked at."""
        at = self.at
        open_places = [p for p in self.all_places if state[at.delivery + p] & 3 != VERIFIED]
        unfinished = any(not state[at.flag + p] & EXCUSED for p in open_places)
        if state[at.cause] == PUT_BACK and unfinished and self.has("put-back first"):
            return True
        current = state[at.current]
        if not current:
            return state[at.row + version] != CONDEMNED
        return current == version or state[at.key + current] != LIVE

    def _look(self, state: State, worker: int) -> Iterator[Move]:
        """One place is read: it must positively serve another version that stays."""
        _, version, place, purpose = state[worker : worker + 4]
        if not self._serves_another(state, version, place):
            yield self._go("d{1} holds the retirement of v{0}", state, worker, READY, said=(version, place))
        elif place + 1 < self.setting.places:
            yield self._go("d{1} is fine", state, worker, LOOK, version, place + 1, purpose, said=(version, place))
        elif self._held(state, version):
            yield self._go("the retirement of v{0} is held", state, worker, READY, said=(version, place))
        else:
            yield self._go("d{1} is fine, too", state, worker, TAKE, version, 0, purpose, said=(version, place))

    def _serves_another(self, state: State, version: int, place: int) -> bool:
        at = self.at
        value, flag = state[at.value + place], state[at.flag + place]
        if flag & EXCUSED:
            return True  # a person said that what is read there does not matter
        if flag & DOWN:
            return False
        if value == 0:
            given = state[at.given + version] >> place & 1 and self.has("given")
            return state[at.row + version] == CONDEMNED and not given
        return value not in (FOREIGN, version) and state[at.row + value] != CONDEMNED

    def _take(self, state: State, worker: int, version: int, purpose: int) -> Iterator[Move]:
        """All gates hold: what is about to be done is committed first."""
        at = self.at
        allowed = self._may_delete_from if purpose == DELETE else (PLANNED, DISABLING)
        after = bytearray(state)
        if state[at.retirement + version] not in allowed:
            self._set(after, worker, READY)
            yield Move("the rows have moved on: v{} is not taken away", (version,), bytes(after), quiet=True)
            return
        after[at.retirement + version] = DELETING if purpose == DELETE else DISABLING
        self._set(after, worker, purpose, version)
        started = "delete.started" if purpose == DELETE else "disable.started"
        yield Move("commits {} of v{}", (started, version), bytes(after), quiet=True)

    def _locate(self, state: State, version: int) -> Iterator[Move]:
        """The key of an unanswered request, once that request can take effect no more and lists show it."""
        at = self.at
        if self.has("wait for create") and self._call_under_way(state, CREATE, version, everything=True):
            return
        after = bytearray(state)
        near = not self.setting.labels and state[at.stranger] in (NEAR, USED)
        if near and (state[at.stranger] == USED or self._listed(state, version)):
            return  # ambiguous: blocked, with all keys named
        if near:
            after[at.known + version] = HIS
            yield Move("takes a person's key for that of v{}", (version,), bytes(after), quiet=True)
        elif self._listed(state, version):
            after[at.known + version] = 1
            yield Move("finds the key of v{}", (version,), bytes(after), quiet=True)
        else:
            after[at.retirement + version], after[at.row + version] = CLOSED, RETIRED
            yield Move("v{} was never created", (version,), bytes(after), quiet=True)

    def _list(self, state: State, worker: int) -> Iterator[Move]:
        """Not ours: what a sweeper does that lists the provider's keys and deletes those it finds no row for."""
        unknown = [v for v in self.all_versions if self._listed(state, v) and not state[self.at.known + v]]
        if not unknown:
            yield self._go("lists keys and knows them all", state, worker, READY)
        for version in unknown:
            yield self._go("lists keys and does not know v{}", state, worker, SWEEP, version)
