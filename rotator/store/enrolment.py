"""Enrolment: the credentials on record, made to agree with those that the configuration names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import rfc8785
from sqlalchemy import Connection, bindparam, delete, insert, select, text, update

from rotator.domain.events import Outcome, Subject, name
from rotator.domain.model import Credential, CredentialId
from rotator.ports.store import NewEvent, Pause
from rotator.store import audit, leases, reading, tables
from rotator.store.database import Database

NewId = Callable[[], str]


_ALL = select(tables.credential).order_by(tables.credential.c.name)
_CALLED = select(tables.credential).where(tables.credential.c.name == bindparam("called"))


def credentials(connection: Connection) -> Sequence[Credential]:
    """All of them, by name."""
    return reading.many(connection, Credential, _ALL)


def credential(connection: Connection, called: str) -> Credential | None:
    """The one of this name."""
    return reading.one(connection, Credential, _CALLED, called=called)


def unfinished(connection: Connection) -> dict[str, str | None]:
    """Name → the entry last kept, of every credential with a rotation or retirement open."""
    credential, kept = tables.credential, tables.configured
    rotating = select(tables.rotation.c.credential_id).where(text(tables.ROTATION_IS_OPEN))
    retiring = select(tables.retirement.c.credential_id).where(text(tables.RETIREMENT_IS_OPEN))
    query = (
        select(credential.c.name, kept.c.entry)
        .join_from(credential, kept, isouter=True)
        .where(credential.c.id.in_(rotating) | credential.c.id.in_(retiring))
        .order_by(credential.c.name)
    )
    return {row.name: row.entry for row in connection.execute(query)}


def enroll(
    database: Database,
    names: Mapping[str, str],
    entries: Mapping[str, str],
    actor: str,
    new_id: NewId,
    revision: str | None = None,
) -> Sequence[Credential]:
    """Insert what is missing, unmanage what is named no more, keep the entries, and return all credentials.

    A look is enough where the rows agree already, as they do nearly always.
    """
    with database.read() as connection:
        known = credentials(connection)
        if not _changes(known, names) and not _outdated(connection, known, entries):
            return known
    with database.write() as connection:
        audit.lock(connection)  # of several workers that start at once, one enrolls
        now = database.now(connection)
        changes = _changes(credentials(connection), names)
        events = [_change(connection, known, provider, actor, now, new_id) for known, provider in changes]
        events_in_order = sorted(events, key=lambda event: event.credential or "")
        known, kept = credentials(connection), _kept(connection)
        outdated = _outdated(connection, known, entries)
        for one in known:
            if one.id in outdated and one.id in kept:
                events_in_order += policy_change(one.name, kept[one.id], outdated[one.id], actor, revision)
        _keep(connection, outdated)
        audit.append(connection, now, events_in_order)
        return known


def policy_change(called: str, before: str, after: str, actor: str, revision: str | None) -> list[NewEvent]:
    """The event that tells what of a credential's policy is another one now; none where nothing is.

    A policy is told as far as somebody has written it, here or in `defaults`. `hash` is the SHA-256 of the RFC 8785
    form of the new one.
    """
    old, new = _policy(before), _policy(after)
    if old == new:
        return []
    digest = hashlib.sha256(rfc8785.dumps(new)).hexdigest()
    detail = {"old": old, "new": new, "hash": digest, "revision": revision}
    return [NewEvent(event=name(Subject.POLICY, Outcome.SUCCEEDED), actor=actor, credential=called, detail=detail)]


def _policy(entry: str) -> dict[str, Any]:
    found = json.loads(entry)
    return dict(found.get("policy", {})) if isinstance(found, dict) else {}


def _outdated(
    connection: Connection, known: Sequence[Credential], entries: Mapping[str, str]
) -> dict[CredentialId, str]:
    """The entries that are not kept as they are now."""
    if not entries:
        return {}
    kept = _kept(connection)
    wanted = {credential.id: entries[credential.name] for credential in known if credential.name in entries}
    return {credential_id: entry for credential_id, entry in wanted.items() if kept.get(credential_id) != entry}


def _kept(connection: Connection) -> dict[CredentialId, str]:
    return {row.credential_id: row.entry for row in connection.execute(select(tables.configured))}


def _keep(connection: Connection, entries: Mapping[CredentialId, str]) -> None:
    if not entries:
        return
    table = tables.configured
    connection.execute(delete(table).where(table.c.credential_id.in_(entries)))
    connection.execute(insert(table), [{"credential_id": of, "entry": entry} for of, entry in entries.items()])


def move(database: Database, credential_id: CredentialId, called: str, event: NewEvent) -> bool:
    """Another name for the same row, with its event; False where it has it already or one with keys does."""
    finding, table = tables.finding, tables.credential
    with database.write() as connection:
        audit.lock(connection)
        there = credential(connection, called)
        if there is not None and (there.id == credential_id or not _give_way(connection, there, credential_id)):
            return False
        now = database.now(connection)
        connection.execute(update(table).where(table.c.id == credential_id).values(name=called))
        leases.wake(connection, credential_id)
        about = (finding.c.credential_id == credential_id, finding.c.cleared_at.is_(None))
        kinds = connection.scalars(select(finding.c.kind).where(*about).order_by(finding.c.kind)).all()
        connection.execute(update(finding).where(*about).values(cleared_at=now))
        audit.append(connection, now, [event, *(moved(event, kind) for kind in kinds)])
        return True


def _give_way(connection: Connection, there: Credential, to: CredentialId) -> bool:
    """Take a row away that never had a key, so that its name is free; say whether it was so."""
    used = (tables.version, tables.rotation, tables.placement)
    if any(connection.execute(select(t.c.credential_id).where(t.c.credential_id == there.id)).first() for t in used):
        return False
    finding = tables.finding
    connection.execute(update(finding).where(finding.c.credential_id == there.id).values(credential_id=to))
    for table in (tables.lease, tables.configured, tables.sighting, tables.sample, tables.sampling):
        connection.execute(delete(table).where(table.c.credential_id == there.id))
    connection.execute(delete(tables.credential).where(tables.credential.c.id == there.id))
    return True


def moved(event: NewEvent, kind: str) -> NewEvent:
    """A finding of a credential that has another name now is cleared, to be found anew."""
    return NewEvent(
        event=name(Subject(kind), Outcome.CLEARED), actor=event.actor, credential=event.credential, reason="moved"
    )


def pause(database: Database, credential_id: CredentialId, wanted: Pause | None, event: NewEvent) -> bool:
    """Write or clear a credential's pause, with its event; False where it is as wanted already."""
    table = tables.credential
    names = ("paused_at", "paused_by", "paused_until", "pause_reason")
    with database.write() as connection:
        audit.lock(connection)
        now = database.now(connection)
        row = connection.execute(select(table).where(table.c.id == credential_id)).mappings().one()
        values: dict[str, Any] = dict.fromkeys(names)
        if wanted is not None:
            until = None if wanted.lasts is None else now + wanted.lasts
            values = dict(zip(names, (now, wanted.by, until, wanted.why), strict=True))
        if {**values, "paused_at": row["paused_at"]} == {name: row[name] for name in names}:
            return False
        connection.execute(update(table).where(table.c.id == credential_id).values(values))
        leases.wake(connection, credential_id)
        audit.append(connection, now, [event])
        return True


