"""A key that we sign with ourselves is rotated only where we read the new one, and never taken away while we use it.

What takes the old one away is thus a change that the new one has made: it has done real work before the old one goes.
"""

from __future__ import annotations

from collections.abc import Sequence

from rotator.domain.errors import PermanentError, TemporaryError
from rotator.domain.model import Version
from rotator.engine.work import Work
from rotator.ports.provider import Key, Signs


def preflight(work: Work, keys: Sequence[Key]) -> None:
    """Raise PermanentError (own_key) where a new key would leave us with the old one, which is then taken away."""
    if not isinstance(work.provider, Signs) or work.managed.own:
        return
    signing = work.provider.signing_key()
    if signing is not None and any(key.id == signing for key in keys):
        message = f"{signing} is the key that we ourselves sign with, and no destination is where we read it"
        remedy = (
            "let another user's key manage this one; or name a `profile` in the provider and, as a destination, "
            "AWS's credentials file"
        )
        raise PermanentError(message, reason="own_key", remedy=remedy)


def guard(work: Work, version: Version) -> None:
    """Raise TemporaryError (own_key) while we sign with this key ourselves."""
    if version.key_id is None or not isinstance(work.provider, Signs):
        return
    if work.provider.signing_key() == version.key_id:
        message = f"{version.key_id} is the key that we ourselves sign with now"
        remedy = "let us read its successor: `rotator status --self` says where we read it"
        raise TemporaryError(message, reason="own_key", remedy=remedy)
