"""The Model Registry: a version is registered once, and deployed when somebody approved it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from simcloud.errors import PreconditionFailed
from simcloud_cli.app import app
from support.aws_stubs import ANY, PaperAws, arn, paper_aws
from support.paper_endpoints import lists_configs

ROLE = "arn:aws:iam::123456789012:role/endpoints"
VERSION = arn("model-package/detectors/1")
NOW = datetime(2026, 11, 21, tzinfo=UTC)
SM = "sagemaker"
BY = {"UserProfileName": "me"}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[PaperAws]:
    monkeypatch.setenv("SIMCLOUD_CONFIG", str(tmp_path / "config.yaml"))
    with paper_aws(monkeypatch) as paper:
        yield paper


def deploy(*options: str) -> tuple[dict[str, Any], BaseException | None]:
    command = ["endpoint", "deploy", "detector", "--role", ROLE, "--instance-type", "ml.c6i.large"]
    result = CliRunner().invoke(app, [*command, "--json", *options])
    return (json.loads(result.stdout) if result.stdout else {}), result.exception


def has_group(aws: PaperAws) -> None:
    aws.answers(
        SM,
        "DescribeModelPackageGroup",
        {"ModelPackageGroupName": "detectors"},
        {
            "ModelPackageGroupName": "detectors",
            "ModelPackageGroupArn": arn("model-package-group/detectors"),
            "CreationTime": NOW,
            "CreatedBy": BY,
            "ModelPackageGroupStatus": "Completed",
        },
    )


def has_no_group(aws: PaperAws) -> None:
    missing = "ModelPackageGroup detectors does not exist."
    aws.refuses(SM, "DescribeModelPackageGroup", "ValidationException", missing)


def has_no_endpoint(aws: PaperAws) -> None:
    missing = 'Could not find "arn:aws:x".'
    for operation in ("DescribeModel", "DescribeEndpointConfig", "DescribeEndpoint"):
        aws.refuses(SM, operation, "ValidationException", missing)
    lists_configs(aws, {})


def lists(aws: PaperAws, *rows: dict[str, Any]) -> None:
    aws.answers(
        SM,
        "ListModelPackages",
        {"ModelPackageGroupName": "detectors", "MaxResults": 100},
        {"ModelPackageSummaryList": list(rows)},
    )


def deploys_version(aws: PaperAws) -> None:
    has_no_endpoint(aws)
    aws.answers(
        SM,
        "CreateModel",
        {
            "ModelName": ANY,
            "PrimaryContainer": {"ModelPackageName": VERSION},
            "ExecutionRoleArn": ROLE,
            "EnableNetworkIsolation": True,
            "Tags": ANY,
        },
        {"ModelArn": arn("model/x")},
    )
    aws.answers(
        SM,
        "CreateEndpointConfig",
        {"EndpointConfigName": ANY, "ProductionVariants": ANY, "Tags": ANY},
        {"EndpointConfigArn": arn("endpoint-config/x")},
    )
    aws.answers(
        SM,
        "CreateEndpoint",
        {"EndpointName": "detector", "EndpointConfigName": ANY, "Tags": ANY},
        {"EndpointArn": arn("endpoint/detector")},
    )
    aws.answers(
        SM,
        "DescribeEndpoint",
        {"EndpointName": "detector"},
        {
            "EndpointName": "detector",
            "EndpointArn": arn("endpoint/detector"),
            "EndpointStatus": "Creating",
            "CreationTime": NOW,
            "LastModifiedTime": NOW,
        },
    )


def registered(aws: PaperAws, approval: str) -> None:
    aws.answers(
        SM,
        "CreateModelPackage",
        {
            "ModelPackageGroupName": "detectors",
            "ModelPackageDescription": ANY,
            "InferenceSpecification": {
                "Containers": [{"Image": "image:1", "Environment": {"A": "1"}}],
                "SupportedContentTypes": ANY,
                "SupportedResponseMIMETypes": ["application/json"],
                "SupportedRealtimeInferenceInstanceTypes": ["ml.c6i.large"],
                "SupportedTransformInstanceTypes": ["ml.c6i.large"],
            },
            "ModelApprovalStatus": approval,
        },
        {"ModelPackageArn": VERSION},
    )


REGISTER = ("--image", "image:1", "--env", "A=1", "--registry", "detectors")


def test_a_version_waits_for_approval_and_is_not_deployed(aws: PaperAws) -> None:
    has_no_group(aws)
    aws.answers(
        SM,
        "CreateModelPackageGroup",
        {"ModelPackageGroupName": "detectors", "Tags": ANY},
        {"ModelPackageGroupArn": arn("model-package-group/detectors")},
    )
    registered(aws, "PendingManualApproval")
    found, problem = deploy(*REGISTER)
    assert problem is None
    assert found["version"] == {"arn": VERSION, "approval": "PendingManualApproval"}
    assert "arn" not in found


def test_an_approved_version_is_deployed_as_a_version(aws: PaperAws) -> None:
    has_group(aws)
    lists(aws)
    registered(aws, "Approved")
    deploys_version(aws)
    found, problem = deploy(*REGISTER, "--approve", "--wait-minutes", "0")
    assert problem is None
    assert found["version"]["approval"] == "Approved"
    assert found["arn"] == arn("endpoint/detector")


def test_a_version_of_the_same_content_is_registered_once(aws: PaperAws) -> None:
    has_group(aws)
    lists(aws)
    registered(aws, "PendingManualApproval")
    deploy(*REGISTER)
    described = _description_of(aws)
    row = {
        "ModelPackageArn": VERSION,
        "ModelPackageDescription": described,
        "ModelApprovalStatus": "PendingManualApproval",
        "ModelPackageStatus": "Completed",
        "CreationTime": NOW,
    }
    has_group(aws)
    lists(aws, row)
    aws.answers(
        SM,
        "UpdateModelPackage",
        {"ModelPackageArn": VERSION, "ModelApprovalStatus": "Approved"},
        {"ModelPackageArn": VERSION},
    )
    deploys_version(aws)
    found, problem = deploy(*REGISTER, "--approve", "--wait-minutes", "0")
    assert problem is None
    assert found["version"] == {"arn": VERSION, "approval": "Approved"}
    has_group(aws)
    lists(aws, {**row, "ModelApprovalStatus": "Rejected"})
    _, problem = deploy(*REGISTER, "--approve")
    assert isinstance(problem, PreconditionFailed)
    assert "rejected" in problem.message


def operations(document: dict[str, Any]) -> list[str]:
    return [request["operation"] for request in document["plan"]]


ENDPOINT = ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"]


def test_a_plan_has_the_version_and_the_endpoint_that_it_becomes(aws: PaperAws) -> None:
    has_no_group(aws)
    has_no_endpoint(aws)
    found, problem = deploy(*REGISTER, "--approve", "--plan")
    assert problem is None
    assert operations(found) == ["CreateModelPackageGroup", "CreateModelPackage", *ENDPOINT]
    container = found["plan"][2]["parameters"]["PrimaryContainer"]
    assert container == {"ModelPackageName": arn("model-package/detectors/VERSION")}
    assert "VERSION is known once it is made" in found["left"][0]
    has_no_group(aws)
    found, problem = deploy(*REGISTER, "--plan")
    assert problem is None
    assert operations(found) == ["CreateModelPackageGroup", "CreateModelPackage"]
    assert found["left"] == ["not deployed: it waits for approval"]


@pytest.mark.parametrize(
    ("there", "asked"),
    [("PendingManualApproval", ["UpdateModelPackage", *ENDPOINT]), ("Approved", ENDPOINT)],
)
def test_a_plan_of_a_known_version_is_what_is_done(
    aws: PaperAws, there: str, asked: list[str]
) -> None:
    has_group(aws)
    lists(aws)
    registered(aws, "PendingManualApproval")
    deploy(*REGISTER)
    row = {
        "ModelPackageArn": VERSION,
        "ModelPackageDescription": _description_of(aws),
        "ModelApprovalStatus": there,
        "ModelPackageStatus": "Completed",
        "CreationTime": NOW,
    }
    has_group(aws)
    lists(aws, row)
    has_no_endpoint(aws)
    found, problem = deploy(*REGISTER, "--approve", "--plan")
    assert problem is None
    assert (operations(found), found["left"]) == (asked, [])
    container = found["plan"][-3]["parameters"]["PrimaryContainer"]
    assert container == {"ModelPackageName": VERSION}


def _description_of(aws: PaperAws) -> str:
    sent = [item for item in aws.sent if item[1] == "CreateModelPackage"]
    return str(sent[-1][2]["ModelPackageDescription"])


@pytest.mark.parametrize("approval", ["PendingManualApproval", "Rejected"])
def test_a_version_that_nobody_approved_is_not_deployed(aws: PaperAws, approval: str) -> None:
    aws.answers(
        SM,
        "DescribeModelPackage",
        {"ModelPackageName": VERSION},
        {
            "ModelPackageName": "detectors",
            "ModelPackageArn": VERSION,
            "ModelApprovalStatus": approval,
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": []},
            "CreationTime": NOW,
        },
    )
    _, problem = deploy("--package", VERSION)
    assert isinstance(problem, PreconditionFailed)
    assert "--model-approval-status Approved" in problem.message
