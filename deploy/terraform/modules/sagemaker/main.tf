locals {
  variant    = "AllTraffic"
  components = { for key, item in var.endpoints : key => item if item.mode == "component" }
  # Components have endpoints of another form, which this provider can't make: components.tf.
  classic  = { for key, item in var.endpoints : key => item if item.mode != "component" }
  instance = { for key, item in local.classic : key => item if item.mode != "serverless" }

  # A model and a configuration can't be changed, only replaced: their names say what is in them, so that
  # the new one is there before the old one goes.
  model_names = {
    for key, item in var.endpoints :
    key => "${item.endpoint}-${substr(sha256(jsonencode([item.image, item.model_data_url, item.environment])), 0, 8)}"
  }
}

resource "aws_sagemaker_model" "model" {
  for_each = var.endpoints

  name               = local.model_names[each.key]
  execution_role_arn = var.role_arn
  # SageMaker brings requests and model data to the container, which so needs no network. Serverless
  # endpoints don't know isolation; those of components have it in their configuration.
  enable_network_isolation = contains(["real-time", "async"], each.value.mode)

  primary_container {
    image          = each.value.image
    model_data_url = each.value.model_data_url == "" ? null : each.value.model_data_url
    environment    = each.value.environment
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_sagemaker_endpoint_configuration" "endpoint" {
  for_each = local.classic

  name_prefix = "${substr(each.value.endpoint, 0, 36)}-"

  production_variants {
    variant_name                                      = local.variant
    model_name                                        = aws_sagemaker_model.model[each.key].name
    initial_variant_weight                            = 1
    instance_type                                     = each.value.mode == "serverless" ? null : each.value.instance_type
    initial_instance_count                            = each.value.mode == "serverless" ? null : max(1, each.value.instances_min)
    container_startup_health_check_timeout_in_seconds = each.value.mode == "serverless" ? null : each.value.startup_s
    model_data_download_timeout_in_seconds            = each.value.mode == "serverless" ? null : each.value.startup_s

    dynamic "serverless_config" {
      for_each = each.value.mode == "serverless" ? [each.value] : []

      content {
        memory_size_in_mb = serverless_config.value.serverless_memory_mb
        max_concurrency   = serverless_config.value.serverless_concurrency
      }
    }

    dynamic "routing_config" {
      for_each = each.value.mode == "real-time" ? [1] : []

      content {
        # By default SageMaker picks an instance by chance.
        routing_strategy = "LEAST_OUTSTANDING_REQUESTS"
      }
    }
  }

  dynamic "async_inference_config" {
    for_each = each.value.mode == "async" ? [each.value] : []

    content {
      client_config {
        max_concurrent_invocations_per_instance = async_inference_config.value.concurrency
      }

      output_config {
        s3_output_path  = "s3://${var.bucket}/${var.async_output_prefix}/${each.key}"
        s3_failure_path = "s3://${var.bucket}/${var.async_output_prefix}/${each.key}/failed"
        kms_key_id      = var.kms_key_arn == "" ? null : var.kms_key_arn

        notification_config {
          success_topic = var.topic_arns.async_done
          error_topic   = var.topic_arns.async_failed
        }
      }
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_sagemaker_endpoint" "endpoint" {
  for_each = local.classic

  name                 = each.value.endpoint
  endpoint_config_name = aws_sagemaker_endpoint_configuration.endpoint[each.key].name

  # The new fleet takes a tenth of the traffic first; an alarm within ten minutes brings the old one back.
  # Serverless endpoints have no such choice.
  dynamic "deployment_config" {
    for_each = each.value.mode == "real-time" ? [each.value] : []

    content {
      blue_green_update_policy {
        termination_wait_in_seconds = 600

        traffic_routing_configuration {
          type                     = "CANARY"
          wait_interval_in_seconds = 600

          canary_size {
            type  = "CAPACITY_PERCENT"
            value = 10
          }
        }
      }

      auto_rollback_configuration {
        dynamic "alarms" {
          for_each = deployment_config.value.rollback_alarms

          content {
            alarm_name = alarms.value
          }
        }
      }
    }
  }
}
