locals {
  variant = "AllTraffic"
  # Endpoints of components have their numbers by component; the others by variant.
  dimensions = {
    for key, item in var.endpoints : key => item.mode == "component" ? { InferenceComponentName = item.component } : { EndpointName = item.endpoint, VariantName = local.variant }
  }
  # Asynchronous endpoints tell no Invocations and no concurrency, only what their queue does.
  async    = { for key, item in var.endpoints : key => item if item.mode == "async" }
  hosted   = { for key, item in var.endpoints : key => item if item.mode == "real-time" }
  standing = { for key, item in var.endpoints : key => item if item.instances_min > 0 && item.mode != "serverless" }
  scaling  = { for key, item in var.endpoints : key => item if item.mode == "component" }
  alerts   = [aws_sns_topic.alerts.arn]
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  for_each = var.endpoints

  alarm_name          = "${each.value.endpoint}-5xx"
  alarm_description   = "${each.value.endpoint} answers with 5xx: see ModelError in docs/deploy/troubleshooting.md"
  namespace           = "AWS/SageMaker"
  metric_name         = "Invocation5XXErrors"
  dimensions          = local.dimensions[each.key]
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 3
  datapoints_to_alarm = 2
  threshold           = 5
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alerts
  ok_actions          = local.alerts
}

resource "aws_cloudwatch_metric_alarm" "latency" {
  for_each = var.endpoints

  alarm_name          = "${each.value.endpoint}-latency"
  alarm_description   = "The model of ${each.value.endpoint} is slow: p99 above ${var.latency_ms} ms"
  namespace           = "AWS/SageMaker"
  metric_name         = "ModelLatency"
  dimensions          = local.dimensions[each.key]
  extended_statistic  = "p99"
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  # The metric is in microseconds.
  threshold           = var.latency_ms * 1000
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alerts
  ok_actions          = local.alerts
}

# ModelNotReadyException is a 429: SageMaker counts it here, among others, and nowhere by itself.
resource "aws_cloudwatch_metric_alarm" "not_ready" {
  for_each = var.endpoints

  alarm_name          = "${each.value.endpoint}-not-ready"
  alarm_description   = "${each.value.endpoint} refuses requests (4xx): ModelNotReadyException while it loads, or requests that it can't read"
  namespace           = "AWS/SageMaker"
  metric_name         = "Invocation4XXErrors"
  dimensions          = local.dimensions[each.key]
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 2
  threshold           = 10
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alerts
  ok_actions          = local.alerts
}

resource "aws_cloudwatch_event_rule" "broken" {
  count = length(var.endpoints) > 0 ? 1 : 0

  name        = "${var.name}-endpoint-broken"
  description = "An endpoint could not be made, changed or changed back"
  event_pattern = jsonencode({
    source        = ["aws.sagemaker"]
    "detail-type" = ["SageMaker Endpoint State Change"]
    detail = {
      EndpointName   = [for item in var.endpoints : item.endpoint]
      EndpointStatus = ["FAILED", "OUT_OF_SERVICE", "UPDATE_ROLLBACK_FAILED"]
    }
  })
}

resource "aws_cloudwatch_event_target" "broken" {
  count = length(var.endpoints) > 0 ? 1 : 0

  rule = aws_cloudwatch_event_rule.broken[0].name
  arn  = aws_sns_topic.alerts.arn
}

resource "aws_cloudwatch_metric_alarm" "no_capacity" {
  for_each = local.scaling

  alarm_name          = "${each.value.endpoint}-no-capacity"
  alarm_description   = "${each.value.endpoint} has had no copy up for a quarter of an hour while requests came: it does not start"
  namespace           = "AWS/SageMaker"
  metric_name         = "NoCapacityInvocationFailures"
  dimensions          = { InferenceComponentName = each.value.component }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 3
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alerts
  ok_actions          = local.alerts
}

resource "aws_cloudwatch_metric_alarm" "queue" {
  for_each = local.async

  alarm_name          = "${each.value.endpoint}-queue"
  alarm_description   = "More than ${var.backlog} requests wait at ${each.value.endpoint}: it does not keep up"
  namespace           = "AWS/SageMaker"
  metric_name         = "ApproximateBacklogSize"
  dimensions          = { EndpointName = each.value.endpoint }
  statistic           = "Average"
  period              = 60
  evaluation_periods  = 5
  threshold           = var.backlog
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alerts
  ok_actions          = local.alerts
}

resource "aws_cloudwatch_metric_alarm" "concurrency" {
  for_each = local.hosted

  alarm_name          = "${each.value.endpoint}-queue"
  alarm_description   = "More than ${var.backlog} requests are at ${each.value.endpoint} at once: it is at its largest and they wait in the containers"
  namespace           = "AWS/SageMaker"
  metric_name         = "ConcurrentRequestsPerModel"
  dimensions          = local.dimensions[each.key]
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 5
  threshold           = var.backlog
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alerts
  ok_actions          = local.alerts
}

# An instance that nobody asks costs as much as a busy one. Endpoints that have none then are left alone.
resource "aws_cloudwatch_metric_alarm" "idle" {
  for_each = local.standing

  alarm_name        = "${each.value.endpoint}-idle"
  alarm_description = "No request at ${each.value.endpoint} for ${var.idle_hours} hours: stop it (docs/deploy/cost.md)"
  namespace         = "AWS/SageMaker"
  # Asynchronous endpoints tell no Invocations, but each request has its latency.
  metric_name         = each.value.mode == "async" ? "ModelLatency" : "Invocations"
  dimensions          = local.dimensions[each.key]
  statistic           = each.value.mode == "async" ? "SampleCount" : "Sum"
  period              = 3600
  evaluation_periods  = var.idle_hours
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  # No number at all is what an endpoint without requests tells.
  treat_missing_data = "breaching"
  alarm_actions      = local.alerts
}
