"""`simcloud endpoint deploy`: requests by botocore's model, and what is made of answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simcloud.errors import (
    InvalidRequest,
    PermissionDenied,
    PreconditionFailed,
)
from simcloud_cli.app import app
from simcloud_cli.endpoints.asleep import ASLEEP_TAG
from support.aws_stubs import ANY, REGION, PaperAws, arn, paper_aws
from support.paper_deployment import (
    IMAGE,
    REALTIME,
    ROLE,
    SM,
    TAGS,
    deployment,
    has_endpoint,
    has_model_and_config,
    has_not,
    invoke,
    makes_endpoint,
    makes_model_and_config,
    names,
    succeeded,
    there_is_nothing,
)
from support.paper_endpoints import lists_configs


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[PaperAws]:
    monkeypatch.setenv("SIMCLOUD_CONFIG", str(tmp_path / "config.yaml"))
    with paper_aws(monkeypatch) as paper:
        yield paper


def test_a_new_endpoint_is_three_requests(aws: PaperAws) -> None:
    d = deployment(capture="s3://bucket/capture", capture_percent=20)
    _, config = names(d)
    there_is_nothing(aws)
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
    there_is_nothing(aws)
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
    there_is_nothing(aws)
    options = ["--role", ROLE, "--image", IMAGE, "--instance-type", "ml.g5.xlarge", "--plan"]
    result = CliRunner().invoke(app, ["endpoint", "deploy", "detector", *options])
    assert result.exception is None, result.exception
    assert "sagemaker CreateEndpoint\n" in result.stdout
    *_, digest, bills = result.stdout.splitlines()
    # The workflow that waits for an approval takes it from there.
    assert re.fullmatch(r"plan digest: [0-9a-f]{64}", digest)
    assert "$1.41 an hour" in bills


def test_a_missing_permission_is_named_with_its_statement(aws: PaperAws) -> None:
    there_is_nothing(aws)
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
    there_is_nothing(aws)
    makes_model_and_config(aws, d)
    makes_endpoint(aws, config)
    has_endpoint(aws, "InService", config)
    has_endpoint(aws, "InService", config)
    options = ("--kind", "async", "--async-output", "s3://bucket/answers")
    found = succeeded(invoke(*REALTIME, *options))
    assert found["target"]["input_prefix"] == "bucket/answers/requests"


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


ASLEEP = [*TAGS, {"Key": ASLEEP_TAG, "Value": "AllTraffic=2:1:4:8"}]


def test_an_endpoint_deployed_while_it_sleeps_no_longer_sleeps_with_what_it_was(
    aws: PaperAws,
) -> None:
    d = deployment()
    _, config = names(d)
    has_not(aws, "DescribeModel", "DescribeEndpointConfig", "DescribeEndpoint")
    lists_configs(aws, {"detector-older": ASLEEP, "detector-oldest": TAGS})
    makes_model_and_config(aws, d)
    makes_endpoint(aws, config)
    older = arn("endpoint-config/detector-older")
    aws.answers(SM, "DeleteTags", {"ResourceArn": older, "TagKeys": [ASLEEP_TAG]}, {})
    has_endpoint(aws, "Creating", config)
    found = succeeded(invoke(*REALTIME, "--wait-minutes", "0"))
    assert found["requests"][-1] == f"DeleteTags {older}"
    assert found["left"] == []


def test_the_configuration_that_it_slept_with_keeps_what_wake_gives_back(aws: PaperAws) -> None:
    d = deployment()
    _, config = names(d)
    has_model_and_config(aws, d)
    has_not(aws, "DescribeEndpoint")
    lists_configs(aws, {config: ASLEEP})
    found = succeeded(invoke(*REALTIME, "--plan"))
    assert [request["operation"] for request in found["plan"]] == ["CreateEndpoint"]


def test_who_may_not_look_for_a_sleep_deploys_and_is_told(aws: PaperAws) -> None:
    d = deployment()
    has_model_and_config(aws, d)
    has_not(aws, "DescribeEndpoint")
    aws.refuses(SM, "ListEndpointConfigs", "AccessDeniedException", "not authorized")
    found = succeeded(invoke(*REALTIME, "--plan"))
    assert [request["operation"] for request in found["plan"]] == ["CreateEndpoint"]
    assert "whether it slept with another configuration is not known" in found["left"][0]


def plan_digest(aws: PaperAws, *options: str) -> str:
    """Of a plan of an endpoint that is not there."""
    there_is_nothing(aws)
    return str(succeeded(invoke(*REALTIME, "--plan", *options))["plan_digest"])


def test_an_approved_plan_is_what_is_asked(aws: PaperAws) -> None:
    digest = plan_digest(aws)
    assert plan_digest(aws) == digest
    d = deployment()
    there_is_nothing(aws)
    makes_model_and_config(aws, d)
    makes_endpoint(aws, names(d)[1])
    has_endpoint(aws, "Creating", names(d)[1])
    found = succeeded(invoke(*REALTIME, "--wait-minutes", "0", "--plan-digest", digest))
    assert found["changed"] is True


def test_what_nobody_approved_is_not_asked(aws: PaperAws) -> None:
    digest = plan_digest(aws)
    # Other options, and an account that changed since.
    there_is_nothing(aws)
    changed = invoke(*REALTIME, "--instances", "2", "--plan-digest", digest)
    has_model_and_config(aws, deployment())
    has_not(aws, "DescribeEndpoint")
    lists_configs(aws, {})
    moved = invoke(*REALTIME, "--plan-digest", digest)
    for refused in (changed, moved):
        assert isinstance(refused.exception, PreconditionFailed), refused.exception
        assert f"not the approved {digest[:16]}" in refused.exception.message
        assert "approve that" in refused.exception.message
    assert not any(name.startswith("Create") for _, name, _ in aws.sent)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--plan-digest", "abc"), "64 hex digits"),
        (("--plan-digest", "0" * 64, "--plan"), "--plan"),
    ],
)
def test_a_digest_that_is_none_is_refused(
    aws: PaperAws, options: tuple[str, ...], words: str
) -> None:
    result = invoke(*REALTIME, *options)
    assert isinstance(result.exception, InvalidRequest), result.exception
    assert words in result.exception.message
