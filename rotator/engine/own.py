"""A key that we sign with ourselves is rotated only where we read the new one, and never taken away while we use it.

What takes the old one away is thus a change that the new one has made: it has done real work before the old one goes.
"""

from __future__ import annotations

from collections.abc import Sequence

from rotator.domain.errors import PermanentError, TemporaryError
from rotator.domain.model import Version
from rotator.domain.secret import Secret
from rotator.engine.work import Work
from rotator.ports.provider import Key, Signs


def preflight(work: Work, keys: Sequence[Key]) -> None:
    """Raise PermanentError (own_key) where a new key would leave us with the old one, which is then taken away."""
    if work.managed.own:
        return
    found = _signing(work)
    listed = {key.id for key in keys}
    if found is not None and (found in listed or found in {v.key_id for v in work.situation.versions}):
        message = f"{found} is the key that we ourselves sign with, and no destination is where we read it"
        remedy = (
            "let another key manage this one; or write it where we read ours: for AWS, name a `profile` and, "
            "as a destination, AWS's credentials file"
        )
        raise PermanentError(message, reason="own_key", remedy=remedy)


def guard(work: Work, version: Version) -> None:
    """Raise TemporaryError (own_key) while we sign with this key ourselves."""
    if version.key_id is not None and _signing(work) == version.key_id:
        message = f"{version.key_id} is the key that we ourselves sign with now"
        remedy = "let us read its successor: `rotator status --self` says where we read it"
        raise TemporaryError(message, reason="own_key", remedy=remedy)


def _signing(work: Work) -> str | None:
    """The id of the key that we sign with, where it is on record or its provider tells it."""
    if not isinstance(work.provider, Signs):
        return None
    signing = work.provider.signing_key()
    if not isinstance(signing, Secret):
        return signing
    fingerprint = work.fingerprint(signing)
    return next((v.key_id for v in work.situation.versions if v.fingerprint == fingerprint), None)
