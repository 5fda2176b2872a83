"""Signed notes and checkpoints: C2SP `signed-note` (Ed25519, type 0x01) and `tlog-checkpoint`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

_ED25519 = b"\x01"
_ID_BYTES = 4
_MOST_BYTES = 1_000_000  # of a note; the largest that anybody has to accept is far smaller
_SIGNATURE = re.compile(r"— (\S+) (\S+)")


class BadNote(ValueError):
    """Not a note, checkpoint or key, or not signed as it must be. The message says what is wrong."""


@dataclass(frozen=True)
class VerifierKey:
    """Who signs, and the public key: in text `name+id+key`, as Go's `sumdb/note` writes it."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Raises BadNote."""
        name, _, rest = text.strip().partition("+")
        claimed, _, encoded = rest.partition("+")
        raw = _decode(encoded, "the key is not base64")
        key = cls(name, raw[1:])
        if not name or re.search(r"\s", name) or raw[:1] != _ED25519 or len(key.public) != 32:  # noqa: PLR2004 - bytes
            message = "it is not a verifier key (NAME+ID+KEY) for Ed25519"
            raise BadNote(message)
        if key.id.hex() != claimed:
            message = f"its id is {key.id.hex()}, not {claimed}: the key was changed"
            raise BadNote(message)
        return key

    @property
    def id(self) -> bytes:
        """Its first four bytes tell apart the keys of one name."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_ID_BYTES]

    def signed(self, text: bytes, signature: bytes) -> bool:
        """Whether this key made this signature of this text."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class Checkpoint:
    """What was signed: of this log, the tree of the first `size` events has this root."""

    origin: str
    size: int
    root: bytes
    text: str  # what the signatures are of
    signatures: Sequence[tuple[str, bytes]]  # key name, and id and signature

    @classmethod
    def parse(cls, note: str) -> Checkpoint:
        """Take a note apart, without a look at the signatures. Raises BadNote."""
        if len(note) > _MOST_BYTES or re.search(r"[\x00-\x09\x0b-\x1f]", note) or not note.endswith("\n"):
            message = "it is not a signed note"
            raise BadNote(message)
        text, blank, tail = note.rpartition("\n\n")
        matches = [_SIGNATURE.fullmatch(line) for line in tail.split("\n")[:-1]]
        signatures = [(m[1], _decode(m[2], "a signature is not base64")) for m in matches if m]
        if not blank or not signatures or len(signatures) != len(matches):
            message = "it is not a signed note"
            raise BadNote(message)
        origin, size, root = (*text.split("\n", 3)[:3], "", "")[:3]
        if not origin or not re.fullmatch(r"0|[1-9]\d{0,18}", size, re.ASCII) or "" in text.split("\n"):
            message = "it is not a checkpoint: origin, size and root in three lines"
            raise BadNote(message)
        decoded = _decode(root, "its root is not base64")
        if len(decoded) != hashlib.sha256().digest_size:
            message = "its root is not 32 bytes"
            raise BadNote(message)
        return cls(origin, int(size), decoded, f"{text}\n", signatures)

    def check(self, keys: Sequence[VerifierKey]) -> None:
        """Raise BadNote unless one of these keys has signed it, and no signature of theirs is wrong."""
        known = {(key.name, key.id): key for key in keys}
        ours = [(known[of], raw) for name, raw in self.signatures if (of := (name, raw[:_ID_BYTES])) in known]
        if not ours:
            names = ", ".join(f"{name}+{raw[:_ID_BYTES].hex()}" for name, raw in self.signatures)
            message = f"it is signed by {names}, and by none of the keys that were given"
            raise BadNote(message)
        if not all(key.signed(self.text.encode(), raw[_ID_BYTES:]) for key, raw in ours):
            message = "its signature is wrong"
            raise BadNote(message)


def _decode(text: str, message: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadNote(message) from None
