variable "account" {
  type        = string
  description = "The account whose keys are rotated: 12 digits."

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account))
    error_message = "An account is 12 digits."
  }
}

variable "region" {
  type        = string
  description = "Where the secrets are."
}

variable "oidc_issuer" {
  type        = string
  description = "The issuer of the cluster's service account tokens."
}

variable "namespace" {
  type        = string
  description = "Where keyturn runs."
  default     = "keyturn"
}

variable "users_path" {
  type        = string
  description = "The path of the IAM users whose keys are rotated. Keep keyturn's own user out of it."
  default     = "/rotated/"

  validation {
    condition     = can(regex("^/.+/$", var.users_path))
    error_message = "A path of IAM begins and ends with a slash, and is not / itself: that would be every user."
  }
}

variable "secrets_prefix" {
  type        = string
  description = "What the names of the secrets begin with that are written."
  default     = "ci/"

  validation {
    condition     = length(var.secrets_prefix) > 0
    error_message = "Without a prefix that would be every secret."
  }
}

variable "rotates_iam_keys" {
  type        = bool
  description = "Whether the provider aws-iam is used."
  default     = true
}

variable "reads_policies" {
  type        = bool
  description = "Whether expect_policies or allowed_ips of IAM users are used."
  default     = false
}

variable "writes_secrets" {
  type        = bool
  description = "Whether the destination aws-secrets-manager is used."
  default     = true
}
