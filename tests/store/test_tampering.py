"""Whatever is done to a trail by who may do everything in the database is found, and called by its name.

Each tampering is done to a copy of one honest database, by SQL alone. One checkpoint was kept elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rotator.domain.errors import PermanentError
from rotator.domain.model import VersionId
from rotator.domain.secret import Material, Secret
from rotator.ports.store import Insert, NewEvent, Seal
from rotator.store import merkle, schema
from rotator.store.checkpoints import SignedCheckpoints
from rotator.store.keyring import Keyring
from rotator.store.signing import Signer, new_seed
from rotator.store.store import open_store
from rotator.verifier import sources
from rotator.verifier.events import canonical
from rotator.verifier.notes import Checkpoint, VerifierKey
from rotator.verifier.trail import Problem, verify
from tests.contracts.store import HOUR, Work
from tests.store.conftest import new_id

TIMES = 500
SEED = 20261126

Row = dict[str, Any]


@dataclass(frozen=True)
class Honest:
    """A database, what was kept elsewhere, and the sealed versions in it."""

    path: Path
    key: VerifierKey
    kept: Checkpoint
    sealed: list[VersionId]
    keyring: Keyring
    events: int


@pytest.fixture
def honest(tmp_path: Path, keyring: Keyring) -> Honest:
    path = tmp_path / "honest.db"
    schema.upgrade(f"sqlite:///{path}", "test", new_id)
    store = open_store(f"sqlite:///{path}", new_id=new_id, keyring=keyring)
    signer = Signer(Secret(new_seed()), "keyturn/test")
    checkpoints = SignedCheckpoints(store.database, lambda: signer, events=15, every=HOUR)
    work = Work(store)
    versions = [work.version() for _ in range(6)]
    for version in versions:
        work.record(Insert(version), Seal(version.id, Material({"secret": Secret(new_id())})))
    for number in range(110):
        event = NewEvent(event="push.succeeded", actor="test", credential="web", rotation="r", attempt=number)
        store.note([event])
        checkpoints.keep_up("test")
    kept = checkpoints.sign("test")
    events = store.head()[0]
    store.close()
    key = VerifierKey.parse(signer.verifier_key)
    return Honest(path, key, Checkpoint.parse(kept.note), [v.id for v in versions], keyring, events)


class Tampered:
    """A copy of the honest database in the hands of somebody who may do everything."""

    def __init__(self, honest: Honest, path: Path, chance: random.Random) -> None:
        self.honest, self.path, self.chance = honest, path, chance
        shutil.copy(honest.path, path)
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        for trigger in ("event_no_update", "event_no_delete", "head_goes_on"):
            self._connection.execute(f"DROP TRIGGER {trigger}")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("BEGIN")
        self.rows: list[Row] = [dict(row) for row in self._connection.execute("SELECT * FROM event ORDER BY seq")]

    def any(self, start: int = 1, end: int | None = None) -> int:
        """The number of an event, never that of the very last."""
        return self.chance.randint(start, end or self.honest.events - 1)

    def plain(self) -> int:
        """The number of one that holds no checkpoint."""
        others = [int(row["seq"]) for row in self.rows if row["event"] != "checkpoint.succeeded"]
        return self.chance.choice([seq for seq in others if seq < self.honest.kept.size])

    def run(self, statement: str, *values: object) -> None:
        self._connection.execute(statement, values)

    def write(self, rows: list[Row], *, head: bool) -> None:
        """Replace the trail; `head`: and make the row that remembers its end fit it."""
        self.run("DELETE FROM event")
        for number, row in enumerate(rows, 1):
            values = (number, *(row[name] for name in ("body", "hash", "at", "event", "credential", "rotation")))
            self.run("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)", *values)
        if head:
            tree = json.dumps(merkle.grown((), 0, [row["body"] for row in rows]))
            self.run("UPDATE head SET seq = ?, hash = ?, tree = ?", len(rows), rows[-1]["hash"] if rows else "", tree)

    def materials(self, *version_ids: VersionId) -> list[bytes]:
        query = "SELECT material FROM sealed WHERE version_id = ?"
        return [self._connection.execute(query, (of,)).fetchone()[0] for of in version_ids]

    def found(self) -> Problem | None:
        self._connection.execute("COMMIT")
        self._connection.close()
        with sources.opened([str(self.path)]) as opened:
            start, head = sources.start(opened), sources.head(opened)
            keys, against = [self.honest.key], [self.honest.kept]
            return verify(sources.joined(opened), start=start, head=head, keys=keys, against=against).problem

    def unsealed(self, version_id: VersionId) -> None:
        self._connection.execute("COMMIT")
        self._connection.close()
        store = open_store(f"sqlite:///{self.path}", new_id=new_id, keyring=self.honest.keyring)
        try:
            store.material(version_id)
        finally:
            store.close()

    def checkpoint_after(self, seq: int) -> int:
        """The first checkpoint that covers this event: one in the trail, or the one that was kept elsewhere."""
        inside = [int(row["seq"]) for row in self.rows if row["seq"] > seq and row["event"] == "checkpoint.succeeded"]
        return min(*inside, self.honest.kept.size)


def forged(row: Row, **changes: Any) -> Row:
    """An event with these changes, and all that belongs to it right."""
    body = canonical({**json.loads(row["body"]), **changes})
    return {**row, "body": body, "hash": hashlib.sha256(body.encode()).hexdigest()}


def chained(rows: list[Row], start: int) -> list[Row]:
    """The trail with everything after the first so many events linked anew."""
    done = list(rows[:start])
    for row in rows[start:]:
        done.append(forged(row, seq=len(done) + 1, previous_hash=done[-1]["hash"] if done else "0" * 64))
    return done


Expected = tuple[str, int, int | None]


def flip(t: Tampered) -> Expected:
    seq = t.any()
    column = t.chance.choice(["body", "hash", "at", "event", "credential", "rotation"])
    old = t.rows[seq - 1][column] or "-"
    place = t.chance.randrange(len(old))
    new = old[:place] + t.chance.choice([c for c in '0aZ"{}:, \\' if c != old[place]]) + old[place + 1 :]
    t.run(f"UPDATE event SET {column} = ? WHERE seq = ?", new, seq)
    return "changed", seq, None


def delete(t: Tampered) -> Expected:
    first = t.any()
    last = t.any(first, min(first + 9, t.honest.events - 1))
    t.run("DELETE FROM event WHERE seq BETWEEN ? AND ?", first, last)
    return "missing", first, last


def insert(t: Tampered) -> Expected:
    seq = t.any(2, t.honest.kept.size - 1)
    new = forged(t.rows[seq - 1] | {"event": "seen.succeeded"}, actor="mallory", event="seen.succeeded", detail={})
    t.write([*t.rows[: seq - 1], new, *t.rows[seq - 1 :]], head=False)
    return "repeated", seq + 1, None


def replay_event(t: Tampered) -> Expected:
    seq, old = t.any(3), t.any(1, 2)
    t.write([*t.rows[: seq - 1], t.rows[old - 1], *t.rows[seq - 1 :]], head=False)
    return "repeated", seq, None


def reorder(t: Tampered) -> Expected:
    first = t.any(1, t.honest.events - 2)
    second = t.any(first + 1)
    rows = list(t.rows)
    rows[first - 1], rows[second - 1] = rows[second - 1], rows[first - 1]
    t.write(rows, head=False)
    return "out_of_order", first, second


def unlink(t: Tampered) -> Expected:
    seq = t.plain()
    t.write([*t.rows[: seq - 1], forged(t.rows[seq - 1], key_id="key_mallory"), *t.rows[seq:]], head=False)
    return "unlinked", seq + 1, None


def truncate(t: Tampered) -> Expected:
    size = t.any(1, t.honest.kept.size - 1)
    t.write(t.rows[:size], head=True)
    return "regress", size + 1, t.honest.kept.size


def replay_database(t: Tampered) -> Expected:
    """An old copy is put in the place of the database, and goes on."""
    size = t.any(1, t.honest.kept.size - 1)
    plain = next(row for row in t.rows if row["event"] == "push.succeeded")
    t.write(chained([*t.rows[:size], *[plain] * t.honest.events], size), head=True)
    return "other_tree", t.honest.kept.size, None


def rewrite(t: Tampered) -> Expected:
    """One event is changed, and all that follow are linked anew, but nobody can sign."""
    seq = t.plain()
    rows = [*t.rows[: seq - 1], forged(t.rows[seq - 1], key_id="key_mallory"), *t.rows[seq:]]
    t.write(chained(rows, seq - 1), head=True)
    return "other_tree", t.checkpoint_after(seq), None


def swap_checkpoints(t: Tampered) -> Expected:
    """An old checkpoint stands where a newer one belongs."""
    inside = [row["seq"] for row in t.rows if row["event"] == "checkpoint.succeeded"]
    old, new = sorted(t.chance.sample(inside, 2))
    rows = list(t.rows)
    rows[new - 1] = forged(rows[new - 1], detail=json.loads(rows[old - 1]["body"])["detail"])
    t.write(chained(rows, new - 1), head=True)
    return "bad_checkpoint", new, None


def move_head(t: Tampered) -> Expected:
    t.run("UPDATE head SET tree = ?", json.dumps(merkle.grown((), 0, ["x"] * t.honest.events)))
    return "head", t.honest.events, None


TAMPERINGS: Mapping[str, Callable[[Tampered], Expected]] = {
    act.__name__: act
    for act in (
        *(flip, delete, insert, replay_event, reorder, unlink, truncate, replay_database, rewrite),
        *(swap_checkpoints, move_head),
    )
}


def test_every_tampering_is_found_and_named(honest: Honest, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    done: dict[str, int] = {}
    for number in range(TIMES):
        tampered = Tampered(honest, tmp_path / "tampered.db", chance)
        kind = chance.choice([*TAMPERINGS, "swap_sealed"])
        done[kind] = done.get(kind, 0) + 1
        if kind == "swap_sealed":
            swap_sealed(tampered)
            continue
        expected = TAMPERINGS[kind](tampered)
        found = tampered.found()
        assert found is not None, (number, kind, expected)
        assert (found.kind, found.seq) == expected[:2], (number, kind, expected, found)
        assert expected[2] is None or found.last in (expected[2], None), (number, kind, expected, found)
    assert (len(done), sum(done.values())) == (len(TAMPERINGS) + 1, TIMES)


def swap_sealed(tampered: Tampered) -> None:
    """The ciphertexts of two rows change places: neither opens there."""
    one, other = tampered.chance.sample(tampered.honest.sealed, 2)
    for version_id, material in zip((one, other), reversed(tampered.materials(one, other)), strict=True):
        tampered.run("UPDATE sealed SET material = ? WHERE version_id = ?", material, version_id)
    with pytest.raises(PermanentError) as caught:
        tampered.unsealed(tampered.chance.choice([one, other]))
    assert caught.value.reason == "sealed_tampered"


def test_the_honest_database_is_intact(honest: Honest, tmp_path: Path) -> None:
    assert Tampered(honest, tmp_path / "copy.db", random.Random(SEED)).found() is None
