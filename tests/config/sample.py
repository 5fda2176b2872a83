"""The example of the design, a short way to load a text, and to the problems with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotator.config import Config, ConfigError, Problem, load

EXAMPLE = """\
environment: prod                      # recorded in the database; a run that names another exits 2
include: [teams/*.yaml]                # these may hold credentials and defaults only
store:
  url: sqlite:///rotator.db            # default; postgresql+psycopg://… for several replicas
seal:
  key: file:rotator.key                # 32 bytes in base64, created 0600 by `rotator init`
engine: {lease: 60s, call_budget: 20s, workers: 8, retry: {first: 2s, most: 15m}}   # back-off doubles, full jitter
defaults:
  policy: {grace: 24h, soak: 24h}      # merged key by key; cron and rotate_every replace each other

providers:
  openai: {type: openai, admin_key: env:OPENAI_ADMIN_KEY, base_url: https://api.openai.com/v1}
  aws:    {type: aws-iam, region: us-east-1, endpoint_url: null, account: "123456789012", role_arn: null, profile: null}
  local:  {type: generated}

destinations:
  vault:  {type: vault-kv, address: https://vault.example:8200, mount: secret, namespace: null, ca_file: null, auth: {method: token, token: env:VAULT_TOKEN}}
  sm:     {type: aws-secrets-manager, region: us-east-1, endpoint_url: null}
  web:    {type: env-file, path: /srv/web/.env}

credentials:
  openai-web:
    provider: openai
    options: {project: proj_abc, service_account: svc_acct_abc, scopes: [api.responses.write]}
    policy: {rotate_every: 30d}
    labels: {team: web}
    owner: web@example.com
    destinations:
      - {to: vault, path: web/openai, fields: {OPENAI_API_KEY: "{secret}"}}
      - {to: web, fields: {OPENAI_API_KEY: "{secret}"}}
  deployer:
    provider: aws
    options: {user: ci-deployer}
    policy: {cron: "0 9 * * MON", timezone: Europe/London, grace: 2h, soak: 3d}
    destinations:
      - {to: sm, path: ci/deployer}    # fields left out: the provider's own
  session:
    provider: local
    destinations: [env-file:/srv/web/.env]   # short form: the address that `status` prints
"""  # noqa: E501 - as it stands in the design

TEAM = """\
defaults: {policy: {grace: 12h}}
credentials:
  team-key:
    provider: local
    destinations: [{to: vault, path: team/key}]
"""

BASE = """\
providers:
  openai: {admin_key: env:OPENAI_ADMIN_KEY}
  aws: {type: aws-iam}
  local: {type: generated}
destinations:
  vault: {type: vault-kv, address: https://vault.example:8200, auth: {method: token, token: env:VAULT_TOKEN}}
  sm: {type: aws-secrets-manager, region: us-east-1}
  web: {type: env-file, path: web.env}
"""
"""Providers and destinations for tests that are about something else."""


def load_text(folder: Path, text: str) -> Config:
    """Load a file with this text."""
    path = folder / "rotator.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def problems_with(folder: Path, text: str) -> list[Problem]:
    """Every problem with a file of this text; there must be one."""
    with pytest.raises(ConfigError) as caught:
        load_text(folder, text)
    return list(caught.value.problems)


def told(folder: Path, text: str) -> list[str]:
    """The same as lines of text."""
    return [str(problem) for problem in problems_with(folder, text)]


def credential(text: str, name: str = "key") -> str:
    """A file with one credential of the generated kind and these further keys, in YAML's flow style."""
    keys = f"provider: local, destinations: [{{to: sm, path: app}}], {text}"
    return f"{BASE}credentials: {{{name}: {{{keys}}}}}\n"


def aws_credential(policy: str) -> str:
    """A file with one credential of IAM and this policy."""
    keys = f"provider: aws, options: {{user: ci}}, destinations: [sm:app], policy: {{{policy}}}"
    return f"{BASE}credentials: {{key: {{{keys}}}}}\n"
