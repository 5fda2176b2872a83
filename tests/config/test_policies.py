"""Merging, cron lines, time zones, and what excludes what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from rotator.config import CredentialConfig
from rotator.config.cron import CronSchedule, gaps
from rotator.domain.policy import Policy
from tests.config.sample import aws_credential, credential, load_text, problems_with

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def read(folder: Path, policy: str, defaults: str = "") -> CredentialConfig:
    text = f"defaults: {{policy: {{{defaults}}}}}\n" + credential(f"policy: {{{policy}}}")
    return load_text(folder, text).credentials["key"]


def test_without_any_key_the_policy_is_the_built_in_one(tmp_path: Path) -> None:
    found = read(tmp_path, "")
    assert found.policy == Policy()
    assert found.policy.schedule is None
    assert {origin.source for origin in found.places.values()} == {"built-in"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("45s", timedelta(seconds=45)),
        ("90m", timedelta(minutes=90)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
        ("1d12h", timedelta(hours=36)),
        ("0", timedelta(0)),
        ("0s", timedelta(0)),
    ],
)
def test_durations_are_read(tmp_path: Path, text: str, expected: timedelta) -> None:
    assert read(tmp_path, f"soak: {text}").policy.soak == expected


@pytest.mark.parametrize(
    "text", ["45", "1.5h", "12 h", "1h30", "-3d", "''", "h", "null", "[1h]", "true", "P1D", "12h1d"]
)
def test_what_is_no_duration_is_told_how_to_write_one(tmp_path: Path, text: str) -> None:
    (problem,) = problems_with(tmp_path, credential(f"policy: {{soak: {text}}}"))
    assert problem.place == "credentials.key.policy.soak"
    assert problem.message.endswith("is not a duration; write 45s, 90m, 12h, 30d or 1d12h")


def test_defaults_are_merged_key_by_key_and_each_value_says_where_it_is_from(tmp_path: Path) -> None:
    found = read(tmp_path, "grace: 2h, hold_alarm: 1d", defaults="grace: 5h, soak: 6h, allow_downtime: true")
    assert (found.policy.grace, found.policy.soak) == (2 * HOUR, 6 * HOUR)
    assert found.policy.allow_downtime
    sources = {key: origin.source for key, origin in found.places.items()}
    assert sources["grace"] == sources["hold_alarm"] == "credential"
    assert sources["soak"] == sources["allow_downtime"] == "defaults"
    assert sources["jitter"] == "built-in"
    assert found.places["soak"].line == 1
    assert found.places["soak"].file == "rotator.yaml"
    assert set(found.places) == {
        key for key in Policy.__dataclass_fields__ if key not in ("schedule", "hours", "waves")
    }


@pytest.mark.parametrize(
    ("defaults", "own", "every", "cron"),
    [
        ("rotate_every: 30d", "", 30 * DAY, None),
        ("rotate_every: 30d", "rotate_every: 7d", 7 * DAY, None),
        ("rotate_every: 30d", "cron: 0 9 * * MON", None, "0 9 * * MON"),
        ("cron: 0 9 * * MON, timezone: Asia/Tokyo", "rotate_every: 7d", 7 * DAY, None),
        ("rotate_every: 30d", "rotate_every: null", None, None),
        ("cron: 0 9 * * MON", "rotate_every: null", None, None),
        ("timezone: Asia/Tokyo", "", None, None),
    ],
)
def test_cron_and_rotate_every_replace_each_other(
    tmp_path: Path, defaults: str, own: str, every: timedelta | None, cron: str | None
) -> None:
    policy = read(tmp_path, own, defaults).policy
    assert (policy.rotate_every, policy.cron) == (every, cron)
    assert (policy.schedule is not None) is (cron is not None)


def test_the_house_may_set_the_time_zone_of_cron_lines(tmp_path: Path) -> None:
    policy = read(tmp_path, "cron: 0 9 * * *", "timezone: Asia/Tokyo").policy
    assert policy.timezone == "Asia/Tokyo"
    assert policy.schedule is not None
    assert policy.schedule.next_after(datetime(2026, 6, 1, tzinfo=UTC)) == datetime(2026, 6, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("policy", "place", "message"),
    [
        ("cron: 0 9 * * MON, rotate_every: 3d", "cron", "excludes `rotate_every`: take one of them out"),
        (
            "timezone: Europe/London",
            "timezone",
            "is for `cron`, `windows`, `blackouts` and `brownout`, and there is none",
        ),
        (
            "rotate_every: 3d, timezone: Europe/London",
            "timezone",
            "is for `cron`, `windows`, `blackouts` and `brownout`, and there is none",
        ),
        ("cron: 0 9 * * *, timezone: Mars/Olympus", "timezone", "there is no time zone `Mars/Olympus`"),
        ("cron: 0 9 * * *, timezone: ../../etc/passwd", "timezone", "there is no time zone"),
        ("cron: 0 9 * * *, timezone: Europe", "timezone", "there is no time zone `Europe`"),
        ("cron: 0 9 * *", "cron", "a cron line has five fields"),
        ("cron: 0 0 9 * * *", "cron", "a cron line has five fields"),
        ("cron: '@daily'", "cron", "a cron line has five fields"),
        ("cron: 61 9 * * *", "cron", "is not a cron line: bad minute"),
        ("cron: 0 9 * * FUNDAY", "cron", "is not a cron line: bad day-of-week"),
        ("cron: 0 0 30 2 *", "cron", "is not a cron line: bad day-of-month"),
        ("cron: 0 0 L/2 LW/x 1L/2", "cron", "is not a cron line"),
        (f"cron: {'9' * 150} 0 * * *", "cron", "is not a cron line"),
        (f"cron: {'9' * 250} 0 * * *", "cron", "is too long"),
        ("cron: 7", "cron", "must be text; put it in quotes"),
        ("rotate_every: 0s", "rotate_every", "must be more than 0"),
        ("grace: 1h, require_idle: 2h", "require_idle", "must not be longer than grace, 1h"),
        ("require_idle: 2d", "require_idle", "must not be longer than grace, 1d"),
        ("rotate_every: 2h, min_interval: 3h", "min_interval", "must not be longer than the time between"),
        ("rotate_every: 2h, jitter: 2h", "jitter", "must be shorter than the time between two rotations, 2h"),
        ("cron: 0 9 * * *, jitter: 1d", "jitter", "must be shorter than the time between two rotations, 23h"),
        ("max_creates_per_day: 0", "max_creates_per_day", "must be at least 1"),
        ("max_creates_per_day: 1.5", "max_creates_per_day", "must be a whole number"),
        ("allow_downtime: perhaps", "allow_downtime", "must be true or false"),
        ("first: never", "first", "must be one of issue, ask, adopt"),
        ("grace: 11y", "grace", "is not a duration"),
        ("grace: 4000d", "grace", "is longer than ten years"),
    ],
)
def test_wrong_policies_are_told(tmp_path: Path, policy: str, place: str, message: str) -> None:
    zone = "timezone: Europe/London, " if "23h" in message else ""
    (problem,) = problems_with(tmp_path, credential(f"policy: {{{zone}{policy}}}"))
    assert problem.place == f"credentials.key.policy.{place}"
    assert message in problem.message


@pytest.mark.parametrize(
    ("defaults", "own", "idle"),
    [
        ("", "grace: 10m", timedelta(minutes=10)),
        ("grace: 10m", "", timedelta(minutes=10)),
        ("require_idle: 5h", "grace: 2h", 2 * HOUR),
        ("", "grace: 0s", timedelta(0)),
        ("", "grace: 5h, require_idle: 5h", 5 * HOUR),
    ],
)
def test_a_default_idle_time_never_exceeds_grace(tmp_path: Path, defaults: str, own: str, idle: timedelta) -> None:
    assert read(tmp_path, own, defaults).policy.require_idle == idle


@pytest.mark.parametrize(
    ("policy", "interval"),
    [
        ("", HOUR),
        ("rotate_every: 30d", 36 * HOUR),
        ("rotate_every: 12h", HOUR),
        ("cron: 0 9 * * *", 72 * timedelta(minutes=1)),
        ("rotate_every: 30d, min_interval: 5m", timedelta(minutes=5)),
        ("rotate_every: 30d, min_interval: null", 36 * HOUR),
    ],
)
def test_the_interval_follows_the_period(tmp_path: Path, policy: str, interval: timedelta) -> None:
    assert read(tmp_path, policy).policy.min_interval == interval


def test_a_provider_with_two_slots_needs_room_between_two_rotations(tmp_path: Path) -> None:
    (problem,) = problems_with(tmp_path, aws_credential("rotate_every: 3d, grace: 1d, soak: 2d"))
    assert problem.place == "credentials.key.policy"
    assert problem.message == (
        "grace 1d + soak 2d + settle 5m + 1h = 3d1h5m must be shorter than the time between two rotations, 3d: "
        "the provider holds two keys"
    )


@pytest.mark.parametrize(
    ("policy", "fits"),
    [
        ("rotate_every: 3d2h, grace: 1d, soak: 2d", True),
        ("rotate_every: 3d1h5m, grace: 1d, soak: 2d", False),
        ("rotate_every: 3d1h5m, grace: 1d, soak: 2d, settle: 0", True),
        ("cron: 0 9 * * MON, grace: 2h, soak: 3d", True),
        ("cron: 0 9 * * MON, grace: 2h, soak: 7d", False),
        ("cron: 0 9 1 * *, grace: 2h, soak: 27d", True),
        ("cron: 0 9 1 * *, grace: 2h, soak: 28d", False),
        ("cron: 0 9 1-2 * *, grace: 2h, soak: 3d", False),
        ("grace: 30d, soak: 30d", True),
    ],
)
def test_the_shortest_time_between_two_slots_counts(tmp_path: Path, policy: str, fits: bool) -> None:
    if fits:
        load_text(tmp_path, aws_credential(policy))
    else:
        (problem,) = problems_with(tmp_path, aws_credential(policy))
        assert "must be shorter than the time between two rotations" in problem.message


LONDON = ZoneInfo("Europe/London")


@pytest.mark.parametrize(
    ("line", "zone", "after", "expected"),
    [
        ("0 9 * * MON", "Europe/London", "2026-11-23T08:59:59+00:00", "2026-11-23T09:00:00+00:00"),
        ("0 9 * * MON", "Europe/London", "2026-11-23T09:00:00+00:00", "2026-11-30T09:00:00+00:00"),
        ("0 9 * * mon", "Europe/London", "2026-07-01T00:00:00+00:00", "2026-07-06T08:00:00+00:00"),
        ("30 1 * * *", "Europe/London", "2026-03-28T02:00:00+00:00", "2026-03-29T01:00:00+00:00"),  # skipped: 02:00 BST
        ("45 1 * * *", "Europe/London", "2026-10-25T01:30:00+00:00", "2026-10-26T01:45:00+00:00"),  # repeated hour
        ("30 2 * * *", "America/New_York", "2027-03-13T12:00:00+00:00", "2027-03-14T07:00:00+00:00"),  # skipped
        (
            "30 1 * * *",
            "America/New_York",
            "2026-10-31T12:00:00+00:00",
            "2026-11-01T05:30:00+00:00",
        ),  # the first of two
        ("30 1 * * *", "America/New_York", "2026-11-01T05:30:00+00:00", "2026-11-02T06:30:00+00:00"),
        ("30 2 * * *", "Australia/Sydney", "2026-10-03T00:00:00+00:00", "2026-10-03T16:00:00+00:00"),  # skipped
        (
            "30 2 * * *",
            "Australia/Sydney",
            "2027-04-03T00:00:00+00:00",
            "2027-04-03T15:30:00+00:00",
        ),  # the first of two
        ("30 2 * * *", "Australia/Sydney", "2027-04-03T15:30:00+00:00", "2027-04-04T16:30:00+00:00"),
        ("0 0 31 * *", "UTC", "2026-10-31T00:00:00+00:00", "2026-12-31T00:00:00+00:00"),
        ("0 0 L * *", "UTC", "2027-02-01T00:00:00+00:00", "2027-02-28T00:00:00+00:00"),
        ("0 0 L * *", "UTC", "2028-02-01T00:00:00+00:00", "2028-02-29T00:00:00+00:00"),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00+00:00", "2028-02-29T00:00:00+00:00"),
        ("*/5 * * * *", "UTC", "2026-01-01T00:00:00.5+00:00", "2026-01-01T00:05:00+00:00"),
    ],
)
def test_the_next_slot_is_later_and_in_local_time(line: str, zone: str, after: str, expected: str) -> None:
    moment = datetime.fromisoformat(after)
    slot = CronSchedule(line, ZoneInfo(zone)).next_after(moment)
    assert slot == datetime.fromisoformat(expected)
    assert slot.tzinfo is UTC


def test_clock_changes_are_part_of_the_shortest_gap() -> None:
    assert gaps(CronSchedule("0 9 * * *", LONDON))[0] == timedelta(hours=23)
    assert gaps(CronSchedule("0 9 * * *", ZoneInfo("Australia/Sydney")))[0] == timedelta(hours=23)
    assert gaps(CronSchedule("0 9 * * *", ZoneInfo("UTC"))) == (DAY, DAY)


@pytest.mark.parametrize("line", ["0 0 29 2 *", "0 0 29 2 */8", "0 0 1 1 */8", "* * * * *", "0 0 L * *"])
def test_every_cron_line_has_a_shortest_gap(line: str) -> None:
    assert timedelta(0) < gaps(CronSchedule(line, LONDON))[0] < 30 * 366 * DAY
