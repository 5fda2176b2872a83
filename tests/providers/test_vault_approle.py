"""Secret ids of a real OpenBao's AppRole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from rotator.domain.errors import AccessDenied, Refused
from rotator.domain.secret import Material
from rotator.ports.provider import IssuedKey, Verdict
from rotator.providers.vault_approle import SecretIds, VaultAppRole
from rotator.testbed.gate import Gate, Request
from rotator.testbed.openbao import OpenBao
from tests.contracts.provider import CANARY, LABEL, FaultContract, LabelContract

Connect = Callable[..., SecretIds]

RULES = """
path "auth/{mount}/role/{role}" {{ capabilities = ["read"] }}
path "auth/{mount}/role/{role}/role-id" {{ capabilities = ["read"] }}
path "auth/{mount}/role/{role}/secret-id" {{ capabilities = ["create", "update", "list"] }}
path "auth/{mount}/role/{role}/secret-id/lookup" {{ capabilities = ["create", "update"] }}
path "auth/{mount}/role/{role}/secret-id-accessor/lookup" {{ capabilities = ["create", "update"] }}
path "auth/{mount}/role/{role}/secret-id-accessor/destroy" {{ capabilities = ["create", "update"] }}
"""


class Role:
    """A role of a mount of its own, as an operator of the server sees it."""

    def __init__(self, openbao: OpenBao, **settings: Any) -> None:
        self.bao = openbao
        self.mount, self.name = f"approle-{uuid4()}", "app"
        openbao.call("POST", f"sys/auth/{self.mount}", {"type": "approle"})
        openbao.call("POST", self.path, {"token_policies": ["default"], "token_ttl": "1h", **settings})

    @property
    def path(self) -> str:
        return f"auth/{self.mount}/role/{self.name}"

    def role_id(self) -> str:
        return str(self.bao.call("GET", f"{self.path}/role-id")["data"]["role_id"])

    def living(self) -> set[str]:
        try:
            return set(self.bao.call("LIST", f"{self.path}/secret-id")["data"]["keys"])
        except ValueError:
            return set()

    def make(self, **wanted: Any) -> IssuedKey:
        made = self.bao.call("POST", f"{self.path}/secret-id", wanted)["data"]
        return IssuedKey(key_id=made["secret_id_accessor"], material=Material.of(secret=made["secret_id"]))

    def policy(self, rules: str) -> str:
        """The name of a policy with these rules."""
        name = f"test-{uuid4()}"
        self.bao.call("POST", f"sys/policies/acl/{name}", {"policy": rules.format(mount=self.mount, role=self.name)})
        return name

    def token(self, rules: str) -> str:
        """A token with these rules alone."""
        made = self.bao.call("POST", "auth/token/create", {"policies": [self.policy(rules)]})
        return str(made["auth"]["client_token"])


@pytest.fixture
def console(openbao: OpenBao) -> Role:
    return Role(openbao)


@pytest.fixture
def connect(openbao: OpenBao, console: Role, tmp_path: Path, patience: timedelta) -> Iterator[Connect]:
    """`connect(url=…, token=…, auth=…, **options)` is a provider of the role's secret ids; closed at the end."""
    with ExitStack() as accounts:

        def provider(url: str = "", token: str = "", auth: dict[str, str] | None = None, **options: Any) -> SecretIds:
            file = tmp_path / f"token-{uuid4()}"
            file.write_text(token or openbao.token)
            settings = {
                "address": url or openbao.url,
                "mount": console.mount,
                "auth": auth or {"method": "token", "token": f"file:{file}"},
            }
            account = VaultAppRole(VaultAppRole.Settings.model_validate(settings), patience)
            accounts.callback(account.close)
            return account.bind(VaultAppRole.Options.model_validate({"role": console.name, **options}))

        yield provider


@pytest.fixture
def provider(connect: Connect) -> SecretIds:
    return connect()


