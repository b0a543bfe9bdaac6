# ARNs are put together from names, not taken from resources: so a plan shows every policy in full
# before anything is there, and tests read it.
locals {
  iam       = "arn:${var.partition}:iam::${var.account_id}"
  s3        = "arn:${var.partition}:s3:::${var.bucket}"
  logs      = "arn:${var.partition}:logs:${var.region}:${var.account_id}:log-group"
  sagemaker = "arn:${var.partition}:sagemaker:${var.region}:${var.account_id}"
  topics    = "arn:${var.partition}:sns:${var.region}:${var.account_id}"

  objects      = { for key, prefix in var.prefixes : key => "${local.s3}/${prefix}/*" }
  repositories = { for image in var.images : image => "arn:${var.partition}:ecr:${var.region}:${var.account_id}:repository/${var.name}/${image}" }

  endpoints  = { for key, item in var.endpoints : key => "${local.sagemaker}:endpoint/${item.endpoint}" }
  components = { for key, item in var.endpoints : key => "${local.sagemaker}:inference-component/${item.component}" if item.component != "" }
  async      = { for key, item in var.endpoints : key => item if item.mode == "async" }
  # Asynchronous requests have an action of their own.
  invoked = concat(
    [for key, item in var.endpoints : local.endpoints[key] if item.mode != "async"],
    values(local.components),
  )
  # AWS's own routers, and where they send requests: to other regions and accounts too.
  inference_routers = [for router in keys(var.inference_routers) : "${local.sagemaker}:inference-router/${router}"]
  destinations      = distinct(flatten(values(var.inference_routers)))
  invoked_async     = [for key, item in local.async : local.endpoints[key]]
}
