"""The text of an env file: read it, and change single values so that all common readers read the same.

Those readers are the POSIX shell (`. file`), python-dotenv, systemd's EnvironmentFile and Compose. They agree on plain
words, and on single quotes around anything but quotes, backslashes, line breaks and `${`, which python-dotenv expands
even there. Whatever else a text holds, comments, order, line ends and bytes, is kept.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rotator.domain.errors import Refused

PUBLISHED = (
    "NEXT_PUBLIC_", "VITE_", "REACT_APP_", "EXPO_PUBLIC_", "NUXT_PUBLIC_", "NUXT_ENV_", "PUBLIC_", "GATSBY_",
    "VUE_APP_", "STORYBOOK_", "NG_APP_", "SNOWPACK_PUBLIC_", "REDWOOD_ENV_",
)  # fmt: skip
"""Beginnings of names that bundlers copy into what browsers get."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[A-Za-z0-9_.:/+=@,%-]*")  # no tilde: the shell expands it after `=` and `:`
_START = re.compile(r"\ufeff?[ \t]*(?:export[ \t]+)?(?P<name>[^\s=#'\"]+)[ \t]*=")
_BARE = re.compile(r"(?:(?=[ \t]+#)|[ \t]*)(?P<value>[^\r\n]*?)[ \t]*(?=[ \t]#|[\r\n]|\Z)")
_MORE = re.compile(r"[ \t;&|'\"`\\]")  # in a bare value, such as `A=1; export A`
_QUOTED = {
    # A backslash before a single quote keeps it open for python-dotenv, and does not for the shell.
    "'": (re.compile(r"[ \t]*'(?P<value>(?:\\'|[^'])*)'"), re.compile(r"[ \t]*'(?P<value>[^']*)'")),
    '"': (re.compile(r'[ \t]*"(?P<value>(?:\\.|[^"\\])*)"', re.DOTALL),),
}
_REST = re.compile(r"[ \t]*(?:[ \t]#[^\r\n]*)?(?=[\r\n]|\Z)")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")


@dataclass(frozen=True, repr=False)
class Assignment:
    """One `NAME=value`; in the text, `=` and the value, with their blanks and quotes, are from `start` to `end`."""

    name: str
    value: str
    start: int
    end: int
    simple: bool  # the shell takes it for a value and nothing more


@dataclass(frozen=True)
class Unclosed:
    """A value whose quote is never closed: readers differ in what follows."""

    start: int


def read(text: str) -> dict[str, str]:
    """Name → value; of several assignments the last one holds. Lines that are none are passed over."""
    return {item.name: item.value for item in _scan(text) if isinstance(item, Assignment)}


def change(text: str, fields: Mapping[str, str]) -> str:
    """Set these fields where they stand, or at the end, and keep all else.

    Raises Refused (unquotable, bad_name, duplicate_field, unparsable) where not every reader would read that.
    """
    for name in fields:
        if not _NAME.fullmatch(name):
            message = f"{name} is no name of a variable"
            raise Refused(message, reason="bad_name", remedy="use letters, digits and underscores")
    quoted = {name: _quote(name, value) for name, value in fields.items()}
    changed = text
    for item in reversed(_own(text, fields)):
        changed = f"{changed[: item.start]}={quoted.pop(item.name)}{changed[item.end :]}"
    if quoted:
        changed = _appended(changed, quoted)
    if read(changed) != {**read(text), **fields}:
        message = "the quotes of this file are such that a change of one value would change others"
        raise Refused(message, reason="unparsable", remedy="correct the file by hand")
    return changed


def _quote(name: str, value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    odd = any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c != "\t" for c in value)
    if odd or "'" in value or "\\" in value or "${" in value:
        message = f"the value of {name} holds characters that readers of env files do not agree on"
        raise Refused(message, reason="unquotable", remedy=f"write {name} as {{secret:base64}}, or to another place")
    return f"'{value}'"


def _own(text: str, fields: Mapping[str, str]) -> list[Assignment]:
    """Find our assignments, in order; refuse what would make them ambiguous."""
    own: dict[str, Assignment] = {}
    for item in _scan(text):
        if isinstance(item, Unclosed):
            raise _unparsable(text, item.start, "opens a quote that is never closed")
        if item.name not in fields:
            continue
        if item.name in own:
            message = (
                f"{item.name} stands in lines {_number(text, own[item.name].start)} and {_number(text, item.start)}"
            )
            raise Refused(message, reason="duplicate_field", remedy="take one of the lines away")
        if _continues(text, item.start):
            raise _unparsable(text, item.start, "belongs to the line before, which ends in a backslash")
        if not item.simple:
            raise _unparsable(text, item.start, f"holds more than a value for {item.name}")
        own[item.name] = item
    return list(own.values())


def _appended(text: str, quoted: Mapping[str, str]) -> str:
    first = re.search(r"\r\n|\n", text)
    end = first[0] if first else "\n"
    if text and not text.endswith(("\n", "\r")):
        text += end
    if _continues(text, len(text)):
        raise _unparsable(text, len(text), "would belong to the line before, which ends in a backslash")
    return text + "".join(f"{name}={value}{end}" for name, value in quoted.items())


def _scan(text: str) -> Iterator[Assignment | Unclosed]:
    position = 0
    while position < len(text):
        start = _START.match(text, position)
        if start:
            item, position = _value(text, start)
            yield item
        line = _LINE.match(text, position)
        assert line, "a line matches anything"
        position = line.end()


def _value(text: str, start: re.Match[str]) -> tuple[Assignment | Unclosed, int]:
    """Read the value behind `NAME=`; return it and a position in its last line."""
    at = start.end()
    bare = _BARE.match(text, at)
    assert bare, "a bare value may be empty"
    quote = bare["value"][:1]
    for pattern in _QUOTED.get(quote, ()):
        match = pattern.match(text, at)
        if match and _REST.match(text, match.end()):
            value = _unescape(quote, match["value"])
            return Assignment(start["name"], value, start.end("name"), match.end(), simple=True), match.end()
    if quote in _QUOTED and quote not in bare["value"][1:]:
        return Unclosed(at), at
    simple = not _MORE.search(bare["value"])
    return Assignment(start["name"], bare["value"], start.end("name"), bare.end("value"), simple=simple), at


def _unescape(quote: str, value: str) -> str:
    return re.sub(r"\\([\\'])" if quote == "'" else r'\\(["\\$`])', r"\1", value)


def _continues(text: str, position: int) -> bool:
    """Whether the line before this one ends in a backslash, which joins the two for the shell and for systemd."""
    before = text[: text.rfind("\n", 0, position) + 1].rstrip("\r\n")
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _number(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _unparsable(text: str, position: int, why: str) -> Refused:
    message = f"line {_number(text, position)} {why}"
    return Refused(message, reason="unparsable", remedy="correct the file by hand")
