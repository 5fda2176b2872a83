"""One place per file. A file is imported only when a configuration names its type.

Each file holds a class that fulfils `ports.adapter.DestinationServer`. Outside plugins register theirs under the entry
point group `rotator.destinations`.
"""

DESTINATIONS = {
    "aws-secrets-manager": "rotator.destinations.aws_secrets_manager:AwsSecretsManager",
    "env-file": "rotator.destinations.env_file:EnvFile",
    "vault-kv": "rotator.destinations.vault_kv:VaultKV",
}
"""Type → `module:class`."""
