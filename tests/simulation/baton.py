"""Virtual time, and the baton: of all actors exactly one runs, and passes the baton only where it waits.

An actor is a thread that holds the baton while it runs. Nothing here depends on how the operating system schedules
threads, so that a run is a pure function of its seed.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from random import Random


class OverError(BaseException):
    """The play is over; every actor leaves."""


class Actor:
    """Somebody who can hold the baton."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.turn = threading.Lock()
        self.turn.acquire()


class Baton:
    """Seconds since the start, what is to come, and who runs. The thread that makes it is the first actor."""

    def __init__(self, random: Random) -> None:
        self.now = 0.0
        self.over = False
        self.problem: BaseException | None = None
        self.director = Actor("director")
        self.holder = self.director
        self._random = random
        self._agenda: list[tuple[float, float, int, Actor | Callable[[], None]]] = []
        self._order = itertools.count()
        self._threads: list[tuple[Actor, threading.Thread]] = []

    def at(self, when: float, what: Actor | Callable[[], None]) -> None:
        """Let something happen, or somebody go on, at this time. Of what falls together, chance says the order."""
        heapq.heappush(self._agenda, (when, self._random.random(), next(self._order), what))

    def start(self, actor: Actor, act: Callable[[], None]) -> None:
        """A new actor, whose turn comes as time goes on."""

        def run() -> None:
            actor.turn.acquire()
            try:
                if not self.over:
                    act()
            except OverError:
                pass
            except BaseException as problem:  # noqa: BLE001 - carried over to the director
                self.problem = self.problem or problem
            if self.over:
                return
            if self.problem is not None:
                self._hand_to(self.director)
            else:
                self._next(actor, leaving=True)

        thread = threading.Thread(target=run, daemon=True, name=actor.name)
        self._threads.append((actor, thread))
        self.at(self.now, actor)
        thread.start()

    def pause(self, seconds: float) -> None:
        """The actor that holds the baton waits; others run, and time goes on."""
        if self.over:
            raise OverError  # also for those who tidy up on their way out
        until = self.now + seconds
        if not self._agenda or self._agenda[0][0] > until:
            self.now = until
            return
        me = self.holder
        self.at(until, me)
        self._next(me)

    def park(self) -> None:
        """The actor that holds the baton waits until somebody names it in `at`."""
        if self.over:
            raise OverError
        self._next(self.holder)

    def _next(self, me: Actor, *, leaving: bool = False) -> None:
        while True:
            when, _, _, what = heapq.heappop(self._agenda)
            self.now = max(self.now, when)
            if not isinstance(what, Actor):
                what()
                continue
            if what is me:
                return
            self._hand_to(what)
            if not leaving:
                self._wait(me)
            return

    def _hand_to(self, actor: Actor) -> None:
        self.holder = actor
        actor.turn.release()

    def _wait(self, me: Actor) -> None:
        me.turn.acquire()
        if self.problem is not None and me is self.director:
            raise self.problem
        if self.over:
            raise OverError

    def end(self) -> None:
        """The director ends the play: every other actor leaves."""
        self.over = True
        for actor, thread in self._threads:
            if thread.is_alive():
                actor.turn.release()
                thread.join()
