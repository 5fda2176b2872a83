"""A record in one round trip: the same as by statements, and one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from sqlalchemy import Column, Table, event, select

from rotator.domain.model import RetirementState, RotationState, VersionState
from rotator.domain.secret import Material, Secret
from rotator.ports.store import (
    Count,
    DropSealed,
    Insert,
    NewEvent,
    Place,
    Room,
    Seal,
    StoredEvent,
    Unplace,
    Update,
    Watched,
    Write,
)
from rotator.store import audit, one_trip, tables
from rotator.store.columns import moment_text
from rotator.store.store import SqlStore
from rotator.verifier.trail import verify_store
from tests.contracts import store as contract
from tests.contracts.store import START, VirtualClock, Work
from tests.store.conftest import NewUrl, Stores

pytestmark = pytest.mark.parametrize("new_url", ["postgres"], indirect=True)

TOLD = [
    NewEvent(
        event="push.succeeded",
        actor='"Zoë" \\ <ops>\u2028\U0001f511\x00\n',
        credential="web",
        version=7,
        destination="vault:secret/web",
        attempt=2,
        reason="half a character: \ud800",
        detail={"z": [1, None, True], "ä": {"b": "%s {x} $1", "a": -5}},
    ),
    NewEvent(event="verify.succeeded", actor="test", key_id="key_1", rotation="r"),
]


def history(store: SqlStore) -> Sequence[StoredEvent]:
    """Every kind of write, and events of which a tree of many shapes grows."""
    work = Work(store)
    version, rotation = work.version(), work.rotation()
    delivery = work.delivery(rotation)
    spans = work.version(number=9, sent_at=START, fingerprint="f", expires_at=START + timedelta(microseconds=1))
    told = [
        *work.record(Insert(version), Insert(rotation), Insert(delivery), Insert(spans), events=TOLD),
        *work.record(Seal(version.id, Material({"secret": Secret("s")})), Place(work.placement()), events=TOLD[:1]),
        *work.record(Seal(version.id, Material({"secret": Secret("t")})), Count("calls", ("x", 'y"')), events=TOLD * 3),
        *work.record(Seal(spans.id, Material({"secret": Secret("u")})), events=TOLD[1:]),
        *work.record(Update(version, {"state": VersionState.CURRENT, "current_at": START}), Watched(START)),
        *work.record(Update(rotation, {}), Update(delivery, {"hooks_done": {"a": "b"}, "started": True}), events=TOLD),
        *work.record(Place(work.placement(revision="2", owed=True)), Place(work.placement("OTHER"))),
        *work.record(Unplace(contract.PLACE, "OTHER"), Insert(work.retirement(spans, keep=("a", "b"))), events=TOLD),
        *work.record(Update(rotation, {"state": RotationState.ABANDONED, "closed_at": START}), DropSealed(version.id)),
        *work.record(Count("calls", ("x", 'y"'), 0.5), Count("waits"), events=TOLD),
    ]
    return [*told, *store.note(TOLD), *work.record(events=TOLD[:1])]


def without_what_is_random(table: Table) -> list[Column[Any]]:
    return [column for column in table.c if column.name not in ("material", "pepper", "proof", "holder")]


def rows(store: SqlStore) -> Mapping[str, list[tuple[Any, ...]]]:
    with store.database.read() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(*without_what_is_random(table))).all()), key=repr)
            for table in tables.METADATA.sorted_tables
        }


def test_it_writes_what_the_statements_write(new_url: NewUrl, opened: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    def done(*, in_one_trip: bool) -> tuple[Sequence[StoredEvent], Mapping[str, list[tuple[Any, ...]]]]:
        numbers, ours = count(1), count(1)
        with monkeypatch.context() as patch:
            patch.setattr(contract, "uuid4", lambda: UUID(int=next(numbers)))
            patch.setattr("tests.store.conftest.new_id", lambda: str(UUID(int=next(ours))))
            if not in_one_trip:
                patch.setattr(one_trip, "possible", lambda *_: False)
            store = opened(new_url(), VirtualClock())
            told = history(store)
            assert verify_store(store).problem is None
            return told, rows(store)

    told, written = done(in_one_trip=True)
    assert len(told) == 19
    assert (told, written) == done(in_one_trip=False)


def test_it_is_one_statement_outside_of_a_transaction(new_url: NewUrl, opened: Stores) -> None:
    store = opened(new_url())
    work = Work(store)
    version = work.version()
    asked: list[tuple[str, bool]] = []
    store.record(work.lease, [], [])  # whatever is done once

    @event.listens_for(store.database.engine, "before_cursor_execute")
    def note(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append((statement, connection.connection.driver_connection.autocommit))

    writes: list[Write] = [
        Insert(version),
        Insert(work.rotation()),
        Update(version, {}),
        Place(work.placement()),
        Count("calls"),
    ]
    store.record(work.lease, writes, TOLD)
    [(statement, by_itself)] = asked
    assert "keyturn_record(" in statement
    assert by_itself


def test_where_rotations_are_counted_it_is_done_by_statements(new_url: NewUrl, opened: Stores) -> None:
    store = opened(new_url())
    work = Work(store)
    assert one_trip.possible(store.database, [Insert(work.rotation())])
    assert not one_trip.possible(store.database, [Insert(work.rotation()), Room("openai", 1)])


def test_what_is_sealed_is_forgotten_at_rest(new_url: NewUrl, opened: Stores) -> None:
    store = opened(new_url(), keeps=False)
    work = Work(store)
    version, rotation = work.version(), work.rotation()
    retirement = work.retirement(version)
    seal = Seal(version.id, Material({"secret": Secret("s")}))
    store.record(work.lease, [Insert(version), Insert(rotation), seal], [])
    assert store.material(version.id) is not None
    closed = Update(rotation, {"state": RotationState.COMPLETED, "closed_at": START})
    store.record(work.lease, [closed, Insert(retirement)], [])
    assert store.material(version.id) is not None
    store.record(work.lease, [Update(retirement, {"state": RetirementState.CANCELLED})], [])
    assert store.material(version.id) is None


@pytest.mark.parametrize("new_event", TOLD)
def test_an_event_in_parts_is_its_canonical_json(new_url: NewUrl, new_event: NewEvent) -> None:
    stored = audit.line(new_event, seq=12, at=START, previous_hash="ab" * 32)
    body = {**audit._plain(vars(new_event)), "seq": 12, "at": moment_text(START), "previous_hash": "ab" * 32}
    assert stored.body == rfc8785.dumps(body).decode()
