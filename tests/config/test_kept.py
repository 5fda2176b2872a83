"""The entry of a credential that the database keeps, read again when the file names the credential no more."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rotator.config import Config, entry_of, with_removed
from tests.config.sample import EXAMPLE, TEAM, load_text


@pytest.fixture
def example(tmp_path: Path) -> Config:
    (tmp_path / "teams").mkdir()
    (tmp_path / "teams" / "team.yaml").write_text(TEAM)
    return load_text(tmp_path, EXAMPLE)


def test_every_entry_of_the_example_comes_back_as_it_was(example: Config) -> None:
    entries = {name: entry_of(credential) for name, credential in example.credentials.items()}
    whole, left_out = with_removed(replace(example, credentials={}), entries)
    assert left_out == {}
    for name, before in example.credentials.items():
        again = whole.credentials[name]
        assert again.removed
        assert (again.provider, again.options) == (before.provider, before.options)
        assert (again.policy, again.destinations) == (before.policy, before.destinations)


def test_a_destination_without_an_entry_of_its_own_comes_back_too(example: Config) -> None:
    entry = entry_of(example.credentials["session"])
    servers = {name: known for name, known in example.destinations.items() if name != "env-file"}
    whole, left_out = with_removed(replace(example, destinations=servers, credentials={}), {"session": entry})
    assert left_out == {}
    assert whole.destinations["env-file"].type == "env-file"


def test_two_that_wrote_one_place_one_after_the_other_both_come_back(example: Config) -> None:
    entry = entry_of(example.credentials["deployer"])
    whole, left_out = with_removed(replace(example, credentials={}), {"deployer": entry, "renamed": entry})
    assert left_out == {}
    assert sorted(whole.credentials) == ["deployer", "renamed"]


def test_the_same_credential_has_the_same_entry(example: Config, tmp_path: Path) -> None:
    again = load_text(tmp_path, EXAMPLE)
    for name, credential in example.credentials.items():
        assert entry_of(credential) == entry_of(again.credentials[name])


def test_what_is_left_out_says_what_is_missing(example: Config) -> None:
    entries: dict[str, str | None] = {n: entry_of(example.credentials[n]) for n in ("openai-web", "deployer")}
    damaged = json.dumps({**json.loads(entries["deployer"] or ""), "policy": {"grace": "soon"}})
    entries |= {"session": None, "torn": "{", "damaged": damaged}
    bare = replace(example, credentials={}, providers={"aws": example.providers["aws"]}, destinations={})
    whole, left_out = with_removed(bare, entries)
    assert whole.credentials == {}
    assert sorted(left_out) == ["damaged", "deployer", "openai-web", "session", "torn"]
    assert "provider: no provider is called `openai`" in left_out["openai-web"]
    assert left_out["deployer"] == "destinations[0].to: no destination is called `sm`"
    assert left_out["session"] == "its entry was never kept"
    assert "policy.grace" in left_out["damaged"]
    assert left_out["torn"]
