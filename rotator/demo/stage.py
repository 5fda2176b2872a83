"""What the demo plays on: three servers, a folder with a configuration, and the command line in child processes."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rotator.demo.consumers import Consumer, Value
from rotator.testbed.aws import Aws, AwsKey
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.testbed.openbao import OpenBao

USER = "ci-deployer"
LENGTH = 40
"""How long the generated secret is."""

PERMISSIONS = (
    "iam:CreateAccessKey",
    "iam:DeleteAccessKey",
    "iam:GetAccessKeyLastUsed",
    "iam:ListAccessKeys",
    "iam:UpdateAccessKey",
    "secretsmanager:CreateSecret",
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetSecretValue",
    "secretsmanager:PutSecretValue",
    "secretsmanager:UpdateSecretVersionStage",
    "sts:GetCallerIdentity",
)
"""What the service needs to be allowed at AWS."""
_PASSED_ON = ("PATH", "PYTHONPATH", "TERM", "COLUMNS", "LINES", "LANG", "LC_ALL", "NO_COLOR", "TMPDIR", "SYSTEMROOT")

_CONFIGURATION = """\
environment: demo
engine: {{lease: 10s, call_budget: 5s, retry: {{first: 500ms, most: 5s}}}}

defaults:
  policy:                  # days in real life, seconds here
    rotate_every: 30d
    settle: {settle}
    grace: {grace}
    soak: {soak}
    require_idle: 1s
    min_interval: 1s

providers:
  openai: {{admin_key: env:OPENAI_ADMIN_KEY, base_url: "{openai}"}}
  aws:
    type: aws-iam
    region: {region}
    account: "{account}"
    endpoint_url: "{aws}"
    access_key_id: env:ROTATOR_AWS_KEY_ID
    secret_access_key: env:ROTATOR_AWS_SECRET
  local: {{type: generated}}

destinations:
  vault: {{type: vault-kv, address: "{vault}", auth: {{method: token, token: env:VAULT_TOKEN}}}}
  sm:
    type: aws-secrets-manager
    region: {region}
    account: "{account}"
    endpoint_url: "{aws}"
    access_key_id: env:ROTATOR_AWS_KEY_ID
    secret_access_key: env:ROTATOR_AWS_SECRET
  web: {{type: env-file, path: web.env}}

credentials:
  openai-web:
    provider: openai
    options: {{project: {project}, service_account: {service_account}}}
    destinations:
      - {{to: vault, path: web/openai}}
      - {{to: web}}
    on: {{leak: compromised}}
  deployer:
    provider: aws
    options: {{user: {user}}}
    destinations: ["sm:ci/deployer"]
    on: {{leak: compromised}}
  session:
    provider: local
    options: {{length: {length}}}
    destinations:
      - {{to: web, fields: {{SESSION_SECRET: "{{secret}}"}}}}
