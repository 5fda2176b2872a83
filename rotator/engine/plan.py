"""`plan`: what lies ahead of every credential, and where it is too much at once. Needs no sealing key, asks nobody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from rotator.domain.deadlines import HOUR
from rotator.domain.forecast import Coming, Course, Forecast, Hold, Leaving, forecast
from rotator.domain.model import Credential, CredentialId, Situation
from rotator.engine.engine import rotation_ready_at
from rotator.engine.report import Report, stamp
from rotator.engine.work import AWAITING, Managed

Entry = Mapping[str, Any]

QUIET = ("not_due", "rotating", "min_interval")
"""What the checks say at the end of a forecast where nothing is the matter."""


def plan(report: Report, names: Iterable[str], *, days: int, busy: int, in_flight: int) -> dict[str, Any]:
    """The shape of `rotator plan --json`: the rotations that begin within so many days, and what they replace.

    A day is busy with more than `busy` rotations. More than `in_flight` of one provider within an hour are a crowd.
    """
    until = report.at + timedelta(days=days)
    known = {credential.name: credential for credential in report.store.credentials()}
    names = list(names)
    situations = report.situations(known, names)
    entries = [_entry(report, name, situations.get(name) or unseen(name, report.at), until) for name in names]
    return {
        "at": stamp(report.at),
        "environment": report.store.installation().environment,
        "until": stamp(until),
        "credentials": entries,
        "busy_days": _busy_days(entries, busy),
        "crowds": _crowds(entries, in_flight),
    }


def _entry(report: Report, name: str, situation: Situation, until: datetime) -> dict[str, Any]:
    managed = report.managed.get(name)
    entry: dict[str, Any] = {
        "name": name,
        "provider": managed.provider_name if managed is not None else situation.credential.provider,
        "next_rotation_at": None,
        "rotations": [],
        "old_keys": [],
        "waits": [*_waits(report, name, situation)],
    }
    if managed is None:
        message = "the configuration does not name it any more"
        entry["waits"].append(_wait("unmanaged", message, since=None, remedy=f"put {name} back to go on with it"))
    if managed is None or any(wait["reason"] == "not_adopted" for wait in entry["waits"]):
        return entry
    ahead = forecast(report.question(name, situation), course(managed, situation), until)
    begins = [coming.begins_at for coming in ahead.rotations if not coming.open]
    then = ahead.then.until if ahead.then is not None and ahead.then.reason in QUIET[:1] else None
    return entry | {
        "next_rotation_at": stamp(begins[0] if begins else then),
        "rotations": [_rotation(coming, ahead, situation) for coming in ahead.rotations],
        "old_keys": [_old_key(gone, situation) for gone in ahead.leaving],
        "waits": [*entry["waits"], *_waits_ahead(name, ahead, entry["waits"])],
    }


def unseen(name: str, now: datetime) -> Situation:
    """Of a credential that no pass has looked at."""
    credential = Credential(id=CredentialId(name), name=name, provider="", managed=True, created_at=now)
    return Situation(
        credential=credential,
        versions=(),
        rotation=None,
        deliveries=(),
        retirements=(),
        placements=(),
        last_completed_at=None,
    )


def course(managed: Managed, situation: Situation) -> Course:
    """What the provider makes of this credential's rotations."""
    capabilities = managed.provider.capabilities
    return Course(
        can_tell=capabilities.can_tell,
        supplied=capabilities.origin == "supplied",
        can_delete=capabilities.can_delete,
        life=capabilities.life,
        ready_at=rotation_ready_at(situation),
    )


def _rotation(coming: Coming, ahead: Forecast, situation: Situation) -> dict[str, Any]:
    row = situation.rotation if coming.open else None
    state = "planned" if row is None else "blocked" if coming.completes_at is None else "rotating"
    return {
        "state": state,
        "cause": coming.cause.value,
        "message": coming.message,
        "breaks": coming.breaks,
        "version": coming.version,
        "due_at": stamp(coming.due_at),
        "begins_at": stamp(coming.begins_at),
        "completes_at": stamp(coming.completes_at),
        "supply_by": stamp(coming.supply_by),
        "living": coming.living,
        "replaces": [gone.version.number for gone in ahead.leaving if gone.replaced_by == coming.version],
        "holds": [_hold(hold) for hold in coming.holds],
    }


