"""What is sealed opens with its key, in its place, unchanged, and nowhere else."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select, text, update

from rotator.domain.errors import SetupError
from rotator.domain.secret import Material, Secret
from rotator.ports.store import Insert, Seal
from rotator.store import tables
from rotator.store.material import fingerprinting
from rotator.store.sealing import AesGcmSealer, new_key
from rotator.store.store import SqlStore, open_store
from tests.contracts.store import Work
from tests.store.conftest import NewUrl, Stores, new_id

SEALER = AesGcmSealer(Secret(base64.b64encode(bytes(range(32))).decode()))


@given(st.binary(max_size=200), st.text(max_size=20))
def test_what_was_sealed_opens_in_its_place(plain: bytes, place: str) -> None:
    place = place.encode("utf-8", "replace").decode()
    assert SEALER.open(SEALER.seal(plain, place), place) == plain


@given(st.data())
def test_a_changed_blob_does_not_open(data: st.DataObject) -> None:
    blob = bytearray(SEALER.seal(b"material", "row 1"))
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SetupError):
        SEALER.open(bytes(blob), "row 1")


@given(st.integers(0, 92))
def test_a_cut_blob_does_not_open(length: int) -> None:
    blob = SEALER.seal(b"material", "row 1")
    assert len(blob) > 92
    with pytest.raises(SetupError):
        SEALER.open(blob[:length], "row 1")


def test_a_blob_does_not_open_in_another_place() -> None:
    with pytest.raises(SetupError) as refused:
        SEALER.open(SEALER.seal(b"material", "row 1"), "row 2")
    assert refused.value.reason == "sealed_tampered"


def test_half_of_one_blob_does_not_open_with_half_of_another() -> None:
    one, other = SEALER.seal(b"material", "row 1"), SEALER.seal(b"material", "row 1")
    with pytest.raises(SetupError):
        SEALER.open(one[:69] + other[69:], "row 1")


def test_another_key_is_told_apart_from_tampering() -> None:
    with pytest.raises(SetupError) as refused:
        AesGcmSealer(Secret(new_key())).open(SEALER.seal(b"material", "row 1"), "row 1")
    assert refused.value.reason == "wrong_sealing_key"
    assert refused.value.remedy


def test_the_same_plain_text_is_never_sealed_the_same() -> None:
    assert SEALER.seal(b"material", "row 1") != SEALER.seal(b"material", "row 1")


def test_the_format_of_a_blob_stays_readable() -> None:
    blob = base64.b64decode(
        "Ad/qeHkET1UuSSK/kcHtxIOeuXhWzuzd9UwQv/jciSxCG7YnIBjEgkSmIOACPLauUWtzeb5LZAnv2kLCfoXFA6fOSn"
        "WAFI7lS/9fZdmqpoXozXFKnz83lizOXtiQ91YQ7FXBnWr+iwLR"
    )
    assert SEALER.open(blob, "row 1") == b"material"


def test_a_new_key_is_a_key_and_new() -> None:
    assert len(base64.b64decode(new_key(), validate=True)) == 32
    assert new_key() != new_key()
    AesGcmSealer(Secret(new_key() + "\n"))


@pytest.mark.parametrize("key", ["", "short", "c2hvcnQ=", base64.b64encode(bytes(33)).decode(), "ä" * 44, "!" * 44])
def test_a_key_of_another_length_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(SetupError) as refused:
        AesGcmSealer(Secret(key))
    assert refused.value.reason == "bad_sealing_key"
    assert not key or key not in f"{refused.value} {refused.value.remedy}"
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


# In the database


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
    with pytest.raises(SetupError) as refused:
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
    with pytest.raises(SetupError, match="moved here"):
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
        open_store(url, new_id=new_id, sealer=AesGcmSealer(Secret(new_key())))
    assert refused.value.reason == "wrong_sealing_key"


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


def test_fingerprints_are_the_same_for_every_process(url: str, store: SqlStore, sealer: AesGcmSealer) -> None:
    other = open_store(url, new_id=new_id, sealer=sealer)
    assert other.fingerprint(Secret("one")) == store.fingerprint(Secret("one"))
    assert store.fingerprint(Secret("one")) != store.fingerprint(Secret("two"))
    other.close()


def test_fingerprints_of_two_installations_cannot_be_compared(new_url: NewUrl, opened: Stores) -> None:
    assert opened(new_url()).fingerprint(Secret("one")) != opened(new_url()).fingerprint(Secret("one"))


def test_a_fingerprint_is_128_bits_of_a_keyed_hash() -> None:
    # printf hello | openssl dgst -sha256 -hmac pepper
    assert fingerprinting(b"pepper")(Secret("hello")) == "42c83061e1134d90fecea7651a808782"
    assert len(fingerprinting(b"pepper")(Secret("\ud800"))) == 32


def test_workers_that_unlock_at_once_get_one_pepper(url: str, store: SqlStore, sealer: AesGcmSealer) -> None:
    class Slow(AesGcmSealer):
        """While it seals the pepper that it made, another worker is faster."""

        def seal(self, plain: bytes, bound_to: str) -> bytes:
            found.append(store.fingerprint(Secret("one")))
            return sealer.seal(plain, bound_to)

        def open(self, blob: bytes, bound_to: str) -> bytes:
            return sealer.open(blob, bound_to)

    found: list[str] = []
    with store.database.write() as connection:
        connection.execute(text("UPDATE install SET pepper = NULL"))
    del store.fingerprint
    slow = open_store(url, new_id=new_id, sealer=Slow(Secret(new_key())))
    assert found == [slow.fingerprint(Secret("one"))]
    slow.close()
