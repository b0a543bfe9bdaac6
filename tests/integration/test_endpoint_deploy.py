"""`simcloud endpoint deploy`: requests by botocore's model, and what is made of answers."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from simcloud.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidRequest,
    PermissionDenied,
    PreconditionFailed,
)
from simcloud_cli.app import app
from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.deploy import carry_out, plan_deployment
from simcloud_cli.endpoints.deployment import (
    Deployment,
    component_specification,
    config_request,
    model_request,
    name_of,
)
from simcloud_cli.endpoints.ownership import ENDPOINT_TAG
from simcloud_cli.endpoints.update import Update, deployment_config
from simcloud_cli.endpoints.waiting import Patience
from support.aws_stubs import ANY, REGION, PaperAws, arn, paper_aws
from support.clock import ManualClock

ROLE = arn("role/endpoints", service="iam").replace(f":{REGION}:", "::")
IMAGE = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/model-container:1"
NOW = datetime(2026, 11, 21, tzinfo=UTC)
TAGS = [{"Key": ENDPOINT_TAG, "Value": "detector"}]
SM = "sagemaker"
REALTIME = ("--instance-type", "ml.c6i.large")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[PaperAws]:
    monkeypatch.setenv("SIMCLOUD_CONFIG", str(tmp_path / "config.yaml"))
    with paper_aws(monkeypatch) as paper:
        yield paper


def deployment(**more: Any) -> Deployment:
    fields = {"name": "detector", "kind": "realtime", "role": ROLE, "image": IMAGE, **more}
    if fields["kind"] != "serverless":
        fields.setdefault("instance_type", "ml.c6i.large")
    return Deployment.model_validate(fields)


def names(d: Deployment) -> tuple[str, str]:
    """The names of its model and of its configuration."""
    model = name_of(model_request(d))
    return model, name_of(config_request(d, model))


def invoke(*options: str) -> Result:
    command = ["endpoint", "deploy", "detector", "--role", ROLE, "--image", IMAGE, "--json"]
    return CliRunner().invoke(app, [*command, *options])


def succeeded(result: Result) -> dict[str, Any]:
    assert result.exception is None, result.exception
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def has_not(aws: PaperAws, *operations: str) -> None:
    for operation in operations:
        aws.refuses(SM, operation, "ValidationException", 'Could not find "arn:aws:x".')


def has_model_and_config(aws: PaperAws, d: Deployment) -> None:
    model, config = names(d)
    aws.answers(
        SM,
        "DescribeModel",
        {"ModelName": model},
        {"ModelName": model, "ModelArn": arn(f"model/{model}"), "CreationTime": NOW},
    )
    has_config(aws, config)


def has_config(aws: PaperAws, config: str, *, instances: int = 1) -> None:
    aws.answers(
        SM,
        "DescribeEndpointConfig",
        {"EndpointConfigName": config},
        {
            "EndpointConfigName": config,
            "EndpointConfigArn": arn(f"endpoint-config/{config}"),
            "ProductionVariants": [
                {"VariantName": "AllTraffic", "InitialInstanceCount": instances}
            ],
            "CreationTime": NOW,
        },
    )


def has_endpoint(aws: PaperAws, status: str, config: str, **more: Any) -> None:
    aws.answers(
        SM,
        "DescribeEndpoint",
        {"EndpointName": "detector"},
        {
            "EndpointName": "detector",
            "EndpointArn": arn("endpoint/detector"),
            "EndpointConfigName": config,
            "EndpointStatus": status,
            "CreationTime": NOW,
            "LastModifiedTime": NOW,
            **more,
        },
    )


def has_component(aws: PaperAws, status: str, specification: dict[str, object]) -> None:
    aws.answers(
        SM,
        "DescribeInferenceComponent",
        {"InferenceComponentName": "detector"},
        {
            "InferenceComponentName": "detector",
            "InferenceComponentArn": arn("inference-component/detector"),
            "EndpointName": "detector",
            "EndpointArn": arn("endpoint/detector"),
            "InferenceComponentStatus": status,
            "Specification": specification,
            "CreationTime": NOW,
            "LastModifiedTime": NOW,
        },
    )


def makes_model_and_config(aws: PaperAws, d: Deployment) -> None:
    model, config = names(d)
    aws.answers(SM, "CreateModel", model_request(d).parameters, {"ModelArn": arn(f"model/{model}")})
    aws.answers(
        SM,
        "CreateEndpointConfig",
        config_request(d, model).parameters,
        {"EndpointConfigArn": arn(f"endpoint-config/{config}")},
    )


def makes_endpoint(aws: PaperAws, config: str) -> None:
    aws.answers(
        SM,
        "CreateEndpoint",
        {"EndpointName": "detector", "EndpointConfigName": config, "Tags": TAGS},
        {"EndpointArn": arn("endpoint/detector")},
    )


def is_ours(aws: PaperAws, resource: str) -> None:
    aws.answers(SM, "ListTags", {"ResourceArn": arn(resource)}, {"Tags": TAGS})


def test_a_new_endpoint_is_three_requests(aws: PaperAws) -> None:
    d = deployment(capture="s3://bucket/capture", capture_percent=20)
    _, config = names(d)
    has_not(aws, "DescribeModel", "DescribeEndpointConfig", "DescribeEndpoint")
    aws.answers(
        SM,
        "CreateModel",
        {
            "ModelName": ANY,
            "PrimaryContainer": {"Image": IMAGE},
            "ExecutionRoleArn": ROLE,
            "EnableNetworkIsolation": True,
            "Tags": TAGS,
        },
        {"ModelArn": arn("model/x")},
    )
    aws.answers(
        SM,
        "CreateEndpointConfig",
        {
            "EndpointConfigName": config,
            "ProductionVariants": [
                {
                    "VariantName": "AllTraffic",
                    "ModelName": ANY,
                    "InstanceType": "ml.c6i.large",
                    "InitialInstanceCount": 1,
                    "InitialVariantWeight": 1,
                    "ContainerStartupHealthCheckTimeoutInSeconds": 600,
                    "ModelDataDownloadTimeoutInSeconds": 600,
                    "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
                }
            ],
            "DataCaptureConfig": {
                "EnableCapture": True,
                "InitialSamplingPercentage": 20,
                "DestinationS3Uri": "s3://bucket/capture",
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
            },
            "Tags": TAGS,
        },
        {"EndpointConfigArn": arn("endpoint-config/x")},
    )
    makes_endpoint(aws, config)
    has_endpoint(aws, "InService", config)
    has_endpoint(aws, "InService", config)
    found = succeeded(
        invoke(*REALTIME, "--capture", "s3://bucket/capture", "--capture-percent", "20")
    )
    assert found["changed"] is True
    assert found["arn"] == arn("endpoint/detector")
    assert found["target"] == {
        "name": "detector",
        "kind": "sagemaker",
        "endpoint": "detector",
        "region": REGION,
    }
    assert "ml.c6i.large" in found["bills"]


def test_a_second_run_changes_nothing_and_says_so(aws: PaperAws) -> None:
    d = deployment()
    _, config = names(d)
    has_model_and_config(aws, d)
    has_endpoint(aws, "InService", config)
    has_endpoint(aws, "InService", config)
    found = succeeded(invoke(*REALTIME))
    assert found["changed"] is False
    assert found["requests"] == []


def test_a_plan_reads_alone_and_prints_what_would_be_asked(aws: PaperAws) -> None:
    has_not(aws, "DescribeModel", "DescribeEndpointConfig", "DescribeEndpoint")
    options = ("--kind", "serverless", "--memory-mb", "3072", "--plan")
    found = succeeded(invoke(*options))
    assert [request["operation"] for request in found["plan"]] == [
        "CreateModel",
        "CreateEndpointConfig",
        "CreateEndpoint",
    ]
    (variant,) = found["plan"][1]["parameters"]["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 3072, "MaxConcurrency": 4}
    assert found["bills"].startswith("bills by the second")


def test_a_plan_for_people_ends_with_what_bills(aws: PaperAws) -> None:
    has_not(aws, "DescribeModel", "DescribeEndpointConfig", "DescribeEndpoint")
    options = ["--role", ROLE, "--image", IMAGE, "--instance-type", "ml.g5.xlarge", "--plan"]
    result = CliRunner().invoke(app, ["endpoint", "deploy", "detector", *options])
    assert result.exception is None, result.exception
    assert "sagemaker CreateEndpoint\n" in result.stdout
    assert "$1.41 an hour" in result.stdout.splitlines()[-1]


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


def test_a_missing_permission_is_named_with_its_statement(aws: PaperAws) -> None:
    has_not(aws, "DescribeModel", "DescribeEndpointConfig", "DescribeEndpoint")
    aws.refuses(
        SM,
        "CreateModel",
        "AccessDeniedException",
        f"User: me is not authorized to perform: iam:PassRole on resource: {ROLE} because no "
        "identity-based policy allows the iam:PassRole action",
        status=400,
    )
    result = invoke(*REALTIME)
    assert isinstance(result.exception, PermissionDenied)
    assert result.exception.metadata["action"] == "iam:PassRole"
    assert '"iam:PassedToService"' in result.exception.message


def test_an_asynchronous_endpoint_has_its_place_in_s3(aws: PaperAws) -> None:
    d = deployment(kind="async", async_output="s3://bucket/answers")
    _, config = names(d)
    has_not(aws, "DescribeModel", "DescribeEndpointConfig", "DescribeEndpoint")
    makes_model_and_config(aws, d)
    makes_endpoint(aws, config)
    has_endpoint(aws, "InService", config)
    has_endpoint(aws, "InService", config)
    options = ("--kind", "async", "--async-output", "s3://bucket/answers")
    found = succeeded(invoke(*REALTIME, *options))
    assert found["target"]["input_prefix"] == "bucket/answers/requests"


COMPONENT = ("--kind", "component", "--instances", "0", *REALTIME)


def test_a_component_comes_after_its_endpoint(aws: PaperAws) -> None:
    d = deployment(kind="component", instances=0)
    model, config = names(d)
    specification = component_specification(d, model)
    has_not(aws, "DescribeModel", "DescribeEndpointConfig", "DescribeEndpoint")
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


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--kind", "serverless", "--memory-mb", "1000"), "steps of 1024"),
        ((), "--instance-type"),
        ((*REALTIME, "--step-percent", "60"), "--step-percent"),
        ((*REALTIME, "--env", "A"), "NAME=VALUE"),
        ((*REALTIME, "--canary", "10"), "--catalog"),
        ((*REALTIME, "--catalog", "c.yaml"), "model.json"),
        ((*REALTIME, "--model", "no-such-folder"), "endpoint package"),
        ((*REALTIME, "--model", "s3://bucket/model"), "model.tar.gz"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_asked(
    aws: PaperAws, options: tuple[str, ...], words: str
) -> None:
    result = invoke(*options)
    assert isinstance(result.exception, InvalidRequest), result.exception
    assert words in result.exception.message


def patience(clock: ManualClock, told: list[str]) -> Patience:
    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    return Patience(limit_s=100, clock=clock, sleep=sleep, say=told.append, rng=random.Random(1))


async def test_the_wait_tells_each_step_and_ends(aws: PaperAws) -> None:
    d = deployment()
    _, config = names(d)
    has_not(aws, "DescribeModel", "DescribeEndpointConfig", "DescribeEndpoint")
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
    has_endpoint(aws, "Creating", config)
    paper = Aws(AwsPlace())
    told: list[str] = []
    plan = await plan_deployment(paper, d, Update())

    async def broken_off(_: float) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await carry_out(paper, d, plan, Patience(sleep=broken_off, say=told.append))
    assert "simcloud endpoint delete detector" in told[-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((*REALTIME, "--discover"), "model.json"),
        ((*REALTIME, "--discover", "--catalog", "c.yaml"), "one of two"),
    ],
)
def test_discovery_needs_a_model_that_is_known_and_no_catalogue(
    aws: PaperAws, options: tuple[str, ...], words: str
) -> None:
    result = invoke(*options)
    assert isinstance(result.exception, InvalidRequest), result.exception
    assert words in result.exception.message


def test_without_waiting_the_component_is_left_for_the_next_run(aws: PaperAws) -> None:
    d = deployment(kind="component", instances=0)
    _, config = names(d)
    has_not(aws, "DescribeModel", "DescribeEndpointConfig", "DescribeEndpoint")
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
