"""What keys of known providers look like. One that we do not manage is told, and never touched.

AWS: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html (prefixes of unique ids). OpenAI and
Anthropic publish no grammar; these are the prefixes that their consoles and APIs give out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_PATTERNS = {
    b"openai": rb"sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,}",
    b"anthropic": rb"sk-ant-[a-z]+[0-9]{2}-[A-Za-z0-9_-]{20,}",
    b"aws": rb"(?:AKIA|ASIA)[A-Z2-7]{16}",
}
_ANY = re.compile(
    rb"(?<![A-Za-z0-9_-])(?:" + b"|".join(rb"(?P<%s>%s)" % item for item in _PATTERNS.items()) + rb")(?![A-Za-z0-9_-])"
)


def unknown(text: bytes) -> Iterator[tuple[int, bytes, str]]:
    """Where something stands that looks like a key, the text of it, and whose it would be."""
    for match in _ANY.finditer(text):
        yield match.start(), match[0], str(match.lastgroup)