"""

_WEB_ENV = """\
# Written by a person; stays as it is.
LOG_LEVEL=info
"""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The servers as they run, and the folder that the commands work in."""

    folder: Path
    openbao: OpenBao
    aws: Aws
    openai: OpenAIEmulator
    rotator: AwsKey  # whose permissions the service works with

    @classmethod
    def set_up(cls, folder: Path, openbao: OpenBao, aws: Aws, openai: OpenAIEmulator, *, quick: bool) -> Stage:
        """Write the configuration and the sealing key, make the IAM user, and plant a key that a person made."""
        from rotator.sealers.local import new_key

        stage = cls(
            folder=folder, openbao=openbao, aws=aws, openai=openai, rotator=aws.user("rotator", allow=PERMISSIONS)
        )
        iam = aws.client("iam")
        iam.create_user(UserName=USER)
        by_hand = openai.make_key(name="Made by hand, two years ago")
        openbao.call("POST", "secret/data/web/openai", {"data": {"OPENAI_API_KEY": by_hand.secret}})
        (folder / "web.env").write_text(_WEB_ENV, encoding="utf-8")
        key = folder / "rotator.key"
        key.touch(mode=0o600)
        key.write_text(f"{new_key()}\n", encoding="ascii")
        text = _CONFIGURATION.format(
            settle="400ms" if quick else "1s",
            grace="2s" if quick else "4s",
            soak="1s" if quick else "2s",
            openai=openai.url,
            aws=aws.url,
            region=aws.region,
            account=aws.account,
            vault=openbao.url,
            project=openai.project,
            service_account=openai.service_account,
            user=USER,
            length=LENGTH,
        )
        stage.configuration.write_text(text, encoding="utf-8")
        return stage

    @property
    def configuration(self) -> Path:
        """The configuration file."""
        return self.folder / "rotator.yaml"

    def environment(self) -> dict[str, str]:
        """What the commands get: none of the user's own keys and settings."""
        return {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            "HOME": str(self.folder),
            "ROTATOR_CONFIG": str(self.configuration),
            "ROTATOR_ACTOR": "demo",
            "OPENAI_ADMIN_KEY": self.openai.admin_key,
            "VAULT_TOKEN": self.openbao.token,
            "ROTATOR_AWS_KEY_ID": self.rotator.access_key_id,
            "ROTATOR_AWS_SECRET": self.rotator.secret_access_key,
        }

    def command(self, line: str, *, capture: bool = False, stdin: str | None = None) -> tuple[int, str]:
        """Run `rotator …` or `rotate …` in a process of its own; return its exit status and, captured, what it printed.

        A command that is interrupted is given the time to park its step. `stdin` is what it is given to read.
        """
        program, *arguments = shlex.split(line)
        if program == "rotate":
            arguments = ["rotate", *arguments]
        with subprocess.Popen(
            [sys.executable, "-m", "rotator", *arguments],
            env=self.environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE if capture else None,
            encoding="utf-8",
        ) as process:
            try:
                printed, _ = process.communicate(stdin)
            except BaseException:
                _end(process)
                raise
        return process.returncode, printed or ""

    def consumers(self) -> list[Consumer]:
        """Whoever reads the keys, each the way an application would."""
        return [
            Consumer(address="vault:secret/web/openai", read=self._vault(), works=self._openai()),
            Consumer(address="web:OPENAI_API_KEY", read=self._env("OPENAI_API_KEY"), works=self._openai()),
            Consumer(address="sm:ci/deployer", read=self._secrets_manager(), works=self._sts()),
            Consumer(address="web:SESSION_SECRET", read=self._env("SESSION_SECRET"), works=_is_whole),
        ]

    def living_keys(self) -> dict[str, int]:
        """Account → how many keys live there now, asked behind the service's back."""
        at_openai = [key.state for key in self.openai.keys()]  # noqa: SIM118 - it is no mapping
        at_aws = self.aws.client("iam").list_access_keys(UserName=USER)["AccessKeyMetadata"]
        return {"OpenAI": at_openai.count("live") + at_openai.count("settling"), "AWS": len(at_aws)}

    def _vault(self) -> Any:
        import httpx

        client = httpx.Client(headers={"X-Vault-Token": self.openbao.token}, trust_env=False, timeout=10)
        url = f"{self.openbao.url}/v1/secret/data/web/openai"

        def read() -> Value | None:
            answer = client.get(url)
            return answer.json()["data"]["data"] if answer.is_success else None

        return read

    def _env(self, field: str) -> Any:
        path = self.folder / "web.env"

        def read() -> Value | None:
            lines = path.read_text(encoding="utf-8").splitlines()
            values = [line.partition("=")[2] for line in lines if line.startswith(f"{field}=")]
            return {field: values[0].strip("'\"")} if values else None

        return read

    def _secrets_manager(self) -> Any:
        import json

        client = self.aws.client("secretsmanager")

        def read() -> Value | None:
            for _ in range(2):  # moto moves the label in two steps, and AWS in one
                with suppress(client.exceptions.ResourceNotFoundException):
                    # AWS would take the stage as given; moto shows an older version unless it is named.
                    found = client.get_secret_value(SecretId="ci/deployer", VersionStage="AWSCURRENT")
                    return dict(json.loads(found["SecretString"]))
            return None

        return read

    def _openai(self) -> Any:
        import httpx

        client = httpx.Client(trust_env=False, timeout=10)

        def works(value: Value) -> bool:
            key = value["OPENAI_API_KEY"]
            return client.get(f"{self.openai.url}/models", headers={"Authorization": f"Bearer {key}"}).is_success

        return works

    def _sts(self) -> Any:
        from botocore.exceptions import ClientError

        clients: dict[str, Any] = {}

        def works(value: Value) -> bool:
            key = AwsKey(value["AWS_ACCESS_KEY_ID"], value["AWS_SECRET_ACCESS_KEY"])
            client = clients.get(key.access_key_id) or self.aws.client("sts", key)
            clients[key.access_key_id] = client
            try:
                return str(client.get_caller_identity()["Arn"]).endswith(f"user/{USER}")
            except ClientError:
                return False

        return works


def _is_whole(value: Value) -> bool:
    """Nobody can be asked about a generated secret: it must be there, and whole."""
    secret = value["SESSION_SECRET"]
    return len(secret) == LENGTH and secret.isalnum()


def _end(process: subprocess.Popen[str]) -> None:
    """Wait for a child that the terminal has interrupted too; else end it, in the end by force."""
    for nudge, seconds in ((None, 2.0), (process.terminate, 10.0), (process.kill, None)):
        if nudge is not None:
            nudge()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return
