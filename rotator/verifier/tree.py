"""Merkle trees as RFC 6962, section 2.1, has them: SHA-256, leaves under 0x00 and nodes under 0x01."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

EMPTY = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that grows. Holds no entries, only the roots of its complete subtrees, the largest first."""

    def __init__(self, size: int = 0, subtrees: Sequence[bytes] = ()) -> None:
        """Go on with a tree of this size. Raises ValueError where it cannot have these subtrees."""
        if len(subtrees) != size.bit_count():
            message = f"a tree of {size} entries has not {len(subtrees)} complete subtrees"
            raise ValueError(message)
        self.size = size
        self._subtrees = list(subtrees)

    @property
    def subtrees(self) -> Sequence[bytes]:
        """What another Tree can go on from."""
        return tuple(self._subtrees)

    def add(self, entry: bytes) -> None:
        """Append an entry."""
        hashed, size = leaf_hash(entry), self.size
        while size & 1:
            hashed = node_hash(self._subtrees.pop(), hashed)
            size >>= 1
        self._subtrees.append(hashed)
        self.size += 1

    def root(self) -> bytes:
        """The root hash of what is in it."""
        if not self._subtrees:
            return EMPTY
        *rest, found = self._subtrees
        for subtree in reversed(rest):
            found = node_hash(subtree, found)
        return found


def proved_root(entry: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root of the tree of `size` entries that this path leads to from the entry at `index`.

    RFC 9162, section 2.1.3.2. Raises ValueError where the path has not the length that index and size give it.
    """
    if not 0 <= index < size:
        message = f"there is no entry {index} in a tree of {size}"
        raise ValueError(message)
    here, last, found = index, size - 1, leaf_hash(entry)
    for step in path:
        if last == 0:
            message = "the path is too long"
            raise ValueError(message)
        if here & 1 or here == last:
            found = node_hash(step, found)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            found = node_hash(found, step)
        here, last = here >> 1, last >> 1
    if last:
        message = "the path is too short"
        raise ValueError(message)
    return found
