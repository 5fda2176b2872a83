"""A hook is something of the user's that is done after a push: tell a consumer to read anew, or ask how it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from rotator.domain.secret import Material


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """What a hook is run for."""

    credential: str
    address: str  # of the place whose readers it is about
    facts: Mapping[str, str]  # public: `key_id`, `version`, `fingerprint`
    material: Material  # given away only where the configuration asks for it


class Hook(Protocol):
    """One way to tell or to ask the readers of a place. Methods may be called from several threads."""

    @property
    def name(self) -> str:
        """How screens call it, such as `command systemctl reload web`. Never holds a secret."""
        ...

    def trouble(self) -> str | None:
        """What can be seen to be wrong with it without running it; None: nothing."""
        ...

    def run(self, occasion: Occasion) -> None:
        """Do it, within the time limit that it was built with. May be repeated.

        Raises TemporaryError where it failed or the answer is no: it is tried again.
        """
        ...
