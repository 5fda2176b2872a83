"""Every moment at which a run may end: before and after each call to the outside and each commit, found by counting."""

from __future__ import annotations

import functools
import inspect
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rotator.domain.errors import LostAnswer, StoreUnavailable
from rotator.ports.destination import Destination, Shadow
from rotator.ports.hook import Hook
from rotator.ports.provider import Asks, Chooses, Disables, Issues, Provider
from rotator.ports.store import Store
from rotator.wiring import Seam

T = TypeVar("T")

PORTS: dict[str, tuple[type, ...]] = {
    "provider": (Provider, Issues, Chooses, Asks, Disables),
    "destination": (Destination, Shadow),
    "hook": (Hook,),
    "store": (Store,),
}

READS = frozenset(
    {
        "account",
        "counts",
        "credentials",
        "events",
        "findings",
        "fleet",
        "found_since",
        "head",
        "home",
        "installation",
        "known_keys",
        "last_event_at",
        "lease",
        "load",
        "material",
        "now",
        "placed",
        "request",
        "requests",
        "samples",
        "sampling",
        "sightings",
        "version",
    }
)
"""The store's methods that change nothing: the moments around them are those around their neighbours.

A method that is not named here is a crash point, so a new one is met without anyone remembering.
"""

Strike = Callable[[str, str], None]
"""What happens at the moment: given the port's kind and the moment's label."""


def calls(kind: str) -> list[str]:
    """The names of all methods of a kind of port, from its Protocols."""
    found = [name for port in PORTS[kind] for name, _ in inspect.getmembers(port, inspect.isfunction)]
    return sorted({name for name in found if not name.startswith("_") and not (kind == "store" and name in READS)})


class Points(Seam):
    """Counts the moments before and after each call, and strikes at the one that it is armed for."""

    def __init__(self) -> None:
        self.passed: list[str] = []  # the labels of all moments since it was armed
        self._at: int | str | None = None
        self._left = 0
        self.struck = 0  # how often since it was armed
        self._strike: Strike = lambda _kind, _label: None
        self._counting = threading.Lock()

    def arm(self, at: int | str | None, strike: Strike, times: int = 1) -> None:
        """Strike at the n-th moment from now, or at the first `times` ones of a label; None only counts."""
        with self._counting:
            self.passed, self.struck = [], 0
            self._at, self._strike, self._left = at, strike, times

    def disarm(self) -> None:
        """Let everything pass."""
        self.arm(None, lambda _kind, _label: None)

    def wrap(self, port: T, kind: str) -> T:
        for name in calls(kind):
            call = getattr(port, name, None)
            if call is not None:
                object.__setattr__(port, name, self._counted(call, kind, name))
        beside = getattr(port, "shadow", None)
        if beside is not None:  # what a rehearsal writes to is a destination as well
            object.__setattr__(port, "shadow", lambda token: self.wrap(beside(token), kind))
        return port

    def _counted(self, call: Callable[..., Any], kind: str, name: str) -> Callable[..., Any]:
        @functools.wraps(call)
        def counted(*args: Any, **kwargs: Any) -> Any:
            label = f"{kind}.{name}"
            if name == "record":  # one method for all commits; the events tell them apart
                label += f"[{','.join(event.event for event in args[2])}]"
            self._moment(kind, f"before {label}")
            result = call(*args, **kwargs)
            self._moment(kind, f"after {label}")
            return result

        return counted

    def _moment(self, kind: str, label: str) -> None:
        with self._counting:
            self.passed.append(label)
            due = self._left > 0 and (self._at == label or self._at == len(self.passed))
            self._left -= due
            self.struck += due
        if due:
            self._strike(kind, label)


def dies(note: Path) -> Strike:
    """SIGKILL for this process; the note says at which moment."""

    def strike(_kind: str, label: str) -> None:
        note.write_text(label)
        os.kill(os.getpid(), signal.SIGKILL)

    return strike


def no_answer(kind: str, label: str) -> None:
    """The request is lost on its way (before), or its answer is (after)."""
    message = f"nobody answers ({label})"
    raise StoreUnavailable(message) if kind == "store" else LostAnswer(message)
