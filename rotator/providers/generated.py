"""Values that nobody issues: we make them, and consumers share them by reading the same destinations."""

from __future__ import annotations

import math
import secrets
import shlex
import string
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, ValidationError, model_validator

from rotator import settings
from rotator.access.value_ids import value_id
from rotator.domain.secret import Material
from rotator.ports.provider import Answer, Capabilities, Key, Verdict

_LEAST_ENTROPY = 128  # bits
_NAMED = {
    "alphanumeric": string.ascii_letters + string.digits,
    "hex": string.digits + "abcdef",
    "urlsafe": string.ascii_letters + string.digits + "-_",
}
_PRINTABLE = frozenset(string.ascii_letters + string.digits + string.punctuation)

_CAPABILITIES = Capabilities(
    origin="chosen",
    living=None,
    labels=False,
    can_disable=False,
    tells_last_use=False,
    can_tell=False,
    settle=timedelta(0),
    default_fields={},  # the configuration puts the credential's name in upper case here
    material=("secret",),
    ids_from_values=True,
)


def _alphabet(value: str) -> str:
    characters = _NAMED.get(value, value)
    if not _PRINTABLE.issuperset(characters):
        message = "may hold printable ASCII characters only, no spaces"
        raise ValueError(message)
    if len(set(characters)) != len(characters):
        message = f"repeats a character; write each one out once, or {', '.join(_NAMED)}"
        raise ValueError(message)
    return value


def _prefix(value: str) -> str:
    if not _PRINTABLE.issuperset(value):
        message = "may hold printable ASCII characters only, no spaces"
        raise ValueError(message)
    return value


_Length = Annotated[int, Field(ge=16, le=4096)]
_Alphabet = Annotated[str, Field(min_length=2), AfterValidator(_alphabet)]
_Prefix = Annotated[str, Field(max_length=64), AfterValidator(_prefix)]


class Form(settings.Settings):
    """What values look like: `prefix`, then `length` characters out of `alphabet` (a name, or all of them)."""

    length: _Length = 40
    alphabet: _Alphabet = "alphanumeric"
    prefix: _Prefix = ""

    @property
    def characters(self) -> str:
        """What values are drawn from."""
        return _NAMED.get(self.alphabet, self.alphabet)

    @model_validator(mode="after")
    def _is_strong(self) -> Form:
        entropy = self.length * math.log2(len(self.characters))
        if entropy < _LEAST_ENTROPY:
            needed = math.ceil(_LEAST_ENTROPY / math.log2(len(self.characters)))
            message = (
                f"{self.length} characters out of {len(self.characters)} have {entropy:.0f} bits; "
                f"{_LEAST_ENTROPY} are needed: set length to {needed} or more"
            )
            raise ValueError(message)
        return self


class FormOptions(settings.Settings):
    """The same for one credential; what is left out is the account's."""

    length: _Length | None = None
    alphabet: _Alphabet | None = None
    prefix: _Prefix | None = None


class Generated:
    """The account: this installation itself. `bind` raises ValueError where the options make values too weak."""

    Settings: ClassVar[type[Any]] = Form
    Options: ClassVar[type[Any]] = FormOptions

    def __init__(self, settings: Form, timeout: timedelta) -> None:  # noqa: ARG002  # nothing is asked over a network
        self._form = settings

    def bind(self, options: FormOptions) -> GeneratedValues:
        """The provider for one credential."""
        try:
            return GeneratedValues(Form(**{**self._form.model_dump(), **options.model_dump(exclude_none=True)}))
        except ValidationError as problem:
            message = problem.errors()[0]["msg"].removeprefix("Value error, ")
            raise ValueError(message) from None

    def close(self) -> None:
        """There is no connection."""


class GeneratedValues:
    """A provider (`ports.provider.Provider` and `Chooses`) that asks nobody.

    It cannot tell whether a value works (`can_tell`): only its consumers can.
    """

    def __init__(self, form: Form) -> None:
        self._form = form

    @property
    def capabilities(self) -> Capabilities:
        """Any number of values; nothing but the destinations knows them."""
        return _CAPABILITIES

    def account(self) -> str:
        """The one name that all of them share."""
        return "generated"

    def made_by_hand(self) -> Sequence[str]:
        """As much randomness, in letters that every form takes."""
        return [f"printf '%s%s\\n' {shlex.quote(self._form.prefix)} \"$(openssl rand -hex {self._form.length // 2})\""]

    def ended_by_hand(self, key_id: str) -> Sequence[str]:
        """Nobody knows it but its readers."""
        return [f"# {key_id} is gone once no reader has it"]

    def generate(self) -> Material:
        """Draw a value from the operating system's randomness."""
        drawn = (secrets.choice(self._form.characters) for _ in range(self._form.length))
        return Material.of(secret=self._form.prefix + "".join(drawn))

    def set(self, material: Material) -> str:
        """Nobody has to be told. Returns the value's id, the same for the same value."""
        return _id_of(material)

    def authenticate(self, material: Material) -> Answer:
        """Every value is accepted, unless it is empty; see `can_tell`."""
        if not material["secret"]:
            return Answer(verdict=Verdict.REFUSED, why="the value is empty")
        return Answer(verdict=Verdict.ACCEPTED)

    def keys(self) -> Sequence[Key]:
        """Nobody lists them."""
        return []

    def identify(self, material: Material) -> str | None:
        """The id that `set` gives."""
        return _id_of(material) if material["secret"] else None

    def delete(self, key_id: str) -> None:
        """Nothing is to be done: a value is gone once no destination serves it."""


def _id_of(material: Material) -> str:
    """The values that we make have at least 128 bits of entropy; one that was adopted may be weak until replaced."""
    return value_id("gen", material["secret"], salt=b"keyturn generated id")
