"""Who has a copy of the database and nothing else learns no secret, and cannot find out that a guess is right."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from rotator.access.value_ids import value_id
from rotator.config import load
from rotator.domain.secret import Secret
from rotator.wiring import keyring
from tests.cli.house import House

WEAK = "hunter2"
GUESSES = ["password", "letmein", "123456", WEAK]
HASHES = ("md5", "sha1", "sha256", "sha512", "blake2s")


def columns(house: House) -> list[bytes]:
    """Every value of every row."""
    with closing(sqlite3.connect(house.folder / "rotator.db")) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = [row for table in tables for row in database.execute(f'SELECT * FROM "{table}"')]
    found = {value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row}
    return sorted(found - {b"", b"None"})


def spellings(guess: str, salts: list[bytes]) -> Iterator[tuple[str, bytes]]:
    """What a guess could be recognised by: itself, and every hash of it that needs nothing but the dump."""
    plain = guess.encode()
    yield "plain", plain
    yield "base64", base64.b64encode(plain)
    yield "hex", plain.hex().encode()
    for kind, salt in (("gen", b"keyturn generated id"), ("manual", b"keyturn manual id")):
        yield f"id of {kind}", value_id(kind, Secret(guess), salt=salt).partition("-")[2].encode()
    digests = [(name, hashlib.new(name, plain).digest()) for name in HASHES]
    for salt in salts:
        digests += [
            ("HMAC", hmac.digest(salt, plain, "sha256")),
            ("salt before", hashlib.sha256(salt + plain).digest()),
            ("salt behind", hashlib.sha256(plain + salt).digest()),
        ]
    for name, digest in digests:
        for raw in (digest, digest.hex().encode(), base64.b64encode(digest)):
            yield name, raw[:12]  # of a shortened hash, too


def recognised(house: House, guess: str, extra: list[bytes]) -> set[str]:
    """How a guess could be told to be right."""
    values = columns(house)
    whole = b"\n".join(values)
    whole += b"".join(path.read_bytes() for path in house.folder.glob("rotator.db*"))
    return {name for name, spelling in spellings(guess, [*values, *extra]) if spelling in whole}


@pytest.fixture
def weak(house: House) -> House:
    """A person's value is adopted, and rotated away; another one still stands."""
    (house.folder / "app.env").write_text(f"WEB={WEAK}\n", encoding="utf-8")
    (house.folder / "other").mkdir(exist_ok=True)
    (house.folder / "other" / "other.env").write_text("MAIL=letmein\n", encoding="utf-8")
    assert house.run("adopt", "web", "--yes").status == 0
    assert house.run("adopt", "mail", "--yes").status == 0
    assert house.rotate("--now", "web").status == 0
    return house


def test_a_dump_neither_yields_nor_confirms_a_secret(weak: House) -> None:
    for guess in (*GUESSES, weak.values()["WEB"]):
        assert recognised(weak, guess, []) == set()


def test_the_search_would_find_what_the_pepper_hashes(weak: House) -> None:
    """The positive control: with the sealing key the fingerprint of the same value is found."""
    ring = keyring(load(weak.folder / "rotator.yaml"))
    with closing(sqlite3.connect(weak.folder / "rotator.db")) as database:
        install, blob = database.execute("SELECT id, pepper FROM install").fetchone()
    pepper = ring.open(blob, {"install": install, "table": "install", "row": install, "column": "pepper"})
    assert recognised(weak, WEAK, [pepper]) == {"HMAC"}
    assert recognised(weak, "password", [pepper]) == set()


def test_the_length_of_a_value_does_not_show(weak: House) -> None:
    with closing(sqlite3.connect(weak.folder / "rotator.db")) as database:
        lengths = [row[0] for row in database.execute("SELECT length(material) FROM sealed")]
    assert len(lengths) == 3
    assert len(set(lengths)) == 1


def test_swapped_values_open_nowhere(weak: House) -> None:
    """Nor those of the dump's owner, who may write: every pair of sealed values, exchanged."""
    with closing(sqlite3.connect(weak.folder / "rotator.db")) as database:
        rows = database.execute("SELECT version_id, material FROM sealed").fetchall()
        for (one, first), (other, second) in itertools.pairwise(rows):
            database.execute("UPDATE sealed SET material = ? WHERE version_id = ?", (second, one))
            database.execute("UPDATE sealed SET material = ? WHERE version_id = ?", (first, other))
        database.commit()
    before = weak.values()
    ran = weak.rotate("--now", "web")
    assert ran.status == 1
    assert "web is blocked" in ran.err
    assert "a sealed value was changed, or moved here from another row or database" in ran.said
    assert weak.values() == before
