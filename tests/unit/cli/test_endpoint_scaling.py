"""`simcloud endpoint scale`: what Application Auto Scaling and SageMaker are asked, by kind."""

from __future__ import annotations

from typing import Any

import pytest

from simcloud.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidRequest,
    PermissionDenied,
    PreconditionFailed,
)
from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.capacity import ScaleChoice, scale
from simcloud_cli.endpoints.describe import Endpoint
from support.aws_stubs import PaperAws
from support.paper_endpoints import (
    NAME,
    Told,
    has_alarm,
    has_limits,
    has_no_alarm,
    has_tags,
    shows_async,
    shows_component,
    shows_realtime,
    shows_serverless,
)
from support.paper_sleep import COMPONENT, VARIANT, sets_copies

POLICY = "arn:aws:autoscaling:eu-central-1:123456789012:scalingPolicy:wake"


async def _scale(choice: ScaleChoice, told: Told | None = None) -> Endpoint:
    return await scale(Aws(AwsPlace()), NAME, choice, (told or Told()).patience)


def _takes_limits(
    paper: PaperAws, resource: str, least: int, most: int, tracking: dict[str, Any]
) -> None:
    dimension = (
        "sagemaker:inference-component:DesiredCopyCount"
        if resource == COMPONENT
        else "sagemaker:variant:DesiredInstanceCount"
    )
    of = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": resource,
        "ScalableDimension": dimension,
    }
    paper.answers(
        "application-autoscaling",
        "RegisterScalableTarget",
        {**of, "MinCapacity": least, "MaxCapacity": most},
    )
    paper.answers(
        "application-autoscaling",
        "PutScalingPolicy",
        {
            **of,
            "PolicyName": "simcloud-load",
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {
                "ScaleOutCooldown": 60,
                "ScaleInCooldown": 300,
                **tracking,
            },
        },
        {"PolicyARN": POLICY},
    )


async def test_instances_scale_by_what_is_at_the_model_each_ten_seconds(paper: PaperAws) -> None:
    shows_realtime(paper)
    has_limits(paper, VARIANT, None)
    has_tags(paper, f"endpoint/{NAME}")
    metric = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
    _takes_limits(
        paper,
        VARIANT,
        1,
        4,
        {"TargetValue": 6.0, "PredefinedMetricSpecification": {"PredefinedMetricType": metric}},
    )
    shows_realtime(paper)
    await _scale(ScaleChoice(least=1, most=4, target=6.0))


async def test_copies_that_may_be_none_have_an_alarm_that_wakes_the_first(paper: PaperAws) -> None:
    shows_component(paper)
    has_limits(paper, COMPONENT, (1, 2), target=3.0)
    has_tags(paper, f"endpoint/{NAME}")
    has_alarm(paper, COMPONENT)
    metric = "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"
    _takes_limits(
        paper,
        COMPONENT,
        0,
        2,
        # What the policy kept before, since no other was asked for.
        {"TargetValue": 3.0, "PredefinedMetricSpecification": {"PredefinedMetricType": metric}},
    )
    paper.answers("application-autoscaling", "PutScalingPolicy", None, {"PolicyARN": POLICY})
    paper.answers("cloudwatch", "PutMetricAlarm", None)
    shows_component(paper)
    await _scale(ScaleChoice(least=0))
    policies = [item[2] for item in paper.sent if item[1] == "PutScalingPolicy"]
    wake = policies[1]
    alarm = next(item[2] for item in paper.sent if item[1] == "PutMetricAlarm")
    assert wake["StepScalingPolicyConfiguration"]["StepAdjustments"][0]["ScalingAdjustment"] == 1
    assert alarm["MetricName"] == "NoCapacityInvocationFailures"
    assert alarm["Dimensions"] == [{"Name": "InferenceComponentName", "Value": NAME}]
    assert alarm["AlarmActions"] == [POLICY]


