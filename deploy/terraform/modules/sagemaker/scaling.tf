# Instances of real-time and asynchronous endpoints.
resource "aws_appautoscaling_target" "variant" {
  for_each = local.instance

  service_namespace  = "sagemaker"
  scalable_dimension = "sagemaker:variant:DesiredInstanceCount"
  resource_id        = "endpoint/${aws_sagemaker_endpoint.endpoint[each.key].name}/variant/${local.variant}"
  min_capacity       = each.value.instances_min
  max_capacity       = each.value.instances_max
}

resource "aws_appautoscaling_policy" "variant" {
  for_each = local.instance

  name               = "simcloud-load"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.variant[each.key].service_namespace
  scalable_dimension = aws_appautoscaling_target.variant[each.key].scalable_dimension
  resource_id        = aws_appautoscaling_target.variant[each.key].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = each.value.concurrency
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    # Every ten seconds, and it counts what waits in the container: a minute sooner than invocations.
    dynamic "predefined_metric_specification" {
      for_each = each.value.mode == "real-time" ? [1] : []

      content {
        predefined_metric_type = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
      }
    }

    dynamic "customized_metric_specification" {
      for_each = each.value.mode == "async" ? [1] : []

      content {
        namespace   = "AWS/SageMaker"
        metric_name = "ApproximateBacklogSizePerInstance"
        statistic   = "Average"

        dimensions {
          name  = "EndpointName"
          value = each.value.endpoint
        }
      }
    }
  }
}

# From zero there is no backlog per instance: the first instance of an asynchronous endpoint comes by
# this alarm.
resource "aws_appautoscaling_policy" "async_wake" {
  for_each = { for key, item in local.instance : key => item if item.mode == "async" && item.instances_min == 0 }

  name               = "simcloud-wake"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.variant[each.key].service_namespace
  scalable_dimension = aws_appautoscaling_target.variant[each.key].scalable_dimension
  resource_id        = aws_appautoscaling_target.variant[each.key].resource_id

  step_scaling_policy_configuration {
    adjustment_type         = "ChangeInCapacity"
    metric_aggregation_type = "Average"
    cooldown                = 300

    step_adjustment {
      metric_interval_lower_bound = 0
      scaling_adjustment          = 1
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "async_wake" {
  for_each = aws_appautoscaling_policy.async_wake

  alarm_name          = "${local.classic[each.key].endpoint}-wake"
  alarm_description   = "Requests wait and no instance is up: one is started. No cause for alarm."
  namespace           = "AWS/SageMaker"
  metric_name         = "HasBacklogWithoutCapacity"
  dimensions          = { EndpointName = local.classic[each.key].endpoint }
  statistic           = "Average"
  period              = 60
  evaluation_periods  = 2
  datapoints_to_alarm = 2
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "missing"
  alarm_actions       = [each.value.arn]
}
