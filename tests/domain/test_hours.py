"""Windows and blackouts: what is written, what it covers, and what clock changes do to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rotator.domain.hours import Hours, read_span

LONDON, NEW_YORK, SYDNEY = ZoneInfo("Europe/London"), ZoneInfo("America/New_York"), ZoneInfo("Australia/Sydney")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def hours(*windows: str, but: tuple[str, ...] = (), zone: ZoneInfo = LONDON) -> Hours:
    return Hours(tuple(map(read_span, windows)), tuple(map(read_span, but)), zone)


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        (
            "MON-FRI 09:00-17:00",
            ["2026-11-23 09:00", "2026-11-27 16:59"],
            ["2026-11-23 08:59", "2026-11-23 17:00", "2026-11-28 12:00"],
        ),
        ("SAT,SUN", ["2026-11-28 00:00", "2026-11-29 23:59"], ["2026-11-27 23:59", "2026-11-30 00:00"]),
        ("sat , ", [], []),
        ("02:00-05:00", ["2026-11-23 02:00", "2026-11-29 04:59"], ["2026-11-23 05:00", "2026-11-23 01:59"]),
        (
            "FRI 22:00-04:00",
            ["2026-11-27 22:00", "2026-11-28 03:59"],
            ["2026-11-27 21:59", "2026-11-28 04:00", "2026-11-27 03:00"],
        ),
        ("SUN 22:00-04:00", ["2026-11-29 23:00", "2026-11-30 03:00"], ["2026-11-29 03:00"]),
        ("FRI-MON", ["2026-11-27 00:00", "2026-11-30 23:59"], ["2026-12-01 00:00", "2026-11-26 23:59"]),
        ("MON,WED-FRI 00:00-24:00", ["2026-11-23 12:00", "2026-11-26 23:59"], ["2026-11-24 12:00"]),
        ("12:00-12:00", ["2026-11-23 12:00", "2026-11-24 11:59"], []),
        ("2026-12-20/2027-01-03", ["2026-12-20 00:00", "2027-01-03 23:59"], ["2026-12-19 23:59", "2027-01-04 00:00"]),
        (
            "2026-12-20 18:00/2026-12-21 06:30",
            ["2026-12-20 18:00", "2026-12-21 06:29"],
            ["2026-12-20 17:59", "2026-12-21 06:30"],
        ),
        ("2028-02-29/2028-02-29", ["2028-02-29 12:00"], ["2028-02-28 23:59", "2028-03-01 00:00"]),
        ("2026-11-30 22:00/2026-12-01 02:00", ["2026-11-30 23:59", "2026-12-01 00:00"], ["2026-12-01 02:00"]),
    ],
)
def test_a_span_covers_what_the_wall_clock_shows(span: str, inside: list[str], outside: list[str]) -> None:
    if span == "sat , ":
        with pytest.raises(ValueError, match="is no span"):
            read_span(span)
        return
    found = hours(span)  # in November London's clock shows UTC
    assert [at for at in inside if found.closed(moment(at))] == []
    assert [at for at in outside if not found.closed(moment(at))] == []
    forbidden = hours(but=(span,))
    assert [at for at in inside if forbidden.closed(moment(at)) != "blackout"] == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no span"),
        ("SOMEDAY", "is no span"),
        ("MON-FUN 09:00-10:00", "is no span"),
        ("MON 9-10", "is no span"),
        ("09:00", "is no span"),
        ("MON 25:00-26:00", "there is no 25:00"),
        ("MON 10:60-11:00", "there is no 10:60"),
        ("2026-02-30/2026-03-01", "there is no 2026-02-30"),
        ("2027-02-29/2027-03-01", "there is no 2027-02-29"),
        ("2027-01-03/2026-12-20", "ends before it begins"),
        ("2026-12-20 06:00/2026-12-20 06:00", "ends before it begins"),
        ("9999-12-31/9999-12-31", "is no span"),
        ("0001-01-01/0001-01-02", "is no span"),
    ],
)
def test_what_is_no_span_is_told(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_span(text)


# Both changes of the clock in three zones: a window in the hour that is skipped, and in the one that comes twice.
@pytest.mark.parametrize(
    ("zone", "window", "after", "opens", "closes"),
    [
        (LONDON, "01:30-03:00", "2026-03-28 12:00", "2026-03-29 01:00", "2026-03-29 02:00"),  # 01:30 is not there
        (LONDON, "01:00-01:45", "2026-03-28 12:00", "2026-03-30 00:00", "2026-03-30 00:45"),  # none of it is there
        (LONDON, "01:30-01:45", "2026-10-24 12:00", "2026-10-25 00:30", "2026-10-25 00:45"),
        (LONDON, "01:30-01:45", "2026-10-25 00:45", "2026-10-25 01:30", "2026-10-25 01:45"),  # the second time
        (LONDON, "23:00-02:30", "2026-10-24 12:00", "2026-10-24 22:00", "2026-10-25 02:30"),  # an hour longer
        (NEW_YORK, "02:30-03:30", "2026-03-07 12:00", "2026-03-08 07:00", "2026-03-08 07:30"),
        (NEW_YORK, "01:30-01:45", "2026-10-31 12:00", "2026-11-01 05:30", "2026-11-01 05:45"),
        (NEW_YORK, "01:30-01:45", "2026-11-01 05:45", "2026-11-01 06:30", "2026-11-01 06:45"),
        (NEW_YORK, "SUN", "2026-10-31 12:00", "2026-11-01 04:00", "2026-11-02 05:00"),  # a day of 25 hours
        (SYDNEY, "02:30-03:30", "2026-10-03 12:00", "2026-10-03 16:00", "2026-10-03 16:30"),
        (SYDNEY, "02:30-02:45", "2026-04-04 12:00", "2026-04-04 15:30", "2026-04-04 15:45"),
        (SYDNEY, "02:30-02:45", "2026-04-04 15:45", "2026-04-04 16:30", "2026-04-04 16:45"),
        (SYDNEY, "SUN", "2026-10-02 12:00", "2026-10-03 14:00", "2026-10-04 13:00"),  # a day of 23 hours
    ],
)
def test_hours_follow_the_wall_clock_through_its_changes(
    zone: ZoneInfo, window: str, after: str, opens: str, closes: str
) -> None:
    found = hours(window, zone=zone)
    assert found.opens(moment(after)) == moment(opens)
    assert found.closed(moment(opens)) is None
    assert found.closed(moment(opens) - timedelta(seconds=1)) == "window"
    assert found.closed(moment(closes)) == "window"
    assert found.closed(moment(closes) - timedelta(seconds=1)) is None


@pytest.mark.parametrize(
    ("found", "after", "opens"),
    [
        (hours("SAT 02:00-04:00"), "2026-11-23 09:00", "2026-11-28 02:00"),
        (hours("SAT 02:00-04:00"), "2026-11-28 02:30", "2026-11-28 02:30"),
        (hours("SAT 02:00-04:00"), "2026-11-28 04:00", "2026-12-05 02:00"),
        (hours("FRI 22:00-04:00"), "2026-11-28 00:30", "2026-11-28 00:30"),
        (hours("FRI 22:00-04:00", but=("SAT",)), "2026-11-28 00:30", "2026-12-04 22:00"),
        (hours(but=("2026-12-20/2027-01-03",)), "2026-12-24 12:00", "2027-01-04 00:00"),
        (hours("MON", but=("2026-12-20/2027-01-03",)), "2026-12-24 12:00", "2027-01-04 00:00"),
        (hours("MON", but=("2026-12-20/2036-01-03",)), "2026-12-24 12:00", "2036-01-07 00:00"),
        (hours("2028-02-29/2028-02-29"), "2026-01-01 00:00", "2028-02-29 00:00"),
        (hours("2025-02-01/2025-02-03"), "2026-01-01 00:00", None),
        (hours("MON 09:00-10:00", but=("MON",)), "2026-01-01 00:00", None),
        (hours(), "2026-01-01 00:00", "2026-01-01 00:00"),
    ],
)
def test_the_next_opening_is_found(found: Hours, after: str, opens: str | None) -> None:
    assert found.opens(moment(after)) == (moment(opens) if opens else None)


@pytest.mark.parametrize(
    ("found", "before", "expected"),
    [
        (hours("SAT 02:00-04:00"), "2026-12-03 09:00", "2026-11-28 02:00"),
        (hours("SAT,SUN"), "2026-12-03 09:00", "2026-11-29 00:00"),  # two days, of which the last is taken
        (hours(but=("2026-12-20/2027-01-03",)), "2026-12-24 12:00", "2026-12-19 00:00"),
        (hours("SAT 02:00-04:00", but=("2026-11-20/2027-01-03",)), "2026-12-24 12:00", "2026-11-14 02:00"),
        (hours(but=("2026-10-01/2027-01-03",)), "2026-12-24 12:00", None),
        (hours("FRI 20:00-06:00"), "2026-11-28 06:00", "2026-11-27 20:00"),
    ],
)
def test_the_last_hours_before_a_moment_are_found(found: Hours, before: str, expected: str | None) -> None:
    assert found.last_open(moment(before), moment("2026-11-01 00:00")) == (moment(expected) if expected else None)


SPANS = some.sampled_from(
    ["MON-FRI 09:00-17:00", "SAT,SUN", "22:00-04:00", "WED 01:30-02:15", "THU-SUN 23:30-00:30", "2026-03-20/2026-04-10"]
)


@given(
    windows=some.lists(SPANS, max_size=3),
    but=some.lists(SPANS, max_size=2),
    zone=some.sampled_from([LONDON, NEW_YORK, SYDNEY]),
    minutes=some.integers(0, 366 * 24 * 60),
)
def test_the_opening_is_open_and_nothing_before_it_is(
    windows: list[str], but: list[str], zone: ZoneInfo, minutes: int
) -> None:
    found = hours(*windows, but=tuple(but), zone=zone)
    at = moment("2026-01-01 00:00") + timedelta(minutes=minutes)
    opens = found.opens(at)
    if opens is None:
        assert all(found.closed(at + n * HOUR / 4) for n in range(14 * 24 * 4))
        return
    assert found.closed(opens) is None
    step = max((opens - at) / 500, timedelta(minutes=1))
    while at < opens:
        assert found.closed(at) is not None
        at += step


@given(
    windows=some.lists(SPANS, max_size=3), but=some.lists(SPANS, max_size=2), minutes=some.integers(0, 366 * 24 * 60)
)
def test_the_last_hours_are_open_and_between_them_and_the_moment_no_others_begin(
    windows: list[str], but: list[str], minutes: int
) -> None:
    found = hours(*windows, but=tuple(but))
    at = moment("2026-01-01 00:00") + timedelta(minutes=minutes)
    since = at - 30 * DAY
    last = found.last_open(at, since)
    if last is None:
        assert all(found.closed(since + n * HOUR / 4) for n in range(30 * 24 * 4))
        return
    assert since <= last < at
    assert found.closed(last) is None
    again, n = False, 0
    while last + n * timedelta(minutes=15) < at:  # open, then closed, and not open again: but for the day that is kept
        closed = found.closed(last + n * timedelta(minutes=15)) is not None
        again = again or closed
        assert closed or not again
        n += 1
