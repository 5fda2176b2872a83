"""`notify:`: every problem with its place, and what a route comes to."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.config import Config, ConfigError
from rotator.domain.notices import Severity
from tests.config.sample import BASE, load_text
from tests.docs.generate import DOCS

CREDENTIALS = """\
credentials:
  web: {provider: local, destinations: ['sm:web'], labels: {team: web}, owner: web@example.com}
  api: {provider: local, destinations: ['sm:api'], labels: {team: web}}
  batch: {provider: local, destinations: ['sm:batch'], owner: data@example.com}
"""


def loaded(folder: Path, notify: str) -> Config:
    return load_text(folder, f"{BASE}{CREDENTIALS}{notify}")


def routes(folder: Path, entry: str) -> Config:
    return loaded(folder, f"notify: {{routes: {{ops: {{apprise: env:URL, {entry}}}}}}}\n")


@pytest.mark.parametrize(
    ("entry", "reach"),
    [
        ("severity: info", None),
        ("select: team=web", ["web", "api"]),
        ("select: owner=data@example.com", ["batch"]),
        ("credentials: [web, b*]", ["web", "batch"]),
        ("{credentials: [web, b*], select: team}".strip("{}"), ["web"]),
        ("select: team=nobody", []),
    ],
)
def test_a_route_is_for_the_credentials_that_fit(tmp_path: Path, entry: str, reach: list[str] | None) -> None:
    found = routes(tmp_path, entry).routes["ops"].route.reach
    assert (None if found is None else list(found)) == reach


def test_a_route_takes_the_times_of_all_routes_unless_it_has_its_own(tmp_path: Path) -> None:
    text = (
        "notify:\n  group_wait: 1m\n  repeat: 2d\n  routes:\n"
        "    one: {apprise: env:URL}\n    two: {webhook: 'https://x.example/', sign: env:KEY, repeat: 1h}\n"
    )
    found = loaded(tmp_path, text).routes
    assert [found[name].route.repeat for name in ("one", "two")] == [timedelta(days=2), timedelta(hours=1)]
    assert {found[name].route.group_wait for name in ("one", "two")} == {timedelta(minutes=1)}


def test_a_severity_that_is_left_out_is_that_of_problems_unless_events_or_a_digest_say_otherwise(
    tmp_path: Path,
) -> None:
    entries = ("resolved: true", "events: [rotation.*]", "digest: daily")
    found = [routes(tmp_path, entry).routes["ops"].route.severity for entry in entries]
    assert found == [Severity.WARNING, Severity.INFO, Severity.INFO]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("severity: bad", "notify.routes.ops.severity: must be one of critical, warning, info"),
        ("events: [drift.fund]", "names no event: `drift.fund`"),
        ("select: 'a b'", "notify.routes.ops.select: 'a b' is not a selector"),
        ("digest: hourly", "or write daily or weekly"),
        ("digest: daily, repeat: 1h", "notify.routes.ops.repeat: is for single messages"),
        ("quiet: {hours: []}", "notify.routes.ops.quiet.hours: has too few entries"),
        ("quiet: {hours: ['22:00']}", "is no span"),
        ("quiet: {hours: ['22:00-06:00'], except: some}", "notify.routes.ops.quiet.except: must be one of"),
        ("timezone: Europe/Lundon", "did you mean `Europe/London`"),
        ("repeat: 1m", "must not be shorter than `group_interval`"),
        ("severty: info", "did you mean `severity`"),
        ("webhook: 'https://x.example/'", "names several ways"),
    ],
)
def test_what_is_wrong_with_a_route_is_told_with_its_place(tmp_path: Path, entry: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        routes(tmp_path, entry)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("notify", "problem"),
    [
        ("notify: {routes: {ops: {severity: info}}}", "names no way: it needs one of `apprise`, `webhook`"),
        ("notify: {routes: {ops: env:URL}}", "notify.routes.ops: must be a mapping"),
        ("notify: {routes: {ops: {webhook: 'http://x.example/', sign: env:KEY}}}", "must begin with https://"),
        ("notify: {routes: {ops: {webhook: 'https://x.example/'}}}", "notify.routes.ops.sign: is missing"),
        ("notify: {route: {}}", "did you mean `notify.routes`"),
        ("notify: {routes: {Ops: {apprise: env:URL}}}", "a name is at most 63"),
    ],
)
def test_what_is_wrong_with_notify_is_told(tmp_path: Path, notify: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"{notify}\n")
    assert problem in str(caught.value)


def test_an_address_of_apprise_in_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, "notify: {routes: {ops: {apprise: 'slack://TokenA/TokenB'}}}\n")
    assert "a secret is named, not written here" in str(caught.value)
    assert "TokenA" not in str(caught.value)


def test_the_example_of_the_documentation_is_valid(tmp_path: Path) -> None:
    text = (DOCS / "notifications.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert example is not None
    assert list(loaded(tmp_path, example[1]).routes) == ["oncall", "web-team", "archive", "weekly"]
