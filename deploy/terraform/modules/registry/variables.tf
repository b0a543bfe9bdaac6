variable "name" {
  description = "What the repositories are below: `<name>/<image>`."
  type        = string
  nullable    = false
}

variable "images" {
  description = "Images, as deploy/k8s names them."
  type        = set(string)
  nullable    = false
}

variable "kept_images" {
  description = "Images of a repository that are kept; older ones go."
  type        = number
  nullable    = false

  validation {
    condition     = var.kept_images >= 2
    error_message = "Keep 2 images or more, so that the last one can be gone back to."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts the images; used only with kms."
  type        = string
  nullable    = false
}

variable "kms" {
  description = "Whether a KMS key encrypts the images."
  type        = bool
  nullable    = false
}
