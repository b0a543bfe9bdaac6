variable "bucket" {
  description = "Name of the bucket of runs, scenes, uploads and asynchronous answers."
  type        = string
  nullable    = false
}

variable "account_id" {
  description = "AWS account that the roles of the bucket's policy are in."
  type        = string
  nullable    = false
}

variable "partition" {
  description = "AWS partition of every ARN."
  type        = string
  nullable    = false
}

variable "role_prefix" {
  description = "What the names of the roles begin with, in place of deploy/s3's `simcloud`."
  type        = string
  nullable    = false
}

variable "policy_file" {
  description = "The bucket's policy as deploy/s3 has it; its Deny statements are applied."
  type        = string
  nullable    = false
}

variable "lifecycle_file" {
  description = "The bucket's lifecycle rules as deploy/s3 has them."
  type        = string
  nullable    = false
}

variable "kms" {
  description = "Encryption: `none` (SSE-S3), `create` (a key of this bucket) or `existing` (kms_key_arn)."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["none", "create", "existing"], var.kms)
    error_message = "kms is none, create or existing."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key with kms = existing; else empty."
  type        = string
  nullable    = false
}

variable "expiring_prefixes" {
  description = "Days after which objects below a prefix go, by prefix without slash; for what is no run."
  type        = map(number)
  nullable    = false

  validation {
    condition     = alltrue([for days in values(var.expiring_prefixes) : days >= 1])
    error_message = "Days are 1 or more."
  }
}

variable "writer_ids" {
  description = "Ids of the roles that the policy names: S3 refuses a policy that names a role which is not there yet."
  type        = list(string)
  nullable    = false
}

variable "origins" {
  description = "Origins of web pages whose scripts may read and write, as far as their presigned URLs let them."
  type        = list(string)
  nullable    = false
}
