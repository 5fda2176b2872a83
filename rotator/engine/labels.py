"""What a key of ours is called at the provider: a name for people, and the version's id for us."""

from __future__ import annotations

from rotator.domain.model import VersionId
from rotator.ports.provider import Key

LABEL = "rotator/"
"""What stands before the version's id in the label of a key of ours."""


def label_of(credential: str, version_id: str) -> str:
    """`openai-web rotator/<uuid>`."""
    return f"{credential} {LABEL}{version_id}"


def labelled(key: Key) -> VersionId | None:
    """The version id in a key's label, if it carries one of ours."""
    _, mark, rest = (key.label or "").partition(LABEL)
    return VersionId(rest.split()[0]) if mark and rest.strip() else None


def called(key: Key) -> str:
    """The credential's name in such a label."""
    return (key.label or "").partition(LABEL)[0].strip()
