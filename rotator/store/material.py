"""Sealed values: the material of versions, the pepper of fingerprints, and the proof that a key is the right one."""

from __future__ import annotations

import hmac
import json
import secrets

from sqlalchemy import Connection, bindparam, delete, insert, select, text, update

from rotator.domain.errors import SetupError
from rotator.domain.model import VersionId
from rotator.domain.secret import Material, Secret
from rotator.ports.sealer import Place
from rotator.store import audit, tables
from rotator.store.database import Database
from rotator.store.keyring import Keyring, Prepared, key_of
from rotator.store.tables import install, sealed, sealing_key

PROOF = b"keyturn"
"""What is sealed as the proof of a key."""

_BLOCK = 256  # the length of what is sealed tells no more than this
_OF_VERSION = sealed.c.version_id == bindparam("version")
_MATERIAL = select(sealed.c.material).where(_OF_VERSION)
_ACTIVE = select(sealing_key.c.id).where(text(tables.KEY_IS_ACTIVE))
_FORGET = delete(sealed).where(_OF_VERSION)


def place_of(install_id: str, table: str, row: str, column: str) -> Place:
    """One value's place in one database."""
    return {"install": install_id, "table": table, "row": row, "column": column}


class Fingerprinting:
    """HMAC-SHA256 under the pepper, 128 bits in hex. A `ports.sealer.Fingerprint`."""

    def __init__(self, pepper: bytes) -> None:
        self._pepper = pepper

    def __call__(self, value: Secret) -> str:
        """Of a value."""
        return self.of(value.reveal().encode("utf-8", "surrogatepass"))

    def of(self, text: bytes) -> str:
        """Of a text that may be a value, in UTF-8: for the many that a search tries."""
        return hmac.digest(self._pepper, text, "sha256")[:16].hex()


class Vault:
    """What is sealed in one database. Methods raise SetupError for a wrong key, or where none was given.

    What was tampered with is a PermanentError; where a sealer is a service, they also raise what it does.
    """

    def __init__(self, database: Database, install_id: str, keyring: Keyring | None) -> None:
        self._database = database
        self._install_id = install_id
        self._keyring = keyring

    @property
    def keyring(self) -> Keyring:
        """The sealers. Raises SetupError where the caller has none."""
        if self._keyring is None:
            message = "this needs the sealing key"
            raise SetupError(message, reason="no_sealing_key", remedy="name it as seal.key in the configuration")
        return self._keyring

    def unlock(self) -> Fingerprinting:
        """Prove the keys, and unseal the pepper. In a database that knows no key, the first one makes both.

        Every key on record must be at hand, and the active one must open its proof. Two workers who make them at once
        get the same ones.
        """
        keyring = self.keyring
        with self._database.ask() as connection:
            known = connection.execute(select(sealing_key)).all()
        if not known:
            self._begin()
            with self._database.ask() as connection:
                known = connection.execute(select(sealing_key)).all()
        for key in known:
            keyring.sealer(key.id, key.name)
        active = next(key for key in known if key.active)
        self.prove(active.id, bytes(active.proof))
        with self._database.ask() as connection:
            pepper = connection.scalar(select(install.c.pepper))
        return Fingerprinting(keyring.open(bytes(pepper or b""), self.place_of_pepper))

    def _begin(self) -> None:
        first = self.keyring.first
        proof = self.proof(first.id)
        pepper = self.reseal(secrets.token_bytes(32), self.place_of_pepper, first.id)
        with self._database.write() as connection:
            audit.lock(connection)
            if connection.scalar(_ACTIVE) is not None:
                return
            now = self._database.now(connection)
            row = {"id": first.id, "name": first.name, "proof": proof, "active": True, "added_at": now}
            connection.execute(insert(sealing_key).values(row))
            connection.execute(update(install).values(pepper=pepper, pepper_under=first.id))

    def proof(self, key_id: str) -> bytes:
        """What only this key opens: the sentinel."""
        return self.reseal(PROOF, self._place_of_proof(key_id), key_id)

    def prove(self, key_id: str, proof: bytes) -> None:
        """Raise unless the key at hand opens its proof."""
        self.keyring.sealer(key_id)
        self.keyring.open(proof, self._place_of_proof(key_id))

    def prepare(self, version_id: VersionId) -> Prepared:
        """Have a data key ready for a version: sealing it then asks nobody but the database."""
        return self.keyring.prepare(self._active(), self.place_of_material(version_id))

    def seal(self, version_id: VersionId, material: Material, prepared: Prepared | None = None) -> bytes:
        """The blob to keep for this version, under the active key. Writes nothing."""
        if prepared is None or prepared.sealer.id != self._active():
            prepared = self.prepare(version_id)
        plain = json.dumps({name: value.reveal() for name, value in material.items()}).encode()
        padded = plain.ljust(-(-len(plain) // _BLOCK) * _BLOCK)  # with spaces, which JSON allows there
        return self.keyring.seal(padded, self.place_of_material(version_id), prepared)

    def material(self, version_id: VersionId) -> Material | None:
        """What is kept for this version."""
        with self._database.ask() as connection:
            blob = connection.scalar(_MATERIAL, {"version": version_id})
        if blob is None:
            return None
        plain = self.keyring.open(bytes(blob), self.place_of_material(version_id))
        return Material({name: Secret(value) for name, value in json.loads(plain).items()})

    def reseal(self, plain: bytes, place: Place, key_id: str) -> bytes:
        """A blob of what was sealed before, or never was, under this key."""
        return self.keyring.seal(plain, place, self.keyring.prepare(key_id, place))

    def place_of_material(self, version_id: VersionId) -> Place:
        """Where the material of a version stands."""
        return place_of(self._install_id, "sealed", version_id, "material")

    @property
    def place_of_pepper(self) -> Place:
        """Where the pepper stands."""
        return place_of(self._install_id, "install", self._install_id, "pepper")

    def _place_of_proof(self, key_id: str) -> Place:
        return place_of(self._install_id, "sealing_key", key_id, "proof")

    def _active(self) -> str:
        """The key that seals now; another process may have activated it a moment ago."""
        with self._database.ask() as connection:
            found = connection.scalar(_ACTIVE)
        if found is None:
            self.unlock()  # makes the first one
            return self._active()
        return str(found)


def keep(connection: Connection, version_id: VersionId, blob: bytes, *, at: object) -> None:
    """Store a blob, in place of what was kept."""
    forget(connection, version_id)
    row = {"version_id": version_id, "material": blob, "sealed_under": key_of(blob), "sealed_at": at}
    connection.execute(insert(sealed).values(row))


def forget(connection: Connection, version_id: VersionId) -> None:
    """Drop what was kept, if anything."""
    connection.execute(_FORGET, {"version": version_id})


def forget_at_rest(connection: Connection, credential_id: str | None = None) -> None:
    """Drop what is kept of a credential (None: of each) that has neither a rotation nor a retirement open."""
    version, rotation, retirement = tables.version, tables.rotation, tables.retirement
    rotating = select(rotation.c.credential_id).where(text(tables.ROTATION_IS_OPEN))
    retiring = select(retirement.c.credential_id).where(text(tables.RETIREMENT_IS_OPEN))
    at_rest = select(version.c.id).where(
        version.c.credential_id.not_in(rotating), version.c.credential_id.not_in(retiring)
    )
    if credential_id is not None:
        at_rest = at_rest.where(version.c.credential_id == credential_id)
    connection.execute(delete(sealed).where(sealed.c.version_id.in_(at_rest)))
