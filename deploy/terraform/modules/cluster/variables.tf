variable "name" {
  description = "Name of the cluster; also the value of karpenter.sh/discovery."
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

variable "kubernetes" {
  description = "Version of Kubernetes."
  type        = string
  nullable    = false
}

variable "subnet_ids" {
  description = "Private subnets of the control plane's interfaces and of the system nodes."
  type        = list(string)
  nullable    = false
}

variable "public_cidrs" {
  description = "Addresses from which the API is reached over the internet; empty: only from the VPC."
  type        = set(string)
  nullable    = false
}

variable "admins" {
  description = "ARNs of roles that administer the cluster."
  type        = set(string)
  nullable    = false
}

variable "kms" {
  description = "Whether a KMS key encrypts the cluster's secrets."
  type        = bool
  nullable    = false
}

variable "kms_key_arn" {
  description = "That key."
  type        = string
  nullable    = false
}

variable "log_group" {
  description = "Log group of the control plane; EKS makes it without retention if it is not there."
  type        = string
  nullable    = false
}

variable "system_nodes" {
  description = "Nodes that carry Karpenter and the services."
  type = object({
    instance_type = string
    min           = number
    max           = number
  })
  nullable = false
}

variable "namespace" {
  description = "Kubernetes namespace of the services."
  type        = string
  nullable    = false
}

variable "service_roles" {
  description = "ARN of the role of each service account."
  type        = map(string)
  nullable    = false
}
