variable "role_arn" {
  description = "Role that the containers run as."
  type        = string
  nullable    = false
}

variable "planned_role_arn" {
  description = "The same, known before the role is there: a template with it can be read in a plan."
  type        = string
  nullable    = false
}

variable "bucket" {
  description = "Bucket that asynchronous endpoints read from and write to."
  type        = string
  nullable    = false
}

variable "async_output_prefix" {
  description = "Key prefix of asynchronous answers, without slashes."
  type        = string
  nullable    = false
}

variable "kms_key_arn" {
  description = "Key that asynchronous answers are encrypted with; empty: the bucket's default."
  type        = string
  nullable    = false
}

variable "endpoints" {
  description = "Endpoints by key; modules' caller says what each field is (live/variables.tf)."
  type = map(object({
    mode                   = string
    endpoint               = string
    component              = string
    image                  = string
    model_data_url         = string
    environment            = map(string)
    instance_type          = string
    instances_min          = number
    instances_max          = number
    concurrency            = number
    serverless_memory_mb   = number
    serverless_concurrency = number
    component_cpus         = number
    component_memory_mb    = number
    component_accelerators = number
    startup_s              = number
    rollback_alarms        = list(string)
  }))
  nullable = false
}

variable "topic_arns" {
  description = "SNS topics: alarms, and what asynchronous endpoints tell."
  type = object({
    async_done   = string
    async_failed = string
  })
  nullable = false
}
