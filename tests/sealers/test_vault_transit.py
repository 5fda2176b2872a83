"""Keys in the Transit engine of a real OpenBao, which enforces policies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from rotator.access.vault import ServerSettings
from rotator.domain.errors import AccessDenied, PermanentError
from rotator.ports.sealer import Sealer
from rotator.sealers.vault_transit import TransitSealer
from rotator.testbed.gate import Gate
from rotator.testbed.openbao import OpenBao
from rotator.testbed.process import free_port
from tests.contracts.sealer import PLACE, FaultContract, SealerContract, problem

MOUNT = "seal/transit"
POLICY = """\
path "seal/transit/encrypt/{key}" {{ capabilities = ["update"] }}
path "seal/transit/decrypt/{key}" {{ capabilities = ["update"] }}
"""

Build = Callable[..., TransitSealer]


@pytest.fixture(scope="module")
def transit(openbao: OpenBao) -> OpenBao:
    """The engine, at a mount of more than one word."""
    openbao.call("POST", f"sys/mounts/{MOUNT}", {"type": "transit"})
    return openbao


@pytest.fixture
def make(transit: OpenBao) -> Callable[..., str]:
    """`make(**options)` is the name of a new key."""

    def make(**options: Any) -> str:
        name = f"key-{uuid4()}"
        transit.call("POST", f"{MOUNT}/keys/{name}", options)
        return name

    return make


@pytest.fixture
def key(make: Callable[..., str]) -> str:
    return make()


@pytest.fixture
def build(transit: OpenBao, tmp_path: Path) -> Build:
    def build(key: str, url: str = transit.url, token: str | None = None, seconds: float = 10) -> TransitSealer:
        file = tmp_path / f"token-{uuid4()}"
        file.write_text(token or token_for(transit, key))
        settings = {"address": url, "auth": {"method": "token", "token": f"file:{file}"}}
        return TransitSealer(f"{MOUNT}/{key}", ServerSettings.model_validate(settings), timedelta(seconds=seconds))

    return build


def token_for(openbao: OpenBao, *keys: str) -> str:
    """A token with the least that sealing needs: the policy of docs/security.md."""
    name = f"seal-{uuid4()}"
    rules = "".join(POLICY.format(key=key) for key in keys) or 'path "none" { capabilities = ["deny"] }'
    openbao.call("POST", f"sys/policies/acl/{name}", {"policy": rules})
    return str(openbao.call("POST", "auth/token/create", {"policies": [name]})["auth"]["client_token"])


class TestTransit(SealerContract, FaultContract):
    @pytest.fixture
    def sealer(self, build: Build, key: str) -> Sealer:
        return build(key)

    @pytest.fixture
    def twin(self, build: Build, key: str) -> Sealer:
        return build(key)

    @pytest.fixture
    def other(self, build: Build, make: Callable[..., str]) -> Sealer:
        return build(make())

    @pytest.fixture
    def missing(self, build: Build) -> Sealer:
        return build(f"none-{uuid4()}")

    @pytest.fixture
    def denied(self, build: Build, key: str, transit: OpenBao) -> Sealer:
        return build(key, token=token_for(transit))

    @pytest.fixture
    def gate(self, transit: OpenBao, gate_to: Callable[[str], Gate]) -> Gate:
        return gate_to(transit.url)

    @pytest.fixture
    def gated(self, build: Build, key: str, gate: Gate, patience: timedelta) -> Sealer:
        return build(key, gate.url, seconds=patience.total_seconds())

    @pytest.fixture
    def unreachable(self, build: Build, key: str) -> Sealer:
        return build(key, f"http://127.0.0.1:{free_port()}")

    @pytest.fixture
    def private(self, transit: OpenBao) -> tuple[str, ...]:
        return ()  # the tokens are made by `build`; `root` is a word


def test_what_an_older_version_of_the_key_has_wrapped_still_opens(transit: OpenBao, build: Build, key: str) -> None:
    sealer = build(key)
    before = sealer.data_key(PLACE)
    transit.call("POST", f"{MOUNT}/keys/{key}/rotate")
    after = sealer.data_key(PLACE)
    assert sealer.unwrap(before.wrapped, PLACE) == before.plain
    assert sealer.unwrap(after.wrapped, PLACE) == after.plain
    transit.call("POST", f"{MOUNT}/keys/{key}/config", {"min_decryption_version": 2})
    told = problem(lambda: sealer.unwrap(before.wrapped, PLACE))
    assert (type(told), told.reason) == (PermanentError, "sealing_key_unusable")
    assert "min_decryption_version" in told.message


def test_a_key_that_was_deleted_and_made_again_opens_nothing(transit: OpenBao, build: Build, key: str) -> None:
    sealer = build(key)
    before = sealer.data_key(PLACE)
    transit.call("POST", f"{MOUNT}/keys/{key}/config", {"deletion_allowed": True})
    transit.call("DELETE", f"{MOUNT}/keys/{key}")
    assert problem(lambda: sealer.unwrap(before.wrapped, PLACE)).reason == "sealing_key_unusable"
    transit.call("POST", f"{MOUNT}/keys/{key}")
    assert problem(lambda: sealer.unwrap(before.wrapped, PLACE)).reason == "sealed_tampered"


@pytest.mark.parametrize("options", [{"type": "rsa-2048"}, {"type": "ed25519"}, {"derived": True}], ids=str)
def test_a_key_that_cannot_bind_to_a_place_is_refused(build: Build, make: Callable[..., str], options: Any) -> None:
    told = problem(lambda: build(make(**options)).data_key(PLACE))
    assert (type(told), told.reason) == (PermanentError, "sealing_key_unusable")
    assert "aes256-gcm96" in str(told.remedy)


def test_a_token_with_the_documented_policy_makes_no_key(transit: OpenBao, build: Build) -> None:
    name = f"none-{uuid4()}"
    problem(lambda: build(name).data_key(PLACE))
    with pytest.raises(ValueError, match="404"):
        transit.call("GET", f"{MOUNT}/keys/{name}")


def test_a_token_that_ended_is_told(transit: OpenBao, build: Build, key: str) -> None:
    told = problem(lambda: build(key, token="s.gone").data_key(PLACE))
    assert (type(told), told.reason) == (AccessDenied, "token_rejected")


def test_a_sealed_server_is_told(transit: OpenBao, build: Build, key: str) -> None:
    sealer = build(key)
    wrapped = sealer.data_key(PLACE)
    transit.seal()
    try:
        told = problem(lambda: sealer.unwrap(wrapped.wrapped, PLACE))
    finally:
        transit.unseal()
    assert told.reason == "vault_sealed"
    assert sealer.unwrap(wrapped.wrapped, PLACE) == wrapped.plain
