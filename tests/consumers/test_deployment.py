"""A Deployment at a server on loopback that answers as the API of Kubernetes does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rotator.consumers import deployment
from rotator.consumers.deployment import Deployment
from rotator.domain.errors import AccessDenied, Refused, RotatorError, Unavailable
from rotator.testbed.listener import Json, Listener, Request

TOKEN = "eyJ-a-token-of-a-service-account"
DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments/api"
PODS = "/api/v1/namespaces/shop/pods"
START = datetime(2026, 11, 26, 9, 12, 0, tzinfo=UTC)


def container(name: str, started_at: datetime | None, **state: Any) -> Json:
    running = {"running": {"startedAt": f"{started_at:%Y-%m-%dT%H:%M:%SZ}"}} if started_at else state
    return {"name": name, "state": running, "lastState": {}, "ready": True, "restartCount": 0, "image": "api:1"}


def pod(name: str, labels: dict[str, str], *containers: Json, **status: Any) -> Json:
    told = {"phase": "Running", "containerStatuses": list(containers), **status}
    return {"metadata": {"name": name, "namespace": "shop", "labels": labels}, "spec": {}, "status": told}


class Cluster:
    """Deployments and pods of the namespace `shop`."""

    def __init__(self) -> None:
        self.selector: Json = {"matchLabels": {"app": "api"}}
        self.pods: list[Json] = []
        self.most = 250
        self.asked: list[Request] = []
        self.clock = time.time
        self.server = Listener(self.answer, lambda: self.clock())  # noqa: PLW0108 - a test may replace the clock

    def answer(self, request: Request) -> tuple[int, Json]:
        self.asked.append(request)
        if request.bearer != TOKEN:
            return self._status(401, "Unauthorized")
        if request.path == DEPLOYMENT:
            spec = {"replicas": 2, "selector": self.selector}
            return 200, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"}, "spec": spec}
        if request.path == PODS:
            return 200, self._list(request)
        if request.path.startswith("/apis/apps/v1/namespaces/shop/"):
            return self._status(404, "NotFound")
        return self._status(403, "Forbidden")

    def _list(self, request: Request) -> Json:
        wanted = dict(part.split("=") for part in request.query["labelSelector"].split(",") if "=" in part)
        found = [p for p in self.pods if wanted.items() <= p["metadata"]["labels"].items()]
        start, limit = int(request.query.get("continue", "0")), min(int(request.query["limit"]), self.most)
        page = found[start : start + limit]
        after = {"continue": str(start + limit)} if len(found) > start + limit else {}
        return {"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1", **after}, "items": page}

    @staticmethod
    def _status(code: int, reason: str) -> tuple[int, Json]:
        return code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.server.stop()


class Connected(Deployment):
    """With a token in a file."""

    def __init__(self, cluster: Cluster, folder: Path, name: str = "shop/api", token: str = TOKEN) -> None:
        (folder / "token").write_text(token)
        address = cluster.server.url.removesuffix("/v1")
        settings = {"deployment": name, "api_server": address, "token": f"file:{folder / 'token'}"}
        super().__init__(Deployment.Settings.model_validate(settings), timedelta(seconds=5))


def test_every_running_container_of_its_pods_says_since_when_it_runs(cluster: Cluster, tmp_path: Path) -> None:
    ours = {"app": "api", "pod-template-hash": "1"}
    waiting = container("app", None, waiting={"reason": "ContainerCreating"})
    ended = container("app", None, terminated={"exitCode": 1, "startedAt": "2026-11-26T08:00:00Z"})
    proxy = container("proxy", START - timedelta(hours=1))
    cluster.pods = [
        pod("api-1", ours, container("app", START), initContainerStatuses=[proxy]),
        pod("api-2", ours, waiting, phase="Pending"),
        pod("api-3", ours, ended),
        pod("api-4", ours, phase="Pending", containerStatuses=None),
        pod("other", {"app": "other"}, container("app", START)),
    ]
    consumer = Connected(cluster, tmp_path)
    found = consumer.processes()
    consumer.close()
    assert consumer.name == "deployment shop/api"
    assert [p.name for p in found] == ["pod api-1, container proxy", "pod api-1, container app"]
    assert abs(found[1].started_at - START) < timedelta(seconds=2)


def test_a_cluster_whose_clock_differs_makes_no_container_younger(cluster: Cluster, tmp_path: Path) -> None:
    cluster.clock = lambda: time.time() + 3600
    begun = datetime.now(UTC) + timedelta(minutes=55)  # five minutes ago, as the cluster counts
    cluster.pods = [pod("api-1", {"app": "api"}, container("app", begun))]
    consumer = Connected(cluster, tmp_path)
    (found,) = consumer.processes()
    consumer.close()
    assert abs(datetime.now(UTC) - found.started_at - timedelta(minutes=5)) < timedelta(seconds=3)


def test_pages_of_pods_are_all_read(cluster: Cluster, tmp_path: Path) -> None:
    cluster.most = 2
    cluster.pods = [pod(f"api-{number}", {"app": "api"}, container("app", START)) for number in range(5)]
    consumer = Connected(cluster, tmp_path)
    assert len(consumer.processes()) == 5
    consumer.close()


def test_a_selector_is_sent_as_the_api_takes_it(cluster: Cluster, tmp_path: Path) -> None:
    cluster.selector = {
        "matchLabels": {"app": "api"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]},
            {"key": "old", "operator": "DoesNotExist"},
            {"key": "new", "operator": "Exists"},
            {"key": "zone", "operator": "NotIn", "values": ["x"]},
        ],
    }
    consumer = Connected(cluster, tmp_path)
    consumer.processes()
    consumer.close()
    assert cluster.asked[-1].query["labelSelector"] == "app=api,tier in (a,b),!old,new,zone notin (x)"


@pytest.mark.parametrize(
    ("name", "token", "kind"),
    [
        ("shop/other", TOKEN, Refused),
        ("elsewhere/api", TOKEN, AccessDenied),
        ("shop/api", "wrong", AccessDenied),
        ("shop/api", "two\nlines", AccessDenied),
    ],
)
def test_what_the_cluster_refuses_is_not_taken_for_gone(
    cluster: Cluster, tmp_path: Path, name: str, token: str, kind: type[RotatorError]
) -> None:
    consumer = Connected(cluster, tmp_path, name, token)
    with pytest.raises(kind) as refused:
        consumer.processes()
    consumer.close()
    assert token not in str(refused.value)


def test_a_selector_of_every_pod_or_an_odd_answer_says_nothing(cluster: Cluster, tmp_path: Path) -> None:
    consumer = Connected(cluster, tmp_path)
    for selector in ({}, {"matchLabels": None}, {"matchExpressions": [{"key": "a", "operator": "Near"}]}):
        cluster.selector = selector
        with pytest.raises(Unavailable):
            consumer.processes()
    cluster.selector = {"matchLabels": {"app": "api"}}
    cluster.pods = [pod("api-1", {"app": "api"}, container("app", None, running={}))]
    with pytest.raises(Unavailable):
        consumer.processes()
    consumer.close()


def test_in_a_cluster_its_own_service_account_is_used(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "ca.crt").write_text("no certificate")
    monkeypatch.setattr(deployment, "ACCOUNT", tmp_path)
    consumer = Deployment(Deployment.Settings.model_validate({"deployment": "shop/api"}), timedelta(seconds=5))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(Refused, match="no pod of a cluster"):
        consumer.processes()
    address = urlsplit(cluster.server.url)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(address.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(address.port))
    with pytest.raises(RotatorError, match=r"cannot read certificates from .*ca\.crt"):
        consumer.processes()
    consumer.close()
