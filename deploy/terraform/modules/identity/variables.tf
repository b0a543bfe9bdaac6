variable "name" {
  description = "What the names of the roles begin with."
  type        = string
  nullable    = false
}

variable "account_id" {
  description = "Account of every ARN."
  type        = string
  nullable    = false
}

variable "partition" {
  description = "AWS partition of every ARN."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Region of every ARN."
  type        = string
  nullable    = false
}

variable "bucket" {
  description = "Bucket of runs."
  type        = string
  nullable    = false
}

variable "prefixes" {
  description = "Key prefixes without slashes: runs and scenes, pictures of the web app, and what asynchronous endpoints read and write."
  type = object({
    runs         = string
    uploads      = string
    async_input  = string
    async_output = string
  })
  nullable = false
}

variable "images" {
  description = "Images of the registry; the repositories are `<name>/<image>`."
  type        = set(string)
  nullable    = false
}

variable "endpoints" {
  description = "Endpoints by key: name, mode and whether model data in S3 is read (bucket/key or empty)."
  type = map(object({
    endpoint   = string
    component  = string
    mode       = string
    model_data = string
  }))
  nullable = false
}

variable "kms_key_arn" {
  description = "Key of the bucket; used only with kms."
  type        = string
  nullable    = false
}

variable "kms" {
  description = "Whether the bucket is encrypted with a KMS key."
  type        = bool
  nullable    = false
}

variable "cluster_name" {
  description = "EKS cluster whose pods take the roles by Pod Identity."
  type        = string
  nullable    = false
}

variable "namespace" {
  description = "Kubernetes namespace of the services."
  type        = string
  nullable    = false
}

variable "oidc_issuer" {
  description = "Cluster's OIDC issuer without https://, for roles by service account (components/irsa); empty: none."
  type        = string
  nullable    = false
}

variable "webapp_principals" {
  description = "ARNs of the roles that the web app runs as; they may take the web app's role. Empty: no such role."
  type        = list(string)
  nullable    = false
}

variable "github_repository" {
  description = "owner/name whose workflows may take the deploy role; empty: no such role."
  type        = string
  nullable    = false
}

variable "github_environment" {
  description = "GitHub environment that such a workflow must run in."
  type        = string
  nullable    = false
}

variable "github_provider_arn" {
  description = "ARN of the account's OIDC provider of GitHub, if there is one; empty: it is made."
  type        = string
  nullable    = false
}

variable "log_group_prefix" {
  description = "What the names of the log groups of services and runs begin with."
  type        = string
  nullable    = false
}

variable "transform_log_group" {
  description = "Log group of Batch Transform jobs."
  type        = string
  nullable    = false
}

variable "router_discovery" {
  description = "Whether the router may look for endpoints by their tags, and ask what it finds."
  type        = bool
  nullable    = false
}

variable "inference_routers" {
  description = "AWS inference routers that the router may ask, by name; of each, the ARNs of its destinations."
  type        = map(list(string))
  nullable    = false
}