async def test_an_asynchronous_endpoint_scales_by_its_queue(paper: PaperAws) -> None:
    shows_async(paper)
    has_limits(paper, VARIANT, None)
    has_tags(paper, f"endpoint/{NAME}")
    has_no_alarm(paper)
    _takes_limits(
        paper,
        VARIANT,
        0,
        3,
        {
            "TargetValue": 4.0,
            "CustomizedMetricSpecification": {
                "Namespace": "AWS/SageMaker",
                "MetricName": "ApproximateBacklogSizePerInstance",
                "Dimensions": [{"Name": "EndpointName", "Value": NAME}],
                "Statistic": "Average",
            },
        },
    )
    paper.answers("application-autoscaling", "PutScalingPolicy", None, {"PolicyARN": POLICY})
    paper.answers("cloudwatch", "PutMetricAlarm", None)
    shows_async(paper)
    await _scale(ScaleChoice(least=0, most=3))
    alarm = next(item[2] for item in paper.sent if item[1] == "PutMetricAlarm")
    assert alarm["MetricName"] == "HasBacklogWithoutCapacity"


async def test_an_alarm_of_somebody_elses_is_not_overwritten(paper: PaperAws) -> None:
    shows_component(paper)
    has_limits(paper, COMPONENT, (1, 2))
    has_tags(paper, f"endpoint/{NAME}")
    has_alarm(paper, COMPONENT, theirs=True)
    with pytest.raises(PreconditionFailed, match="alarm detector-wake is there and does not wake"):
        await _scale(ScaleChoice(least=0))
    assert not any(operation.startswith(("Put", "Register")) for _, operation, _ in paper.sent)


async def test_a_number_is_waited_for_and_told(paper: PaperAws) -> None:
    told = Told()
    shows_realtime(paper)
    has_limits(paper, VARIANT, (1, 4))
    has_tags(paper, f"endpoint/{NAME}")
    paper.answers(
        "sagemaker",
        "UpdateEndpointWeightsAndCapacities",
        {
            "EndpointName": NAME,
            "DesiredWeightsAndCapacities": [
                {"VariantName": "AllTraffic", "DesiredInstanceCount": 3}
            ],
        },
        {"EndpointArn": "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/detector"},
    )
    shows_realtime(paper, status="Updating", desired=3)
    shows_realtime(paper, instances=2, desired=3)
    shows_realtime(paper, instances=3)
    shows_realtime(paper, instances=3)
    seen = await _scale(ScaleChoice(count=3), told)
    assert seen.variants[0].current_instances == 3
    assert len(told.pauses) == 2
    assert [line.split(":")[1].split(",")[0].strip() for line in told.lines] == [
        "Updating",
        "changing",
        "InService",
    ]


async def test_a_number_is_there_before_limits_that_would_move_it(paper: PaperAws) -> None:
    shows_realtime(paper)
    has_limits(paper, VARIANT, None)
    has_tags(paper, f"endpoint/{NAME}")
    paper.answers(
        "sagemaker",
        "UpdateEndpointWeightsAndCapacities",
        None,
        {"EndpointArn": "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/detector"},
    )
    for _ in range(2):
        shows_realtime(paper, instances=3)
    paper.answers("application-autoscaling", "RegisterScalableTarget", None)
    paper.answers("application-autoscaling", "PutScalingPolicy", None, {"PolicyARN": POLICY})
    await _scale(ScaleChoice(least=2, most=4, count=3))
    order = [operation for _, operation, _ in paper.sent]
    update, register = (
        order.index(name)
        for name in ("UpdateEndpointWeightsAndCapacities", "RegisterScalableTarget")
    )
    assert "DescribeEndpoint" in order[update:register]


async def test_copies_are_set_at_the_component(paper: PaperAws) -> None:
    shows_component(paper)
    has_limits(paper, COMPONENT, None)
    has_tags(paper, f"endpoint/{NAME}")
    sets_copies(paper, 2)
    for _ in range(2):
        shows_component(paper, copies=2)
    await _scale(ScaleChoice(count=2))


async def test_a_component_that_fails_ends_the_wait_with_its_reason(paper: PaperAws) -> None:
    shows_component(paper)
    has_limits(paper, COMPONENT, None)
    has_tags(paper, f"endpoint/{NAME}")
    paper.answers(
        "sagemaker",
        "UpdateInferenceComponentRuntimeConfig",
        None,
        {"InferenceComponentArn": "arn:aws:sagemaker:eu-central-1:123456789012:x/detector"},
    )
    shows_component(paper, status="Failed", failure="insufficient capacity")
    with pytest.raises(PreconditionFailed, match="another --instance-type"):
        await _scale(ScaleChoice(count=2))


