from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from rotator.domain.errors import AccessDenied, LostAnswer, QuotaExceeded, Refused, Unavailable, WrongAccount
from rotator.domain.secret import Material
from rotator.ports.provider import IssuedKey, Verdict
from rotator.providers.anthropic import Anthropic, WorkspaceKeys
from rotator.testbed.anthropic_emulator import AnthropicEmulator
from rotator.testbed.gate import Answer, Gate
from tests.contracts.provider import CANARY, AskingContract, DisablingContract, PagingContract, ReachedContract

Connect = Callable[..., WorkspaceKeys]


class Console:
    """The emulator from behind."""

    def __init__(self, anthropic: AnthropicEmulator) -> None:
        self._anthropic = anthropic

    def living(self) -> set[str]:
        return {key.id for key in list(self._anthropic.keys()) if key.status == "active"}

    def make(self) -> IssuedKey:
        key = self._anthropic.make_key()
        return IssuedKey(key_id=key.id, material=Material.of(secret=key.secret))


@pytest.fixture
def connect(anthropic: AnthropicEmulator, tmp_path: Path, patience: timedelta) -> Iterator[Connect]:
    """`connect(base_url=…, admin_key=…, workspace=…)` is a provider on the emulator; closed at the end."""
    with ExitStack() as accounts:

        def provider(base_url: str = "", admin_key: str = "", workspace: str = "") -> WorkspaceKeys:
            place = tmp_path / f"admin-key-{len(list(tmp_path.iterdir()))}"
            place.write_text((admin_key or anthropic.admin_key) + "\n")
            settings = {"admin_key": f"file:{place}", "base_url": base_url or anthropic.url}
            account = Anthropic(Anthropic.Settings.model_validate(settings), patience)
            accounts.callback(account.close)
            return account.bind(Anthropic.Options.model_validate({"workspace": workspace or anthropic.workspace}))

        yield provider


@pytest.fixture
def provider(connect: Connect) -> WorkspaceKeys:
    return connect()


@pytest.fixture
def gate(anthropic: AnthropicEmulator, gate_to: Callable[[str], Gate]) -> Gate:
    return gate_to(anthropic.url)


@pytest.fixture
def gated(connect: Connect, gate: Gate) -> WorkspaceKeys:
    return connect(base_url=gate.url)


class TestAnthropic(AskingContract, PagingContract, DisablingContract, ReachedContract):
    unknown_id = "apikey_unknown"
    many = 2005

    def spoilt(self, material: Material) -> Material:
        return Material.of(secret=f"sk-ant-api03-{CANARY}")

    @pytest.fixture
    def console(self, anthropic: AnthropicEmulator) -> Console:
        return Console(anthropic)

    @pytest.fixture
    def elsewhere(self, connect: Connect) -> WorkspaceKeys:
        return connect(workspace="wrkspc_of_others")

    @pytest.fixture
    def denied(self, connect: Connect) -> WorkspaceKeys:
        return connect(admin_key=f"sk-ant-admin01-{CANARY}")

    @pytest.fixture
    def private(self, anthropic: AnthropicEmulator) -> tuple[str, ...]:
        return (anthropic.admin_key,)


# account


def test_the_account_is_the_workspace(provider: WorkspaceKeys, anthropic: AnthropicEmulator) -> None:
    assert provider.account() == f"anthropic:{anthropic.workspace}"


def test_another_workspace_than_the_one_asked_for_is_told(gated: WorkspaceKeys, gate: Gate) -> None:
    gate.on(lambda _: True, Answer(200, body=b'{"id": "wrkspc_9", "type": "workspace"}'))
    with pytest.raises(WrongAccount):
        gated.account()


def test_an_archived_workspace_is_told(provider: WorkspaceKeys, anthropic: AnthropicEmulator) -> None:
    anthropic.workspace_archived = True
    with pytest.raises(Refused) as told:
        provider.account()
    assert told.value.reason == "project_archived"


def test_an_admin_key_that_is_none_is_told_without_being_sent(connect: Connect, gate: Gate) -> None:
    with pytest.raises(AccessDenied) as told:
        connect(base_url=gate.url, admin_key="two words").keys()
    assert told.value.reason == "admin_key_rejected"
    assert gate.requests == []


def test_keys_may_not_be_sent_in_the_clear() -> None:
    with pytest.raises(ValidationError, match="must begin with https"):
        Anthropic.Settings.model_validate({"admin_key": "env:X", "base_url": "http://api.example.com"})


# keys


def test_a_person_is_told_where_to_make_the_key(provider: WorkspaceKeys, anthropic: AnthropicEmulator) -> None:
    assert anthropic.workspace in provider.instructions()
    assert "https://console.anthropic.com/settings/keys" in provider.instructions()


def test_a_key_of_another_workspace_works_and_is_not_ours(
    provider: WorkspaceKeys, anthropic: AnthropicEmulator
) -> None:
    key = anthropic.make_key(workspace=anthropic.other_workspace)
    material = Material.of(secret=key.secret)
    assert provider.authenticate(material).verdict is Verdict.ACCEPTED
    assert provider.identify(material) is None
    assert provider.keys() == []


