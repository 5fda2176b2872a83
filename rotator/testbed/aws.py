"""AWS on loopback: moto's server with IAM, STS and Secrets Manager, which can check signatures and policies."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rotator.testbed.process import HOST, Server, http_status


@dataclass(frozen=True)
class AwsKey:
    """One access key of an IAM user."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


_NOBODY = AwsKey("unauthenticated", "unauthenticated")


class Aws(Server):
    """moto's server. With `authentication` it checks signatures, keys and policies once it has started.

    What still differs from AWS: nothing is ever delayed, and a second PutSecretValue with the same token and another
    value is taken. That an inactive key is accepted, as moto has it, is mended by `aws_server`.
    """

    account = "123456789012"
    region = "us-east-1"

    def __init__(self, *, authentication: bool = False) -> None:
        super().__init__()
        self.root = _NOBODY
        self._authentication = authentication
        self._session: Any = None

    @property
    def url(self) -> str:
        """The endpoint of every service."""
        return f"http://{HOST}:{self.port}"

    def command(self) -> list[str]:
        """Return the server's command line."""
        return [sys.executable, "-m", "rotator.testbed.aws_server", "-H", HOST, "-p", str(self.port)]

    def ready(self) -> bool:
        """Whether its own page answers."""
        return http_status(self.port, "/moto-api/") == http.client.OK

    def start(self) -> None:
        """Start it, make the administrator `root`, and only then have keys checked. Raises NotReady."""
        if self.is_running():
            return
        super().start()
        self.root = _NOBODY
        self.root = self.user("root", allow=("*",))
        if self._authentication:
            self._check_all_actions_from_now_on()

    def client(self, service: str, key: AwsKey | None = None, *, region: str | None = None) -> Any:
        """Return a boto3 client that tries once; `key` is whose it is, the administrator's if None."""
        import boto3
        from botocore.config import Config

        if self._session is None:
            self._session = boto3.Session(region_name=self.region)
        key = key or self.root
        return self._session.client(
            service,
            region_name=region or self.region,
            endpoint_url=self.url,
            aws_access_key_id=key.access_key_id,
            aws_secret_access_key=key.secret_access_key,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20, proxies={}),
        )

    def user(self, name: str, *, allow: Sequence[str] = ("sts:*",)) -> AwsKey:
        """Make an IAM user who may do the actions in `allow`, and return their one access key."""
        iam = self.client("iam")
        statement = {"Effect": "Allow", "Action": list(allow), "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="testbed", PolicyDocument=policy)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        iam.close()
        return AwsKey(made["AccessKeyId"], made["SecretAccessKey"])

    def _check_all_actions_from_now_on(self) -> None:
        # The body is the number of actions that stay unchecked, INITIAL_NO_AUTH_ACTION_COUNT in moto's documentation.
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        try:
            connection.request("POST", "/moto-api/reset-auth", b"0")
            status = connection.getresponse().status
        finally:
            connection.close()
        assert status == http.client.OK, f"moto answered {status} when asked to check keys"
