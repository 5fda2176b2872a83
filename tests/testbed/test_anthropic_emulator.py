"""The emulator answers as the published API reference says; what it has in common with others is tested there."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from rotator.testbed.anthropic_emulator import AnthropicEmulator


def ask(emulator: AnthropicEmulator, method: str, path: str, key: str | None = None, **options: Any) -> httpx.Response:
    headers = {"x-api-key": key or emulator.admin_key, "anthropic-version": "2023-06-01"}
    return httpx.request(method, f"{emulator.url}/v1{path}", headers=headers, trust_env=False, **options)


def test_a_key_is_shown_with_every_field_of_the_reference_and_without_its_value(anthropic: AnthropicEmulator) -> None:
    key = anthropic.make_key(name="Made")
    answer = ask(anthropic, "GET", f"/organizations/api_keys/{key.id}")
    fields = {"id", "type", "name", "status", "partial_key_hint", "created_at", "created_by", "expires_at"}
    assert answer.json().keys() == fields | {"principal", "scope"}
    assert answer.json()["scope"] == {"type": "workspace", "workspace_id": anthropic.workspace}
    assert answer.json()["partial_key_hint"] == f"{key.secret[:16]}...{key.secret[-4:]}"
    assert key.secret not in answer.text


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/organizations/api_keys"), ("DELETE", "/organizations/api_keys/{key}"), ("GET", "/elsewhere")],
)
def test_keys_are_neither_made_nor_deleted_by_the_api(anthropic: AnthropicEmulator, method: str, path: str) -> None:
    key = anthropic.make_key()
    answer = ask(anthropic, method, path.replace("{key}", key.id))
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"
    assert [k.status for k in list(anthropic.keys())] == ["active"]


def test_pages_follow_each_other(anthropic: AnthropicEmulator) -> None:
    made = [anthropic.make_key().id for _ in range(5)]
    first = ask(anthropic, "GET", "/organizations/api_keys", params={"limit": 3}).json()
    then = ask(anthropic, "GET", "/organizations/api_keys", params={"limit": 3, "after_id": first["last_id"]}).json()
    assert [row["id"] for row in first["data"] + then["data"]] == made
    assert (first["has_more"], then["has_more"]) == (True, False)


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"after_id": "apikey_unknown"}])
def test_a_wrong_page_is_refused(anthropic: AnthropicEmulator, query: dict[str, Any]) -> None:
    answer = ask(anthropic, "GET", "/organizations/api_keys", params=query)
    assert answer.status_code == 400
    assert answer.json()["type"] == "error"


def test_lists_are_filtered_by_workspace_and_status(anthropic: AnthropicEmulator) -> None:
    here, there = anthropic.make_key(), anthropic.make_key(workspace=anthropic.other_workspace)
    anthropic.set_status(there.id, "inactive")
    for query, found in (({"workspace_id": anthropic.workspace}, here), ({"status": "inactive"}, there)):
        answer = ask(anthropic, "GET", "/organizations/api_keys", params=query)
        assert [row["id"] for row in answer.json()["data"]] == [found.id]


def test_the_key_of_a_consumer_is_no_admin_key_and_the_other_way_round(anthropic: AnthropicEmulator) -> None:
    key = anthropic.make_key()
    assert ask(anthropic, "GET", "/models", key.secret).status_code == 200
    assert ask(anthropic, "GET", "/models").status_code == 401
    assert ask(anthropic, "GET", "/organizations/api_keys", key.secret).status_code == 401


def test_an_archived_key_stays_archived(anthropic: AnthropicEmulator) -> None:
    key = anthropic.make_key()
    path = f"/organizations/api_keys/{key.id}"
    for status, expected in (("inactive", 200), ("active", 200), ("archived", 200), ("active", 400), ("deleted", 400)):
        assert ask(anthropic, "POST", path, json={"status": status}).status_code == expected
    assert not anthropic.accepts(key.secret)


def test_a_new_key_may_need_a_while(anthropic: AnthropicEmulator) -> None:
    anthropic.settle = 60
    key = anthropic.make_key()
    assert ask(anthropic, "GET", "/models", key.secret).status_code == 401
    anthropic.clock = lambda: key.created_at + 60
    assert ask(anthropic, "GET", "/models", key.secret).status_code == 200
