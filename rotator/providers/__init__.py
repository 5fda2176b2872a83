"""One service per file. A file is imported only when a configuration names its type.

Each file holds a class that fulfils `ports.adapter.ProviderAccount`. Outside plugins register theirs under the entry
point group `rotator.providers`.
"""

PROVIDERS = {
    "anthropic": "rotator.providers.anthropic:Anthropic",
    "aws-iam": "rotator.providers.aws_iam:AwsIam",
    "generated": "rotator.providers.generated:Generated",
    "manual": "rotator.providers.manual:Manual",
    "openai": "rotator.providers.openai:OpenAI",
    "openai-admin": "rotator.providers.openai_admin:OpenAIAdmin",
    "postgres": "rotator.providers.postgres:Postgres",
    "vault-approle": "rotator.providers.vault_approle:VaultAppRole",
}
"""Type → `module:class`."""
