# The role of keyturn in AWS, for a service account of EKS (IRSA), with exactly the policies of deploy/policies: the files
# are read, and the account, the region and the names in them are put in. Leave out what you do not use.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

locals {
  issuer = trimprefix(var.oidc_issuer, "https://")

  documents = {
    for name, wanted in {
      iam-rotate-keys   = var.rotates_iam_keys
      iam-read-policies = var.reads_policies
      secrets-manager   = var.writes_secrets
    } : name => file("${path.module}/../../policies/${name}.json") if wanted
  }

  policies = {
    for name, text in local.documents : name => replace(replace(replace(replace(
      text, ":123456789012:", ":${var.account}:"),
      ":us-east-1:", ":${var.region}:"),
      ":user/rotated/", ":user${var.users_path}"),
    ":secret:ci/", ":secret:${var.secrets_prefix}")
  }
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::${var.account}:oidc-provider/${local.issuer}"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:sub"
      values   = ["system:serviceaccount:${var.namespace}:keyturn"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "keyturn" {
  name               = "keyturn"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "keyturn" {
  for_each = local.policies

  name   = each.key
  role   = aws_iam_role.keyturn.id
  policy = each.value
}

output "role_arn" {
  description = "For the annotation eks.amazonaws.com/role-arn of the service account."
  value       = aws_iam_role.keyturn.arn
}
