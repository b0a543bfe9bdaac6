locals {
  # Name of the metric, statistic, title, and the modes that have it.
  graphs = [
    { metric = "Invocations", stat = "Sum", title = "Requests a minute", modes = ["real-time", "serverless", "component"] },
    { metric = "ApproximateBacklogSize", stat = "Average", title = "Requests that wait", modes = ["async"] },
    { metric = "ModelLatency", stat = "p99", title = "Model, p99, microseconds", modes = ["real-time", "serverless", "async", "component"] },
    { metric = "OverheadLatency", stat = "p99", title = "SageMaker's overhead, p99, microseconds", modes = ["real-time", "serverless"] },
    { metric = "Invocation5XXErrors", stat = "Sum", title = "5xx a minute", modes = ["real-time", "serverless", "async", "component"] },
    { metric = "Invocation4XXErrors", stat = "Sum", title = "4xx a minute, ModelNotReady among them", modes = ["real-time", "serverless", "async", "component"] },
    { metric = "ConcurrentRequestsPerModel", stat = "Maximum", title = "At once", modes = ["real-time"] },
    { metric = "NoCapacityInvocationFailures", stat = "Sum", title = "Found no copy", modes = ["component"] },
  ]
  series = [
    for graph in local.graphs : [
      for key, item in var.endpoints : concat(
        ["AWS/SageMaker", graph.metric],
        flatten([for name, value in(startswith(graph.metric, "Approximate") ? { EndpointName = item.endpoint } : local.dimensions[key]) : [name, value]]),
      ) if contains(graph.modes, item.mode)
    ]
  ]
  shown = [for index, graph in local.graphs : index if length(local.series[index]) > 0]
}

resource "aws_cloudwatch_dashboard" "endpoints" {
  # A dashboard without a widget is refused.
  count = length(var.endpoints) > 0 ? 1 : 0

  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [
      for place, index in local.shown : {
        type   = "metric"
        x      = place % 2 * 12
        y      = floor(place / 2) * 6
        width  = 12
        height = 6
        properties = {
          title   = local.graphs[index].title
          region  = var.region
          view    = "timeSeries"
          period  = 60
          stat    = local.graphs[index].stat
          metrics = local.series[index]
        }
      }
    ]
  })
}
