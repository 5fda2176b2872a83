"""The JSON Schema says of a file what the loader says, as far as a schema can."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from rotator.config import json_schema
from tests.config.sample import BASE, EXAMPLE, TEAM
from tests.config.test_problems import THIRTY


@pytest.fixture(scope="module")
def schema() -> Any:
    return json_schema()


def errors(schema: Any, text: str) -> list[str]:
    found = Draft202012Validator(schema).iter_errors(yaml.safe_load(text))
    return [".".join(str(step) for step in error.absolute_path) for error in found]


def test_it_is_a_schema_and_plain_json(schema: Any) -> None:
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize("text", [EXAMPLE, TEAM, BASE, "{}", "providers:\ncredentials:\n", "providers: {generated: }"])
def test_files_that_load_are_valid(schema: Any, text: str) -> None:
    assert errors(schema, text) == []


def test_files_that_do_not_load_are_invalid_in_the_same_places(schema: Any) -> None:
    places = errors(schema, THIRTY)
    for place in (
        "",
        "store.url",
        "seal.key",
        "seal.keep",
        "engine.workers",
        "engine.retry",
        "providers.openai",
        "providers.aws.account",
        "providers.typo.type",
        "providers.untyped",
        "providers.three",
        "destinations.vault.auth",
        "credentials",
        "credentials.web",
        "credentials.web.labels",
    ):
        assert any(found.startswith(place) for found in places), place


@pytest.mark.parametrize(
    "text",
    [
        "providers: {openai: {admin_key: sk-proj-1}}",
        "providers: {openai: {}}",
        "providers: {mine: {admin_key: env:K}}",
        "providers: {openai: {type: generated, admin_key: env:K}}",
        "credentials: {a: {provider: x}}",
        "credentials: {a: {provider: x, destinations: []}}",
        "credentials: {a: {provider: x, destinations: [x], policy: {grace: 3 hours}}}",
        "credentials: {a: {provider: x, destinations: [x], options: {nonsense: 1}}}",
    ],
)
def test_what_is_wrong_is_invalid(schema: Any, text: str) -> None:
    assert errors(schema, text) != []


def test_every_key_of_a_policy_shows_its_default(schema: Any) -> None:
    policy = schema["$defs"]["PolicyEntry"]["properties"]
    assert policy["grace"]["default"] == "1d"
    assert policy["max_creates_per_day"]["default"] == 5
