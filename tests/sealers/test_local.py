"""Keys that are read from a file, a variable or a systemd credential."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.domain.errors import PermanentError, SetupError
from rotator.domain.secret import Secret
from rotator.ports.sealer import Sealer
from rotator.sealers.local import LocalSealer, new_key
from rotator.settings import SecretReference
from rotator.store.keyring import Keyring
from tests.contracts.sealer import PLACE, SealerContract, blob_of

KNOWN = base64.b64encode(bytes(range(32))).decode()
SEALER = LocalSealer(Secret(KNOWN), "file:rotator.key")
BLOB = (
    "Ad/qeHkET1UuADx2hNGYkX+7Xo0NNZzmc3xCAOu9dXuftiQKjnzdkQl66ybXZ3L8n2NqBTaWajJdgD+a0qwn0SsC/o"
    "cdM6qFPJg94SIijJ35cQR3ehG8uRxXWjjOA4DgL41KP2MnWFVPa9o="
)


class TestLocal(SealerContract):
    @pytest.fixture
    def key(self) -> str:
        return new_key()

    @pytest.fixture
    def sealer(self, key: str) -> Sealer:
        return LocalSealer(Secret(key), "file:rotator.key")

    @pytest.fixture
    def twin(self, key: str) -> Sealer:
        return LocalSealer(Secret(f"{key}\n"), "env:ROTATOR_KEY")

    @pytest.fixture
    def other(self) -> Sealer:
        return LocalSealer(Secret(new_key()), "file:other.key")


@given(st.binary(max_size=200), st.text(max_size=20))
def test_what_was_sealed_opens_in_its_place(plain: bytes, row: str) -> None:
    place = {**PLACE, "row": row.encode("utf-8", "replace").decode()}
    assert Keyring([SEALER]).open(blob_of(SEALER, plain, place), place) == plain


@given(st.data())
def test_a_changed_blob_does_not_open(data: st.DataObject) -> None:
    blob = bytearray(blob_of(SEALER))
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((PermanentError, SetupError)):
        Keyring([SEALER]).open(bytes(blob), PLACE)


@given(st.data())
def test_a_cut_blob_does_not_open(data: st.DataObject) -> None:
    blob = blob_of(SEALER)
    with pytest.raises((PermanentError, SetupError)):
        Keyring([SEALER]).open(blob[: data.draw(st.integers(0, len(blob) - 1))], PLACE)


def test_the_format_of_a_blob_stays_readable() -> None:
    assert Keyring([SEALER]).open(base64.b64decode(BLOB), PLACE) == b"material"


def test_a_new_key_is_a_key_and_new() -> None:
    assert len(base64.b64decode(new_key(), validate=True)) == 32
    assert new_key() != new_key()


@pytest.mark.parametrize("key", ["", "short", "c2hvcnQ=", base64.b64encode(bytes(33)).decode(), "ä" * 44, "!" * 44])
def test_a_key_of_another_length_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(SetupError) as refused:
        LocalSealer(Secret(key), "file:rotator.key")
    assert refused.value.reason == "bad_sealing_key"
    assert "file:rotator.key" in refused.value.message
    assert not key or key not in f"{refused.value} {refused.value.remedy}"
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_a_systemd_credential_is_read_where_systemd_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = SecretReference("systemd-credential:rotator-key")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SetupError, match="systemd has given this process no credentials"):
        reference.read()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(SetupError, match="cannot read the secret"):
        reference.read()
    (tmp_path / "rotator-key").write_text(f"{KNOWN}\n")
    assert LocalSealer(reference.read(), reference.text).id == SEALER.id
    assert reference.absolute == "systemd-credential:rotator-key"
