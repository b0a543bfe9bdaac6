"""What Application Auto Scaling is asked: pure. The policies are those of the Terraform modules.

A scalable target is a variant's instances or a component's copies. Its policy follows what is at
the model at once, every ten seconds; from nothing at all that follows nothing, so that the first
copy comes by an alarm on requests that found none ("Scale an endpoint to zero instances" of
SageMaker's guide), and the first instance of an asynchronous endpoint by one on its queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simcloud_cli.endpoints.aws import Request
from simcloud_cli.endpoints.describe import Endpoint

LOAD_POLICY = "simcloud-load"
WAKE_POLICY = "simcloud-wake"
_SERVICE = "application-autoscaling"
_OUT_COOLDOWN_S = 60
_IN_COOLDOWN_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalable:
    """What is scaled: the instances of a variant, or the copies of a component."""

    endpoint: str
    kind: str
    """The endpoint's: ``realtime``, ``async`` or ``component``."""
    resource_id: str
    name: str
    """Of the variant or component."""
    current: int
    """Instances or copies there are."""
    desired: int

    @property
    def dimension(self) -> str:
        """ScalableDimension."""
        if self.kind == "component":
            return "sagemaker:inference-component:DesiredCopyCount"
        return "sagemaker:variant:DesiredInstanceCount"

    @property
    def unit(self) -> str:
        """What there is a number of."""
        return "copies" if self.kind == "component" else "instances"

    @property
    def alarm(self) -> str:
        """Name of the alarm that starts the first one."""
        return f"{self.name if self.kind == 'component' else self.endpoint}-wake"

    def wakes(self, actions: Sequence[str]) -> bool:
        """Whether an alarm with these actions is the one that starts the first one."""
        # "...:scalingPolicy:<id>:resource/<namespace>/<resource>:policyName/<name>", as the API
        # reference's examples have it; it stays in the alarm when the policy is gone.
        ours = f"/{self.resource_id}:policyName/{WAKE_POLICY}"
        return any(action.endswith(ours) for action in actions)


def scalables(endpoint: Endpoint) -> tuple[Scalable, ...]:
    """What of an endpoint Application Auto Scaling can change; nothing of a serverless one."""
    if endpoint.kind == "serverless":
        return ()
    if endpoint.kind == "component":
        return tuple(
            Scalable(
                endpoint=endpoint.name,
                kind="component",
                resource_id=f"inference-component/{item.name}",
                name=item.name,
                current=item.current_copies,
                desired=item.desired_copies,
            )
            for item in endpoint.components
        )
    return tuple(
        Scalable(
            endpoint=endpoint.name,
            kind=endpoint.kind,
            resource_id=f"endpoint/{endpoint.name}/{item.resource}",
            name=item.name,
            current=item.current_instances or 0,
            desired=item.desired_instances or 0,
        )
        for item in endpoint.variants
    )


def register_request(scalable: Scalable, *, least: int, most: int) -> Request:
    """RegisterScalableTarget: what is there goes within the limits at once."""
    return _of("RegisterScalableTarget", scalable, {"MinCapacity": least, "MaxCapacity": most})


def deregister_request(scalable: Scalable) -> Request:
    """DeregisterScalableTarget: its policies and scheduled actions go with it."""
    return _of("DeregisterScalableTarget", scalable, {})


def load_policy_request(scalable: Scalable, *, target: float) -> Request:
    """PutScalingPolicy that follows the load.

    Args:
        scalable: what is scaled.
        target: requests at once, or waiting ones, per instance or copy.
    """
    tracking: dict[str, object] = {
        "TargetValue": target,
        "ScaleOutCooldown": _OUT_COOLDOWN_S,
        "ScaleInCooldown": _IN_COOLDOWN_S,
    }
    if scalable.kind == "async":
        tracking["CustomizedMetricSpecification"] = {
            "Namespace": "AWS/SageMaker",
            "MetricName": "ApproximateBacklogSizePerInstance",
            "Dimensions": [{"Name": "EndpointName", "Value": scalable.endpoint}],
            "Statistic": "Average",
        }
    else:
        # Each ten seconds, and with what waits in the container: a minute sooner than invocations.
        metric = (
            "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"
            if scalable.kind == "component"
            else "SageMakerVariantConcurrentRequestsPerModelHighResolution"
        )
        tracking["PredefinedMetricSpecification"] = {"PredefinedMetricType": metric}
    return _of(
        "PutScalingPolicy",
        scalable,
        {
            "PolicyName": LOAD_POLICY,
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": tracking,
        },
    )


