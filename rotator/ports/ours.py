"""What adapters tell of ourselves: what our own credentials may do, and how old they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable


@dataclass(frozen=True, kw_only=True)
class Permission:
    """One thing that we may do, or should, or should not.

    `optional`: we may not, and can do without. `unknown`: nobody can tell, and `what` says why.
    """

    what: str
    state: Literal["held", "missing", "optional", "too_much", "unknown"]
    remedy: str | None = None


@runtime_checkable
class Examined(Protocol):
    """A provider or a destination that can tell what we may do there, without changing anything."""

    def our_permissions(self) -> Sequence[Permission]:
        """What it takes, and what goes beyond that as far as it can be asked. May be repeated.

        Raises TemporaryError and PermanentError; a permission to ask that is missing is an `unknown`, not an error.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Own:
    """One credential of ours as its service knows it. None: the service does not say."""

    what: str  # such as `admin key`
    reference: str | None = None  # where the configuration says that it is; None: found by the environment
    key_id: str | None = None
    since: datetime | None = None
    expires_at: datetime | None = None
    may: str | None = None  # its policies, in words


@runtime_checkable
class Owns(Protocol):
    """An entry of `providers:` or `destinations:` that reaches its service by credentials of ours."""

    def own_credentials(self) -> Sequence[Own]:
        """Each of them, with what the service tells of it. May be repeated. Raises what its requests raise."""
        ...
