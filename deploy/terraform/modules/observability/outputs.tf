output "alert_topic_arn" {
  description = "Topic that alarms and the budget tell."
  value       = aws_sns_topic.alerts.arn
}

output "async_topic_arns" {
  description = "Topics of asynchronous endpoints; empty without one."
  value       = { for key in ["done", "failed"] : key => try(aws_sns_topic.async[key].arn, "") }
}

output "rollback_alarms" {
  description = "Alarms at which an update of an endpoint is taken back, by key."
  value       = { for key, item in var.endpoints : key => [aws_cloudwatch_metric_alarm.errors[key].alarm_name, aws_cloudwatch_metric_alarm.latency[key].alarm_name] }
}

output "log_groups" {
  description = "Names of the log groups, by key."
  value       = { for key, group in aws_cloudwatch_log_group.group : key => group.name }
}

output "dashboard" {
  description = "Name of the dashboard; empty without an endpoint."
  value       = length(aws_cloudwatch_dashboard.endpoints) > 0 ? aws_cloudwatch_dashboard.endpoints[0].dashboard_name : ""
}
