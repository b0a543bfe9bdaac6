"""What `endpoint deploy` would ask to the last request, and tags that never name another model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from simcloud.errors import InvalidRequest
from simcloud_cli.app import app
from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.deploy import plan_deployment
from simcloud_cli.endpoints.deployment import Deployment
from simcloud_cli.endpoints.discovery import DIGEST_TAG, MODEL_TAG
from simcloud_cli.endpoints.ownership import ENDPOINT_TAG
from simcloud_cli.endpoints.package import sha256_of
from simcloud_cli.endpoints.packaged import PackagedModel
from simcloud_cli.endpoints.planned import Asked, planned, tag
from simcloud_cli.endpoints.update import Update
from support.aws_stubs import PaperAws, arn, paper_aws

ROLE = "arn:aws:iam::123456789012:role/endpoints"
NOW = datetime(2026, 11, 21, tzinfo=UTC)
SM = "sagemaker"
OLD, NEW = "0" * 64, "1" * 64
THERE = arn("endpoint/detector")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[PaperAws]:
    monkeypatch.setenv("SIMCLOUD_CONFIG", str(tmp_path / "config.yaml"))
    with paper_aws(monkeypatch) as paper:
        yield paper


def deployment() -> Deployment:
    fields = {"name": "detector", "kind": "serverless", "role": ROLE, "image": "image:2"}
    return Deployment.model_validate(fields)


def asked(*, digest: str = NEW, waits: bool = False) -> Asked:
    tags = {MODEL_TAG: "det", DIGEST_TAG: digest}
    return Asked(update=Update(), tags=tags, digest=digest, waits=waits)


def lacks(aws: PaperAws, *operations: str) -> None:
    for operation in operations:
        aws.refuses(SM, operation, "ValidationException", 'Could not find "arn:aws:x".')


def serves_another(aws: PaperAws, digest: str, *, looks: int = 1) -> None:
    """An endpoint of ours whose configuration is not what is asked for."""
    lacks(aws, "DescribeModel", "DescribeEndpointConfig")
    described = {
        "EndpointName": "detector",
        "EndpointArn": THERE,
        "EndpointConfigName": "before",
        "EndpointStatus": "InService",
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
    }
    aws.answers(SM, "DescribeEndpoint", {"EndpointName": "detector"}, described)
    for _ in range(looks):
        has_tags(aws, digest)


def has_tags(aws: PaperAws, digest: str) -> None:
    tags = {ENDPOINT_TAG: "detector"}
    if digest:
        tags |= {MODEL_TAG: "det", DIGEST_TAG: digest}
    rows = [{"Key": key, "Value": value} for key, value in tags.items()]
    aws.answers(SM, "ListTags", {"ResourceArn": THERE}, {"Tags": rows})


def operations(document: dict[str, Any]) -> list[str]:
    return [request["operation"] for request in document["plan"]]


async def test_an_endpoint_that_routers_find_is_not_updated_to_another_model(
    aws: PaperAws,
) -> None:
    serves_another(aws, OLD)
    with pytest.raises(InvalidRequest, match="under a name of its own") as refused:
        await plan_deployment(Aws(AwsPlace()), deployment(), Update(), digest=NEW)
    assert "both answer, under one digest" in refused.value.message


async def test_another_image_of_the_same_model_is_an_update_as_before(aws: PaperAws) -> None:
    serves_another(aws, NEW, looks=2)
    paper = Aws(AwsPlace())
    document = (await planned(paper, deployment(), asked(), None)).document
    assert operations(document) == ["CreateModel", "CreateEndpointConfig", "UpdateEndpoint"]
    assert document["left"] == []


async def test_an_update_that_nobody_waits_for_is_tagged_by_the_next_run(aws: PaperAws) -> None:
    serves_another(aws, "")
    paper = Aws(AwsPlace())
    plan = await plan_deployment(paper, deployment(), Update(), digest=NEW)
    has_tags(aws, "")
    tagged, left = await tag(paper, THERE, asked(), plan)
    assert not tagged
    assert "once its update has ended" in left[0]
    serves_another(aws, "", looks=2)
    document = (await planned(paper, deployment(), asked(), None)).document
    assert "AddTags" not in operations(document)
    assert document["left"] == left

    has_tags(aws, "")
    aws.answers(SM, "AddTags", None, {"Tags": []})
    assert await tag(paper, THERE, asked(waits=True), plan) == (True, [])
    serves_another(aws, "", looks=2)
    document = (await planned(paper, deployment(), asked(waits=True), None)).document
    assert operations(document)[-2:] == ["UpdateEndpoint", "AddTags"]


def test_a_plan_has_the_tags_and_hides_values_from_those_who_read_it(
    aws: PaperAws, tmp_path: Path
) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    archive = folder / "model.tar.gz"
    archive.write_bytes(b"weights")
    packaged = PackagedModel.model_validate(
        {
            "format": "sagemaker",
            "sha256": sha256_of(archive),
            "environment": {"FOLDER": "/opt/ml/model"},
            "model": {"name": "det", "digest": NEW},
        }
    )
    (folder / "model.json").write_bytes(packaged.as_bytes())
    command = ["endpoint", "deploy", "Detector", "--role", ROLE, "--image", "image:2", "--plan"]
    command += ["--kind", "serverless", "--model", str(folder), "--to", "s3://bucket/models"]
    command += ["--env", "TOKEN=hush", "--discover"]
    said = []
    for options in ([], ["--json"]):
        lacks(aws, "DescribeModel", "DescribeEndpointConfig", "DescribeEndpoint")
        aws.answers(SM, "ListEndpointConfigs", None, {"EndpointConfigs": []})
        result = CliRunner().invoke(app, [*command, *options])
        assert result.exception is None, result.exception
        said.append(result.stdout)
    text, document = said[0], json.loads(said[1])
    assert "hush" not in text
    assert "/opt/ml" not in text
    assert "TOKEN: (--json shows it)" in text
    assert operations(document)[-2:] == ["CreateEndpoint", "AddTags"]
    environment = document["plan"][0]["parameters"]["PrimaryContainer"]["Environment"]
    assert environment == {"FOLDER": "/opt/ml/model", "TOKEN": "hush"}
    assert document["plan"][-1]["parameters"]["ResourceArn"] == THERE
