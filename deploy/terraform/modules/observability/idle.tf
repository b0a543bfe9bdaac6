# Deletes an endpoint that nobody has asked for hours, if that is wanted; `terraform apply` makes it
# again. An alarm is in ALARM from its first minute on (no number is breaching), so the machine waits as
# many hours itself and asks again before it deletes.
locals {
  stopped   = { for key, item in local.standing : key => item if var.stop_idle_endpoints && item.mode != "component" }
  stops     = length(local.stopped) > 0 ? 1 : 0
  machine   = "arn:${var.partition}:states:${var.region}:${var.account_id}:stateMachine:${var.name}-stop-idle"
  sagemaker = "arn:${var.partition}:sagemaker:${var.region}:${var.account_id}"
  alarms    = "arn:${var.partition}:cloudwatch:${var.region}:${var.account_id}:alarm"
}

resource "aws_iam_role" "stop_idle" {
  count = local.stops

  name        = "${var.name}-stop-idle"
  description = "Simcloud: deletes endpoints that nobody asks"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = ["sts:AssumeRole"]
      Principal = { Service = "states.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "stop_idle" {
  count = local.stops

  name = "simcloud"
  role = aws_iam_role.stop_idle[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = ["sagemaker:DeleteEndpoint"], Resource = [for item in local.stopped : "${local.sagemaker}:endpoint/${item.endpoint}"] },
      { Effect = "Allow", Action = ["cloudwatch:DescribeAlarms"], Resource = [for item in local.stopped : "${local.alarms}:${item.endpoint}-idle"] },
    ]
  })
}

resource "aws_sfn_state_machine" "stop_idle" {
  count = local.stops

  name     = "${var.name}-stop-idle"
  role_arn = aws_iam_role.stop_idle[0].arn
  definition = jsonencode({
    # The role's ARN is known once it is there. A definition that is known sooner is sent to Step Functions
    # for checking by each plan, and a plan is to need nothing but what it reads.
    Comment = "Runs as ${aws_iam_role.stop_idle[0].arn}"
    StartAt = "Wait"
    States = {
      Wait = { Type = "Wait", Seconds = var.idle_hours * 3600, Next = "StillIdle" }
      StillIdle = {
        Type       = "Task"
        Resource   = "arn:${var.partition}:states:::aws-sdk:cloudwatch:describeAlarms"
        Parameters = { "AlarmNames.$" = "States.Array($.detail.alarmName)" }
        ResultPath = "$.now"
        Next       = "Decide"
      }
      Decide = {
        Type    = "Choice"
        Choices = [{ Variable = "$.now.MetricAlarms[0].StateValue", StringEquals = "ALARM", Next = "Delete" }]
        Default = "InUse"
      }
      Delete = {
        Type       = "Task"
        Resource   = "arn:${var.partition}:states:::aws-sdk:sagemaker:deleteEndpoint"
        Parameters = { "EndpointName.$" = "$.detail.configuration.metrics[0].metricStat.metric.dimensions.EndpointName" }
        End        = true
      }
      InUse = { Type = "Succeed" }
    }
  })

  depends_on = [aws_iam_role_policy.stop_idle]
}

resource "aws_cloudwatch_event_rule" "stop_idle" {
  count = local.stops

  name        = "${var.name}-stop-idle"
  description = "An endpoint's idle alarm sounds"
  event_pattern = jsonencode({
    source        = ["aws.cloudwatch"]
    "detail-type" = ["CloudWatch Alarm State Change"]
    detail = {
      alarmName = [for item in local.stopped : "${item.endpoint}-idle"]
      state     = { value = ["ALARM"] }
    }
  })
}

resource "aws_iam_role" "start_stop_idle" {
  count = local.stops

  name        = "${var.name}-stop-idle-start"
  description = "Simcloud: starts the machine that deletes idle endpoints"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = ["sts:AssumeRole"]
      Principal = { Service = "events.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "start_stop_idle" {
  count = local.stops

  name = "simcloud"
  role = aws_iam_role.start_stop_idle[0].id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = ["states:StartExecution"], Resource = [local.machine] }]
  })
}

resource "aws_cloudwatch_event_target" "stop_idle" {
  count = local.stops

  rule     = aws_cloudwatch_event_rule.stop_idle[0].name
  arn      = aws_sfn_state_machine.stop_idle[0].arn
  role_arn = aws_iam_role.start_stop_idle[0].arn
}
