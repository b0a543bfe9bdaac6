"""`simcloud endpoint deploy` over what is there: updates, components, and waiting for both."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from simcloud.errors import (
    Conflict,
    DeadlineExceeded,
    PreconditionFailed,
)
from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.deploy import carry_out, plan_deployment
from simcloud_cli.endpoints.deployment import component_specification
from simcloud_cli.endpoints.update import Update, deployment_config
from simcloud_cli.endpoints.waiting import Patience
from support.aws_stubs import PaperAws, arn, paper_aws
from support.clock import ManualClock
from support.paper_deployment import (
    REALTIME,
    SM,
    TAGS,
    deployment,
    has_component,
    has_config,
    has_endpoint,
    has_model_and_config,
    has_not,
    invoke,
    is_ours,
    makes_endpoint,
    makes_model_and_config,
    names,
    succeeded,
    there_is_nothing,
)
from support.paper_endpoints import lists_configs

COMPONENT = ("--kind", "component", "--instances", "0", *REALTIME)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[PaperAws]:
    monkeypatch.setenv("SIMCLOUD_CONFIG", str(tmp_path / "config.yaml"))
    with paper_aws(monkeypatch) as paper:
        yield paper


@pytest.mark.parametrize("strategy", ["blue-green", "rolling"])
def test_another_image_is_an_update_with_alarms_that_keeps_the_count(
    aws: PaperAws, strategy: str
) -> None:
    d = deployment()
    _, config = names(d)
    has_not(aws, "DescribeModel", "DescribeEndpointConfig")
    has_endpoint(aws, "InService", "before")
    is_ours(aws, "endpoint/detector")
    has_config(aws, "before", instances=1)
    makes_model_and_config(aws, d)
    way = Update.model_validate({"strategy": strategy, "alarms": ("detector-5xx",)})
    aws.answers(
        SM,
        "UpdateEndpoint",
        {
            "EndpointName": "detector",
            "EndpointConfigName": config,
            "DeploymentConfig": deployment_config(way),
            "RetainAllVariantProperties": True,
            "ExcludeRetainedVariantProperties": [
                {"VariantPropertyType": "DesiredWeight"},
                {"VariantPropertyType": "DataCaptureConfig"},
            ],
        },
        {"EndpointArn": arn("endpoint/detector")},
    )
    has_endpoint(aws, "InService", config)
    has_endpoint(aws, "InService", config)
    found = succeeded(invoke(*REALTIME, "--update", strategy, "--alarm", "detector-5xx"))
    assert found["requests"][-1] == "UpdateEndpoint endpoint/detector"


def test_another_count_of_instances_is_taken(aws: PaperAws) -> None:
    d = deployment(instances=3)
    _, config = names(d)
    has_model_and_config(aws, d)
    has_endpoint(aws, "InService", "before")
    is_ours(aws, "endpoint/detector")
    has_config(aws, "before", instances=1)
    aws.answers(
        SM,
        "UpdateEndpoint",
        {
            "EndpointName": "detector",
            "EndpointConfigName": config,
            "DeploymentConfig": deployment_config(Update()),
        },
        {"EndpointArn": arn("endpoint/detector")},
    )
    has_endpoint(aws, "Updating", "before")
    assert succeeded(invoke(*REALTIME, "--instances", "3", "--wait-minutes", "0"))["changed"]


def test_an_endpoint_of_somebody_else_is_left_alone(aws: PaperAws) -> None:
    has_not(aws, "DescribeModel", "DescribeEndpointConfig")
    has_endpoint(aws, "InService", "before")
    aws.answers(SM, "ListTags", {"ResourceArn": arn("endpoint/detector")}, {"Tags": []})
    result = invoke(*REALTIME)
    assert isinstance(result.exception, PreconditionFailed)
    assert "not made by" in result.exception.message


def test_a_change_that_runs_is_waited_for_first(aws: PaperAws) -> None:
    has_not(aws, "DescribeModel", "DescribeEndpointConfig")
    has_endpoint(aws, "Updating", "before")
    result = invoke(*REALTIME)
    assert isinstance(result.exception, Conflict)
    assert "Updating" in result.exception.message


def test_a_failed_endpoint_is_to_be_deleted_first(aws: PaperAws) -> None:
    has_not(aws, "DescribeModel", "DescribeEndpointConfig")
    has_endpoint(aws, "Failed", "before", FailureReason="did not pass the ping health check")
    result = invoke(*REALTIME)
    assert isinstance(result.exception, PreconditionFailed)
    assert "GET /ping" in result.exception.message
    assert "simcloud endpoint delete detector" in result.exception.message


def test_an_update_that_went_back_is_a_failure_with_its_reason(aws: PaperAws) -> None:
    d = deployment()
    has_model_and_config(aws, d)
    _, config = names(d)
    has_endpoint(aws, "Updating", "old", PendingDeploymentSummary={"EndpointConfigName": config})
    has_endpoint(aws, "InService", "old", FailureReason="Alarm detector-5xx was triggered")
    result = invoke(*REALTIME)
    assert isinstance(result.exception, PreconditionFailed)
    assert "went back to old" in result.exception.message
    assert "an alarm sounded" in result.exception.message


def test_a_component_comes_after_its_endpoint(aws: PaperAws) -> None:
    d = deployment(kind="component", instances=0)
    model, config = names(d)
    specification = component_specification(d, model)
    there_is_nothing(aws)
    makes_model_and_config(aws, d)
    makes_endpoint(aws, config)
    has_endpoint(aws, "InService", config)
    aws.answers(
        SM,
        "CreateInferenceComponent",
        {
            "InferenceComponentName": "detector",
            "EndpointName": "detector",
            "VariantName": "AllTraffic",
            "Specification": specification,
            "RuntimeConfig": {"CopyCount": 1},
            "Tags": TAGS,
        },
        {"InferenceComponentArn": arn("inference-component/detector")},
    )
    has_component(aws, "InService", specification)
    has_endpoint(aws, "InService", config)
    found = succeeded(invoke(*COMPONENT))
    assert found["target"]["component"] == "detector"


def test_another_model_of_a_component_is_a_rolling_update(aws: PaperAws) -> None:
    d = deployment(kind="component", instances=0)
    model, config = names(d)
    wanted = component_specification(d, model)
    has_model_and_config(aws, d)
    has_endpoint(aws, "InService", config)
    has_component(aws, "InService", {**wanted, "ModelName": "before"})
    is_ours(aws, "inference-component/detector")
    has_endpoint(aws, "InService", config)
    aws.answers(
        SM,
        "UpdateInferenceComponent",
        {
            "InferenceComponentName": "detector",
            "Specification": wanted,
            "DeploymentConfig": {
                "RollingUpdatePolicy": {
                    "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 10},
                    "WaitIntervalInSeconds": 600,
                },
                "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}]},
            },
        },
        {"InferenceComponentArn": arn("inference-component/detector")},
    )
    has_component(aws, "InService", wanted)
    has_endpoint(aws, "InService", config)
    assert succeeded(invoke(*COMPONENT, "--alarm", "a"))["changed"]


def test_a_component_as_it_shall_be_is_left_alone(aws: PaperAws) -> None:
    d = deployment(kind="component", instances=0)
    model, config = names(d)
    has_model_and_config(aws, d)
    has_endpoint(aws, "InService", config)
    has_component(aws, "InService", component_specification(d, model))
    has_endpoint(aws, "InService", config)
    assert succeeded(invoke(*COMPONENT))["changed"] is False


def patience(clock: ManualClock, told: list[str]) -> Patience:
    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    return Patience(limit_s=100, clock=clock, sleep=sleep, say=told.append, rng=random.Random(1))


async def test_the_wait_tells_each_step_and_ends(aws: PaperAws) -> None:
    d = deployment()
    _, config = names(d)
    there_is_nothing(aws)
    makes_model_and_config(aws, d)
    makes_endpoint(aws, config)
    has_endpoint(aws, "Creating", config)
    baking = [{"VariantName": "AllTraffic", "VariantStatus": [{"Status": "Baking"}]}]
    has_endpoint(aws, "Updating", config, ProductionVariants=baking)
    has_endpoint(aws, "InService", config)
    has_endpoint(aws, "InService", config)
    paper = Aws(AwsPlace())
    told: list[str] = []
    plan = await plan_deployment(paper, d, Update())
    await carry_out(paper, d, plan, patience(ManualClock(), told))
    assert [line.split(",")[0] for line in told] == [
        "endpoint detector: Creating",
        "endpoint detector: Updating (Baking)",
        "endpoint detector: InService",
    ]


async def test_the_wait_is_bounded(aws: PaperAws) -> None:
    d = deployment()
    _, config = names(d)
    has_model_and_config(aws, d)
    has_endpoint(aws, "Creating", config)
    lists_configs(aws, {})
    has_endpoint(aws, "Creating", config)
    paper = Aws(AwsPlace())
    plan = await plan_deployment(paper, d, Update())
    assert plan.under_way
    with pytest.raises(DeadlineExceeded, match="still Creating"):
        await carry_out(paper, d, plan, Patience(limit_s=0, clock=ManualClock()))


async def test_breaking_off_the_wait_says_what_goes_on(aws: PaperAws) -> None:
    d = deployment()
    _, config = names(d)
    has_model_and_config(aws, d)
    has_endpoint(aws, "Creating", config)
    lists_configs(aws, {})
    has_endpoint(aws, "Creating", config)
    paper = Aws(AwsPlace())
    told: list[str] = []
    plan = await plan_deployment(paper, d, Update())

    async def broken_off(_: float) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await carry_out(paper, d, plan, Patience(sleep=broken_off, say=told.append))
    assert "simcloud endpoint delete detector" in told[-1]


def test_without_waiting_the_component_is_left_for_the_next_run(aws: PaperAws) -> None:
    d = deployment(kind="component", instances=0)
    _, config = names(d)
    there_is_nothing(aws)
    makes_model_and_config(aws, d)
    makes_endpoint(aws, config)
    has_endpoint(aws, "Creating", config)
    found = succeeded(invoke(*COMPONENT, "--wait-minutes", "0"))
    assert "inference component" in found["left"][0]
    has_model_and_config(aws, d)
    has_endpoint(aws, "InService", config)
    has_not(aws, "DescribeInferenceComponent")
    aws.answers(
        SM,
        "CreateInferenceComponent",
        None,
        {"InferenceComponentArn": arn("inference-component/detector")},
    )
    has_endpoint(aws, "InService", config)
    found = succeeded(invoke(*COMPONENT, "--wait-minutes", "0"))
    assert found["requests"] == ["CreateInferenceComponent inference-component/detector"]
    assert found["left"] == [
        "its copies stay one until `simcloud endpoint scale detector --min 0 --max 1` lets them "
        "follow the requests"
    ]
