"""OpenAI's admin keys, on the emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from rotator.domain.secret import Material
from rotator.ports.provider import IssuedKey, Verdict
from rotator.providers.openai_admin import AdminKeys, OpenAIAdmin
from rotator.testbed.gate import Gate, Request
from rotator.testbed.openai_emulator import OpenAIEmulator
from tests.contracts.provider import CANARY, LABEL, FaultContract, LabelContract, PagingContract

Connect = Callable[..., AdminKeys]


class Console:
    """The emulator from behind; the key that we sign with is none of those that are looked at."""

    def __init__(self, openai: OpenAIEmulator) -> None:
        self._openai = openai
        openai.main_admin_key_is_listed = False

    def living(self) -> set[str]:
        return {key.id for key in self._openai.admin_keys() if key.state == "live" and key.id != "key_admin"}

    def make(self) -> IssuedKey:
        key = self._openai.make_admin_key()
        return IssuedKey(key_id=key.id, material=Material.of(secret=key.secret))


@pytest.fixture
def connect(openai: OpenAIEmulator, tmp_path: Path, patience: timedelta) -> Iterator[Connect]:
    """`connect(base_url=…, admin_key=…, **options)` is a provider on the emulator; closed at the end."""
    with ExitStack() as accounts:

        def provider(base_url: str = "", admin_key: str = "", **options: Any) -> AdminKeys:
            place = tmp_path / f"admin-key-{uuid4()}"
            place.write_text(admin_key or openai.admin_key)
            settings = {"admin_key": f"file:{place}", "base_url": base_url or openai.url}
            account = OpenAIAdmin(OpenAIAdmin.Settings.model_validate(settings), patience)
            accounts.callback(account.close)
            return account.bind(OpenAIAdmin.Options.model_validate({"project": openai.project, **options}))

        yield provider


@pytest.fixture
def provider(connect: Connect) -> AdminKeys:
    return connect()


class TestOpenAIAdmin(LabelContract, PagingContract, FaultContract):
    unknown_id = "key_unknown"
    many = 205

    def spoilt(self, material: Material) -> Material:
        return Material.of(secret=f"sk-admin-{CANARY}")

    @staticmethod
    def is_create(request: Request) -> bool:
        return request.method == "POST" and request.path.endswith("/admin_api_keys")

    @pytest.fixture
    def console(self, openai: OpenAIEmulator) -> Console:
        return Console(openai)

    @pytest.fixture
    def elsewhere(self, connect: Connect) -> AdminKeys:
        return connect(project="proj_other")

    @pytest.fixture
    def denied(self, connect: Connect) -> AdminKeys:
        return connect(admin_key=f"sk-admin-{CANARY}")

    @pytest.fixture
    def gate(self, openai: OpenAIEmulator, gate_to: Callable[[str], Gate]) -> Gate:
        return gate_to(openai.url)

    @pytest.fixture
    def gated(self, connect: Connect, gate: Gate, console: Console) -> AdminKeys:  # the console hides our own key
        return connect(base_url=f"{gate.url}/v1")

    @pytest.fixture
    def private(self, openai: OpenAIEmulator) -> tuple[str, ...]:
        return (openai.admin_key,)


def test_the_account_is_known_by_a_project_that_stays(provider: AdminKeys, openai: OpenAIEmulator) -> None:
    assert provider.account() == f"openai-admin:{openai.project}"


def test_a_life_is_asked_for_and_told(connect: Connect, openai: OpenAIEmulator) -> None:
    provider = connect(expires_in="30d")
    assert provider.capabilities.life == timedelta(days=30)
    made = provider.create(LABEL)
    listed = {key.id: key for key in list(provider.keys())}
    assert listed[made.key_id].expires_at == made.expires_at
    assert made.issued_at is not None
    assert made.expires_at is not None
    assert made.expires_at - made.issued_at == timedelta(days=30)
    assert {key.owner for key in listed.values()} == {"user:user_emulated"}


def test_a_key_of_a_project_is_no_admin_key(provider: AdminKeys, openai: OpenAIEmulator) -> None:
    assert provider.authenticate(Material.of(secret=openai.make_key().secret)).verdict is not Verdict.ACCEPTED
