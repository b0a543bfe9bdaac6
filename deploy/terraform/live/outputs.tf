output "bucket" {
  description = "Bucket of runs."
  value       = module.storage.bucket
}

output "region" {
  description = "Region of everything."
  value       = var.region
}

output "cli_environment" {
  description = "Variables that make a context of the command line (`simcloud --help`)."
  value = {
    SIMCLOUD_CONTEXT_BUCKET     = var.bucket
    SIMCLOUD_CONTEXT_PREFIX     = var.prefixes.runs
    SIMCLOUD_CONTEXT_S3__REGION = var.region
  }
}

output "service_environment" {
  description = "Variables of each service, for configMapGenerator with behavior: merge in deploy/k8s/overlays/eks."
  value = {
    uploader = {
      SIMCLOUD_UPLOADER_S3__REGION                = var.region
      SIMCLOUD_UPLOADER_S3__EXPECTED_BUCKET_OWNER = var.account_id
    }
    generator = {
      SIMCLOUD_GENERATOR_S3__REGION                = var.region
      SIMCLOUD_GENERATOR_S3__EXPECTED_BUCKET_OWNER = var.account_id
    }
    inference-router = {
      SIMCLOUD_INFERENCE_ROUTER_REGION                    = var.region
      SIMCLOUD_INFERENCE_ROUTER_S3__REGION                = var.region
      SIMCLOUD_INFERENCE_ROUTER_S3__EXPECTED_BUCKET_OWNER = var.account_id
      SIMCLOUD_INFERENCE_ROUTER_ALLOWED_BUCKETS           = jsonencode(["${var.bucket}/${var.prefixes.runs}", "${var.bucket}/${var.prefixes.uploads}"])
    }
  }
}

output "router_targets" {
  description = "Targets for the router's catalogue, by key of var.endpoints."
  value = {
    for key, item in local.named : key => {
      for field, value in {
        name          = item.endpoint
        kind          = item.mode == "async" ? "sagemaker_async" : item.mode == "serverless" ? "sagemaker_serverless" : "sagemaker"
        endpoint      = item.endpoint
        region        = var.region
        component     = item.component
        input_prefix  = item.mode == "async" ? "${var.bucket}/${var.prefixes.async_input}" : ""
        output_prefix = item.mode == "async" ? "${var.bucket}/${var.prefixes.async_output}/${key}" : ""
      } : field => value if value != ""
    }
  }
}

output "endpoints" {
  description = "Names of the endpoints, by key of var.endpoints."
  value       = module.sagemaker.endpoints
}

output "repository_urls" {
  description = "Where each image is pushed to: newName of deploy/k8s/overlays/eks."
  value       = module.registry.repository_urls
}

output "role_arns" {
  description = "Roles by what they are for: uploader, generator, run, inference-router, sagemaker, batch-execution, and webapp and github if asked for."
  value       = module.identity.role_arns
}

output "alert_topic_arn" {
  description = "SNS topic that alarms and the budget tell."
  value       = module.observability.alert_topic_arn
}

output "async_topic_arns" {
  description = "SNS topics of asynchronous answers and failures; empty without an asynchronous endpoint."
  value       = module.observability.async_topic_arns
}

output "log_groups" {
  description = "Log groups by key."
  value       = module.observability.log_groups
}

output "dashboard" {
  description = "Name of the CloudWatch dashboard; empty without an endpoint."
  value       = module.observability.dashboard
}

output "cluster" {
  description = "Name, API address, nodes' role and interruption queue of the cluster; null without one."
  value       = one(module.cluster)
}
