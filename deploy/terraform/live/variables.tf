variable "name" {
  description = "What the names of everything begin with; another one makes a second stack. deploy/k8s says simcloud."
  type        = string
  default     = "simcloud"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "name has 3 to 20 lower-case letters, digits and hyphens, and begins with a letter: names of roles and endpoints are made of it."
  }
}

variable "account_id" {
  description = "AWS account, 12 digits; credentials of any other are refused."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id is 12 digits: `aws sts get-caller-identity --query Account --output text`."
  }
}

variable "region" {
  description = "AWS region."
  type        = string
  default     = "us-east-1"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is a name such as us-east-1."
  }
}

variable "partition" {
  description = "AWS partition: aws, aws-cn or aws-us-gov."
  type        = string
  default     = "aws"
  nullable    = false

  validation {
    condition     = contains(["aws", "aws-cn", "aws-us-gov"], var.partition)
    error_message = "partition is aws, aws-cn or aws-us-gov."
  }
}

variable "tags" {
  description = "Tags of everything, beside project and managed-by."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "bucket" {
  description = "Name of the bucket, unique in all of AWS."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket has 3 to 63 lower-case letters, digits and hyphens; no dots, which TLS does not like."
  }
}

variable "prefixes" {
  description = "Key prefixes without slashes at the ends: runs and scenes (prefix of a context), pictures of the web app, asynchronous requests and answers."
  type = object({
    runs         = optional(string, "runs")
    uploads      = optional(string, "uploads")
    async_input  = optional(string, "async/in")
    async_output = optional(string, "async/out")
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for prefix in values(var.prefixes) : can(regex("^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", prefix))])
    error_message = "Prefixes have letters, digits, `._-` and slashes between; none is empty, or a role could do anything in the bucket."
  }

  validation {
    condition = alltrue(flatten([
      for one, prefix in var.prefixes : [for other, longer in var.prefixes : one == other || !startswith("${longer}/", "${prefix}/")]
    ]))
    error_message = "No prefix may be below another: who may write to one could write to the other."
  }
}

variable "uploads_days" {
  description = "Days that the web app's pictures are kept."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.uploads_days >= 1 && floor(var.uploads_days) == var.uploads_days
    error_message = "uploads_days is a whole number from 1 on."
  }
}

variable "kms" {
  description = "Encryption of bucket, images and cluster secrets: none (keys of AWS), create (a key of this stack) or existing (kms_key_arn)."
  type        = string
  default     = "none"
  nullable    = false

  validation {
    condition     = contains(["none", "create", "existing"], var.kms)
    error_message = "kms is none, create or existing."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key with kms = existing."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = (var.kms == "existing") == (var.kms_key_arn != "")
    error_message = "kms_key_arn goes with kms = existing, and only with it."
  }
}

variable "kept_images" {
  description = "Images of each repository that are kept."
  type        = number
  default     = 20
  nullable    = false
}