def _changes(known: Sequence[Credential], names: Mapping[str, str]) -> list[tuple[Credential | str, str | None]]:
    """Pairs of a credential (or the name of a new one) and its provider in the configuration (None: unnamed)."""
    changed: list[tuple[Credential | str, str | None]] = []
    for credential in known:
        provider = names.get(credential.name)
        stays = credential.managed and credential.provider == provider
        if not stays and (provider is not None or credential.managed):
            changed.append((credential, provider))
    return changed + [(new, names[new]) for new in sorted(names.keys() - {credential.name for credential in known})]


def _change(
    connection: Connection,
    known: Credential | str,
    provider: str | None,
    actor: str,
    now: datetime,
    new_id: NewId,
) -> NewEvent:
    if isinstance(known, str):
        assert provider is not None
        _insert(connection, CredentialId(new_id()), known, provider, now)
        return _event(Subject.ENROLL, known, actor, {"provider": provider})
    managed = provider is not None
    changed = replace(known, managed=managed, provider=provider or known.provider)
    table = tables.credential
    values = {"managed": changed.managed, "provider": changed.provider}
    connection.execute(update(table).where(table.c.id == known.id).values(values))
    leases.wake(connection, known.id)
    if not managed:
        return _event(Subject.UNMANAGE, known.name, actor, {})
    was = {} if known.provider == provider else {"provider_before": known.provider}
    return _event(Subject.ENROLL, known.name, actor, {"provider": changed.provider, **was})


def _insert(connection: Connection, new: CredentialId, called: str, provider: str, now: datetime) -> None:
    credential = Credential(id=new, name=called, provider=provider, managed=True, created_at=now)
    connection.execute(insert(tables.credential).values(asdict(credential)))
    # The lease row exists from the start, so that a claim has a row to lock.
    lease = {"credential_id": new, "holder": "", "epoch": 0, "until": now, "released": True, "fenced_at": None}
    connection.execute(insert(tables.lease).values(lease))


def _event(subject: Subject, credential: str, actor: str, detail: Mapping[str, str]) -> NewEvent:
    return NewEvent(event=name(subject, Outcome.SUCCEEDED), actor=actor, credential=credential, detail=detail)
