variable "secrets" {
  type        = list(string)
  description = "The paths that are written, such as web/openai."

  validation {
    condition     = alltrue([for secret in var.secrets : !strcontains(secret, "*") && !strcontains(secret, "+")])
    error_message = "Name each secret: a policy with wildcards is more than keyturn needs."
  }
}

variable "mount" {
  type        = string
  description = "Of the KV version 2 engine."
  default     = "secret"
}

variable "kubernetes_mount" {
  type        = string
  description = "Of the Kubernetes auth method."
  default     = "kubernetes"
}

variable "namespace" {
  type        = string
  description = "Where keyturn runs."
  default     = "keyturn"
}
