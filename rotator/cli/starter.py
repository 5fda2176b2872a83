"""The starter files that `rotator init` writes."""

CONFIGURATION = """\
# Which keys to change, when, and where consumers read them.
#
# `rotator check` tries everything that this file says; `rotator schema` describes every key.
# Durations: 45s, 90m, 12h, 30d. Secrets are named here, never written: env:NAME or file:PATH.

environment: dev                 # recorded in the database; the first line of every screen

store:
  url: sqlite:///rotator.db      # for several replicas: postgresql+psycopg://... (with a password: env:DATABASE_URL)
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

destinations:                    # where consumers read them
  app: {type: env-file, path: app.env}
  # vault: {type: vault-kv, address: https://vault.example:8200, auth: {method: token, token: env:VAULT_TOKEN}}
  # sm: {type: aws-secrets-manager, region: us-east-1}

credentials:                     # what is rotated
  session-secret:
    provider: local
    policy: {rotate_every: 30d}
    destinations:
      - {to: app, fields: {SESSION_SECRET: "{secret}"}}
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

IGNORED = ("rotator.key", "audit.key", "rotator.db", "rotator.db-*", "app.env")
"""What must not get into a repository."""
