"""Names and labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotator.config import Config, ConfigError, select
from rotator.domain.errors import SetupError
from tests.config.sample import BASE, load_text


@pytest.fixture
def config(tmp_path: Path) -> Config:
    labels = {
        "web": "{team: web, env: prod, tier: gold}",
        "api": "{team: web, env: dev}",
        "batch": "{team: data}",
        "plain": "{}",
    }
    owners = {"web": "web@example.com", "api": "web@example.com", "batch": "Data Team", "plain": "null"}
    entries = ", ".join(
        f"{name}: {{provider: local, destinations: ['sm:{name}'], labels: {text}, owner: {owners[name]}}}"
        for name, text in labels.items()
    )
    return load_text(tmp_path, f"{BASE}credentials: {{{entries}}}\n")


def names(config: Config, selector: str | None, *wanted: str) -> list[str]:
    return [credential.name for credential in select(config, wanted, selector)]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("team=web", ["web", "api"]),
        ("team==web", ["web", "api"]),
        ("team=web,env!=dev", ["web"]),
        ("team=web, env!=dev", ["web"]),
        ("team=web,env!=dev,tier", ["web"]),
        ("env!=dev", ["web", "batch", "plain"]),
        ("tier", ["web"]),
        ("!tier", ["api", "batch", "plain"]),
        ("!team", ["plain"]),
        ("owner=web@example.com", ["web", "api"]),
        ("owner=web@example.com,env=dev", ["api"]),
        ("owner=Data Team", ["batch"]),
        ("!owner", ["plain"]),
        ("provider=local,name!=web", ["api", "batch", "plain"]),
        ("name=batch", ["batch"]),
        (None, ["web", "api", "batch", "plain"]),
    ],
)
def test_all_terms_of_a_selector_hold(config: Config, selector: str | None, expected: list[str]) -> None:
    assert names(config, selector) == expected


def test_names_keep_their_order_and_come_once(config: Config) -> None:
    assert names(config, None, "plain", "web", "plain") == ["plain", "web"]


def test_a_selector_narrows_names(config: Config) -> None:
    assert names(config, "team=web", "api", "batch") == ["api"]


def test_unknown_names_are_refused_with_the_nearest(config: Config) -> None:
    with pytest.raises(SetupError, match="no credential is called wob, bach") as caught:
        select(config, ["wob", "web", "bach"], None)
    assert caught.value.remedy == "did you mean web, batch?"
    with pytest.raises(SetupError) as caught:
        select(config, ["zzzzzz"], None)
    assert "rotator status" in str(caught.value.remedy)


def test_a_selector_that_fits_nothing_is_refused(config: Config) -> None:
    with pytest.raises(SetupError, match="no credential fits the selector team=wob") as caught:
        select(config, [], "team=wob")
    assert "team=web" in str(caught.value.remedy)


@pytest.mark.parametrize("selector", ["", ",", "team=web,", "=web", "!team=web", "a b", "team=a=b", "team!web", "!"])
def test_what_is_no_selector_is_refused(config: Config, selector: str) -> None:
    with pytest.raises(SetupError, match="is not a selector"):
        select(config, [], selector)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("labels: {owner: web}", "labels: `owner` is what selectors call the credential's own owner"),
        ("labels: {name: web}", "labels: `name` is what selectors call the credential's own name"),
        ("owner: 'a,b'", "owner: must hold none of `,=!`"),
        ('runbook: "two\\nlines"', "runbook: must be one line"),
    ],
)
def test_what_a_selector_could_not_name_is_refused(tmp_path: Path, entry: str, problem: str) -> None:
    text = f"{BASE}credentials: {{web: {{provider: local, destinations: ['sm:web'], {entry}}}}}\n"
    with pytest.raises(ConfigError, match="problem") as caught:
        load_text(tmp_path, text)
    assert problem in str(caught.value)
