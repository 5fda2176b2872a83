"""Windows, blackouts, `max_age` and `moved_from` in the file: what is read, what cannot be, and what is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.config import CredentialConfig, entry_of, load, with_removed
from rotator.domain.hours import read_span
from tests.config.sample import BASE, aws_credential, credential, load_text, problems_with

DAY = timedelta(days=1)


def read(folder: Path, policy: str, defaults: str = "") -> CredentialConfig:
    text = f"defaults: {{policy: {{{defaults}}}}}\n" + credential(f"policy: {{{policy}}}")
    return load_text(folder, text).credentials["key"]


def openai(policy: str, life: str | None = None) -> str:
    """A file with one credential of OpenAI, whose keys live so long."""
    expires = f", expires_in: {life}" if life else ""
    options = f"{{project: proj_a, service_account: svc_a{expires}}}"
    keys = f"provider: openai, options: {options}, destinations: [{{to: sm, path: app}}], policy: {{{policy}}}"
    return f"{BASE}credentials: {{key: {{{keys}}}}}\n"


def test_hours_are_read_in_the_time_zone_of_the_policy(tmp_path: Path) -> None:
    text = "windows: ['SAT 02:00-04:00', SUN], blackouts: [2026-12-20/2027-01-03], timezone: Asia/Tokyo"
    policy = read(tmp_path, text).policy
    assert policy.windows == (read_span("SAT 02:00-04:00"), read_span("SUN"))
    assert policy.hours.closed(datetime(2026, 11, 27, 17, 30, tzinfo=UTC)) is None  # Saturday 02:30 in Tokyo
    assert policy.hours.closed(datetime(2026, 11, 28, 2, 30, tzinfo=UTC)) == "window"
    assert policy.hours.closed(datetime(2026, 12, 20, 2, 30, tzinfo=UTC)) == "blackout"


def test_the_zone_of_a_houses_hours_stays_where_a_credential_has_another_period(tmp_path: Path) -> None:
    policy = read(tmp_path, "rotate_every: 7d", "windows: [SAT], timezone: Asia/Tokyo, cron: 0 9 * * *").policy
    assert policy.timezone == "Asia/Tokyo"
    assert policy.hours.closed(datetime(2026, 11, 27, 17, 30, tzinfo=UTC)) is None


@pytest.mark.parametrize("own", ["windows: null", "windows: []"])
def test_a_credential_may_take_the_houses_windows_back(tmp_path: Path, own: str) -> None:
    policy = read(tmp_path, own, "windows: [SAT], rotate_every: 30d").policy
    assert policy.windows == ()
    assert policy.hours.closed(datetime(2026, 11, 24, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("policy", "place", "message"),
    [
        ("windows: SAT", "windows", "must be a list"),
        ("windows: [7]", "windows[0]", "must be text"),
        ("windows: [SAT, 'SUN 1-2']", "windows[1]", "is no span; write MON-FRI 22:00-04:00, SAT,SUN or"),
        ("blackouts: [2026-02-30/2026-03-01]", "blackouts[0]", "there is no 2026-02-30"),
        ("blackouts: [2026-03-02/2026-03-01]", "blackouts[0]", "ends before it begins"),
        ("windows: [SAT], blackouts: ['SAT 00:00-24:00']", "windows", "leave no time in which a rotation may begin"),
        ("blackouts: [MON-SUN]", "blackouts", "leave no time in which a rotation may begin"),
        ("windows: [SAT], timezone: Mars/Olympus", "timezone", "there is no time zone `Mars/Olympus`"),
        ("max_age: 0s", "max_age", "must be more than 0"),
        (
            "max_age: 1d, require_idle: 0s",
            "max_age",
            "grace 1d + time for retries 1h12m + min_interval 1h = 1d2h12m must be shorter than max_age, 1d: no key",
        ),
        (
            "max_age: 90d, rotate_every: 90d",
            "rotate_every",
            "the time between two rotations, 90d, + grace 1d + time for retries 4d12h = 95d12h must not be longer",
        ),
        ("max_age: 30d, cron: 0 0 1 * *", "cron", "the time between two rotations, 31d, + grace 1d"),
        ("max_age: 30d, jitter: 28d", "max_age", "grace 1d + jitter 28d + time for retries 1d12h"),
        ("max_age: 30d, min_interval: 29d", "min_interval", "must not be longer than the time between two rotations"),
        ("max_age: 5h, grace: 1h, require_idle: 0s", "max_age", "needs a key every 3h, and max_creates_per_day is 5"),
    ],
)
def test_what_cannot_be_is_told(tmp_path: Path, policy: str, place: str, message: str) -> None:
    (problem,) = problems_with(tmp_path, credential(f"policy: {{soak: 0s, {policy}}}"))
    assert problem.place == f"credentials.key.policy.{place}"
    assert problem.message.startswith(message)


def test_all_that_cannot_be_is_told_at_once(tmp_path: Path) -> None:
    policy = "rotate_every: 40d, max_age: 30d, blackouts: [MON-SUN], require_idle: 2d, jitter: 29d, timezone: Mars/X"
    problems = problems_with(tmp_path, credential(f"policy: {{{policy}}}"))
    assert {p.place.removeprefix("credentials.key.policy.") for p in problems} == {
        "blackouts",
        "max_age",
        "require_idle",
        "timezone",
    }


@pytest.mark.parametrize(
    "policy",
    [
        "max_age: 90d, rotate_every: 84d",
        "max_age: 90d",
        "max_age: 34d, cron: 0 0 1 * *, grace: 10m",
        "max_age: 6h, grace: 10m",
    ],
)
def test_what_can_just_be_is_allowed(tmp_path: Path, policy: str) -> None:
    load_text(tmp_path, credential(f"policy: {{soak: 0s, {policy}}}"))


def test_the_soak_counts_where_the_provider_cannot_disable(tmp_path: Path) -> None:
    policy = "max_age: 30d, rotate_every: 25d, grace: 1d, soak: 3d"
    load_text(tmp_path, aws_credential(policy))
    (problem,) = problems_with(tmp_path, openai(policy))
    assert "grace 1d + soak 3d + settle 1m + time for retries 1d12h = 30d12h1m" in problem.message
    assert problem.hint == "rotate at least every 24d11h59m"


def test_max_age_is_the_period_of_a_provider_with_two_slots(tmp_path: Path) -> None:
    load_text(tmp_path, aws_credential("max_age: 30d, soak: 20d"))
    (problem,) = problems_with(tmp_path, aws_credential("max_age: 30d, soak: 29d"))
    assert (
        "must be shorter than the time between two rotations, 27d11h55m: the provider holds two keys" in problem.message
    )


def test_a_key_that_its_provider_ends_must_live_long_enough_to_be_replaced(tmp_path: Path) -> None:
    load_text(tmp_path, openai("rotate_every: 90d", "30d"))  # the earlier of both is taken
    (problem,) = problems_with(tmp_path, openai("", "2d"))
    assert problem.message == (
        "grace 1d + soak 1d + settle 1m + time for retries 2h24m + min_interval 1h = 2d3h25m must be shorter than "
        "what the provider lets a key live, 2d: no key could be replaced in time"
    )


def test_what_is_kept_of_a_credential_is_read_again(tmp_path: Path) -> None:
    policy = "rotate_every: 30d, windows: ['SAT 02:00-04:00', SUN], blackouts: [2026-12-20/2027-01-03], max_age: 40d"
    found = read(tmp_path, policy, "timezone: Asia/Tokyo")
    whole, left_out = with_removed(load(tmp_path / "rotator.yaml"), {"gone": entry_of(found)})
    assert left_out == {}
    assert whole.credentials["gone"].policy == found.policy
    assert whole.credentials["gone"].policy.hours == found.policy.hours


def test_the_zone_of_the_house_is_not_kept_of_a_credential_that_has_no_use_for_it(tmp_path: Path) -> None:
    found = read(tmp_path, "rotate_every: 30d", "timezone: Asia/Tokyo")
    _, left_out = with_removed(load(tmp_path / "rotator.yaml"), {"gone": entry_of(found)})
    assert left_out == {}


def two(first: str, second: str) -> str:
    keys = "provider: local, destinations: [{to: sm, path: P}]"
    return f"{BASE}credentials:\n" + "".join(
        f"  {name}: {{{keys.replace('P', name)}, {more}}}\n" for name, more in (("one", first), ("two", second))
    )


def test_a_credential_may_say_what_it_was_called(tmp_path: Path) -> None:
    assert load_text(tmp_path, credential("moved_from: old")).credentials["key"].moved_from == "old"


@pytest.mark.parametrize(
    ("first", "second", "place", "message"),
    [
        ("owner: x", "moved_from: one", "two", "`one` is another credential of this file"),
        ("moved_from: one", "owner: x", "one", "`one` is its own name"),
        ("moved_from: old", "moved_from: old", "two", "`old` is the former name of `one` already"),
    ],
)
def test_a_former_name_is_nobody_elses(tmp_path: Path, first: str, second: str, place: str, message: str) -> None:
    (problem,) = problems_with(tmp_path, two(first, second))
    assert problem.place == f"credentials.{place}.moved_from"
    assert problem.message == message
