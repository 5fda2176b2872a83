"""What a database has sealed opens with its key, in its place, unchanged, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from rotator.domain.errors import PermanentError, SetupError
from rotator.domain.secret import Material, Secret
from rotator.ports.sealer import DataKey, Place
from rotator.ports.store import Insert, Seal
from rotator.sealers.local import LocalSealer, new_key
from rotator.store import schema, tables
from rotator.store.keyring import Keyring
from rotator.store.material import Fingerprinting
from rotator.store.store import SqlStore, open_store
from tests.contracts.store import Work
from tests.store.conftest import NewUrl, Stores, new_id, new_sealer


@pytest.fixture
def url(new_url: NewUrl) -> str:
    return new_url()


@pytest.fixture
def store(url: str, opened: Stores) -> SqlStore:
    return opened(url)


def test_a_blob_that_was_moved_to_another_row_does_not_open(store: SqlStore) -> None:
    work = Work(store)
    one, other = work.version(), work.version()
    work.record(Insert(one), Insert(other), Seal(one.id, Material.of(secret="one")))
    with store.database.write() as connection:
        row = connection.execute(select(tables.sealed)).mappings().one()
        connection.execute(insert(tables.sealed).values({**row, "version_id": other.id}))
    assert store.material(one.id) == Material.of(secret="one")
    with pytest.raises(PermanentError) as refused:
        store.material(other.id)
    assert refused.value.reason == "sealed_tampered"


def test_a_blob_that_was_moved_to_another_database_does_not_open(
    store: SqlStore, new_url: NewUrl, opened: Stores
) -> None:
    work, copy = Work(store), Work(opened(new_url()))
    version = work.version()
    work.record(Insert(version), Seal(version.id, Material.of(secret="one")))
    copied = copy.version(id=version.id)
    copy.record(Insert(copied), Seal(version.id, Material.of(secret="mine")))
    with store.database.read() as connection:
        blob = connection.scalar(select(tables.sealed.c.material))
    with copy.store.database.write() as connection:  # type: ignore[attr-defined]
        connection.execute(update(tables.sealed).values(material=blob))
    with pytest.raises(PermanentError, match="moved here"):
        copy.store.material(version.id)


def test_no_secret_stands_in_the_file(tmp_path: Path, opened: Stores) -> None:
    store = opened(f"sqlite:///{tmp_path}/rotator.db")
    work = Work(store)
    version = work.version()
    work.record(Insert(version), Seal(version.id, Material.of(secret="sk-cAnArY0123456789")))
    assert all(b"sk-cAnArY0123456789" not in file.read_bytes() for file in tmp_path.iterdir())


def test_a_wrong_key_is_refused_when_the_database_is_opened(url: str, store: SqlStore) -> None:
    assert store.fingerprint(Secret("x"))
    with pytest.raises(SetupError) as refused:
        open_store(url, new_id=new_id, keyring=Keyring([new_sealer("file:wrong.key")]))
    assert refused.value.reason == "wrong_sealing_key"
    assert "file:rotator.key" in refused.value.message
    assert "file:wrong.key" in refused.value.message


def test_without_a_key_everything_else_works(url: str, store: SqlStore) -> None:
    work = Work(store)
    version = work.version()
    work.record(Insert(version), Seal(version.id, Material.of(secret="one")))
    keyless = open_store(url, new_id=new_id)
    assert keyless.load(work.id).versions == [version]
    for needs_key in (lambda: keyless.material(version.id), lambda: keyless.fingerprint):
        with pytest.raises(SetupError) as refused:
            needs_key()
        assert refused.value.reason == "no_sealing_key"
    with pytest.raises(SetupError):
        keyless.record(work.lease, [Seal(version.id, Material.of(secret="two"))], [])
    assert store.material(version.id) == Material.of(secret="one")
    keyless.close()


def test_fingerprints_are_the_same_for_every_process(url: str, store: SqlStore, keyring: Keyring) -> None:
    other = open_store(url, new_id=new_id, keyring=keyring)
    assert other.fingerprint(Secret("one")) == store.fingerprint(Secret("one"))
    assert store.fingerprint(Secret("one")) != store.fingerprint(Secret("two"))
    other.close()


def test_fingerprints_of_two_installations_cannot_be_compared(new_url: NewUrl, opened: Stores) -> None:
    assert opened(new_url()).fingerprint(Secret("one")) != opened(new_url()).fingerprint(Secret("one"))


def test_a_fingerprint_is_128_bits_of_a_keyed_hash() -> None:
    # printf hello | openssl dgst -sha256 -hmac pepper
    assert Fingerprinting(b"pepper")(Secret("hello")) == "42c83061e1134d90fecea7651a808782"
    assert len(Fingerprinting(b"pepper")(Secret("\ud800"))) == 32


def test_workers_that_unlock_at_once_get_one_pepper_and_one_key(url: str, opened: Stores) -> None:
    class Slow(LocalSealer):
        """While it wraps the pepper that it made, another worker is faster."""

        def data_key(self, place: Place) -> DataKey:
            if not found:
                found.append("")
                found[0] = opened(url, keyring=Keyring([faster])).fingerprint(Secret("one"))
            return super().data_key(place)

    found: list[str] = []
    key = Secret(new_key())
    faster = LocalSealer(key, "file:rotator.key")
    schema.upgrade(url, "test", new_id)
    slow = open_store(url, new_id=new_id, keyring=Keyring([Slow(key, "file:rotator.key")]))
    assert found == [slow.fingerprint(Secret("one"))]
    assert faster.id == slow.sealing_keys("ann").listed()[0].id
    slow.close()


def test_the_length_of_a_blob_does_not_tell_that_of_the_secret(store: SqlStore) -> None:
    work = Work(store)
    lengths = set()
    for value in ("", "hunter2", "correct horse battery staple", "x" * 200):
        version = work.version()
        work.record(Insert(version), Seal(version.id, Material.of(secret=value)))
        assert store.material(version.id) == Material.of(secret=value)
        with store.database.read() as connection:
            blob = connection.scalar(select(tables.sealed.c.material).where(tables.sealed.c.version_id == version.id))
        lengths.add(len(bytes(blob or b"")))
    assert len(lengths) == 1


def test_what_was_prepared_is_sealed_without_asking_the_sealer_again(url: str, opened: Stores) -> None:
    class Counting(LocalSealer):
        def data_key(self, place: Place) -> DataKey:
            asked.append(place["row"])
            return super().data_key(place)

    asked: list[str] = []
    store = opened(url, keyring=Keyring([Counting(Secret(new_key()), "file:rotator.key")]))
    work = Work(store)
    version = work.version()
    prepared = store.prepare(version.id)
    asked.clear()
    work.record(Insert(version), Seal(version.id, Material.of(secret="one"), prepared))
    assert asked == []
    assert store.material(version.id) == Material.of(secret="one")
