# Inference components, which scale to no instance at all. The provider knows no inference component and
# no endpoint configuration without a model, so CloudFormation makes these three.
resource "aws_cloudformation_stack" "component" {
  for_each = local.components

  name               = each.value.endpoint
  on_failure         = "DELETE"
  timeout_in_minutes = 60
  template_body = jsonencode({
    AWSTemplateFormatVersion = "2010-09-09"
    Description              = "Simcloud: endpoint ${each.value.endpoint} and its inference component"
    Resources = {
      Config = {
        Type = "AWS::SageMaker::EndpointConfig"
        # No name: CloudFormation gives each version its own, and takes the old one away at the end.
        Properties = {
          ExecutionRoleArn       = var.planned_role_arn
          EnableNetworkIsolation = true
          ProductionVariants = [{
            VariantName          = local.variant
            InstanceType         = each.value.instance_type
            InitialInstanceCount = 1
            # CreateEndpointConfig can do without; the template's resource wants it.
            InitialVariantWeight                        = 1
            ContainerStartupHealthCheckTimeoutInSeconds = each.value.startup_s
            ManagedInstanceScaling = {
              Status           = "ENABLED"
              MinInstanceCount = each.value.instances_min
              MaxInstanceCount = each.value.instances_max
            }
            RoutingConfig = { RoutingStrategy = "LEAST_OUTSTANDING_REQUESTS" }
          }]
        }
      }
      Endpoint = {
        Type = "AWS::SageMaker::Endpoint"
        Properties = {
          EndpointName       = each.value.endpoint
          EndpointConfigName = { "Fn::GetAtt" = ["Config", "EndpointConfigName"] }
        }
      }
      Component = {
        Type = "AWS::SageMaker::InferenceComponent"
        # GetAtt, and so after the endpoint is in service.
        Properties = {
          InferenceComponentName = each.value.component
          EndpointName           = { "Fn::GetAtt" = ["Endpoint", "EndpointName"] }
          VariantName            = local.variant
          RuntimeConfig          = { CopyCount = 1 }
          Specification = {
            ModelName = aws_sagemaker_model.model[each.key].name
            StartupParameters = {
              ContainerStartupHealthCheckTimeoutInSeconds = each.value.startup_s
              ModelDataDownloadTimeoutInSeconds           = each.value.startup_s
            }
            ComputeResourceRequirements = merge(
              {
                NumberOfCpuCoresRequired = each.value.component_cpus
                MinMemoryRequiredInMb    = each.value.component_memory_mb
              },
              { for key in ["NumberOfAcceleratorDevicesRequired"] : key => each.value.component_accelerators if each.value.component_accelerators > 0 },
            )
          }
        }
      }
    }
  })
}

resource "aws_appautoscaling_target" "component" {
  for_each = local.components

  service_namespace  = "sagemaker"
  scalable_dimension = "sagemaker:inference-component:DesiredCopyCount"
  resource_id        = "inference-component/${each.value.component}"
  min_capacity       = each.value.instances_min
  max_capacity       = each.value.instances_max

  depends_on = [aws_cloudformation_stack.component]
}

resource "aws_appautoscaling_policy" "component" {
  for_each = local.components

  name               = "simcloud-load"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.component[each.key].service_namespace
  scalable_dimension = aws_appautoscaling_target.component[each.key].scalable_dimension
  resource_id        = aws_appautoscaling_target.component[each.key].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = each.value.concurrency
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"
    }
  }
}

# A copy comes back when a request found none: the router lets one through and holds the others
# (docs/concepts/routing.md).
resource "aws_appautoscaling_policy" "component_wake" {
  for_each = { for key, item in local.components : key => item if item.instances_min == 0 }

  name               = "simcloud-wake"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.component[each.key].service_namespace
  scalable_dimension = aws_appautoscaling_target.component[each.key].scalable_dimension
  resource_id        = aws_appautoscaling_target.component[each.key].resource_id

  step_scaling_policy_configuration {
    adjustment_type         = "ChangeInCapacity"
    metric_aggregation_type = "Maximum"
    cooldown                = 60

    step_adjustment {
      metric_interval_lower_bound = 0
      scaling_adjustment          = 1
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "component_wake" {
  for_each = aws_appautoscaling_policy.component_wake

  alarm_name          = "${local.components[each.key].endpoint}-wake"
  alarm_description   = "A request came and no copy is up: one is started. No cause for alarm."
  namespace           = "AWS/SageMaker"
  metric_name         = "NoCapacityInvocationFailures"
  dimensions          = { InferenceComponentName = local.components[each.key].component }
  statistic           = "Maximum"
  period              = 30
  evaluation_periods  = 1
  datapoints_to_alarm = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "missing"
  alarm_actions       = [each.value.arn]
}
