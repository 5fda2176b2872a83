"""A Kubernetes Deployment: the containers of its pods, by the cluster's API."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

from pydantic import AfterValidator, Field

from rotator import settings
from rotator.access.http import HEADER_SAFE, Http, Json, ProxyAddress, Reply, api_address
from rotator.domain.errors import AccessDenied, Refused, Unavailable
from rotator.ports.consumer import Process

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where every pod finds its own service account."""

_PAGE = "250"
_MOST_PAGES = 100
_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)  # what odd fields of an answer lead to


class DeploymentSettings(settings.Settings):
    """`consumers: [{deployment: shop/api}]`. Without `api_server` we run in the cluster and use our service account."""

    deployment: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?/[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
    api_server: Annotated[str, AfterValidator(api_address)] | None = None
    token: settings.SecretAt | None = None
    ca_file: settings.FilePath | None = None
    proxy: ProxyAddress | None = None


class Deployment:
    """One Deployment. Our account needs `get` of deployments and `list` of pods in its namespace."""

    Settings: ClassVar[type[Any]] = DeploymentSettings

    def __init__(self, settings: DeploymentSettings, timeout: timedelta) -> None:
        self._settings = settings
        self._namespace, _, self._deployment = settings.deployment.partition("/")
        self._timeout = timeout.total_seconds()
        self._http: Http | None = None

    @property
    def name(self) -> str:
        """Namespace and name."""
        return f"deployment {self._settings.deployment}"

    def processes(self) -> Sequence[Process]:
        """Every running container of every pod that the Deployment selects. A restarted container counts anew."""
        namespace = f"/namespaces/{self._namespace}"
        found = self._get(f"/apis/apps/v1{namespace}/deployments/{quote(self._deployment)}", {})
        try:
            selector = _selector(found.fields["spec"]["selector"])
            pods = [pod for page in self._pages(f"/api/v1{namespace}/pods", selector) for pod in _running(page)]
        except _UNREADABLE:
            message = f"what the cluster says of {self._settings.deployment} is not what its documentation says"
            raise Unavailable(message) from None
        return pods

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        if self._http is not None:
            self._http.close()

    def _pages(self, path: str, selector: str) -> Iterator[Reply]:
        query = {"labelSelector": selector, "limit": _PAGE}
        for _ in range(_MOST_PAGES):
            page = self._get(path, query)
            yield page
            after = page.fields["metadata"].get("continue")
            if not after:
                return
            query["continue"] = after
        message = f"the list of pods of {self._settings.deployment} has no end"
        raise Unavailable(message)

    def _get(self, path: str, query: Mapping[str, str]) -> Reply:
        token = self._token().read()
        if not HEADER_SAFE.fullmatch(token.reveal()):
            message = f"what {self._token().text} holds is no token; nothing was sent"
            raise AccessDenied(message, remedy="put the service account's token there")
        headers = {"Authorization": f"Bearer {token.reveal()}"}
        reply = self._client().send("GET", path, f"look at {self.name}", headers=headers, query=query)
        if reply.status == HTTPStatus.OK and reply.fields:
            return reply
        message = f"the cluster answered {reply.status} to our request to look at {self.name}"
        if reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            remedy = f"allow our service account `get` of deployments and `list` of pods in {self._namespace}"
            raise AccessDenied(message, remedy=remedy)
        if reply.status == HTTPStatus.NOT_FOUND:
            raise Refused(message, remedy="correct `consumers`, or take it out")
        raise Unavailable(message, retry_after=reply.retry_after)

    def _token(self) -> settings.SecretReference:
        return self._settings.token or settings.SecretReference(f"file:{ACCOUNT / 'token'}")

    def _client(self) -> Http:
        if self._http is None:
            ca_file = self._settings.ca_file or self._own_authority()
            self._http = Http(self._address(), ca_file, self._timeout, proxy=self._settings.proxy)
        return self._http

    def _own_authority(self) -> Path | None:
        return None if self._settings.api_server else ACCOUNT / "ca.crt"

    def _address(self) -> str:
        if self._settings.api_server is not None:
            return self._settings.api_server
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            message = "this is no pod of a cluster"
            raise Refused(message, remedy="name `api_server`, `token` and `ca_file` beside `deployment`")
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _selector(selector: Json) -> str:
    """A label selector as the API takes it in a query."""
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or ():
        key, values = one["key"], ",".join(one.get("values") or ())
        words = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        parts.append({**words, "DoesNotExist": f"!{key}"}[one["operator"]])
    if not parts:
        raise ValueError  # it would select every pod
    return ",".join(parts)


def _running(page: Reply) -> Iterator[Process]:
    """The running containers of a page of pods. Their times are the cluster's: its answer says how late it is there."""
    now = datetime.now(UTC)
    for pod in page.fields["items"]:
        status = pod.get("status") or {}
        for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            running = container["state"].get("running")
            if running is not None:
                age = page.at - datetime.fromisoformat(running["startedAt"])
                name = f"pod {pod['metadata']['name']}, container {container['name']}"
                yield Process(name=name, started_at=now - age)
