"""`policy.brownout` in the file: what is read, what cannot be, where it is left out, and what is kept and shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.cli.status import _values
from rotator.config import entry_of, with_removed
from tests.config.sample import aws_credential, credential, load_text, problems_with

HOURLY = "grace: 3d, brownout: {after: 24h, for: 10m}"


def test_it_is_read_with_working_hours_in_the_zone_of_the_policy(tmp_path: Path) -> None:
    text = aws_credential(f"{HOURLY}, timezone: Asia/Tokyo, blackouts: [2026-12-24/2026-12-26]")
    found = load_text(tmp_path, text).credentials["key"].policy.brownout
    assert found is not None
    assert (found.after, found.lasts) == (timedelta(days=1), timedelta(minutes=10))
    assert found.hours.closed(datetime(2026, 11, 27, 2, 0, tzinfo=UTC)) is None  # Friday 11:00 in Tokyo
    assert found.hours.closed(datetime(2026, 11, 27, 10, 0, tzinfo=UTC)) == "window"
    assert found.hours.closed(datetime(2026, 12, 24, 2, 0, tzinfo=UTC)) == "blackout"


@pytest.mark.parametrize(
    ("policy", "place", "message"),
    [
        ("brownout: 10m", "", "must be a mapping"),
        ("brownout: {after: 24h}", ".for", "is missing"),
        ("brownout: {after: 1h, for: 0s}", ".for", "must be more than 0"),
        ("brownout: {after: 1h, for: 1m, hours: []}", ".hours", "leave no time for it; MON-SUN is always"),
        ("brownout: {after: 1h, for: 1m, hours: [9-17]}", ".hours[0]", "is no span"),
        ("brownout: {after: 1h, for: 1m, hours: [2026-12-20/2027-01-03]}", ".hours[0]", "must be hours of weekdays"),
        (
            "grace: 1d, brownout: {after: 24h, for: 10m}",
            "",
            "after 1d + for 10m = 1d10m must be shorter than grace, 1d",
        ),
        ("grace: 9d, brownout: {after: 1h, for: 9h}", "", "its hours leave no 9h in which it can be"),
        (f"{HOURLY}, blackouts: [MON-FRI]", "", "its hours, beside the blackouts, leave no 10m in which it can be"),
        (f"{HOURLY}, allow_downtime: true", "", "excludes `allow_downtime`"),
    ],
)
def test_what_cannot_be_is_told(tmp_path: Path, policy: str, place: str, message: str) -> None:
    (problem,) = problems_with(tmp_path, aws_credential(policy))
    assert problem.place == f"credentials.key.policy.brownout{place}"
    assert problem.message.startswith(message)


def test_a_place_that_serves_the_old_key_beside_the_new_one_excludes_it(tmp_path: Path) -> None:
    text = aws_credential(HOURLY).replace("sm:app", "{to: sm, path: app, mode: pair}")
    (problem,) = problems_with(tmp_path, text)
    assert problem.message.startswith("excludes `mode: pair`")


def test_a_key_that_is_spelt_wrong_gets_its_hint(tmp_path: Path) -> None:
    problems = problems_with(tmp_path, aws_credential("brownout: {after: 1h, for: 1m, hour: [MON]}"))
    assert [p.hint for p in problems] == ["did you mean `policy.brownout.hours`?"]


def test_a_provider_that_cannot_disable_is_an_error_of_the_credential_and_none_of_the_house(tmp_path: Path) -> None:
    (problem,) = problems_with(tmp_path, credential(f"policy: {{{HOURLY}}}"))
    assert problem.message == "the provider cannot disable a key, so it cannot enable it again"
    house = load_text(tmp_path, f"defaults: {{policy: {{{HOURLY}}}}}\n" + credential("policy: {}"))
    assert house.credentials["key"].policy.brownout is None
    assert house.credentials["key"].places["brownout"].source == "built-in"


def test_a_credential_may_take_the_houses_back(tmp_path: Path) -> None:
    house = f"defaults: {{policy: {{{HOURLY}}}}}\n"
    assert load_text(tmp_path, house + aws_credential("soak: 0s")).credentials["key"].policy.brownout is not None
    assert load_text(tmp_path, house + aws_credential("brownout: null")).credentials["key"].policy.brownout is None


def test_it_is_kept_with_the_owner_and_shown(tmp_path: Path) -> None:
    config = load_text(tmp_path, aws_credential(f"{HOURLY}, timezone: Asia/Tokyo"))
    before = config.credentials["key"]
    shown = {key: value for key, value, _ in _values(before)}
    assert shown["brownout"] == "after 1d for 10m, MON-FRI 09:00-17:00"
    entry = entry_of(before)
    assert json.loads(entry)["policy"]["brownout"] == {"after": "1d", "for": "10m", "hours": ["MON-FRI 09:00-17:00"]}
    after, left_out = with_removed(config, {"key": entry})
    assert (after.credentials["key"].policy, left_out) == (before.policy, {})
