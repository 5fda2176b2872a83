"""What a person types where we cannot help: lines of a POSIX shell that hold no secret, but take it from variables.

Our own credential is asked for (`read -rs NAME`), so that it is in no history and in no list of processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class KeysByHand(Protocol):
    """A provider that can say how its keys are made and ended by hand. Neither asks anybody."""

    def made_by_hand(self) -> Sequence[str]:
        """Lines that make a key and show it. A line that begins with # is for people."""
        ...

    def ended_by_hand(self, key_id: str) -> Sequence[str]:
        """Lines that make this key stop working."""
        ...


@runtime_checkable
class PlaceByHand(Protocol):
    """A destination that can say how it is written by hand. It asks nobody."""

    def written_by_hand(self, fields: Mapping[str, str]) -> Sequence[str]:
        """Lines that set these fields and keep all others: field → what stands between double quotes for its value."""
        ...
