"""`readers` and `propagation` of an entry: what they say, and that no grace is shorter than what they need."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from rotator.config import CredentialConfig, entry_of, with_removed
from tests.config.sample import BASE, load_text, problems_with

MINUTE = timedelta(minutes=1)


def text(entries: str, policy: str = "", provider: str = "provider: local") -> str:
    return f"{BASE}credentials: {{key: {{{provider}, policy: {{{policy}}}, destinations: [{entries}]}}}}\n"


def read(folder: Path, entries: str, policy: str = "") -> CredentialConfig:
    return load_text(folder, text(entries, policy)).credentials["key"]


@pytest.mark.parametrize(
    ("keys", "lag"),
    [
        ("", 0 * MINUTE),
        ("readers: poll 60s", MINUTE),
        ("readers: poll   1m30s", 1.5 * MINUTE),
        ("readers: reload", 0 * MINUTE),
        ("readers: restart", 0 * MINUTE),
        ("propagation: 10m", 10 * MINUTE),
        ("readers: poll 1m, propagation: 10m", 11 * MINUTE),
        ("readers: restart, propagation: 10m", 10 * MINUTE),
    ],
)
def test_readers_may_hold_the_old_value_for_propagation_and_one_poll(tmp_path: Path, keys: str, lag: timedelta) -> None:
    (target,) = read(tmp_path, f"{{to: sm, path: a, {keys}}}").destinations
    assert target.lag == lag


@pytest.mark.parametrize(
    ("keys", "place", "message"),
    [
        ("readers: often", "readers", "must be `poll 60s`, `reload` or `restart`"),
        ("readers: ''", "readers", "must be `poll 60s`, `reload` or `restart`"),
        ("readers: poll", "readers", "says how often they look: `poll 60s`"),
        ("readers: poll soon", "readers", "'soon' is not a duration"),
        ("readers: poll 0s", "readers", "must be more than 0"),
        ("readers: poll 11000d", "readers", "is longer than ten years"),
        ("readers: poll 99999999999d", "readers", "is longer than ten years"),
        ("readers: reload 60s", "readers", "`reload` takes no interval: only `poll` does"),
        ("readers: [poll]", "readers", "must be text"),
        ("readers: 60", "readers", "must be text"),
        ("propagation: soon", "propagation", "is not a duration"),
        ("propagation: 4000d", "propagation", "is longer than ten years"),
    ],
)
def test_wrong_readers_are_told(tmp_path: Path, keys: str, place: str, message: str) -> None:
    (problem,) = problems_with(tmp_path, text(f"{{to: sm, path: a, {keys}}}"))
    assert problem.place == f"credentials.key.destinations[0].{place}"
    assert message in problem.message


def test_the_slowest_readers_decide_the_least_grace_and_its_origin_says_so(tmp_path: Path) -> None:
    entries = """
  {to: sm, path: a, readers: poll 5m},
  {to: sm, path: b, readers: poll 1m, propagation: 2h}"""
    credential = read(tmp_path, entries, "grace: 1m")
    assert credential.policy.grace == 121 * MINUTE
    origin = credential.places["grace"]
    assert (origin.source, origin.file, origin.line) == ("destinations", "rotator.yaml", 11)
    assert origin.why == "raised from 1m, for its readers"


@pytest.mark.parametrize("policy", ["grace: 3h", ""])
def test_a_grace_that_is_long_enough_stays_what_it_is(tmp_path: Path, policy: str) -> None:
    credential = read(tmp_path, "{to: sm, path: a, propagation: 2h}", policy)
    assert credential.policy.grace == timedelta(hours=3 if policy else 24)
    assert credential.places["grace"].source == ("credential" if policy else "built-in")
    assert credential.places["grace"].why is None


def test_the_grace_of_the_defaults_is_raised_for_the_credential_that_needs_it_alone(tmp_path: Path) -> None:
    both = f"""{BASE}defaults: {{policy: {{grace: 1h}}}}
credentials:
  slow: {{provider: local, destinations: [{{to: sm, path: a, propagation: 2h}}]}}
  fast: {{provider: local, destinations: [{{to: sm, path: b}}]}}
"""
    found = load_text(tmp_path, both).credentials
    assert (found["slow"].policy.grace, found["fast"].policy.grace) == (timedelta(hours=2), timedelta(hours=1))


def test_idle_time_fits_into_the_raised_grace(tmp_path: Path) -> None:
    credential = read(tmp_path, "{to: sm, path: a, propagation: 2h}", "grace: 1m, require_idle: 90m")
    assert credential.policy.require_idle == 90 * MINUTE


def test_slots_and_max_age_count_the_raised_grace_and_say_whose_it_is(tmp_path: Path) -> None:
    slow = "{to: sm, path: a, readers: poll 2d}"
    aws = "provider: aws, options: {user: ci}"
    (problem,) = problems_with(tmp_path, text(slow, "rotate_every: 3d, grace: 1h, soak: 1d", aws))
    assert problem.message == (
        "grace 2d + soak 1d + settle 5m + 1h (grace as the readers of credentials.key.destinations[0] need it) = "
        "3d1h5m must be shorter than the time between two rotations, 3d: the provider holds two keys"
    )
    (problem,) = problems_with(tmp_path, text(slow, "max_age: 2d, grace: 1h, soak: 0s"))
    assert problem.place == "credentials.key.policy.max_age"
    assert "grace 2d + time for retries 2h24m (grace as the readers of" in problem.message


def test_the_kept_entry_of_a_removed_credential_has_its_readers_and_its_pair(tmp_path: Path) -> None:
    entry = "{to: sm, path: a, mode: pair, readers: poll 1m30s, propagation: 2h}"
    config = load_text(tmp_path, text(entry, "grace: 1h"))
    before = config.credentials["key"]
    again = with_removed(config, {"key": entry_of(before)})[0].credentials["key"]
    assert (again.destinations, again.policy) == (before.destinations, before.policy)
