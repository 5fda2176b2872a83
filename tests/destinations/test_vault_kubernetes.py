"""Vault's Kubernetes auth, on a real OpenBao. What is not real is the cluster that it asks about the tokens of pods."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from rotator.access.vault import ServerSettings
from rotator.destinations.vault_kv import VaultKV
from rotator.domain.errors import AccessDenied
from rotator.ports.destination import Destination
from rotator.testbed.gate import Gate
from rotator.testbed.listener import Listener, Request
from rotator.testbed.openbao import OpenBao
from tests.contracts.destination import NEW, OLD, put
from tests.destinations.test_vault_kv import _certify

ACCOUNT = "system:serviceaccount:keyturn:keyturn"


class Cluster:
    """What Vault asks about a token of a pod (TokenReview of authentication.k8s.io/v1), and a role for one account."""

    def __init__(self, openbao: OpenBao, gate: Gate, folder: Path) -> None:
        self.gate = gate
        self.mount = f"kubernetes-{uuid4()}"
        self.token = folder / "projected"
        self.living: dict[str, str] = {}  # token → its audience
        self.listener = Listener(self._answer, time.time)
        self.kv: list[VaultKV] = []
        policy = f"test-{uuid4()}"
        rules = 'path "secret/data/web/*" { capabilities = ["create", "read", "update"] }'
        openbao.call("POST", f"sys/policies/acl/{policy}", {"policy": rules})
        openbao.call("POST", f"sys/auth/{self.mount}", {"type": "kubernetes"})
        host = self.listener.url.removesuffix("/v1")
        _certify(folder / "ca.pem", folder / "ca.key")  # of no use over http, but asked for
        authority = (folder / "ca.pem").read_text()
        config = {"kubernetes_host": host, "kubernetes_ca_cert": authority, "disable_local_ca_jwt": True}
        config["token_reviewer_jwt"] = _token("vault")
        openbao.call("POST", f"auth/{self.mount}/config", config)
        bound = {"bound_service_account_names": "keyturn", "bound_service_account_namespaces": "keyturn"}
        role = {**bound, "audience": "vault", "token_policies": [policy], "token_ttl": "1h"}
        openbao.call("POST", f"auth/{self.mount}/role/keyturn", role)
        self.project()

    def project(self, audience: str = "vault") -> None:
        """Put another token into the pod, as the kubelet does in time; the one before is no good any more."""
        token = _token(audience)
        self.living = {token: audience}
        self.token.write_text(token)

    def place(self) -> Destination:
        """A secret, for whoever logs in from the pod."""
        auth = {"method": "kubernetes", "role": "keyturn", "token": f"file:{self.token}", "mount": self.mount}
        settings = VaultKV.Settings.model_validate({"address": self.gate.url, "auth": auth})
        self.kv.append(VaultKV("vault", settings, timedelta(seconds=5)))
        return self.kv[-1].at(f"web/{uuid4()}")

    def logins(self) -> int:
        """How often a token was exchanged."""
        return len([request for request in self.gate.requests if request.path.endswith("/login")])

    def stop(self) -> None:
        """Close everything."""
        for kv in self.kv:
            kv.close()
        self.listener.stop()

    def _answer(self, request: Request) -> tuple[int, dict[str, Any]]:
        assert request.path == "/apis/authentication.k8s.io/v1/tokenreviews"
        asked = request.fields()["spec"]
        audience = self.living.get(asked["token"])
        user = {"username": ACCOUNT, "uid": "u-1", "groups": ["system:serviceaccounts", "system:authenticated"]}
        status: dict[str, Any] = {"authenticated": False}
        if audience in (asked.get("audiences") or [audience]):
            status = {"authenticated": True, "user": user, "audiences": [audience]}
        return 201, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}


def _token(audience: str) -> str:
    """A token of the form that Kubernetes gives out. Its signature is for the cluster to judge, and for nobody else."""
    now = int(time.time())
    account = {"namespace": "keyturn", "serviceaccount": {"name": "keyturn", "uid": "u-1"}}
    claims = {
        "iss": "https://kubernetes.example",
        "sub": ACCOUNT,
        "aud": [audience],
        "jti": str(uuid4()),
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
        "kubernetes.io": account,
    }
    parts = (json.dumps({"alg": "RS256", "kid": "k", "typ": "JWT"}), json.dumps(claims), "signature" * 20)
    return ".".join(urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)


@pytest.fixture
def cluster(openbao: OpenBao, gate_to: Callable[[str], Gate], tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(openbao, gate_to(openbao.url), tmp_path)
    yield made
    made.stop()


def test_a_pod_logs_in_with_its_projected_token_and_once(cluster: Cluster) -> None:
    place = cluster.place()
    assert put(place, NEW, put(place, OLD)) == "2"
    assert cluster.logins() == 1
    assert "x-vault-token" not in cluster.gate.requests[0].headers


def test_a_pod_logs_in_again_with_the_token_that_is_there_by_then(cluster: Cluster, openbao: OpenBao) -> None:
    place = cluster.place()
    base = put(place, OLD)
    openbao.call("POST", "auth/token/revoke", {"token": cluster.gate.requests[-1].headers["x-vault-token"]})
    cluster.project()
    assert put(place, NEW, base) == "2"
    assert cluster.logins() == 2


def test_a_token_for_another_audience_is_refused_and_its_successor_is_read(cluster: Cluster) -> None:
    place = cluster.place()
    cluster.project("somebody-else")
    with pytest.raises(AccessDenied) as told:
        put(place, NEW, "0")
    assert told.value.reason == "login_refused"
    assert "audience" in str(told.value.remedy)
    cluster.project()
    assert put(place, NEW, "0") == "1"


def test_without_a_projected_token_the_message_says_where_it_was_looked_for(cluster: Cluster) -> None:
    cluster.token.unlink()
    with pytest.raises(AccessDenied, match=str(cluster.token)) as told:
        cluster.place().read()
    assert told.value.reason == "no_credential"


def test_left_out_the_token_is_where_our_manifests_put_it() -> None:
    auth = {"method": "kubernetes", "role": "keyturn"}
    settings = ServerSettings.model_validate({"address": "https://vault.example", "auth": auth})
    assert settings.auth.token.text == "file:/var/run/secrets/tokens/vault"  # type: ignore[union-attr]
