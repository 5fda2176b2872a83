"""The protocol is searched exhaustively within small bounds, and each weakened one is found unsafe."""

from __future__ import annotations

import pytest

from docs.model.__main__ import as_expected
from docs.model.checker import search
from docs.model.protocol import Protocol
from docs.model.setting import GUARDS, Setting
from docs.model.tables import LIMITS, REDUNDANT, SMALL, WEAKENED

MOST = 1_000_000


@pytest.mark.parametrize("name", SMALL)
def test_no_fault_within_small_bounds_breaks_a_promise(name: str) -> None:
    result = search(Protocol(SMALL[name]), MOST)
    assert as_expected(result, None), "\n".join((str(result.wrong), *result.trace))


@pytest.mark.parametrize("name", WEAKENED)
def test_the_weakened_protocol_is_found_unsafe(name: str) -> None:
    case = WEAKENED[name]
    result = search(Protocol(case.without), MOST)
    assert as_expected(result, case.harm), result
    assert result.trace


@pytest.mark.parametrize("name", REDUNDANT)
def test_a_guard_that_another_makes_up_for_is_found_so(name: str) -> None:
    result = search(Protocol(REDUNDANT[name]), MOST)
    assert as_expected(result, None), "\n".join((str(result.wrong), *result.trace))


@pytest.mark.parametrize("name", LIMITS)
def test_what_is_not_promised_does_happen(name: str) -> None:
    case = LIMITS[name]
    assert as_expected(search(Protocol(case.without), MOST), case.harm)


def test_each_guard_is_left_out_once() -> None:
    assert {guard for case in WEAKENED.values() for guard in case.guards} == set(GUARDS)


def test_a_guard_that_does_not_exist_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match="no such guard: read back"):
        Setting(without=frozenset({"read back"}))


def test_a_search_that_ends_early_counts_as_neither_safe_nor_unsafe() -> None:
    result = search(Protocol(Setting(faults=2)), 100)
    assert not result.complete
    assert not as_expected(result, None)
    assert not as_expected(result, "outage")
