"""Everything that may go wrong, by what the engine does about it.

RotatorError
├── TemporaryError          tried again later; `retry_after` in seconds where the other side said so
│   ├── Unavailable         not reached, or it answered 5xx to something that changes nothing
│   ├── RateLimited         429 and its relatives
│   ├── LostAnswer          the request may have taken effect and nobody told us
│   ├── Conflict            a destination changed between our look and our write
│   ├── Crowded             as many rotations of the account as may be are under way
│   └── StoreUnavailable    our own database does not answer
├── PermanentError          a person is needed: the row is blocked with `reason` and `remedy`
│   ├── AccessDenied        our own permission is missing, wrong or expired
│   ├── WrongAccount        the provider or place is not the one that was pinned
│   ├── QuotaExceeded       the provider holds as many keys as it will
│   ├── Refused             the other side understood the request and said no
│   └── Unsafe              carrying on could hurt; we do not
├── Busy                    another living worker has the credential; exit status 75
├── StaleLease              another worker has this credential now; stop silently
└── SetupError              configuration, database or sealing key; exit status 2

An exception that is none of these and leaves a step is a bug: logged, counted, delayed.
Messages are written by us, never copied from a response body, and never hold a secret.
"""

from __future__ import annotations


def code(reason: str) -> str:
    """A reason as people are shown it and as `rotator help` takes it: `E-WRONG-SEALING-KEY`."""
    return f"E-{reason.upper().replace('_', '-')}"


class RotatorError(Exception):
    """The root. `reason` is one of the constants of docs/reasons.md; `remedy` says what to do next."""

    reason = "bug"

    def __init__(self, message: str, *, reason: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.remedy = remedy


class TemporaryError(RotatorError):
    """Trying again later may help. `retry_after` is in seconds."""

    reason = "unavailable"

    def __init__(
        self, message: str, *, retry_after: float | None = None, reason: str | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(message, reason=reason, remedy=remedy)
        self.retry_after = retry_after


class Unavailable(TemporaryError):
    """The other side was not reached or failed; nothing was changed there that matters."""

    reason = "unavailable"


class RateLimited(TemporaryError):
    """The other side asks us to slow down; the request had no effect."""

    reason = "rate_limited"


class LostAnswer(TemporaryError):
    """The request was sent and may have taken effect; the answer did not come, or was a 5xx."""

    reason = "lost_answer"


class Conflict(TemporaryError):
    """The destination is no longer at the revision that we looked at."""

    reason = "conflict"


class Crowded(TemporaryError):
    """As many rotations of one provider account as may be are under way; nothing was opened."""

    reason = "account_busy"


class StoreUnavailable(TemporaryError):
    """The database does not answer: nothing is created, nothing is taken away."""

    reason = "database_unavailable"


class PermanentError(RotatorError):
    """Trying again will not help until a person changes something."""

    reason = "refused"


class AccessDenied(PermanentError):
    """Our own credential for the other side is wrong, expired or may not do this."""

    reason = "access_denied"


class WrongAccount(PermanentError):
    """The other side is not the account, server or environment that was pinned."""

    reason = "wrong_account"


class QuotaExceeded(PermanentError):
    """The provider refuses another key: its slots or its quota are full. Nothing was created."""

    reason = "slot_full"


class Refused(PermanentError):
    """The request was understood and refused; nothing was changed."""

    reason = "refused"


class Unsafe(PermanentError):
    """We could go on, but not without the chance of hurting somebody."""

    reason = "unsafe"


class StaleLease(RotatorError):
    """The lease expired or was taken over: the write changed no row."""

    reason = "lease_lost"


class Busy(RotatorError):
    """Another living worker holds the lease."""

    reason = "held"


class SetupError(RotatorError):
    """What the user gave us cannot work: configuration, database, sealing key. Exit status 2."""

    reason = "setup"
