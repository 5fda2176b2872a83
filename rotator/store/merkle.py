"""The Merkle tree of the trail, RFC 6962, section 2.1: its leaves are the stored bytes of the events.

It is kept as its complete subtrees' roots, largest first, in hex: as many as the number of events has bits set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence


def _leaf(body: str) -> bytes:
    return hashlib.sha256(b"\x00" + body.encode()).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def grown(tree: Sequence[str], size: int, bodies: Sequence[str]) -> list[str]:
    """The tree of `size` events, and these after them."""
    subtrees = [bytes.fromhex(text) for text in tree]
    for number, body in enumerate(bodies, size):
        hashed, bits = _leaf(body), number
        while bits & 1:
            hashed = _node(subtrees.pop(), hashed)
            bits >>= 1
        subtrees.append(hashed)
    return [subtree.hex() for subtree in subtrees]


def root(tree: Sequence[str]) -> bytes:
    """The root of the tree."""
    if not tree:
        return hashlib.sha256(b"").digest()
    *rest, found = (bytes.fromhex(text) for text in tree)
    for subtree in reversed(rest):
        found = _node(subtree, found)
    return found


def path(index: int, size: int, bodies: Sequence[str], before: int = 0, tree: Sequence[str] = ()) -> list[str]:
    """The audit path of the entry at `index` in the tree of `size` entries, in hex (RFC 6962, section 2.1.1).

    `bodies` are the entries from `before` on, `tree` is that of those before them. Raises LookupError where the path
    needs an entry that is not there.
    """
    leaves = [_leaf(body) for body in bodies[: size - before]]
    known = _ranges(before, tree)

    def hashed(start: int, end: int) -> bytes:
        if (start, end) in known:
            return known[start, end]
        if end - start == 1:
            if not before <= start < before + len(leaves):
                message = f"entry {start} is not there"
                raise LookupError(message)
            return leaves[start - before]
        middle = start + _split(end - start)
        return _node(hashed(start, middle), hashed(middle, end))

    found, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            found.append(hashed(middle, end))
            end = middle
        else:
            found.append(hashed(start, middle))
            start = middle
    return [step.hex() for step in reversed(found)]


def _split(size: int) -> int:
    """The largest power of two that is smaller."""
    return 1 << ((size - 1).bit_length() - 1)


def _ranges(size: int, tree: Sequence[str]) -> Mapping[tuple[int, int], bytes]:
    """Which entries each complete subtree is of."""
    known, start = {}, 0
    for text in tree:
        width = 1 << ((size - start).bit_length() - 1)
        known[start, start + width] = bytes.fromhex(text)
        start += width
    return known
