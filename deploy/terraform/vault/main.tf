# The policy of keyturn in Vault or OpenBao, which is deploy/policies/vault.hcl for each secret that it writes, and a
# role for its service account.

terraform {
  required_version = ">= 1.5"
  required_providers {
    vault = {
      source  = "hashicorp/vault"
      version = ">= 4.0"
    }
  }
}

locals {
  document = file("${path.module}/../../policies/vault.hcl")

  policy = join("\n", [
    for secret in var.secrets :
    replace(replace(local.document, "web/openai", secret), "\"secret/", "\"${var.mount}/")
  ])
}

resource "vault_policy" "keyturn" {
  name   = "keyturn"
  policy = local.policy
}

resource "vault_kubernetes_auth_backend_role" "keyturn" {
  backend                          = var.kubernetes_mount
  role_name                        = "keyturn"
  bound_service_account_names      = ["keyturn"]
  bound_service_account_namespaces = [var.namespace]
  audience                         = "vault"
  token_policies                   = ["default", vault_policy.keyturn.name]
  token_ttl                        = 3600
}