async def test_a_wait_ends_in_time_and_says_that_it_goes_on(paper: PaperAws) -> None:
    told = Told(limit_s=20)
    shows_realtime(paper)
    has_limits(paper, VARIANT, None)
    has_tags(paper, f"endpoint/{NAME}")
    paper.answers(
        "sagemaker",
        "UpdateEndpointWeightsAndCapacities",
        None,
        {"EndpointArn": "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/detector"},
    )
    for _ in range(3):
        shows_realtime(paper, status="Updating")
    with pytest.raises(DeadlineExceeded, match="goes on without us, and bills"):
        await _scale(ScaleChoice(count=2), told)
    assert sum(told.pauses) == pytest.approx(20)


async def test_a_serverless_endpoint_has_requests_at_once_in_place_of_instances(
    paper: PaperAws,
) -> None:
    shows_serverless(paper)
    has_tags(paper, f"endpoint/{NAME}")
    paper.answers(
        "sagemaker",
        "UpdateEndpointWeightsAndCapacities",
        {
            "EndpointName": NAME,
            "DesiredWeightsAndCapacities": [
                {"VariantName": "AllTraffic", "ServerlessUpdateConfig": {"MaxConcurrency": 10}}
            ],
        },
        {"EndpointArn": "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/detector"},
    )
    shows_serverless(paper, concurrency=10)
    await _scale(ScaleChoice(most=10))
    shows_serverless(paper)
    with pytest.raises(InvalidRequest, match="--max alone"):
        await _scale(ScaleChoice(least=1, most=2))
    shows_serverless(paper)
    with pytest.raises(InvalidRequest, match="at most 200"):
        await _scale(ScaleChoice(most=201))


@pytest.mark.parametrize(
    ("choice", "there", "problem"),
    [
        (ScaleChoice(least=0, most=2), None, "keeps one"),
        (ScaleChoice(count=0), None, "keeps one"),
        (ScaleChoice(least=1), None, "has no limits yet"),
        (ScaleChoice(least=5), (1, 4), "above --max 4"),
        (ScaleChoice(count=9), (1, 4), "outside of 1 to 4"),
        (ScaleChoice(count=3, part="other"), None, "has AllTraffic"),
    ],
)
async def test_numbers_that_do_not_go_together_change_nothing(
    paper: PaperAws, choice: ScaleChoice, there: tuple[int, int] | None, problem: str
) -> None:
    shows_realtime(paper)
    if not choice.part:
        has_limits(paper, VARIANT, there)
    with pytest.raises(InvalidRequest, match=problem):
        await _scale(choice)


@pytest.mark.parametrize(
    ("choice", "problem"),
    [
        ({}, "give --min and --max"),
        ({"least": 3, "most": 2}, "above --max 2"),
        ({"least": 0, "most": 0}, "1 at least"),
        ({"target": 0.0}, "above 0"),
    ],
)
def test_a_choice_says_something_that_can_be(choice: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        ScaleChoice(**choice)


async def test_what_changes_is_left_alone_until_it_has_changed(paper: PaperAws) -> None:
    shows_realtime(paper, status="Updating")
    with pytest.raises(Conflict, match="is Updating"):
        await _scale(ScaleChoice(count=2))


async def test_an_endpoint_of_somebody_else_is_not_scaled(paper: PaperAws) -> None:
    shows_realtime(paper)
    has_limits(paper, VARIANT, None)
    has_tags(paper, f"endpoint/{NAME}", [{"Key": "owner", "Value": "terraform"}])
    with pytest.raises(PreconditionFailed, match="was not made by `simcloud endpoint`"):
        await _scale(ScaleChoice(count=2))


async def test_a_missing_permission_is_said_as_the_statement_to_add(paper: PaperAws) -> None:
    shows_realtime(paper)
    has_limits(paper, VARIANT, None)
    has_tags(paper, f"endpoint/{NAME}")
    paper.refuses("application-autoscaling", "RegisterScalableTarget", "AccessDeniedException", "")
    with pytest.raises(PermissionDenied, match="application-autoscaling:RegisterScalableTarget"):
        await _scale(ScaleChoice(least=1, most=2))
