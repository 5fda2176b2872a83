"""A destination is one place that consumers read from."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, runtime_checkable

from rotator.domain.errors import RotatorError
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


class Shadow(Destination, Protocol):
    """A place of our own beside one that consumers read: nobody reads it, and it can be taken away again."""

    def remove(self) -> None:
        """Take it away, every older version of it included; return once readers see nothing there.

        May be repeated: what is not there is success. So it is also how to learn that we lack the permission, before
        anything is written. Raises LostAnswer where it may have been taken away.
        """
        ...


@runtime_checkable
class Shadows(Protocol):
    """A destination that can have shadows: for what tries the way to a place without touching the place."""

    def shadow(self, token: str) -> Shadow:
        """The shadow of this name, whether it stands or not: same server, its own identity and address. No I/O.

        The same token always names the same shadow. Raises ValueError unless it is eight hex digits.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Held:
    """A text that stands at some place, whoever wrote it."""

    identity: str  # of the place, as `Destination.identity`
    address: str  # likewise
    field: str | None  # which of its fields; None: the text is the whole body
    text: Secret


@runtime_checkable
class Surveys(Protocol):
    """A destination server that can look through what it holds: for copies of keys that no destination names."""

    def survey(self, paths: Collection[str | None]) -> Iterator[Held | RotatorError]:
        """Everything that stands where we may list and read, current values only; nothing is changed.

        `paths` are those of the configuration's places, as `at` takes them. Where not all may be listed, what may be
        is, and what may not is given as the error that says how to allow it. Raises RotatorError where the server
        cannot be asked at all. May be repeated.
        """
        ...


def shadow_path(path: str, token: str) -> str:
    """What the shadow of a path is called: `web/openai.rehearsal-1a2b3c4d`. Nothing of a consumer's has such a name."""
    if not re.fullmatch("[0-9a-f]{8}", token):
        message = "a shadow is named by eight hex digits"
        raise ValueError(message)
    return f"{path}.rehearsal-{token}"
