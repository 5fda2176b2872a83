"""What could be a key in a text: pieces between boundaries, plain and in the encodings that keys are copied in.

Keys of the past are known by fingerprint alone, so that a text cannot be searched for them: what could be one is cut
out and fingerprinted. A value is found where it stands between characters that it cannot be made of.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

SHORTEST = 12
"""Values with fewer characters are not looked for: every text is full of them."""

DEEPEST = 3
"""Encodings within each other: an env file in base64 in a JSON string in an archive's text."""

PLAIN = "plain"

_LONGEST_WORD = 4096
_MAY_BE_GLUED = 20  # digits of base64: a value, and something before it

_RUN = re.compile(rb"[A-Za-z0-9_+/.~-]{12,}={0,2}")
_NARROWER = (
    re.compile(rb"[A-Za-z0-9_-]{12,}"),
    re.compile(rb"[A-Za-z0-9+/]{12,}={0,2}"),
    re.compile(rb"[A-Za-z0-9]{12,}"),
)
_SEPARATOR = re.compile(rb"[_+/.~=-]")
_WORD = re.compile(rb"[!-~]*[!-*,:-@[-^`{-}][!-~]*")  # a word with a character that no run has
_CUTS = re.compile(rb"[\"'`<>()\s]")
_LINE = re.compile(rb"^[^\n=:]{1,200}[=:][ \t]*([^\n]*[ \t][^\n]*)$", re.MULTILINE)
_URL = re.compile(rb"(?:[A-Za-z0-9_+/.~-]|%[0-9A-Fa-f]{2})*%[0-9A-Fa-f]{2}(?:[A-Za-z0-9_+/.~-]|%[0-9A-Fa-f]{2})*")
_ESCAPED_LINE = re.compile(rb"^[^\n]*\\[\"\\/bfnrtu][^\n]*$", re.MULTILINE)
_ESCAPES = re.compile(rb"(?:\\u[0-9A-Fa-f]{4})+|\\[\"\\/bfnrt]")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_WRAPPED = re.compile(rb"(?:[A-Za-z0-9+/]{40,}\r?\n[ \t]*)+[A-Za-z0-9+/]+={0,2}")
_PRINTABLE = re.compile(rb"[\t\n\r -~]{12,}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True)
class Candidate:
    """What could be a key. `start` is where it, or the encoded text around it, begins."""

    start: int
    value: bytes
    encoding: str


def candidates(text: bytes) -> Iterator[Candidate]:
    """All of them, some more than once; nothing is said of what they are."""
    yield from _in(text, 0, (), 0)


def _in(text: bytes, offset: int, encodings: tuple[str, ...], depth: int) -> Iterator[Candidate]:
    encoding = "+".join(encodings) or PLAIN
    for start, value in _plain(text):
        yield Candidate(offset + (0 if depth else start), value, encoding)
    if depth == DEEPEST:
        return
    for start, kind, decoded in _decoded(text):
        yield from _in(decoded, offset + (0 if depth else start), (*encodings, kind), depth + 1)


def _plain(text: bytes) -> Iterator[tuple[int, bytes]]:
    for match in _RUN.finditer(text):
        run, start = match[0], match.start()
        yield start, run
        if _SEPARATOR.search(run):
            yield from ((start, piece) for piece in _pieces(run))
    for match in _WORD.finditer(text):
        if SHORTEST <= len(match[0]) <= _LONGEST_WORD:
            yield from ((match.start(), piece) for piece in _of_word(match[0]))
    for match in _LINE.finditer(text):
        value = match[1].strip()
        yield match.start(1), value
        yield match.start(1), value.strip(b"\"'`,;")


def _pieces(run: bytes) -> Iterator[bytes]:
    bare = run.strip(b"./~+-=_")
    if len(bare) >= SHORTEST:
        yield bare
    if run.endswith(b"="):
        yield run.rstrip(b"=")
    for narrower in _NARROWER:
        for match in narrower.finditer(run):
            if match[0] != run:
                yield match[0]


def _of_word(word: bytes) -> Iterator[bytes]:
    """The word, what stands after `=` or `:`, what stands between quotes."""
    for piece in {word, *_CUTS.split(word)}:
        parts = [piece]
        for mark in (b"=", b":"):
            parts += [piece.partition(mark)[2], piece.rpartition(mark)[2]]
        for part in parts:
            if len(part) >= SHORTEST:
                yield part
                bare = part.rstrip(b",;.").strip(b"\"'`")
                if bare != part:
                    yield bare


def _decoded(text: bytes) -> Iterator[tuple[int, str, bytes]]:
    if b"%" in text:
        for match in _URL.finditer(text):
            yield match.start(), "url", unquote_to_bytes(match[0])
    if b"\\" in text:
        for match in _ESCAPED_LINE.finditer(text):
            yield match.start(), "json", _ESCAPES.sub(_unescaped, match[0])
    for match in _BASE64.finditer(text):
        yield from ((match.start(), "base64", decoded) for decoded in _unwrapped(match[0]))
    if b"\n" in text:
        for match in _WRAPPED.finditer(text):
            yield from ((match.start(), "base64", decoded) for decoded in _unwrapped(b"".join(match[0].split())))


def _unescaped(match: re.Match[bytes]) -> bytes:
    """RFC 8259, section 7. The whole line is taken: what its quotes belong to cannot be told from a piece of a file."""
    decoded: str = json.loads(b'"' + match[0] + b'"')
    return decoded.encode("utf-8", "surrogatepass")


def _unwrapped(run: bytes) -> Iterator[bytes]:
    """What a run of base64 holds; of one that something else stands before, at each of four beginnings."""
    digits = run.rstrip(b"=").translate(_URL_SAFE)
    for begin in range(4 if len(digits) >= _MAY_BE_GLUED else 1):
        shifted = digits[begin:]
        shifted = shifted[: len(shifted) - (len(shifted) % 4 == 1)]
        try:
            plain = base64.b64decode(shifted + b"=" * (-len(shifted) % 4))
        except (binascii.Error, ValueError):
            continue
        for found in _PRINTABLE.finditer(plain):
            yield found[0]
