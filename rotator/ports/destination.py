"""A destination is one place that consumers read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from rotator.domain.secret import Secret


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a kind of destination can promise."""

    conditional: bool  # write is compare-and-set on a revision
    readable: bool  # read returns the values
    propagation: timedelta  # how long after write a reader may still see the old value
    whole_body: bool  # one value may fill the whole place (`value:` in the configuration)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What stands at a place. An empty or absent place has no fields; its revision is a value like any other."""

    fields: Mapping[str, Secret]  # WHOLE_BODY ("") holds the body where the place can be one value
    revision: str


class Destination(Protocol):
    """Bound to one path. Methods may be called from several threads, but not two writes of one place at once.

    Every method raises TemporaryError (Unavailable, RateLimited, Conflict, LostAnswer) or PermanentError.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this kind of place can do."""
        ...

    @property
    def identity(self) -> str:
        """Server + mount or region + path: the same place has the same identity, whatever it is called."""
        ...

    @property
    def address(self) -> str:
        """How screens and the short form of the configuration call it, such as `vault:secret/web/openai`."""
        ...

    def read(self) -> Reading:
        """What readers can see now. May be repeated. Removes what a crashed write of ours left beside the place."""
        ...

    def preflight(self, fields: Mapping[str, object]) -> None:
        """Raise what `write` of these field names would raise, as far as it can be known without writing."""
        ...

    def write(self, fields: Mapping[str, Secret], expected: str, token: str) -> str:
        """Set these fields and keep all others; return the new revision once readers can see it.

        `token` is a UUID made from version, destination and `expected`: an idempotency key where the place takes
        one. Raises Conflict where the place is not at `expected` any more: nothing was written. May be repeated
        with the same arguments: at most one of them takes effect.
        """
        ...
