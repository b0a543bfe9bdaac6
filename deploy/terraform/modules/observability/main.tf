locals {
  alert_topic = "arn:${var.partition}:sns:${var.region}:${var.account_id}:${var.name}-alerts"
}

resource "aws_cloudwatch_log_group" "group" {
  for_each = var.log_groups

  name              = each.value
  retention_in_days = var.log_retention_days
}

resource "aws_sns_topic" "alerts" {
  name = "${var.name}-alerts"
}

resource "aws_sns_topic_policy" "alerts" {
  arn = aws_sns_topic.alerts.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { Service = ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"] }
        Action    = ["sns:Publish"]
        Resource  = [local.alert_topic]
        Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
      },
      {
        Effect    = "Allow"
        Principal = { Service = ["events.amazonaws.com"] }
        Action    = ["sns:Publish"]
        Resource  = [local.alert_topic]
        Condition = { ArnEquals = { "aws:SourceArn" = "arn:${var.partition}:events:${var.region}:${var.account_id}:rule/${var.name}-endpoint-broken" } }
      },
    ]
  })
}

resource "aws_sns_topic_subscription" "alerts" {
  for_each = var.alert_emails

  topic_arn = aws_sns_topic.alerts.arn
  protocol  = "email"
  endpoint  = each.key
}

resource "aws_sns_topic" "async" {
  for_each = toset(anytrue([for item in var.endpoints : item.mode == "async"]) ? ["done", "failed"] : [])

  name = "${var.name}-async-${each.key}"
}

resource "aws_budgets_budget" "month" {
  name         = "${var.name}-month"
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.budget_usd)
  limit_unit   = "USD"

  dynamic "cost_filter" {
    for_each = var.budget_tag == "" ? [] : [var.budget_tag]

    content {
      name   = "TagKeyValue"
      values = ["user:${cost_filter.value}"]
    }
  }

  # Half and most of it spent, all of it to come, all of it gone.
  dynamic "notification" {
    for_each = { "50" = "ACTUAL", "80" = "ACTUAL", "100" = "FORECASTED", "101" = "ACTUAL" }

    content {
      comparison_operator        = "GREATER_THAN"
      threshold                  = min(tonumber(notification.key), 100)
      threshold_type             = "PERCENTAGE"
      notification_type          = notification.value
      subscriber_email_addresses = var.alert_emails
      subscriber_sns_topic_arns  = [aws_sns_topic.alerts.arn]
    }
  }

  depends_on = [aws_sns_topic_policy.alerts]
}
