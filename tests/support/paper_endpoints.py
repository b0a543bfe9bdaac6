"""Endpoints on paper: what SageMaker says of one of each kind, and patience by a test's clock."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from simcloud_cli.endpoints.waiting import Patience
from support.aws_stubs import PaperAws, arn
from support.clock import ManualClock

NAME = "detector"
CONFIG = "detector-0123456789"
CREATED = datetime(2026, 11, 1, tzinfo=UTC)
MODIFIED = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
OURS = [{"Key": "simcloud:endpoint", "Value": NAME}]


class Told:
    """A patience whose sleeps take no time, and what it was told."""

    def __init__(self, *, limit_s: float = 1800.0) -> None:
        self.clock = ManualClock()
        self.lines: list[str] = []
        self.pauses: list[float] = []
        self.patience = Patience(
            limit_s=limit_s, clock=self.clock, sleep=self._sleep, say=self.lines.append
        )

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.advance(seconds)


def shows_no_endpoint(paper: PaperAws) -> None:
    """There is no such endpoint."""
    paper.refuses(
        "sagemaker",
        "DescribeEndpoint",
        "ValidationException",
        'Could not find endpoint "detector".',
    )


def shows_realtime(
    paper: PaperAws,
    *,
    status: str = "InService",
    instances: int = 1,
    desired: int | None = None,
    instance_type: str = "ml.g5.xlarge",
    failure: str = "",
) -> None:
    """SageMaker describes an endpoint of instances, then its configuration."""
    _endpoint(
        paper,
        status=status,
        failure=failure,
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "CurrentInstanceCount": instances,
                "DesiredInstanceCount": instances if desired is None else desired,
                "CurrentWeight": 1.0,
                "DesiredWeight": 1.0,
            }
        ],
    )
    _config(
        paper,
        [
            {
                "VariantName": "AllTraffic",
                "ModelName": "detector-model",
                "InstanceType": instance_type,
                "InitialInstanceCount": 1,
            }
        ],
    )


def shows_serverless(paper: PaperAws, *, concurrency: int = 4, provisioned: int = 0) -> None:
    """SageMaker describes a serverless endpoint, then its configuration."""
    config: dict[str, Any] = {"MemorySizeInMB": 2048, "MaxConcurrency": concurrency}
    if provisioned:
        config["ProvisionedConcurrency"] = provisioned
    _endpoint(
        paper,
        ProductionVariants=[{"VariantName": "AllTraffic", "CurrentServerlessConfig": config}],
    )
    _config(
        paper,
        [
            {
                "VariantName": "AllTraffic",
                "ModelName": "detector-model",
                "ServerlessConfig": config,
            }
        ],
    )


def shows_async(paper: PaperAws, *, instances: int = 1, status: str = "InService") -> None:
    """SageMaker describes an asynchronous endpoint, then its configuration."""
    _endpoint(
        paper,
        status=status,
        AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": "s3://pictures/async/out"}},
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "CurrentInstanceCount": instances,
                "DesiredInstanceCount": instances,
            }
        ],
    )
    _config(
        paper,
        [
            {
                "VariantName": "AllTraffic",
                "ModelName": "detector-model",
                "InstanceType": "ml.g5.xlarge",
            }
        ],
    )


def shows_component(
    paper: PaperAws,
    *,
    copies: int = 1,
    desired: int | None = None,
    instances: int = 1,
    managed_min: int = 0,
    status: str = "InService",
    failure: str = "",
) -> None:
    """SageMaker describes an endpoint of one component, its configuration and the component."""
    managed = {"Status": "ENABLED", "MinInstanceCount": managed_min, "MaxInstanceCount": 2}
    variant = {
        "VariantName": "AllTraffic",
        "InstanceType": "ml.g5.xlarge",
        "ManagedInstanceScaling": managed,
    }
    _endpoint(
        paper,
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "CurrentInstanceCount": instances,
                "DesiredInstanceCount": instances,
                "ManagedInstanceScaling": managed,
            }
        ],
    )
    _config(paper, [variant])
    paper.answers(
        "sagemaker",
        "ListInferenceComponents",
        {"EndpointNameEquals": NAME},
        {
            "InferenceComponents": [
                {
                    "InferenceComponentName": NAME,
                    "InferenceComponentArn": arn(f"inference-component/{NAME}"),
                    "EndpointName": NAME,
                    "EndpointArn": arn(f"endpoint/{NAME}"),
                    "VariantName": "AllTraffic",
                    "CreationTime": CREATED,
                    "LastModifiedTime": MODIFIED,
                }
            ]
        },
    )
    described: dict[str, Any] = {
        "InferenceComponentName": NAME,
        "InferenceComponentArn": arn(f"inference-component/{NAME}"),
        "EndpointName": NAME,
        "EndpointArn": arn(f"endpoint/{NAME}"),
        "VariantName": "AllTraffic",
        "InferenceComponentStatus": status,
        "Specification": {"ModelName": "detector-model"},
        "RuntimeConfig": {
            "CurrentCopyCount": copies,
            "DesiredCopyCount": copies if desired is None else desired,
        },
        "CreationTime": CREATED,
        "LastModifiedTime": MODIFIED,
    }
    if failure:
        described["FailureReason"] = failure
    paper.answers(
        "sagemaker", "DescribeInferenceComponent", {"InferenceComponentName": NAME}, described
    )


def has_tags(paper: PaperAws, resource: str, tags: list[dict[str, str]] | None = None) -> None:
    """SageMaker tells the tags of something; by default that it is ours."""
    paper.answers(
        "sagemaker",
        "ListTags",
        {"ResourceArn": arn(resource)},
        {"Tags": OURS if tags is None else tags},
    )


def lists_configs(paper: PaperAws, configs: Mapping[str, list[dict[str, str]]]) -> None:
    """SageMaker lists configurations, the newest first, and tells the tags of each."""
    paper.answers(
        "sagemaker",
        "ListEndpointConfigs",
        {"NameContains": NAME, "SortBy": "CreationTime", "SortOrder": "Descending"},
        {
            "EndpointConfigs": [
                {
                    "EndpointConfigName": name,
                    "EndpointConfigArn": arn(f"endpoint-config/{name}"),
                    "CreationTime": CREATED,
                }
                for name in configs
            ]
        },
    )
    for name, tags in configs.items():
        has_tags(paper, f"endpoint-config/{name}", tags)


def makes_by_schedule(paper: PaperAws, config: str) -> None:
    """The Scheduler tells what makes the endpoint, of a configuration; empty: nothing does."""
    asked = {"Name": f"simcloud-wake-{NAME}"}
    if not config:
        paper.refuses("scheduler", "GetSchedule", "ResourceNotFoundException", parameters=asked)
        return
    made = json.dumps({"EndpointName": NAME, "EndpointConfigName": config})
    target = {
        "Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:createEndpoint",
        "RoleArn": "arn:aws:iam::123456789012:role/scheduler",
        "Input": made,
    }
    paper.answers("scheduler", "GetSchedule", asked, {"Target": target})


def has_limits(
    paper: PaperAws, resource: str, limits: tuple[int, int] | None, *, target: float | None = 4.0
) -> None:
    """Application Auto Scaling tells the limits of a resource, None: it has none."""
    dimension = (
        "sagemaker:inference-component:DesiredCopyCount"
        if resource.startswith("inference-component/")
        else "sagemaker:variant:DesiredInstanceCount"
    )
    rows = []
    if limits is not None:
        rows.append(
            {
                "ServiceNamespace": "sagemaker",
                "ResourceId": resource,
                "ScalableDimension": dimension,
                "MinCapacity": limits[0],
                "MaxCapacity": limits[1],
                "RoleARN": "arn:aws:iam::123456789012:role/scaling",
                "CreationTime": CREATED,
            }
        )
    paper.answers(
        "application-autoscaling",
        "DescribeScalableTargets",
        {"ServiceNamespace": "sagemaker", "ResourceIds": [resource]},
        {"ScalableTargets": rows},
    )
    if limits is None:
        return
    policies = []
    if target is not None:
        policies.append(
            {
                "PolicyARN": "arn:aws:autoscaling:eu-central-1:123456789012:scalingPolicy:load",
                "PolicyName": "simcloud-load",
                "ServiceNamespace": "sagemaker",
                "ResourceId": resource,
                "ScalableDimension": dimension,
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": {"TargetValue": target},
                "CreationTime": CREATED,
            }
        )
    paper.answers(
        "application-autoscaling",
        "DescribeScalingPolicies",
        {"ServiceNamespace": "sagemaker", "ResourceId": resource},
        {"ScalingPolicies": policies},
    )


def has_actions(
    paper: PaperAws, resource: str, actions: Mapping[str, tuple[int, int]] | None = None
) -> None:
    """Application Auto Scaling tells a resource's scheduled actions and the limits they set."""
    paper.answers(
        "application-autoscaling",
        "DescribeScheduledActions",
        {"ServiceNamespace": "sagemaker", "ResourceId": resource},
        {
            "ScheduledActions": [
                {
                    "ScheduledActionName": name,
                    "ScheduledActionARN": f"arn:aws:autoscaling:action:{name}",
                    "ServiceNamespace": "sagemaker",
                    "ResourceId": resource,
                    "Schedule": "cron(0 20 ? * MON-FRI *)",
                    "ScalableTargetAction": {"MinCapacity": least, "MaxCapacity": most},
                    "CreationTime": CREATED,
                }
                for name, (least, most) in (actions or {}).items()
            ]
        },
    )


