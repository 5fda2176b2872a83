"""The key-encryption keys of one database: added, activated, re-wrapped to, removed. Every change has its event.

A key is added once it was proved, and from then on all workers must have it. One of them is active: new values are
sealed under it. What was sealed before is re-wrapped value by value, each by a guarded update of its own, so that any
number of processes may do it at once, be killed, and go on. A key that a value needs cannot be removed; the database's
foreign keys see to that, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select, true, update

from rotator.domain.errors import PermanentError, SetupError
from rotator.domain.events import Outcome, Subject, name
from rotator.domain.model import VersionId
from rotator.ports.store import NewEvent
from rotator.store import audit
from rotator.store.database import Database
from rotator.store.material import Vault
from rotator.store.tables import install, sealed, sealing_key


@dataclass(frozen=True, kw_only=True)
class SealingKey:
    """One key on record, and what needs it."""

    id: str
    name: str
    active: bool
    added_at: datetime
    values: int  # sealed under it
    pepper: bool  # is it sealed under it?

    @property
    def needed(self) -> bool:
        """Whether something would be lost with it."""
        return self.active or self.pepper or self.values > 0

    @property
    def called(self) -> str:
        """For messages."""
        return f"{self.name} ({self.id})"


@dataclass(frozen=True)
class Rewrapped:
    """How far a re-wrapping has come: values done by this process, and those that are left."""

    done: int
    left: int


class SealingKeys:
    """The keys on record. `vault` needs sealers for `add`, `prove` and `rewrap` alone."""

    def __init__(self, database: Database, vault: Vault, actor: str) -> None:
        self._database = database
        self._vault = vault
        self._actor = actor

    def listed(self) -> list[SealingKey]:
        """All of them, in the order of their adding."""
        with self._database.read() as connection:
            return _listed(connection)

    def find(self, wanted: str) -> SealingKey:
        """The key of this name or id. Raises SetupError where there is none, or several."""
        return _find(self.listed(), wanted)

    def prove(self, key: SealingKey) -> None:
        """Raise unless the key at hand is this one and opens what it has sealed."""
        with self._database.read() as connection:
            proof = connection.scalar(select(sealing_key.c.proof).where(sealing_key.c.id == key.id))
        self._vault.keyring.sealer(key.id, key.name)
        self._vault.prove(key.id, bytes(proof or b""))

    def add(self, wanted: str, reason: str | None) -> bool:
        """Prove the key of this name and put it on record; False where it is there already."""
        sealer = self._vault.keyring.named(wanted)
        proof = self._vault.proof(sealer.id)
        self._vault.prove(sealer.id, proof)
        with self._database.write() as connection:
            audit.lock(connection)
            known = _listed(connection)
            if any(key.id == sealer.id for key in known):
                return False
            if not known:
                message = "this database has no sealing key yet"
                raise SetupError(message, reason="nothing_to_do", remedy="the first pass takes seal.key by itself")
            now = self._database.now(connection)
            row = {"id": sealer.id, "name": sealer.name, "proof": proof, "active": False, "added_at": now}
            connection.execute(insert(sealing_key).values(row))
            event = name(Subject.SEAL_ADD, Outcome.SUCCEEDED)
            audit.append(connection, now, [self._event(event, reason, key=sealer.id, name=sealer.name)])
        return True

    def activate(self, key: SealingKey, reason: str | None) -> bool:
        """Have new values sealed under this key; False where they are already."""
        with self._database.write() as connection:
            audit.lock(connection)
            known = _find(_listed(connection), key.id)
            if known.active:
                return False
            connection.execute(update(sealing_key).where(sealing_key.c.active == true()).values(active=False))
            connection.execute(update(sealing_key).where(sealing_key.c.id == key.id).values(active=True))
            event = name(Subject.SEAL_ACTIVATE, Outcome.SUCCEEDED)
            told = self._event(event, reason, key=key.id, name=key.name)
            audit.append(connection, self._database.now(connection), [told])
        return True

    def remove(self, key: SealingKey, reason: str | None) -> None:
        """Take a key off the record: workers need it no more. Raises PermanentError where anything needs it."""
        with self._database.write() as connection:
            audit.lock(connection)
            known = _find(_listed(connection), key.id)
            if known.needed:
                raise _still_needed(known)
            connection.execute(delete(sealing_key).where(sealing_key.c.id == key.id))
            event = name(Subject.SEAL_REMOVE, Outcome.SUCCEEDED)
            told = self._event(event, reason, key=key.id, name=key.name)
            audit.append(connection, self._database.now(connection), [told])

    def rewrap(self, batch: int, reason: str | None) -> Iterator[Rewrapped]:
        """Seal everything under the active key, the pepper first; tell after each batch. May be killed, and repeated.

        Nothing is begun, or told, where nothing is left to do.
        """
        active = next(key for key in self.listed() if key.active)
        left = self._left(active.id)
        if not left:
            return
        started = name(Subject.SEAL_REWRAP, Outcome.STARTED)
        self._note(self._event(started, reason, key=active.id, name=active.name, left=left))
        done = self._pepper(active.id)
        after = ""
        while rows := self._batch(active.id, after, batch):
            for version_id, blob in rows:
                done += self._value(version_id, blob, active.id)
            after = rows[-1][0]
            yield Rewrapped(done, self._left(active.id))
        yield Rewrapped(done, self._left(active.id))
        ended = name(Subject.SEAL_REWRAP, Outcome.SUCCEEDED)
        self._note(self._event(ended, reason, key=active.id, name=active.name, done=done))

    def _left(self, active: str) -> int:
        with self._database.read() as connection:
            values = select(func.count()).select_from(sealed).where(sealed.c.sealed_under != active)
            pepper = select(func.count()).select_from(install).where(install.c.pepper_under != active)
            return (connection.scalar(values) or 0) + (connection.scalar(pepper) or 0)

    def _batch(self, active: str, after: str, most: int) -> list[tuple[VersionId, bytes]]:
        query = (
            select(sealed.c.version_id, sealed.c.material)
            .where(sealed.c.sealed_under != active, sealed.c.version_id > after)
            .order_by(sealed.c.version_id)
            .limit(most)
        )
        with self._database.read() as connection:
            return [(row.version_id, bytes(row.material)) for row in connection.execute(query)]

    def _value(self, version_id: VersionId, blob: bytes, active: str) -> int:
        """Re-wrap one value, unless it was replaced, dropped or re-wrapped meanwhile; give how many were."""
        place = self._vault.place_of_material(version_id)
        again = self._vault.reseal(self._vault.keyring.open(blob, place), place, active)
        guarded = update(sealed).where(sealed.c.version_id == version_id, sealed.c.material == blob)
        with self._database.write() as connection:
            return connection.execute(guarded.values(material=again, sealed_under=active)).rowcount

    def _pepper(self, active: str) -> int:
        """The same for the pepper, whose value never changes."""
        with self._database.read() as connection:
            row = connection.execute(select(install.c.pepper, install.c.pepper_under)).one()
        if row.pepper_under == active:
            return 0
        blob, place = bytes(row.pepper), self._vault.place_of_pepper
        again = self._vault.reseal(self._vault.keyring.open(blob, place), place, active)
        guarded = update(install).where(install.c.pepper == blob)
        with self._database.write() as connection:
            return connection.execute(guarded.values(pepper=again, pepper_under=active)).rowcount

    def _note(self, event: NewEvent) -> None:
        with self._database.write() as connection:
            audit.append(connection, self._database.now(connection), [event])

    def _event(self, event: str, reason: str | None, **detail: object) -> NewEvent:
        because = {"because": reason} if reason else {}
        return NewEvent(event=event, actor=self._actor, detail={**detail, **because})


def _listed(connection: Connection) -> list[SealingKey]:
    counted = select(sealed.c.sealed_under, func.count()).group_by(sealed.c.sealed_under)
    values = {row[0]: row[1] for row in connection.execute(counted)}
    pepper = connection.scalar(select(install.c.pepper_under))
    query = select(sealing_key).order_by(sealing_key.c.added_at, sealing_key.c.id)
    return [
        SealingKey(
            id=row.id,
            name=row.name,
            active=row.active,
            added_at=row.added_at,
            values=values.get(row.id, 0),
            pepper=row.id == pepper,
        )
        for row in connection.execute(query)
    ]


def _find(known: list[SealingKey], wanted: str) -> SealingKey:
    found = [key for key in known if wanted in (key.id, key.name)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(key.called for key in known) or "none"
    if found:
        message = f"several sealing keys on record are called {wanted}: {', '.join(key.id for key in found)}"
        raise SetupError(message, reason="unknown_sealing_key", remedy="name one by its id")
    message = f"no sealing key {wanted} is on record; on record: {names}"
    raise SetupError(message, reason="unknown_sealing_key", remedy="`rotator seal add KEY` puts one there")


def _still_needed(key: SealingKey) -> PermanentError:
    if key.active:
        message = f"{key.called} is the active key: new values are sealed under it"
        return PermanentError(message, reason="sealing_key_needed", remedy="`rotator seal activate` another one first")
    parts = [f"{key.values} sealed {'value' if key.values == 1 else 'values'}"] if key.values else []
    what = " and ".join([*parts, *(["the pepper of all fingerprints"] if key.pepper else [])])
    message = f"{what} can be opened with {key.called} alone"
    return PermanentError(message, reason="sealing_key_needed", remedy="`rotator seal rewrap` first")
