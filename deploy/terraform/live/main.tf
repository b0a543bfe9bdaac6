locals {
  deploy = "${path.module}/../.."
  images = toset([
    "simcloud-cli",
    "simcloud-generator",
    "simcloud-generator-isaac",
    "simcloud-inference-router",
    "simcloud-model-container",
    "simcloud-uploader",
  ])
  zones = length(var.zones) > 0 ? var.zones : ["${var.region}a", "${var.region}b"]

  named = {
    for key, item in var.endpoints : key => merge(item, {
      endpoint      = "${var.name}-${key}"
      component     = item.mode == "component" ? "${var.name}-${key}" : ""
      model_data    = trimprefix(item.model_data_url, "s3://")
      instances_min = item.mode == "serverless" ? 0 : item.instances_min
    })
  }

  log_groups = merge(
    {
      services = "/${var.name}/services"
      batch    = "/${var.name}/batch"
    },
    # SageMaker would make it at the first line, and keep it for ever.
    { for key, item in local.named : "endpoint-${key}" => "/aws/sagemaker/Endpoints/${item.endpoint}" },
    { for key in ["transform-jobs"] : key => local.transform_log_group if var.transform_log_group },
    { for key in ["cluster"] : key => "/aws/eks/${var.name}/cluster" if var.cluster_enabled },
  )
  # SageMaker's name for it, the same in every stack of the account.
  transform_log_group = "/aws/sagemaker/TransformJobs"
  topics              = "arn:${var.partition}:sns:${var.region}:${var.account_id}"
}

module "identity" {
  source = "../modules/identity"

  name                = var.name
  account_id          = var.account_id
  partition           = var.partition
  region              = var.region
  bucket              = var.bucket
  prefixes            = var.prefixes
  images              = local.images
  endpoints           = local.named
  kms                 = var.kms != "none"
  kms_key_arn         = var.kms == "create" ? module.storage.kms_key_arn : var.kms_key_arn
  cluster_name        = var.name
  namespace           = var.namespace
  oidc_issuer         = var.cluster_oidc_issuer
  webapp_principals   = var.webapp_principals
  github_repository   = var.github_repository
  github_environment  = var.github_environment
  github_provider_arn = var.github_provider_arn
  log_group_prefix    = "/${var.name}"
  transform_log_group = local.transform_log_group
  router_discovery    = var.router_discovery
  inference_routers   = var.inference_routers
}

module "storage" {
  source = "../modules/storage"

  bucket         = var.bucket
  account_id     = var.account_id
  partition      = var.partition
  role_prefix    = var.name
  writer_ids     = [for role in ["uploader", "run"] : module.identity.role_ids[role]]
  policy_file    = "${local.deploy}/s3/bucket-policy.json"
  lifecycle_file = "${local.deploy}/s3/lifecycle.json"
  kms            = var.kms
  kms_key_arn    = var.kms_key_arn
  origins        = var.webapp_origins
  expiring_prefixes = {
    (var.prefixes.uploads) = var.uploads_days
    # The router deletes what it has written and read; this is for what a killed one left.
    (var.prefixes.async_input)  = 2
    (var.prefixes.async_output) = 7
  }
}

module "registry" {
  source = "../modules/registry"

  name        = var.name
  images      = local.images
  kept_images = var.kept_images
  kms         = var.kms != "none"
  kms_key_arn = module.storage.kms_key_arn
}

module "observability" {
  source = "../modules/observability"

  name                = var.name
  account_id          = var.account_id
  partition           = var.partition
  region              = var.region
  log_groups          = local.log_groups
  log_retention_days  = var.log_retention_days
  endpoints           = local.named
  latency_ms          = var.latency_ms
  backlog             = var.backlog
  idle_hours          = var.idle_hours
  stop_idle_endpoints = var.stop_idle_endpoints
  alert_emails        = var.alert_emails
  budget_usd          = var.budget_usd
  budget_tag          = var.budget_this_stack_only ? "project$${var.name}" : ""
}

module "sagemaker" {
  source = "../modules/sagemaker"

  role_arn            = module.identity.role_arns["sagemaker"]
  planned_role_arn    = module.identity.planned_role_arns["sagemaker"]
  bucket              = module.storage.bucket
  async_output_prefix = var.prefixes.async_output
  kms_key_arn         = module.storage.kms_key_arn
  endpoints           = { for key, item in local.named : key => merge(item, { rollback_alarms = module.observability.rollback_alarms[key] }) }
  topic_arns = {
    async_done   = module.observability.async_topic_arns["done"]
    async_failed = module.observability.async_topic_arns["failed"]
  }
}

module "network" {
  source = "../modules/network"
  count  = var.network_enabled ? 1 : 0

  name                = var.name
  region              = var.region
  cidr                = var.network_cidr
  zones               = local.zones
  nat_enabled         = var.nat_enabled
  interface_endpoints = var.interface_endpoints
}

module "cluster" {
  source = "../modules/cluster"
  count  = var.cluster_enabled ? 1 : 0

  name          = var.name
  account_id    = var.account_id
  partition     = var.partition
  region        = var.region
  kubernetes    = var.cluster_version
  subnet_ids    = module.network[0].private_subnet_ids
  public_cidrs  = var.cluster_public_cidrs
  admins        = var.cluster_admins
  kms           = var.kms != "none"
  kms_key_arn   = module.storage.kms_key_arn
  log_group     = module.observability.log_groups["cluster"]
  system_nodes  = var.system_nodes
  namespace     = var.namespace
  service_roles = { for service in ["uploader", "generator", "run", "inference-router"] : service => module.identity.role_arns[service] }
}
