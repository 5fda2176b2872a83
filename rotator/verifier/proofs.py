"""The proof that one event is in a trail: the event, and the hashes that lead from it to a checkpoint's root."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from .events import Malformed, Row, read
from .notes import BadNote, Checkpoint, VerifierKey
from .tree import proved_root


class BadProof(ValueError):
    """It proves nothing. The message says why."""


@dataclass(frozen=True)
class Proof:
    """One event, and its path (RFC 6962, section 2.1.1) in the tree that the checkpoint was signed of."""

    body: bytes
    path: Sequence[bytes]
    checkpoint: Checkpoint

    @classmethod
    def parse(cls, text: str) -> Proof:
        """What `rotator audit prove` prints. Raises BadProof."""
        try:
            given = json.loads(text)
            path = [bytes.fromhex(step) for step in given["path"]]
            return cls(given["body"].encode(), path, Checkpoint.parse(given["checkpoint"]))
        except BadNote as bad:
            message = f"its checkpoint is wrong: {bad}"
            raise BadProof(message) from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            message = "it is not a proof: a JSON object with body, path and checkpoint"
            raise BadProof(message) from None

    def check(self, keys: Sequence[VerifierKey], against: Sequence[Checkpoint] = ()) -> int:
        """The number of the event, which is proved to be in the log. Raises BadProof.

        `against`: checkpoints that were kept elsewhere, of the same tree; all need a signature by one of the keys.
        """
        try:
            for checkpoint in (self.checkpoint, *against):
                checkpoint.check(keys)
        except BadNote as bad:
            message = f"a checkpoint is wrong: {bad}"
            raise BadProof(message) from None
        for kept in against:
            if _tree(kept) != _tree(self.checkpoint):
                message = (
                    f"it is for a tree of {self.checkpoint.size} events, and the checkpoint for one of {kept.size}"
                )
                raise BadProof(message)
        try:
            seq = read(Row(self.body, hashlib.sha256(self.body).hexdigest()))["seq"]
            found = proved_root(self.body, seq - 1, self.checkpoint.size, self.path)
        except (Malformed, TypeError, ValueError) as wrong:
            message = f"it does not fit: {wrong}"
            raise BadProof(message) from None
        if found != self.checkpoint.root:
            message = "the event is not in the tree that the checkpoint was signed of: it, or its path, was changed"
            raise BadProof(message)
        assert isinstance(seq, int)
        return seq


def _tree(checkpoint: Checkpoint) -> tuple[str, int, bytes]:
    return checkpoint.origin, checkpoint.size, checkpoint.root
