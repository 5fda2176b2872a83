"""What a consumer's field holds: plain text around the fields of a key's material."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from rotator.domain.secret import Material, Secret

PUBLIC = ("key_id", "version", "fingerprint")
"""Facts besides the material that a template may name; none of them is secret."""

BEFORE = "previous."
"""Begins the placeholders of a companion: they name what belongs to the key before the current one."""

_PLACEHOLDER = re.compile(r"\{((?:previous\.)?[a-z_]+)(?::([a-z0-9]+))?\}")
_FORMATS = ("url", "base64")


@dataclass(frozen=True)
class Template:
    """Plain substitution of `{name}`, `{name:url}` and `{name:base64}`; other braces stay as they are."""

    text: str

    @property
    def names(self) -> tuple[str, ...]:
        """The placeholders' names, in order."""
        return tuple(match[1] for match in _PLACEHOLDER.finditer(self.text))

    @property
    def companion(self) -> bool:
        """Whether it is filled in with the key before the current one."""
        return any(name.startswith(BEFORE) for name in self.names)

    def before(self) -> Template:
        """The same template as a companion."""
        return Template(_PLACEHOLDER.sub(lambda match: "{" + BEFORE + match[0][1:], self.text))

    def problem(self, material: tuple[str, ...]) -> str | None:
        """Say what is wrong with this template for a provider with these material fields, or None."""
        unknown = self.unknown((*material, *PUBLIC))
        if unknown is not None:
            return unknown
        if not any(name in material for name in self.names):
            return "holds no field of the key, so it would never change"
        return None

    def unknown(self, names: tuple[str, ...]) -> str | None:
        """Say which placeholder is none of these names, or has a format that there is not; None: all is known."""
        for match in _PLACEHOLDER.finditer(self.text):
            name, form = match[1], match[2]
            if name not in names:
                known = ", ".join(f"{{{n}}}" for n in names)
                return f"unknown placeholder {{{name}}}; known here: {known}"
            if form is not None and form not in _FORMATS:
                return f"unknown format :{form} in {match[0]}; known: :url, :base64"
        return None

    def render(self, material: Material, facts: Mapping[str, str]) -> Secret:
        """Fill the template in. `facts` are the public ones; a companion is given those of the key before."""

        def fill(name: str, form: str | None) -> str:
            value = material[name].reveal() if name in material else facts[name]
            if form == "url":
                return quote(value, safe="")
            if form == "base64":
                return base64.b64encode(value.encode()).decode()
            return value

        return Secret(self.filled(fill, lambda text: text))

    def filled(self, fill: Callable[[str, str | None], str], plain: Callable[[str], str]) -> str:
        """The text with each placeholder as `fill` makes it of name and format, and what is between them by `plain`."""
        parts, position = [], 0
        for match in _PLACEHOLDER.finditer(self.text):
            parts += [plain(self.text[position : match.start()]), fill(match[1].removeprefix(BEFORE), match[2])]
            position = match.end()
        return "".join([*parts, plain(self.text[position:])])

    def extract(self, found: Secret) -> dict[str, Secret]:
        """Read back which values stand in a text that this template rendered; empty where it does not fit."""
        pattern, names = "", []
        position = 0
        for match in _PLACEHOLDER.finditer(self.text):
            pattern += re.escape(self.text[position : match.start()]) + "(.+?)"
            names.append((match[1], match[2]))
            position = match.end()
        pattern += re.escape(self.text[position:])
        fitted = re.fullmatch(pattern, found.reveal(), re.DOTALL)
        if fitted is None:
            return {}
        values = {}
        for (name, form), text in zip(names, fitted.groups(), strict=True):
            try:
                values[name] = Secret(_decode(text, form))
            except (binascii.Error, UnicodeDecodeError):
                return {}
        return values


def _decode(text: str, form: str | None) -> str:
    if form == "url":
        return unquote(text)
    if form == "base64":
        return base64.b64decode(text, validate=True).decode()
    return text
