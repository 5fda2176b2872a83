"""The verifier notices whatever was done to a trail, and agrees with the writer about everything else."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from rotator.ports.store import NewEvent, StoredEvent
from rotator.store import audit
from rotator.store.audit import export, exported
from rotator.store.store import SqlStore
from rotator.verifier.trail import Verification, verify_lines, verify_store
from tests.store.conftest import NewUrl, Stores

AT = datetime(2026, 11, 23, 9, tzinfo=UTC)


def trail(*events: NewEvent) -> list[StoredEvent]:
    previous, stored = "0" * 64, []
    for seq, event in enumerate(events, 1):
        stored.append(audit.line(event, seq=seq, at=AT, previous_hash=previous))
        previous = stored[-1].hash
    return stored


def lines(number: int = 20) -> list[str]:
    return list(exported(trail(*(NewEvent(event="push.succeeded", actor="test", attempt=n) for n in range(number)))))


def forged(line: str, **changes: Any) -> str:
    """The event with these changes and a hash that fits again."""
    event = {**json.loads(line), **changes}
    event.pop("hash")
    body = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f'{body[:-1]},"hash":"{hashlib.sha256(body.encode()).hexdigest()}"}}'


def test_an_honest_trail_is_right() -> None:
    written = trail(*(NewEvent(event="push.succeeded", actor="test") for _ in range(5)))
    assert verify_lines(exported(written)) == Verification(count=5, head_hash=written[-1].hash)


def test_an_empty_trail_is_right() -> None:
    assert verify_lines([]) == Verification(count=0, head_hash="0" * 64)


def test_an_event_is_stored_as_the_contract_says() -> None:
    (event,) = trail(
        NewEvent(
            event="push.succeeded",
            actor="cli:root@host",
            credential="openai-web",
            rotation="r",
            version=3,
            key_id="key_abc",
            destination="vault",
            attempt=1,
        )
    )
    assert event.body == (
        '{"actor":"cli:root@host","at":"2026-11-23T09:00:00.000000Z","attempt":1,"credential":"openai-web",'
        '"destination":"vault","detail":{},"event":"push.succeeded","key_id":"key_abc",'
        f'"previous_hash":"{"0" * 64}","reason":null,"rotation":"r","seq":1,"version":3}}'
    )
    assert event.hash == hashlib.sha256(event.body.encode()).hexdigest()
    assert json.loads(next(exported([event]))) == {**json.loads(event.body), "hash": event.hash}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.tuples(st.text(), st.dictionaries(st.text(), JSON, max_size=4)), max_size=4))
def test_writer_and_verifier_agree_on_every_detail(given_events: list[tuple[str, dict[str, Any]]]) -> None:
    written = trail(*(NewEvent(event="x.found", actor=actor, detail=detail) for actor, detail in given_events))
    assert verify_lines(exported(written)).problem is None


def test_keys_are_ordered_by_utf_16_as_rfc_8785_says() -> None:
    (event,) = trail(NewEvent(event="x.found", actor="a", detail={"\uffee": 1, "\U0001f511": 2}))
    assert '"detail":{"\U0001f511":2,"\uffee":1}' in event.body
    assert verify_lines(exported([event])).problem is None


def test_blanks_between_the_keys_of_an_export_do_not_matter() -> None:
    assert verify_lines(json.dumps(json.loads(line)) + "\n" for line in lines()).problem is None


@pytest.mark.parametrize(
    ("what", "tamper", "seq"),
    [
        ("a changed value", lambda t: t.__setitem__(4, t[4].replace("succeeded", "delayed")), 5),
        ("a changed hash", lambda t: t.__setitem__(4, t[4].replace('"hash":"', '"hash":"0')), 5),
        ("a changed event with a new hash", lambda t: t.__setitem__(4, forged(t[4], actor="other")), 6),
        ("a deleted event", lambda t: t.pop(4), 5),
        ("a deleted first event", lambda t: t.pop(0), 1),
        ("an inserted copy", lambda t: t.insert(4, t[4]), 6),
        ("two events in another order", lambda t: t.insert(4, t.pop(5)), 5),
        ("a first event that follows something", lambda t: t.__setitem__(0, forged(t[0], previous_hash="1" * 64)), 1),
        ("an event that follows another", lambda t: t.__setitem__(4, forged(t[4], previous_hash="1" * 64)), 5),
        ("a number that was changed", lambda t: t.__setitem__(4, forged(t[4], seq=6)), 5),
        ("an additional key", lambda t: t.__setitem__(4, forged(t[4], note="x")), 5),
        ("a missing key", lambda t: t.__setitem__(4, t[4].replace('"reason":null,', "")), 5),
        ("a key that stands twice", lambda t: t.__setitem__(4, '{"actor":"x",' + t[4][1:]), 5),
        ("half a character", lambda t: t.__setitem__(4, t[4].replace('"test"', '"\\ud800"')), 5),
        ("a number that JSON has not", lambda t: t.__setitem__(4, t[4].replace('"attempt":4', '"attempt":NaN')), 5),
        ("an empty line", lambda t: t.insert(4, ""), 5),
        ("no JSON", lambda t: t.insert(4, "x"), 5),
        ("no object", lambda t: t.insert(4, "[]"), 5),
    ],
)
def test_tampering_is_found_where_it_was_done(what: str, tamper: Callable[[list[str]], object], seq: int) -> None:
    tampered = lines()
    tamper(tampered)
    found = verify_lines(tampered)
    assert found.problem is not None, what
    assert (found.problem.seq, found.count) == (seq, seq - 1), found


def test_any_changed_character_is_found() -> None:
    generator = random.Random(20261123)
    honest = lines()
    for _ in range(500):
        tampered = list(honest)
        row = generator.randrange(len(honest))
        place = generator.randrange(len(honest[row]))
        other = generator.choice([c for c in '0aZ"{}:, \\' if c != honest[row][place]])
        tampered[row] = honest[row][:place] + other + honest[row][place + 1 :]
        assert verify_lines(tampered).problem is not None, (row, place, other)


def test_a_cut_tail_shows_in_count_and_head_hash() -> None:
    whole, cut = verify_lines(lines()), verify_lines(lines()[:-1])
    assert cut.problem is None
    assert (cut.count, cut.head_hash) != (whole.count, whole.head_hash)


# In the database


@pytest.fixture
def store(new_url: NewUrl, opened: Stores) -> SqlStore:
    store = opened(new_url())
    store.note([NewEvent(event="push.succeeded", actor="test", attempt=n) for n in range(19)])
    return store


def tamper(store: SqlStore, *statements: str) -> None:
    """As somebody who may do everything in the database."""
    drop = (
        [f"DROP TRIGGER {name}" for name in ("event_no_update", "event_no_delete", "head_goes_on")]
        if store.database.engine.dialect.name == "sqlite"
        else ["DROP TRIGGER event_append_only ON event", "DROP TRIGGER head_goes_on ON head"]
    )
    with store.database.write() as connection:
        for statement in (*drop, *statements):
            connection.execute(text(statement))


def test_the_trail_of_a_database_is_right(store: SqlStore) -> None:
    assert verify_store(store) == Verification(count=20, head_hash=store.head()[1])
    assert verify_lines(export(store)) == verify_store(store)


@pytest.mark.parametrize(
    ("statement", "seq"),
    [
        ("UPDATE event SET body = replace(body, 'succeeded', 'delayed') WHERE seq = 5", 5),
        ("UPDATE event SET body = replace(body, ',', ', ') WHERE seq = 5", 5),
        ("UPDATE event SET hash = 'x' WHERE seq = 5", 5),
        ("DELETE FROM event WHERE seq = 5", 5),
        ("DELETE FROM event WHERE seq = 20", 20),
        ("DELETE FROM event WHERE seq > 10", 11),
        ("DELETE FROM event", 1),
        ("UPDATE event SET seq = 21 WHERE seq = 20", 20),
        ("UPDATE head SET hash = 'x'", 20),
        ("UPDATE head SET seq = 19, hash = 'x'", 20),
        ("UPDATE head SET seq = 25", 21),
    ],
)
def test_tampering_with_rows_is_found(store: SqlStore, statement: str, seq: int) -> None:
    tamper(store, statement)
    problem = verify_store(store).problem
    assert problem is not None
    assert problem.seq == seq, problem


def test_events_that_the_head_does_not_know_are_found(store: SqlStore) -> None:
    events = list(store.events())
    tamper(store, f"UPDATE head SET seq = 19, hash = '{events[18].hash}'")
    problem = verify_store(store).problem
    assert problem is not None
    assert (problem.kind, problem.seq) == ("head", 20)


def test_the_trail_of_one_credential_and_a_part_can_be_read(store: SqlStore) -> None:
    store.note([NewEvent(event="push.succeeded", actor="t", credential=name) for name in ("a", "b", "a", "a")])
    assert [event.seq for event in store.events(credential="a")] == [21, 23, 24]
    assert [event.seq for event in store.events(21, credential="a", limit=1)] == [23]
    assert [event.seq for event in store.events(limit=3)] == [1, 2, 3]
    assert list(store.events(limit=0)) == []


def test_a_long_trail_is_read_page_by_page(store: SqlStore) -> None:
    store.note([NewEvent(event="push.succeeded", actor="test") for _ in range(2500)])
    assert verify_store(store).count == 2520
    assert len(list(store.events(limit=1500))) == 1500
