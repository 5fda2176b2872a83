"""How many keys were made in a day, told from the order of versions and from moments that may be wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rotator.domain.model import creates_of_a_day

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
HOUR, DAY, YEARS = timedelta(hours=1), timedelta(days=1), timedelta(days=3652)


def test_those_of_the_last_day_count() -> None:
    assert creates_of_a_day([NOW - 2 * DAY, NOW - HOUR], NOW) == [NOW - HOUR]


def test_one_that_lies_in_the_future_counts_as_just_made() -> None:
    assert creates_of_a_day([NOW - HOUR, NOW + YEARS], NOW) == [NOW - HOUR, NOW]


def test_one_that_lies_in_the_future_is_no_younger_than_the_next() -> None:
    assert creates_of_a_day([NOW + YEARS, NOW - 2 * HOUR], NOW) == [NOW - 2 * HOUR, NOW - 2 * HOUR]
    assert creates_of_a_day([NOW + YEARS, NOW - 2 * DAY], NOW) == []


def test_one_that_was_dated_by_a_clock_far_behind_is_no_older_than_the_one_before() -> None:
    assert creates_of_a_day([NOW - HOUR, NOW - YEARS, NOW - YEARS + HOUR], NOW) == [NOW - HOUR] * 3


def test_nothing_made_is_nothing() -> None:
    assert creates_of_a_day([], NOW) == []