def wake_policy_request(scalable: Scalable) -> Request:
    """PutScalingPolicy that starts the first one, when its alarm says so."""
    component = scalable.kind == "component"
    return _of(
        "PutScalingPolicy",
        scalable,
        {
            "PolicyName": WAKE_POLICY,
            "PolicyType": "StepScaling",
            "StepScalingPolicyConfiguration": {
                "AdjustmentType": "ChangeInCapacity",
                "MetricAggregationType": "Maximum" if component else "Average",
                "Cooldown": _OUT_COOLDOWN_S if component else _IN_COOLDOWN_S,
                "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
            },
        },
    )


def wake_alarm_request(scalable: Scalable, policy_arn: str) -> Request:
    """PutMetricAlarm of the wake policy."""
    component = scalable.kind == "component"
    dimension = "InferenceComponentName" if component else "EndpointName"
    return Request(
        service="cloudwatch",
        operation="PutMetricAlarm",
        parameters={
            "AlarmName": scalable.alarm,
            "AlarmDescription": "A request came and nothing is up: one is started. No cause for "
            "alarm.",
            "Namespace": "AWS/SageMaker",
            "MetricName": (
                "NoCapacityInvocationFailures" if component else "HasBacklogWithoutCapacity"
            ),
            "Dimensions": [
                {
                    "Name": dimension,
                    "Value": scalable.name if component else scalable.endpoint,
                }
            ],
            "Statistic": "Maximum" if component else "Average",
            "Period": 30 if component else 60,
            "EvaluationPeriods": 1 if component else 2,
            "DatapointsToAlarm": 1 if component else 2,
            "Threshold": 1.0,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "TreatMissingData": "missing",
            "AlarmActions": [policy_arn],
        },
        resource=f"alarm:{scalable.alarm}",
    )


def count_request(scalable: Scalable, count: int) -> Request:
    """Sets the number of instances or copies, as it is from now on."""
    if scalable.kind == "component":
        return Request(
            service="sagemaker",
            operation="UpdateInferenceComponentRuntimeConfig",
            parameters={
                "InferenceComponentName": scalable.name,
                "DesiredRuntimeConfig": {"CopyCount": count},
            },
            resource=f"inference-component/{scalable.name}",
        )
    return Request(
        service="sagemaker",
        operation="UpdateEndpointWeightsAndCapacities",
        parameters={
            "EndpointName": scalable.endpoint,
            "DesiredWeightsAndCapacities": [
                {"VariantName": scalable.name, "DesiredInstanceCount": count}
            ],
        },
        resource=f"endpoint/{scalable.endpoint}",
    )


def serverless_request(endpoint: str, variant: str, concurrency: int) -> Request:
    """Sets the most requests at once of a serverless endpoint."""
    return Request(
        service="sagemaker",
        operation="UpdateEndpointWeightsAndCapacities",
        parameters={
            "EndpointName": endpoint,
            "DesiredWeightsAndCapacities": [
                {
                    "VariantName": variant,
                    "ServerlessUpdateConfig": {"MaxConcurrency": concurrency},
                }
            ],
        },
        resource=f"endpoint/{endpoint}",
    )


def targets_request(resource_ids: list[str]) -> Request:
    """DescribeScalableTargets."""
    return Request(
        service=_SERVICE,
        operation="DescribeScalableTargets",
        parameters={"ServiceNamespace": "sagemaker", "ResourceIds": resource_ids},
    )


def policies_request(resource_id: str) -> Request:
    """DescribeScalingPolicies."""
    return Request(
        service=_SERVICE,
        operation="DescribeScalingPolicies",
        parameters={"ServiceNamespace": "sagemaker", "ResourceId": resource_id},
    )


def actions_request(resource_id: str) -> Request:
    """DescribeScheduledActions."""
    return Request(
        service=_SERVICE,
        operation="DescribeScheduledActions",
        parameters={"ServiceNamespace": "sagemaker", "ResourceId": resource_id},
    )


def action_request(
    scalable: Scalable, name: str, *, schedule: str, timezone: str, least: int, most: int
) -> Request:
    """PutScheduledAction: at these times the number goes within these limits."""
    return _of(
        "PutScheduledAction",
        scalable,
        {
            "ScheduledActionName": name,
            "Schedule": schedule,
            "Timezone": timezone,
            "ScalableTargetAction": {"MinCapacity": least, "MaxCapacity": most},
        },
    )


def delete_action_request(scalable: Scalable, name: str) -> Request:
    """DeleteScheduledAction."""
    return _of("DeleteScheduledAction", scalable, {"ScheduledActionName": name})


def _of(operation: str, scalable: Scalable, parameters: dict[str, object]) -> Request:
    return Request(
        service=_SERVICE,
        operation=operation,
        parameters={
            "ServiceNamespace": "sagemaker",
            "ResourceId": scalable.resource_id,
            "ScalableDimension": scalable.dimension,
            **parameters,
        },
    )