class TestVaultAppRole(LabelContract, FaultContract):
    unknown_id = "0f8a7c1e-5f6b-4c0d-9a53-1c2f3a4b5c6d"

    def spoilt(self, material: Material) -> Material:
        return Material.of(secret=f"8d1c8a2e-{CANARY}")

    @staticmethod
    def is_create(request: Request) -> bool:
        return request.method == "POST" and request.path.endswith("/secret-id")

    @pytest.fixture
    def elsewhere(self, connect: Connect) -> SecretIds:
        return connect(role="other")

    @pytest.fixture
    def denied(self, connect: Connect) -> SecretIds:
        return connect(token=f"s.{CANARY}")

    @pytest.fixture
    def gate(self, openbao: OpenBao, gate_to: Callable[[str], Gate]) -> Gate:
        return gate_to(openbao.url)

    @pytest.fixture
    def token(self, console: Role) -> str:
        return console.token(RULES)

    @pytest.fixture
    def gated(self, connect: Connect, gate: Gate, token: str) -> SecretIds:
        return connect(url=gate.url, token=token)

    @pytest.fixture
    def private(self, token: str) -> tuple[str, ...]:
        return (token,)


def test_the_account_is_the_role(provider: SecretIds, console: Role) -> None:
    assert provider.account() == f"vault-approle:{console.role_id()}"


def test_secret_ids_that_logins_use_up_are_refused(provider: SecretIds, console: Role) -> None:
    console.bao.call("POST", console.path, {"secret_id_num_uses": 3})
    with pytest.raises(Refused, match="used up after 3 logins") as told:
        provider.account()
    assert told.value.reason == "limited_uses"


def test_a_life_is_asked_for_and_told(connect: Connect, console: Role) -> None:
    provider = connect(expires_in="1h")
    assert provider.capabilities.life == timedelta(hours=1)
    made = provider.create(LABEL)
    (listed,) = provider.keys()
    assert listed.expires_at is not None
    assert made.expires_at is not None
    assert listed.created_at is not None
    assert listed.expires_at - listed.created_at == timedelta(hours=1)
    assert abs(made.expires_at - listed.expires_at) < timedelta(minutes=1)
    console.make(metadata=json.dumps({"label": "theirs"}))
    listed_now = {key.label: key.expires_at is None for key in list(provider.keys())}
    assert listed_now == {LABEL: False, "theirs": True}


def test_one_for_other_addresses_lives_and_is_limited(provider: SecretIds, console: Role) -> None:
    made = console.make(cidr_list=["192.0.2.0/24"])
    answer = provider.authenticate(made.material)
    assert (answer.verdict, answer.alive) == (Verdict.ACCEPTED_LIMITED, True)


def test_trying_one_leaves_no_token(provider: SecretIds, console: Role) -> None:
    def tokens() -> int:
        accessors = console.bao.call("LIST", "auth/token/accessors")["data"]
        return len(accessors["keys"])

    made, before = console.make(), tokens()
    assert provider.authenticate(made.material).verdict is Verdict.ACCEPTED
    assert tokens() == before


def test_the_rules_of_the_page_are_enough_and_none_is_too_much(connect: Connect, console: Role) -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert RULES.format(mount="approle", role="app").strip() in page

    def whole(provider: SecretIds) -> None:
        provider.account()
        made = provider.create(LABEL)
        assert provider.authenticate(made.material).verdict is Verdict.ACCEPTED
        assert provider.identify(made.material) == made.key_id
        assert [key.id for key in list(provider.keys())] == [made.key_id]
        provider.delete(made.key_id)
        assert console.living() == set()

    whole(connect(token=console.token(RULES)))
    rules = RULES.strip().splitlines()
    for left_out in rules:
        lesser = connect(token=console.token("\n".join(rule for rule in rules if rule != left_out)))
        with pytest.raises(AccessDenied) as told:
            whole(lesser)
        path = left_out.split('"')[1].format(mount=console.mount, role=console.name)
        assert (told.value.reason, f'"{path}"' in (told.value.remedy or "")) == ("missing_permission", True), left_out
        for accessor in console.living():
            connect().delete(accessor)


def test_we_log_in_with_what_stands_there_now(connect: Connect, console: Role, tmp_path: Path) -> None:
    console.bao.call("POST", console.path, {"token_policies": [console.policy(RULES)]})
    first, second = console.make(), console.make()
    file = tmp_path / "secret-id"
    file.write_text(first.material["secret"].reveal())
    auth = {"method": "approle", "role_id": console.role_id(), "secret_id": f"file:{file}", "mount": console.mount}
    provider = connect(auth=auth)
    assert provider.signing_key() == first.material["secret"]
    assert provider.keys()
    file.write_text(second.material["secret"].reveal())
    assert provider.signing_key() == second.material["secret"]
    connect().delete(second.key_id)
    with pytest.raises(AccessDenied) as told:  # a login of the first one is used no more
        provider.delete(first.key_id)
    assert told.value.reason == "login_refused"
    assert connect().signing_key() is None