def test_two_keys_with_the_same_hint_cannot_be_told_apart(gated: WorkspaceKeys, gate: Gate) -> None:
    row = (
        '{"id": "apikey_%d", "name": "a", "status": "active", "created_at": "2026-11-23T09:00:00.5Z",'
        ' "partial_key_hint": "sk-ant-api03-R2D...igAA"}'
    )
    body = f'{{"data": [{row % 1}, {row % 2}], "has_more": false, "first_id": "x", "last_id": "x"}}'
    gate.on(lambda _: True, Answer(200, body=body.encode()))
    assert gated.identify(Material.of(secret="sk-ant-api03-R2D" + "x" * 90 + "igAA")) is None


def test_an_expired_key_is_listed_as_not_enabled_and_need_not_be_disabled(
    provider: WorkspaceKeys, anthropic: AnthropicEmulator
) -> None:
    key = anthropic.make_key()
    anthropic.set_status(key.id, "expired")
    assert [(k.id, k.enabled) for k in list(provider.keys())] == [(key.id, False)]


@pytest.mark.parametrize("status", [401, 404])
def test_a_dead_key_is_refused_whichever_way_it_is_said(
    provider: WorkspaceKeys, anthropic: AnthropicEmulator, status: Literal[401, 404]
) -> None:
    key = anthropic.make_key()
    anthropic.set_status(key.id, "inactive")
    anthropic.dead_key_status = status
    assert provider.authenticate(Material.of(secret=key.secret)).verdict is Verdict.REFUSED


def test_a_403_says_nothing_about_a_key(provider: WorkspaceKeys, anthropic: AnthropicEmulator) -> None:
    key = anthropic.make_key()
    anthropic.forbidden = True
    assert provider.authenticate(Material.of(secret=key.secret)).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("status", [401, 404])
def test_a_proxy_that_answers_says_nothing_about_a_key(gated: WorkspaceKeys, gate: Gate, status: int) -> None:
    gate.on(lambda _: True, Answer(status, body=b"<html>no</html>"))
    assert gated.authenticate(Material.of(secret="sk-ant-api03-x")).verdict is Verdict.INCONCLUSIVE


# status


def test_archiving_an_archived_key_is_success_also_where_the_api_refuses_it(
    provider: WorkspaceKeys, anthropic: AnthropicEmulator
) -> None:
    anthropic.idempotent_archive = False
    key = anthropic.make_key()
    provider.delete(key.id)
    provider.delete(key.id)
    assert [k.status for k in list(anthropic.keys())] == ["archived"]


def test_an_archived_key_is_disabled_already_and_cannot_be_enabled(
    provider: WorkspaceKeys, anthropic: AnthropicEmulator
) -> None:
    key = anthropic.make_key()
    provider.delete(key.id)
    provider.disable(key.id)
    with pytest.raises(Refused):
        provider.enable(key.id)
    assert [k.status for k in list(anthropic.keys())] == ["archived"]


def test_a_limit_of_active_keys_is_told_when_one_is_to_be_enabled(
    provider: WorkspaceKeys, anthropic: AnthropicEmulator
) -> None:
    key = anthropic.make_key()
    provider.disable(key.id)
    anthropic.make_key()
    anthropic.active_keys_at_most = 1
    with pytest.raises(QuotaExceeded) as told:
        provider.enable(key.id)
    assert told.value.remedy


@pytest.mark.parametrize("call", ["disable", "enable"])
def test_a_key_that_is_not_there_is_neither_disabled_nor_enabled(provider: WorkspaceKeys, call: str) -> None:
    with pytest.raises(Refused):
        getattr(provider, call)("apikey_unknown")


@pytest.mark.parametrize("key_id", ["", ".", ".."])
def test_what_cannot_be_the_id_of_a_key_is_not_sent(gated: WorkspaceKeys, gate: Gate, key_id: str) -> None:
    with pytest.raises(Refused):
        gated.delete(key_id)
    assert gate.requests == []


@pytest.mark.parametrize("call", ["disable", "enable", "delete"])
def test_an_answer_that_does_not_say_the_new_status_is_a_lost_one(
    gated: WorkspaceKeys, gate: Gate, anthropic: AnthropicEmulator, call: str
) -> None:
    key = anthropic.make_key()
    gate.on(lambda _: True, Answer(200, body=b'{"id": "apikey_1", "status": "expired"}'))
    with pytest.raises(LostAnswer):
        getattr(gated, call)(key.id)


BAD_LISTS: dict[str, Any] = {
    "no rows": b'{"data": null, "has_more": false}',
    "no status": b'{"data": [{"id": "apikey_1"}], "has_more": false}',
    "a time without a zone": b'{"data": [{"id": "a", "name": "n", "status": "active",'
    b' "created_at": "2026-11-23T09:00:00"}], "has_more": false}',
    "an empty cursor": b'{"data": [], "has_more": true, "last_id": ""}',
}


@pytest.mark.parametrize("body", BAD_LISTS.values(), ids=BAD_LISTS)
def test_a_list_that_is_not_as_documented_is_not_believed(gated: WorkspaceKeys, gate: Gate, body: bytes) -> None:
    gate.on(lambda _: True, Answer(200, body=body))
    with pytest.raises(Unavailable, match="not what its documentation says"):
        gated.keys()