variable "endpoints" {
  description = <<-TEXT
    SageMaker endpoints by a short key; none by default, since all but serverless ones bill by the hour.
    The endpoint is called `<name>-<key>`. Fields:
    mode: real-time, serverless, async (asked through S3) or component (an inference component).
    image: the container's image, by digest or tag. model_data_url: s3://bucket/key.tar.gz for /opt/ml/model;
    empty: the model is in the image. environment: variables of the container.
    instance_type, instances_min, instances_max: not for serverless. 0 at least for async and component: they
    scale to nothing. concurrency: requests at once (async: waiting) per instance at which another is started.
    serverless_memory_mb, serverless_concurrency: of a serverless one.
    component_cpus, component_memory_mb, component_accelerators: what a copy takes of its instance.
    startup_s: longest time until /ping answers, and for loading model data.
  TEXT
  type = map(object({
    mode                   = string
    image                  = string
    model_data_url         = optional(string, "")
    environment            = optional(map(string), {})
    instance_type          = optional(string, "ml.c6i.xlarge")
    instances_min          = optional(number, 1)
    instances_max          = optional(number, 2)
    concurrency            = optional(number, 4)
    serverless_memory_mb   = optional(number, 3072)
    serverless_concurrency = optional(number, 5)
    component_cpus         = optional(number, 1)
    component_memory_mb    = optional(number, 2048)
    component_accelerators = optional(number, 0)
    startup_s              = optional(number, 600)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for key in keys(var.endpoints) : can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", key)) && length(key) <= 30])
    error_message = "Keys have at most 30 lower-case letters, digits and single hyphens, and begin with a letter."
  }

  validation {
    condition     = alltrue([for item in values(var.endpoints) : contains(["real-time", "serverless", "async", "component"], item.mode)])
    error_message = "mode is real-time, serverless, async or component."
  }

  validation {
    condition     = alltrue([for item in values(var.endpoints) : can(regex("^ml\\.[a-z0-9-]+\\.[a-z0-9]+$", item.instance_type))])
    error_message = "instance_type is a name such as ml.g5.xlarge."
  }

  validation {
    condition     = alltrue([for item in values(var.endpoints) : item.instances_min >= (contains(["async", "component"], item.mode) ? 0 : 1) && item.instances_max >= max(1, item.instances_min)])
    error_message = "instances_min is 1 or more (0 with async and component), instances_max is not below it. A real-time endpoint cannot scale to zero: take mode component."
  }

  validation {
    condition     = alltrue([for item in values(var.endpoints) : contains([1024, 2048, 3072, 4096, 5120, 6144], item.serverless_memory_mb) && item.serverless_concurrency >= 1 && item.serverless_concurrency <= 200])
    error_message = "serverless_memory_mb is 1024 to 6144 in steps of 1024, serverless_concurrency 1 to 200."
  }

  validation {
    condition     = alltrue([for item in values(var.endpoints) : item.model_data_url == "" || can(regex("^s3://[a-z0-9.-]+/[^*?]+$", item.model_data_url))])
    error_message = "model_data_url is s3://bucket/key without wildcards."
  }

  validation {
    condition     = alltrue([for item in values(var.endpoints) : item.concurrency >= 1 && item.concurrency <= 1000 && item.startup_s >= 60 && item.startup_s <= 3600])
    error_message = "concurrency is 1 to 1000, startup_s 60 to 3600."
  }
}

variable "latency_ms" {
  description = "99th percentile of a model's time above which an alarm sounds and an update is taken back, milliseconds."
  type        = number
  default     = 5000
  nullable    = false

  validation {
    condition     = var.latency_ms > 0 && var.latency_ms <= 3600000
    error_message = "latency_ms is above 0 and at most an hour."
  }
}

variable "backlog" {
  description = "Requests waiting at an asynchronous endpoint, or at once at a real-time one, above which an alarm sounds."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.backlog >= 1
    error_message = "backlog is 1 or more."
  }
}

variable "idle_hours" {
  description = "Hours without a request after which an endpoint with standing instances counts as forgotten."
  type        = number
  default     = 6
  nullable    = false
}

variable "stop_idle_endpoints" {
  description = "Whether such an endpoint is deleted by itself, after twice these hours; else it is only told."
  type        = bool
  default     = false
  nullable    = false
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 30
  nullable    = false
}

variable "transform_log_group" {
  description = "Whether the log group of Batch Transform jobs, /aws/sagemaker/TransformJobs, is made. An account has one: false in a second stack, or where a job has run before."
  type        = bool
  default     = true
  nullable    = false
}

variable "router_discovery" {
  description = "Whether the router may look for endpoints by their tags and ask any that has the tag simcloud:model: then it may list all endpoints of the account and region. Else it knows this stack's by name."
  type        = bool
  default     = false
  nullable    = false
}

variable "inference_routers" {
  description = "AWS inference routers that targets of kind aws_inference_router name: of each, ARNs of all its destinations, endpoints or components, which AWS asks with our router's credentials."
  type        = map(list(string))
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([
      for arn in flatten(values(var.inference_routers)) :
      can(regex("^arn:[a-z-]+:sagemaker:[a-z0-9-]+:[0-9]{12}:(endpoint|inference-component)/[A-Za-z0-9-]+$", arn))
    ])
    error_message = "inference_routers has ARNs of endpoints or inference components, none with a wildcard."
  }

  # A key becomes part of the ARN in a role's policy: "*" would be every router.
  validation {
    condition     = alltrue([for router in keys(var.inference_routers) : can(regex("^[A-Za-z0-9-]+$", router))])
    error_message = "The keys of inference_routers are names: letters, digits, hyphens, no wildcard."
  }
}

variable "alert_emails" {
  description = "Who is told of alarms and of the budget; AWS sends each a link to confirm."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", address))])
    error_message = "alert_emails are e-mail addresses."
  }
}

variable "budget_usd" {
  description = "Budget a month, US dollars: told at 50, 80 and 100 %, and when 100 % are to be expected."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.budget_usd > 0
    error_message = "budget_usd is above 0."
  }
}