def _hold(hold: Hold) -> dict[str, Any]:
    return {"reason": hold.reason, "message": hold.message, "since": stamp(hold.since), "until": stamp(hold.until)}


def _old_key(gone: Leaving, situation: Situation) -> dict[str, Any]:
    version = gone.version
    on_record = situation.version(version.id) is not None
    return {
        "version": version.number,
        "key_id": version.key_id if on_record else None,
        "why": gone.why.value,
        "disabled_at": stamp(gone.disabled_at),
        "deleted_at": stamp(gone.deleted_at),
    }


# what waits


def _wait(
    reason: str, message: str | None, *, since: datetime | None, until: datetime | None = None, remedy: str | None
) -> dict[str, Any]:
    return {"reason": reason, "message": message, "since": stamp(since), "until": stamp(until), "remedy": remedy}


def _waits(report: Report, name: str, situation: Situation) -> Iterator[dict[str, Any]]:
    """What stands in the way now, or needs a person."""
    stopped = report.in_the_way(name)
    if stopped is not None:
        yield _wait(stopped.kind, stopped.message, since=stopped.found_at, remedy=stopped.remedy)
    credential = situation.credential
    if credential.paused(report.at):
        since, until = credential.paused_at, credential.paused_until
        yield _wait("paused", credential.pause_message, since=since, until=until, remedy=f"`rotator unpause {name}`")
    finding = next((f for f in report.findings if f.kind == "not_adopted" and f.subject == name), None)
    if finding is not None and situation.current is None:
        yield _wait("not_adopted", finding.message, since=finding.found_at, remedy=finding.remedy)
    rows = [situation.rotation, *(d for d in situation.deliveries if not d.without), *situation.retirements]
    for row in rows:
        if row is not None and row.blocked:
            yield _wait(str(row.reason), row.message, since=row.since, remedy=row.remedy)


def _waits_ahead(name: str, ahead: Forecast, known: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    """What will wait for a person, or does not begin before the end."""
    for coming in ahead.rotations:
        if coming.supply_by is not None:
            message = f"a person has to make version {coming.version}"
            since, until = coming.begins_at, coming.supply_by
            yield _wait(AWAITING, message, since=since, until=until, remedy=f"`rotator supply {name}` takes it")
    reasons = {wait["reason"] for wait in known}
    for hold in ahead.holds:
        if hold.reason not in reasons:
            yield _wait(hold.reason, hold.message, since=hold.since, until=hold.until, remedy=None)
    then = ahead.then
    if then is not None and then.reason not in (*QUIET, *reasons, *(hold.reason for hold in ahead.holds)):
        by_hand = f"`rotate --now {name}` rotates it" if then.reason == "by_hand" else None
        yield _wait(then.reason, then.message, since=None, until=then.until, remedy=by_hand)


# too much at once


def _begins(entries: Iterable[Entry]) -> list[tuple[str, str, str]]:
    """(moment, credential, provider) of every rotation that is still to begin, in order."""
    return sorted(
        (rotation["begins_at"], entry["name"], entry["provider"])
        for entry in entries
        for rotation in entry["rotations"]
        if rotation["state"] == "planned"
    )


def _busy_days(entries: Iterable[Entry], most: int) -> list[dict[str, Any]]:
    found = []
    for day, begins in groupby(_begins(entries), key=lambda begin: begin[0][:10]):
        names = [name for _, name, _ in begins]
        if len(names) > most:
            found.append({"day": day, "rotations": len(names), "credentials": sorted(set(names))})
    return found


def _crowds(entries: Iterable[Entry], most: int) -> list[dict[str, Any]]:
    """More rotations of one provider within an hour than move at once: some of them will wait for the others."""
    found = []
    begins = sorted(_begins(entries), key=lambda begin: begin[2])
    for provider, group in groupby(begins, key=lambda begin: begin[2]):
        left = [(datetime.fromisoformat(at), name) for at, name, _ in group]
        while left:
            near = [(at, name) for at, name in left if at < left[0][0] + HOUR]
            if len(near) > most:
                found.append(
                    {
                        "provider": provider,
                        "since": stamp(near[0][0]),
                        "until": stamp(near[-1][0]),
                        "rotations": len(near),
                        "in_flight": most,
                        "credentials": sorted({name for _, name in near}),
                    }
                )
            left = left[len(near) if len(near) > most else 1 :]
    return sorted(found, key=lambda crowd: crowd["since"])
