"""What became of each credential in a run: the sentence for a person, and the exit status."""

from __future__ import annotations

from dataclasses import dataclass

from rotator.cli import words
from rotator.cli.exits import Status
from rotator.cli.words import Entry
from rotator.domain.errors import PermanentError, SetupError, StaleLease, TemporaryError
from rotator.domain.model import Lease
from rotator.domain.policy import NotDue
from rotator.engine.engine import Progress
from rotator.engine.report import stamp

STUCK = ("blocked", "overdue")
"""What makes a pass end with 1."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The outcome for one credential. `said` is empty where nothing is worth a line."""

    name: str
    status: Status
    said: str = ""
    reason: str | None = None
    remedy: str | None = None


def of_wish(progress: Progress, entry: Entry, *, leaked: bool = False, no_new_key: bool = False) -> Verdict:
    """What `--now` came to. `leaked`: it is not done while the old key cannot be taken away.

    `no_new_key`: what leaked is not the current key, so none is made.
    """
    name = progress.name
    if progress.completed and leaked and entry["status"] == "blocked":
        return _trouble(entry, f"{name} has a new key, but the leaked one cannot be taken away: {entry['message']}")
    if progress.completed:
        return Verdict(name=name, status=Status.DONE, said=_where_it_is(entry))
    if progress.held is not None:
        return _held(name, progress.held, Status.HELD)
    if progress.trouble is not None:
        return _of_trouble(progress)
    if no_new_key and entry["status"] not in STUCK:
        return Verdict(name=name, status=Status.DONE, said=f"{name}: no new key is needed")
    return _not_current(progress, entry)


def _where_it_is(entry: Entry) -> str:
    """The new key's addresses, and those that a person did not wait for."""
    at = [row["address"] for row in entry["destinations"] if row["state"] == "current"]
    owed = [row["address"] for row in entry["destinations"] if row["state"] != "current"]
    later = f"; not yet at {', '.join(owed)}, which is written when it answers" if owed else ""
    return f"{entry['name']}: {words.key(entry['current'])} is at {', '.join(at) or 'no destination'}{later}"


def _not_current(progress: Progress, entry: Entry) -> Verdict:
    name = progress.name
    if entry["status"] == "blocked":
        return _trouble(entry, f"{name} is blocked: {entry['message']}")
    if entry["rotation"] is not None:
        return _waiting(entry)
    if isinstance(progress.decision, NotDue):
        return _not_begun(progress.decision, entry)
    return _trouble(entry, f"{name}: no rotation was begun; it is {entry['status']}")


def of_pass(progress: Progress, entry: Entry) -> Verdict:
    """What a plain pass came to: 1 where a person should look."""
    name = progress.name
    if progress.held is not None:
        return _held(name, progress.held, Status.DONE)
    if entry["status"] in STUCK:
        return _trouble(entry, f"{name} is {entry['status']}: {entry['message']}")
    if progress.trouble is not None:
        verdict = _of_trouble(progress)
        if isinstance(progress.trouble, TemporaryError | StaleLease):
            return Verdict(name=name, status=Status.DONE, said=verdict.said, reason=verdict.reason)
        return verdict
    if entry["reason"] == "not_adopted":
        said = f"{name} is not adopted: {entry['message']}"
        return Verdict(name=name, status=Status.DONE, said=said, reason="not_adopted", remedy=entry["remedy"])
    return Verdict(name=name, status=Status.DONE)


def _held(name: str, lease: Lease, status: Status) -> Verdict:
    if words.is_ours(lease):
        said = f"{name}: a call of ours has not come back; nobody touches it until {words.clock(lease.until)}"
        status = Status.TROUBLE if status is Status.HELD else status
        return Verdict(
            name=name, status=status, said=said, reason="lost_answer", remedy="`rotate` goes on with it then"
        )
    said = f"{name}: another worker has it: {words.holder(lease)}"
    return Verdict(name=name, status=status, said=said, reason="held", remedy="wait until it is done, or try again")


def _of_trouble(progress: Progress) -> Verdict:
    trouble = progress.trouble
    assert trouble is not None
    status = Status.TROUBLE
    if isinstance(trouble, SetupError):
        status = Status.SETUP
    elif isinstance(trouble, StaleLease):  # another worker went on with it
        status = Status.HELD
    remedy = trouble.remedy
    if remedy is None and not isinstance(trouble, PermanentError):
        remedy = "`rotate` tries again"
    said = f"{progress.name}: {trouble.message}"
    return Verdict(name=progress.name, status=status, said=said, reason=trouble.reason, remedy=remedy)


def _trouble(entry: Entry, said: str) -> Verdict:
    return Verdict(name=entry["name"], status=Status.TROUBLE, said=said, reason=entry["reason"], remedy=entry["remedy"])


def _waiting(entry: Entry) -> Verdict:
    """The time was over before the rotation was: the work is parked, not lost."""
    rotation = entry["rotation"]
    rows = [row for row in (rotation, *rotation["deliveries"]) if row["reason"]]
    why = "; ".join(dict.fromkeys(str(row["message"]) for row in rows)) or "there was not enough time"
    until = f", not before {words.moment(rows[0]['not_before'])}" if rows and rows[0]["not_before"] else ""
    said = f"{entry['name']} is not current yet: it waits at {rotation['step']}{until}: {why}"
    reason = rows[0]["reason"] if rows else "timeout"
    remedy = f"`rotate` goes on with it; `rotator explain {entry['name']}` says more"
    return Verdict(name=entry["name"], status=Status.TROUBLE, said=said, reason=reason, remedy=remedy)


_REMEDIES = {
    "slot_in_retirement": (
        "wait until the old key is gone; where it is disabled already, `rotate --now --end-soak {name}` deletes it; "
        "if it has leaked, `rotate --compromised {name}`"
    ),
    "reconcile": "`rotator reconcile`",
    "account_braked": "see to the provider; then `rotate --now {name}` tries once",
    "account_busy": "`rotate --now {name}` again, or let a pass do it",
    "max_creates": "wait, or raise policy.max_creates_per_day",
    "unmanaged": "put it back into the configuration",
    "no_material": "`rotator adopt {name}` with the value, or `rotator explain {name}`",
}


def _not_begun(decision: NotDue, entry: Entry) -> Verdict:
    name = entry["name"]
    until = f", until {words.moment(stamp(decision.until))}" if decision.until else ""
    remedy = _REMEDIES.get(decision.reason, "`rotator explain {name}` says more").format(name=name)
    message = decision.message
    if decision.reason == "not_adopted" and entry["remedy"]:
        message, remedy = entry["message"], entry["remedy"]
    said = f"{name} was not rotated: {message}{until}"
    return Verdict(name=name, status=Status.TROUBLE, said=said, reason=decision.reason, remedy=remedy)
