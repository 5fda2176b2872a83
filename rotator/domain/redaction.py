"""How a secret may be spelt in text, and text without it."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

_SHORTEST = 6  # a shorter piece of a secret would be found by chance


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text with "…" in place of these secrets, whichever way they are spelt there."""
    folded = text.casefold()
    found = {s for secret in secrets for s in spellings(secret) if s.casefold() in folded}
    if not found:
        return text
    longest_first = sorted(found, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), "…", text, flags=re.IGNORECASE)


def spellings(secret: str) -> Iterator[str]:
    """The value itself; quoted for JSON, URLs and the shell; in hex and in base64. Each line of one that has several.

    Within a longer text, base64 depends on how many bytes came before, modulo 3: each of the three is given without
    the digits that the neighbours have a part in.
    """
    for piece in {secret, *secret.splitlines()}:
        if len(piece) >= _SHORTEST:
            yield from _quoted(piece)
            content = piece.encode(errors="surrogatepass")
            yield content.hex()
            for before in range(3):
                padded = bytes(before) + content
                whole = padded[: len(padded) - len(padded) % 3]
                for encode in (base64.b64encode, base64.urlsafe_b64encode):
                    digits = encode(whole).decode()[-(-before * 8 // 6) :]
                    if len(digits) >= _SHORTEST:
                        yield digits


def _quoted(piece: str) -> Iterator[str]:
    yield piece
    yield json.dumps(piece)[1:-1]
    yield json.dumps(piece, ensure_ascii=False)[1:-1]
    yield repr(piece)[1:-1]
    for safe in ("", "/"):
        yield quote(piece, safe=safe, errors="surrogatepass")
        yield quote_plus(piece, safe=safe, errors="surrogatepass")
    yield shlex.quote(piece).removeprefix("'").removesuffix("'")
    yield re.sub(r"([^\w@%+=:,./-])", r"\\\1", piece)  # as `printf %q` does it
