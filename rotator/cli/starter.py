"""The starter files that `rotator init` writes."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What `rotator init` asks; the defaults work in an empty folder."""

    environment: str = "dev"
    store: str = "sqlite:///rotator.db"
    every: str = "30d"
    file: str = "app.env"
    field: str = "SESSION_SECRET"


def configuration(answers: Answers, proposals: str = "") -> str:
    """The text of rotator.yaml."""
    given = {name: _scalar(value) for name, value in vars(answers).items()}
    text = _CONFIGURATION
    for name, value in given.items():
        text = text.replace(f"<{name}>", value)
    return text + proposals


def _scalar(text: str) -> str:
    """As YAML reads it back: quoted where it is not a plain word."""
    plain = text.replace("-", "").replace("_", "").replace(".", "").isalnum() and not text[0].isdigit()
    reserved = text.lower() in ("true", "false", "null", "yes", "no", "on", "off")
    return text if (plain and not reserved) or (text[:1].isdigit() and text[-1:] in "smhd") else json.dumps(text)


_CONFIGURATION = """\
# Which keys to change, when, and where consumers read them.
#
# `rotator check` tries everything that this file says; `rotator schema` describes every key.
# Durations: 45s, 90m, 12h, 30d. Secrets are named here, never written: env:NAME or file:PATH.

environment: <environment>         # recorded in the database; the first line of every screen

store:
  url: <store>    # for several replicas: postgresql+psycopg://... (with a password: env:DATABASE_URL)
seal:
  key: file:rotator.key          # encrypts what the database keeps of keys; or env:ROTATOR_KEY
audit:
  signing_key: file:audit.key    # signs checkpoints of the audit trail; keep these elsewhere, and see docs/audit.md

defaults:
  policy:
    grace: 24h                   # how long the old key works on after the new one is everywhere
    soak: 24h                    # how long it then stays disabled, where that can be done, before it is deleted

providers:                       # who issues keys
  local: {type: generated}       # a value that we make: session keys, HMAC secrets
  # openai: {type: openai, admin_key: env:OPENAI_ADMIN_KEY}
  # aws: {type: aws-iam, region: us-east-1, account: "123456789012"}
  # anthropic: {type: anthropic, admin_key: env:ANTHROPIC_ADMIN_KEY}
  # manual: {type: manual}       # a person makes the key, where we are told

destinations:                    # where consumers read them
  app: {type: env-file, path: <file>}
  # vault: {type: vault-kv, address: https://vault.example:8200, auth: {method: token, token: env:VAULT_TOKEN}}
  # sm: {type: aws-secrets-manager, region: us-east-1}

credentials:                     # what is rotated
  session-secret:
    provider: local
    policy: {rotate_every: <every>}
    destinations:
      - {to: app, fields: {<field>: "{secret}"}}
  # openai-web:
  #   provider: openai
  #   options: {project: proj_abc, service_account: svc_acct_abc, scopes: [api.responses.write]}
  #   policy: {rotate_every: 30d}
  #   labels: {team: web}
  #   destinations:
  #     - {to: vault, path: web/openai}
  #     - {to: app, fields: {OPENAI_API_KEY: "{secret}"}, reload: {command: [systemctl, reload, web]}}
  # deployer:
  #   provider: aws
  #   options: {user: ci-deployer}
  #   policy: {cron: "0 9 * * MON", timezone: Europe/London, grace: 2h, soak: 3d}
  #   destinations:
  #     - {to: sm, path: ci/deployer}
"""

IGNORED = ("rotator.key", "audit.key", "rotator.db", "rotator.db-*")
"""What must not get into a repository, besides the env file."""