variable "budget_this_stack_only" {
  description = "Whether only costs with this stack's project tag count; the tag must be activated for cost allocation first. Else the whole account's do."
  type        = bool
  default     = false
  nullable    = false
}

variable "webapp_principals" {
  description = "ARNs of the roles that a web app runs as; they may take the role which uploads pictures and asks endpoints. Empty: no such role."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.webapp_principals : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/[^*]+$", arn))])
    error_message = "webapp_principals are ARNs of roles, without wildcards."
  }
}

variable "webapp_origins" {
  description = "Origins of web pages that put pictures into the bucket from a browser, by presigned URLs, such as https://app.example.com; empty: none."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for origin in var.webapp_origins : can(regex("^https?://[A-Za-z0-9.-]+(:[0-9]+)?$", origin))])
    error_message = "webapp_origins are scheme, host and perhaps port, without a path and without wildcards."
  }
}

variable "github_repository" {
  description = "owner/name of the GitHub repository whose workflows push images and ask endpoints; empty: no such role."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)?$", var.github_repository))
    error_message = "github_repository is owner/name, without wildcards."
  }
}

variable "github_environment" {
  description = "GitHub environment that such a workflow must run in; its protection rules then guard the account."
  type        = string
  default     = "images"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]+$", var.github_environment))
    error_message = "github_environment is one name."
  }
}

variable "github_provider_arn" {
  description = "ARN of the account's OIDC provider of GitHub, of which an account can have one; empty: it is made."
  type        = string
  default     = ""
  nullable    = false
}

variable "network_enabled" {
  description = "Whether a VPC is made: subnets, routes and the S3 gateway endpoint cost nothing."
  type        = bool
  default     = false
  nullable    = false
}

variable "network_cidr" {
  description = "Addresses of the VPC."
  type        = string
  default     = "10.64.0.0/16"
  nullable    = false
}

variable "zones" {
  description = "Availability zones of the VPC; empty: a and b of the region."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "nat_enabled" {
  description = "Whether nodes reach the internet by a NAT gateway, which bills by the hour and the byte."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.nat_enabled || var.network_enabled
    error_message = "nat_enabled needs network_enabled."
  }
}

variable "interface_endpoints" {
  description = "AWS services with an endpoint in the VPC, such as ecr.api or sagemaker.runtime; each bills by the hour and zone."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.interface_endpoints) == 0 || var.network_enabled
    error_message = "interface_endpoints need network_enabled."
  }
}

variable "cluster_enabled" {
  description = "Whether an EKS cluster is made, with a small node group and what Karpenter needs; bills by the hour."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.cluster_enabled || (var.network_enabled && (var.nat_enabled || length(var.interface_endpoints) > 0))
    error_message = "cluster_enabled needs network_enabled, and a way out for its nodes: nat_enabled, or interface_endpoints of all that they ask."
  }
}

variable "cluster_version" {
  description = "Kubernetes of the cluster; deploy/k8s needs 1.31 or newer."
  type        = string
  default     = "1.34"
  nullable    = false

  validation {
    condition     = can(regex("^1\\.(3[1-9]|[4-9][0-9])$", var.cluster_version))
    error_message = "cluster_version is 1.31 or newer."
  }
}

variable "cluster_admins" {
  description = "ARNs of roles that administer the cluster."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "cluster_public_cidrs" {
  description = "Addresses from which the cluster's API is reached over the internet; empty: only from the VPC."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.cluster_public_cidrs : can(cidrhost(cidr, 0)) && tonumber(split("/", cidr)[1]) >= 8])
    error_message = "cluster_public_cidrs are ranges of /8 or smaller; the whole internet is none."
  }
}

variable "cluster_oidc_issuer" {
  description = "Issuer of a cluster of yours, without https://, for roles by service account (components/irsa); empty: Pod Identity."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^([a-z0-9.-]+(/[A-Za-z0-9._-]+)*)?$", var.cluster_oidc_issuer))
    error_message = "cluster_oidc_issuer is host/path without https://."
  }
}

variable "system_nodes" {
  description = "Nodes that carry Karpenter and the services: instance type, and how many at least and most."
  type = object({
    instance_type = optional(string, "m6i.xlarge")
    min           = optional(number, 2)
    max           = optional(number, 4)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.system_nodes.min >= 1 && var.system_nodes.max >= var.system_nodes.min
    error_message = "system_nodes.min is 1 or more, max not below it."
  }
}

variable "namespace" {
  description = "Kubernetes namespace of the services, as in deploy/k8s."
  type        = string
  default     = "simcloud"
  nullable    = false
}
