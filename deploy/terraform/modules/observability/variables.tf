variable "name" {
  description = "What names begin with."
  type        = string
  nullable    = false
}

variable "account_id" {
  description = "Account whose services may publish to the topic."
  type        = string
  nullable    = false
}

variable "partition" {
  description = "AWS partition of every ARN."
  type        = string
  nullable    = false
}

variable "region" {
  description = "Region of every ARN and of the dashboard."
  type        = string
  nullable    = false
}

variable "log_groups" {
  description = "Names of the log groups, by key."
  type        = map(string)
  nullable    = false
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "CloudWatch keeps logs for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365 ... days."
  }
}

variable "endpoints" {
  description = "Endpoints by key: what the alarms are about."
  type = map(object({
    endpoint      = string
    component     = string
    mode          = string
    instances_min = number
  }))
  nullable = false
}

variable "latency_ms" {
  description = "99th percentile of a model's time above which the alarm sounds, milliseconds."
  type        = number
  nullable    = false
}

variable "backlog" {
  description = "Requests that wait at an asynchronous endpoint, or are at a real-time one at once, above which the alarm sounds."
  type        = number
  nullable    = false
}

variable "idle_hours" {
  description = "Hours without a request after which an endpoint counts as forgotten."
  type        = number
  nullable    = false

  validation {
    condition     = var.idle_hours >= 1 && var.idle_hours <= 24 && floor(var.idle_hours) == var.idle_hours
    error_message = "1 to 24 whole hours: CloudWatch looks back a day at most."
  }
}

variable "stop_idle_endpoints" {
  description = "Whether an idle endpoint is deleted by itself; else it is only told."
  type        = bool
  nullable    = false
}

variable "alert_emails" {
  description = "Who is told of alarms and of the budget; each confirms the subscription once."
  type        = set(string)
  nullable    = false
}

variable "budget_usd" {
  description = "Monthly budget, US dollars."
  type        = number
  nullable    = false
}

variable "budget_tag" {
  description = "Tag that costs are filtered by, `key$value`; empty: the whole account's costs."
  type        = string
  nullable    = false
}
