"""Keys of a service that we cannot talk to: a person makes each one, and takes the old one away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import StringConstraints

from rotator import settings
from rotator.access.value_ids import value_id
from rotator.domain.errors import Refused
from rotator.domain.secret import Material
from rotator.ports.provider import Answer, Capabilities, Key, Verdict

_CAPABILITIES = Capabilities(
    origin="supplied",
    living=None,
    labels=False,
    can_disable=False,
    tells_last_use=False,
    can_tell=False,
    settle=timedelta(0),
    default_fields={},  # the configuration puts the credential's name in upper case here
    material=("secret",),
    ids_from_values=True,
    can_delete=False,
)


class AccountSettings(settings.Settings):
    """There is nothing to set: what differs is each credential's."""


class KeyOptions(settings.Settings):
    """`instructions`: what a person has to do to make a key, in one line, such as where."""

    instructions: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^.+$")
    ]


class Manual:
    """The account: whoever makes the keys."""

    Settings: ClassVar[type[Any]] = AccountSettings
    Options: ClassVar[type[Any]] = KeyOptions

    def __init__(self, settings: AccountSettings, timeout: timedelta) -> None:  # nothing is asked
        pass

    def bind(self, options: KeyOptions) -> ManualKeys:
        """The provider for one credential."""
        return ManualKeys(options.instructions)

    def close(self) -> None:
        """There is no connection."""


class ManualKeys:
    """A provider (`ports.provider.Provider` and `Asks`) that asks nobody but a person.

    It cannot tell whether a value works (`can_tell`), nor take one away (`can_delete`).
    """

    def __init__(self, instructions: str) -> None:
        self._instructions = instructions

    @property
    def capabilities(self) -> Capabilities:
        """Any number of keys; a person makes them and takes them away."""
        return _CAPABILITIES

    def instructions(self) -> str:
        """What the configuration says."""
        return self._instructions

    def account(self) -> str:
        """The one name that all of them share, so that no two credentials are given the same value."""
        return "manual"

    def authenticate(self, material: Material) -> Answer:
        """Every value is accepted, unless it is empty; see `can_tell`."""
        if not material["secret"]:
            return Answer(verdict=Verdict.REFUSED, why="the value is empty")
        return Answer(verdict=Verdict.ACCEPTED)

    def keys(self) -> Sequence[Key]:
        """Nobody lists them."""
        return []

    def identify(self, material: Material) -> str | None:
        """An id of ours for the value, the same for the same value; None for an empty one."""
        return _id_of(material) if material["secret"] else None

    def delete(self, key_id: str) -> None:
        """A person does it."""
        message = f"nobody but a person can take {key_id} away"
        raise Refused(message)


def _id_of(material: Material) -> str:
    return value_id("manual", material["secret"], salt=b"keyturn manual id")