def has_alarm(paper: PaperAws, resource: str, *, theirs: bool = False) -> None:
    """CloudWatch tells the alarm that wakes a resource, or one of that name that does not."""
    action = (
        "arn:aws:sns:eu-central-1:123456789012:people"
        if theirs
        else "arn:aws:autoscaling:eu-central-1:123456789012:scalingPolicy:"
        f"6d8972f3:resource/sagemaker/{resource}:policyName/simcloud-wake"
    )
    _alarms(paper, [{"AlarmName": f"{NAME}-wake", "AlarmActions": [action]}])


def has_no_alarm(paper: PaperAws) -> None:
    """CloudWatch knows no alarm of the name of the one that wakes the endpoint."""
    _alarms(paper, [])


def _alarms(paper: PaperAws, rows: list[dict[str, Any]]) -> None:
    paper.answers(
        "cloudwatch",
        "DescribeAlarms",
        {"AlarmNames": [f"{NAME}-wake"], "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]},
        {"MetricAlarms": rows},
    )


def _endpoint(
    paper: PaperAws, *, status: str = "InService", failure: str = "", **more: Any
) -> None:
    answer: dict[str, Any] = {
        "EndpointName": NAME,
        "EndpointArn": arn(f"endpoint/{NAME}"),
        "EndpointConfigName": CONFIG,
        "EndpointStatus": status,
        "CreationTime": CREATED,
        "LastModifiedTime": MODIFIED,
        **more,
    }
    if failure:
        answer["FailureReason"] = failure
    paper.answers("sagemaker", "DescribeEndpoint", {"EndpointName": NAME}, answer)


def _config(paper: PaperAws, variants: list[Mapping[str, Any]]) -> None:
    paper.answers(
        "sagemaker",
        "DescribeEndpointConfig",
        {"EndpointConfigName": CONFIG},
        {
            "EndpointConfigName": CONFIG,
            "EndpointConfigArn": arn(f"endpoint-config/{CONFIG}"),
            "ProductionVariants": variants,
            "CreationTime": CREATED,
        },
    )
