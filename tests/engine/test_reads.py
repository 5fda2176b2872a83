"""A look at all credentials costs as many queries for forty as for four, and tells of each what a look at it tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from rotator import wiring
from rotator.engine.notify import look_at
from rotator.engine.plan import plan
from rotator.engine.report import Report
from tests.engine.place import Place


@contextmanager
def counted(service: wiring.Service) -> Iterator[list[str]]:
    """The queries of the block."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    engine = service.store.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


def names(many: int) -> list[str]:
    return [f"key-{number:02}" for number in range(many)]


def enrolled(place: Place, many: int) -> None:
    place.write(
        providers={"local": {"type": "generated"}},
        destinations={"env": {"type": "env-file", "path": "all.env"}},
        credentials={name: {"provider": "local", "destinations": [{"to": "env"}]} for name in names(many)},
    )
    with place.service(unlock=False) as service:
        service.enroll("me")


def planned(report: Report) -> dict[str, Any]:
    return plan(report, sorted(report.managed), days=30, busy=50, in_flight=4)


@pytest.mark.parametrize("look", [Report.status, planned, lambda report: look_at(report, 0)])
def test_a_look_at_all_costs_the_same_queries_for_ten_times_as_many(
    embedded: Place, look: Callable[[Report], Any]
) -> None:
    costs = []
    for many in (4, 40):
        enrolled(embedded, many)
        with embedded.service(unlock=False) as service, counted(service) as asked:
            look(service.report())
        costs.append(len(asked))
    assert costs[0] == costs[1]


def test_a_look_at_all_tells_what_a_look_at_each_tells(embedded: Place) -> None:
    enrolled(embedded, 3)
    embedded.rotate("key-01")
    with embedded.service(unlock=False) as service:
        report = service.report()
        alone = [report.status([name])["credentials"][0] for name in names(3)]
        assert report.status()["credentials"] == alone
        planned_alone = [plan(report, [name], days=30, busy=50, in_flight=4)["credentials"][0] for name in names(3)]
        assert planned(report)["credentials"] == planned_alone
