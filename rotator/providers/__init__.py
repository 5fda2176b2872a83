"""One service per file. A file is imported only when a configuration names its type.

Each file holds a class that fulfils `ports.adapter.ProviderAccount`. Outside plugins register theirs under the entry
point group `rotator.providers`.
"""

PROVIDERS = {
    "aws-iam": "rotator.providers.aws_iam:AwsIam",
    "generated": "rotator.providers.generated:Generated",
    "openai": "rotator.providers.openai:OpenAI",
}
"""Type → `module:class`."""
