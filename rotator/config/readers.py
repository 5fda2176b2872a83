"""How the readers of a place come to hold a new value: `readers:` of an entry, and how long that takes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

from rotator.settings import format_duration, parse_duration

How = Literal["poll", "reload", "restart"]

NONE = timedelta(0)


@dataclass(frozen=True)
class Readers:
    """They look every so often (`poll`), or when they are told (`reload`), or when they start (`restart`)."""

    how: How
    every: timedelta = NONE  # of `poll`

    def __str__(self) -> str:
        """As it stands in the file."""
        return f"poll {format_duration(self.every)}" if self.how == "poll" else self.how


def read_readers(text: str) -> Readers:
    """`poll 60s`, `reload` or `restart`. Raises ValueError."""
    how, _, rest = text.partition(" ")
    if how not in get_args(How):
        message = "must be `poll 60s`, `reload` or `restart`"
        raise ValueError(message)
    if how != "poll":
        if rest:
            message = f"`{how}` takes no interval: only `poll` does"
            raise ValueError(message)
        return Readers("reload" if how == "reload" else "restart")
    if not rest:
        message = "says how often they look: `poll 60s`"
        raise ValueError(message)
    every = parse_duration(rest.strip())
    if not every:
        message = "must be more than 0"
        raise ValueError(message)
    return Readers("poll", every)


@dataclass(frozen=True, kw_only=True)
class Lag:
    """How long after a write some reader of a credential may still hold the old value: no grace is shorter."""

    span: timedelta
    place: str  # the slowest entry, as problems call it
    file: str
    line: int | None
    instead_of: timedelta = NONE  # the grace that somebody has written, or the built-in one
