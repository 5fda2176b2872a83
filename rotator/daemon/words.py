"""The lines of the daemon's log."""

from __future__ import annotations

from rotator.domain.errors import RotatorError, SetupError, StoreUnavailable, code
from rotator.logs import log


def many(number: int, what: str) -> str:
    """`1 credential`, `2 credentials`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def complain(what: str, problem: RotatorError) -> None:
    """Log a problem, each of its lines by itself, and what to do about it."""
    for part in problem.message.splitlines():
        log.error("%s: %s (%s)", what, part.strip(), problem.reason)
    waits = "nothing is lost; it is tried again at each tick"
    remedy = problem.remedy or (waits if not isinstance(problem, SetupError) else None)
    if isinstance(problem, StoreUnavailable):
        remedy = problem.remedy or f"see that the database runs and is reached; {waits}"
    if remedy:
        log.error("To do: %s", remedy)
    log.error("More: rotator help %s", code(problem.reason))
