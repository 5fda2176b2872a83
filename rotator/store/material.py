"""Sealed rows: the material of versions, and the pepper of fingerprints, which also tells a wrong sealing key."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from rotator.domain.errors import SetupError
from rotator.domain.model import VersionId
from rotator.domain.secret import Material, Secret
from rotator.ports.sealer import Fingerprint, Sealer
from rotator.store.database import Database
from rotator.store.tables import install, sealed

_OF_VERSION = sealed.c.version_id == bindparam("version")
_MATERIAL = select(sealed.c.material).where(_OF_VERSION)
_FORGET = delete(sealed).where(_OF_VERSION)


def bound_to(install_id: str, table: str, row: str, column: str) -> str:
    """The name of one value in one database, for the sealer."""
    return json.dumps({"column": column, "install": install_id, "row": row, "table": table})


def fingerprinting(pepper: bytes) -> Fingerprint:
    """HMAC-SHA256 under the pepper, 128 bits in hex."""

    def fingerprint(value: Secret) -> str:
        plain = value.reveal().encode("utf-8", "surrogatepass")
        return hmac.digest(pepper, plain, hashlib.sha256)[:16].hex()

    return fingerprint


class Vault:
    """What is sealed in one database. Every method raises SetupError for a wrong key, or where none was given."""

    def __init__(self, database: Database, install_id: str, sealer: Sealer | None) -> None:
        self._database = database
        self._install_id = install_id
        self._sealer = sealer

    @property
    def sealer(self) -> Sealer:
        """The sealer. Raises SetupError where the caller has no key."""
        if self._sealer is None:
            message = "this needs the sealing key"
            raise SetupError(message, reason="no_sealing_key", remedy="name it as seal.key in the configuration")
        return self._sealer

    def fingerprint(self) -> Fingerprint:
        """Unseal the pepper; make it where there is none yet. Two workers who do so at once get the same one."""
        place = bound_to(self._install_id, "install", self._install_id, "pepper")
        with self._database.read() as connection:
            blob = connection.scalar(select(install.c.pepper))
        if blob is None:
            mine = self.sealer.seal(secrets.token_bytes(32), place)
            with self._database.write() as connection:
                connection.execute(update(install).where(install.c.pepper.is_(None)).values(pepper=mine))
                blob = connection.scalar(select(install.c.pepper))
        return fingerprinting(self.sealer.open(bytes(blob or b""), place))

    def seal(self, version_id: VersionId, material: Material) -> bytes:
        """The blob to keep for this version. No I/O on the database."""
        plain = json.dumps({name: value.reveal() for name, value in material.items()})
        return self.sealer.seal(plain.encode(), self._material_of(version_id))

    def material(self, version_id: VersionId) -> Material | None:
        """What is kept for this version."""
        with self._database.read() as connection:
            blob = connection.scalar(_MATERIAL, {"version": version_id})
        if blob is None:
            return None
        plain = self.sealer.open(bytes(blob), self._material_of(version_id))
        return Material({name: Secret(value) for name, value in json.loads(plain).items()})

    def _material_of(self, version_id: VersionId) -> str:
        return bound_to(self._install_id, "sealed", version_id, "material")


def keep(connection: Connection, version_id: VersionId, blob: bytes, *, at: object) -> None:
    """Store a blob, in place of what was kept."""
    forget(connection, version_id)
    connection.execute(insert(sealed).values(version_id=version_id, material=blob, sealed_at=at))


def forget(connection: Connection, version_id: VersionId) -> None:
    """Drop what was kept, if anything."""
    connection.execute(_FORGET, {"version": version_id})
